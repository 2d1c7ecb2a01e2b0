//! What a shard keeps of one connection. An idle one owns no heap memory.

use std::net::SocketAddr;

use ringwire_codec::extension::Extension;
use ringwire_codec::{Decoder, Phase};
use ringwire_ring::{OpToken, Socket, Staged};

use crate::answer::Awaited;
use crate::chunked::ChunkedRequest;
use crate::excess::Excess;
use crate::process::Ticket;
use crate::session::Session;
use crate::tls;
use crate::wheel::Tick;

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: Socket,
    /// Which listener it came in on.
    pub(crate) listener: u8,
    /// The receive in flight, or the question before it who the peer is.
    pub(crate) receive: Option<OpToken>,
    /// The send or the wait for room in flight: the socket takes no more until it completes.
    pub(crate) blocked: Option<OpToken>,
    /// What encrypts it. What speaks on it knows nothing of that.
    pub(crate) tls: Option<Box<tls::Session>>,
    /// What speaks on it.
    pub(crate) protocol: Protocol,
    /// Whether it is served, or on its way out.
    pub(crate) life: Life,
    /// What this turn's transmission will carry: replies, then what was pulled.
    pub(crate) staged: Staged,
    /// How many bytes at the end of the last transmission the handler was pulled for.
    pub(crate) pulled_bytes: u32,
    /// What waits for the socket to have room, and what was received and waits.
    pub(crate) excess: Excess,
    /// Its share of the shard's memory, as last counted; 4 GiB at the most.
    pub(crate) counted_bytes: u32,
    /// When to look at it again at the latest.
    pub(crate) deadline: Option<Tick>,
    /// When the wheel will look at it, if it has an entry.
    pub(crate) wheel_at: Option<Tick>,
    /// What its deadlines depend on once it is an open WebSocket.
    pub(crate) session: Session,
    /// Its place among the connections of its address, where these are limited.
    pub(crate) ticket: Option<Ticket>,
    pub(crate) flags: Flags,
}

// A part of the 256 bytes that an idle connection may cost a server (docs/performance.md), which is to be known as soon as it
// grows.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Option<Connection>>() <= 144, "a connection takes no more than 144 bytes of its shard");

/// What speaks on a connection.
#[derive(Debug)]
pub(crate) enum Protocol {
    /// HTTP/1.1: requests, one after the other.
    Http(Box<HttpState>),
    /// WebSocket.
    WebSocket { decoder: Decoder, extension: Option<Transform>, phase: Phase },
    /// An HTTP response without end, which the handler is pulled for until its last chunk has been staged. What the peer
    /// sends is dropped.
    Stream { open: bool },
}

/// What transforms a connection's messages: in a box of its own, since most have none, and a reference to a trait's object
/// takes two words.
pub(crate) type Transform = Box<Box<dyn Extension>>;

/// A request that has not come whole, and who sends it.
#[derive(Debug, Default)]
pub(crate) struct HttpState {
    /// What came of it.
    pub(crate) buffer: Vec<u8>,
    /// Bytes that must be there before it is worth looking again.
    pub(crate) wanted_bytes: usize,
    /// Whether "100 Continue" was sent for it.
    pub(crate) continued: bool,
    /// The request whose chunks are being taken, if it is one of that kind; the buffer is empty then.
    pub(crate) chunked: Option<Box<ChunkedRequest>>,
    /// The request before it, if that is still to be answered: then nothing of the next one is looked at.
    pub(crate) awaited: Option<Awaited>,
    /// Whether it follows another one and has no deadline of its own yet.
    pub(crate) is_further: bool,
    /// Whether a PROXY header must stand in front of all requests, and has not been seen.
    pub(crate) awaits_header: bool,
    /// Whether the first byte is still to decide if the connection is encrypted.
    pub(crate) undecided: bool,
    /// What it will be told once that is known: it is one too many.
    pub(crate) refused: Option<(u16, &'static str)>,
    /// Where the client is: the peer, or whom a trusted peer has named.
    pub(crate) address: Option<SocketAddr>,
    /// The trusted peer that has named it.
    pub(crate) proxy: Option<SocketAddr>,
}

/// Three steps lead out of a shard: terminate, join, release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Served.
    Live,
    /// Served no more: its last bytes are on their way out.
    Finishing,
    /// Our side of the stream is shut; what the peer sends is dropped until it ends its side too.
    Lingering,
    /// Everything in flight is being cancelled; the last completion closes the socket.
    Joining,
    /// The close is in flight: nothing else is.
    Closing,
}

/// Small facts.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    /// In the list of connections that transmit at the end of the turn.
    pub(crate) listed: bool,
    /// The handler has something to be pulled.
    pub(crate) pull: bool,
    /// Not read from: too much waits for it to be read, or the turn had no time for it.
    pub(crate) paused: bool,
    /// Its receive, if there is one, is being cancelled.
    pub(crate) cancelled: bool,
    /// It sends long messages: they are received where they are put together, from the next receive on.
    pub(crate) fills: bool,
    /// The application has accepted it or owes it an answer, and must be told of its end.
    pub(crate) opened: bool,
    /// Its end waits for the peer's.
    pub(crate) lingers: bool,
    /// It counts among the process's connections.
    pub(crate) admitted: bool,
    /// It counts among the handshakes in progress.
    pub(crate) handshaking: bool,
    /// It counts among those that are being told that they are too many.
    pub(crate) refused: bool,
}

impl HttpState {
    /// Whether a part of a request has come.
    pub(crate) fn has_begun(&self) -> bool {
        !self.buffer.is_empty() || self.chunked.is_some()
    }

    /// Lets go of what came of a request.
    pub(crate) fn forget(&mut self) {
        self.buffer = Vec::new();
        self.chunked = None;
        self.awaited = None;
    }
}

impl Connection {
    /// A connection that has just been accepted, at this tick.
    pub(crate) fn new(socket: Socket, listener: u8, now: Tick) -> Self {
        Self {
            socket,
            listener,
            receive: None,
            blocked: None,
            tls: None,
            protocol: Protocol::Http(Box::default()),
            life: Life::Live,
            staged: Staged::default(),
            pulled_bytes: 0,
            excess: Excess::default(),
            counted_bytes: 0,
            deadline: None,
            wheel_at: None,
            session: Session::new(now),
            ticket: None,
            flags: Flags::default(),
        }
    }

    /// Whether no operations of it are in flight.
    pub(crate) fn is_joined(&self) -> bool {
        self.receive.is_none() && self.blocked.is_none()
    }

    /// Whether the socket takes no more for now.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.is_some() || !self.excess.backlog.is_empty()
    }

    /// Whether its TLS has something to send by itself: always before it may be closed.
    pub(crate) fn has_tls_output(&self) -> bool {
        let ends = self.life == Life::Finishing;
        self.tls.as_ref().is_some_and(|session| session.has_output() || (ends && session.owes_close()))
    }

    /// Whether a long message has been received while replies wait for the peer: its answer would be copied behind them.
    pub(crate) fn is_filled_behind_replies(&self) -> bool {
        let is_pulled = self.flags.pull || self.pulled_bytes > 0;
        self.flags.fills
            && !is_pulled
            && self.waiting_bytes() > 0
            && matches!(&self.protocol, Protocol::WebSocket { decoder, .. } if decoder.is_filled())
    }

    /// Bytes that wait for the peer to read.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.excess.backlog.len() + self.excess.sending.bytes as usize
    }

    /// Heap memory it holds.
    pub(crate) fn memory_bytes(&self) -> usize {
        let input = match &self.protocol {
            Protocol::Http(http) => {
                http.buffer.capacity() + http.chunked.as_ref().map_or(0, |request| request.memory_bytes())
            }
            Protocol::WebSocket { decoder, extension, .. } => {
                decoder.assembly_bytes() + extension.as_ref().map_or(0, |extension| extension.memory_bytes())
            }
            Protocol::Stream { .. } => 0,
        };
        let tls = self.tls.as_ref().map_or(0, |session| session.memory_bytes());
        input + tls + self.excess.memory_bytes()
    }

    /// What transforms its messages, if anything was agreed on.
    pub(crate) fn extension(&mut self) -> Option<&mut (dyn Extension + 'static)> {
        match &mut self.protocol {
            Protocol::WebSocket { extension, .. } => extension.as_mut().map(|transform| &mut ***transform),
            Protocol::Http(_) | Protocol::Stream { .. } => None,
        }
    }

    /// Where its closing handshake is; `Connecting` if it does not speak WebSocket.
    pub(crate) fn phase(&self) -> Phase {
        match self.protocol {
            Protocol::Http(_) | Protocol::Stream { .. } => Phase::Connecting,
            Protocol::WebSocket { phase, .. } => phase,
        }
    }

    /// Whether the handler may be pulled for it: it is open, and has not begun to end.
    pub(crate) fn may_be_pulled(&self) -> bool {
        match self.protocol {
            Protocol::Http(_) => false,
            Protocol::WebSocket { phase, .. } => phase == Phase::Open,
            Protocol::Stream { open } => open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_owns_no_memory() {
        let mut connection = Connection::new(Socket(0), 0, Tick::of(ringwire_ring::Instant::default()));
        connection.protocol = Protocol::WebSocket { decoder: Decoder::default(), extension: None, phase: Phase::Open };
        assert_eq!(connection.memory_bytes(), 0);
    }
}
