//! Many clients on one ring.
//!
//! A turn submits what was sent since the last, one transmission per connection, in the one system call that also
//! waits; then hands each message that came in to the [`Workload`], in place. What a socket does not take waits in
//! that connection's backlog, in order. Pings are answered here.
//!
//! What this file must never do: lose bytes; take a connection that ended for one that is silent.

use std::io;
use std::time::Duration;

use ringwire_codec::{MaskKey, Opcode, encode_frame};
use ringwire_engine::tls::{Session, Stream};
use ringwire_ring::linux::{Ring, RingOptions, Unavailable};
use ringwire_ring::{Completion, Data, Driver, Event, Instant, Op, Socket, Staged, Wait};

use crate::connect::Opened;
use crate::framing::{Framing, Incoming};
use crate::target::Protocol;

/// What is done with messages.
pub trait Workload {
    /// A message came in on the connection `link`. `at` is when this turn's wait ended.
    fn on_message(&mut self, out: &mut Outbox<'_>, link: usize, payload: &[u8], at: Instant);

    /// What was sent since the last turn goes to the kernel now: from here on latencies count.
    fn on_enter(&mut self, at: Instant) {
        let _ = at;
    }

    /// The connection ended, for this reason. Nothing more comes in on it and nothing more goes out.
    fn on_ended(&mut self, link: usize, reason: &str);
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
    ended: bool,
}

/// Connections on a ring of the calling thread.
#[derive(Debug)]
pub struct Clients {
    ring: Ring,
    links: Vec<Link>,
    /// Connections that have something staged.
    ready: Vec<u32>,
    /// What TLS makes of what is sent and received, for as long as a call takes.
    sealed: Vec<u8>,
    opened: Vec<u8>,
}

/// Where a workload sends.
#[derive(Debug)]
pub struct Outbox<'a> {
    ring: &'a mut Ring,
    links: &'a mut [Link],
    ready: &'a mut Vec<u32>,
    sealed: &'a mut Vec<u8>,
}

impl Outbox<'_> {
    /// Sends bytes, a whole frame of the client's, on a connection with the next turn. On a connection that has ended
    /// they go nowhere.
    pub fn send(&mut self, link: usize, bytes: &[u8]) {
        let connection = &mut self.links[link];
        if connection.ended {
            return;
        }
        let bytes = match &mut connection.tls {
            None => bytes,
            Some(session) => {
                self.sealed.clear();
                // A session that has failed says so when its connection next receives; until then it sends nothing.
                if session.transmit(bytes, self.sealed).is_err() {
                    return;
                }
                &self.sealed[..]
            }
        };
        if connection.sending || !connection.backlog.is_empty() {
            connection.backlog.extend_from_slice(bytes);
            return;
        }
        if connection.staged.is_empty() {
            self.ready.push(link as u32);
        }
        self.ring.stage().append(&mut connection.staged, &[bytes]);
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
        })?;
        Ok(Self { ring, links: Vec::new(), ready: Vec::new(), sealed: Vec::new(), opened: Vec::new() })
    }

    /// Takes in an open connection and says its number: 0, 1, and so on. Messages on a raw connection have
    /// `tcp_message_bytes` each.
    ///
    /// # Errors
    /// If the ring does not take the socket: too many, or too few descriptors.
    pub fn add(
        &mut self,
        opened: Opened,
        protocol: &Protocol,
        tcp_message_bytes: usize,
        workload: &mut impl Workload,
    ) -> io::Result<usize> {
        let Opened { stream, mut first_bytes, tls, extension } = opened;
        let framing = match protocol {
            Protocol::WebSocket(_) => Framing::websocket(extension),
            Protocol::Tcp => Framing::fixed(tcp_message_bytes),
        };
        let socket = self.ring.adopt(stream)?;
        let link = self.links.len();
        self.links.push(Link {
            socket,
            framing,
            tls,
            staged: Staged::default(),
            backlog: Vec::new(),
            sending: false,
            ended: false,
        });
        self.receive(link);
        self.on_bytes(link, &mut first_bytes, self.ring.now(), workload);
        Ok(link)
    }

    /// Where to send outside of a workload's answers.
    pub fn outbox(&mut self) -> Outbox<'_> {
        Outbox { ring: &mut self.ring, links: &mut self.links, ready: &mut self.ready, sealed: &mut self.sealed }
    }

    /// The current instant.
    pub fn now(&self) -> Instant {
        self.ring.now()
    }

    /// Sends what is to be sent, waits for something to come in, and handles it.
    ///
    /// # Errors
    /// If the kernel refuses to go on.
    pub fn turn(&mut self, wait: Wait, workload: &mut impl Workload) -> io::Result<()> {
        self.transmit();
        workload.on_enter(self.ring.now());
        self.ring.enter(wait)?;
        let at = self.ring.now();
        while let Some(completion) = self.ring.complete() {
            self.on_completion(completion, at, workload);
        }
        Ok(())
    }

    /// Takes turns until `deadline` has come.
    ///
    /// # Errors
    /// If the kernel refuses to go on.
    pub fn turns_until(&mut self, deadline: Instant, workload: &mut impl Workload) -> io::Result<()> {
        while self.ring.now() < deadline {
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
        let mut frame = Vec::new();
        encode_frame(&mut frame, Opcode::Close, &1000u16.to_be_bytes(), Some(MaskKey::new([1, 2, 3, 4])));
        for link in 0..self.links.len() {
            if matches!(self.links[link].framing, Framing::WebSocket { .. }) {
                self.outbox().send(link, &frame);
            }
        }
        let deadline = self.ring.now() + MOMENT;
        self.turns_until(deadline, workload)
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

    fn on_completion(&mut self, completion: Completion, at: Instant, workload: &mut impl Workload) {
        let link = completion.context as usize;
        match completion.event {
            Event::Received(mut lease) => {
                self.on_received(link, lease.bytes(), at, workload);
                self.ring.release(lease);
                if !completion.more {
                    self.receive(link);
                }
            }
            Event::NoBuffers => self.receive(link),
            Event::EndOfStream => self.end(link, "the server ended the connection", workload),
            Event::ReceiveFailed(error) => self.end(link, &error.to_string(), workload),
            Event::Short { data, sent, error } => self.on_short(link, data, sent, error, workload),
            Event::Sent(_, result) => self.on_sent(link, result, workload),
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
        let Some(session) = &mut self.links[link].tls else { return self.on_bytes(link, bytes, at, workload) };
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
            Ok(Stream::Ended) => self.end(link, "the server ended TLS", workload),
            Err(error) => self.end(link, &error.to_string(), workload),
        }
    }

    fn on_bytes(&mut self, link: usize, bytes: &mut [u8], at: Instant, workload: &mut impl Workload) {
        if self.links[link].ended {
            return;
        }
        // The framing is out of its connection meanwhile, so that the workload may send on any.
        let mut framing = std::mem::replace(&mut self.links[link].framing, Framing::fixed(1));
        let mut out = self.outbox();
        let outcome = framing.take(bytes, |incoming| match incoming {
            Incoming::Message(payload) => workload.on_message(&mut out, link, payload, at),
            Incoming::Ping(payload) => {
                let mut frame = Vec::new();
                encode_frame(&mut frame, Opcode::Pong, payload, Some(MaskKey::new([7, 3, 5, 1])));
                out.send(link, &frame);
            }
        });
        self.links[link].framing = framing;
        if let Err(reason) = outcome {
            self.end(link, &reason, workload);
        }
    }

    /// The socket did not take all: the rest waits in the kernel, and whatever comes behind it here.
    fn on_short(
        &mut self,
        link: usize,
        data: Data,
        sent: usize,
        error: Option<io::Error>,
        workload: &mut impl Workload,
    ) {
        if let Some(error) = error {
            return self.end(link, &error.to_string(), workload);
        }
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

    fn on_sent(&mut self, link: usize, result: io::Result<()>, workload: &mut impl Workload) {
        self.links[link].sending = false;
        match result {
            Err(error) => self.end(link, &error.to_string(), workload),
            Ok(()) if !self.links[link].backlog.is_empty() => self.send_backlog(link),
            Ok(()) => {}
        }
    }

    fn end(&mut self, link: usize, reason: &str, workload: &mut impl Workload) {
        let connection = &mut self.links[link];
        if !connection.ended {
            connection.ended = true;
            connection.backlog = Vec::new();
            connection.staged = Staged::default();
            workload.on_ended(link, reason);
        }
    }
}
