//! The simulated network: virtual time, connections and listening sockets.
//!
//! Time passes only from event to event. Each connection has a latency, two bounded [pipes](crate::pipe::Pipe) and a
//! largest segment, all from the seed; what is written arrives in pieces of random size. Whoever a change concerns
//! is put on a list, which the [world](crate::World) reads after every step.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;

use fastrand::Rng;

use crate::connection::{Connection, Side};
use crate::faults::{Faults, strikes};
use crate::trace::Trace;

/// Error numbers of Linux, as [`std::io::Error::from_raw_os_error`] takes them.
pub(crate) mod errno {
    pub(crate) const ENFILE: i32 = 23;
    pub(crate) const EPIPE: i32 = 32;
    pub(crate) const ECONNABORTED: i32 = 103;
    pub(crate) const ECONNRESET: i32 = 104;
    pub(crate) const ECONNREFUSED: i32 = 111;
    pub(crate) const ECANCELED: i32 = 125;
}

/// What happens at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Occurrence {
    /// The connection reaches its listener.
    Arrive(usize),
    /// Bytes, or the end of the stream, reach a side.
    Deliver(usize, Side),
    /// A reset with this error reaches a side.
    Reset(usize, Side, i32),
    /// A peer wanted to act.
    Peer(usize),
    /// Something of a driver is due.
    Nudge,
}

/// Whom a change concerns.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Peer(usize),
    Socket { shard: usize, descriptor: u32 },
    Listener { shard: usize, listener: u32 },
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Bytes(usize),
    Nothing,
    End,
    Failed(i32),
}

#[derive(Debug)]
struct Listen {
    address: SocketAddr,
    shard: usize,
    backlog: usize,
    pending: VecDeque<usize>,
    open: bool,
}

/// Time, connections and listening sockets.
#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) now: u64,
    pub(crate) rng: Rng,
    pub(crate) faults: Faults,
    pub(crate) trace: Trace,
    events: BinaryHeap<Reverse<(u64, u64, Occurrence)>>,
    scheduled: u64,
    connections: Vec<Connection>,
    listens: Vec<Listen>,
    changes: Vec<Change>,
}

impl Net {
    pub(crate) fn new(mut rng: Rng, faults: Faults, print: bool) -> Self {
        let now = rng.u64(0..1_000_000_000);
        Self {
            now,
            rng,
            faults,
            trace: Trace::new(print),
            events: BinaryHeap::new(),
            scheduled: 0,
            connections: Vec::new(),
            listens: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// Adds an event to the trace.
    pub(crate) fn note(&mut self, what: &'static str, numbers: &[u64]) {
        self.trace.note(self.now, what, numbers);
    }

    /// Has something happen at an instant, or now if that has passed.
    pub(crate) fn schedule(&mut self, at: u64, occurrence: Occurrence) {
        self.scheduled += 1;
        self.events.push(Reverse((at.max(self.now), self.scheduled, occurrence)));
    }

    /// When the next event happens.
    pub(crate) fn next_at(&self) -> Option<u64> {
        self.events.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes the next event and moves the time there.
    pub(crate) fn next(&mut self) -> Option<Occurrence> {
        let Reverse((at, _, occurrence)) = self.events.pop()?;
        self.now = self.now.max(at);
        Some(occurrence)
    }

    /// Whom something that has changed concerns.
    pub(crate) fn changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Opens a listening socket; several may share an address, and a connection then goes to any of them.
    pub(crate) fn listen(&mut self, shard: usize, mut address: SocketAddr, backlog: usize) -> (u32, SocketAddr) {
        if address.port() == 0 {
            address.set_port(10_000 + u16::try_from(self.listens.len()).expect("few listeners"));
        }
        self.listens.push(Listen { address, shard, backlog, pending: VecDeque::new(), open: true });
        (u32::try_from(self.listens.len() - 1).expect("few listeners"), address)
    }

    /// Closes a listening socket; what waits there is reset.
    pub(crate) fn close_listener(&mut self, listener: u32) {
        let listen = &mut self.listens[listener as usize];
        assert!(listen.open, "a listener is closed once");
        listen.open = false;
        for connection in std::mem::take(&mut listen.pending) {
            self.abort(connection, Side::Server);
        }
    }

    /// The shard of a listening socket that is open.
    pub(crate) fn listener_shard(&self, listener: u32) -> Option<usize> {
        self.listens.get(listener as usize).filter(|listen| listen.open).map(|listen| listen.shard)
    }

    /// Whether an accept would find a connection.
    pub(crate) fn is_acceptable(&self, listener: u32) -> bool {
        !self.listens[listener as usize].pending.is_empty()
    }

    /// The connection that has waited longest.
    pub(crate) fn accept(&mut self, listener: u32) -> usize {
        self.listens[listener as usize].pending.pop_front().expect("a connection waits")
    }

    /// Makes the accepted connection's server side the descriptor of a shard.
    pub(crate) fn attach(&mut self, connection: usize, shard: usize, descriptor: u32) {
        self.connections[connection].descriptor = Some((shard, descriptor));
    }

    /// Whether a driver can say who is at the other end.
    pub(crate) fn knows_peers(&self) -> bool {
        !self.faults.knows_no_peers
    }

    /// Where the connection's client is.
    pub(crate) fn peer_address(&self, connection: usize) -> SocketAddr {
        self.connections[connection].from
    }

    /// Connects to an address. Refusal shows as a failed read or write.
    pub(crate) fn connect(&mut self, peer: usize, address: SocketAddr) -> usize {
        let connection = Connection::seeded(peer, address, &mut self.rng);
        let latency = connection.latency;
        self.connections.push(connection);
        let index = self.connections.len() - 1;
        self.schedule(self.now + latency, Occurrence::Arrive(index));
        self.note("peer # connects as connection #, # ns away", &[peer as u64, index as u64, latency]);
        index
    }

    /// Takes as many bytes as there is room for, or says why the connection takes none for ever.
    pub(crate) fn write(&mut self, connection: usize, side: Side, bytes: &[u8]) -> Result<usize, i32> {
        let this = &mut self.connections[connection];
        let end = this.end(side);
        assert!(!end.closed, "nothing is written to a closed socket");
        if end.broken {
            return Err(end.error.take().unwrap_or(errno::EPIPE));
        }
        if this.outgoing(side).is_finishing() {
            return Err(errno::EPIPE);
        }
        let taken = this.outgoing(side).write(bytes);
        self.start_delivery(connection, side.other());
        Ok(taken)
    }

    /// Reads what has arrived, as far as `out` goes.
    pub(crate) fn read(&mut self, connection: usize, side: Side, out: &mut [u8]) -> Found {
        let this = &mut self.connections[connection];
        assert!(!this.end(side).closed, "nothing is read from a closed socket");
        let pipe = this.incoming(side);
        if pipe.arrived() > 0 {
            let count = pipe.read(out);
            self.start_delivery(connection, side);
            return Found::Bytes(count);
        }
        let at_end = pipe.is_at_end();
        let end = this.end(side);
        match end.error.take() {
            Some(error) => Found::Failed(error),
            None if at_end || end.broken => Found::End,
            None => Found::Nothing,
        }
    }

    /// Bytes that a read would find.
    pub(crate) fn arrived(&mut self, connection: usize, side: Side) -> usize {
        self.connections[connection].incoming(side).arrived()
    }

    /// Whether a read would find anything.
    pub(crate) fn is_readable(&mut self, connection: usize, side: Side) -> bool {
        let this = &mut self.connections[connection];
        let pipe = this.incoming(side);
        let arrived = pipe.arrived() > 0 || pipe.is_at_end();
        arrived || this.end(side).broken
    }

    /// Whether poll(2) would say that there is room.
    pub(crate) fn is_writable(&mut self, connection: usize, side: Side) -> bool {
        let this = &mut self.connections[connection];
        this.outgoing(side).is_writable() || this.end(side).broken
    }

    /// Bytes that a write would take.
    pub(crate) fn room(&mut self, connection: usize, side: Side) -> usize {
        self.connections[connection].outgoing(side).room()
    }

    /// Whether a reset has reached this side.
    pub(crate) fn is_broken(&mut self, connection: usize, side: Side) -> bool {
        self.connections[connection].end(side).broken
    }

    /// Whether the network itself has reset this connection.
    pub(crate) fn was_killed(&self, connection: usize) -> bool {
        self.connections[connection].killed
    }

    /// Half-close: nothing more will be written.
    pub(crate) fn finish(&mut self, connection: usize, side: Side) {
        let this = &mut self.connections[connection];
        if !this.end(side).broken {
            this.outgoing(side).finish();
            self.start_delivery(connection, side.other());
        }
    }

    /// Closes: what was written still arrives, unless something was left unread, which resets the connection.
    pub(crate) fn close(&mut self, connection: usize, side: Side) {
        let this = &mut self.connections[connection];
        if this.incoming(side).arrived() > 0 {
            return self.abort(connection, side);
        }
        assert!(!this.end(side).closed, "a socket is closed once");
        this.end(side).closed = true;
        this.outgoing(side).finish();
        self.start_delivery(connection, side.other());
    }

    /// Closes with a reset: what was written may be lost.
    pub(crate) fn abort(&mut self, connection: usize, side: Side) {
        let this = &mut self.connections[connection];
        let end = this.end(side);
        assert!(!end.closed, "a socket is closed once");
        end.closed = true;
        this.incoming(side).lose_arrived();
        this.incoming(side).lose();
        self.reset(connection, side.other(), errno::ECONNRESET);
    }

    /// Sends a reset to a side.
    fn reset(&mut self, connection: usize, to: Side, error: i32) {
        let at = self.now + self.connections[connection].latency;
        self.schedule(at, Occurrence::Reset(connection, to, error));
    }

    /// Has what waits for `to` set out, if it can and nothing is under way already.
    fn start_delivery(&mut self, connection: usize, to: Side) {
        let latency = self.connections[connection].latency;
        let after = latency + self.rng.u64(0..=latency / 4);
        self.deliver_after(connection, to, after);
    }

    fn deliver_after(&mut self, connection: usize, to: Side, after: u64) {
        let pipe = self.connections[connection].incoming(to);
        if !pipe.delivering && pipe.can_deliver() {
            pipe.delivering = true;
            self.schedule(self.now + after, Occurrence::Deliver(connection, to));
        }
    }

    /// A connection reaches its address.
    pub(crate) fn arrive(&mut self, connection: usize) {
        let address = self.connections[connection].address;
        let fits = |listen: &Listen| listen.open && listen.address == address && listen.pending.len() < listen.backlog;
        let count = self.listens.iter().filter(|listen| fits(listen)).count();
        if count == 0 {
            self.connections[connection].server.closed = true;
            return self.reset(connection, Side::Client, errno::ECONNREFUSED);
        }
        let chosen = self.rng.usize(0..count);
        let mut fitting = self.listens.iter().enumerate().filter(|(_, listen)| fits(listen));
        let (index, _) = fitting.nth(chosen).expect("counted");
        let listen = &mut self.listens[index];
        listen.pending.push_back(connection);
        let listener = u32::try_from(index).expect("few listeners");
        self.changes.push(Change::Listener { shard: listen.shard, listener });
    }

    /// Bytes, or the end of the stream, reach a side.
    pub(crate) fn deliver(&mut self, connection: usize, to: Side) {
        let kill = strikes(&mut self.rng, self.faults.network_reset);
        let this = &mut self.connections[connection];
        let segment_max = this.segment_max;
        let closed = this.end(to).closed;
        let pipe = this.incoming(to);
        pipe.delivering = false;
        if closed {
            // Nobody is there: bytes are answered with a reset, the end of the stream with nothing.
            if pipe.sent() > 0 {
                pipe.lose();
                self.reset(connection, to.other(), errno::ECONNRESET);
            }
            return;
        }
        let most = if self.rng.bool() { segment_max } else { self.rng.usize(1..=segment_max) };
        let count = pipe.deliver(most) as u64;
        let what = if to == Side::Server { "connection #: # bytes up" } else { "connection #: # bytes down" };
        self.note(what, &[connection as u64, count]);
        if kill {
            self.note("connection #: reset by the network", &[connection as u64]);
            self.connections[connection].killed = true;
            self.reset(connection, Side::Client, errno::ECONNRESET);
            self.reset(connection, Side::Server, errno::ECONNRESET);
        }
        // What follows was sent behind this: it is not a whole latency away.
        let after = self.rng.u64(0..20_000);
        self.deliver_after(connection, to, after);
        self.changed(connection, to);
        self.changed(connection, to.other());
    }

    /// A reset reaches a side.
    pub(crate) fn break_off(&mut self, connection: usize, at: Side, error: i32) {
        let this = &mut self.connections[connection];
        let end = this.end(at);
        if end.closed || end.broken {
            return;
        }
        end.broken = true;
        end.error = Some(error);
        this.incoming(at).lose();
        this.outgoing(at).lose();
        let what = if at == Side::Server { "connection # broken above" } else { "connection # broken below" };
        self.note(what, &[connection as u64]);
        self.changed(connection, at);
    }

    fn changed(&mut self, connection: usize, side: Side) {
        let this = &self.connections[connection];
        match (side, this.descriptor) {
            (Side::Client, _) if !this.client.closed => self.changes.push(Change::Peer(this.peer)),
            (Side::Server, Some((shard, descriptor))) if !this.server.closed => {
                self.changes.push(Change::Socket { shard, descriptor });
            }
            _ => {}
        }
    }
}
