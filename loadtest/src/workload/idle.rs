//! `idle`: connections that open and then say nothing. What does each cost the server?
//!
//! A ring's connections are direct descriptors, which `RLIMIT_NOFILE` bounds per ring and not per process, so with
//! one ring per thread a generator holds more connections than it may have files.
//!
//! Memory is the growth of the server's resident set since before the first of these connections, so a server that has
//! served others before shows less of it.

use std::sync::Arc;

use ringwire_ring::Instant;

use super::{Kind, Options, Place};
use crate::cli::Flags;
use crate::clients::{Door, End, Message, Outbox, Workload};
use crate::connect::PER_SOURCE;
use crate::json::Json;
use crate::measure::{Accounts, Loop, Recorder, Span};
use crate::report::Report;
use crate::run::{self, Finding, Load, Model, Readiness, Share, Worker};
use crate::target::Target;

/// Most connections of a thread: a ring's, under the common limit of 20,000 descriptors.
pub const PER_THREAD: usize = 19_900;

/// `idle`, on the command line.
pub const KIND: Kind = Kind {
    name: "idle",
    about: "connections that say nothing: memory and CPU time of each",
    help: "\
    --connections N       connections; more threads are started if one cannot hold them [10000]
",
    has_adapter: false,
    read: |flags| Ok(Box::new(IdleOptions::read(flags)?)),
};

/// How many connections.
#[derive(Clone, Debug)]
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
}

impl Options for IdleOptions {
    fn run(&self, place: &Place, load: &Load) -> Result<Report, String> {
        let threads = self.connections.div_ceil(PER_THREAD).max(load.threads.len());
        let mut load = load.clone();
        load.threads.resize(threads, None);
        let resident = |load: &Load| load.server.and_then(|server| server.resident_bytes().ok());
        let before = resident(&load);
        let door = Door { spread: self.connections > PER_SOURCE, ..Door::new(place.target.clone()) };
        let model = Idle { connections: self.connections, door: Arc::new(door) };
        let mut report = run::run(&model, &load)?;
        let after = report.cost.server.map(|server| server.resident_bytes);
        let each = before.zip(after).map(|(before, after)| (after as f64 - before as f64) / self.connections as f64);
        report.findings.push(("resident_bytes_before", before.into()));
        report.findings.push(("resident_bytes_per_connection", each.into()));
        Ok(report)
    }
}

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
        &["none"]
    }

    fn kind(&self) -> Loop {
        Loop::Silent
    }

    fn connections_max(&self, share: Share) -> usize {
        share.of(self.connections)
    }

    fn worker(&self, share: Share, recorder: Recorder) -> Result<IdleWorker, String> {
        let connections = share.of(self.connections);
        Ok(IdleWorker {
            door: Arc::clone(&self.door),
            connections,
            connecting: connections,
            open: connections,
            span: None,
            failed: None,
            recorder,
            accounts: Accounts::default(),
        })
    }
}

struct IdleWorker {
    door: Arc<Door>,
    connections: usize,
    connecting: usize,
    open: usize,
    span: Option<Span>,
    failed: Option<String>,
    recorder: Recorder,
    accounts: Accounts,
}

impl Workload for IdleWorker {
    fn on_open(&mut self, _: &mut Outbox<'_>, _: usize, _: Instant) {
        self.connecting -= 1;
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
            None if self.connecting > 0 => Readiness::Connecting { left: self.connecting },
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

    fn is_over(&self) -> bool {
        self.open == 0
    }

    fn is_drained(&self) -> bool {
        true
    }

    fn finish(self) -> Finding {
        Finding { accounts: self.accounts, recorded: self.recorder.finish(), ..Finding::default() }
    }
}
