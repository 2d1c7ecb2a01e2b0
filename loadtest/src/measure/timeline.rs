//! How a run went over time: latencies by when messages were due, messages by when they arrived, CPU use.
//!
//! The measured interval is cut into at most [`SLICES`] slices of equal width, however long it is, so a timeline is
//! bounded: 2 KiB per slice and series. A latency belongs to the slice in which its message was due: a stall shows as
//! a slope that falls from its beginning, not as a single column at its end.

mod json;

use std::time::Duration;

use ringwire_ring::Instant;

use super::coarse::{self, BUCKETS};
use super::recorder::Span;
use super::sampler::CpuSample;

/// Most slices of a timeline.
pub const SLICES: u64 = 120;
/// The least width of a slice.
const WIDTH_MIN: Duration = Duration::from_millis(100);
/// Most samples of CPU use that are kept; further ones are left out.
const SAMPLES_MAX: usize = 2 * SLICES as usize;

/// How a measured interval went. That of no interval has no slices.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    names: Vec<&'static str>,
    from: u64,
    to: u64,
    width: u64,
    /// The slice that was counted in last: its bounds in nanoseconds and its number.
    current: (u64, u64, usize),
    /// For each slice and each series, [`BUCKETS`] counts.
    counts: Vec<u64>,
    /// For each slice and each series, the greatest.
    max: Vec<u64>,
    messages: Vec<u64>,
    bytes: Vec<u64>,
    samples: Vec<CpuSample>,
}

impl Timeline {
    /// The timeline of a span's measured interval, with these series.
    pub fn new(names: &[&'static str], span: Span) -> Self {
        let (from, to) = (span.measure_from.as_nanos(), span.measure_to.as_nanos());
        let time = to.saturating_sub(from);
        let width = time.div_ceil(SLICES).max(WIDTH_MIN.as_nanos() as u64);
        let slices = time.div_ceil(width) as usize;
        Self {
            names: names.to_vec(),
            from,
            to,
            width,
            current: (0, 0, 0),
            counts: vec![0; slices * names.len() * BUCKETS],
            max: vec![0; slices * names.len()],
            messages: vec![0; slices],
            bytes: vec![0; slices],
            samples: Vec::new(),
        }
    }

    /// Counts a latency of what was due then, in its bucket.
    #[inline]
    pub(super) fn record(&mut self, series: usize, due: Instant, bucket: usize, nanos: u64) {
        let Some(slice) = self.slice_of(due) else { return };
        let place = slice * self.names.len() + series;
        self.counts[place * BUCKETS + bucket] += 1;
        self.max[place] = self.max[place].max(nanos);
    }

    /// Counts messages that arrived then.
    #[inline]
    pub(super) fn count(&mut self, messages: u64, bytes: u64, at: Instant) {
        let Some(slice) = self.slice_of(at) else { return };
        self.messages[slice] += messages;
        self.bytes[slice] += bytes;
    }

    /// Keeps a sample of CPU use.
    pub fn sample(&mut self, sample: CpuSample) {
        if self.samples.len() < SAMPLES_MAX {
            self.samples.push(sample);
        }
    }

    /// Adds that of another thread, of the same span and series. That of no interval becomes the other.
    ///
    /// # Panics
    /// If span or series differ.
    pub fn merge(&mut self, other: &Timeline) {
        if self.slices() == 0 {
            let samples = std::mem::take(&mut self.samples);
            *self = other.clone();
            self.samples.splice(0..0, samples);
            return;
        }
        if other.slices() > 0 {
            assert_eq!((self.from, self.to, &self.names), (other.from, other.to, &other.names), "of another run");
        }
        let add = |mine: &mut [u64], theirs: &[u64]| mine.iter_mut().zip(theirs).for_each(|(mine, more)| *mine += more);
        add(&mut self.counts, &other.counts);
        add(&mut self.messages, &other.messages);
        add(&mut self.bytes, &other.bytes);
        self.max.iter_mut().zip(&other.max).for_each(|(mine, theirs)| *mine = (*mine).max(*theirs));
        self.samples.extend(other.samples.iter().cloned());
    }

    /// How many slices there are.
    pub fn slices(&self) -> usize {
        self.messages.len()
    }

    /// How long a slice is; the last one may be shorter.
    pub fn width(&self) -> Duration {
        Duration::from_nanos(self.width)
    }

    /// How long this slice is.
    ///
    /// # Panics
    /// If there is no such slice.
    pub fn width_of(&self, slice: usize) -> Duration {
        assert!(slice < self.slices(), "slice {slice} of {}", self.slices());
        let start = self.from + slice as u64 * self.width;
        Duration::from_nanos(self.width.min(self.to - start))
    }

    /// The names of the series.
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// The corrected latencies of what was due in a slice: [`BUCKETS`] counts; see
    /// [`bucket_bounds`](super::bucket_bounds).
    ///
    /// # Panics
    /// If there is no such slice or series.
    pub fn latencies(&self, slice: usize, series: usize) -> &[u64] {
        assert!(series < self.names.len(), "series {series} of {}", self.names.len());
        let place = slice * self.names.len() + series;
        &self.counts[place * BUCKETS..][..BUCKETS]
    }

    /// The greatest of them in nanoseconds, exact.
    ///
    /// # Panics
    /// If there is no such slice or series.
    pub fn max(&self, slice: usize, series: usize) -> u64 {
        assert!(series < self.names.len(), "series {series} of {}", self.names.len());
        self.max[slice * self.names.len() + series]
    }

    /// About what `percent` of them do not exceed, within an eighth; 0 if there is none.
    ///
    /// # Panics
    /// If there is no such slice or series.
    pub fn percentile(&self, slice: usize, series: usize, percent: f64) -> u64 {
        coarse::percentile(self.latencies(slice, series), percent).min(self.max(slice, series))
    }

    /// Messages that arrived in each slice.
    pub fn messages(&self) -> &[u64] {
        &self.messages
    }

    /// Their bytes.
    pub fn bytes(&self) -> &[u64] {
        &self.bytes
    }

    /// Samples of CPU use, in order.
    pub fn samples(&self) -> &[CpuSample] {
        &self.samples
    }

    #[inline]
    fn slice_of(&mut self, at: Instant) -> Option<usize> {
        let nanos = at.as_nanos();
        let (from, to, slice) = self.current;
        if (from..to).contains(&nanos) {
            return Some(slice);
        }
        if !(self.from..self.to).contains(&nanos) {
            return None;
        }
        let slice = (nanos - self.from) / self.width;
        let from = self.from + slice * self.width;
        self.current = (from, (from + self.width).min(self.to), slice as usize);
        Some(slice as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn timeline(seconds: f64) -> Timeline {
        let from = Instant::from_nanos(1_000_000_000);
        let span =
            Span { start: Instant::default(), measure_from: from, measure_to: from + Duration::from_secs_f64(seconds) };
        Timeline::new(&["a", "b"], span)
    }

    pub(super) fn at(seconds: f64) -> Instant {
        Instant::default() + Duration::from_secs_f64(1.0 + seconds)
    }

    pub(super) fn record(timeline: &mut Timeline, series: usize, due: Instant, nanos: u64) {
        timeline.record(series, due, coarse::bucket(nanos), nanos);
    }

    #[test]
    fn there_are_120_slices_at_most_and_none_is_shorter_than_a_tenth_of_a_second() {
        for (seconds, slices, width) in [(5.0, 50, 0.1), (12.0, 120, 0.1), (60.0, 120, 0.5), (86_400.0, 120, 720.0)] {
            let timeline = timeline(seconds);
            assert_eq!((timeline.slices(), timeline.width().as_secs_f64()), (slices, width), "{seconds}");
        }
        assert_eq!(timeline(13.7).slices(), 120);
        let odd = timeline(0.25);
        assert_eq!((odd.slices(), odd.width_of(0), odd.width_of(2)), (3, odd.width(), Duration::from_millis(50)));
        assert_eq!(timeline(0.0).slices(), 0);
    }

    #[test]
    fn a_latency_is_counted_where_its_message_was_due_and_a_message_where_it_arrived() {
        let mut timeline = timeline(60.0);
        record(&mut timeline, 1, at(0.6), 5_000_000);
        record(&mut timeline, 1, at(0.7), 9_000_000);
        timeline.count(2, 100, at(30.0));
        assert_eq!(timeline.latencies(1, 1).iter().sum::<u64>(), 2);
        assert_eq!((timeline.max(1, 1), timeline.max(1, 0), timeline.max(2, 1)), (9_000_000, 0, 0));
        assert!(timeline.percentile(1, 1, 50.0).abs_diff(5_000_000) < 500_000);
        assert_eq!(
            (timeline.messages()[60], timeline.bytes()[60], timeline.messages().iter().sum::<u64>()),
            (2, 100, 2)
        );
    }

    #[test]
    fn what_lies_outside_of_the_interval_is_not_counted() {
        let mut timeline = timeline(0.25);
        for instant in [at(-0.001), at(0.25), at(9.0)] {
            record(&mut timeline, 0, instant, 1);
            timeline.count(1, 1, instant);
        }
        timeline.count(1, 1, at(0.2499));
        assert_eq!(timeline.messages(), [0, 0, 1]);
        assert!(timeline.counts.iter().all(|&count| count == 0));
    }

    #[test]
    fn merging_counts_as_if_recorded_in_one() {
        let (mut one, mut other, mut both) = (timeline(5.0), timeline(5.0), timeline(5.0));
        for step in 0..500_u32 {
            let timeline = if step % 3 == 0 { &mut one } else { &mut other };
            for timeline in [timeline, &mut both] {
                record(timeline, step as usize % 2, at(f64::from(step) / 100.0), u64::from(step) * 1000);
                timeline.count(1, 7, at(f64::from(step) / 100.0));
            }
        }
        let mut merged = Timeline::default();
        [one, other].iter().for_each(|timeline| merged.merge(timeline));
        assert_eq!((&merged.counts, &merged.max), (&both.counts, &both.max));
        assert_eq!((merged.messages(), merged.bytes()), (both.messages(), both.bytes()));
    }
}
