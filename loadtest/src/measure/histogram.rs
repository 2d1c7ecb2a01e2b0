//! Latencies in nanoseconds, counted to three digits (HdrHistogram).
//!
//! A value is counted in a bucket that is at most a thousandth of it wide, and a percentile is the greatest value of
//! its bucket, as in every tool of that family: it never reads better than it was, and at most 0.1 % worse. The
//! maximum and the mean are exact. A histogram takes 192 KiB of address space, of which only what is counted in is
//! touched, and grows for values above [`FIRST_MAX`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer};

/// Significant decimal digits.
const DIGITS: u8 = 3;
/// 8.6 s in nanoseconds: up to here a histogram does not grow while it counts.
const FIRST_MAX: u64 = (1 << 33) - 1;
/// 73 years in nanoseconds: what is greater counts as this.
const VALUE_MAX: u64 = (1 << 61) - 1;
/// Points of a percentile curve for each halving of the distance to 100 %.
const POINTS_PER_HALVING: u32 = 8;

/// Counts of values; here nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    counts: hdrhistogram::Histogram<u64>,
    sum: u128,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        let mut counts =
            hdrhistogram::Histogram::new_with_bounds(1, FIRST_MAX, DIGITS).expect("the bounds are right for all time");
        counts.auto(true);
        Self { counts, sum: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts one value.
    #[inline]
    pub fn record(&mut self, value: u64) {
        let value = value.min(VALUE_MAX);
        self.counts.record(value).expect("a histogram grows up to its greatest value");
        self.sum += u128::from(value);
        self.max = self.max.max(value);
    }

    /// Adds what `other` has counted.
    pub fn merge(&mut self, other: &Histogram) {
        self.counts.add(&other.counts).expect("a histogram grows up to its greatest value");
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// Values counted.
    pub fn count(&self) -> u64 {
        self.counts.len()
    }

    /// The greatest value, exact; 0 if there is none.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The mean, exact; 0 if there is no value.
    pub fn mean(&self) -> f64 {
        if self.count() == 0 { 0.0 } else { self.sum as f64 / self.count() as f64 }
    }

    /// A value that `percent` of the values do not exceed, at most 0.1 % too great; 0 if there is no value.
    ///
    /// # Panics
    /// If `percent` is not from 0 to 100.
    pub fn percentile(&self, percent: f64) -> u64 {
        assert!((0.0..=100.0).contains(&percent), "a percentile lies between 0 and 100");
        // 99.9 / 100 is a little more than 0.999: what a rounding adds must not name the next value.
        let quantile = percent / 100.0 * (1.0 - 4.0 * f64::EPSILON);
        self.counts.value_at_quantile(quantile).min(self.max)
    }

    /// The share of the values that are greater than `value`, within a thousandth of `value`; 0 if there is no value.
    pub fn share_above(&self, value: u64) -> f64 {
        let count = self.count() as f64;
        let below = (self.counts.quantile_below(value) * count).round();
        if count == 0.0 { 0.0 } else { (count - below) / count }
    }

    /// The curve of percentiles: percentages and the values that they do not exceed, ever denser towards 100, which
    /// comes last. Some 8 points for each halving of the distance to 100 %, so at most some 300. Empty if there is no
    /// value.
    pub fn percentile_curve(&self) -> Vec<(f64, u64)> {
        if self.count() == 0 {
            return Vec::new();
        }
        let points = self.counts.iter_quantiles(POINTS_PER_HALVING);
        points.map(|point| (point.quantile_iterated_to() * 100.0, point.value_iterated_to().min(self.max))).collect()
    }

    /// As all tools of the HdrHistogram family read it: V2, compressed, in base64. Nanoseconds.
    pub fn to_v2_base64(&self) -> String {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&self.counts, &mut bytes).expect("a vector takes all bytes");
        STANDARD.encode(bytes)
    }
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
        let histogram = of([0, FIRST_MAX + 1, VALUE_MAX, u64::MAX]);
        assert_eq!((histogram.count(), histogram.max(), histogram.percentile(100.0)), (4, VALUE_MAX, VALUE_MAX));
        let mut small = of([5]);
        small.merge(&histogram);
        assert_eq!((small.count(), small.max()), (5, VALUE_MAX));
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
