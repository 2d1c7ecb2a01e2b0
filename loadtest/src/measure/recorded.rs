//! What was recorded: by one thread, or by several together.

use super::histogram::Histogram;
use super::timeline::Timeline;

/// The latencies of one kind.
#[derive(Clone, Debug)]
pub struct SeriesReport {
    /// What they are of.
    pub name: &'static str,
    /// From when each message was due.
    pub corrected: Histogram,
    /// From when each was sent.
    pub uncorrected: Histogram,
}

/// What one thread recorded, or several together.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// Latencies of each series.
    pub series: Vec<SeriesReport>,
    /// How long after it was due each message was handed to the kernel.
    pub lateness: Histogram,
    /// How it went over time.
    pub timeline: Timeline,
    /// Messages that arrived in the measured interval.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Recorded {
    /// Adds what another thread recorded. A series is known by its name.
    ///
    /// # Panics
    /// If both have measured, but not the same span and series.
    pub fn merge(&mut self, other: &Recorded) {
        for theirs in &other.series {
            match self.series.iter_mut().find(|mine| mine.name == theirs.name) {
                Some(mine) => {
                    mine.corrected.merge(&theirs.corrected);
                    mine.uncorrected.merge(&theirs.uncorrected);
                }
                None => self.series.push(theirs.clone()),
            }
        }
        self.lateness.merge(&other.lateness);
        self.timeline.merge(&other.timeline);
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Recorder, Series, Span};
    use ringwire_ring::Instant;
    use std::sync::Arc;

    fn us(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1000)
    }

    fn recorder(names: &[&'static str]) -> Recorder {
        let mut recorder = Recorder::new(names, Arc::default());
        recorder.start(Span { start: us(0), measure_from: us(1_000_000), measure_to: us(2_000_000) });
        recorder
    }

    #[test]
    fn what_several_threads_recorded_is_added_by_name() {
        let (mut one, mut other) = (recorder(&["first", "second"]), recorder(&["first", "second"]));
        for (recorder, due) in [(&mut one, 1_000_000), (&mut other, 1_900_000)] {
            recorder.record(Series(0), us(due + 7), us(due), us(due));
            recorder.count(1, 10, us(due + 7));
            recorder.late(us(due), us(due));
        }
        let mut all = Recorded::default();
        all.merge(&one.finish());
        all.merge(&other.finish());
        assert_eq!((all.series.len(), all.series[0].corrected.count(), all.series[1].corrected.count()), (2, 2, 0));
        assert_eq!((all.messages, all.bytes, all.lateness.count()), (2, 20, 2));
        assert_eq!([0, 9].map(|slice| all.timeline.max(slice, 0)), [7000, 7000]);
    }
}
