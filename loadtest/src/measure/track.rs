//! Which of a sequence of numbered messages have arrived, in 16 bytes.
//!
//! Messages are numbered one by one. A [`Track`] knows the number that comes next and which of the 64 before it have
//! arrived, so what comes behind later ones is told from what comes again. Further back it does not see: what is more
//! than 64 late counts as repeated and stays lost.

/// How far back a track sees.
const DEPTH: u64 = u64::BITS as u64;
/// `next` of a track that begins with whatever comes first.
const ANYWHERE: u64 = u64::MAX;

/// What a subscriber has seen of one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Track {
    /// The number that is to come next.
    next: u64,
    /// Bit `i`: number `next - 1 - i` has arrived, or lies before the beginning.
    seen: u64,
}

/// What a number was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The next one.
    InOrder,
    /// A later one: so many before it are missing.
    AfterGap(u64),
    /// One that was missing: it comes behind later ones.
    Late,
    /// One that had arrived.
    Repeated,
}

impl Track {
    /// A sequence whose first number is to be `first`.
    pub const fn from(first: u64) -> Self {
        Self { next: first, seen: u64::MAX }
    }

    /// A sequence that was joined on its way: the number that comes first is the first, and smaller ones count as
    /// repeated.
    pub const fn anywhere() -> Self {
        Self::from(ANYWHERE)
    }

    /// Whether the sequence has begun: always, unless it is to begin anywhere and nothing has come.
    pub const fn has_begun(&self) -> bool {
        self.next != ANYWHERE
    }

    /// The number that is to come next.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Takes a number in.
    #[inline]
    pub fn see(&mut self, number: u64) -> Seen {
        if number == self.next {
            self.next += 1;
            self.seen = self.seen << 1 | 1;
            return Seen::InOrder;
        }
        self.see_other(number)
    }

    fn see_other(&mut self, number: u64) -> Seen {
        if !self.has_begun() {
            *self = Self::from(number + 1);
            return Seen::InOrder;
        }
        if number > self.next {
            let gap = number - self.next;
            self.seen = if gap + 1 < DEPTH { self.seen << (gap + 1) | 1 } else { 1 };
            self.next = number + 1;
            return Seen::AfterGap(gap);
        }
        let back = self.next - 1 - number;
        if back >= DEPTH || self.seen >> back & 1 == 1 {
            return Seen::Repeated;
        }
        self.seen |= 1 << back;
        Seen::Late
    }

    /// How many are missing at the end, if `end` is the number behind the last one: those behind what came.
    pub const fn missing_until(&self, end: u64) -> u64 {
        if self.has_begun() { end.saturating_sub(self.next) } else { 0 }
    }
}

/// What became of the messages of many sequences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that arrived, each counted once, late ones too.
    pub arrived: u64,
    /// Those that are missing. One that comes late is taken off again.
    pub lost: u64,
    /// Those that came again.
    pub repeated: u64,
    /// Those that came behind later ones; they are among `arrived`.
    pub out_of_order: u64,
}

impl Tally {
    /// Counts what a number was.
    #[inline]
    pub fn count(&mut self, seen: Seen) {
        match seen {
            Seen::InOrder => self.arrived += 1,
            Seen::AfterGap(missing) => {
                self.arrived += 1;
                self.lost += missing;
            }
            Seen::Late => {
                self.arrived += 1;
                self.lost -= 1;
                self.out_of_order += 1;
            }
            Seen::Repeated => self.repeated += 1,
        }
    }

    /// Counts what is missing at the end of a sequence: see [`Track::missing_until`].
    pub fn end(&mut self, track: &Track, end: u64) {
        self.lost += track.missing_until(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    #[test]
    fn a_track_takes_16_bytes() {
        assert_eq!(size_of::<Track>(), 16);
    }

    #[test]
    fn each_kind_of_fault_is_told_from_the_others() {
        let mut track = Track::from(0);
        let saw = [0, 1, 4, 2, 2, 4, 3, 5].map(|number| track.see(number));
        use Seen::{AfterGap, InOrder, Late, Repeated};
        assert_eq!(saw, [InOrder, InOrder, AfterGap(2), Late, Repeated, Repeated, Late, InOrder]);
    }

    #[test]
    fn what_was_never_sent_before_the_first_is_repeated_not_late() {
        let mut track = Track::from(10);
        assert_eq!(track.see(9), Seen::Repeated);
        let mut joined = Track::anywhere();
        assert_eq!([joined.see(7), joined.see(6), joined.see(8)], [Seen::InOrder, Seen::Repeated, Seen::InOrder]);
    }

    #[test]
    fn what_did_not_come_at_the_end_is_missing() {
        let mut track = Track::from(0);
        track.see(0);
        assert_eq!((track.missing_until(1), track.missing_until(5)), (0, 4));
        assert_eq!(Track::anywhere().missing_until(5), 0);
    }

    #[test]
    fn a_gap_of_any_width_leaves_only_the_last_64_in_sight() {
        for gap in [1, 61, 62, 63, 64, 65, 1 << 40] {
            let mut track = Track::from(0);
            track.see(0);
            assert_eq!(track.see(gap + 1), Seen::AfterGap(gap));
            assert_eq!(track.see(gap + 1), Seen::Repeated, "{gap}");
            assert_eq!(track.see(gap), Seen::Late, "{gap}");
            // Number 1 was skipped, number 0 was not: both lie about the gap's width back.
            let is_in_sight = (2..64).contains(&gap);
            assert_eq!(track.see(1), if is_in_sight { Seen::Late } else { Seen::Repeated }, "{gap}");
            assert_eq!(track.see(0), Seen::Repeated, "{gap}");
        }
    }

    /// What a network did: numbers as they came.
    fn disturbed() -> impl Strategy<Value = (u64, Vec<u64>)> {
        let fate = prop_oneof![6 => Just((1, 0)), 1 => Just((0, 0)), 1 => Just((2, 0)), 2 => (1..3usize, 1..60u64)];
        prop::collection::vec(fate, 1..300).prop_map(|fates| {
            let count = fates.len() as u64;
            let mut places: Vec<(u64, u64)> = Vec::new();
            for (number, (copies, delay)) in (0..).zip(fates) {
                // Copies come one behind the other; a delay moves them behind later numbers.
                places.extend(
                    (0..copies as u64)
                        .map(|copy| ((number + delay) * 4 + 2 * u64::from(delay > 0) + copy.min(1), number)),
                );
            }
            places.sort_by_key(|place| place.0);
            (count, places.into_iter().map(|place| place.1).collect())
        })
    }

    proptest! {
        #[test]
        fn the_tally_is_that_of_a_model_that_remembers_everything((count, numbers) in disturbed()) {
            let (mut track, mut tally) = (Track::from(0), Tally::default());
            let (mut model, mut seen, mut greatest) = (Tally::default(), BTreeSet::new(), None);
            for &number in &numbers {
                tally.count(track.see(number));
                if seen.insert(number) {
                    model.arrived += 1;
                    model.out_of_order += u64::from(greatest.is_some_and(|greatest| number < greatest));
                } else {
                    model.repeated += 1;
                }
                greatest = greatest.max(Some(number));
            }
            tally.end(&track, count);
            model.lost = count - seen.len() as u64;
            prop_assert_eq!(tally, model);
        }
    }
}
