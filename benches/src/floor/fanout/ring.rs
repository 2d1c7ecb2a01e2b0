//! Raw fanout on the engine's own [`Driver`], with its cheapest send: one [`Op::Transmit`] per subscriber and turn, all of
//! the same bytes.
//!
//! What came in is staged once; every subscriber's transmission reads it there, inside the one `io_uring_enter` that
//! also waits, and posts no completion unless its socket is full.

use std::io;
use std::net::SocketAddr;

use ringwire_ring::linux::{Ring, RingOptions, raise_descriptor_limit};
use ringwire_ring::{Clock, Completion, Data, Driver, Event, ListenOptions, Op, OpToken, Socket, Staged, Wait};

use super::super::RECEIVE_BYTES;
use super::{Line, Log, READY, Role};

/// Most connections, if the process may have as many descriptors.
const CONNECTIONS_MAX: u32 = 8192;
/// As the engine's defaults.
const SUBMISSION_ENTRIES: u32 = 512;
const RECEIVE_BUFFERS: u16 = 1024;
/// Context of the accept; those of connections are below.
const ACCEPT: u32 = u32::MAX;

/// A connection; its number is its socket's.
#[derive(Debug, Default)]
struct Connection {
    line: Line,
    role: Role,
    /// Of a subscriber: the position of the next byte that it is to get, if it is behind.
    behind: Option<u64>,
    /// What is in flight: receives until it ends, and the wait for room of one that is behind.
    receive: Option<OpToken>,
    writable: Option<OpToken>,
    has_ended: bool,
}

/// The fanout.
#[derive(Debug)]
pub struct RingFanout {
    ring: Ring,
    connections: Vec<Connection>,
    /// Who gets what is published, and who does from the next turn on.
    subscribers: Vec<u32>,
    joining: Vec<u32>,
    publisher: Option<u32>,
    /// What was published this turn.
    published: Staged,
    /// Position of the first byte of that, and of what the turn before published.
    position: u64,
    previous: u64,
    /// What those who are behind have not had, and how many these are.
    log: Log,
    behind: usize,
    /// Those of them who have room, or were sent the last that they had not had.
    catching_up: Vec<u32>,
    /// Connections that have ended, to be closed once nothing is in flight on them.
    ended: Vec<u32>,
}

impl RingFanout {
    /// Listens on `address`, and says which address that is and what the kernel offers.
    ///
    /// # Errors
    /// If there is no io_uring, or the address is not free.
    pub fn listen(address: SocketAddr) -> Result<(Self, SocketAddr, String), String> {
        let descriptors = raise_descriptor_limit().map_err(|error| error.to_string())?;
        let mut ring = Ring::new(&RingOptions {
            submission_entries: SUBMISSION_ENTRIES,
            sockets_max: u32::try_from(descriptors).unwrap_or(u32::MAX).min(CONNECTIONS_MAX),
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
        let mut this = Self {
            ring,
            connections: Vec::new(),
            subscribers: Vec::new(),
            joining: Vec::new(),
            publisher: None,
            published: Staged::default(),
            position: 0,
            previous: 0,
            log: Log::default(),
            behind: 0,
            catching_up: Vec::new(),
            ended: Vec::new(),
        };
        this.submit(Op::Accept(listener), ACCEPT);
        Ok((this, address, features))
    }

    /// Relays for ever.
    ///
    /// # Errors
    /// If the kernel refuses to go on.
    pub fn run(mut self) -> io::Result<()> {
        loop {
            self.settle();
            self.publish();
            self.catch_up();
            self.answer();
            self.ring.enter(Wait::Forever)?;
            while let Some(completion) = self.ring.complete() {
                self.on_completion(completion)?;
            }
        }
    }

    fn submit(&mut self, op: Op<<Ring as Driver>::Waker>, context: u32) -> OpToken {
        match self.ring.submit(op, context) {
            Ok(token) => token,
            Err((error, op)) => panic!("{error}: {op:?}, although the ring has room for two operations of each socket"),
        }
    }

    /// Those whom the turn before sent all there is are behind no more, and those who have ended are closed.
    fn settle(&mut self) {
        let Self { connections, position, behind, .. } = self;
        self.catching_up.retain(|&slot| {
            let connection = &mut connections[slot as usize];
            if connection.behind == Some(*position) {
                connection.behind = None;
                *behind -= 1;
            }
            connection.behind.is_some() && connection.writable.is_none()
        });
        let mut ended = std::mem::take(&mut self.ended);
        ended.retain(|&slot| !self.close(slot));
        self.ended.append(&mut ended);
        if self.behind == 0 {
            self.log.clear();
        }
    }

    /// Sends what came in to every subscriber: those who are behind find it in the log.
    fn publish(&mut self) {
        let published = std::mem::take(&mut self.published);
        self.previous = self.position;
        if published.is_empty() {
            return;
        }
        if self.behind > 0 {
            self.log.append(self.position, self.ring.staged(&published));
        }
        self.position += published.len() as u64;
        for nth in 0..self.subscribers.len() {
            let slot = self.subscribers[nth];
            let connection = &self.connections[slot as usize];
            if connection.behind.is_none() && !connection.has_ended {
                self.submit(Op::Transmit(Socket(slot), Data::Staged(published)), slot);
            }
        }
    }

    /// Sends more to those who are behind and have room. Whoever does not have all with that waits for room again.
    fn catch_up(&mut self) {
        let mut catching_up = std::mem::take(&mut self.catching_up);
        catching_up.retain(|&slot| {
            let Some(at) = self.connections[slot as usize].behind else { return false };
            let Some(pieces) = self.log.from(at) else {
                self.end(slot);
                return false;
            };
            let mut staged = Staged::default();
            self.ring.stage().append(&mut staged, &pieces);
            let next = at + staged.len() as u64;
            self.connections[slot as usize].behind = Some(next);
            self.submit(Op::Transmit(Socket(slot), Data::Staged(staged)), slot);
            if next < self.position {
                self.await_room(slot);
            }
            next == self.position
        });
        self.catching_up = catching_up;
    }

    fn await_room(&mut self, slot: u32) {
        if self.connections[slot as usize].writable.is_none() {
            let token = self.submit(Op::Writable(Socket(slot)), slot);
            self.connections[slot as usize].writable = Some(token);
        }
    }

    /// Tells those whose first line came that they are known. Subscribers get what is published from the next turn on.
    fn answer(&mut self) {
        let mut joining = std::mem::take(&mut self.joining);
        for slot in joining.drain(..) {
            let connection = &self.connections[slot as usize];
            if connection.has_ended {
                continue;
            }
            if connection.role == Role::Subscriber {
                self.subscribers.push(slot);
            }
            let mut staged = Staged::default();
            self.ring.stage().append(&mut staged, &[&READY]);
            self.submit(Op::Transmit(Socket(slot), Data::Staged(staged)), slot);
        }
        self.joining = joining;
    }

    fn on_completion(&mut self, completion: Completion) -> io::Result<()> {
        let slot = completion.context;
        match completion.event {
            Event::Accepted(socket) => self.on_accepted(socket?),
            Event::Received(mut lease) => {
                self.on_received(slot, lease.bytes());
                self.ring.release(lease);
                if !completion.more {
                    self.receive(slot);
                }
            }
            Event::NoBuffers => self.receive(slot),
            Event::EndOfStream | Event::ReceiveFailed(_) => {
                self.connections[slot as usize].receive = None;
                self.end(slot);
            }
            // A broken connection ends when its receive does.
            Event::Short { error: Some(_), .. } => {}
            Event::Short { data, sent, error: None } => self.on_short(slot, &data, sent),
            Event::Writable(_) => {
                self.connections[slot as usize].writable = None;
                self.catching_up.push(slot);
            }
            Event::Closed => self.connections[slot as usize] = Connection::default(),
            Event::PeerAddress(_) | Event::Filled(..) | Event::Sent(..) | Event::ShutDown | Event::Woken => {}
        }
        Ok(())
    }

    fn on_accepted(&mut self, socket: Socket) {
        let slot = socket.0 as usize;
        if self.connections.len() <= slot {
            self.connections.resize_with(slot + 1, Connection::default);
        }
        self.connections[slot] = Connection::default();
        self.receive(socket.0);
    }

    fn receive(&mut self, slot: u32) {
        self.connections[slot as usize].receive = None;
        if !self.connections[slot as usize].has_ended {
            let token = self.submit(Op::Receive(Socket(slot)), slot);
            self.connections[slot as usize].receive = Some(token);
        }
    }

    fn on_received(&mut self, slot: u32, bytes: &[u8]) {
        let connection = &mut self.connections[slot as usize];
        let published = match connection.role {
            _ if connection.has_ended => return,
            Role::Publisher => bytes,
            Role::Subscriber => return,
            Role::Unknown => match connection.line.take(bytes) {
                Ok(None) => return,
                Ok(Some((role, behind))) if role == Role::Subscriber || self.publisher.is_none() => {
                    connection.role = role;
                    self.joining.push(slot);
                    if role == Role::Subscriber {
                        return;
                    }
                    self.publisher = Some(slot);
                    behind
                }
                Ok(_) | Err(()) => return self.end(slot),
            },
        };
        if !published.is_empty() {
            self.ring.stage().append(&mut self.published, &[published]);
        }
    }

    /// A socket did not take all: its subscriber is behind, by the turn's bytes or further than it was.
    fn on_short(&mut self, slot: u32, data: &Data, sent: usize) {
        let Data::Staged(transmitted) = data else { unreachable!("only staged bytes are transmitted") };
        let connection = &mut self.connections[slot as usize];
        if connection.has_ended {
            return;
        }
        let unsent = (transmitted.len() - sent) as u64;
        match &mut connection.behind {
            Some(at) => *at -= unsent,
            none => {
                *none = Some(self.position - unsent);
                self.behind += 1;
                if self.log.is_empty() {
                    self.log.append(self.previous, self.ring.staged(transmitted));
                }
            }
        }
        self.await_room(slot);
    }

    /// A connection ends, whoever ended it.
    fn end(&mut self, slot: u32) {
        let connection = &mut self.connections[slot as usize];
        if std::mem::replace(&mut connection.has_ended, true) {
            return;
        }
        if connection.behind.take().is_some() {
            self.behind -= 1;
        }
        if self.publisher == Some(slot) {
            self.publisher = None;
        }
        let in_flight = [connection.receive, connection.writable];
        self.subscribers.retain(|&other| other != slot);
        self.ended.push(slot);
        for token in in_flight.into_iter().flatten() {
            self.submit(Op::Cancel(token), slot);
        }
    }

    /// Closes a connection that has ended, if nothing is in flight on it.
    fn close(&mut self, slot: u32) -> bool {
        let connection = &self.connections[slot as usize];
        let is_free = connection.receive.is_none() && connection.writable.is_none();
        if is_free {
            self.submit(Op::Close(Socket(slot)), slot);
        }
        is_free
    }
}
