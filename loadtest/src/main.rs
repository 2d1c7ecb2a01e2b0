//! The `ringload` binary: reads the command line, runs, prints, and says by its exit status how it went.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use ringload::cli::{CommandLine, HELP, Task};
use ringload::compare;
use ringload::json::Json;
use ringload::report::Report;
use ringload::workload::{echo, fanout, idle};
use ringwire_ring::linux::raise_descriptor_limit;

/// Messages were lost, repeated or changed, or connections ended.
const EXIT_FAULTY: u8 = 1;
/// It could not run.
const EXIT_FAILED: u8 = 2;

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
    let CommandLine { task, json } = CommandLine::parse(arguments)?;
    // More descriptors than these are asked for only by name, and then the ring says what it lacks.
    let _ = raise_descriptor_limit();
    let report = match task {
        Task::Help => {
            print!("{HELP}");
            return Ok(ExitCode::SUCCESS);
        }
        Task::Compare(options) => {
            let comparison = compare::run(&options, show)?;
            print!("{}", comparison.to_text());
            write(json.as_deref(), &comparison.to_json())?;
            return Ok(ExitCode::SUCCESS);
        }
        Task::Echo(options) => echo::run(&options)?,
        Task::Fanout(options) => fanout::run(&options)?,
        Task::Idle(options) => idle::run(&options)?,
    };
    print!("{}", report.to_text());
    write(json.as_deref(), &report.to_json())?;
    Ok(if report.accounts.are_clean() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAULTY) })
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

fn write(file: Option<&Path>, result: &Json) -> Result<(), String> {
    let Some(file) = file else { return Ok(()) };
    std::fs::write(file, format!("{result}\n")).map_err(|error| format!("{}: {error}", file.display()))
}
