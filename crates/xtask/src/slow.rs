//! Slow clients by the thousand, beside one that is not: slowhttptest's three modes against the release server, and how
//! long the echoes of another client take meanwhile.
//!
//! The server has one shard, on core 0; the clients are on core 1, so that what is measured is the server. Quiet and
//! attacked spans alternate. The median of the attacked spans' 99th percentiles is compared with the least of the quiet
//! ones', so that a server does not pass by being as slow after an attack as under it. A mode that does not hold is
//! measured once more: other processes of the machine may have been in the way. Void spans do not count.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::context::Context;
use crate::process::{self, Deadline, Guarded};
use crate::provision;
use crate::server::{self, Server};
use crate::test::Outcome;

/// Connections of an attack.
const CONNECTIONS: usize = 1000;
/// Attacked spans of a mode; the quiet ones are one more.
const ROUNDS: usize = 3;
/// Seconds of a span.
const SPAN_SECONDS: &str = "1.5";
/// How often a span is measured that is void.
const TRIES_MAX: usize = 4;
/// How long slowhttptest gives its probe of the server. It polls the probe's socket without a pause once that time has passed
/// (by default 5 seconds), and then takes the core that the echoing client has as well; an attack is over before.
const PROBE_SECONDS: &str = "60";
/// How a run of ringload ends that is void, but lost and changed nothing (docs/measuring.md).
const VOID: &str = "exit status: 4";
/// Until nearly all connections of an attack are there, or gone again.
const RAMP: Duration = Duration::from_secs(15);
/// How many times its quiet value the 99th percentile may be.
const RATIO_MAX: f64 = 1.5;

/// The server's. By default a request may take 10 seconds, after which an attack would be over; here it lasts.
const CONFIG: &str = "\
[shards]
count = 1
[feed]
source = \"none\"
[timeouts]
handshake_timeout_ms = 60000
";

/// What slowhttptest does: the mode's name, where to, and its options.
type Mode = (&'static str, &'static str, &'static [&'static str]);

const MODES: [Mode; 3] = [
    ("slow headers", "/", &["-H", "-i", "1"]),
    ("slow bodies", "/publish/slow", &["-B", "-i", "1", "-s", "8192", "-t", "POST"]),
    ("slow reads", "/", &["-X", "-k", "5", "-n", "1", "-w", "64", "-y", "512", "-z", "32"]),
];

/// Runs every mode: whether the other client was served in each, and an error if that could not be measured.
pub(crate) fn run(context: &Context, slowhttptest: &Path, deadline: Deadline) -> Result<Outcome, String> {
    let binary = server::build(context, deadline)?;
    let ringload = ["build", "--release", "--quiet", "--package", "ringload"];
    process::run(&mut context.cargo(&ringload), deadline)?;
    let log = provision::log(context, "slow-server")?;
    let config = context.folder("slow")?.join("config.toml");
    fs::write(&config, CONFIG).map_err(|error| format!("cannot write {}: {error}", config.display()))?;
    let config = config.to_string_lossy();
    let measure = |mode: &Mode| {
        let server = Server::start(&binary, &["--config", &config], &log, deadline)?;
        let ratio = Scene { context, slowhttptest, server: &server, deadline }.measure(mode);
        let ended = server.stop();
        let ratio = ratio.map_err(|error| format!("{}: {error}", mode.0))?;
        ended.map(|()| ratio)
    };
    let holds = |ratio: &Option<f64>| ratio.is_some_and(|ratio| ratio <= RATIO_MAX);
    let mut outcome = Outcome::Passed;
    for mode in &MODES {
        let ratio = match measure(mode)? {
            first if holds(&first) => first,
            first => measure(mode)?.or(first),
        };
        match ratio {
            Some(ratio) if ratio > RATIO_MAX => {
                let words = "times its quiet value beside 1,000 slow connections";
                return Ok(Outcome::Failed(format!("{}: the p99 of echoes is {ratio:.2} {words}", mode.0)));
            }
            Some(_) => {}
            None => {
                let words =
                    "all quiet or all attacked spans were void: a hypervisor had the cores; measure when it is quiet";
                outcome = Outcome::Skipped(format!("{}: {words}", mode.0));
            }
        }
    }
    Ok(outcome)
}

struct Scene<'a> {
    context: &'a Context,
    slowhttptest: &'a Path,
    server: &'a Server,
    deadline: Deadline,
}

impl Scene<'_> {
    /// The ratio of attacked to quiet. `None`: all spans of one kind were void.
    fn measure(&self, &(name, path, options): &Mode) -> Result<Option<f64>, String> {
        let (mut quiet, mut attacked) = (vec![self.p99()?], Vec::new());
        for _ in 0..ROUNDS {
            let attack = self.attack(path, options)?;
            attacked.push(self.p99()?);
            let left = self.connections()?;
            if left < CONNECTIONS * 9 / 10 {
                return Err(format!("only {left} of {CONNECTIONS} slow connections lasted"));
            }
            drop(attack);
            self.wait_for_connections(|count| count < CONNECTIONS / 20)?;
            quiet.push(self.p99()?);
        }
        println!("{name}: p99 of echoes {} us quiet, {} us attacked", in_words(&quiet), in_words(&attacked));
        let quiet = quiet.into_iter().flatten().reduce(f64::min);
        Ok(quiet.zip(median(attacked.into_iter().flatten().collect())).map(|(quiet, attacked)| attacked / quiet))
    }

    /// Slow connections, which are there when this returns.
    fn attack(&self, path: &str, options: &[&str]) -> Result<Guarded, String> {
        let url = self.server.http_url(path);
        let mut command = self.context.command("taskset");
        command.args(["--cpu-list", "1"]).arg(self.slowhttptest).args(options);
        let count = CONNECTIONS.to_string();
        command.args(["-c", &count, "-r", &count, "-l", "30", "-p", PROBE_SECONDS, "-u", &url]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let attack = Guarded::spawn(&mut command)?;
        self.wait_for_connections(|count| count >= CONNECTIONS * 19 / 20)?;
        Ok(attack)
    }

    fn wait_for_connections(&self, enough: impl Fn(usize) -> bool) -> Result<(), String> {
        let deadline = self.deadline.within(RAMP);
        loop {
            let count = self.connections()?;
            if enough(count) {
                return Ok(());
            }
            if deadline.has_passed() {
                return Err(format!("there are {count} connections, which is not what was waited for"));
            }
            process::pause();
        }
    }

    /// Connections that the server has, as the kernel lists them.
    fn connections(&self) -> Result<usize, String> {
        let table = fs::read_to_string("/proc/net/tcp").map_err(|error| format!("/proc/net/tcp: {error}"))?;
        Ok(established(&table, self.server.port()))
    }

    /// The 99th percentile of an echo, in microseconds. A span that is void, which is one in which a hypervisor took the
    /// cores, is measured again; `None`: each was.
    fn p99(&self) -> Result<Option<f64>, String> {
        let scratch = provision::log(self.context, "slow-ringload")?;
        for _ in 0..TRIES_MAX {
            let mut ringload = self.context.command(self.context.target.join("release/ringload"));
            ringload.args(["echo", &self.server.websocket_url("/echo"), "--connections", "1", "--core", "1"]);
            ringload.args(["--seconds", SPAN_SECONDS, "--warm-up", "0.2"]);
            match process::output(&mut ringload, &scratch, self.deadline) {
                Ok(text) => return p99_in(&text).map(Some),
                Err(error) if error.ends_with(VOID) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn in_words(spans: &[Option<f64>]) -> String {
    let word = |span: &Option<f64>| span.map_or_else(|| "void".to_owned(), |p99| format!("{p99:.1}"));
    spans.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// Lines of `/proc/net/tcp` (proc(5)) with this local port and state 01.
fn established(table: &str, port: u16) -> usize {
    let is_one = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, state) = (fields.next(), fields.nth(1));
        local.is_some_and(|address| address.ends_with(&format!(":{port:04X}"))) && state == Some("01")
    };
    table.lines().skip(1).filter(is_one).count()
}

/// The figure below `p99` in ringload's table of latencies, whose row is named `echo`.
fn p99_in(text: &str) -> Result<f64, String> {
    let head = text.lines().find(|line| line.contains(" p99 ")).unwrap_or_default();
    let place = head.split_whitespace().rev().position(|word| word == "p99");
    let row = text.lines().find(|line| line.trim_start().starts_with("echo ") && !line.contains("://"));
    let figure = place.zip(row).and_then(|(place, row)| row.split_whitespace().rev().nth(place));
    figure.and_then(|figure| figure.parse().ok()).ok_or_else(|| format!("ringload says no p99:\n{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn established_connections_of_a_port_are_counted() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n\
             1: 0100007F:1F90 0100007F:C350 01 00000000:00000000\n\
             2: 0100007F:C350 0100007F:1F90 01 00000000:00000000\n\
             3: 0100007F:1F90 0100007F:C351 06 00000000:00000000\n";
        assert_eq!(established(table, 8080), 1);
    }

    #[test]
    fn the_p99_is_taken_from_the_words() {
        let text = "echo ws://h:1/echo (2.0 s)\n  latency, us   p50   p90   p99  p99.9   max\n\
                    \x20 echo         20.1  25.2  31.5   60.0  90.0\n";
        assert_eq!(p99_in(text), Ok(31.5));
        assert!(p99_in("nothing").is_err());
        assert_eq!((median(vec![3.0, 1.0, 2.0]), median(Vec::new())), (Some(2.0), None));
        assert_eq!(in_words(&[Some(31.5), None]), "31.5, void");
    }
}
