//! Who gets in.
//!
//! A connection that was accepted is counted, asked for its peer's address where the driver can tell, counted among those
//! of that address, and only then read from. Who is too many is told so, as far as places are kept for that
//! ([`Limits::REFUSALS`](crate::Limits::REFUSALS)), and without words beyond: it takes nobody's place. Until its first
//! request is whole, a connection is a handshake in progress; of these there may be so many, and one more sends the oldest
//! away: peers who never finish take nobody's place but each other's.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use ringwire_ring::{Driver, Op, Socket};

use crate::answer::Then;
use crate::connection::{Connection, Life, Protocol};
use crate::context::Core;
use crate::handler::{CloseReason, Handler, Response};
use crate::options::{Limits, ProxyHeader};
use crate::shard::Shard;
use crate::teardown::{CONTEXT_NONE, Leave};
use crate::wheel::Tick;

/// Handshakes in progress, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    count: usize,
    /// Slot, generation and deadline of each, and of some that are over.
    queue: VecDeque<(u32, u32, Option<Tick>)>,
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// A connection came in, or accepting failed.
    pub(crate) fn on_accepted(&mut self, index: usize, result: io::Result<Socket>, more: bool) {
        if !more {
            self.accepts[index].token = None;
        }
        // Out of descriptors: the next one to be freed starts accepting again.
        let exhausted = matches!(&result, Err(error) if matches!(error.raw_os_error(), Some(ENFILE | EMFILE)));
        if let Ok(socket) = result {
            self.open(socket, u8::try_from(index).expect("listeners are at most 256"));
        }
        if more {
            return;
        }
        if self.ending.is_some() {
            self.driver.close_listener(self.accepts[index].listener);
        } else if !exhausted || self.core.slab.len() == 0 {
            self.accept(index);
        }
    }

    fn open(&mut self, socket: Socket, listener: u8) {
        let limits = &self.core.options.limits;
        let most = limits.process_connections_max.unwrap_or(u32::MAX);
        let fits = self.core.slab.len() - self.core.refusals < limits.connections_max as usize;
        let admitted = self.ending.is_none() && fits && self.core.process.connect(most);
        let may_come = admitted || self.core.refusals < Limits::REFUSALS as usize;
        let connection = may_come.then(|| Connection::new(socket, listener, self.core.stamp));
        let Some(slot) = connection.and_then(|connection| self.core.slab.insert(connection)) else {
            // Even the places for refusals are taken.
            if admitted {
                self.core.process.disconnect();
            }
            self.submit(Op::Close(socket), CONTEXT_NONE);
            return;
        };
        let is_encrypted = self.core.options.listen[usize::from(listener)].transport.acceptor().is_some();
        self.http_state(slot).undecided = is_encrypted;
        if !admitted {
            self.receive(slot);
            return self.turn_away(slot, 503, "the server has as many connections as it takes; try again later\n");
        }
        self.core.slab.at(slot).flags.admitted = true;
        if self.driver.knows_peers() {
            let listener = self.accepts[usize::from(listener)].listener;
            let token = self.submit(Op::PeerAddress(socket, listener), slot);
            // In the place of the receive that follows it.
            self.core.slab.at(slot).receive = Some(token);
        } else {
            self.receive(slot);
        }
        self.begin_handshake(slot);
    }

    /// The kernel has said who the peer is, or cannot.
    pub(crate) fn on_peer_address(&mut self, slot: u32, address: io::Result<SocketAddr>) {
        let connection = self.core.slab.at(slot);
        connection.receive = None;
        match connection.life {
            Life::Joining => return self.close_if_joined(slot),
            Life::Live => {}
            Life::Finishing | Life::Lingering | Life::Closing => return,
        }
        let address = match address {
            Ok(address) => address,
            Err(error) => return self.end(slot, &CloseReason::Broken(error.kind())),
        };
        let listener = usize::from(connection.listener);
        let options = &self.core.options.listen[listener];
        let is_trusted = options.trusts(address.ip());
        let expects_header = options.proxy_header == ProxyHeader::Required;
        if let Protocol::Http(state) = &mut self.core.slab.at(slot).protocol {
            state.address = Some(address);
            state.awaits_header = is_trusted && expects_header;
        }
        self.receive(slot);
        // A trusted proxy's connections count for those that it names.
        if !is_trusted && !self.admit_address(slot, address) {
            self.turn_away(slot, 429, ADDRESS_WORDS);
        }
    }

    /// Counts the connection among those of an address. `false`: there are too many.
    pub(crate) fn admit_address(&mut self, slot: u32, address: SocketAddr) -> bool {
        let Some(most) = self.core.options.limits.address_connections_max else { return true };
        if self.core.slab.at(slot).ticket.is_some() {
            return true;
        }
        let ticket = self.core.process.enter(address.ip(), most);
        self.core.slab.at(slot).ticket = ticket;
        ticket.is_some()
    }

    /// Tells a connection that it is one too many, and ends it; but not before it is known in which language. If too many
    /// are being told so, it just ends.
    pub(crate) fn turn_away(&mut self, slot: u32, status: u16, words: &'static str) {
        if !self.core.begin_refusal(slot) {
            return self.end(slot, &CloseReason::Shed);
        }
        let state = self.http_state(slot);
        if state.undecided {
            state.refused = Some((status, words));
            let timeout = self.core.timeouts(slot).close;
            return self.core.set_deadline(slot, timeout);
        }
        let response = Response::text(status, words).header("Retry-After", "1");
        self.respond(slot, response, Then::Leave(Leave::Linger), false);
    }

    /// A request begins: it must be whole in time, and may be let go of if too many have begun.
    pub(crate) fn begin_handshake(&mut self, slot: u32) {
        let timeout = self.core.timeouts(slot).handshake;
        self.core.set_deadline(slot, timeout);
        let most = self.core.options.limits.handshakes_max as usize;
        if let Some(oldest) = self.core.begin_handshake(slot, most) {
            self.end(oldest, &CloseReason::Shed);
        }
    }

    /// The connection is gone: it counts no more.
    pub(crate) fn discount(&mut self, slot: u32) {
        self.core.stop_counting(slot);
        if std::mem::take(&mut self.core.slab.at(slot).flags.refused) {
            self.core.refusals -= 1;
        }
        if let Some(ticket) = self.core.slab.at(slot).ticket.take() {
            self.core.process.leave(ticket);
        }
    }
}

impl<M> Core<M> {
    /// Counts a connection among those that are refused, and no longer among the others. `false`: there are too many.
    fn begin_refusal(&mut self, slot: u32) -> bool {
        self.stop_counting(slot);
        if !std::mem::replace(&mut self.slab.at(slot).flags.refused, true) {
            self.refusals += 1;
        }
        self.refusals <= Limits::REFUSALS as usize
    }

    /// The connection is no handshake in progress, and none of the process's connections, or not any more.
    fn stop_counting(&mut self, slot: u32) {
        self.handshake_over(slot);
        if std::mem::take(&mut self.slab.at(slot).flags.admitted) {
            self.process.disconnect();
        }
    }

    /// Adds a handshake in progress; gives the oldest one, to a tick of the wheel, if there are now more than `most`.
    fn begin_handshake(&mut self, slot: u32, most: usize) -> Option<u32> {
        let generation = self.slab.id(slot).generation;
        let connection = self.slab.at(slot);
        if !std::mem::replace(&mut connection.flags.handshaking, true) {
            self.handshakes.count += 1;
        }
        self.handshakes.queue.push_back((slot, generation, connection.deadline));
        if self.handshakes.count <= most {
            self.forget_handshakes();
            return None;
        }
        while let Some(entry) = self.handshakes.queue.pop_front() {
            if self.is_in_progress(entry) {
                return Some(entry.0);
            }
        }
        None
    }

    /// The connection's request is whole, or never will be.
    pub(crate) fn handshake_over(&mut self, slot: u32) {
        if std::mem::take(&mut self.slab.at(slot).flags.handshaking) {
            self.handshakes.count -= 1;
        }
    }

    /// Forgets those that are over once they are the most by far.
    fn forget_handshakes(&mut self) {
        if self.handshakes.queue.len() > 2 * self.handshakes.count + 64 {
            let mut queue = std::mem::take(&mut self.handshakes.queue);
            queue.retain(|&entry| self.is_in_progress(entry));
            queue.shrink_to(2 * queue.len());
            self.handshakes.queue = queue;
        }
    }

    fn is_in_progress(&mut self, (slot, generation, deadline): (u32, u32, Option<Tick>)) -> bool {
        self.slab.try_at(slot).is_some_and(|found| found.flags.handshaking && found.deadline == deadline)
            && self.slab.id(slot).generation == generation
    }
}

/// What a connection over its address's limit is told.
pub(crate) const ADDRESS_WORDS: &str = "your address has as many connections as it may have; try again later\n";
/// From errno(3): operating-system numbers that decide what happens next.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
