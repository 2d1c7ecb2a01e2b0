//! What can be set, with defaults that serve.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use ringwire_codec::DecoderLimits;

/// How to run an engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Where to listen, and how. At most [`LISTENERS_MAX`](Self::LISTENERS_MAX).
    pub listen: Vec<ListenerOptions>,
    /// Shards, each a thread with a ring. `None`: as many as there are cores.
    pub shards: Option<usize>,
    /// Whether shard *n* stays on the *n*th core that the process may use.
    pub pin: bool,
    /// Connections that the kernel completes before they are accepted.
    pub backlog: u32,
    /// `TCP_NOTSENT_LOWAT`: bytes not yet sent above which a socket takes no more. What waits beyond it waits where it
    /// can still be joined, skipped or dropped.
    pub notsent_lowat_bytes: Option<u32>,
    /// Submission queue entries of a ring.
    pub submission_entries: u32,
    /// Provided buffers of a shard, a power of two.
    pub receive_buffers: u16,
    /// Bytes of each. A message that fits one is handed to the handler without a copy.
    pub receive_buffer_bytes: u32,
    /// How long a shard that ran out of work looks for more before it sleeps. Costs a whole core while it looks.
    pub spin: Duration,
    /// Messages that may wait in a shard's mailbox.
    pub mailbox_entries: usize,
    /// Limits of connections.
    pub limits: Limits,
}

impl EngineOptions {
    /// Listeners of a shard: a connection remembers its own in one byte.
    pub const LISTENERS_MAX: usize = 256;
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()],
            shards: None,
            pin: true,
            backlog: 4096,
            notsent_lowat_bytes: Some(128 * 1024),
            submission_entries: 512,
            receive_buffers: 1024,
            receive_buffer_bytes: 32 * 1024,
            spin: Duration::ZERO,
            mailbox_entries: 65_536,
            limits: Limits::default(),
        }
    }
}

/// How one address is served.
#[derive(Clone, Debug)]
pub struct ListenerOptions {
    /// Address and port. With port 0 the kernel picks a port, the same for all shards.
    pub address: SocketAddr,
    /// Deadlines of the connections that come in here.
    pub timeouts: Timeouts,
}

impl From<SocketAddr> for ListenerOptions {
    fn from(address: SocketAddr) -> Self {
        Self { address, timeouts: Timeouts::default() }
    }
}

/// Hard limits, per shard or per connection.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of a shard; one more gets 503. Bounded by `RLIMIT_NOFILE` less [`Limits::REFUSALS`].
    pub connections_max: u32,
    /// Frames and messages that a peer may send.
    pub message: DecoderLimits,
    /// Bytes of an HTTP request's head; a longer one gets 431.
    pub head_bytes_max: usize,
    /// Bytes of an HTTP request's body; a longer one gets 413.
    pub body_bytes_max: usize,
    /// Bytes waiting for a peer to read above which it is not read from.
    pub backlog_high_bytes: usize,
    /// Bytes waiting for a peer to read above which the handler may not send more.
    pub backlog_bytes_max: usize,
    /// Bytes that one transmission pulls from the handler.
    pub pull_bytes_max: usize,
    /// Bytes that all of a shard's connections may hold: unfinished messages and requests, and what waits to be read.
    /// Above it the connection that holds most is let go.
    pub memory_bytes_max: usize,
}

impl Limits {
    /// Descriptors kept beyond `connections_max`, to tell those over it that they are.
    pub const REFUSALS: u32 = 64;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 30_000,
            message: DecoderLimits::default(),
            head_bytes_max: 16 * 1024,
            body_bytes_max: 1024 * 1024,
            backlog_high_bytes: 256 * 1024,
            backlog_bytes_max: 1024 * 1024,
            pull_bytes_max: 128 * 1024,
            memory_bytes_max: 1024 * 1024 * 1024,
        }
    }
}

/// Deadlines, as durations from what starts them.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// From accepting, or from the first byte of a further request, to the end of the request.
    pub handshake: Duration,
    /// Of an HTTP connection between requests, and of a response that the peer is slow to read.
    pub keep_alive: Duration,
    /// From our close frame, or our last byte, to the end of the connection.
    pub close: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { handshake: Duration::from_secs(10), keep_alive: Duration::from_secs(60), close: Duration::from_secs(5) }
    }
}
