//! What `cargo xtask bench` was asked for: the command line, the rows that it names, and what ringload is told.

use super::rows::{self, Dress, Row};
use super::servers::{Asked, Tools};
use crate::peers;

const USAGE: &str = "\
usage: cargo xtask bench [ROW]... [FLAGS]
    ROW                rows by name, with * for any characters [all of them]
    --list             names the rows, and what each must show
    --rounds N         rounds that interleave the servers; fewer than 6 give a range instead of 95 % confidence [7]
    --seconds S        how long a round measures each server [1]
    --warm-up S        how long each runs before that [0.3]
    --peers A,B|all    these peers, or all that can take part [those that were the quickest at each row]
    --congestion NAME  TCP congestion control for all servers [cubic]
    --resume           leaves out rows that have a record of these very sources
    --quick            two rounds of 0.2 s, recorded under target/bench: to see that it works
    --tables           measures nothing, and makes the tables from the records that there are";

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Options {
    pub(super) patterns: Vec<String>,
    pub(super) rounds: u32,
    pub(super) seconds: f64,
    pub(super) warm_up: f64,
    pub(super) peers: Asked,
    pub(super) congestion: String,
    pub(super) resume: bool,
    pub(super) quick: bool,
    pub(super) task: Task,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Measure,
    List,
    Tables,
}

impl Options {
    pub(super) fn read(arguments: &[String]) -> Result<Self, String> {
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
    pub(super) fn rows(&self) -> Result<Vec<Row>, String> {
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
    pub(super) fn rounds(&self, row: &Row) -> u32 {
        self.rounds.min(row.rounds_max)
    }

    /// What ringload is told beside the servers.
    pub(super) fn words(&self, row: &Row, tools: &Tools) -> Vec<String> {
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
    pub(super) fn estimate(&self, row: &Row, servers: usize) -> f64 {
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
            "compare echo --bytes 262144 --connections 1000 --depth 1 --rounds 9 --seconds 1 --warm-up 0.3 --keep-going on"
        );
        let most = told("echo-256k-c1000-d16");
        assert!(
            most.contains("--warm-up 3 --rounds 2 --seconds 1.5") && most.matches("--warm-up").count() == 1,
            "{most}"
        );
        assert!(told("wss").ends_with("--ca ca.pem"), "{}", told("wss"));
        let idle = told("idle");
        assert!(idle.contains("--rounds 3") && idle.matches("--warm-up").count() == 1, "{idle}");
    }

    #[test]
    fn the_time_that_a_row_takes_grows_with_rounds_and_servers() {
        let row = rows::all().remove(0);
        assert_eq!(read("--rounds 10 --seconds 1").unwrap().estimate(&row, 8).round(), 128.0);
    }
}
