//! Prints rates each second, where somebody looks.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use ringwire_ring::{Clock, Instant};
use tokio::time::Interval;

use super::rate::Rate;

/// Time between two lines.
const PERIOD: Duration = Duration::from_secs(1);

/// Counts, and prints a line each second if standard error is a terminal or it was asked for.
#[derive(Debug)]
pub(super) struct Reporter {
    pub(super) rate: Rate,
    ticks: Option<Interval>,
    clock: Clock,
    last: Instant,
}

impl Reporter {
    /// `is_wanted`: even if standard error is no terminal. To be called on a runtime.
    pub(super) fn new(is_wanted: bool) -> Self {
        let ticks = (is_wanted || stderr().is_terminal()).then(|| tokio::time::interval(PERIOD));
        Self { rate: Rate::default(), ticks, clock: Clock::start(), last: Instant::default() }
    }

    /// Returns when the next line is due; never, if nobody looks.
    pub(super) async fn due(&mut self) {
        match &mut self.ticks {
            Some(ticks) => drop(ticks.tick().await),
            None => std::future::pending().await,
        }
    }

    /// Prints the line.
    pub(super) fn print(&mut self) {
        let now = self.clock.now();
        let since = now.since(self.last);
        if since >= PERIOD / 2 {
            self.last = now;
            eprintln!("{}", self.rate.line(since));
        }
    }
}
