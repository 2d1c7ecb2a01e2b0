//! What the server really did: the standard that a load generator's report is held to.

use std::time::Duration;

use ringwire_ring::Instant;

/// From one look at whether a core is there to the next.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// What the server did, and when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truth {
    /// Messages that came in.
    pub(crate) received: u64,
    /// Each message that went out, in order, as often as it did.
    pub(crate) held: Vec<Held>,
    /// Messages that were kept for ever, as told.
    pub(crate) dropped: u64,
    /// Messages that went out twice.
    pub(crate) repeated: u64,
    /// Messages that went out behind their next.
    pub(crate) swapped: u64,
    /// Messages that were changed.
    pub(crate) corrupted: u64,
    /// How long the thread was away each time, if it had a core of its own and wanted to run all the time.
    pub(crate) pauses: Vec<Duration>,
}

/// How long a message was in the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// When the server saw that it had come.
    pub(crate) arrived: Instant,
    /// When the server gave it to the kernel: right before the system call.
    pub(crate) left: Instant,
}

impl Truth {
    /// The times in nanoseconds for which messages were held that arrived in `[from, to)`, measured in nanoseconds from
    /// the first that arrived.
    pub(crate) fn latencies(&self, from: u64, to: u64) -> Latencies {
        let first = self.held.iter().map(|held| held.arrived).min().unwrap_or_default();
        let arrived = |held: &Held| held.arrived.since(first).as_nanos() as u64;
        let inside = self.held.iter().filter(|held| (from..to).contains(&arrived(held)));
        Latencies::new(inside.map(|held| held.left.since(held.arrived).as_nanos() as u64).collect())
    }

    /// How long one would have waited for the thread who came at a [`TICK`], in nanoseconds, for each tick of `time`.
    pub(crate) fn lateness(&self, time: Duration) -> Latencies {
        let ticks = |time: Duration| time.as_nanos().div_ceil(TICK.as_nanos()) as u32;
        let waits = |pause: Duration| (0..ticks(pause)).map(move |tick| (pause - TICK * tick).as_nanos() as u64);
        let mut late: Vec<u64> = self.pauses.iter().copied().flat_map(waits).collect();
        late.resize(late.len().max(ticks(time) as usize), 0);
        Latencies::new(late)
    }
}

/// Latencies in nanoseconds, every one of them.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    sorted: Vec<u64>,
}

impl Latencies {
    pub(crate) fn new(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        Self { sorted: values }
    }

    pub(crate) fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The least value that so many percent do not exceed. 100 is the greatest.
    pub(crate) fn percentile(&self, percent: f64) -> u64 {
        assert!(!self.sorted.is_empty(), "there are no latencies");
        let rank = (percent / 100.0 * self.sorted.len() as f64).ceil() as usize;
        self.sorted[rank.clamp(1, self.sorted.len()) - 1]
    }
}
