//! Raw TCP echo on the engine's own [`Driver`], with the engine's send path or with ordinary sends.
//!
//! With [`SendPath::Transmit`] a turn sends all that came in on a socket in one submission that ends inside
//! `io_uring_enter` and posts no completion. With [`SendPath::Ordinary`] it posts one, which the next wait finds at
//! once: a ping-pong takes two turns per message.

use std::io;
use std::net::SocketAddr;

use ringwire_ring::linux::{Ring, RingOptions};
use ringwire_ring::{Clock, Completion, Data, Driver, Event, ListenOptions, Op, Socket, Staged, Wait};

use super::RECEIVE_BYTES;

/// How replies leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendPath {
    /// [`Op::Transmit`]; what a socket does not take goes by [`Op::Send`].
    Transmit,
    /// [`Op::Send`] for everything: completes always, and waits in the kernel for room.
    Ordinary,
}

/// Most connections.
const CONNECTIONS_MAX: u32 = 4096;
/// As the engine's defaults.
const SUBMISSION_ENTRIES: u32 = 512;
const RECEIVE_BUFFERS: u16 = 1024;

/// A connection; its number is its socket's.
#[derive(Debug, Default)]
struct Connection {
    /// What goes out with this turn, on the transmit path.
    staged: Staged,
    /// What goes out next, as an ordinary send.
    pending: Vec<u8>,
    /// The memory of the last send, to be used again.
    spare: Vec<u8>,
    sending: bool,
    listed: bool,
    ended: bool,
}

/// The echo.
#[derive(Debug)]
pub struct RingEcho {
    ring: Ring,
    path: SendPath,
    connections: Vec<Connection>,
    /// Connections that have something to send.
    ready: Vec<u32>,
}

/// Context of the accept; those of connections are below.
const ACCEPT: u32 = u32::MAX;

impl RingEcho {
    /// Listens on `address`, and says which address that is and what the kernel offers.
    ///
    /// # Errors
    /// If there is no io_uring, or the address is not free.
    pub fn listen(address: SocketAddr, path: SendPath) -> Result<(Self, SocketAddr, String), String> {
        let mut ring = Ring::new(&RingOptions {
            submission_entries: SUBMISSION_ENTRIES,
            sockets_max: CONNECTIONS_MAX,
            receive_buffers: RECEIVE_BUFFERS,
            receive_buffer_bytes: RECEIVE_BYTES as u32,
            incremental_buffers: true,
            clock: Clock::start(),
        })
        .map_err(|error| error.to_string())?;
        let options = ListenOptions {
            address,
            backlog: 4096,
            notsent_lowat_bytes: Some(128 * 1024),
            user_timeout: None,
            congestion_control: None,
        };
        let (listener, address) = ring.listen(&options).map_err(|error| format!("{address}: {error}"))?;
        let features = ring.features().to_string();
        let mut this = Self { ring, path, connections: Vec::new(), ready: Vec::new() };
        this.submit(Op::Accept(listener), ACCEPT);
        Ok((this, address, features))
    }

    /// Echoes for ever.
    ///
    /// # Errors
    /// If the kernel refuses to go on.
    pub fn run(mut self) -> io::Result<()> {
        loop {
            self.send_ready();
            self.ring.enter(Wait::Forever)?;
            while let Some(completion) = self.ring.complete() {
                self.on_completion(completion)?;
            }
        }
    }

    fn submit(&mut self, op: Op<<Ring as Driver>::Waker>, context: u32) {
        if let Err((error, op)) = self.ring.submit(op, context) {
            panic!("{error}: {op:?}, although the ring has room for two operations of each socket");
        }
    }

    fn on_completion(&mut self, completion: Completion) -> io::Result<()> {
        let slot = completion.context;
        match completion.event {
            Event::Accepted(socket) => self.on_accepted(socket?),
            Event::Received(mut lease) => {
                let connection = &mut self.connections[slot as usize];
                match self.path {
                    SendPath::Transmit if !connection.sending && connection.pending.is_empty() => {
                        self.ring.stage().append(&mut connection.staged, &[lease.bytes()]);
                    }
                    _ => connection.pending.extend_from_slice(lease.bytes()),
                }
                self.list(slot);
                self.ring.release(lease);
                if !completion.more {
                    self.submit(Op::Receive(Socket(slot)), slot);
                }
            }
            Event::NoBuffers => self.submit(Op::Receive(Socket(slot)), slot),
            Event::EndOfStream | Event::ReceiveFailed(_) => {
                self.connections[slot as usize].ended = true;
                self.list(slot);
            }
            // A broken connection ends when its receive does, which is all that may still be in flight then.
            Event::Short { error: Some(_), .. } => {}
            Event::Short { data, sent, error: None } => self.on_short(slot, data, sent),
            Event::Sent(data, _) => {
                let connection = &mut self.connections[slot as usize];
                connection.sending = false;
                if let Data::Owned { mut bytes, .. } = data {
                    bytes.clear();
                    connection.spare = bytes;
                }
                if !connection.pending.is_empty() || connection.ended {
                    self.list(slot);
                }
            }
            Event::PeerAddress(_)
            | Event::Filled(..)
            | Event::Writable(_)
            | Event::ShutDown
            | Event::Closed
            | Event::Woken => {}
        }
        Ok(())
    }

    fn on_accepted(&mut self, socket: Socket) {
        let slot = socket.0 as usize;
        if self.connections.len() <= slot {
            self.connections.resize_with(slot + 1, Connection::default);
        }
        self.connections[slot] = Connection::default();
        self.submit(Op::Receive(socket), socket.0);
    }

    /// The socket did not take all: the rest goes as an ordinary send, and what is staged behind it.
    fn on_short(&mut self, slot: u32, data: Data, sent: usize) {
        let Data::Staged(transmitted) = data else { unreachable!("only staged bytes are transmitted") };
        let connection = &mut self.connections[slot as usize];
        connection.pending.extend_from_slice(&self.ring.staged(&transmitted)[sent..]);
        let staged = std::mem::take(&mut connection.staged);
        connection.pending.extend_from_slice(self.ring.staged(&staged));
        self.list(slot);
    }

    fn list(&mut self, slot: u32) {
        let connection = &mut self.connections[slot as usize];
        if !connection.listed {
            connection.listed = true;
            self.ready.push(slot);
        }
    }

    fn send_ready(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        for slot in ready.drain(..) {
            let connection = &mut self.connections[slot as usize];
            connection.listed = false;
            let staged = std::mem::take(&mut connection.staged);
            if connection.ended {
                if !connection.sending {
                    self.submit(Op::Close(Socket(slot)), slot);
                }
            } else if !staged.is_empty() {
                self.submit(Op::Transmit(Socket(slot), Data::Staged(staged)), slot);
            } else if !connection.pending.is_empty() && !connection.sending {
                connection.sending = true;
                let bytes = std::mem::replace(&mut connection.pending, std::mem::take(&mut connection.spare));
                self.submit(Op::Send(Socket(slot), Data::Owned { bytes, start: 0 }), slot);
            }
        }
        self.ready = ready;
    }
}
