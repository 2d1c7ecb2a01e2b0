//! `cargo xtask kill`: the test that kills a publishing process and looks for what it acknowledged, for many rounds.

use std::time::Duration;

use crate::context::Context;
use crate::process::{self, Deadline};

/// Rounds if none are asked for.
const ROUNDS: u32 = 100;
/// For building the test.
const BUILD_LIMIT: Duration = Duration::from_secs(15 * 60);
/// For a round: half a second of publishing, reading the journal twice, and a machine that is busy.
const ROUND_LIMIT: Duration = Duration::from_secs(20);

/// Runs the command with its arguments. An error is one of the command line.
pub(crate) fn command(context: &Context, arguments: &[String]) -> Result<bool, String> {
    let rounds = rounds(arguments)?;
    let deadline = Deadline::after(BUILD_LIMIT + ROUND_LIMIT * rounds);
    let mut cargo = context.cargo(&["test", "--package", "ringwire-server", "--test", "kill", "--", "--nocapture"]);
    match process::run(cargo.env("RINGWIRE_KILL_ROUNDS", rounds.to_string()), deadline) {
        Ok(()) => Ok(true),
        Err(reason) => {
            eprintln!("{reason}");
            Ok(false)
        }
    }
}

fn rounds(arguments: &[String]) -> Result<u32, String> {
    match arguments {
        [] => Ok(ROUNDS),
        [option, number] if option == "--rounds" => {
            let rounds = number.parse().ok().filter(|rounds| (1..=10_000).contains(rounds));
            rounds.ok_or_else(|| format!("--rounds {number}: a number from 1 to 10000 is needed"))
        }
        _ => Err("usage: cargo xtask kill [--rounds N]".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &[&str]) -> Result<u32, String> {
        rounds(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn rounds_are_a_number_or_a_hundred() {
        assert_eq!((asked(&[]), asked(&["--rounds", "7"])), (Ok(100), Ok(7)));
        for wrong in [&["--rounds"][..], &["--rounds", "0"], &["--rounds", "x"], &["7"]] {
            assert!(asked(wrong).is_err(), "{wrong:?}");
        }
    }
}
