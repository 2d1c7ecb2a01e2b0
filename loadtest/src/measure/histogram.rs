//! Latencies in nanoseconds, counted to three digits, as HdrHistogram does.
//!
//! A value is counted in a bucket that is at most a thousandth of it wide, and a percentile is the greatest value of
//! its bucket, as in every tool of that family: it never reads better than it was, and at most 0.1 % worse. Maximum
//! and mean are exact. Buckets are those of the crate `hdrhistogram`, which makes the curve and the format that others
//! read; they are counted in here because this is on the path of every message and three times as quick.
//!
//! A histogram takes 264 KiB of address space, whatever it holds, of which only what is counted in is touched.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer};

/// Significant decimal digits.
const DIGITS: u8 = 3;
/// Buckets per power of two, as a power of two: enough for so many digits.
const FINE_BITS: u32 = 10;
const FINE: usize = 1 << FINE_BITS;
/// 73 minutes in nanoseconds: what is greater is counted as this, but for maximum and mean.
const COUNTED_MAX: u64 = (1 << VALUE_BITS) - 1;
const VALUE_BITS: u32 = 42;
/// The first `2 * FINE` values have a bucket each, then every power of two has `FINE`.
const BUCKETS: usize = FINE * (VALUE_BITS - FINE_BITS + 1) as usize;
/// Points of a percentile curve for each halving of the distance to 100 %.
const POINTS_PER_HALVING: u32 = 8;

/// Counts of values; here nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: Box<[u64]>,
    count: u64,
    sum: u128,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS].into_boxed_slice(), count: 0, sum: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts one value.
    #[inline]
    pub fn record(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.count += 1;
        self.sum += u128::from(value);
        self.max = self.max.max(value);
    }

    /// Adds what `other` has counted.
    pub fn merge(&mut self, other: &Histogram) {
        for (mine, &theirs) in self.counts.iter_mut().zip(&other.counts) {
            // What has no counts is not to be touched.
            if theirs > 0 {
                *mine += theirs;
            }
        }
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// Values counted.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The greatest value, exact; 0 if there is none.
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// The mean, exact; 0 if there is no value.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }

    /// A value that `percent` of the values do not exceed, at most 0.1 % too great; 0 if there is no value.
    ///
    /// # Panics
    /// If `percent` is not from 0 to 100.
    pub fn percentile(&self, percent: f64) -> u64 {
        assert!((0.0..=100.0).contains(&percent), "a percentile lies between 0 and 100");
        // 99.9 / 100 may be a little more than 0.999: what a rounding adds must not name the next value.
        let rank = percent / 100.0 * (1.0 - 4.0 * f64::EPSILON) * self.count as f64;
        let rank = (rank.ceil() as u64).max(1);
        let mut below = 0;
        for (index, count) in self.counts.iter().enumerate() {
            below += count;
            if below >= rank {
                return bounds(index).1.min(self.max);
            }
        }
        0
    }

    /// The share of the values that are greater than `value`, within a thousandth of `value`; 0 if there is no value.
    pub fn share_above(&self, value: u64) -> f64 {
        let above: u64 = self.counts[bucket(value) + 1..].iter().sum();
        if self.count == 0 { 0.0 } else { above as f64 / self.count as f64 }
    }

    /// The curve of percentiles: percentages and the values that they do not exceed, ever denser towards 100, which
    /// comes last. Some 8 points for each halving of the distance to 100 %, so at most some 300. Empty if there is no
    /// value.
    pub fn percentile_curve(&self) -> Vec<(f64, u64)> {
        if self.count == 0 {
            return Vec::new();
        }
        let all = self.to_hdr();
        let points = all.iter_quantiles(POINTS_PER_HALVING);
        let points = points.map(|point| (point.quantile_iterated_to() * 100.0, point.value_iterated_to()));
        // The last one's value is exact; the others' are not above it.
        points.map(|(percent, value)| (percent, if percent < 100.0 { value.min(self.max) } else { self.max })).collect()
    }

    /// As all tools of the HdrHistogram family read it: V2, compressed, in base64. Nanoseconds.
    pub fn to_v2_base64(&self) -> String {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&self.to_hdr(), &mut bytes).expect("a vector takes all bytes");
        STANDARD.encode(bytes)
    }

    fn to_hdr(&self) -> hdrhistogram::Histogram<u64> {
        let highest = self.max.clamp(2, COUNTED_MAX);
        let mut all = hdrhistogram::Histogram::new_with_bounds(1, highest, DIGITS).expect("these bounds are right");
        for (index, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            all.record_n(bounds(index).0, count).expect("no value is above the highest");
        }
        all
    }
}

/// Which bucket counts `value`.
#[inline]
fn bucket(value: u64) -> usize {
    let value = value.min(COUNTED_MAX);
    // The top FINE_BITS + 1 bits of a large value say the bucket; `shift` is how many are dropped.
    let shift = (u64::BITS - FINE_BITS - 1).saturating_sub(value.leading_zeros());
    shift as usize * FINE + (value >> shift) as usize
}

/// The least and the greatest value of a bucket.
fn bounds(index: usize) -> (u64, u64) {
    let shift = (index / FINE).saturating_sub(1);
    let least = ((index - shift * FINE) as u64) << shift;
    (least, least + (1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::Deserializer;

    fn of(values: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        values.into_iter().for_each(|value| histogram.record(value));
        histogram
    }

    #[test]
    fn percentiles_agree_with_sorted_values() {
        let mut random = fastrand::Rng::with_seed(2);
        for size in [1_usize, 2, 10, 999, 1000, 50_000] {
            // Three decades with a heavy tail, as latencies have.
            let values: Vec<u64> = (0..size).map(|_| (10_000.0 / (1.0 - random.f64()).powf(1.5)) as u64).collect();
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let histogram = of(values.iter().copied());
            for (percent, of_a_million) in
                [(1.0, 10_000), (50.0, 500_000), (90.0, 900_000), (99.0, 990_000), (99.9, 999_000), (100.0, 1_000_000)]
            {
                let rank = (of_a_million * size).div_ceil(1_000_000).max(1);
                let (exact, read) = (sorted[rank - 1], histogram.percentile(percent));
                assert!(read >= exact && read - exact <= exact / 1000 + 1, "p{percent} of {size}: {read}, not {exact}");
            }
            assert_eq!((histogram.count(), histogram.max()), (size as u64, *sorted.last().expect("one at least")));
            let mean = values.iter().sum::<u64>() as f64 / size as f64;
            assert!((histogram.mean() - mean).abs() < 1e-6 * mean);
        }
    }

    #[test]
    fn merging_counts_as_if_recorded_in_one() {
        let (mut one, mut other, mut both) = (Histogram::default(), Histogram::default(), Histogram::default());
        for value in 0..10_000_u64 {
            let histogram = if value % 3 == 0 { &mut one } else { &mut other };
            histogram.record(value * value * value);
            both.record(value * value * value);
        }
        one.merge(&other);
        assert_eq!(one, both);
    }

    #[test]
    fn values_of_any_size_are_counted() {
        let histogram = of([0, COUNTED_MAX + 1, u64::MAX]);
        assert_eq!((histogram.count(), histogram.max(), histogram.percentile(100.0)), (3, u64::MAX, COUNTED_MAX));
        assert_eq!((histogram.to_hdr().len(), histogram.percentile_curve().last()), (3, Some(&(100.0, u64::MAX))));
    }

    #[test]
    fn buckets_are_those_of_the_crate_without_a_gap() {
        let mut last = (0, 0);
        for index in 1..BUCKETS {
            assert_eq!(bounds(index).0, last.1 + 1, "{index}");
            last = bounds(index);
            assert_eq!((bucket(last.0), bucket(last.1)), (index, index));
        }
        assert_eq!(last.1, COUNTED_MAX);
        let crates = hdrhistogram::Histogram::<u64>::new_with_bounds(1, COUNTED_MAX, DIGITS).unwrap();
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..10_000 {
            let value = random.u64(..) >> random.u32(64 - VALUE_BITS..64);
            let theirs = (crates.lowest_equivalent(value), crates.highest_equivalent(value));
            assert_eq!(bounds(bucket(value)), theirs, "{value}");
        }
    }

    #[test]
    fn an_empty_histogram_reads_zero() {
        let empty = Histogram::default();
        assert_eq!((empty.percentile(99.0), empty.max(), empty.mean(), empty.share_above(0)), (0, 0, 0.0, 0.0));
        assert!(empty.percentile_curve().is_empty());
    }

    #[test]
    fn the_share_above_a_value_is_that_of_the_greater_ones() {
        let histogram = of((1..=1000).map(|us| us * 1000));
        assert_eq!(histogram.share_above(990_000), 0.01);
        assert_eq!(histogram.share_above(1_100_000), 0.0);
        assert_eq!(histogram.share_above(0), 1.0);
    }

    #[test]
    fn the_curve_rises_to_the_maximum_at_100() {
        let curve = of((1..=100_000).map(|value| value * 7)).percentile_curve();
        assert!(curve.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1), "{curve:?}");
        assert_eq!(curve.last(), Some(&(100.0, 700_000)));
        assert!((100..300).contains(&curve.len()), "{}", curve.len());
        let near = |percent: f64| curve.iter().find(|point| point.0 >= percent).expect("it ends at 100").1;
        assert!(near(50.0).abs_diff(350_000) < 700 && near(99.0).abs_diff(693_000) < 3500, "{}", near(99.0));
    }

    #[test]
    fn other_tools_read_what_is_written() {
        let histogram = of((1..1000).map(|value| value * value));
        let bytes = STANDARD.decode(histogram.to_v2_base64()).unwrap();
        let read: hdrhistogram::Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
        assert_eq!((read.len(), read.value_at_quantile(0.5)), (999, histogram.percentile(50.0)));
        // The cookie of compressed V2.
        assert!(histogram.to_v2_base64().starts_with("HISTF"), "{}", histogram.to_v2_base64());
    }
}
