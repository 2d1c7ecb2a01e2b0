//! `idle`: connections that open and then say nothing. What does each cost the server?
//!
//! A ring's connections are direct descriptors, which `RLIMIT_NOFILE` bounds per ring and not per process, so with
//! one ring per thread a generator holds more connections than it may have files: there is a thread for every
//! [`PER_THREAD`] of them. On loopback they come from many source addresses.
//!
//! Memory is the growth of the server's resident set since before the first of these connections, so a server that has
//! served others before shows less of it. It needs `--server-pid`. A connection that the server ends is a fault.
//!
//! Where the defaults come from: 10,000 connections are the old question of this trade (C10k). Whoever measures memory
//! should let deadlines of handshakes pass before: `--settle` more than the server's handshake timeout.

use std::sync::Arc;

use ringwire_ring::Instant;

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
",
    has_adapter: false,
    read: |flags| Ok(Box::new(IdleOptions::read(flags)?)),
};

/// Most connections of a thread: a ring's, under the common limit of 20,000 descriptors.
pub const PER_THREAD: usize = 19_900;

/// How many connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleOptions {
    /// Connections.
    pub connections: usize,
}

impl IdleOptions {
    /// Reads its flags.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(flags: &mut Flags) -> Result<Self, String> {
        Ok(Self { connections: flags.at_least_one("connections", 10_000)? })
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
        let before = load.server.and_then(|server| server.whole_use().ok()).map(|used| used.resident_bytes);
        let door = Arc::new(Door { spread: true, ..Door::new(place.target.clone()) });
        let mut report = run::run(&Idle { connections: self.connections, door }, &load)?;
        let after = report.cost.server.map(|server| server.resident_bytes);
        let growth = before.zip(after).map(|(before, after)| after as f64 - before as f64);
        report.findings.extend([
            ("resident_bytes_before", before.into()),
            ("resident_bytes_per_connection", growth.map(|growth| growth / self.connections as f64).into()),
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
    }

    fn is_over(&self) -> bool {
        self.connections > 0 && self.open == 0
    }

    fn is_drained(&self) -> bool {
        true
    }

    fn finish(self) -> Finding {
        Finding { accounts: self.accounts, recorded: self.recorder.finish(), ..Finding::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_threads_as_connections_need_and_at_least_those_asked_for() {
        let threads = |connections, asked: &[Option<usize>]| {
            let load = crate::cli::load(&mut Flags::default(), 5.0, 1.0).unwrap();
            IdleOptions { connections }.threads(&Load { threads: asked.to_vec(), ..load })
        };
        assert_eq!(threads(19_900, &[Some(1)]), [Some(1)]);
        assert_eq!(threads(19_901, &[Some(1)]), [Some(1), None]);
        assert_eq!(threads(1, &[None, None]), [None, None]);
    }
}
