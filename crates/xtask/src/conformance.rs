//! `cargo xtask conformance`: the Autobahn TestSuite against the release server's `/echo`.
//!
//! Passes only if every selected case ran and each has behavior and close `OK` or `INFORMATIONAL`: a case that is
//! NON-STRICT, FAILED or UNIMPLEMENTED fails the run, and so does a server that does not end well afterwards. The
//! verdicts are the suite's own; its reports are left in `autobahn` under the target directory.

use std::time::Duration;

use crate::context::Context;
use crate::process::{self, Deadline};
use crate::provision;
use crate::server::{self, Server};

/// The cases a server without compression must pass: all but 9 (limits and performance) and 12, 13 (compression).
const DEFAULT_CASES: [&str; 8] = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"];
const JOBS: &str = "2";
const DEFAULT_LIMIT: Duration = Duration::from_secs(10 * 60);
const FULL_LIMIT: Duration = Duration::from_secs(60 * 60);

/// Runs the subcommand; whether all cases passed.
pub(crate) fn command(context: &Context, arguments: &[String]) -> Result<bool, String> {
    let cases: Vec<String> = match arguments.split_first() {
        None => default_cases(),
        Some((option, [])) if option == "--full" => vec!["*".to_owned()],
        Some((option, cases)) if option == "--cases" && !cases.is_empty() => cases.to_vec(),
        _ => return Err(crate::USAGE.to_owned()),
    };
    let limit = if arguments.is_empty() { DEFAULT_LIMIT } else { FULL_LIMIT };
    let deadline = Deadline::after(limit);
    let python = provision::autobahn(context, deadline)?;
    match run(context, &python, &cases, deadline) {
        Ok(()) => Ok(true),
        Err(reason) => {
            eprintln!("conformance: {reason}");
            Ok(false)
        }
    }
}

/// The cases of a run that names none.
pub(crate) fn default_cases() -> Vec<String> {
    DEFAULT_CASES.map(str::to_owned).to_vec()
}

/// Runs `cases` with the ported suite's interpreter against a server of its own.
pub(crate) fn run(
    context: &Context,
    python: &std::path::Path,
    cases: &[String],
    deadline: Deadline,
) -> Result<(), String> {
    let binary = server::build(context, deadline)?;
    let server =
        Server::start(&binary, &["--feed", "none"], &provision::log(context, "conformance-server")?, deadline)?;
    let mut suite = context.command(python);
    suite.args(["-W", "ignore"]).arg(context.root.join("tests/autobahn/run_cases.py"));
    suite.args(["--agent", "ringwire", "--strict", "--jobs", JOBS]);
    suite.arg(server.websocket_url("/echo")).arg(context.folder("autobahn")?).args(cases);
    let verdict = process::run(&mut suite, deadline);
    let end = server.stop();
    verdict.and(end)
}
