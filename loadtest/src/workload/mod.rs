//! Models of what clients do.

pub mod echo;
pub mod fanout;
pub mod idle;
pub mod laggards;

use std::time::Duration;

use ringwire_ring::linux::pin_to_core;

use crate::clients::{Clients, Workload};
use crate::connect::Connector;

/// How long messages on their way are waited for at the end of a run.
const DRAIN: Duration = Duration::from_secs(5);

/// Pins the calling thread, if a core is asked for.
fn pin(core: Option<usize>) -> Result<(), String> {
    core.map_or(Ok(()), |core| pin_to_core(core).map_err(|error| format!("--core {core}: {error}")))
}

/// Opens `count` connections and takes them in.
fn connect(
    clients: &mut Clients,
    mut connector: Connector<'_>,
    count: usize,
    tcp_message_bytes: usize,
    workload: &mut impl Workload,
) -> Result<(), String> {
    for _ in 0..count {
        let opened = connector.open()?;
        clients.add(opened, connector.protocol(), tcp_message_bytes, workload).map_err(kernel)?;
    }
    Ok(())
}

/// An error of the ring, as the user reads it.
fn kernel(error: std::io::Error) -> String {
    format!("the generator's ring: {error}")
}
