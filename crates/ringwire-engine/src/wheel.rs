//! The timer wheel: at most one entry per connection and per cause to look at it, none for an idle connection.
//!
//! Entries are hints. A connection's deadline is in the connection; when an entry comes up, the shard compares, and
//! either acts, or puts in another entry, or forgets it. So moving a deadline later, the common case, costs nothing.

use std::num::NonZeroU32;
use std::time::Duration;

use ringwire_ring::Instant;

/// Resolution. A deadline passes at most this much late.
const TICK: Duration = Duration::from_millis(64);
/// A turn of the wheel takes 65 s, more than most deadlines.
const BUCKETS: usize = 1024;

/// An instant in ticks of the wheel, in four bytes, which last for 8 years of a server's life. An instant between two
/// ticks is the later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(NonZeroU32);

impl Tick {
    pub(crate) fn of(instant: Instant) -> Self {
        let tick = instant.as_nanos().div_ceil(TICK.as_nanos() as u64);
        Self(NonZeroU32::MIN.saturating_add(u32::try_from(tick).unwrap_or(u32::MAX)))
    }

    /// A tick that is at least `time` later.
    pub(crate) fn after(self, time: Duration) -> Self {
        let ticks = time.as_nanos().div_ceil(TICK.as_nanos());
        Self(self.0.saturating_add(u32::try_from(ticks).unwrap_or(u32::MAX)))
    }

    /// Number of the tick.
    pub(crate) fn number(self) -> u32 {
        self.0.get() - 1
    }
}

/// A connection to look at: slot and generation.
pub(crate) type Entry = (u32, u32);

#[derive(Debug)]
pub(crate) struct Wheel {
    buckets: Vec<Vec<(u32, Entry)>>,
    /// The next tick to look at.
    next: u32,
    /// No entry is due before this tick; nor is there any, if there is no such tick.
    soonest: Option<u32>,
}

impl Wheel {
    pub(crate) fn new(now: Instant) -> Self {
        Self { buckets: vec![Vec::new(); BUCKETS], next: Tick::of(now).number(), soonest: None }
    }

    /// Looks at `entry` once `at` has come.
    pub(crate) fn insert(&mut self, at: Tick, entry: Entry) {
        let tick = at.number().max(self.next);
        self.buckets[tick as usize % BUCKETS].push((tick, entry));
        self.soonest = Some(self.soonest.map_or(tick, |soonest| soonest.min(tick)));
    }

    /// When to look next, if there is anything to look at. May be early by a turn of the wheel, never late.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.soonest.map(|tick| Instant::from_nanos(u64::from(tick) * TICK.as_nanos() as u64))
    }

    /// Moves what is due at `now` to `due`.
    pub(crate) fn expire(&mut self, now: Instant, due: &mut Vec<Entry>) {
        let last = u32::try_from(now.as_nanos() / TICK.as_nanos() as u64).unwrap_or(u32::MAX - 1);
        let first = self.next;
        self.next = first.max(last + 1);
        if self.soonest.is_none_or(|soonest| soonest > last) {
            return;
        }
        // A wheel that slept for longer than a turn looks at each bucket once.
        for tick in first.max((last + 1).saturating_sub(BUCKETS as u32))..=last {
            let bucket = &mut self.buckets[tick as usize % BUCKETS];
            bucket.retain(|&(at, entry)| {
                if at <= last {
                    due.push(entry);
                }
                at > last
            });
            if bucket.is_empty() {
                *bucket = Vec::new();
            }
        }
        self.soonest = self.find_soonest();
    }

    /// The first tick of the coming turn of the wheel with an entry that is due; the turn's end if there are only
    /// entries beyond it.
    fn find_soonest(&self) -> Option<u32> {
        let turn = self.next..self.next.saturating_add(BUCKETS as u32);
        let end = turn.end;
        let mut found = None;
        for tick in turn {
            let bucket = &self.buckets[tick as usize % BUCKETS];
            if bucket.iter().any(|&(due, _)| due <= tick) {
                return Some(tick);
            }
            if !bucket.is_empty() {
                found = Some(end);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn entries_come_up_in_time_and_never_early() {
        let mut wheel = Wheel::new(at(0));
        let deadlines = [1, 63, 64, 65, 500, 65_535, 65_536, 65_537, 100_000, 500_000];
        for (slot, &deadline) in deadlines.iter().enumerate() {
            wheel.insert(Tick::of(at(deadline)), (slot as u32, 0));
        }
        let mut came = vec![None; deadlines.len()];
        let mut now = at(0);
        while let Some(next) = wheel.next_at() {
            assert!(next > now || now == at(0), "the wheel moves on");
            now = next;
            let mut due = Vec::new();
            wheel.expire(now, &mut due);
            for (slot, _) in due {
                came[slot as usize] = Some(now);
            }
        }
        for (slot, &deadline) in deadlines.iter().enumerate() {
            let when = came[slot].expect("every entry comes up");
            assert!(when >= at(deadline) && when <= at(deadline) + TICK, "{deadline} ms came at {when:?}");
        }
    }

    #[test]
    fn a_tick_is_never_before_its_instant() {
        for millis in [0, 1, 63, 64, 65, 1_000_000] {
            let tick = Tick::of(at(millis));
            assert!(u64::from(tick.number()) * 64 >= millis && u64::from(tick.number()) * 64 < millis + 64);
            assert_eq!(tick.after(Duration::ZERO), tick);
            assert_eq!(tick.after(Duration::from_millis(1)).number(), tick.number() + 1);
            assert_eq!(tick.after(Duration::from_millis(129)).number(), tick.number() + 3);
        }
        assert_eq!(Tick::of(at(5)).after(Duration::MAX).number(), u32::MAX - 1, "as good as never");
    }

    #[test]
    fn a_wheel_that_slept_finds_everything_due() {
        let mut wheel = Wheel::new(at(0));
        for slot in 0..5000 {
            wheel.insert(Tick::of(at(u64::from(slot) * 7)), (slot, 0));
        }
        let mut due = Vec::new();
        wheel.expire(at(3_600_000), &mut due);
        assert_eq!(due.len(), 5000);
        assert_eq!(wheel.next_at(), None);
    }

    #[test]
    fn what_is_late_already_comes_up_next() {
        let mut wheel = Wheel::new(at(1000));
        wheel.insert(Tick::of(at(5)), (1, 1));
        let next = wheel.next_at().expect("an entry");
        assert!(next <= at(1000) + TICK);
        let mut due = Vec::new();
        wheel.expire(next, &mut due);
        assert_eq!(due, [(1, 1)]);
    }
}
