//! How far a connection of an echo is: which messages are on their way, when each was sent, and which have come back.

use std::collections::VecDeque;

use ringwire_ring::Instant;

use crate::measure::{Seen, Track};

/// How many places behind the newest an echo may come and still be timed: as far back as a [`Track`] sees.
const BEHIND_MAX: u64 = 64;

/// How far a connection is. Messages are numbered from 0.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    track: Track,
    /// Those on their way from number `first` on, and those that went missing lately: they may come yet.
    waiting: VecDeque<Waiting>,
    first: u64,
    ended: bool,
}

/// A message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// When it was to be sent.
    pub(super) due: Instant,
    /// When it was.
    pub(super) sent: Instant,
    has_come: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self { track: Track::from(0), waiting: VecDeque::new(), first: 0, ended: false }
    }
}

impl Progress {
    /// The number of the next message that is sent.
    pub(super) fn next_out(&self) -> u64 {
        self.first + self.waiting.len() as u64
    }

    /// The number behind the greatest that came back.
    pub(super) fn next_in(&self) -> u64 {
        self.track.next()
    }

    /// Messages behind the last that came back.
    pub(super) fn on_their_way(&self) -> u64 {
        self.next_out().saturating_sub(self.next_in())
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// A message is sent that was due then. Says its number.
    pub(super) fn send(&mut self, due: Instant) -> u64 {
        self.waiting.push_back(Waiting { due, sent: due, has_come: false });
        self.next_out() - 1
    }

    /// The message with this number, unless it has come and is forgotten.
    pub(super) fn waiting(&mut self, number: u64) -> Option<&mut Waiting> {
        let place = number.checked_sub(self.first)?;
        self.waiting.get_mut(place as usize)
    }

    /// Says what it means that this number comes back, which was sent.
    #[inline]
    pub(super) fn see(&mut self, number: u64) -> Seen {
        self.track.see(number)
    }

    /// A message that was [seen](Self::see) is no longer waited for. Says when it was sent, and how many messages are
    /// forgotten with it: those that are too far behind to be waited for.
    #[inline]
    pub(super) fn take(&mut self, number: u64) -> Option<(Waiting, usize)> {
        let waiting = self.waiting(number)?;
        waiting.has_come = true;
        let taken = *waiting;
        let before = self.waiting.len();
        while let Some(waiting) = self.waiting.front()
            && (waiting.has_come || self.track.next() > self.first + BEHIND_MAX)
        {
            self.waiting.pop_front();
            self.first += 1;
        }
        Some((taken, before - self.waiting.len()))
    }

    /// The connection ended: nothing is waited for. Says how much was.
    pub(super) fn end(&mut self) -> usize {
        self.ended = true;
        self.first = self.next_out();
        let waited = self.waiting.len();
        self.waiting.clear();
        waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(count: u64) -> Progress {
        let mut progress = Progress::default();
        let numbers: Vec<u64> = (0..count).map(|number| progress.send(Instant::from_nanos(number))).collect();
        assert!(numbers.into_iter().eq(0..count));
        progress
    }

    /// When the message that comes was due, and how many are forgotten.
    fn come(progress: &mut Progress, number: u64) -> (Seen, Option<(u64, usize)>) {
        let seen = progress.see(number);
        (seen, progress.take(number).map(|(waiting, forgotten)| (waiting.due.as_nanos(), forgotten)))
    }

    #[test]
    fn a_message_behind_a_later_one_keeps_its_time() {
        let mut progress = sent(4);
        assert_eq!(come(&mut progress, 0), (Seen::InOrder, Some((0, 1))));
        assert_eq!(come(&mut progress, 2), (Seen::AfterGap(1), Some((2, 0))));
        assert_eq!(progress.on_their_way(), 1);
        assert_eq!(come(&mut progress, 1), (Seen::Late, Some((1, 2))));
        assert_eq!(come(&mut progress, 1).0, Seen::Repeated);
        assert_eq!(progress.send(Instant::default()), 4);
    }

    #[test]
    fn what_is_missing_is_forgotten_once_it_is_too_far_behind() {
        let mut progress = sent(100);
        for number in 1..=63 {
            assert_eq!(come(&mut progress, number).1, Some((number, 0)));
        }
        assert_eq!(come(&mut progress, 64).1, Some((64, 65)), "all, and the one that is missing");
        assert_eq!(come(&mut progress, 0), (Seen::Repeated, None));
    }

    #[test]
    fn a_connection_that_ended_waits_for_nothing() {
        let mut progress = sent(5);
        come(&mut progress, 0);
        assert_eq!((progress.end(), progress.has_ended()), (4, true));
        assert_eq!(progress.waiting(3), None);
    }
}
