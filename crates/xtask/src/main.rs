//! What a developer of ringwire runs: `cargo xtask test`, `cargo xtask conformance`, `cargo xtask kill`,
//! `cargo xtask peers`, `cargo xtask compare`, `cargo xtask bench`, `cargo xtask instructions`, `cargo xtask tidy`.
//!
//! Every child process and every wait has a deadline, and a child that outlives its deadline is killed with all
//! that it started. What the tests need beside Rust (a Python venv, npm packages, Chromium) is installed under the
//! target directory, or by the system's package manager where there is one to ask and the right to ask it.
//!
//! What this crate must never do: report a step as passed that did not run, or write into the source tree, but for a record
//! that it is asked to make, and the tables of records.

#![forbid(unsafe_code)]

mod bench;
mod compare;
mod conformance;
mod context;
mod instructions;
mod kill;
mod peers;
mod process;
mod provision;
mod server;
mod slow;
mod test;
mod tidy;
mod tls;

use std::process::ExitCode;

use context::Context;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [--only STEP]... [--skip STEP]... [--list]
        Everything, step by step, each within its own time. --list names the steps.
  conformance [--full] [--cases CASE...]
        The Autobahn TestSuite against the release server's /echo, in the clear and encrypted, and against
        `ringwire echo`: cases 1-7 and 10, and a part of 9, 12 and 13. --full: all 517 against the server, 1-7
        encrypted, 1-7, 12 and 13 against the client. --cases takes ids and patterns (1.1.1 '6.*'; '-6.4.*' leaves
        out), against the server in the clear.
  kill [--rounds N]
        Kills a process in the middle of 50,000 publishes a second, N times (100), and looks each time for all that it
        acknowledged.
  peers [NAME]... [--list]
        Servers on other libraries, all or those named, installed and built under target/peers and checked against
        their contract; prints how each is started. --list names them.
  compare [NAME]... [-- WORKLOAD [FLAGS OF ringload compare]]
        ringwire beside these peers on this machine, under echo or another workload of ringload: builds all, runs
        rounds that interleave them, and leaves a page and the figures in target/compare.
  bench [ROW]... [--list] [--rounds N] [--seconds S] [--peers A,B] [--congestion NAME] [--resume] [--quick] [--tables]
        ringwire beside peers and floors, row by row: a record of each in benches/records, and the tables of them in
        docs/performance.md. --list names the rows and what they must show.
  instructions [--record]
        How many instructions each hot path executes, counted by callgrind, against the record in benches/records.
        --record makes a new record.
  tidy
        The rules of the source tree that no compiler knows: who may import whom, where unsafe may stand, ...";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let context = Context::of_this_checkout();
    let result = match arguments.split_first() {
        Some((command, rest)) if command == "test" => test::command(&context, rest),
        Some((command, rest)) if command == "conformance" => conformance::command(&context, rest),
        Some((command, rest)) if command == "kill" => kill::command(&context, rest),
        Some((command, rest)) if command == "compare" => compare::command(&context, rest),
        Some((command, rest)) if command == "bench" => bench::command(&context, rest),
        Some((command, rest)) if command == "instructions" => instructions::command(&context, rest),
        Some((command, rest)) if command == "peers" => peers::command(&context, rest),
        Some((command, [])) if command == "tidy" => tidy::command(&context),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}
