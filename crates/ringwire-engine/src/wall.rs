//! The time of day for what leaves the process, without asking for it in every turn.
//!
//! The clock is asked once a second; in between, the time of day moves on as the turn's instant does. Where the clock
//! is set, this follows within a second.

use std::time::Duration;

use ringwire_ring::Instant;

/// How long an answer of the clock is gone by.
const FRESH: Duration = Duration::from_secs(1);

/// The time of day, in microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WallTime {
    asked_at: Instant,
    answer_us: u64,
}

impl WallTime {
    /// At `now` it is `wall_clock_us`.
    pub(crate) fn new(now: Instant, wall_clock_us: u64) -> Self {
        Self { asked_at: now, answer_us: wall_clock_us }
    }

    /// Asks again if the last answer is a second old.
    pub(crate) fn renew(&mut self, now: Instant, wall_clock_us: impl FnOnce() -> u64) {
        if now.since(self.asked_at) >= FRESH {
            *self = Self::new(now, wall_clock_us());
        }
    }

    /// The time of day at `now`.
    pub(crate) fn at(&self, now: Instant) -> u64 {
        self.answer_us + now.since(self.asked_at).as_micros() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day_moves_on_with_the_instants_and_is_asked_for_once_a_second() {
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        let mut wall = WallTime::new(at(500), 7_000_000);
        wall.renew(at(1_499), || unreachable!("the answer is fresh"));
        assert_eq!(wall.at(at(1_499)), 7_999_000);
        wall.renew(at(1_500), || 9_000_000);
        assert_eq!(wall.at(at(1_501)), 9_001_000);
    }
}
