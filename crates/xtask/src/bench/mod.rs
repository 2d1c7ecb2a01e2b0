//! `cargo xtask bench`: ringwire beside its peers and the floors, row by row, with records and tables of them.
//!
//! A [row](rows) is one `ringload compare`, in a [place](place) where all servers have the same congestion control. What
//! it found becomes a [record](record), written as soon as the row is done, so that a run that is broken off has kept
//! what it measured and `--resume` goes on. The [tables] are made from whatever records there are. `--quick` is to see
//! that all of it works: its records stay in the target directory.

mod document;
mod figures;
mod json;
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
use place::Place;
use record::Record;
use rows::{Dress, Row};
use servers::{Asked, Field, Tools};
use taken::Around;

const USAGE: &str = "\
usage: cargo xtask bench [ROW]... [FLAGS]
    ROW                rows by name, with * for any characters [all of them]
    --list             names the rows, and what each must show
    --rounds N         rounds that interleave the servers; fewer than 6 give a range instead of 95 % confidence [7]
    --seconds S        how long a round measures each server [1]
    --warm-up S        how long each runs before that [0.3]
    --peers A,B|all    these peers, or all that can take part [those that were the quickest at each row]
    --congestion NAME  TCP congestion control for all servers [cubic]
    --resume           leaves out rows that have a record of this very commit
    --quick            two rounds of 0.2 s, recorded under target/bench: to see that it works
    --tables           measures nothing, and makes the tables from the records that there are";

/// For building ringwire, ringload and floors, and making the peers.
const BUILD_LIMIT: Duration = Duration::from_secs(45 * 60);

/// For a program to say what it knows.
const HELP_LIMIT: Duration = Duration::from_secs(10);

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
struct Options {
    patterns: Vec<String>,
    rounds: u32,
    seconds: f64,
    warm_up: f64,
    peers: Asked,
    congestion: String,
    resume: bool,
    quick: bool,
    task: Task,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Measure,
    List,
    Tables,
}

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

/// The commit of the checkout, and a plus sign if what is built from differs from it.
fn commit(context: &Context) -> Result<String, String> {
    let say = |arguments: &[&str]| {
        let mut git = context.command("git");
        let scratch = provision::log(context, "bench-git")?;
        process::output(git.args(arguments), &scratch, Deadline::after(Duration::from_secs(30)))
    };
    let commit = say(&["rev-parse", "--short=12", "HEAD"])?.trim().to_owned();
    let sources = ["crates", "loadtest", "benches/src", "benches/peers", "Cargo.toml", "Cargo.lock"];
    let changed = say(&[&["status", "--porcelain", "--untracked-files=no", "--"], &sources[..]].concat())?;
    Ok(if changed.trim().is_empty() { commit } else { commit + "+" })
}

impl Options {
    fn read(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self {
            patterns: Vec::new(),
            rounds: 7,
            seconds: 1.0,
            warm_up: 0.3,
            peers: Asked::OfRow,
            congestion: "cubic".to_owned(),
            resume: false,
            quick: false,
            task: Task::Measure,
        };
        let quick = arguments.iter().any(|argument| argument == "--quick");
        if quick {
            (options.quick, options.rounds, options.seconds, options.warm_up) = (true, 2, 0.2, 0.1);
        }
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value\n{USAGE}"));
            match argument.as_str() {
                "--list" => options.task = Task::List,
                "--tables" => options.task = Task::Tables,
                "--resume" => options.resume = true,
                "--quick" => {}
                "--rounds" => options.rounds = above_zero(argument, value()?)?,
                "--seconds" => options.seconds = above_zero(argument, value()?)?,
                "--warm-up" => options.warm_up = above_zero(argument, value()?)?,
                "--congestion" => options.congestion.clone_from(value()?),
                "--peers" => options.peers = peers_asked(value()?)?,
                flag if flag.starts_with('-') => return Err(format!("{flag} is not known\n{USAGE}")),
                pattern => options.patterns.push(pattern.to_owned()),
            }
        }
        Ok(options)
    }

    /// The rows that the patterns name, in the order of the table.
    fn rows(&self) -> Result<Vec<Row>, String> {
        let mut all = rows::all();
        let unknown = self.patterns.iter().find(|pattern| !all.iter().any(|row| rows::fits(pattern, &row.name)));
        if let Some(pattern) = unknown {
            return Err(format!("no row is called {pattern}: cargo xtask bench --list names them"));
        }
        all.retain(|row| {
            self.patterns.is_empty() || self.patterns.iter().any(|pattern| rows::fits(pattern, &row.name))
        });
        Ok(all)
    }

    /// Rounds of a row.
    fn rounds(&self, row: &Row) -> u32 {
        self.rounds.min(row.rounds_max)
    }

    /// What ringload is told beside the servers.
    fn words(&self, row: &Row, tools: &Tools) -> Vec<String> {
        let mut words = vec!["compare".to_owned(), row.workload.to_owned()];
        words.extend(row.flags.iter().cloned());
        let mut tell = |name: &str, value: String| words.extend([name.to_owned(), value]);
        tell("--rounds", self.rounds(row).to_string());
        tell("--seconds", (self.seconds * row.stretch).to_string());
        if !row.flags.iter().any(|flag| flag == "--warm-up") {
            tell("--warm-up", self.warm_up.to_string());
        }
        // A peer that cannot do a row is not to take the others' record with it.
        tell("--keep-going", "on".to_owned());
        if let Some([ca, ..]) = tools.tls.as_ref().filter(|_| row.dress == Dress::Tls) {
            tell("--ca", ca.display().to_string());
        }
        words
    }

    /// How many seconds a row takes with so many servers.
    fn estimate(&self, row: &Row, servers: usize) -> f64 {
        let each = self.seconds * row.stretch + self.warm_up + row.overhead;
        each * f64::from(self.rounds(row)) * servers as f64
    }
}

fn above_zero<T: std::str::FromStr + PartialOrd + Default>(name: &str, text: &str) -> Result<T, String> {
    let number = text.parse().ok().filter(|number: &T| *number > T::default());
    number.ok_or_else(|| format!("{name} {text}: a number above 0 is needed\n{USAGE}"))
}

fn peers_asked(text: &str) -> Result<Asked, String> {
    if text == "all" {
        return Ok(Asked::All);
    }
    let names: Vec<String> =
        text.split(',').filter(|name| !name.is_empty() && *name != "none").map(str::to_owned).collect();
    let known = || peers::names().chain([rows::YAWC]);
    match names.iter().find(|name| !known().any(|known| known == name.as_str())) {
        Some(name) => Err(format!("--peers {name}: there are {}", known().collect::<Vec<_>>().join(", "))),
        None => Ok(Asked::Named(names)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn read(line: &str) -> Result<Options, String> {
        Options::read(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn patterns_choose_rows_and_one_that_fits_none_is_an_error() {
        let names = |line: &str| -> Result<Vec<String>, String> {
            Ok(read(line)?.rows()?.into_iter().map(|row| row.name).collect())
        };
        assert_eq!(names("storm idle").unwrap(), ["idle", "storm"]);
        assert_eq!(names("fanout-*-w8").unwrap().len(), 4);
        assert_eq!(names("").unwrap().len(), rows::all().len());
        assert!(names("echo").unwrap_err().contains("echo"));
    }

    #[test]
    fn flags_are_read_wherever_they_stand() {
        let options = read("--rounds 9 storm --seconds 0.5 --peers bun,ws --congestion bbr --resume").unwrap();
        assert_eq!((options.rounds, options.seconds, options.congestion.as_str()), (9, 0.5, "bbr"));
        assert_eq!(options.peers, Asked::Named(vec!["bun".to_owned(), "ws".to_owned()]));
        assert!(options.resume && options.patterns == ["storm"] && options.task == Task::Measure);
        assert_eq!(read("--rounds 3 --quick").map(|options| (options.rounds, options.seconds)), Ok((3, 0.2)));
        assert_eq!(read("--peers none").map(|options| options.peers), Ok(Asked::Named(Vec::new())));
    }

    #[test]
    fn faults_say_what_is_wrong() {
        for (line, words) in [
            ("--shout", "--shout"),
            ("--rounds", "needs a value"),
            ("--rounds 0", "above 0"),
            ("--seconds x", "--seconds x"),
            ("--peers nobody", "there are fastwebsockets"),
        ] {
            let fault = read(line).unwrap_err();
            assert!(fault.contains(words), "{line}: {fault}");
        }
    }

    #[test]
    fn ringload_is_told_what_the_row_says_and_what_was_asked_for() {
        let options = read("--rounds 9 --seconds 0.5").unwrap();
        let tools = Tools {
            ringload: PathBuf::new(),
            ringwire: PathBuf::new(),
            floor: PathBuf::new(),
            ringwire_help: String::new(),
            floor_help: String::new(),
            tls: Some(["ca.pem", "", ""].map(PathBuf::from)),
        };
        let told = |name: &str| {
            let row = rows::all().into_iter().find(|row| row.name == name).unwrap();
            options.words(&row, &tools).join(" ")
        };
        assert_eq!(
            told("echo-256k-c1000-d1"),
            "compare echo --bytes 262144 --connections 1000 --depth 1 --rounds 9 --seconds 2 --warm-up 0.3 --keep-going on"
        );
        assert!(told("wss").ends_with("--ca ca.pem"), "{}", told("wss"));
        let idle = told("idle");
        assert!(idle.contains("--rounds 3") && idle.matches("--warm-up").count() == 1, "{idle}");
    }

    #[test]
    fn a_row_with_a_record_of_this_commit_is_left_out_if_that_is_asked_for() {
        let folder = std::env::temp_dir().join(format!("xtask-bench-{}", std::process::id()));
        let record = record::record_of("storm", &[("a", record::Role::Peer, &[1.0])]);
        record.write(&folder).unwrap();
        let names = |line: &str, commit: &str| -> Vec<String> {
            let options = read(line).unwrap();
            let left = left(&options.rows().unwrap(), &folder, &options, commit).unwrap();
            left.into_iter().map(|row| row.name).collect()
        };
        assert_eq!(names("storm idle --resume", &record.conditions.commit), ["idle"]);
        assert_eq!(names("storm idle --resume", "another"), ["idle", "storm"]);
        assert_eq!(names("storm idle", &record.conditions.commit), ["idle", "storm"]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_time_that_a_row_takes_grows_with_rounds_and_servers() {
        let row = rows::all().remove(0);
        assert_eq!(read("--rounds 10 --seconds 1").unwrap().estimate(&row, 8).round(), 152.0);
    }
}
