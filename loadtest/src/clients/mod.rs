//! Many clients on one ring.
//!
//! A turn submits what was sent since the last, one transmission per connection, in the one system call that also
//! waits; then hands each message that came in to the [`Workload`], in place. What a socket does not take waits in
//! that connection's backlog, in order. Pings are answered here.
//!
//! What this file must never do: lose bytes; take a connection that ended for one that is silent.

mod door;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ringwire_codec::{MaskKey, Opcode, encode_frame};
use ringwire_engine::tls::{Session, Stream};
use ringwire_ring::linux::{Ring, RingOptions, Unavailable};
use ringwire_ring::{Clock, Completion, Data, Driver, Event, Instant, Op, Socket, Staged, Wait};

use crate::connect::{Connector, Opened};
use crate::framing::{Framing, Incoming};
use crate::target::Protocol;

pub use door::{Door, End};

/// What is done with messages.
pub trait Workload {
    /// The connection `link` is open: the server has agreed to the handshake, or to be connected to on `tcp://`.
    fn on_open(&mut self, out: &mut Outbox<'_>, link: usize, at: Instant) {
        let _ = (out, link, at);
    }

    /// A message came in on the connection `link`. `at` is when this turn's wait ended.
    fn on_message(&mut self, out: &mut Outbox<'_>, link: usize, message: Message<'_>, at: Instant);

    /// What was sent since the last turn goes to the kernel now: from here on latencies count.
    fn on_enter(&mut self, at: Instant) {
        let _ = at;
    }

    /// The connection ended. Nothing more comes in on it and nothing more goes out; it may never have opened. A later
    /// [`Outbox::open`] may use its number again.
    fn on_ended(&mut self, out: &mut Outbox<'_>, link: usize, end: &End);
}

/// A message that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its payload.
    pub bytes: &'a [u8],
    /// Whether it is text. Those of raw connections are not.
    pub is_text: bool,
}

/// Sizes of a generator's ring.
#[derive(Clone, Copy, Debug)]
pub struct ClientsOptions {
    /// Most connections; kernel memory only.
    pub connections_max: usize,
    /// Provided buffers, a power of two.
    pub receive_buffers: u16,
    /// Bytes of each.
    pub receive_buffer_bytes: u32,
    /// What tells the time: one for all threads, so that their instants compare.
    pub clock: Clock,
    /// Most connections that are being opened at a time; the others wait in order.
    pub connecting_max: usize,
}

impl ClientsOptions {
    /// A [`connecting_max`](Self::connecting_max) that no server's backlog is too short for.
    pub const CONNECTING_MAX: usize = 64;
}

#[derive(Debug)]
struct Link {
    socket: Socket,
    framing: Framing,
    /// What lies between the socket and the framing on a wss connection.
    tls: Option<Box<Session>>,
    /// What goes out with this turn.
    staged: Staged,
    /// What the socket did not take; it goes out before anything else.
    backlog: Vec<u8>,
    /// A send of an earlier backlog is in the kernel.
    sending: bool,
    /// We have said that we close it.
    closing: bool,
    ended: bool,
}

/// What a workload is to hear with the next turn.
#[derive(Debug)]
enum News {
    Opened(Vec<u8>),
    Ended(End),
}

/// Connections on a ring of the calling thread.
#[derive(Debug)]
pub struct Clients {
    core: Core,
    /// What TLS makes of what is received, for as long as a call takes.
    opened: Vec<u8>,
}

#[derive(Debug)]
struct Core {
    ring: Ring,
    links: Vec<Link>,
    /// Connections that have something staged.
    ready: Vec<u32>,
    /// What TLS makes of what is sent, for as long as a call takes.
    sealed: Vec<u8>,
    news: VecDeque<(usize, News)>,
}

/// Where a workload sends.
#[derive(Debug)]
pub struct Outbox<'a> {
    core: &'a mut Core,
}

impl Outbox<'_> {
    /// Begins to open a connection and says its number. The workload hears of it with a later turn: that it is open, or
    /// has ended.
    pub fn open(&mut self, door: &Arc<Door>) -> usize {
        self.core.open(door)
    }

    /// Sends bytes, a whole frame of the client's, on a connection with the next turn. On a connection that has ended
    /// they go nowhere.
    pub fn send(&mut self, link: usize, bytes: &[u8]) {
        let Core { ring, links, ready, sealed, .. } = &mut *self.core;
        let connection = &mut links[link];
        if connection.ended {
            return;
        }
        let bytes = match &mut connection.tls {
            None => bytes,
            Some(session) => {
                sealed.clear();
                // A session that has failed says so when its connection next receives; until then it sends nothing.
                if session.transmit(bytes, sealed).is_err() {
                    return;
                }
                &sealed[..]
            }
        };
        if connection.sending || !connection.backlog.is_empty() {
            connection.backlog.extend_from_slice(bytes);
            return;
        }
        if connection.staged.is_empty() {
            ready.push(link as u32);
        }
        ring.stage().append(&mut connection.staged, &[bytes]);
    }

    /// Closes a WebSocket (close 1000), behind what was sent: it ends when the server has agreed, or after a second.
    pub fn close(&mut self, link: usize) {
        if !self.core.links[link].ended && !std::mem::replace(&mut self.core.links[link].closing, true) {
            let mut frame = Vec::new();
            encode_frame(&mut frame, Opcode::Close, &1000u16.to_be_bytes(), Some(MaskKey::new([1, 2, 3, 4])));
            if matches!(self.core.links[link].framing, Framing::WebSocket { .. }) {
                self.send(link, &frame);
            }
        }
    }

    /// Ends a connection with no more words.
    pub fn abort(&mut self, link: usize) {
        if !self.core.links[link].ended {
            self.core.news.push_back((link, News::Ended(End::Closed)));
        }
    }

    /// From now on at most so many bytes a second (0: none) are read of this connection.
    pub fn throttle(&mut self, link: usize, bytes_per_second: u64) {
        let _ = (link, bytes_per_second);
    }

    /// Bytes that the socket has not taken.
    pub fn backlog_bytes(&self, link: usize) -> usize {
        self.core.links[link].backlog.len()
    }

    /// The current instant.
    pub fn now(&self) -> Instant {
        self.core.ring.now()
    }
}

impl Clients {
    /// A ring for the calling thread, without connections.
    ///
    /// # Errors
    /// Why there is no io_uring, and what to do.
    pub fn new(options: ClientsOptions) -> Result<Self, Unavailable> {
        let ring = Ring::new(&RingOptions {
            submission_entries: 1024,
            sockets_max: u32::try_from(options.connections_max).unwrap_or(u32::MAX).min(Ring::SOCKETS_MAX),
            receive_buffers: options.receive_buffers,
            receive_buffer_bytes: options.receive_buffer_bytes,
            clock: options.clock,
        })?;
        let core = Core { ring, links: Vec::new(), ready: Vec::new(), sealed: Vec::new(), news: VecDeque::new() };
        Ok(Self { core, opened: Vec::new() })
    }

    /// Where to send outside of a workload's answers.
    pub fn outbox(&mut self) -> Outbox<'_> {
        Outbox { core: &mut self.core }
    }

    /// The current instant.
    pub fn now(&self) -> Instant {
        self.core.ring.now()
    }

    /// Sends what is to be sent, waits for something to come in, and handles it.
    ///
    /// # Errors
    /// If the kernel refuses to go on.
    pub fn turn(&mut self, wait: Wait, workload: &mut impl Workload) -> io::Result<()> {
        self.core.transmit();
        workload.on_enter(self.core.ring.now());
        self.core.ring.enter(if self.core.news.is_empty() { wait } else { Wait::No })?;
        let at = self.core.ring.now();
        while let Some((link, news)) = self.core.news.pop_front() {
            match news {
                News::Opened(mut first_bytes) => {
                    workload.on_open(&mut self.outbox(), link, at);
                    self.on_bytes(link, &mut first_bytes, at, workload);
                }
                News::Ended(end) => self.end(link, end, workload),
            }
        }
        while let Some(completion) = self.core.ring.complete() {
            self.on_completion(completion, at, workload);
        }
        Ok(())
    }

    /// Takes turns until `deadline` has come.
    ///
    /// # Errors
    /// If the kernel refuses to go on.
    pub fn turns_until(&mut self, deadline: Instant, workload: &mut impl Workload) -> io::Result<()> {
        while self.now() < deadline {
            self.turn(Wait::Until(deadline), workload)?;
        }
        Ok(())
    }

    /// Says good-bye on every WebSocket (close 1000) and gives the servers a moment to hear it.
    ///
    /// # Errors
    /// If the kernel refuses to go on.
    pub fn close(mut self, workload: &mut impl Workload) -> io::Result<()> {
        const MOMENT: Duration = Duration::from_millis(50);
        for link in 0..self.core.links.len() {
            self.outbox().close(link);
        }
        let deadline = self.now() + MOMENT;
        self.turns_until(deadline, workload)
    }

    fn on_completion(&mut self, completion: Completion, at: Instant, workload: &mut impl Workload) {
        let link = completion.context as usize;
        match completion.event {
            Event::Received(mut lease) => {
                self.on_received(link, lease.bytes(), at, workload);
                self.core.ring.release(lease);
                if !completion.more {
                    self.core.receive(link);
                }
            }
            Event::NoBuffers => self.core.receive(link),
            Event::EndOfStream => self.broken(link, "the server ended the connection", workload),
            Event::ReceiveFailed(error) => self.broken(link, &error.to_string(), workload),
            Event::Short { data, sent, error } => match error {
                Some(error) => self.broken(link, &error.to_string(), workload),
                None => self.core.on_short(link, data, sent),
            },
            Event::Sent(_, result) => {
                self.core.links[link].sending = false;
                match result {
                    Err(error) => self.broken(link, &error.to_string(), workload),
                    Ok(()) if !self.core.links[link].backlog.is_empty() => self.core.send_backlog(link),
                    Ok(()) => {}
                }
            }
            Event::Accepted(_)
            | Event::PeerAddress(_)
            | Event::Writable(_)
            | Event::ShutDown
            | Event::Closed
            | Event::Woken => {
                unreachable!("a generator neither accepts, polls, closes nor is woken")
            }
        }
    }

    /// Bytes came from the socket.
    fn on_received(&mut self, link: usize, bytes: &mut [u8], at: Instant, workload: &mut impl Workload) {
        let Some(session) = &mut self.core.links[link].tls else { return self.on_bytes(link, bytes, at, workload) };
        let mut opened = std::mem::take(&mut self.opened);
        let stream = session.receive(bytes, &mut opened);
        if session.has_output() {
            self.outbox().send(link, &[]);
        }
        self.on_bytes(link, &mut opened, at, workload);
        opened.clear();
        self.opened = opened;
        match stream {
            Ok(Stream::Open) => {}
            Ok(Stream::Ended) => self.broken(link, "the server ended TLS", workload),
            Err(error) => self.broken(link, &error.to_string(), workload),
        }
    }

    fn on_bytes(&mut self, link: usize, bytes: &mut [u8], at: Instant, workload: &mut impl Workload) {
        if self.core.links[link].ended {
            return;
        }
        // The framing is out of its connection meanwhile, so that the workload may send on any.
        let mut framing = std::mem::replace(&mut self.core.links[link].framing, Framing::fixed(1));
        let mut out = self.outbox();
        let outcome = framing.take(bytes, |incoming| match incoming {
            Incoming::Message(message) => workload.on_message(&mut out, link, message, at),
            Incoming::Ping(payload) => {
                let mut frame = Vec::new();
                encode_frame(&mut frame, Opcode::Pong, payload, Some(MaskKey::new([7, 3, 5, 1])));
                out.send(link, &frame);
            }
        });
        self.core.links[link].framing = framing;
        if let Err(reason) = outcome {
            self.broken(link, &reason, workload);
        }
    }

    fn broken(&mut self, link: usize, reason: &str, workload: &mut impl Workload) {
        let end = if self.core.links[link].closing { End::Closed } else { End::Broken(reason.to_owned()) };
        self.end(link, end, workload);
    }

    fn end(&mut self, link: usize, end: End, workload: &mut impl Workload) {
        let connection = &mut self.core.links[link];
        if !connection.ended {
            connection.ended = true;
            connection.backlog = Vec::new();
            connection.staged = Staged::default();
            workload.on_ended(&mut self.outbox(), link, &end);
        }
    }
}

impl Core {
    fn open(&mut self, door: &Arc<Door>) -> usize {
        let link = self.links.len();
        let mut connector = match door.spread {
            true => Connector::spread(&door.target, link),
            false => Connector::new(&door.target),
        };
        let opened = connector.open().and_then(|opened| {
            let Opened { stream, first_bytes, tls, extension } = opened;
            let framing = match door.target.protocol {
                Protocol::WebSocket(_) => Framing::websocket(extension),
                Protocol::Tcp => Framing::fixed(door.tcp_message_bytes),
            };
            Ok((self.ring.adopt(stream).map_err(|error| error.to_string())?, first_bytes, tls, framing))
        });
        let (socket, news, tls, framing) = match opened {
            Ok((socket, first_bytes, tls, framing)) => (socket, News::Opened(first_bytes), tls, framing),
            Err(reason) => (Socket(u32::MAX), News::Ended(End::NotOpened(reason)), None, Framing::fixed(1)),
        };
        self.links.push(Link {
            socket,
            framing,
            tls,
            staged: Staged::default(),
            backlog: Vec::new(),
            sending: false,
            closing: false,
            ended: false,
        });
        if matches!(news, News::Opened(_)) {
            self.receive(link);
        }
        self.news.push_back((link, news));
        link
    }

    fn submit(&mut self, op: Op<<Ring as Driver>::Waker>, link: usize) {
        if let Err((error, op)) = self.ring.submit(op, link as u32) {
            panic!("{error}: {op:?}, although the ring has room for two operations of each socket");
        }
    }

    fn receive(&mut self, link: usize) {
        let socket = self.links[link].socket;
        self.submit(Op::Receive(socket), link);
    }

    fn transmit(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        for link in ready.drain(..) {
            let connection = &mut self.links[link as usize];
            let staged = std::mem::take(&mut connection.staged);
            let socket = connection.socket;
            if !staged.is_empty() {
                self.submit(Op::Transmit(socket, Data::Staged(staged)), link as usize);
            }
        }
        self.ready = ready;
    }

    /// The socket did not take all: the rest waits in the kernel, and whatever comes behind it here.
    fn on_short(&mut self, link: usize, data: Data, sent: usize) {
        let Data::Staged(transmitted) = data else { unreachable!("only staged bytes are transmitted") };
        let mut rest = self.ring.staged(&transmitted)[sent..].to_vec();
        let connection = &mut self.links[link];
        let staged = std::mem::take(&mut connection.staged);
        rest.extend_from_slice(self.ring.staged(&staged));
        connection.backlog = rest;
        self.send_backlog(link);
    }

    fn send_backlog(&mut self, link: usize) {
        let connection = &mut self.links[link];
        let bytes = std::mem::take(&mut connection.backlog);
        connection.sending = true;
        let socket = connection.socket;
        self.submit(Op::Send(socket, Data::Owned { bytes, start: 0 }), link);
    }
}
