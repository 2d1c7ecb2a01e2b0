//! The command line: `ringload WORKLOAD TARGET --name value ...`.

mod flags;

use std::path::PathBuf;
use std::sync::Arc;

use crate::adapter;
use crate::live::Progress;
use crate::measure::Process;
use crate::report::Report;
use crate::run::Load;
use crate::slo::Slo;
use crate::target::{Target, Wire};
use crate::workload::{KINDS, Kind, Options, Place};

pub use flags::{Flags, check_payload_bytes};

/// What a run is asked to do beside what its workload does.
const COMMON_HELP: &str = "\
For all workloads:
    --seconds S           how long to measure [5]
    --warm-up S           how long to run before that [1]
    --settle S            how long everything is open before the first message [0.2]
    --threads N           threads of the generator, each with its share of the connections [1]
    --core N,M..          instead: a thread on each of these cores, pinned
    --spin on|off         never sleep: the generator takes its cores whole, and no message waits for it to wake [off]
    --server-pid PID      also measure this process and its children: CPU time per message, memory
    --seed N              what random choices begin with [1]
    --ca FILE.pem         whom to trust, for wss://
    --deflate on|off      permessage-deflate; a server that does not agree is an error. What is sent is compressed
                          with echo --payload json only, else plain; what comes back as the server likes [off]
    --header 'Name: value'   a header field of the opening handshake; may be repeated
    --token TOKEN         --header 'Authorization: Bearer TOKEN'
    --subprotocol NAME    a subprotocol to offer; may be repeated
    --slo 'p99.9<2ms'     what must hold; may be repeated: [SERIES.]p50..p100, max, mean, loss, rate, spread.p99
    --find-max 'p99<5ms'  search the highest rate at which this holds
    --progress on|off|auto   a line a second on how it goes [auto: on a terminal]
    --json FILE           write the result there
    --html FILE           write a page about it there

Ends with 0; with 1 if messages were lost, repeated, out of order or changed or connections ended; with 2 if it could not
run; with 3 if an --slo was missed; with 4 if the result is void: the generator, not the server, set the pace. The
first of 1, 4 and 3 that holds.
";

/// The flags among them that `compare` refuses.
const NOT_IN_COMPARE: [&str; 2] = ["--server-pid", "--find-max"];

/// What to do.
#[derive(Debug)]
pub enum Task {
    /// Print this.
    Help(String),
    /// Run a workload once.
    Run(Job),
    /// Search the highest rate.
    FindMax(Job, Slo),
    /// Compare servers.
    Compare(crate::compare::CompareOptions),
}

/// A workload at a server.
#[derive(Debug)]
pub struct Job {
    /// The server.
    pub place: Place,
    /// The workload.
    pub workload: Box<dyn Options>,
    /// How long and on what it runs, and what must hold.
    pub load: Load,
}

/// A command line that was understood.
#[derive(Debug)]
pub struct CommandLine {
    /// What to do.
    pub task: Task,
    /// Where to write the result as JSON.
    pub json: Option<PathBuf>,
    /// Where to write the result as a page.
    pub html: Option<PathBuf>,
}

impl CommandLine {
    /// Reads the arguments behind the program's name.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(arguments: &[String]) -> Result<Self, String> {
        let Some((command, rest)) = arguments.split_first() else {
            return Err(format!("what is to be done?\n\n{}", help()));
        };
        let asks_help = |argument: &String| matches!(argument.as_str(), "--help" | "-h");
        if asks_help(command) || command == "help" {
            let topic = rest.first().map(|topic| help_of(topic)).transpose()?;
            return Ok(Self::said(topic.unwrap_or_else(help)));
        }
        if rest.iter().any(asks_help) {
            return Ok(Self::said(help_of(command)?));
        }
        let mut flags = Flags::split(rest)?;
        let (json, html) = (flags.text("json").map(PathBuf::from), flags.text("html").map(PathBuf::from));
        let task = match command.as_str() {
            "compare" => match NOT_IN_COMPARE.iter().find(|flag| flags.has(flag.trim_start_matches('-'))) {
                Some(flag) => return Err(format!("{flag} is not for compare, which starts its servers at one load")),
                None => Task::Compare(crate::compare::CompareOptions::read(&mut flags)?),
            },
            workload => {
                let kind = kind(workload)?;
                let find_max = flags.text("find-max").map(|text| Slo::parse(&text)).transpose()?;
                let job = Job::read(kind, &mut flags)?;
                match find_max {
                    None => Task::Run(job),
                    Some(slo) => Task::FindMax(job, slo),
                }
            }
        };
        flags.finish(command)?;
        Ok(Self { task, json, html })
    }

    fn said(text: String) -> Self {
        Self { task: Task::Help(text), json: None, html: None }
    }
}

impl Job {
    /// Runs it once, and holds the result against what must hold.
    ///
    /// # Errors
    /// Why it could not run.
    pub fn run(&self) -> Result<Report, String> {
        self.workload.run(&self.place, &self.load)
    }

    fn read(kind: &Kind, flags: &mut Flags) -> Result<Self, String> {
        let target = match &flags.plain()[..] {
            [one] => Target::parse_with(one, wire(flags)?)?,
            [] => return Err("the target is missing, as in ws://127.0.0.1:8080/echo".to_owned()),
            [_, more, ..] => return Err(format!("one target is needed: what is `{more}`?")),
        };
        let adapter = if kind.has_adapter { adapter::read(flags)? } else { Arc::new(adapter::path::Path) };
        Ok(Self { place: Place { target, adapter }, workload: (kind.read)(flags)?, load: load(flags, 5.0, 1.0)? })
    }
}

/// The kind of workload of this name.
///
/// # Errors
/// If there is none.
pub fn kind(name: &str) -> Result<&'static Kind, String> {
    let kind = KINDS.iter().find(|kind| kind.name == name);
    let names = || KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ");
    kind.ok_or_else(|| format!("there is no workload `{name}`; there are {} and compare", names()))
}

/// Reads how long and on what a workload runs.
///
/// # Errors
/// What is wrong with the flags.
pub fn load(flags: &mut Flags, seconds: f64, warm_up: f64) -> Result<Load, String> {
    let cores = flags.text("core");
    let threads = match (&cores, flags.number::<usize>("threads")?) {
        (Some(_), Some(_)) => return Err("--core and --threads contradict each other: leave one out".to_owned()),
        (None, Some(0)) => return Err("--threads 0: at least 1 is needed".to_owned()),
        (None, threads) => vec![None; threads.unwrap_or(1)],
        (Some(text), None) => {
            let cores = text.split(',').map(|core| core.trim().parse().map(Some)).collect::<Result<_, _>>();
            cores.map_err(|_| format!("--core {text}: numbers of cores are needed, as in 1 or 2,3"))?
        }
    };
    let server = flags.number("server-pid")?.map(Process::new).transpose();
    let time = flags.seconds("seconds", seconds)?;
    if time.is_zero() {
        return Err("--seconds 0: more than 0 is needed".to_owned());
    }
    Ok(Load {
        threads,
        settle: flags.seconds("settle", 0.2)?,
        warm_up: flags.seconds("warm-up", warm_up)?,
        time,
        spin: flags.switch("spin")?,
        seed: flags.number("seed")?.unwrap_or(1),
        server: server.map_err(|error| format!("--server-pid: {error}"))?,
        slos: flags.texts("slo").iter().map(|text| Slo::parse(text)).collect::<Result<_, _>>()?,
        progress: flags.text("progress").map_or(Ok(Progress::default()), |text| Progress::parse(&text))?,
    })
}

/// Reads what lies between messages and sockets.
///
/// # Errors
/// What is wrong with the flags.
pub fn wire(flags: &mut Flags) -> Result<Wire, String> {
    let ca = flags.text("ca").map(PathBuf::from);
    let mut wire = Wire::new(ca.as_deref(), flags.switch("deflate")?)?;
    flags.texts("header").iter().try_for_each(|header| wire.add_header(header))?;
    flags.text("token").iter().try_for_each(|token| wire.add_token(token))?;
    flags.texts("subprotocol").iter().try_for_each(|name| wire.add_subprotocol(name))?;
    Ok(wire)
}

/// What `ringload --help` prints.
fn help() -> String {
    let kinds =
        KINDS.iter().map(|kind| format!("    ringload {:<20} {}\n", format!("{} TARGET", kind.name), kind.about));
    format!(
        "\
ringload: the latency of WebSocket servers, measured honestly

{}    {:<29} several servers side by side, under any workload

`ringload WORKLOAD --help` says what each takes. TARGET is ws://host:port/path or wss://, or for echo,
idle, storm and pipeline also tcp://host:port: raw bytes, as many as a frame has; for fanout and slow a relay of such.

{COMMON_HELP}",
        kinds.collect::<String>(),
        "ringload compare WORKLOAD",
    )
}

/// What `ringload WORKLOAD --help` prints.
fn help_of(name: &str) -> Result<String, String> {
    if name == "compare" {
        // It starts the servers itself, and searches nothing.
        let is_known = |line: &&str| !NOT_IN_COMPARE.iter().any(|flag| line.trim_start().starts_with(flag));
        let common: String = COMMON_HELP.split_inclusive('\n').filter(is_known).collect();
        return Ok(format!("{}\n{common}", crate::compare::HELP));
    }
    let kind = kind(name)?;
    let adapter = if kind.has_adapter { adapter::HELP } else { "" };
    // The text of a continued literal has lost the indentation of its first line.
    let help = if kind.help.is_empty() { String::new() } else { format!("    {}", kind.help.trim_start()) };
    Ok(format!("ringload {name} TARGET: {}\n\n{help}{adapter}\n{COMMON_HELP}", kind.about))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<CommandLine, String> {
        CommandLine::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_run_is_read_with_its_defaults() {
        let line = parse("echo ws://127.0.0.1:1/echo --seconds=2 --json out.json").unwrap();
        assert_eq!(line.json, Some(PathBuf::from("out.json")));
        let Task::Run(job) = line.task else { panic!("not a run") };
        assert_eq!((job.load.time.as_secs(), job.load.warm_up.as_secs(), &job.load.threads[..]), (2, 1, &[None][..]));
    }

    #[test]
    fn threads_are_counted_or_pinned() {
        let threads = |line: &str| match parse(line).unwrap().task {
            Task::Run(job) => job.load.threads,
            task => panic!("{task:?}"),
        };
        assert_eq!(threads("echo ws://127.0.0.1:1 --threads 3"), [None; 3]);
        assert_eq!(threads("echo ws://127.0.0.1:1 --core 1,0"), [Some(1), Some(0)]);
    }

    #[test]
    fn every_workload_is_read_with_defaults_and_has_help() {
        for kind in KINDS {
            assert!(parse(&format!("{} ws://127.0.0.1:1", kind.name)).is_ok(), "{}", kind.name);
            let Task::Help(text) = parse(&format!("{} --help", kind.name)).unwrap().task else { panic!("no help") };
            assert!(text.contains(kind.help) && text.contains("--seconds"), "{text}");
            assert!(!text.lines().any(|line| line.starts_with("--")), "flags are indented: {text}");
            let Task::Help(text) = parse("--help").unwrap().task else { panic!("no help") };
            assert!(text.contains(kind.about), "{text}");
        }
    }

    #[test]
    fn help_is_a_first_word_or_a_flag_anywhere() {
        for line in ["help", "-h", "help echo", "echo --help", "fanout ws://127.0.0.1:1 --rate 5 -h"] {
            assert!(matches!(parse(line).unwrap().task, Task::Help(_)), "{line}");
        }
        assert!(matches!(parse("fanout ws://127.0.0.1:1 --topic help").unwrap().task, Task::Run(_)));
    }

    #[test]
    fn the_help_of_compare_has_no_flag_that_it_refuses() {
        let Task::Help(text) = parse("compare --help").unwrap().task else { panic!("no help") };
        for flag in NOT_IN_COMPARE {
            assert!(!text.lines().any(|line| line.trim_start().starts_with(flag)), "{text}");
            let fault = parse(&format!("compare echo {flag} 1")).unwrap_err();
            assert!(fault.contains(flag) && fault.contains("not for compare"), "{fault}");
        }
        assert!(text.contains("--threads") && text.contains("--slo"), "{text}");
    }

    #[test]
    fn faults_say_what_is_wrong() {
        for (line, words) in [
            ("shout ws://127.0.0.1:1", "shout"),
            ("echo", "target is missing"),
            ("echo ws://127.0.0.1:1 ws://127.0.0.1:2", "ws://127.0.0.1:2"),
            ("echo ws://127.0.0.1:1 --connections", "needs a value"),
            ("echo ws://127.0.0.1:1 --connections 0", "at least 1"),
            ("echo ws://127.0.0.1:1 --shout 5", "--shout"),
            ("echo ws://127.0.0.1:1 --depth 2 --rate 5", "contradict"),
            ("fanout ws://127.0.0.1:1 --window 8 --rate 5", "contradict"),
            ("fanout ws://127.0.0.1:1 --window 0", "at least 1"),
            ("fanout ws://127.0.0.1:1 --rate nan", "0 or more"),
            ("trading ws://127.0.0.1:1 --topics 2 --topics-each 3", "only 2 topics"),
            ("trading ws://127.0.0.1:1 --news-every 1e20", "--news-every"),
            ("trading ws://127.0.0.1:1 --burst-seconds 1e20", "--burst-seconds"),
            ("trading ws://127.0.0.1:1 --trace /does/not/exist", "/does/not/exist"),
            ("echo ws://127.0.0.1:1 --seconds 0", "--seconds 0"),
            ("echo ws://127.0.0.1:1 --core x", "--core x"),
            ("echo ws://127.0.0.1:1 --threads 2 --core 1", "contradict"),
            ("echo ws://127.0.0.1:1 --slo fast", "the objective `fast`"),
            ("echo ws://127.0.0.1:1 --header nonsense", "'Name: value'"),
            ("echo ws://127.0.0.1:1 --server-pid 4294967295", "--server-pid"),
        ] {
            let fault = parse(line).unwrap_err();
            assert!(fault.contains(words), "{line}: {fault}");
        }
    }
}
