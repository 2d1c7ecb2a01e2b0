//! One connection, from the wish for it to the return of its number.

use ringwire_engine::tls::Session;
use ringwire_ring::{OpToken, Socket, Staged};

use super::handshake::Opening;
use super::throttle::Throttle;

/// How far a connection is.
#[derive(Debug, Default)]
pub(super) enum Phase {
    /// The number is free.
    #[default]
    Free,
    /// Others are opened first.
    Waiting(Box<Opening>),
    /// TCP connects.
    Connecting(Box<Opening>),
    /// TLS and the WebSocket are being opened.
    Shaking(Box<Opening>),
    /// Messages come and go.
    Open,
    /// We have said that we close it, and wait for the server to.
    Closing,
    /// It has ended for the workload; its operations have not.
    Ended,
    /// Nothing is in flight but the close of its descriptor.
    Leaving,
}

/// A connection.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// There from the connecting to the close.
    pub(super) socket: Option<Socket>,
    /// How many connections have had the number before.
    pub(super) epoch: u32,
    pub(super) phase: Phase,
    /// A receive is in the kernel.
    pub(super) receive: Option<OpToken>,
    /// A send of an earlier backlog is in the kernel, or the wait to be connected.
    pub(super) send: Option<OpToken>,
    /// What goes out with this turn; not encrypted yet.
    pub(super) staged: Staged,
    /// What waits for that send, encrypted.
    pub(super) backlog: Vec<u8>,
    /// Bytes of that send.
    pub(super) sending_bytes: usize,
    pub(super) tls: Option<Box<Session>>,
    /// It reads slowly.
    pub(super) throttle: Option<Box<Throttle>>,
    /// A WebSocket is spoken on it, or will be.
    pub(super) is_websocket: bool,
}

impl Link {
    /// Whether it is being opened.
    pub(super) fn is_opening(&self) -> bool {
        matches!(self.phase, Phase::Connecting(_) | Phase::Shaking(_))
    }

    /// Whether messages come in.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Closing)
    }

    /// Whether the workload was told that it has ended, or knows nothing of it.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Free | Phase::Ended | Phase::Leaving)
    }
}
