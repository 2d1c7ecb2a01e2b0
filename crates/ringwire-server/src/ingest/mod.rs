//! The ways in besides clients' connections: datagrams, a Unix socket, upstream servers.
//!
//! `Ingest::open` takes what can be taken by others, ports and files, before the server is ready, so that it does not
//! begin without them; `Ingest::start` has them published from. What they are doing stands in their [`Source`]s, for
//! `/health` and `/metrics`. docs/ingest.md says how each is used.
//!
//! What they must never do: hold a shard up; keep more than a bounded part of what a peer sends; drop something without
//! a count and a word.

mod inlet;
pub mod mapping;
pub mod source;
mod udp;
mod unix;
mod upstream;

use std::sync::Arc;

use ringwire_engine::Handle;

use self::inlet::Inlet;
use self::source::Source;
use crate::broker::{Broker, Mail};
use crate::failure::Failure;
use crate::options::Options;

/// What has been opened.
pub(crate) struct Ingest {
    ports: Vec<udp::Port>,
    socket: Option<unix::Socket>,
    upstreams: Vec<upstream::Upstream>,
}

impl Ingest {
    /// Opens what `options` name.
    ///
    /// # Errors
    /// What cannot be had, and why.
    pub(crate) fn open(options: &Options) -> Result<Self, Failure> {
        let ports = options.udp.iter().map(udp::Port::open).collect::<Result<_, _>>()?;
        let socket = options.unix.as_ref().map(unix::Socket::open).transpose()?;
        let upstreams = options.upstream.iter().map(upstream::Upstream::new).collect();
        Ok(Self { ports, socket, upstreams })
    }

    /// What tells how each of them is.
    pub(crate) fn sources(&self) -> Vec<Arc<Source>> {
        let ports = self.ports.iter().map(|port| &port.source);
        let sources = ports.chain(self.socket.iter().map(|socket| &socket.source));
        sources.chain(self.upstreams.iter().map(|upstream| &upstream.source)).cloned().collect()
    }

    /// What the server says of them before it is ready.
    pub(crate) fn announcement(&self) -> Vec<String> {
        let ports = self.ports.iter().map(udp::Port::announcement);
        let lines = ports.chain(self.socket.iter().map(unix::Socket::announcement));
        lines.chain(self.upstreams.iter().map(upstream::Upstream::announcement)).collect()
    }

    /// Publishes what comes from now on. To be called in the control plane's runtime.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub(crate) fn start(self, broker: &Arc<Broker>, handle: &Handle<Mail>) -> Result<(), Failure> {
        for port in self.ports {
            let inlet = Inlet::new(broker, handle, &port.source);
            // It ends with the process: there is nothing that it could lose.
            std::thread::Builder::new()
                .name(format!("udp {}", port.source.name()))
                .spawn(move || port.run(inlet))
                .map_err(|error| Failure::new(format!("cannot start a thread for udp: {error}")))?;
        }
        for upstream in self.upstreams {
            tokio_uring::spawn(upstream.run(Arc::clone(broker), handle.clone()));
        }
        if let Some(socket) = self.socket {
            tokio_uring::spawn(socket.run(Arc::clone(broker), handle.clone()));
        }
        Ok(())
    }
}
