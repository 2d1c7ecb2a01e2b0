//! What some workloads look at beside latencies: ticks that come late or unevenly, and who comes while a run goes on.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ringwire_ring::Instant;

use crate::measure::{Histogram, Seen};

/// Called when a session is there that set out to come: when it set out, counted from the start, and how long it took.
pub type OnJoin = Arc<dyn Fn(Duration, Duration) + Send + Sync>;

/// What else is looked at.
#[derive(Clone, Default)]
pub struct Watch {
    /// A series whose messages are ticks.
    pub cadence: Option<Cadence>,
    /// The series that comings count in, from when each was due until the session is there. With it, sessions may come
    /// while a run goes on, and it is not over when none is there.
    pub joins: Option<usize>,
    /// Told of each coming.
    pub on_join: Option<OnJoin>,
}

/// A series in which each flow has a message at even intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cadence {
    /// Which series.
    pub series: usize,
    /// From one message of a flow to the next.
    pub interval: Duration,
}

/// How evenly ticks came.
#[derive(Debug, Default)]
pub(super) struct Ticks {
    /// Those that came more than an interval after they were due.
    pub(super) late: u64,
    /// By how much the time between two ticks at one session differed from the interval.
    pub(super) jitter: Histogram,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("cadence", &self.cadence).field("joins", &self.joins).finish_non_exhaustive()
    }
}

impl Ticks {
    /// A tick that was `due` then came `at`. `last` is when the one before came to the same session, if one did; only
    /// those that follow each other say something about how even they are.
    pub(super) fn see(&mut self, interval: Duration, seen: Seen, due: Instant, at: Instant, last: Option<Instant>) {
        self.late += u64::from(at.since(due) > interval);
        if let (Seen::InOrder, Some(last)) = (seen, last) {
            self.jitter.record(at.since(last).abs_diff(interval).as_nanos() as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(50);

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_tick_is_late_when_the_next_one_is_due() {
        let mut ticks = Ticks::default();
        ticks.see(TICK, Seen::InOrder, at(100), at(150), None);
        assert_eq!(ticks.late, 0);
        ticks.see(TICK, Seen::InOrder, at(150), at(201), Some(at(150)));
        assert_eq!(ticks.late, 1);
    }

    #[test]
    fn jitter_is_how_far_two_ticks_are_from_the_interval_apart_in_either_direction() {
        let mut ticks = Ticks::default();
        ticks.see(TICK, Seen::InOrder, at(100), at(110), None);
        ticks.see(TICK, Seen::InOrder, at(150), at(167), Some(at(110)));
        ticks.see(TICK, Seen::InOrder, at(200), at(203), Some(at(167)));
        assert_eq!((ticks.jitter.count(), ticks.jitter.max()), (2, 14_000_000));
        assert!(ticks.jitter.percentile(50.0).abs_diff(7_000_000) <= 7_000);
    }

    #[test]
    fn ticks_around_a_lost_one_say_nothing_about_jitter() {
        let mut ticks = Ticks::default();
        ticks.see(TICK, Seen::AfterGap(1), at(200), at(200), Some(at(100)));
        assert_eq!(ticks.jitter.count(), 0);
    }
}
