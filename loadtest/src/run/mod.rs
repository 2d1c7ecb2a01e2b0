//! Runs a workload: one thread per core that was asked for, each with a ring, and this thread, which coordinates.
//!
//! ```text
//! threads       connect ─ wait ─ warm up ───── measured ───── stop ─ drain ─ close
//! coordinator             span         meter ─ live lines ─ meter            merge
//! ```
//!
//! All threads open their connections and wait for each other; then they are given a [`Span`] and what they do follows
//! from it and the clock, without another word between them. A run whose server dies ends early, with a report of what
//! was measured until then.
//!
//! What this file must never do: hang. Connecting and draining have a patience, and so has every wait.

mod stage;
mod thread;

use std::collections::BTreeMap;
use std::io::Stderr;
use std::sync::Arc;
use std::time::Duration;

use ringwire_ring::{Clock, Instant};

use crate::clients::{ClientsOptions, Outbox, Workload};
use crate::json::Json;
use crate::live::{self, Live, Progress, Snapshot};
use crate::measure::{
    Accounts, Beat, Cost, CpuSample, Facts, Histogram, Loop, Process, Pulse, Recorded, Recorder, Sampler, Span,
};
use crate::report::Report;
use crate::slo::Slo;
use crate::target::Target;
use stage::Stage;

/// How long all connections may take to open.
const CONNECTING_PATIENCE: Duration = Duration::from_secs(120);
/// How often it is said how it goes, and the server's use is sampled.
const LIVE: Duration = Duration::from_secs(1);

/// How long a run is and on what it runs, whatever the workload.
#[derive(Clone, Debug)]
pub struct Load {
    /// A thread each, pinned if a core is named.
    pub threads: Vec<Option<usize>>,
    /// How long everything is open before the first message: a server that cannot confirm subscriptions has them by then.
    pub settle: Duration,
    /// How long to run before measuring.
    pub warm_up: Duration,
    /// How long to measure.
    pub time: Duration,
    /// Never sleep: threads look for completions without end.
    pub spin: bool,
    /// What random choices begin with.
    pub seed: u64,
    /// The server's process.
    pub server: Option<Process>,
    /// What must hold: known to be of something that is measured before anything is sent.
    pub slos: Vec<Slo>,
    /// Whether to say how it goes.
    pub progress: Progress,
}

/// The part of a workload that one thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Which part.
    pub index: usize,
    /// Of how many.
    pub count: usize,
}

/// A workload, as the coordinator sees it. Made anew for each run.
pub trait Model: Sync {
    /// What a thread does.
    type Worker: Worker;

    /// What it is called.
    fn name(&self) -> &'static str;

    /// What is spoken with the server.
    fn adapter(&self) -> String {
        "path".to_owned()
    }

    /// The server.
    fn target(&self) -> &Target;

    /// How it is set, for the report.
    fn options(&self) -> Json;

    /// What latencies are measured of; the first is meant where none is named.
    fn series(&self) -> &'static [&'static str];

    /// Whether it waits for the server, or sends when it is time to.
    fn kind(&self) -> Loop;

    /// Connections of one thread, at most.
    fn connections_max(&self, share: Share) -> usize;

    /// Those of them that are being opened at a time; the others wait in order.
    fn connecting_max(&self, share: Share) -> usize {
        let _ = share;
        ClientsOptions::CONNECTING_MAX
    }

    /// What a thread does.
    ///
    /// # Errors
    /// What is wrong with the options.
    fn worker(&self, share: Share, recorder: Recorder) -> Result<Self::Worker, String>;

    /// Whether it is measured how far apart the first and the last get the same message.
    fn has_spread(&self) -> bool {
        false
    }

    /// How many threads can have a part in it; more are not started.
    fn parts_max(&self) -> usize {
        usize::MAX
    }

    /// Further findings, from what all threads found.
    fn findings(&self, merged: &Finding) -> Vec<(&'static str, Json)> {
        let _ = merged;
        Vec::new()
    }
}

/// What one thread does with its connections.
pub trait Worker: Workload {
    /// Opens its connections.
    fn connect(&mut self, out: &mut Outbox<'_>);

    /// Whether they are open, and whatever has to be said on them before messages has been said.
    fn readiness(&self) -> Readiness;

    /// Begins: the first message is due at the span's start.
    fn start(&mut self, span: Span);

    /// Sends what is due, and says when it wants to be called again.
    fn pump(&mut self, out: &mut Outbox<'_>, now: Instant) -> Instant;

    /// Nothing more can come of going on.
    fn is_over(&self) -> bool;

    /// The span is over, or the run is, at this instant: it sends no more, and what arrives does not count for throughput.
    fn stop(&mut self, at: Instant);

    /// No thread sends any more.
    fn all_stopped(&mut self) {}

    /// What was sent has arrived, or cannot any more.
    fn is_drained(&self) -> bool;

    /// What was found.
    fn finish(self) -> Finding;
}

/// Whether a worker can begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Not yet: so many connections are still to be ready.
    Connecting {
        /// How many.
        left: usize,
    },
    /// It can.
    Ready,
    /// It never will, for this reason.
    Failed(String),
}

/// What a thread found; merged, what all did.
#[derive(Debug, Default)]
pub struct Finding {
    /// What became of each message.
    pub accounts: Accounts,
    /// Latencies, and what was counted.
    pub recorded: Recorded,
    /// First to last arrival of each publish.
    pub spread: Option<crate::pubsub::Spreads>,
    /// Counts by name, which add up.
    pub counts: BTreeMap<&'static str, u64>,
    /// Further histograms by name.
    pub histograms: BTreeMap<&'static str, Histogram>,
}

impl Share {
    /// Whether what has this number is this part's.
    pub const fn owns(self, number: usize) -> bool {
        number % self.count == self.index
    }

    /// How many of so many are this part's.
    pub const fn of(self, total: usize) -> usize {
        (total + self.count - 1 - self.index) / self.count
    }
}

impl Finding {
    fn merge(&mut self, other: Finding) {
        self.accounts.merge(&other.accounts);
        self.recorded.merge(&other.recorded);
        match (&mut self.spread, other.spread) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            (mine @ None, theirs) => *mine = theirs,
            (Some(_), None) => {}
        }
        for (name, count) in other.counts {
            *self.counts.entry(name).or_default() += count;
        }
        for (name, histogram) in other.histograms {
            self.histograms.entry(name).or_default().merge(&histogram);
        }
    }
}

/// Runs a workload once, and holds the result against what must hold.
///
/// # Errors
/// Why it could not run. What a server does to messages is no error: the report has it.
pub fn run<M: Model>(model: &M, load: &Load) -> Result<Report, String> {
    load.slos.iter().try_for_each(|slo| slo.check(model.series(), model.has_spread()))?;
    let mut load = load.clone();
    load.threads.truncate(model.parts_max());
    let load = &load;
    let facts = Facts::of_run(std::env::args().collect(), load.seed);
    let clock = Clock::start();
    let stage = Stage::new(clock, load.threads.len());
    let pulse = Arc::new(Pulse::default());
    let (merged, interval) = std::thread::scope(|scope| {
        let count = load.threads.len();
        let start = |index| {
            let (share, stage) = (Share { index, count }, &stage);
            let recorder = Recorder::new(model.series(), Arc::clone(&pulse));
            scope.spawn(move || thread::run(model, share, load, clock, stage, recorder))
        };
        let threads: Vec<_> = (0..count).map(start).collect();
        let conducted = conduct(model, load, &clock, &stage, &pulse).inspect_err(|reason| stage.fail(reason));
        let mut merged = Finding::default();
        for thread in threads {
            let found = thread.join().unwrap_or_else(|_| Err("a thread of the generator broke down".to_owned()));
            merged.merge(found?);
        }
        let mut interval = conducted?;
        interval.samples.drain(..).for_each(|sample| merged.recorded.timeline.sample(sample));
        Ok::<_, String>((merged, interval))
    })?;
    let mut report = Report::new(model, load, facts, merged, interval.cost);
    report.doubts.extend(interval.server_is_gone);
    report.judge(&load.slos);
    Ok(report)
}

/// What the measured interval cost.
struct Interval {
    cost: Cost,
    samples: Vec<CpuSample>,
    /// Why the server could not be measured to the end.
    server_is_gone: Option<String>,
}

/// Waits until all connections of all threads are ready.
fn wait_until_ready<M: Model>(
    model: &M,
    load: &Load,
    clock: &Clock,
    stage: &Stage,
    live: &mut Live<Stderr>,
) -> Result<(), String> {
    let count = load.threads.len();
    let of: usize = (0..count).map(|index| model.connections_max(Share { index, count })).sum();
    let begun = clock.now();
    while !stage.wait_until_ready(clock.now() + LIVE) {
        let elapsed = clock.now().since(begun);
        if elapsed > CONNECTING_PATIENCE {
            let left = stage.left();
            return Err(format!("{}: {left} connections were not ready after {elapsed:.0?}", model.target()));
        }
        let connecting = live::Stage::Connecting { open: of.saturating_sub(stage.left()), of };
        let snapshot = Snapshot {
            stage: connecting,
            elapsed,
            total: CONNECTING_PATIENCE,
            beat: Beat::default(),
            interval: LIVE,
            server: None,
        };
        live.show(clock.now(), &snapshot);
    }
    stage.failure().map_or(Ok(()), Err)
}

/// Gives the threads their span, and measures what it costs.
fn conduct<M: Model>(model: &M, load: &Load, clock: &Clock, stage: &Stage, pulse: &Pulse) -> Result<Interval, String> {
    let mut live = Live::on_stderr(load.progress);
    wait_until_ready(model, load, clock, stage, &mut live)?;
    let start = clock.now() + load.settle;
    let measure_from = start + load.warm_up;
    let span = Span { start, measure_from, measure_to: measure_from + load.time };
    stage.begin(span);
    let mut shown = start;
    let mut show = |now: Instant, server: Option<f64>| {
        if live.is_due(now) {
            let measures = now > span.measure_from;
            let (live_stage, from, total) = if measures {
                (live::Stage::Measuring, span.measure_from, load.time)
            } else {
                (live::Stage::WarmUp, span.start, load.warm_up)
            };
            let interval = now.since(std::mem::replace(&mut shown, now));
            let (elapsed, beat) = (now.since(from), pulse.take());
            live.show(now, &Snapshot { stage: live_stage, elapsed, total, beat, interval, server });
        }
    };
    while clock.now() < span.measure_from && !stage.is_over() {
        stage.sleep_until(span.measure_from.min(clock.now() + LIVE));
        show(clock.now(), None);
    }
    let (mut sampler, mut gone) = match Sampler::start(load.server, span, clock.now()) {
        Err(reason) if load.server.is_some() => (Sampler::start(None, span, clock.now())?, Some(reason)),
        started => (started?, None),
    };
    let mut samples: Vec<CpuSample> = Vec::new();
    while clock.now() < span.measure_to && !stage.is_over() {
        stage.sleep_until(span.measure_to.min(clock.now() + LIVE));
        samples.extend(sampler.turn(clock.now())?);
        show(clock.now(), samples.last().and_then(|sample| sample.server));
    }
    let cost = sampler.stop(clock.now())?;
    live.clear();
    gone = gone.or_else(|| sampler.server_is_gone().map(str::to_owned));
    Ok(Interval { cost, samples, server_is_gone: gone })
}
