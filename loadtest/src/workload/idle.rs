//! `idle`: connections that open and then say nothing. What does each cost the server?
//!
//! A ring's connections are direct descriptors, which `RLIMIT_NOFILE` bounds per ring and not per process, so with
//! one ring per thread a generator holds more connections than it may have files: there is a thread for every
//! [`PER_THREAD`] of them. On loopback they come from many source addresses.
//!
//! Memory is the growth of the server's resident set since before the first of these connections, so a server that has
//! served others before shows less of it. It needs `--server-pid`. A connection that the server ends is a fault. What is
//! the server's own and not a connection's, such as receive buffers, is memory from its first use on: `--visits-before`
//! has it used before anything is counted.
//!
//! The kernel's memory is the growth of its slabs over the whole machine, so it holds both ends of each connection where
//! both are here, and what others have it do.
//!
//! Where the defaults come from: 10,000 connections are the old question of this trade (C10k). Whoever measures memory
//! should let deadlines of handshakes pass before: `--settle` more than the server's handshake timeout.

use std::sync::Arc;
use std::time::Duration;

use ringwire_ring::Instant;

use super::storm::{Pace, StormOptions};
use super::{Kind, Options, Place};
use crate::cli::Flags;
use crate::clients::{Door, End, Message, Outbox, Workload};
use crate::json::Json;
use crate::measure::{Accounts, Loop, Recorder, Span, micros};
use crate::report::Report;
use crate::run::{self, Finding, Load, Model, Readiness, Share, Worker};
use crate::target::Target;

/// `idle`, on the command line.
pub const KIND: Kind = Kind {
    name: "idle",
    about: "many connections that say nothing: what each costs in memory and CPU time",
    help: "\
    --connections N       connections; a thread for every 19,900 of them [10_000]
    --visits-before S     seconds of short visits with an echo each, before memory is counted [0]
",
    has_adapter: false,
    read: |flags| Ok(Box::new(IdleOptions::read(flags)?)),
};

/// Most connections of a thread: a ring's, under the common limit of 20,000 descriptors.
pub const PER_THREAD: usize = 19_900;

/// Visits at a time before memory is counted: few, so that what a server keeps of them is little.
const VISITS_AT_ONCE: usize = 8;
/// Bytes of each visit's message.
const VISIT_BYTES: usize = 64;
/// The finding of how much the kernel's slabs held while all connections were open.
const KERNEL_BYTES: &str = "kernel_slab_bytes";

/// How many connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleOptions {
    /// Connections.
    pub connections: usize,
    /// For how long the server is visited before its memory is counted.
    pub visits_before: Duration,
}

impl IdleOptions {
    /// Reads its flags.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(flags: &mut Flags) -> Result<Self, String> {
        let visits_before = flags.seconds("visits-before", 0.0)?;
        Ok(Self { connections: flags.at_least_one("connections", 10_000)?, visits_before })
    }

    /// Has the server use what it has.
    fn visit(&self, place: &Place, load: &Load) -> Result<(), String> {
        if self.visits_before.is_zero() {
            return Ok(());
        }
        let visits = StormOptions { pace: Pace::Concurrency(VISITS_AT_ONCE), bytes: VISIT_BYTES };
        let (time, warm_up) = (self.visits_before, Duration::ZERO);
        visits.run(place, &Load { time, warm_up, slos: Vec::new(), ..load.clone() }).map(drop)
    }

    /// Threads that hold them: those asked for, and as many more as it takes.
    fn threads(&self, load: &Load) -> Vec<Option<usize>> {
        let mut threads = load.threads.clone();
        threads.resize(threads.len().max(self.connections.div_ceil(PER_THREAD)), None);
        threads
    }
}

impl Options for IdleOptions {
    fn run(&self, place: &Place, load: &Load) -> Result<Report, String> {
        let load = Load { threads: self.threads(load), ..load.clone() };
        self.visit(place, &load)?;
        let before = load.server.and_then(|server| server.whole_use().ok()).map(|used| used.resident_bytes);
        let kernel_before = kernel_bytes();
        let door = Arc::new(Door { spread: true, ..Door::new(place.target.clone()) });
        let mut report = run::run(&Idle { connections: self.connections, door }, &load)?;
        let after = report.cost.server.map(|server| server.resident_bytes);
        let kernel_after =
            report.findings.iter().find(|(name, _)| *name == KERNEL_BYTES).and_then(|(_, bytes)| match bytes {
                Json::Integer(bytes) => Some(*bytes),
                _ => None,
            });
        let each = |before: Option<u64>, after: Option<u64>| {
            let growth = before.zip(after).map(|(before, after)| after as f64 - before as f64);
            growth.map(|growth| growth / self.connections as f64)
        };
        report.findings.extend([
            ("resident_bytes_before", before.into()),
            ("resident_bytes_per_connection", each(before, after).into()),
            ("kernel_bytes_per_connection", each(kernel_before, kernel_after).into()),
            ("server_cpu_us", report.cost.server_cpu().map(micros).into()),
        ]);
        Ok(report)
    }
}

/// The workload.
#[derive(Debug)]
struct Idle {
    connections: usize,
    door: Arc<Door>,
}

impl Model for Idle {
    type Worker = IdleWorker;

    fn name(&self) -> &'static str {
        "idle"
    }

    fn target(&self) -> &Target {
        &self.door.target
    }

    fn options(&self) -> Json {
        Json::object([("connections", self.connections.into())])
    }

    fn series(&self) -> &'static [&'static str] {
        &[]
    }

    fn kind(&self) -> Loop {
        Loop::Silent
    }

    fn connections_max(&self, share: Share) -> usize {
        share.of(self.connections).max(1)
    }

    fn worker(&self, share: Share, recorder: Recorder) -> Result<IdleWorker, String> {
        let connections = share.of(self.connections);
        Ok(IdleWorker {
            door: Arc::clone(&self.door),
            connections,
            opening: connections,
            open: connections,
            failed: None,
            span: None,
            recorder,
            accounts: Accounts::default(),
            is_first: share.index == 0,
            kernel_bytes: None,
        })
    }
}

/// A thread's silent connections.
#[derive(Debug)]
struct IdleWorker {
    door: Arc<Door>,
    connections: usize,
    opening: usize,
    open: usize,
    failed: Option<String>,
    span: Option<Span>,
    recorder: Recorder,
    accounts: Accounts,
    /// One of the threads reads what is the whole machine's.
    is_first: bool,
    kernel_bytes: Option<u64>,
}

impl Workload for IdleWorker {
    fn on_open(&mut self, _: &mut Outbox<'_>, _: usize, _: Instant) {
        self.opening -= 1;
    }

    fn on_message(&mut self, _: &mut Outbox<'_>, _: usize, _: Message<'_>, _: Instant) {
        self.accounts.unknown += 1;
    }

    fn on_enter(&mut self, at: Instant) {
        self.recorder.turn(at);
    }

    fn on_ended(&mut self, _: &mut Outbox<'_>, _: usize, end: &End) {
        self.open -= 1;
        let Some(reason) = end.fault() else { return };
        match self.span {
            None => drop(self.failed.get_or_insert_with(|| reason.to_owned())),
            Some(_) => self.accounts.count_end(reason),
        }
    }
}

impl Worker for IdleWorker {
    fn connect(&mut self, out: &mut Outbox<'_>) {
        for _ in 0..self.connections {
            out.open(&self.door);
        }
    }

    fn readiness(&self) -> Readiness {
        match &self.failed {
            Some(reason) => Readiness::Failed(reason.clone()),
            None if self.opening > 0 => Readiness::Connecting { left: self.opening },
            None => Readiness::Ready,
        }
    }

    fn start(&mut self, span: Span) {
        self.span = Some(span);
        self.recorder.start(span);
    }

    fn pump(&mut self, _: &mut Outbox<'_>, now: Instant) -> Instant {
        self.span.map_or(now, |span| span.measure_to)
    }

    fn stop(&mut self, at: Instant) {
        self.recorder.stop(at);
        // While all are open.
        self.kernel_bytes = if self.is_first { kernel_bytes() } else { None };
    }

    fn is_over(&self) -> bool {
        self.connections > 0 && self.open == 0
    }

    fn is_drained(&self) -> bool {
        true
    }

    fn finish(self) -> Finding {
        let counts = self.kernel_bytes.map(|bytes| (KERNEL_BYTES, bytes)).into_iter().collect();
        Finding { accounts: self.accounts, recorded: self.recorder.finish(), counts, ..Finding::default() }
    }
}

/// What the kernel's slabs hold; none if it does not say.
fn kernel_bytes() -> Option<u64> {
    slab_bytes(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn slab_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("Slab:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_slabs_hold_is_read_from_meminfo() {
        assert_eq!(
            slab_bytes("MemTotal:  9 kB\nSlab:             812916 kB\nSReclaimable: 1 kB\n"),
            Some(812_916 * 1024)
        );
        assert_eq!(slab_bytes("MemTotal: 9 kB\n"), None);
    }

    #[test]
    fn there_are_as_many_threads_as_connections_need_and_at_least_those_asked_for() {
        let threads = |connections, asked: &[Option<usize>]| {
            let load = crate::cli::load(&mut Flags::default(), 5.0, 1.0).unwrap();
            IdleOptions { connections, visits_before: Duration::ZERO }
                .threads(&Load { threads: asked.to_vec(), ..load })
        };
        assert_eq!(threads(19_900, &[Some(1)]), [Some(1)]);
        assert_eq!(threads(19_901, &[Some(1)]), [Some(1), None]);
        assert_eq!(threads(1, &[None, None]), [None, None]);
    }
}
