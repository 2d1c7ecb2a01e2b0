//! Models of what clients do.

pub mod echo;
pub mod fanout;
pub mod idle;
pub mod laggards;

use std::sync::Arc;
use std::time::Duration;

use ringwire_ring::linux::pin_to_core;
use ringwire_ring::{Instant, Wait};

use crate::clients::{Clients, Door, End, Message, Outbox, Workload};

/// How long messages on their way are waited for at the end of a run.
const DRAIN: Duration = Duration::from_secs(5);

/// Pins the calling thread, if a core is asked for.
fn pin(core: Option<usize>) -> Result<(), String> {
    core.map_or(Ok(()), |core| pin_to_core(core).map_err(|error| format!("--core {core}: {error}")))
}

/// Opens `count` connections, and returns when all are open.
fn connect(clients: &mut Clients, door: Door, count: usize, workload: &mut impl Workload) -> Result<(), String> {
    let door = Arc::new(door);
    for _ in 0..count {
        clients.outbox().open(&door);
    }
    let mut opening = Opening { workload, open: 0, fault: None };
    while opening.open < count {
        clients.turn(Wait::Forever, &mut opening).map_err(kernel)?;
        if let Some(fault) = opening.fault.take() {
            return Err(fault);
        }
    }
    Ok(())
}

/// A workload whose connections are being opened.
struct Opening<'w, W> {
    workload: &'w mut W,
    open: usize,
    /// Why the first one could not be opened.
    fault: Option<String>,
}

impl<W: Workload> Workload for Opening<'_, W> {
    fn on_open(&mut self, out: &mut Outbox<'_>, link: usize, at: Instant) {
        self.open += 1;
        self.workload.on_open(out, link, at);
    }

    fn on_message(&mut self, out: &mut Outbox<'_>, link: usize, message: Message<'_>, at: Instant) {
        self.workload.on_message(out, link, message, at);
    }

    fn on_ended(&mut self, out: &mut Outbox<'_>, link: usize, end: &End) {
        if let End::NotOpened(reason) = end {
            self.fault.get_or_insert_with(|| reason.clone());
        }
        self.workload.on_ended(out, link, end);
    }
}

/// An error of the ring, as the user reads it.
fn kernel(error: std::io::Error) -> String {
    format!("the generator's ring: {error}")
}
