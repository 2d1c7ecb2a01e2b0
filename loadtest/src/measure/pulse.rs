//! What the last moment was like, for the live line while a run is under way.
//!
//! Every thread adds its [`Beat`] some times a second; the coordinating thread takes the sum out. No thread waits for
//! another longer than such a sum takes.

use std::sync::{Mutex, PoisonError};

use super::coarse;

/// What happened since the last beat.
#[derive(Clone, Debug)]
pub struct Beat {
    /// Messages that arrived.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages that are missing by now, since the run's beginning.
    pub lost: u64,
    /// The greatest corrected latency of the first series, in nanoseconds.
    pub max: u64,
    pub(super) counts: Box<[u64; coarse::BUCKETS]>,
}

impl Default for Beat {
    fn default() -> Self {
        Self { messages: 0, bytes: 0, lost: 0, max: 0, counts: Box::new([0; coarse::BUCKETS]) }
    }
}

impl Beat {
    /// Values counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// About what `percent` of the first series' corrected latencies do not exceed, within an eighth, in nanoseconds;
    /// 0 if there is none.
    pub fn percentile(&self, percent: f64) -> u64 {
        coarse::percentile(&self.counts[..], percent).min(self.max)
    }

    #[inline]
    pub(super) fn record(&mut self, bucket: usize, nanos: u64) {
        self.counts[bucket] += 1;
        self.max = self.max.max(nanos);
    }

    fn add(&mut self, other: &Beat) {
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.lost = self.lost.saturating_add(other.lost);
        self.max = self.max.max(other.max);
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts.iter()) {
            *mine += theirs;
        }
    }

    fn clear(&mut self) {
        (self.messages, self.bytes, self.lost, self.max) = (0, 0, 0, 0);
        self.counts.fill(0);
    }
}

/// The beats of all threads.
#[derive(Debug, Default)]
pub struct Pulse {
    sum: Mutex<Beat>,
}

impl Pulse {
    /// Adds a thread's beat, whose `lost` is what came to it since its last one, and empties it.
    pub(super) fn add(&self, beat: &mut Beat) {
        self.sum.lock().unwrap_or_else(PoisonError::into_inner).add(beat);
        beat.clear();
    }

    /// What happened since this was last called; `lost` since the beginning.
    pub fn take(&self) -> Beat {
        let mut sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = sum.lost;
        std::mem::replace(&mut *sum, Beat { lost, ..Beat::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_what_came_since_and_what_is_lost_stays() {
        let pulse = Pulse::default();
        let mut beat = Beat { messages: 3, bytes: 30, lost: 1, ..Beat::default() };
        (1..=100).for_each(|us| beat.record(coarse::bucket(us * 1000), us * 1000));
        pulse.add(&mut beat);
        assert_eq!((beat.messages, beat.count(), beat.max), (0, 0, 0));
        pulse.add(&mut Beat { messages: 4, lost: 2, ..Beat::default() });
        let taken = pulse.take();
        assert_eq!((taken.messages, taken.bytes, taken.lost, taken.count()), (7, 30, 3, 100));
        assert!(taken.percentile(50.0).abs_diff(50_000) < 5_000 && taken.percentile(100.0) == 100_000);
        let nothing = pulse.take();
        assert_eq!((nothing.messages, nothing.lost, nothing.count(), nothing.percentile(99.0)), (0, 3, 0, 0));
    }
}
