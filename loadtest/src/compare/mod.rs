//! `compare`: servers side by side, in rounds that interleave them.
//!
//! Each round measures each server once, beginning with another one than the round before, so that what drifts (clock
//! speed, neighbours) meets all alike. A server is started for its measurement and ended after it: none disturbs
//! another, and rounds are independent of each other, which is what the intervals in [`stats`] suppose. Server and
//! generator are pinned to a core each. A run that is void stays in the figures and is marked wherever they are told.

mod figures;
pub mod stats;

use std::sync::Arc;
use std::time::Duration;

use ringwire_ring::linux::pin_to_core;

use crate::adapter::{self, Adapter};
use crate::cli::{self, Flags};
use crate::json::Json;
use crate::measure::Facts;
use crate::report::Report;
use crate::run::Load;
use crate::server::{Server, ServerCommand};
use crate::target::{Target, Wire};
use crate::workload::{Kind, Options, Place};

pub use figures::{Better, METRICS, Metric, Warnings, line};

/// `ringload compare`, on the command line.
pub const HELP: &str = "\
ringload compare WORKLOAD: several servers, in rounds that interleave them

    --server 'NAME=COMMAND'   how to start a server, with {port} for the port it is to listen on at 127.0.0.1; once per
                          server, and ratios are to the last
    --target-of NAME=URL  where it answers, with {port} [ws://127.0.0.1:{port}, for echo ws://127.0.0.1:{port}/echo]
    --adapter-of NAME=ADAPTER   what it speaks, if it is not what --adapter says
    --rounds N            rounds; fewer than 6 give no interval of 95 % confidence [7]
    --server-core N       core of the servers, or `any` for all of them [0]
    --load-core N,M..     cores of the generator, a thread on each [1]
    --keep-going on|off   go on without a server that gives no result in the first round, instead of ending [off]
    and the flags of WORKLOAD, with --seconds [2] and --warm-up [0.5]
";

/// What to compare, and under which load.
#[derive(Debug)]
pub struct CompareOptions {
    /// The servers; ratios are to the last.
    pub contenders: Vec<Contender>,
    /// The core for the servers; none for all.
    pub server_core: Option<usize>,
    /// Rounds, at least one.
    pub rounds: usize,
    /// Whether a server that gives no result in the first round is gone on without.
    pub keep_going: bool,
    /// What the workload is called.
    pub kind: &'static str,
    /// Under what.
    pub workload: Box<dyn Options>,
    /// How long and on what it runs.
    pub load: Load,
    /// What lies between messages and sockets.
    pub wire: Wire,
}

/// A server to compare.
#[derive(Debug)]
pub struct Contender {
    /// How to start it, and where it answers.
    pub server: ServerCommand,
    /// What it speaks.
    pub adapter: Arc<dyn Adapter>,
}

/// What a comparison found: for each round what each server came to.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The workload.
    pub workload: &'static str,
    /// The servers' names.
    pub names: Vec<String>,
    /// A report, or why there is none, per round and server.
    pub rounds: Vec<Vec<Result<Report, String>>>,
    /// How it was set.
    pub options: Json,
    /// On what, and by what.
    pub facts: Facts,
}

impl CompareOptions {
    /// Reads its flags.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(flags: &mut Flags) -> Result<Self, String> {
        let kind = match &flags.plain()[..] {
            [one] => cli::kind(one)?,
            [] => return Err("compare needs a workload, as in ringload compare echo".to_owned()),
            [_, more, ..] => return Err(format!("one workload is needed: what is `{more}`?")),
        };
        let contenders = contenders(kind, flags)?;
        let server_core = match flags.text("server-core").as_deref() {
            None => Some(0),
            Some("any") => None,
            Some(text) => Some(text.parse().map_err(|_| format!("--server-core {text}: a core or `any` is needed"))?),
        };
        let other = ["core", "threads"].into_iter().find(|name| flags.has(name));
        match (flags.text("load-core"), other) {
            (Some(_), Some(other)) => {
                return Err(format!("--load-core and --{other} contradict each other: leave one out"));
            }
            (cores, None) => flags.set("core", cores.unwrap_or_else(|| "1".to_owned())),
            (None, Some(_)) => {}
        }
        Ok(Self {
            contenders,
            server_core,
            rounds: flags.at_least_one("rounds", 7)?,
            keep_going: flags.switch("keep-going")?,
            kind: kind.name,
            workload: (kind.read)(flags)?,
            load: cli::load(flags, 2.0, 0.5)?,
            wire: cli::wire(flags)?,
        })
    }

    fn to_json(&self) -> Json {
        let contenders = self.contenders.iter().map(|Contender { server, adapter }| {
            let members = Json::object([
                ("command", server.command.join(" ").as_str().into()),
                ("target", server.url.as_str().into()),
                ("adapter", adapter.name().into()),
            ]);
            (server.name.clone(), members)
        });
        Json::object([
            ("servers", Json::Object(contenders.collect())),
            ("rounds", self.rounds.into()),
            ("seconds", self.load.time.as_secs_f64().into()),
            ("warm_up_seconds", self.load.warm_up.as_secs_f64().into()),
            ("server_core", self.server_core.into()),
            ("load_cores", self.load.threads.iter().map(|core| Json::from(*core)).collect::<Vec<_>>().into()),
            ("deflate", self.wire.deflate.is_some().into()),
        ])
    }
}

/// Reads the servers, where each answers and what it speaks.
fn contenders(kind: &Kind, flags: &mut Flags) -> Result<Vec<Contender>, String> {
    let mut targets = named(flags, "target-of")?;
    let mut adapters = named(flags, "adapter-of")?;
    if !kind.has_adapter && !adapters.is_empty() {
        return Err(format!("--adapter-of: {} speaks to a path, through no adapter", kind.name));
    }
    // Where there are no topics there is no path of a topic either.
    let url = if kind.has_adapter { "ws://127.0.0.1:{port}" } else { "ws://127.0.0.1:{port}/echo" };
    let mut contenders: Vec<Contender> = Vec::new();
    let mut left = Vec::new();
    for text in flags.texts("server") {
        let mut server = ServerCommand::parse(&text, url)?;
        if contenders.iter().any(|other| other.server.name == server.name) {
            return Err(format!("--server '{text}': there is another of this name"));
        }
        if let Some(url) = take(&mut targets, &server.name) {
            server.url = url;
        }
        let mut own = flags.clone();
        let said = if kind.has_adapter { own.text("adapter") } else { None };
        let adapter = take(&mut adapters, &server.name).or(said).unwrap_or_else(|| "path".to_owned());
        let adapter = adapter::named(&adapter, &mut own)?;
        left.push(own);
        contenders.push(Contender { server, adapter });
    }
    flags.keep_what_is_in_all(&left);
    if contenders.len() < 2 {
        return Err("compare needs two or more --server 'NAME=COMMAND with {port}'".to_owned());
    }
    match targets.first().or(adapters.first()) {
        Some((name, _)) => Err(format!("there is no --server named `{name}`")),
        None => Ok(contenders),
    }
}

/// All `NAME=VALUE` of a flag.
fn named(flags: &mut Flags, flag: &str) -> Result<Vec<(String, String)>, String> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').ok_or_else(|| format!("--{flag} {text}: `NAME=...` is needed"))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    flags.texts(flag).iter().map(pair).collect()
}

fn take(pairs: &mut Vec<(String, String)>, name: &str) -> Option<String> {
    let at = pairs.iter().position(|(of, _)| of == name)?;
    Some(pairs.swap_remove(at).1)
}

/// Runs the comparison. `progress` is told of each measurement.
///
/// # Errors
/// If a server cannot be started or measured in the first round, unless that is to be gone on from; and if none can. A later
/// fault is in what is returned.
pub fn run(
    options: &CompareOptions,
    mut progress: impl FnMut(&str, &Result<Report, String>),
) -> Result<Comparison, String> {
    let facts = Facts::of_run(std::env::args().collect(), options.load.seed);
    let count = options.contenders.len();
    let mut rounds = Vec::new();
    for round in 0..options.rounds {
        let mut reports: Vec<Option<Result<Report, String>>> = vec![None; count];
        for index in order(round, count) {
            let contender = &options.contenders[index];
            let result = measure(options, contender).map_err(|reason| format!("{}: {reason}", contender.server.name));
            if round == 0 && !options.keep_going {
                result.as_ref().map_err(Clone::clone)?;
            }
            progress(&contender.server.name, &result);
            reports[index] = Some(result);
        }
        let reports: Vec<Result<Report, String>> = reports.into_iter().flatten().collect();
        if round == 0 && reports.iter().all(Result::is_err) {
            return Err(reports.into_iter().find_map(Result::err).unwrap_or_default());
        }
        rounds.push(reports);
    }
    let names = options.contenders.iter().map(|contender| contender.server.name.clone()).collect();
    Ok(Comparison { workload: options.kind, names, rounds, options: options.to_json(), facts })
}

/// Who is measured when in a round: all, beginning with another one than the round before.
fn order(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |turn| (round + turn) % count)
}

/// How long a server may take to be gone whose connections are.
const LAST_MOMENT: Duration = Duration::from_millis(500);

/// Starts a server, measures it and ends it.
fn measure(options: &CompareOptions, contender: &Contender) -> Result<Report, String> {
    let mut server = Server::start(&contender.server, options.server_core)?;
    let target = Target::parse_with(&server.url, options.wire.clone())?;
    let place = Place { target, adapter: Arc::clone(&contender.adapter) };
    let load = Load { server: Some(server.process()?), ..options.load.clone() };
    // The thread that coordinates is not to disturb the server. It is one of its own: this one starts the next server,
    // which is not to begin on a core of the generator.
    let coordinate = || {
        if let Some(Some(core)) = load.threads.first() {
            pin_to_core(*core).map_err(|error| format!("core {core}: {error}"))?;
        }
        options.workload.run(&place, &load)
    };
    let result = std::thread::scope(|scope| scope.spawn(coordinate).join());
    let result = result.unwrap_or_else(|_| Err("the thread that coordinates broke down".to_owned()));
    let moment = if result.is_err() { LAST_MOMENT } else { Duration::ZERO };
    let end = server.end(moment).map(|end| format!("the server died: {end}"));
    match (result, end) {
        (Ok(mut report), end) => {
            report.doubts.extend(end);
            Ok(report)
        }
        (Err(reason), Some(end)) => Err(format!("{end}\n{reason}")),
        (Err(reason), None) => Err(reason),
    }
}

#[cfg(test)]
mod tests {
    use ringwire_ring::linux::allowed_cores;

    use super::*;

    fn read(arguments: &[&str]) -> Result<CompareOptions, String> {
        let mut flags = Flags::split(&arguments.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())?;
        let options = CompareOptions::read(&mut flags)?;
        flags.finish("compare")?;
        Ok(options)
    }

    #[test]
    fn servers_have_their_own_targets_and_adapters() {
        let servers = ["--server", "a=one {port}", "--server", "b=two {port}"];
        let options = read(&[&["trading", "--target-of", "b=ws://h:{port}/x", "--rounds=3"], &servers[..]].concat());
        let options = options.unwrap();
        let urls: Vec<&str> = options.contenders.iter().map(|contender| contender.server.url.as_str()).collect();
        assert_eq!(urls, ["ws://127.0.0.1:{port}", "ws://h:{port}/x"]);
        assert_eq!((options.rounds, options.server_core, &options.load.threads[..]), (3, Some(0), &[Some(1)][..]));
        let options = read(&[&["trading", "--adapter-of", "a=ringwire-json"], &servers[..]].concat()).unwrap();
        let adapters: Vec<&str> = options.contenders.iter().map(|contender| contender.adapter.name()).collect();
        assert_eq!(adapters, ["ringwire-json", "path"]);
        let options = read(&[&["echo", "--server-core", "any", "--load-core", "2,3"], &servers[..]].concat()).unwrap();
        assert_eq!(options.contenders[0].server.url, "ws://127.0.0.1:{port}/echo");
        assert_eq!((options.server_core, &options.load.threads[..]), (None, &[Some(2), Some(3)][..]));
    }

    #[test]
    fn each_adapter_has_the_flags_that_are_for_it() {
        let servers = ["--server", "a=one {port}", "--server", "b=two {port}"];
        let template = ["--adapter-of", "b=template", "--publish-template", "{payload}"];
        let options = read(&[&["fanout", "--adapter", "centrifugo"], &template[..], &servers[..]].concat()).unwrap();
        let names: Vec<_> = options.contenders.iter().map(|contender| contender.adapter.name()).collect();
        assert_eq!(names, ["centrifugo", "template"]);
        let fault = read(&[&["fanout"], &template[2..], &servers[..]].concat()).unwrap_err();
        assert!(fault.contains("--publish-template"), "{fault}");
    }

    #[test]
    fn faults_say_what_is_wrong() {
        let servers = ["--server", "a=one {port}", "--server", "b=two {port}"];
        for (arguments, words) in [
            (&["echo", "--server", "a=x"][..], "two or more"),
            (&["--server", "a=x"], "needs a workload"),
            (&["echo", "--server", "a=x", "--server", "a=y"], "another of this name"),
            (&[&["echo", "--target-of", "c=ws://h"], &servers[..]].concat(), "`c`"),
            (&[&["echo", "--adapter-of", "a=path"], &servers[..]].concat(), "through no adapter"),
            (&[&["fanout", "--adapter-of", "a=mqtt"], &servers[..]].concat(), "--adapter mqtt"),
            (&[&["echo", "--target-of", "nonsense"], &servers[..]].concat(), "NAME="),
            (&[&["echo", "--server-core", "x"], &servers[..]].concat(), "--server-core x"),
            (&[&["echo", "--shout", "x"], &servers[..]].concat(), "--shout"),
            (&[&["echo", "--core", "2", "--load-core", "3"], &servers[..]].concat(), "contradict"),
            (&[&["echo", "--threads", "2", "--load-core", "3"], &servers[..]].concat(), "contradict"),
            (&[&["shout"], &servers[..]].concat(), "shout"),
        ] {
            let fault = read(arguments).unwrap_err();
            assert!(fault.contains(words), "{arguments:?}: {fault}");
        }
    }

    #[test]
    fn a_server_that_cannot_start_is_named() {
        let options =
            read(&["echo", "--server", "good=x", "--server", "bad=/does/not/exist {port}", "--server-core=any"]);
        let mut options = options.unwrap();
        options.contenders.swap(0, 1);
        let fault = run(&options, |_, _| ()).unwrap_err();
        assert!(fault.contains("bad: ") && fault.contains("/does/not/exist"), "{fault}");
    }

    #[test]
    fn whoever_keeps_going_does_so_as_long_as_one_server_gives_results() {
        let good = format!("good={}", crate::server::tests::player("waits"));
        let bad = "bad=/does/not/exist {port}";
        let flags =
            "idle --connections 1 --keep-going on --rounds 2 --server-core any --threads 1 --seconds 0.01 --warm-up 0";
        let flags: Vec<&str> = flags.split(' ').collect();
        let target = ["--target-of", "good=tcp://127.0.0.1:{port}"];
        let with = |servers: &[&str]| run(&read(&[&flags[..], servers].concat()).unwrap(), |_, _| ());
        let comparison = with(&[&target[..], &["--server", bad, "--server", &good]].concat()).unwrap();
        let results: Vec<bool> = comparison.rounds.iter().flatten().map(Result::is_ok).collect();
        assert_eq!(results, [false, true, false, true]);
        let fault = with(&["--server", bad, "--server", "worse=/is/not/there {port}"]).unwrap_err();
        assert!(fault.contains("/does/not/exist"), "{fault}");
    }

    #[test]
    fn each_round_measures_all_and_begins_with_another() {
        let orders: Vec<Vec<usize>> = (0..4).map(|round| order(round, 3).collect()).collect();
        assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
    }

    #[test]
    fn who_compares_stays_on_all_its_cores_so_that_no_server_begins_on_the_generators() {
        let before = allowed_cores().unwrap();
        let (bad, core) = (format!("bad={}", crate::server::tests::player("dies")), before[0].to_string());
        let arguments = ["echo", "--server", &bad, "--server", "good=x", "--server-core", &core, "--load-core", &core];
        run(&read(&arguments).unwrap(), |_, _| ()).unwrap_err();
        assert_eq!(allowed_cores().unwrap(), before);
    }

    #[test]
    fn a_server_that_dies_under_load_is_named_with_its_last_words() {
        let bad = format!("bad={}", crate::server::tests::player("dies"));
        let arguments = ["echo", "--server", &bad, "--server", "good=x", "--server-core=any", "--threads=1"];
        let fault = run(&read(&arguments).unwrap(), |_, _| ()).unwrap_err();
        assert!(fault.contains("bad: the server died: exit status: 3") && fault.contains("no more memory"), "{fault}");
    }
}
