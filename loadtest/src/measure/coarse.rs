//! Latencies, counted coarsely: for pictures and the live line, where a hair's breadth is enough.
//!
//! Every power of two from 128 ns to 275 s is cut into eight buckets, so a bucket is at most an eighth of its values
//! wide. What is less is in the first one, what is more in the last.

/// Buckets per power of two, as a power of two.
const FINE_BITS: u32 = 3;
/// The first value behind the first bucket, as a power of two.
const LOW_BITS: u32 = 7;
/// The first value of the last bucket, as a power of two.
const HIGH_BITS: u32 = 38;
/// How many buckets there are.
pub const BUCKETS: usize = ((HIGH_BITS - LOW_BITS) << FINE_BITS) as usize + 2;

/// Buckets that there would be before the first one, if those were as fine.
const BEFORE: usize = ((LOW_BITS - FINE_BITS + 1) << FINE_BITS) as usize - 1;

/// Which bucket counts `nanos`.
#[inline]
pub(super) fn bucket(nanos: u64) -> usize {
    let value = nanos.clamp((1 << LOW_BITS) - 1, 1 << HIGH_BITS);
    // The top FINE_BITS + 1 bits say the bucket; `shift` is how many are dropped.
    let shift = u64::BITS - FINE_BITS - 1 - value.leading_zeros();
    let from_zero = (u64::from(shift) << FINE_BITS) + (value >> shift);
    from_zero as usize - BEFORE
}

/// The nanoseconds that a bucket counts: from the first, up to the second but without it.
///
/// # Panics
/// If there is no such bucket.
pub fn bucket_bounds(bucket: usize) -> (u64, u64) {
    assert!(bucket < BUCKETS, "bucket {bucket} of {BUCKETS}");
    let start = |index: usize| {
        let fine = 1 << FINE_BITS;
        let from_first = index - 1;
        ((fine + from_first % fine) as u64) << (LOW_BITS as usize - FINE_BITS as usize + from_first / fine)
    };
    match bucket {
        0 => (0, 1 << LOW_BITS),
        last if last == BUCKETS - 1 => (start(last), u64::MAX),
        other => (start(other), start(other + 1)),
    }
}

/// About what `percent` of the values do not exceed: the middle of the bucket, in nanoseconds. 0 if there is no value.
pub(super) fn percentile(counts: &[u64], percent: f64) -> u64 {
    let count: u64 = counts.iter().sum();
    let rank = ((percent / 100.0 * count as f64).ceil() as u64).max(1);
    let mut below = 0;
    for (index, count) in counts.iter().enumerate() {
        below += count;
        if below >= rank {
            let (from, to) = bucket_bounds(index);
            return if to == u64::MAX { from } else { u64::midpoint(from, to) };
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_within_the_bounds_of_its_bucket() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..100_000 {
            let value = random.u64(..) >> random.u32(0..64);
            let (from, to) = bucket_bounds(bucket(value));
            assert!((from..to).contains(&value), "{value} in {from} to {to}");
        }
        assert_eq!((bucket(0), bucket(127), bucket(128), bucket(u64::MAX)), (0, 0, 1, BUCKETS - 1));
    }

    #[test]
    fn buckets_follow_one_another_and_are_an_eighth_wide_at_most() {
        for index in 1..BUCKETS - 1 {
            let (from, to) = bucket_bounds(index);
            assert_eq!(bucket_bounds(index - 1).1, from);
            assert!(to - from <= from / 8, "{from} to {to}");
        }
    }

    #[test]
    fn percentiles_are_near() {
        let mut counts = [0; BUCKETS];
        (1..=1000).for_each(|us| counts[bucket(us * 1000)] += 1);
        for (percent, exact) in [(50.0, 500_000), (99.0, 990_000)] {
            assert!(percentile(&counts, percent).abs_diff(exact) < exact / 10, "{}", percentile(&counts, percent));
        }
        assert_eq!(percentile(&[0; BUCKETS], 50.0), 0);
    }
}
