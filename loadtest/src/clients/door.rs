//! Where and how to connect, and how a connection ends: what workloads say and hear of connections.

use crate::target::Target;

/// Where and how to connect, shared by many connections.
#[derive(Clone, Debug)]
pub struct Door {
    /// The server, what is spoken there and what lies between: TLS, compression, header fields of all connections.
    pub target: Target,
    /// Further header fields of the opening handshake, behind the target's.
    pub headers: Vec<(String, String)>,
    /// Subprotocols to offer, the one liked best first, before the target's. If any is offered, the server must agree
    /// to one.
    pub subprotocols: Vec<String>,
    /// On loopback, use many source addresses: from one only some 28,000 connections reach one server.
    pub spread: bool,
    /// How the bytes of a raw connection become messages.
    pub tcp_messages: TcpMessages,
}

/// How the bytes of a raw connection, on `tcp://`, become messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpMessages {
    /// Each has so many bytes, at least one.
    Bytes(usize),
    /// They are the frames of a WebSocket server, from the first byte on.
    Frames,
}

impl Door {
    /// A door to this target, from whatever address the kernel chooses. Messages of a raw connection have one byte.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            headers: Vec::new(),
            subprotocols: Vec::new(),
            spread: false,
            tcp_messages: TcpMessages::Bytes(1),
        }
    }
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// We ended it: the server has agreed, or had a second for that, or was not asked.
    Closed,
    /// It could not be opened: what went wrong, as the user reads it.
    NotOpened(String),
    /// It broke or the server closed it: why, as the user reads it.
    Broken(String),
}

impl End {
    /// What went wrong, if anything.
    pub fn fault(&self) -> Option<&str> {
        match self {
            End::Closed => None,
            End::NotOpened(reason) | End::Broken(reason) => Some(reason),
        }
    }
}
