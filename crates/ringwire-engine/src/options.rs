//! What can be set, with defaults that serve.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ringwire_codec::DecoderLimits;
use ringwire_codec::http::HEADERS_MAX;

use crate::network::Network;
use crate::tls::Transport;

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
    /// Bytes of each. A message that came in one piece is handed to the handler without a copy. Kernels from 6.12 on fill
    /// the same memory in larger chunks, several receives in each.
    pub receive_buffer_bytes: u32,
    /// Bytes that a turn reads before what follows from them is transmitted; what else has come in waits in its buffers
    /// for the next turn. Without it, a flood from one peer could pass through a topic faster than any other is served.
    pub turn_bytes_max: usize,
    /// How long a shard that ran out of work looks for more before it sleeps, so that what comes meanwhile need not wake
    /// it. Takes a whole core while it looks. [`Duration::MAX`]: it never sleeps.
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
            turn_bytes_max: 1024 * 1024,
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
    /// Whether they are encrypted.
    pub transport: Transport,
    /// Where proxies are that are believed when they say whose a request is, with `X-Forwarded-For`, or whose a
    /// connection is, if `proxy_header` says that they do. From anywhere else a PROXY header is a bad request, and
    /// `X-Forwarded-For` says nothing.
    pub proxies: Vec<Network>,
    /// Whether these send a PROXY header in front of each connection.
    pub proxy_header: ProxyHeader,
    /// Name of the congestion control of its connections (`TCP_CONGESTION`), one of the kernel's
    /// `net.ipv4.tcp_available_congestion_control`. `None`: the system's.
    pub congestion_control: Option<String>,
}

/// Whether trusted proxies send the PROXY protocol's header, version 2. There is no guessing: a proxy that sends none
/// would let each of its clients make one up (proxy-protocol.txt §2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyHeader {
    /// They send none. One is a bad request.
    #[default]
    Off,
    /// In front of each connection. One without it gets 400.
    Required,
}

impl ListenerOptions {
    /// Whether what comes from `address` is believed when it names a client.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(address))
    }
}

impl From<SocketAddr> for ListenerOptions {
    fn from(address: SocketAddr) -> Self {
        Self {
            address,
            timeouts: Timeouts::default(),
            transport: Transport::default(),
            proxies: Vec::new(),
            proxy_header: ProxyHeader::Off,
            congestion_control: None,
        }
    }
}

/// Hard limits. What a peer over one gets is in docs/limits.md.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of a shard; one more gets 503. Each costs some 256 bytes. Bounded by `RLIMIT_NOFILE` less
    /// [`Limits::REFUSALS`].
    pub connections_max: u32,
    /// Connections of all shards together; one more gets 503. `None`: as many as the shards take.
    pub process_connections_max: Option<u32>,
    /// Connections of all shards that come from one IPv4 address or one IPv6 network of 64 bits; one more gets 429.
    /// `None`, the default: no such limit, since a company, a carrier's customers and all clients of a proxy may share
    /// an address. With it, each address that has connections costs some 60 bytes. A trusted proxy's connections count
    /// for the clients that it names. Off where the kernel does not tell addresses (before 6.7).
    pub address_connections_max: Option<u32>,
    /// Connections of a shard that have not finished their first request, or have begun a further one. Above it the one
    /// that has taken longest is let go, so that peers who never finish cannot keep others out.
    pub handshakes_max: u32,
    /// Frames and messages that a peer may send.
    pub message: DecoderLimits,
    /// Pings and pongs that a peer may send per second, on average over one; more ends the connection with 1008.
    pub control_frames_per_second_max: u16,
    /// Bytes of an HTTP request's head; a longer one gets 431.
    pub head_bytes_max: usize,
    /// Header fields of a request, at most [`ringwire_codec::http::HEADERS_MAX`]; one more gets 431.
    pub headers_max: usize,
    /// Bytes of a request's target (path and query); a longer one gets 414.
    pub target_bytes_max: usize,
    /// Bytes of an HTTP request's body; a longer one gets 413.
    pub body_bytes_max: usize,
    /// Bytes waiting for a peer to read above which it is not read from.
    pub backlog_high_bytes: usize,
    /// Bytes waiting for a peer to read above which the handler may not send more.
    pub backlog_bytes_max: usize,
    /// Bytes that one transmission pulls from the handler.
    pub pull_bytes_max: usize,
    /// Connections for which a turn pulls, from 1; the others' turns follow. Each send takes the kernel some
    /// microseconds, in which nothing that comes in is looked at, and what is published before a connection's turn goes out
    /// with what it waits for.
    pub pulled_connections_max: usize,
    /// Bytes that all of a shard's connections may hold: unfinished messages and requests, and what waits to be read.
    /// Above it those that hold most are let go, until seven eighths of it are held.
    pub memory_bytes_max: usize,
    /// The same for all shards together: above it the shard that holds most lets the connection go that holds most.
    pub process_memory_bytes_max: usize,
}

impl Limits {
    /// Descriptors kept beyond `connections_max`, to tell those over a limit that they are. While so many of a shard are
    /// being told, one more ends without words.
    pub const REFUSALS: u32 = 64;

    /// Bytes that a connection may stage in a turn. More is a backlog, so that its peer is held up and its handler told.
    ///
    /// One message more [may be staged](Self::may_stage) behind that, so that answers to as much as a peer may be behind, which are
    /// longer by their headers, are no backlog. The first of a turn may be [longer](Self::lone_bytes_max).
    pub(crate) fn staged_bytes_max(&self) -> usize {
        self.backlog_high_bytes.min(self.backlog_bytes_max)
    }

    /// Whether a connection that has staged so much may stage so much more in the same turn.
    pub(crate) fn may_stage(&self, staged: usize, added: usize) -> bool {
        let (all, high) = (staged + added, self.staged_bytes_max());
        let is_little = staged == 0 || staged.max(added) <= high;
        all <= high || (is_little && all <= self.lone_bytes_max())
    }

    /// Bytes of a frame that is tried as a whole if nothing else is staged: the socket says how much of it must wait. With no
    /// more than this staged, [`Context::send`](crate::Context::send) refuses nothing, so nobody waits for what is not told.
    pub(crate) fn lone_bytes_max(&self) -> usize {
        self.backlog_bytes_max.min(1024 * 1024)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 30_000,
            process_connections_max: None,
            address_connections_max: None,
            handshakes_max: 8192,
            message: DecoderLimits::default(),
            control_frames_per_second_max: 100,
            head_bytes_max: 16 * 1024,
            headers_max: HEADERS_MAX,
            target_bytes_max: 8 * 1024,
            body_bytes_max: 1024 * 1024,
            backlog_high_bytes: 256 * 1024,
            backlog_bytes_max: 1024 * 1024,
            pull_bytes_max: 128 * 1024,
            pulled_connections_max: 64,
            memory_bytes_max: 1024 * 1024 * 1024,
            process_memory_bytes_max: 2 * 1024 * 1024 * 1024,
        }
    }
}

/// Deadlines, as durations from what starts them. Each passes at most 64 ms late. A peer's bytes move none of the first
/// three: they are from one event to another.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// From accepting, or from the first byte of a further request, to the end of the request. Then 408, or nothing to a
    /// peer that has said nothing.
    pub handshake: Duration,
    /// Of an HTTP connection between requests, and of a response that the peer is slow to read.
    pub keep_alive: Duration,
    /// From an HTTP request that is to be answered [later](crate::Answer::Later) to the answer. Then 504.
    pub answer: Duration,
    /// From our close frame, or our last byte, to the end of the connection.
    pub close: Duration,
    /// Silence of an open WebSocket after which it is pinged; up to an eighth earlier, so that not all are at once. The
    /// default is below the 60 seconds after which common proxies and balancers cut idle connections. Any byte that the
    /// peer sends is a sign of life, and so is its taking what waited for it. `None`: no pings, and a peer that is gone
    /// holds its place for ever.
    pub ping: Option<Duration>,
    /// From such a ping to the next sign of life; then close code 1011, and the end without waiting for an answer. A
    /// peer that is so far behind that it is not read from must take all that waits for it in this time.
    pub pong: Duration,
    /// Time without a message either way after which a WebSocket is closed with 1000. Pings and pongs are no messages.
    pub idle: Option<Duration>,
    /// Time from the opening handshake after which a WebSocket is closed with 1001, up to a quarter earlier, so that
    /// those who came together do not come back together.
    pub lifetime: Option<Duration>,
    /// How long bytes may be under way without an acknowledgement, or the peer's window stay closed, before the kernel
    /// breaks the connection (`TCP_USER_TIMEOUT`). `None`: the system's retries, some 15 minutes.
    pub unacknowledged: Option<Duration>,
}

impl Timeouts {
    /// The name of one that is zero: none makes sense without any time.
    pub(crate) fn zero(&self) -> Option<&'static str> {
        let all = [
            ("handshake", Some(self.handshake)),
            ("keep_alive", Some(self.keep_alive)),
            ("answer", Some(self.answer)),
            ("close", Some(self.close)),
            ("ping", self.ping),
            ("pong", Some(self.pong)),
            ("idle", self.idle),
            ("lifetime", self.lifetime),
            ("unacknowledged", self.unacknowledged),
        ];
        all.into_iter().find(|(_, time)| time.is_some_and(|time| time.is_zero())).map(|(name, _)| name)
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            keep_alive: Duration::from_secs(60),
            answer: Duration::from_secs(30),
            close: Duration::from_secs(5),
            ping: Some(Duration::from_secs(25)),
            pong: Duration::from_secs(20),
            idle: None,
            lifetime: None,
            unacknowledged: Some(Duration::from_secs(60)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_more_is_staged_than_a_peer_may_be_behind_unless_a_handler_would_be_refused() {
        let usual = Limits { backlog_high_bytes: 256 << 10, backlog_bytes_max: 1 << 20, ..Limits::default() };
        let frame = (16 << 10) + 4;
        assert!(usual.may_stage(15 * frame, frame) && !usual.may_stage(16 * frame, 1));
        assert!(usual.may_stage(0, 1 << 20) && !usual.may_stage(0, (1 << 20) + 1) && !usual.may_stage(1, 500 << 10));
        let tight = Limits { backlog_high_bytes: 100, backlog_bytes_max: 150, ..Limits::default() };
        assert!(tight.may_stage(90, 60) && !tight.may_stage(90, 61));
        let wide = Limits { backlog_high_bytes: 4 << 20, backlog_bytes_max: 8 << 20, ..Limits::default() };
        assert!(wide.may_stage(2 << 20, 2 << 20) && !wide.may_stage(2 << 20, (2 << 20) + 1));
    }
}
