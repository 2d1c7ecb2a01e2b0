//! What is due at a time: the end of a patience, a read of a slow connection.
//!
//! Entries are never taken out. One that has lost its meaning is found when it comes to the front, where whoever looks
//! says whether it is still meant.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ringwire_ring::Instant;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// Opening has taken too long.
    Patience,
    /// The server has had its time to agree to a close.
    GoodBye,
    /// A slow connection reads its next piece.
    Read,
}

/// An entry. `epoch` tells the connections that have had the same number apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timer {
    pub(super) at: Instant,
    pub(super) link: u32,
    pub(super) epoch: u32,
    pub(super) due: Due,
}

/// What is due, the first in front.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<Timer>>,
}

impl Timers {
    pub(super) fn push(&mut self, timer: Timer) {
        self.heap.push(Reverse(timer));
    }

    /// When the first of those that are still meant is due.
    #[inline]
    pub(super) fn first(&mut self, is_meant: impl Fn(&Timer) -> bool) -> Option<Instant> {
        while let Some(Reverse(timer)) = self.heap.peek() {
            if is_meant(timer) {
                return Some(timer.at);
            }
            self.heap.pop();
        }
        None
    }

    /// The next one that is due now, meant or not.
    #[inline]
    pub(super) fn due(&mut self, now: Instant) -> Option<Timer> {
        let Reverse(timer) = self.heap.peek()?;
        if timer.at > now {
            return None;
        }
        self.heap.pop().map(|Reverse(timer)| timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_in_order_and_those_without_meaning_are_passed_over() {
        let mut timers = Timers::default();
        for (at, link) in [(30, 3), (10, 1), (20, 2)] {
            timers.push(Timer { at: Instant::from_nanos(at), link, epoch: 0, due: Due::Read });
        }
        assert_eq!(timers.first(|timer| timer.link != 1), Some(Instant::from_nanos(20)));
        assert_eq!(timers.due(Instant::from_nanos(19)), None);
        assert_eq!(timers.due(Instant::from_nanos(20)).map(|timer| timer.link), Some(2));
        assert_eq!(timers.due(Instant::from_nanos(40)).map(|timer| timer.link), Some(3));
        assert_eq!(timers.due(Instant::from_nanos(40)), None);
    }
}
