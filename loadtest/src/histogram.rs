//! Latencies, counted in buckets whose width grows with the value.
//!
//! Log-linear, as HdrHistogram: values below 128 have a bucket each; above, every power of two is cut into 128
//! buckets, so a bucket is at most 1/128 of its values wide, and a percentile, read as the middle of its bucket, is
//! off by at most 0.4 %. The maximum and the sum are exact. A histogram takes 58 KiB, whatever it holds.

/// Buckets per power of two, as a power of two.
const FINE_BITS: u32 = 7;
const FINE: usize = 1 << FINE_BITS;
/// Values of up to 64 bits: the first `FINE` of one each, then `FINE` for each further power of two.
const BUCKETS: usize = FINE * (64 - FINE_BITS as usize + 1);

/// Counts of values; here nanoseconds.
#[derive(Clone, Debug)]
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
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
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

    /// A value that `percent` of the values do not exceed, within 0.4 %; 0 if there is no value.
    ///
    /// # Panics
    /// If `percent` is not from 0 to 100.
    pub fn percentile(&self, percent: f64) -> u64 {
        assert!((0.0..=100.0).contains(&percent), "a percentile lies between 0 and 100");
        let rank = ((percent / 100.0 * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut below = 0;
        for (index, count) in self.counts.iter().enumerate() {
            below += count;
            if below >= rank {
                return middle(index).min(self.max);
            }
        }
        0
    }
}

/// Which bucket counts `value`.
#[inline]
fn bucket(value: u64) -> usize {
    // The top FINE_BITS + 1 bits of a large value say the bucket; `shift` is how many are dropped.
    let shift = (u64::BITS - FINE_BITS - 1).saturating_sub(value.leading_zeros());
    shift as usize * FINE + (value >> shift) as usize
}

/// The middle of what a bucket counts.
fn middle(index: usize) -> u64 {
    let shift = (index / FINE).saturating_sub(1);
    let top = (index - shift * FINE) as u64;
    (top << shift) + ((1 << shift) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_one_another_without_a_gap_up_to_the_greatest_value() {
        let mut last = 0;
        for value in (0..100_000).chain((17..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1])) {
            let index = bucket(value);
            assert!(index == last || value > 100_000 || index == last + 1, "{value}");
            last = index;
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn the_middle_of_a_bucket_is_in_it_and_near_its_values() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..100_000 {
            let value = random.u64(..) >> random.u32(0..64);
            let middle = middle(bucket(value));
            assert_eq!(bucket(middle), bucket(value));
            assert!(middle.abs_diff(value) as f64 <= value as f64 / 256.0 + 0.5, "{middle} for {value}");
        }
    }

    #[test]
    fn percentiles_agree_with_sorted_values() {
        let mut random = fastrand::Rng::with_seed(2);
        for size in [1, 2, 10, 999, 50_000] {
            // Three decades with a heavy tail, as latencies have.
            let values: Vec<u64> = (0..size).map(|_| (10_000.0 / (1.0 - random.f64()).powf(1.5)) as u64).collect();
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let mut histogram = Histogram::default();
            values.iter().for_each(|&value| histogram.record(value));
            for percent in [0.0, 1.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0] {
                let rank = ((percent / 100.0 * size as f64).ceil() as usize).clamp(1, size);
                let (exact, read) = (sorted[rank - 1], histogram.percentile(percent));
                assert!(
                    read.abs_diff(exact) as f64 <= exact as f64 * 0.004,
                    "p{percent} of {size}: {read}, not {exact}"
                );
            }
            assert_eq!((histogram.count(), histogram.max()), (size as u64, *sorted.last().expect("one at least")));
            let mean = values.iter().sum::<u64>() as f64 / size as f64;
            assert!((histogram.mean() - mean).abs() < 1e-6 * mean);
        }
    }

    #[test]
    fn merging_counts_as_if_recorded_in_one() {
        let (mut one, mut other, mut both) = (Histogram::default(), Histogram::default(), Histogram::default());
        for value in 0..10_000 {
            let histogram = if value % 3 == 0 { &mut one } else { &mut other };
            histogram.record(value * value);
            both.record(value * value);
        }
        one.merge(&other);
        assert_eq!((&one.counts, one.count, one.sum, one.max), (&both.counts, both.count, both.sum, both.max));
    }

    #[test]
    fn an_empty_histogram_reads_zero() {
        let empty = Histogram::default();
        assert_eq!((empty.percentile(99.0), empty.max(), empty.mean()), (0, 0, 0.0));
    }
}
