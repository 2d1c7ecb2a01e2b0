//! `cargo xtask test`: the steps in their order, each within its own time, and a table of what became of them.
//!
//! A step that fails does not stop the ones after it. A step that cannot run here is reported as skipped with the
//! reason; under CI it has failed if what it lacks is something that CI must have.

mod c_client;
mod steps;

use std::fmt;
use std::time::Duration;

use crate::context::Context;
use crate::process::{self, Deadline};
use steps::{STEPS, Step};

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// The reason, as a developer reads it.
    Failed(String),
    /// Not run, for a reason that is no fault: an optional tool is not here.
    Skipped(String),
}

impl From<Result<(), String>> for Outcome {
    fn from(result: Result<(), String>) -> Self {
        match result {
            Ok(()) => Outcome::Passed,
            Err(reason) => Outcome::Failed(reason),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Passed => "passed",
            Outcome::Failed(_) => "FAILED",
            Outcome::Skipped(_) => "SKIPPED",
        })
    }
}

/// Runs the subcommand; whether no step failed.
pub(crate) fn command(context: &Context, arguments: &[String]) -> Result<bool, String> {
    if arguments == ["--list"] {
        for step in STEPS {
            println!("{:<12} {} (at most {} s)", step.name, step.about, step.limit.as_secs());
        }
        return Ok(true);
    }
    let results: Vec<Done> = select(arguments)?.into_iter().map(|step| perform(context, step)).collect();
    println!("\n{}", report(&results));
    Ok(!results.iter().any(|done| matches!(done.outcome, Outcome::Failed(_))))
}

/// A step that is over.
#[derive(Debug)]
struct Done {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
}

fn perform(context: &Context, step: &'static Step) -> Done {
    println!("\n==> {}: {}", step.name, step.about);
    let started = process::now();
    let outcome = (step.run)(context, Deadline::after(step.limit));
    if let Outcome::Failed(reason) | Outcome::Skipped(reason) = &outcome {
        println!("==> {}: {outcome}: {reason}", step.name);
    }
    Done { name: step.name, outcome, took: started.elapsed() }
}

/// The steps that `--only` and `--skip` leave, in the order of the table.
fn select(arguments: &[String]) -> Result<Vec<&'static Step>, String> {
    let (mut only, mut skip) = (Vec::new(), Vec::new());
    for pair in arguments.chunks(2) {
        let [option, name] = pair else { return Err(crate::USAGE.to_owned()) };
        if !STEPS.iter().any(|step| step.name == name) {
            return Err(format!("there is no step `{name}`: see cargo xtask test --list"));
        }
        match option.as_str() {
            "--only" => only.push(name.as_str()),
            "--skip" => skip.push(name.as_str()),
            _ => return Err(crate::USAGE.to_owned()),
        }
    }
    let wanted = |step: &&Step| (only.is_empty() || only.contains(&step.name)) && !skip.contains(&step.name);
    Ok(STEPS.iter().filter(wanted).collect())
}

/// The table, and a last line that counts.
fn report(results: &[Done]) -> String {
    let mut text = String::new();
    for Done { name, outcome, took } in results {
        text += &format!("{name:<12} {:<8} {:>6.1} s", outcome.to_string(), took.as_secs_f64());
        if let Outcome::Failed(reason) | Outcome::Skipped(reason) = outcome {
            text += &format!("  {}", reason.lines().next().unwrap_or_default());
        }
        text.push('\n');
    }
    let count = |wanted: fn(&Outcome) -> bool| results.iter().filter(|done| wanted(&done.outcome)).count();
    let passed = count(|outcome| matches!(outcome, Outcome::Passed));
    let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    let skipped = count(|outcome| matches!(outcome, Outcome::Skipped(_)));
    text + &format!("{passed} passed, {failed} failed, {skipped} skipped")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(arguments: &[&str]) -> Result<Vec<&'static str>, String> {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Ok(select(&arguments)?.into_iter().map(|step| step.name).collect())
    }

    #[test]
    fn no_option_selects_every_step() {
        assert_eq!(names(&[]).expect("valid").len(), STEPS.len());
    }

    #[test]
    fn only_and_skip_narrow_in_the_order_of_the_table() {
        assert_eq!(names(&["--only", "fmt", "--only", "tidy"]), Ok(vec!["tidy", "fmt"]));
        assert_eq!(names(&["--only", "fmt", "--skip", "fmt"]), Ok(vec![]));
        assert!(!names(&["--skip", "python"]).expect("valid").contains(&"python"));
    }

    #[test]
    fn an_unknown_step_or_option_is_refused() {
        assert!(names(&["--only", "nonsense"]).is_err());
        assert!(names(&["--without", "fmt"]).is_err());
        assert!(names(&["--only"]).is_err());
    }

    #[test]
    fn step_names_are_unique() {
        for (index, step) in STEPS.iter().enumerate() {
            assert!(STEPS[..index].iter().all(|other| other.name != step.name), "{} stands twice", step.name);
        }
    }

    #[test]
    fn the_report_ends_with_the_count_and_shows_the_reason() {
        let done = |name, outcome| Done { name, outcome, took: Duration::from_millis(1500) };
        let text = report(&[
            done("tidy", Outcome::Passed),
            done("fmt", Outcome::Failed("two files\nare not formatted".to_owned())),
            done("miri", Outcome::Skipped("no Miri".to_owned())),
        ]);
        assert!(text.contains("fmt          FAILED      1.5 s  two files\n"), "{text}");
        assert!(text.ends_with("\n1 passed, 1 failed, 1 skipped"), "{text}");
    }
}
