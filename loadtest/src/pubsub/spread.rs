//! First to last: how far apart in time the first and the last subscriber get the same message.
//!
//! Publishes under way have a place each in a table; who comes to a place that another has taken writes that one down.
//! So arrivals cost a look into the table, and what is written down is bounded: of a run with more publishes than
//! [`KEPT_MAX`], the first so many count, and the report says how many did.

use ringwire_ring::Instant;

use crate::measure::Histogram;

/// Publishes under way, as a power of two.
const UNDER_WAY: usize = 1 << 14;
/// Publishes that are kept, 24 bytes each.
const KEPT_MAX: usize = 1 << 20;

/// When the first and the last subscriber of this thread got each publish.
#[derive(Debug)]
pub struct Spreads {
    under_way: Vec<Arrivals>,
    kept: Vec<Arrivals>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Arrivals {
    /// Flow and number, plus one; 0 is nobody's.
    key: u64,
    first: u64,
    last: u64,
}

impl Default for Spreads {
    fn default() -> Self {
        Self { under_way: vec![Arrivals::default(); UNDER_WAY], kept: Vec::new() }
    }
}

impl Spreads {
    /// A flow's message arrived somewhere.
    #[inline]
    pub fn see(&mut self, flow: u32, seq: u64, at: Instant) {
        // Flows have 24 bits and numbers of a run fewer than 40.
        let key = (u64::from(flow) << 40 | seq & ((1 << 40) - 1)) + 1;
        let place = key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - UNDER_WAY.trailing_zeros());
        let arrivals = &mut self.under_way[place as usize];
        if arrivals.key != key {
            let before = std::mem::replace(arrivals, Arrivals { key, first: at.as_nanos(), last: 0 });
            if before.key != 0 && self.kept.len() < KEPT_MAX {
                self.kept.push(before);
            }
        }
        arrivals.last = at.as_nanos();
    }

    /// Adds what another thread has seen of the same publishes.
    pub fn merge(&mut self, other: Spreads) {
        let Spreads { under_way, kept } = other;
        self.kept.extend(kept);
        self.kept.extend(under_way.into_iter().filter(|arrivals| arrivals.key != 0));
    }

    /// From the first arrival to the last of each publish, in nanoseconds.
    pub fn histogram(mut self) -> Histogram {
        let under_way = std::mem::take(&mut self.under_way);
        let mut all = self.kept;
        all.extend(under_way.into_iter().filter(|arrivals| arrivals.key != 0));
        all.sort_unstable_by_key(|arrivals| arrivals.key);
        let mut histogram = Histogram::default();
        for same in all.chunk_by(|one, other| one.key == other.key) {
            let first = same.iter().map(|arrivals| arrivals.first).min();
            let last = same.iter().map(|arrivals| arrivals.last).max();
            histogram.record(last.zip(first).map_or(0, |(last, first)| last - first));
        }
        histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn a_publish_spreads_from_its_first_arrival_to_its_last_in_whatever_thread() {
        let (mut one, mut other) = (Spreads::default(), Spreads::default());
        one.see(3, 0, at(1_000));
        one.see(3, 0, at(1_400));
        other.see(3, 0, at(900));
        other.see(3, 1, at(5_000));
        other.see(2, 0, at(7_000));
        one.merge(other);
        let histogram = one.histogram();
        assert_eq!((histogram.count(), histogram.max(), histogram.percentile(0.0)), (3, 500, 0));
    }

    #[test]
    fn none_is_forgotten_when_places_are_taken_again() {
        let mut spreads = Spreads::default();
        let publishes = 3 * UNDER_WAY as u64;
        for seq in 0..publishes {
            spreads.see(1, seq, at(seq * 100));
            spreads.see(1, seq, at(seq * 100 + 40));
        }
        let histogram = spreads.histogram();
        assert_eq!((histogram.count(), histogram.percentile(0.0), histogram.max()), (publishes, 40, 40));
    }
}
