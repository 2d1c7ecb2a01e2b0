//! What one thread of the generator records.
//!
//! A latency is counted twice: from when its message was *due*, which is what a user sees of a server that stalls, and
//! from when it was really sent, which is what tools say that forget what they did not send meanwhile (coordinated
//! omission). Both count if the message was due in the measured interval; a message's arrival counts for throughput
//! if it came in it.

use std::sync::Arc;
use std::time::Duration;

use ringwire_ring::Instant;

use super::coarse;
use super::histogram::Histogram;
use super::pulse::{Beat, Pulse};
use super::recorded::{Recorded, SeriesReport};
use super::timeline::Timeline;

/// How often a thread says how it is going.
const BEAT: Duration = Duration::from_millis(200);

/// Which kind of latency: an index into the names that a recorder was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series(pub usize);

/// When a run begins, and which part of it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first message may be due.
    pub start: Instant,
    /// The warm-up is over.
    pub measure_from: Instant,
    /// Nothing is sent from then on.
    pub measure_to: Instant,
}

impl Span {
    /// One that is never reached.
    const NEVER: Self = {
        let never = Instant::from_nanos(u64::MAX);
        Self { start: never, measure_from: never, measure_to: never }
    };

    /// Whether the instant lies in the measured interval.
    #[inline]
    pub fn measures(&self, at: Instant) -> bool {
        at >= self.measure_from && at < self.measure_to
    }

    /// How long the measured interval is.
    pub fn measured(&self) -> Duration {
        self.measure_to.since(self.measure_from)
    }
}

/// Records for one thread. Before [`Recorder::start`] it counts nothing but for the live line.
#[derive(Debug)]
pub struct Recorder {
    span: Span,
    found: Recorded,
    /// For each series, those of messages that were sent when they were due: both latencies are one.
    prompt: Vec<Histogram>,
    pulse: Arc<Pulse>,
    beat: Beat,
    beat_at: Instant,
    lost: u64,
    lost_said: u64,
}

impl Recorder {
    /// Records series of these names; the first one is in the live line.
    pub fn new(names: &[&'static str], pulse: Arc<Pulse>) -> Self {
        let empty = |&name| SeriesReport { name, corrected: Histogram::default(), uncorrected: Histogram::default() };
        Self {
            span: Span::NEVER,
            prompt: vec![Histogram::default(); names.len()],
            found: Recorded { series: names.iter().map(empty).collect(), ..Recorded::default() },
            pulse,
            beat: Beat::default(),
            beat_at: Instant::default(),
            lost: 0,
            lost_said: 0,
        }
    }

    /// From now on counts what is in the span's measured interval.
    pub fn start(&mut self, span: Span) {
        let names: Vec<&'static str> = self.found.series.iter().map(|series| series.name).collect();
        self.span = span;
        self.found.timeline = Timeline::new(&names, span);
    }

    /// The run ends early: so does the measured interval.
    pub fn stop(&mut self, at: Instant) {
        self.span.measure_to = self.span.measure_to.min(at);
    }

    /// The span that was started.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Counts the latency of a message that arrived `at`, was `due` to be sent then, and was `sent` then.
    ///
    /// # Panics
    /// If there is no such series.
    #[inline]
    pub fn record(&mut self, series: Series, at: Instant, due: Instant, sent: Instant) {
        let corrected = at.as_nanos().saturating_sub(due.as_nanos());
        let bucket = coarse::bucket(corrected);
        if series.0 == 0 {
            self.beat.record(bucket, corrected);
        }
        if !self.span.measures(due) {
            return;
        }
        self.found.timeline.record(series.0, due, bucket, corrected);
        if sent == due {
            self.prompt[series.0].record(corrected);
        } else {
            let report = &mut self.found.series[series.0];
            report.corrected.record(corrected);
            report.uncorrected.record(at.as_nanos().saturating_sub(sent.as_nanos()));
        }
    }

    /// Counts messages that arrived `at`, and their bytes.
    #[inline]
    pub fn count(&mut self, messages: u64, bytes: u64, at: Instant) {
        self.beat.messages += messages;
        self.beat.bytes += bytes;
        if self.span.measures(at) {
            self.found.messages += messages;
            self.found.bytes += bytes;
            self.found.timeline.count(messages, bytes, at);
        }
    }

    /// Counts how late a message was that was `due` then and handed to the kernel when it was `entered`.
    #[inline]
    pub fn late(&mut self, due: Instant, entered: Instant) {
        if self.span.measures(due) {
            self.found.lateness.record(entered.as_nanos().saturating_sub(due.as_nanos()));
        }
    }

    /// Says how many messages are missing by now, for the live line.
    pub fn lost_so_far(&mut self, lost: u64) {
        self.lost = lost;
    }

    /// To be called once a turn: some times a second, says how it is going.
    #[inline]
    pub fn turn(&mut self, now: Instant) {
        if now >= self.beat_at {
            self.say(now);
        }
    }

    #[cold]
    fn say(&mut self, now: Instant) {
        // What was missing and came late is not taken back; the report has the truth.
        self.beat.lost = self.lost.saturating_sub(self.lost_said);
        self.lost_said = self.lost.max(self.lost_said);
        self.pulse.add(&mut self.beat);
        self.beat_at = now + BEAT;
    }

    /// What was recorded.
    pub fn finish(mut self) -> Recorded {
        for (report, prompt) in self.found.series.iter_mut().zip(&self.prompt) {
            report.corrected.merge(prompt);
            report.uncorrected.merge(prompt);
        }
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1000)
    }

    fn span() -> Span {
        Span { start: us(0), measure_from: us(1_000_000), measure_to: us(2_000_000) }
    }

    fn recorder() -> Recorder {
        let mut recorder = Recorder::new(&["first", "second"], Arc::default());
        recorder.start(span());
        recorder
    }

    #[test]
    fn corrected_latency_runs_from_when_it_was_due_and_uncorrected_from_when_it_was_sent() {
        let mut recorder = recorder();
        recorder.record(Series(1), us(1_500_000), us(1_499_000), us(1_499_900));
        let found = recorder.finish();
        let second = &found.series[1];
        assert_eq!((second.name, second.corrected.max(), second.uncorrected.max()), ("second", 1_000_000, 100_000));
        assert_eq!((found.series[0].corrected.count(), found.timeline.max(4, 1)), (0, 1_000_000));
    }

    #[test]
    fn what_was_due_outside_of_the_interval_does_not_count() {
        for (due, counts) in [(999_999, 0), (1_000_000, 1), (1_999_999, 1), (2_000_000, 0)] {
            for sent in [due, due + 1] {
                let mut recorder = recorder();
                recorder.record(Series(0), us(2_500_000), us(due), us(sent));
                recorder.late(us(due), us(due + 5));
                let found = recorder.finish();
                let series = &found.series[0];
                let of_series = [series.corrected.count(), series.uncorrected.count()];
                assert_eq!((of_series, found.lateness.count()), ([counts; 2], counts), "{due}");
            }
        }
    }

    #[test]
    fn messages_count_if_they_arrive_in_the_interval() {
        let mut recorder = recorder();
        for at in [999_999, 1_000_000, 1_999_999, 2_000_000] {
            recorder.count(2, 20, us(at));
        }
        let found = recorder.finish();
        assert_eq!((found.messages, found.bytes, found.timeline.messages().iter().sum::<u64>()), (4, 40, 4));
    }

    #[test]
    fn nothing_counts_before_the_start_but_for_the_live_line() {
        let pulse = Arc::new(Pulse::default());
        let mut recorder = Recorder::new(&["first", "second"], Arc::clone(&pulse));
        recorder.record(Series(0), us(20), us(10), us(10));
        // Another series than the first one is not in that line.
        recorder.record(Series(1), us(90), us(10), us(10));
        recorder.count(1, 5, us(20));
        recorder.late(us(10), us(20));
        recorder.lost_so_far(3);
        recorder.turn(us(30));
        let beat = pulse.take();
        assert_eq!((beat.messages, beat.count(), beat.max, beat.lost), (1, 1, 10_000, 3));
        let found = recorder.finish();
        assert_eq!((found.messages, found.lateness.count(), found.series[0].corrected.count()), (0, 0, 0));
    }

    #[test]
    fn a_thread_says_how_it_goes_some_times_a_second_and_not_at_every_turn() {
        let pulse = Arc::new(Pulse::default());
        let mut recorder = Recorder::new(&["only"], Arc::clone(&pulse));
        let messages = [0, 100_000, 199_999, 200_000].map(|now| {
            recorder.count(1, 0, us(now));
            recorder.lost_so_far(now + 1);
            recorder.turn(us(now));
            let beat = pulse.take();
            (beat.messages, beat.lost)
        });
        assert_eq!(messages, [(1, 1), (0, 1), (0, 1), (3, 200_001)]);
    }
}
