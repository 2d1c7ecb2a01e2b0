//! `cargo xtask bench`: ringwire beside its peers and the floors, row by row, with records and tables of them.
//!
//! A [row](rows) is one `ringload compare`, in a [place] where all servers have the same congestion control. What
//! it found becomes a [record], written as soon as the row is done, so that a run that is broken off has kept
//! what it measured and `--resume` goes on. The [tables] are made from whatever records there are. `--quick` is to see
//! that all of it works: its records stay in the target directory.

mod document;
mod figures;
mod json;
mod options;
mod place;
mod record;
mod rows;
mod servers;
mod tables;
mod taken;
mod verdict;

use std::fs;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use crate::context::Context;
use crate::peers::{self, Provided};
use crate::process::{self, Deadline, Guarded};
use crate::provision;
use crate::server;
use crate::tls;
use options::{Options, Task};
use place::Place;
use record::Record;
use rows::{Dress, Row};
use servers::{Field, Tools};
use taken::Around;

/// For building ringwire, ringload and floors, and making the peers.
const BUILD_LIMIT: Duration = Duration::from_secs(45 * 60);

/// For a program to say what it knows.
const HELP_LIMIT: Duration = Duration::from_secs(10);

/// Runs the command with its arguments: whether every row has its record. An error is one of the command line.
pub(crate) fn command(context: &Context, arguments: &[String]) -> Result<bool, String> {
    let options = Options::read(arguments)?;
    let rows = options.rows()?;
    match options.task {
        Task::List => {
            rows.iter().for_each(|row| println!("{}", told(row)));
            return Ok(true);
        }
        Task::Tables => return Ok(told_if_wrong(document::write(context))),
        Task::Measure => place::check_congestion(&options.congestion)?,
    }
    Ok(told_if_wrong(measure_all(context, &options, &rows)))
}

/// Whether it went well; if not, the reason is printed.
fn told_if_wrong(result: Result<(), String>) -> bool {
    if let Err(reason) = &result {
        eprintln!("{reason}");
    }
    result.is_ok()
}

/// A line of the list.
fn told(row: &Row) -> String {
    let goals: Vec<String> = verdict::goals(row);
    format!(
        "{:<22} {} {}\n{:<22} per {}; {}",
        row.name,
        row.workload,
        row.flags.join(" "),
        "",
        row.message,
        goals.join("; ")
    )
}

fn measure_all(context: &Context, options: &Options, rows: &[Row]) -> Result<(), String> {
    let commit = commit(context)?;
    let folder = if options.quick { context.folder("bench/records")? } else { context.root.join(document::RECORDS) };
    let rows = left(rows, &folder, options, &commit)?;
    let deadline = Deadline::after(BUILD_LIMIT);
    let tools = tools(context, &rows, deadline)?;
    let provided = peers_of(context, options, &rows, deadline)?;
    let place = Place::find(context, &options.congestion)?;
    if let Place::System { why } = &place {
        eprintln!("no network namespace, so the system's congestion control is that of all servers: {why}");
    }
    let fields =
        rows.iter().map(|row| servers::field(context, row, &tools, &provided, servers::wanted(row, &options.peers)));
    let fields: Vec<Field> = fields.collect::<Result<_, _>>()?;
    let seconds: f64 = rows.iter().zip(&fields).map(|(row, field)| options.estimate(row, field.contenders.len())).sum();
    println!("{} rows, some {:.0} min", rows.len(), (seconds / 60.0).ceil());
    let around = Around { commit, own_namespace: place == Place::Own };
    let mut failed = Vec::new();
    for (number, (row, field)) in rows.iter().zip(&fields).enumerate() {
        println!("{} of {}: {} ({})", number + 1, rows.len(), row.name, row.title);
        match measure(context, options, row, field, &tools, &place, &around) {
            Ok(record) => {
                record.write(&folder)?;
                for judged in verdict::judge(row, &record) {
                    println!("    {}", judged.tell());
                }
            }
            Err(reason) => {
                eprintln!("{}: no record: {reason}", row.name);
                failed.push(row.name.as_str());
            }
        }
    }
    if !options.quick {
        document::write(context)?;
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("without a record: {}", failed.join(", "))) }
}

/// Rows that are still to be measured.
fn left(rows: &[Row], folder: &Path, options: &Options, commit: &str) -> Result<Vec<Row>, String> {
    let mut left = Vec::new();
    for row in rows {
        let record = if options.resume { Record::of_row(folder, &row.name)? } else { None };
        if record.is_none_or(|record| record.conditions.commit != commit) {
            left.push(row.clone());
        }
    }
    Ok(left)
}

/// Builds what rows need.
fn tools(context: &Context, rows: &[Row], deadline: Deadline) -> Result<Tools, String> {
    let (ringwire, ringload) = (server::build(context, deadline)?, server::build_ringload(context, deadline)?);
    let floor = server::build_release(context, "ringwire-benches", "floor", deadline)?;
    // Some say it as an answer and some as a fault.
    let help = |program: &Path, arguments: &[&str]| {
        let (mut command, log) = (context.command(program), provision::log(context, "bench-help")?);
        command.args(arguments);
        run(command, &log, deadline.within(HELP_LIMIT))?;
        fs::read_to_string(&log).map_err(|error| format!("cannot read {}: {error}", log.display()))
    };
    let needs_tls = rows.iter().any(|row| row.dress == Dress::Tls);
    Ok(Tools {
        ringwire_help: help(&ringwire, &["serve", "--help"])?,
        floor_help: help(&floor, &["--help"])?,
        tls: needs_tls.then(|| tls::certificates(context, deadline)).transpose()?,
        ringload,
        ringwire,
        floor,
    })
}

/// Makes and checks the peers that rows ask for. One that cannot be had is said, and is not in what is returned.
fn peers_of(context: &Context, options: &Options, rows: &[Row], deadline: Deadline) -> Result<Provided, String> {
    let mut names: Vec<String> = Vec::new();
    for row in rows {
        let (wanted, _) = servers::wanted(row, &options.peers);
        names.extend(servers::to_make(row, &wanted));
    }
    names.sort();
    names.dedup();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    peers::provide(context, &names, deadline)
}

fn measure(
    context: &Context,
    options: &Options,
    row: &Row,
    field: &Field,
    tools: &Tools,
    place: &Place,
    around: &Around,
) -> Result<Record, String> {
    let congestion = row.congestion.unwrap_or(&options.congestion);
    let json = context.folder("bench")?.join(format!("{}.json", row.name));
    // What is left of an earlier run is not to be taken for this one's.
    let _ = fs::remove_file(&json);
    let (mut command, _allowed) = place.command(context, congestion)?;
    command.arg(&tools.ringload).args(options.words(row, tools)).args(field.words());
    command.arg("--json").arg(&json);
    let log = provision::log(context, &format!("bench-{}", row.name))?;
    let limit = options.estimate(row, field.contenders.len()) * 3.0 + 120.0;
    let status = run(command, &log, Deadline::after(Duration::from_secs_f64(limit)));
    // Void and faulty runs have their record, in which they are said to be so.
    let text = fs::read_to_string(&json)
        .map_err(|_| format!("{}\n{}", status.unwrap_or_else(|reason| reason), process::tail(&log)))?;
    taken::record(context, row, field, around, &text)
}

/// Runs a command with all it prints going to a file: how it ended.
fn run(mut command: std::process::Command, log: &Path, deadline: Deadline) -> Result<String, String> {
    let fault = |error: std::io::Error| format!("cannot write {}: {error}", log.display());
    let file = fs::File::create(log).map_err(fault)?;
    command.stderr(file.try_clone().map_err(fault)?).stdout(file);
    let ended: Option<ExitStatus> = Guarded::spawn(&mut command)?.wait(deadline)?;
    ended
        .map(|status| format!("it ended with {status}"))
        .ok_or_else(|| "it was killed: it had not ended in its time".to_owned())
}

/// What the measured programs are built from.
const SOURCES: [&str; 7] =
    ["crates/ringwire-*", "loadtest", "benches/src", "benches/peers", "benches/Cargo.toml", "Cargo.toml", "Cargo.lock"];

/// The last commit that changed what the measured programs are built from, and a plus sign if that has changed since. So
/// the commit of a record is not a reason to measure anew.
fn commit(context: &Context) -> Result<String, String> {
    let say = |arguments: &[&str]| {
        let mut git = context.command("git");
        let scratch = provision::log(context, "bench-git")?;
        process::output(git.args(arguments).arg("--").args(SOURCES), &scratch, Deadline::after(Duration::from_secs(30)))
    };
    let commit = say(&["log", "-1", "--format=%h", "--abbrev=12"])?.trim().to_owned();
    let changed = say(&["status", "--porcelain", "--untracked-files=no"])?;
    Ok(if changed.trim().is_empty() { commit } else { commit + "+" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_with_a_record_of_this_commit_is_left_out_if_that_is_asked_for() {
        let folder = std::env::temp_dir().join(format!("xtask-bench-{}", std::process::id()));
        let record = record::record_of("storm", &[("a", record::Role::Peer, &[1.0])]);
        record.write(&folder).unwrap();
        let names = |line: &str, commit: &str| -> Vec<String> {
            let options = Options::read(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).unwrap();
            let left = left(&options.rows().unwrap(), &folder, &options, commit).unwrap();
            left.into_iter().map(|row| row.name).collect()
        };
        assert_eq!(names("storm idle --resume", &record.conditions.commit), ["idle"]);
        assert_eq!(names("storm idle --resume", "another"), ["idle", "storm"]);
        assert_eq!(names("storm idle", &record.conditions.commit), ["idle", "storm"]);
        fs::remove_dir_all(folder).unwrap();
    }
}
