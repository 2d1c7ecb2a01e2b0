//! The `ringload` binary: reads the command line, runs, prints, and says by its exit status how it went.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use ringload::cli::{CommandLine, Task};
use ringload::compare::{self, Warnings};
use ringload::find_max::{self, Found};
use ringload::report::Report;
use ringload::report::html::Page;
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
    let CommandLine { task, json, html } = CommandLine::parse(arguments)?;
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
            write(json.as_deref(), || format!("{}\n", report.to_json()))?;
            write(html.as_deref(), || Page::from(&report).render())?;
            Ok(status(&report))
        }
        Task::FindMax(job, slo) => {
            let found = find_max::run(&job, &slo, |step| eprintln!("{}", step.to_text()))?;
            print!("{}", found.to_text());
            write(json.as_deref(), || format!("{}\n", found.to_json()))?;
            write(html.as_deref(), || Page::from(&found).render())?;
            Ok(match found.search.found {
                Found::Sustained { .. } | Found::Unbounded { .. } => ExitCode::SUCCESS,
                Found::NotSustainable { .. } => ExitCode::from(EXIT_MISSED),
                Found::GeneratorFirst { .. } => ExitCode::from(EXIT_VOID),
            })
        }
        Task::Compare(options) => {
            let comparison = compare::run(&options, |name, result| eprintln!("{}", compare::line(name, result)))?;
            print!("{}", comparison.to_text());
            write(json.as_deref(), || format!("{}\n", comparison.to_json()))?;
            write(html.as_deref(), || Page::from(&comparison).render())?;
            let Warnings { voids, faults, missed, .. } = comparison.warnings();
            Ok(exit(!voids.is_empty(), !faults.is_empty(), !missed.is_empty()))
        }
    }
}

/// What the result says of itself.
fn status(report: &Report) -> ExitCode {
    let missed = report.verdicts.iter().any(|verdict| !verdict.is_met);
    exit(!report.voids.is_empty(), !report.accounts.are_clean(), missed)
}

/// What did not arrive as it was sent is a fault at any pace; of the pace, a void result says nothing.
fn exit(is_void: bool, is_faulty: bool, is_missed: bool) -> ExitCode {
    match (is_faulty, is_void, is_missed) {
        (true, _, _) => ExitCode::from(EXIT_FAULTY),
        (_, true, _) => ExitCode::from(EXIT_VOID),
        (_, _, true) => ExitCode::from(EXIT_MISSED),
        (false, false, false) => ExitCode::SUCCESS,
    }
}

fn write(file: Option<&Path>, text: impl FnOnce() -> String) -> Result<(), String> {
    let Some(file) = file else { return Ok(()) };
    std::fs::write(file, text()).map_err(|error| format!("{}: {error}", file.display()))
}
