//! `cargo xtask conformance`: the Autobahn TestSuite against the release server's `/echo`, in the clear and encrypted,
//! and against `ringwire echo`, a client.
//!
//! Passes only if every selected case ran and each has behavior and close `OK` or `INFORMATIONAL`: a case that is
//! NON-STRICT, FAILED or UNIMPLEMENTED fails the run, and so does a server that does not end well afterwards. The
//! verdicts are the suite's own; its reports are left under the target directory, a folder for each subject.

use std::path::Path;
use std::time::Duration;

use crate::context::Context;
use crate::process::{self, Deadline};
use crate::provision;
use crate::server::{self, Server};

/// What the suite is run against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    /// The server, in the clear.
    Plain,
    /// The server behind TLS, with a certificate made at its start.
    Encrypted,
    /// `ringwire echo`, with the suite as the server.
    Client,
}

/// One run of the suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    subject: Subject,
    cases: Vec<String>,
}

/// All cases that are not about compression, limits or performance.
const PROTOCOL: &[&str] = &["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*"];
/// One of each kind of offer and size of message: the others differ in size or in the number of messages.
const SOME_DEFLATE: &[&str] = &[
    "12.1.1", "12.1.11", "12.2.4", "12.3.6", "12.4.5", "12.5.14", "13.1.3", "13.2.3", "13.3.3", "13.4.3", "13.5.3",
    "13.6.3", "13.7.3",
];
/// Of performance, what ends at once: 64 KiB and 256 KiB, whole and in fragments, and one message in 65,536 fragments.
const SOME_LARGE: &[&str] = &["9.1.1", "9.2.2", "9.3.1", "9.4.4", "9.5.3", "9.6.4"];
const JOBS: &str = "2";
const LIMIT: Duration = Duration::from_secs(10 * 60);
const FULL_LIMIT: Duration = Duration::from_secs(30 * 60);

impl Run {
    fn new(subject: Subject, groups: &[&[&str]]) -> Self {
        Self { subject, cases: groups.concat().into_iter().map(str::to_owned).collect() }
    }
}

/// Runs the subcommand; whether all cases passed.
pub(crate) fn command(context: &Context, arguments: &[String]) -> Result<bool, String> {
    let (runs, limit) = match arguments.split_first() {
        None => (some(), LIMIT),
        Some((option, [])) if option == "--full" => (full(), FULL_LIMIT),
        Some((option, cases)) if option == "--cases" && !cases.is_empty() => {
            (vec![Run { subject: Subject::Plain, cases: cases.to_vec() }], FULL_LIMIT)
        }
        _ => return Err(crate::USAGE.to_owned()),
    };
    let deadline = Deadline::after(limit);
    let python = provision::autobahn(context, deadline)?;
    match run(context, &python, &runs, deadline) {
        Ok(()) => Ok(true),
        Err(reason) => {
            eprintln!("conformance: {reason}");
            Ok(false)
        }
    }
}

/// What `cargo xtask test` runs: every rule of the protocol in the clear, and a part of the rest of each kind.
pub(crate) fn some() -> Vec<Run> {
    vec![
        Run::new(Subject::Plain, &[PROTOCOL, SOME_LARGE, &["10.*"], SOME_DEFLATE]),
        Run::new(Subject::Encrypted, &[&["1.*", "2.*", "3.*", "4.*", "5.*", "7.*"]]),
        Run::new(Subject::Client, &[PROTOCOL, SOME_DEFLATE]),
    ]
}

/// All 517 cases against the server, those about the protocol encrypted, and those that judge a client.
fn full() -> Vec<Run> {
    vec![
        Run::new(Subject::Plain, &[&["*"]]),
        Run::new(Subject::Encrypted, &[PROTOCOL]),
        Run::new(Subject::Client, &[PROTOCOL, &["12.*", "13.*"]]),
    ]
}

/// Runs with the ported suite's interpreter, one after the other. All of them, whatever becomes of the first.
pub(crate) fn run(context: &Context, python: &Path, runs: &[Run], deadline: Deadline) -> Result<(), String> {
    let binary = server::build(context, deadline)?;
    let verdicts: Vec<_> = runs.iter().map(|run| perform(context, python, &binary, run, deadline)).collect();
    verdicts.into_iter().collect()
}

fn perform(context: &Context, python: &Path, binary: &Path, run: &Run, deadline: Deadline) -> Result<(), String> {
    let flags: &[&str] = match run.subject {
        Subject::Plain => &["--feed", "none"],
        Subject::Encrypted => &["--feed", "none", "--tls", "self-signed"],
        Subject::Client => {
            let client = binary.display().to_string();
            return process::run(&mut suite(context, python, &["--client"], &client, run)?, deadline);
        }
    };
    let log = provision::log(context, "conformance-server")?;
    let server = Server::start(binary, flags, &log, deadline)?;
    let verdict = process::run(&mut suite(context, python, &[], &server.websocket_url("/echo"), run)?, deadline);
    let end = server.stop();
    verdict.and(end)
}

/// The suite against `target`, a URL or a program.
fn suite(
    context: &Context,
    python: &Path,
    options: &[&str],
    target: &str,
    run: &Run,
) -> Result<std::process::Command, String> {
    let folder = match run.subject {
        Subject::Plain => "autobahn",
        Subject::Encrypted => "autobahn-tls",
        Subject::Client => "autobahn-client",
    };
    let mut suite = context.command(python);
    suite.args(["-W", "ignore"]).arg(context.root.join("tests/autobahn/run_cases.py"));
    // The fuzzer's own compressor is replaced by a faster one; what it receives is judged by zlib.
    suite.args(["--agent", "ringwire", "--strict", "--fast", "--jobs", JOBS]).args(options);
    suite.arg(target).arg(context.folder(folder)?).args(&run.cases);
    Ok(suite)
}
