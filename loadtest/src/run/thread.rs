//! One thread of a run: its ring, its connections, its worker.

use std::time::Duration;

use ringwire_ring::linux::{pin_to_core, precise_waits};
use ringwire_ring::{Clock, Instant, Wait};

use super::stage::Stage;
use super::{Finding, Load, Model, Readiness, Share, Worker};
use crate::clients::{Clients, ClientsOptions, End, Message, Outbox, Workload};
use crate::measure::Recorder;

/// How often a thread that waits for nothing of its own looks up.
const LOOK: Duration = Duration::from_millis(10);
/// How long messages on their way are waited for at the end.
const DRAIN: Duration = Duration::from_secs(5);
/// Buffers that bytes come in, and the size of each. They are used in turn, so that fewer of them stay in the core's
/// caches; when none is free, connections wait for the next turn.
const RECEIVE_BUFFERS: u16 = 256;
const RECEIVE_BUFFER_BYTES: u32 = 16 * 1024;

/// Runs this thread's part, from its first connection to its last.
pub(super) fn run<M: Model>(
    model: &M,
    share: Share,
    load: &Load,
    clock: Clock,
    stage: &Stage,
    recorder: Recorder,
) -> Result<Finding, String> {
    let part = Part { share, load, clock, stage };
    part.run(model, recorder).inspect_err(|reason| stage.fail(reason))
}

/// What a thread knows of its place in the run.
struct Part<'r> {
    share: Share,
    load: &'r Load,
    clock: Clock,
    stage: &'r Stage,
}

impl Part<'_> {
    fn run<M: Model>(&self, model: &M, recorder: Recorder) -> Result<Finding, String> {
        if let Some(core) = self.load.threads[self.share.index] {
            pin_to_core(core).map_err(|error| format!("--core {core}: {error}"))?;
        }
        // Without it messages are some 40 us late that are due while this thread sleeps.
        precise_waits().map_err(kernel)?;
        let options = ClientsOptions {
            connections_max: model.connections_max(self.share),
            receive_buffers: RECEIVE_BUFFERS,
            receive_buffer_bytes: RECEIVE_BUFFER_BYTES,
            clock: self.clock,
            connecting_max: model.connecting_max(self.share),
        };
        let mut clients = Clients::new(options).map_err(|error| error.to_string())?;
        let mut worker = model.worker(self.share, recorder)?;
        if !self.connect(&mut clients, &mut worker)? {
            return Ok(worker.finish());
        }
        self.work(&mut clients, &mut worker)?;
        self.drain(&mut clients, &mut worker)?;
        clients.close(&mut Leaving).map_err(kernel)?;
        Ok(worker.finish())
    }

    /// Opens the connections and waits for the others' and for the beginning. `false` if there will be none.
    fn connect<W: Worker>(&self, clients: &mut Clients, worker: &mut W) -> Result<bool, String> {
        worker.connect(&mut clients.outbox());
        loop {
            match worker.readiness() {
                Readiness::Ready => break,
                Readiness::Failed(reason) => return Err(reason),
                Readiness::Connecting { .. } if self.stage.is_over() => return Ok(false),
                Readiness::Connecting { left } => {
                    self.stage.connecting(self.share.index, left);
                    self.turn(clients, worker, clients.now() + LOOK)?;
                }
            }
        }
        self.stage.ready(self.share.index);
        loop {
            // A connection that ends before the beginning is in no account: the run cannot begin.
            if let Readiness::Failed(reason) = worker.readiness() {
                return Err(reason);
            }
            if let Some(span) = self.stage.span() {
                worker.start(span);
                return Ok(true);
            }
            if self.stage.is_over() {
                return Ok(false);
            }
            self.turn(clients, worker, clients.now() + LOOK)?;
        }
    }

    fn work<W: Worker>(&self, clients: &mut Clients, worker: &mut W) -> Result<(), String> {
        let end = self.stage.span().map_or(clients.now(), |span| span.measure_to);
        let mut look = clients.now() + LOOK;
        loop {
            let now = clients.now();
            if now >= look {
                look = now + LOOK;
                if self.stage.is_over() {
                    break;
                }
            }
            if now >= end {
                break;
            }
            if worker.is_over() {
                self.stage.end();
                break;
            }
            let due = worker.pump(&mut clients.outbox(), now);
            let until = due.min(look).min(end);
            self.turn(clients, worker, until)?;
        }
        worker.stop(clients.now());
        self.stage.stop();
        Ok(())
    }

    /// Waits for what is on its way.
    fn drain<W: Worker>(&self, clients: &mut Clients, worker: &mut W) -> Result<(), String> {
        let patience = clients.now() + DRAIN;
        while !self.stage.all_stopped() && clients.now() < patience {
            self.turn(clients, worker, clients.now() + LOOK)?;
        }
        worker.all_stopped();
        while !worker.is_drained() && clients.now() < patience {
            self.turn(clients, worker, patience.min(clients.now() + LOOK))?;
        }
        Ok(())
    }

    fn turn<W: Worker>(&self, clients: &mut Clients, worker: &mut W, until: Instant) -> Result<(), String> {
        let wait = if self.load.spin { Wait::No } else { Wait::Until(until) };
        clients.turn(wait, worker).map_err(kernel)
    }
}

/// Who listens while connections are closed: what comes in is of no interest.
struct Leaving;

impl Workload for Leaving {
    fn on_message(&mut self, _: &mut Outbox<'_>, _: usize, _: Message<'_>, _: Instant) {}

    fn on_ended(&mut self, _: &mut Outbox<'_>, _: usize, _: &End) {}
}

/// An error of the ring, as the user reads it.
fn kernel(error: std::io::Error) -> String {
    format!("the generator's ring: {error}")
}
