//! The command line: `ringload WORKLOAD TARGET --name value ...`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::compare::CompareOptions;
use crate::measure::Process;
use crate::server::ServerCommand;
use crate::target::{Target, Wire};
use crate::workload::echo::{EchoOptions, Length, Payload};
use crate::workload::fanout::{FanoutOptions, Pace};
use crate::workload::idle::IdleOptions;
use crate::workload::laggards::LaggardsOptions;

/// What `--help` prints.
pub const HELP: &str = "\
ringload: the latency of WebSocket servers, measured honestly

ringload echo TARGET      every connection sends on what it waits for (closed loop)
    --connections N       connections [100]
    --depth N             messages on their way per connection [1]
    --bytes N             payload bytes [64]
    --payload random|json bytes in binary messages, or JSON as exchanges send it in text messages [random]
    --messages N          measure so many messages, for at most --seconds [no limit]
ringload fanout TARGET    one publisher at /pub/TOPIC, subscribers at /ws/TOPIC
    --subscribers N       subscribers [50]
    --rate R              publishes a second, latency from when each was due [100]
    --window W            instead of --rate: keep so many publishes on their way
    --bytes N             payload bytes [128]
    --topic NAME          topic [ringload]
    --slow N              further subscribers that read slowly, beside those that are measured [0]
    --slow-bytes-per-second B   what each of them reads; 0 is nothing [0]
ringload idle TARGET      connections that say nothing
    --connections N       connections [10000]
ringload compare          echo against several servers, in rounds that interleave them
    --server 'NAME URL PROGRAM ARGUMENT...'   once per server; {port} stands for a free port
    --rounds N            rounds [5]
    --server-core N       core of the servers [0]
    --load-core N         core of the generator [1]
    --connections, --depth, --bytes, --payload as for echo

TARGET is ws://host:port/path or wss://, or for echo also tcp://host:port: raw bytes, as many as a frame has.

For all:
    --ca FILE.pem         whom to trust, for wss://
    --deflate on|off      permessage-deflate; a server that does not agree is an error [off]
    --seconds S           how long to measure [5; compare 2]
    --warm-up S           how long to run before that [1; compare 0.5]
    --core N              pin the generator to this core (echo, fanout)
    --server-pid PID      also measure this process: CPU time per message, memory
    --json FILE           write the result there

Ends with 0; with 1 if messages were lost, repeated or changed or connections ended; with 2 if it could not run.
";

/// What to do.
#[derive(Clone, Debug)]
pub enum Task {
    /// Print [`HELP`].
    Help,
    /// Run this workload.
    Echo(EchoOptions),
    /// Run this workload.
    Fanout(FanoutOptions),
    /// Run this workload.
    Idle(IdleOptions),
    /// Compare servers.
    Compare(CompareOptions),
}

/// A command line that was understood.
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// What to do.
    pub task: Task,
    /// Where to write the result as JSON.
    pub json: Option<PathBuf>,
}

impl CommandLine {
    /// Reads the arguments behind the program's name.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(arguments: &[String]) -> Result<Self, String> {
        let Some((command, rest)) = arguments.split_first() else {
            return Err(format!("what is to be done?\n\n{HELP}"));
        };
        if matches!(command.as_str(), "help" | "--help" | "-h") || rest.iter().any(|argument| argument == "--help") {
            return Ok(Self { task: Task::Help, json: None });
        }
        let mut flags = Flags::split(rest)?;
        let json = flags.text("json").map(PathBuf::from);
        let task = match command.as_str() {
            "echo" => Task::Echo(echo(&mut flags)?),
            "fanout" => Task::Fanout(fanout(&mut flags)?),
            "idle" => Task::Idle(idle(&mut flags)?),
            "compare" => Task::Compare(compare(&mut flags)?),
            other => return Err(format!("there is no `{other}`: see ringload --help")),
        };
        flags.finish(command)?;
        Ok(Self { task, json })
    }
}

fn echo(flags: &mut Flags) -> Result<EchoOptions, String> {
    let time = flags.seconds("seconds", 5.0)?;
    Ok(EchoOptions {
        target: flags.target()?,
        connections: flags.at_least_one("connections", 100)?,
        depth: flags.at_least_one("depth", 1)?,
        bytes: flags.number("bytes")?.unwrap_or(64),
        payload: flags.payload()?,
        length: match flags.number("messages")? {
            Some(messages) => Length::Messages(messages, time),
            None => Length::Time(time),
        },
        warm_up: flags.seconds("warm-up", 1.0)?,
        core: flags.number("core")?,
        server: flags.process()?,
    })
}

fn fanout(flags: &mut Flags) -> Result<FanoutOptions, String> {
    let pace = match (flags.number::<f64>("rate")?, flags.number("window")?) {
        (Some(_), Some(_)) => return Err("--rate and --window contradict each other: leave one out".to_owned()),
        (_, Some(0)) => return Err("--window 0: at least 1 is needed".to_owned()),
        (None, Some(window)) => Pace::Window(window),
        (rate, None) => match rate.unwrap_or(100.0) {
            rate if rate > 0.0 && rate.is_finite() => Pace::Rate(rate),
            rate => return Err(format!("--rate {rate}: a number above 0 is needed")),
        },
    };
    Ok(FanoutOptions {
        target: flags.target()?,
        topic: flags.text("topic").unwrap_or_else(|| "ringload".to_owned()),
        subscribers: flags.at_least_one("subscribers", 50)?,
        laggards: LaggardsOptions {
            count: flags.number("slow")?.unwrap_or(0),
            bytes_per_second: flags.number("slow-bytes-per-second")?.unwrap_or(0),
        },
        pace,
        bytes: flags.number("bytes")?.unwrap_or(128),
        time: flags.seconds("seconds", 5.0)?,
        warm_up: flags.seconds("warm-up", 1.0)?,
        core: flags.number("core")?,
        server: flags.process()?,
    })
}

fn idle(flags: &mut Flags) -> Result<IdleOptions, String> {
    Ok(IdleOptions {
        target: flags.target()?,
        connections: flags.at_least_one("connections", 10_000)?,
        settle: flags.seconds("warm-up", 1.0)?,
        time: flags.seconds("seconds", 5.0)?,
        server: flags.process()?,
    })
}

fn compare(flags: &mut Flags) -> Result<CompareOptions, String> {
    let servers: Vec<ServerCommand> =
        flags.texts("server").iter().map(|text| ServerCommand::parse(text)).collect::<Result<_, _>>()?;
    if servers.len() < 2 {
        return Err("compare needs two or more --server".to_owned());
    }
    Ok(CompareOptions {
        servers,
        server_core: flags.number("server-core")?.unwrap_or(0),
        load_core: flags.number("load-core")?.unwrap_or(1),
        rounds: flags.at_least_one("rounds", 5)?,
        time: flags.seconds("seconds", 2.0)?,
        warm_up: flags.seconds("warm-up", 0.5)?,
        connections: flags.at_least_one("connections", 100)?,
        depth: flags.at_least_one("depth", 1)?,
        bytes: flags.number("bytes")?.unwrap_or(64),
        payload: flags.payload()?,
        wire: flags.wire()?,
    })
}

/// Arguments by name. What is read is taken out, so what is left was not known.
#[derive(Debug, Default)]
struct Flags {
    named: BTreeMap<String, Vec<String>>,
    plain: Vec<String>,
}

impl Flags {
    /// Splits `--name value` and `--name=value` from the rest.
    fn split(arguments: &[String]) -> Result<Self, String> {
        let mut flags = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let Some(name) = argument.strip_prefix("--") else {
                flags.plain.push(argument.clone());
                continue;
            };
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                None => (name, arguments.next().ok_or_else(|| format!("--{name} needs a value"))?.clone()),
            };
            flags.named.entry(name.to_owned()).or_default().push(value);
        }
        Ok(flags)
    }

    fn texts(&mut self, name: &str) -> Vec<String> {
        self.named.remove(name).unwrap_or_default()
    }

    /// The last value, which overrides those before.
    fn text(&mut self, name: &str) -> Option<String> {
        self.texts(name).pop()
    }

    fn number<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, String> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let plain = text.replace('_', "");
        plain.parse().map(Some).map_err(|_| format!("--{name} {text}: a number is needed"))
    }

    fn at_least_one(&mut self, name: &str, default: usize) -> Result<usize, String> {
        match self.number(name)?.unwrap_or(default) {
            0 => Err(format!("--{name} 0: at least 1 is needed")),
            number => Ok(number),
        }
    }

    fn seconds(&mut self, name: &str, default: f64) -> Result<Duration, String> {
        let seconds: f64 = self.number(name)?.unwrap_or(default);
        Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|_| seconds <= 86_400.0)
            .ok_or_else(|| format!("--{name} {seconds}: seconds from 0 to 86400 are needed"))
    }

    fn process(&mut self) -> Result<Option<Process>, String> {
        let Some(pid) = self.number("server-pid")? else { return Ok(None) };
        Process::new(pid).map(Some).map_err(|error| format!("--server-pid: {error}"))
    }

    fn payload(&mut self) -> Result<Payload, String> {
        match self.text("payload").as_deref() {
            None | Some("random") => Ok(Payload::Random),
            Some("json") => Ok(Payload::Json),
            Some(other) => Err(format!("--payload {other}: `random` or `json` is needed")),
        }
    }

    fn wire(&mut self) -> Result<Wire, String> {
        let ca = self.text("ca").map(PathBuf::from);
        let deflate = match self.text("deflate").as_deref() {
            None | Some("off") => false,
            Some("on") => true,
            Some(other) => return Err(format!("--deflate {other}: `on` or `off` is needed")),
        };
        Wire::new(ca.as_deref(), deflate)
    }

    fn target(&mut self) -> Result<Target, String> {
        let wire = self.wire()?;
        match &std::mem::take(&mut self.plain)[..] {
            [one] => Target::parse_with(one, wire),
            [] => Err("the target is missing, as in ws://127.0.0.1:8080/echo".to_owned()),
            [_, more, ..] => Err(format!("one target is needed: what is `{more}`?")),
        }
    }

    fn finish(self, command: &str) -> Result<(), String> {
        match (self.named.into_keys().next(), self.plain.into_iter().next()) {
            (Some(name), _) => Err(format!("{command} knows no --{name}: see ringload --help")),
            (None, Some(text)) => Err(format!("what is `{text}`?")),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<CommandLine, String> {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        CommandLine::parse(&arguments)
    }

    #[test]
    fn echo_is_read_with_its_defaults() {
        let line = parse("echo ws://127.0.0.1:1/echo --depth=4 --messages 20_000 --json out.json").unwrap();
        assert_eq!(line.json, Some(PathBuf::from("out.json")));
        let Task::Echo(options) = line.task else { panic!("not echo") };
        assert_eq!((options.connections, options.depth, options.bytes), (100, 4, 64));
        assert_eq!(options.length, Length::Messages(20_000, Duration::from_secs(5)));
    }

    #[test]
    fn fanout_has_a_rate_or_a_window() {
        let pace = |line: &str| match parse(line).unwrap().task {
            Task::Fanout(options) => options.pace,
            task => panic!("{task:?}"),
        };
        assert_eq!(pace("fanout ws://127.0.0.1:1"), Pace::Rate(100.0));
        assert_eq!(pace("fanout ws://127.0.0.1:1 --window 8"), Pace::Window(8));
        for faulty in ["--window 8 --rate 5", "--rate 0", "--rate nan", "--window 0"] {
            assert!(parse(&format!("fanout ws://127.0.0.1:1 {faulty}")).is_err(), "{faulty}");
        }
    }

    #[test]
    fn compare_takes_several_servers() {
        let server = |name: &str| format!("--server={name} tcp://127.0.0.1:{{port}} x");
        let arguments = ["compare".to_owned(), server("a"), server("b"), "--rounds".to_owned(), "3".to_owned()];
        let Task::Compare(options) = CommandLine::parse(&arguments).unwrap().task else { panic!("not compare") };
        assert_eq!((options.servers.len(), options.rounds, options.load_core), (2, 3, 1));
        assert!(CommandLine::parse(&arguments[..2]).is_err());
    }

    #[test]
    fn faults_say_what_is_wrong() {
        for (line, words) in [
            ("shout ws://127.0.0.1:1", "shout"),
            ("echo", "target is missing"),
            ("echo ws://127.0.0.1:1 ws://127.0.0.1:2", "ws://127.0.0.1:2"),
            ("echo ws://127.0.0.1:1 --connections", "needs a value"),
            ("echo ws://127.0.0.1:1 --connections many", "--connections many"),
            ("echo ws://127.0.0.1:1 --connections 0", "at least 1"),
            ("echo ws://127.0.0.1:1 --rate 5", "--rate"),
            ("echo ws://127.0.0.1:1 --seconds -1", "--seconds"),
            ("idle ws://127.0.0.1:1 --server-pid 4294967295", "--server-pid"),
        ] {
            let fault = parse(line).unwrap_err();
            assert!(fault.contains(words), "{line}: {fault}");
        }
    }

    #[test]
    fn help_is_asked_for_in_any_place() {
        for line in ["--help", "help", "echo --help"] {
            assert!(matches!(parse(line).unwrap().task, Task::Help), "{line}");
        }
    }
}
