//! `cargo xtask instructions`: how many instructions each hot path executes, against the record.
//!
//! Callgrind runs the `instructions` binary of `benches/`, which does the work of one path in memory, and collects in
//! the one function that marks it. Such a count knows no clock and no neighbour: the same program executes the same
//! instructions on a busy machine. Another compiler or other processor features make it another program, so counts are
//! compared with a record only where these are the same; else the step is skipped, and says so.
//!
//! Where what a path executes lies: `callgrind_annotate target/instructions/PATH.out`.

mod record;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::context::Context;
use crate::process::{self, Deadline};
use crate::{provision, server};
use record::{Count, Maker, Record};

/// For building the binary and running all paths.
const LIMIT: Duration = Duration::from_secs(30 * 60);
/// The record, from the root of the checkout.
const RECORD: &str = "benches/records/instructions.json";
/// The function of `benches/` that callgrind collects in, by any part of its name: mangled, it has others around it.
const COUNTED: &str = "*work_to_count*";

/// Runs the command with its arguments: whether no path executes too many. An error is one of the command line.
pub(crate) fn command(context: &Context, arguments: &[String]) -> Result<bool, String> {
    let records = match arguments {
        [] => false,
        [option] if option == "--record" => true,
        _ => return Err("usage: cargo xtask instructions [--record]".to_owned()),
    };
    let deadline = Deadline::after(LIMIT);
    let run = || {
        let valgrind = provision::program(context, &["valgrind"], deadline)?;
        if records { write_record(context, &valgrind, deadline) } else { compare(context, &valgrind, deadline) }
    };
    match run() {
        Ok(Compared::Held) => Ok(true),
        Ok(Compared::Incomparable(why)) => {
            println!("not compared: {why}");
            Ok(true)
        }
        Err(reason) => {
            eprintln!("{reason}");
            Ok(false)
        }
    }
}

/// What came of a comparison that could be made, or why it could not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Compared {
    /// No path executes too many.
    Held,
    /// The record is of another compiler or processor.
    Incomparable(String),
}

/// Counts all paths and compares them with the record. An error says which execute too many, or what failed.
pub(crate) fn compare(context: &Context, valgrind: &Path, deadline: Deadline) -> Result<Compared, String> {
    let file = context.root.join(RECORD);
    let text = fs::read_to_string(&file).map_err(|error| format!("cannot read {RECORD}: {error}"))?;
    let record = Record::parse(&text).map_err(|line| format!("{RECORD}, line {line}: not as it was written"))?;
    let binary = build(context, deadline)?;
    let maker = maker(context, &binary, valgrind, deadline)?;
    if let Some(difference) = record.maker.difference(&maker) {
        return Ok(Compared::Incomparable(format!(
            "{difference}: `cargo xtask instructions --record` makes a record of this one"
        )));
    }
    let counts = count_all(context, &binary, valgrind, deadline)?;
    print!("{}", record.table(&counts));
    match record.faults(&counts) {
        faults if faults.is_empty() => Ok(Compared::Held),
        mut faults => {
            faults.extend(record.maker.note(&maker));
            faults.push(
                "`cargo xtask instructions --record` makes a new record; its commit says what it is for".to_owned(),
            );
            Err(faults.join("\n"))
        }
    }
}

fn write_record(context: &Context, valgrind: &Path, deadline: Deadline) -> Result<Compared, String> {
    let binary = build(context, deadline)?;
    let maker = maker(context, &binary, valgrind, deadline)?;
    let record = Record { maker, counts: count_all(context, &binary, valgrind, deadline)? };
    let file = context.root.join(RECORD);
    fs::write(&file, record.to_json()).map_err(|error| format!("cannot write {RECORD}: {error}"))?;
    println!("{} paths are in {RECORD}", record.counts.len());
    Ok(Compared::Held)
}

fn build(context: &Context, deadline: Deadline) -> Result<PathBuf, String> {
    server::build_release(context, "ringwire-benches", "instructions", deadline)
}

/// What makes this program the program that it is.
fn maker(context: &Context, binary: &Path, valgrind: &Path, deadline: Deadline) -> Result<Maker, String> {
    let scratch = provision::log(context, "instructions")?;
    let said = |command: &mut std::process::Command| {
        process::output(command, &scratch, deadline).map(|text| text.trim().to_owned())
    };
    let rustc = context.command(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("--version").output();
    let rustc = rustc.map_err(|error| format!("cannot run rustc: {error}"))?.stdout;
    // The processor as valgrind shows it, not as it is.
    let cpu = said(context.command(valgrind).args(["--tool=none", "--quiet"]).arg(binary).arg("--cpu"))?;
    Ok(Maker {
        rustc: String::from_utf8_lossy(&rustc).trim().to_owned(),
        cpu,
        libc: said(context.command("getconf").arg("GNU_LIBC_VERSION")).unwrap_or_else(|_| "unknown".to_owned()),
        valgrind: said(context.command(valgrind).arg("--version"))?,
    })
}

fn count_all(context: &Context, binary: &Path, valgrind: &Path, deadline: Deadline) -> Result<Vec<Count>, String> {
    let scratch = provision::log(context, "instructions")?;
    let paths = process::output(context.command(binary).arg("--list"), &scratch, deadline)?;
    paths.lines().map(|path| count(context, binary, valgrind, path, deadline)).collect()
}

/// Runs one path under callgrind.
fn count(context: &Context, binary: &Path, valgrind: &Path, path: &str, deadline: Deadline) -> Result<Count, String> {
    let scratch = provision::log(context, "instructions")?;
    let out = context.folder("instructions")?.join(format!("{path}.out"));
    let mut callgrind = context.command(valgrind);
    callgrind.args(["--tool=callgrind", "--quiet", &format!("--toggle-collect={COUNTED}")]);
    callgrind.arg(format!("--callgrind-out-file={}", out.display())).arg(binary).arg(path);
    let said = process::output(&mut callgrind, &scratch, deadline)?;
    let text = fs::read_to_string(&out).map_err(|error| format!("cannot read {}: {error}", out.display()))?;
    let counted = record::units(&said).zip(record::total(&text));
    let Some(((units, unit), instructions)) =
        counted.filter(|((units, _), instructions)| *units > 0 && *instructions > 0)
    else {
        return Err(format!("callgrind counted nothing in {path}: does {COUNTED} still name its function?"));
    };
    Ok(Count { name: format!("{path} per {unit}"), instructions: instructions as f64 / units as f64 })
}
