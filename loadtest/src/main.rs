//! The `ringload` binary: reads the command line, runs, prints, and says by its exit status how it went.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use ringload::cli::{CommandLine, Task};
use ringload::compare;
use ringload::json::Json;
use ringload::report::Report;
use ringwire_ring::linux::raise_descriptor_limit;

/// Messages were lost, repeated, out of order or changed, or connections ended.
const EXIT_FAULTY: u8 = 1;
/// It could not run.
const EXIT_FAILED: u8 = 2;
/// What had to hold did not.
const EXIT_MISSED: u8 = 3;
/// The result does not count.
const EXIT_VOID: u8 = 4;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(reason) => {
            eprintln!("ringload: {reason}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn run(arguments: &[String]) -> Result<ExitCode, String> {
    let CommandLine { task, json, html: _ } = CommandLine::parse(arguments)?;
    // More descriptors than these are asked for only by name, and then the ring says what it lacks.
    let _ = raise_descriptor_limit();
    match task {
        Task::Help(text) => {
            print!("{text}");
            Ok(ExitCode::SUCCESS)
        }
        Task::Run(job) => {
            let report = job.run()?;
            print!("{}", report.to_text());
            write(json.as_deref(), &report.to_json())?;
            Ok(status(&report))
        }
        Task::FindMax(..) => Err("--find-max: not yet".to_owned()),
        Task::Compare(options) => {
            let comparison = compare::run(&options, show)?;
            print!("{}", comparison.to_text());
            write(json.as_deref(), &comparison.to_json())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What the result says of itself: a void one says nothing else.
fn status(report: &Report) -> ExitCode {
    if !report.voids.is_empty() {
        ExitCode::from(EXIT_VOID)
    } else if !report.accounts.are_clean() {
        ExitCode::from(EXIT_FAULTY)
    } else if report.verdicts.iter().any(|verdict| !verdict.is_met) {
        ExitCode::from(EXIT_MISSED)
    } else {
        ExitCode::SUCCESS
    }
}

fn write(file: Option<&Path>, result: &Json) -> Result<(), String> {
    let Some(file) = file else { return Ok(()) };
    std::fs::write(file, format!("{result}\n")).map_err(|error| format!("{}: {error}", file.display()))
}

/// A line for each measurement of a comparison.
fn show(name: &str, report: &Report) {
    let cpu = report.cost.server_us_per(report.messages).unwrap_or(f64::NAN);
    let busy = |cpu: Option<std::time::Duration>| report.cost.share(cpu.unwrap_or_default()) * 100.0;
    eprintln!(
        "{name:<20} {cpu:.3} us per message, {:.0} a second, busy: server {:.0} %, generator {:.0} %, others {:.0} %",
        report.rate(),
        busy(report.cost.server_cpu()),
        busy(Some(report.cost.own_cpu)),
        busy(Some(report.cost.others_cpu)),
    );
}
