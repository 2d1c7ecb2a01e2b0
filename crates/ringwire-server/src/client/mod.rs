//! The command line's clients: `ringwire subscribe`, `ringwire publish`, `ringwire record`.
//!
//! They are for pipes: messages are lines, words for people go to standard error, and the exit code says whether all
//! went well. They run on plain tokio rather than io_uring, so that they work on machines that have none.

mod connect;
mod echo;
mod link;
mod publish;
mod random;
mod rate;
mod record;
mod reporter;
mod requests;
mod subscribe;
mod trust;
mod wire;

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

pub(crate) use self::connect::connect;
pub use self::echo::echo;
pub(crate) use self::link::Progress;
pub use self::publish::publish;
pub(crate) use self::random::Random;
pub use self::record::record;
pub use self::subscribe::subscribe;
pub(crate) use self::wire::Wire;

use crate::failure::Failure;

/// Runs a client to its end.
fn run(client: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let result = runtime.block_on(client);
    // A read of standard input that is under way cannot be cancelled and is not waited for.
    runtime.shutdown_background();
    result
}

/// Begins to listen for SIGINT and SIGTERM; what it returns waits for one.
fn interrupted() -> Result<impl Future<Output = ()>, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::new(format!("cannot listen for signals: {error}")));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
