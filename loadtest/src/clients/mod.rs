//! Many clients on one ring.
//!
//! A turn submits what was sent since the last, one transmission per connection, in the one system call that also
//! waits; then hands each message that came in to the [`Workload`], in place. What a socket does not take waits in
//! that connection's backlog, in order. Pings are answered here.
//!
//! Connections are opened in the ring beside those that are open, some at a time, and closed there: their numbers and
//! descriptors are used again, so a thread may open any number of them one after the other. None of this costs the
//! messages anything: a connection that is being opened, reads slowly or ends is another one's business.
//!
//! What this folder must never do: lose bytes; take a connection that ended for one that is silent; wait for one
//! connection alone.

mod core;
mod door;
mod handshake;
mod link;
mod opening;
mod outbox;
pub(crate) mod source;
mod throttle;
mod timers;

use std::io;
use std::time::Duration;

use ringwire_engine::tls::Stream;
use ringwire_ring::linux::{Ring, RingOptions, Unavailable, is_cancelled};
use ringwire_ring::{Clock, Completion, Driver, Event, Instant, Wait};

use crate::framing::{Framing, Incoming, Stop};

use self::core::{Core, News};
use link::Phase;
use timers::Due;

pub use door::{Door, End, TcpMessages};
pub use outbox::Outbox;
pub use source::PER_SOURCE;

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
    /// Most connections at a time; kernel memory only, and bounded by `RLIMIT_NOFILE`.
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

    /// The usual sizes for so many connections, whose messages are short.
    pub fn new(connections_max: usize, clock: Clock) -> Self {
        Self {
            connections_max,
            receive_buffers: 256,
            receive_buffer_bytes: 16 * 1024,
            clock,
            connecting_max: Self::CONNECTING_MAX,
        }
    }
}

/// Connections on a ring of the calling thread.
#[derive(Debug)]
pub struct Clients {
    core: Core,
    /// How the bytes of each connection become messages. Not with the connections: a workload that is handed a message
    /// in place may send on any of them.
    framings: Vec<Framing>,
    /// What TLS makes of what is received, for as long as a call takes.
    opened: Vec<u8>,
}

impl Clients {
    /// A ring for the calling thread, without connections.
    ///
    /// # Errors
    /// Why there is no io_uring, or no such ring, and what to do.
    pub fn new(options: ClientsOptions) -> Result<Self, Unavailable> {
        let ring = Ring::new(&RingOptions {
            submission_entries: 1024,
            sockets_max: u32::try_from(options.connections_max).unwrap_or(u32::MAX).min(Ring::SOCKETS_MAX),
            receive_buffers: options.receive_buffers,
            receive_buffer_bytes: options.receive_buffer_bytes,
            incremental_buffers: true,
            clock: options.clock,
        })?;
        Ok(Self { core: Core::new(ring, options.connecting_max), framings: Vec::new(), opened: Vec::new() })
    }

    /// How long a connection may take to open, from when it begins to connect: 10 s unless this says otherwise.
    pub fn set_patience(&mut self, patience: Duration) {
        self.core.patience = patience;
    }

    /// Where to open and send outside of a workload's answers.
    pub fn outbox(&mut self) -> Outbox<'_> {
        Outbox { core: &mut self.core }
    }

    /// The current instant.
    pub fn now(&self) -> Instant {
        self.core.now()
    }

    /// Sends what is to be sent, waits for something to come in, and handles it.
    ///
    /// # Errors
    /// If the kernel refuses to go on.
    pub fn turn(&mut self, wait: Wait, workload: &mut impl Workload) -> io::Result<()> {
        self.core.open_waiting();
        self.core.transmit();
        let wait = self.wait_for(wait);
        workload.on_enter(self.core.now());
        self.core.ring.enter(wait)?;
        let at = self.core.now();
        while let Some((link, news)) = self.core.news.pop_front() {
            self.on_news(link as usize, news, at, workload);
        }
        while let Some(completion) = self.core.ring.complete() {
            self.on_completion(completion, at, workload);
        }
        while let Some(timer) = self.core.due(at) {
            self.on_due(timer.link as usize, timer.due, at, workload);
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

    /// Closes every connection and waits until all have ended: a second at most, and a moment for each that is still
    /// being opened.
    ///
    /// # Errors
    /// If the kernel refuses to go on.
    pub fn close(mut self, workload: &mut impl Workload) -> io::Result<()> {
        const MOMENT: Duration = Duration::from_millis(1200);
        for link in 0..self.core.links.len() {
            self.core.close(link);
        }
        let deadline = self.now() + MOMENT;
        while !self.core.is_empty() && self.now() < deadline {
            self.turn(Wait::Until(deadline), workload)?;
        }
        Ok(())
    }

    /// How long a turn may really wait.
    fn wait_for(&mut self, wait: Wait) -> Wait {
        if !self.core.news.is_empty() {
            return Wait::No;
        }
        match (wait, self.core.first_due()) {
            (wait, None) | (wait @ Wait::No, _) => wait,
            (Wait::Forever, Some(due)) => Wait::Until(due),
            (Wait::Until(deadline), Some(due)) => Wait::Until(deadline.min(due)),
        }
    }

    fn on_completion(&mut self, completion: Completion, at: Instant, workload: &mut impl Workload) {
        let link = completion.context as usize;
        match completion.event {
            Event::Received(mut lease) => {
                self.on_received(link, lease.bytes(), at, workload);
                let bytes = lease.len;
                self.core.ring.release(lease);
                if !completion.more {
                    self.on_receive_ended(link, bytes, at);
                }
            }
            Event::NoBuffers => self.on_receive_ended(link, 0, at),
            Event::EndOfStream => {
                self.core.links[link].receive = None;
                let reason = match self.core.links[link].phase {
                    Phase::Shaking(_) => "the server ended the connection in the handshake",
                    _ => "the server ended the connection",
                };
                self.broken(link, reason, workload);
            }
            Event::ReceiveFailed(error) => {
                self.core.links[link].receive = None;
                // One that is to read at another pace was ended by us.
                if is_cancelled(&error) && !self.core.links[link].has_ended() {
                    self.core.receive(link, at);
                } else {
                    self.broken(link, &error.to_string(), workload);
                }
            }
            Event::Short { data, sent, error } => match error {
                Some(error) => self.broken(link, &error.to_string(), workload),
                None => self.core.on_short(link, &data, sent),
            },
            Event::Sent(data, result) => {
                self.core.links[link].send = None;
                self.core.links[link].sending_bytes = 0;
                match result {
                    Err(error) => self.broken(link, &error.to_string(), workload),
                    Ok(()) => self.core.on_sent(link, data),
                }
                self.core.leave(link);
            }
            Event::Writable(result) => {
                self.core.links[link].send = None;
                let result = result.map_err(|error| error.to_string());
                match result.and_then(|()| self.core.on_writable(link, at)) {
                    Err(reason) => self.broken(link, &reason, workload),
                    Ok(()) => self.core.leave(link),
                }
            }
            Event::Closed => self.core.on_closed(link),
            Event::Accepted(_) | Event::PeerAddress(_) | Event::Filled(..) | Event::ShutDown | Event::Woken => {
                unreachable!("a generator neither accepts nor shuts down nor is woken")
            }
        }
    }

    fn on_receive_ended(&mut self, link: usize, bytes: usize, at: Instant) {
        let connection = &mut self.core.links[link];
        connection.receive = None;
        if let Some(throttle) = &mut connection.throttle {
            throttle.on_read(bytes, at);
        }
        self.core.receive(link, at);
        self.core.leave(link);
    }

    fn on_news(&mut self, link: usize, news: News, at: Instant, workload: &mut impl Workload) {
        match news {
            News::Open(messages) if matches!(self.core.links[link].phase, Phase::Connecting(_)) => {
                self.core.set_open(link);
                self.set_framing(link, Framing::raw(messages));
                self.core.receive(link, at);
                workload.on_open(&mut self.outbox(), link, at);
            }
            News::Open(_) => {}
            News::Ended(end) => self.end(link, &end, workload),
        }
    }

    fn on_due(&mut self, link: usize, due: Due, at: Instant, workload: &mut impl Workload) {
        match due {
            Due::GoodBye => self.end(link, &End::Closed, workload),
            Due::Patience => {
                let what = match self.core.links[link].phase {
                    Phase::Connecting(_) => "connection",
                    _ => "answer to the handshake",
                };
                let seconds = self.core.patience.as_secs_f64();
                self.broken(link, &format!("no {what} within {seconds} s"), workload);
            }
            Due::Read => self.core.on_read_due(link, at),
        }
    }

    /// Bytes came from the socket.
    fn on_received(&mut self, link: usize, bytes: &mut [u8], at: Instant, workload: &mut impl Workload) {
        let Some(session) = &mut self.core.links[link].tls else { return self.on_bytes(link, bytes, at, workload) };
        let mut opened = std::mem::take(&mut self.opened);
        let stream = session.receive(bytes, &mut opened);
        if session.has_output() {
            self.core.send_tls(link);
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
        match self.core.links[link].phase {
            Phase::Open | Phase::Closing => self.on_frames(link, bytes, at, workload),
            Phase::Shaking(_) => match self.core.shake(link, bytes) {
                Ok(None) => {}
                Ok(Some((framing, first_bytes))) => {
                    self.set_framing(link, framing);
                    workload.on_open(&mut self.outbox(), link, at);
                    let behind = bytes.len() - first_bytes;
                    self.on_frames(link, &mut bytes[behind..], at, workload);
                }
                Err(reason) => self.broken(link, &reason, workload),
            },
            Phase::Free | Phase::Waiting(_) | Phase::Connecting(_) | Phase::Ended | Phase::Leaving => {}
        }
    }

    fn on_frames(&mut self, link: usize, bytes: &mut [u8], at: Instant, workload: &mut impl Workload) {
        let mut out = Outbox { core: &mut self.core };
        let outcome = self.framings[link].take(bytes, |incoming| match incoming {
            Incoming::Message(message) => workload.on_message(&mut out, link, message, at),
            Incoming::Ping(payload) => out.pong(link, payload),
        });
        match outcome {
            Ok(()) => {}
            Err(Stop::Violation(reason)) => self.broken(link, &reason, workload),
            Err(Stop::Closed(said)) => self.on_server_closes(link, &said, workload),
        }
    }

    /// The server has closed the WebSocket, and said this.
    fn on_server_closes(&mut self, link: usize, said: &str, workload: &mut impl Workload) {
        if matches!(self.core.links[link].phase, Phase::Closing) {
            // It ends the connection next (RFC 6455 §7.1.1).
            return;
        }
        self.core.send_close(link);
        self.core.flush(link);
        self.broken(link, &format!("the server closed the WebSocket: {said}"), workload);
    }

    /// Something went wrong, or the server ended the connection.
    fn broken(&mut self, link: usize, reason: &str, workload: &mut impl Workload) {
        if self.core.links[link].has_ended() {
            return self.core.leave(link);
        }
        let end = self.core.fault(link, reason);
        self.end(link, &end, workload);
    }

    fn end(&mut self, link: usize, end: &End, workload: &mut impl Workload) {
        if !self.core.links[link].has_ended() {
            self.core.finish(link);
            self.set_framing(link, Framing::default());
            workload.on_ended(&mut self.outbox(), link, end);
            // Only from here on the number may be another one's.
            self.core.leave(link);
        }
    }

    fn set_framing(&mut self, link: usize, framing: Framing) {
        if self.framings.len() <= link {
            self.framings.resize_with(link + 1, Framing::default);
        }
        self.framings[link] = framing;
    }
}
