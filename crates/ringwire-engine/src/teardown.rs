//! How connections come and go. Three steps lead out: terminate, join, release.
//!
//! A connection that ends well first finishes: its last bytes go out. If the peer may still be sending, as after a
//! violation, it then lingers: its side of the stream is shut, and what comes in is dropped until the peer shuts its
//! side too. Closing at once would make the kernel answer unread bytes with a reset, which can overtake the close
//! frame. After a closing handshake the peer has nothing to send, and nobody waits: a shutdown costs a worker thread of
//! the kernel's (`IORING_OP_SHUTDOWN` always runs on one). A connection that breaks or runs out of time goes to the
//! next step directly: everything in flight is cancelled, and its last completion closes the socket.

use std::io;
use std::time::Duration;

use ringwire_codec::{CloseCode, CloseEvent, Phase, Room};
use ringwire_ring::{Driver, Op};

use crate::answer::Then;
use crate::connection::{Life, Protocol};
use crate::excess::Excess;
use crate::handler::{CloseReason, Handler, Response, Timeout};
use crate::shard::{CUT_TIMEOUT, Ending, Shard, Status};

/// How a connection that ends well leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// The peer has nothing more to say.
    Close,
    /// The peer may still be sending.
    Linger,
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Receives: what is missing of a long message where that is put together, or else until told otherwise.
    pub(crate) fn receive(&mut self, slot: u32) {
        let room = self.core.make_room(slot);
        let connection = self.core.slab.at(slot);
        let socket = connection.socket;
        connection.flags.fills = room.is_some();
        connection.flags.cancelled = false;
        let op = match room {
            Some(Room { bytes, most }) => Op::Fill(socket, bytes, most),
            None => Op::Receive(socket),
        };
        self.core.slab.at(slot).receive = Some(self.submit(op, slot));
    }

    /// The receive has ended, with or without an error, though the stream has not.
    pub(crate) fn on_receive_ended(&mut self, slot: u32, error: Option<io::Error>) {
        let connection = self.core.slab.at(slot);
        connection.receive = None;
        let cancelled = error.as_ref().is_some_and(|error| error.raw_os_error() == Some(ECANCELED));
        match (connection.life, error) {
            (Life::Joining, _) => self.close_if_joined(slot),
            (Life::Live | Life::Finishing | Life::Lingering, Some(error)) if !cancelled => {
                self.end(slot, &CloseReason::Broken(error.kind()));
            }
            (Life::Live | Life::Finishing | Life::Lingering, _) => {
                if !connection.flags.paused {
                    self.receive(slot);
                }
            }
            (Life::Closing, _) => {}
        }
    }

    /// The peer has shut its side of the stream.
    pub(crate) fn on_end_of_stream(&mut self, slot: u32) {
        let connection = self.core.slab.at(slot);
        connection.receive = None;
        match connection.life {
            // What was held comes first; the receive that follows it finds the end again.
            Life::Live if connection.flags.paused => {}
            // A peer may shut its side behind its last request or frame; it still gets the answers.
            Life::Live => self.on_peer_done(slot),
            Life::Finishing => {}
            Life::Lingering | Life::Joining => {
                connection.life = Life::Joining;
                self.close_if_joined(slot);
            }
            Life::Closing => {}
        }
    }

    /// Ends a served connection well: what is staged for it still goes out.
    pub(crate) fn finish_slot(&mut self, slot: u32, reason: &CloseReason, leave: Leave) {
        let connection = self.core.slab.at(slot);
        if connection.life != Life::Live {
            return;
        }
        connection.life = Life::Finishing;
        self.core.handshake_over(slot);
        let connection = self.core.slab.at(slot);
        connection.flags.lingers = leave == Leave::Linger;
        let was_paused = std::mem::take(&mut connection.flags.paused);
        if connection.flags.lingers && was_paused && connection.receive.is_none() {
            // What it was not read from for is dropped from now on, until the peer's end.
            self.receive(slot);
        }
        let speaks_http = matches!(self.core.slab.at(slot).protocol, Protocol::Http(_));
        let timeouts = self.core.timeouts(slot);
        let timeout = if speaks_http { timeouts.keep_alive } else { timeouts.close };
        self.core.set_deadline(slot, timeout);
        self.core.list(slot);
        self.say_closed(slot, reason);
    }

    /// Ends the connections whose last bytes are out: closes them, or shuts our side of the stream.
    pub(crate) fn finish(&mut self) {
        for slot in std::mem::take(&mut self.core.finishing) {
            let Some(connection) = self.core.slab.try_at(slot) else { continue };
            if connection.life == Life::Joining {
                self.close_if_joined(slot);
                continue;
            }
            let has_output = !connection.staged.is_empty() || connection.has_tls_output();
            if connection.life != Life::Finishing || connection.is_blocked() || has_output {
                continue;
            }
            if let Protocol::WebSocket { phase, .. } = &mut connection.protocol {
                (*phase, _) = phase.on(CloseEvent::CloseTransmitted);
            }
            if connection.flags.lingers && connection.receive.is_some() {
                connection.life = Life::Lingering;
                let socket = connection.socket;
                let token = self.submit(Op::Shutdown(socket), slot);
                self.core.slab.at(slot).blocked = Some(token);
                let timeout = self.core.timeouts(slot).close;
                self.core.set_deadline(slot, timeout);
            } else {
                self.end(slot, &CloseReason::EndOfStream);
            }
        }
    }

    /// Our side of the stream is shut; the peer's end is still to come, or has.
    pub(crate) fn on_shut_down(&mut self, slot: u32) {
        self.core.slab.at(slot).blocked = None;
        self.close_if_joined(slot);
    }

    /// Ends a connection at once: what is in flight is cancelled.
    pub(crate) fn end(&mut self, slot: u32, reason: &CloseReason) {
        let connection = self.core.slab.at(slot);
        let was = connection.life;
        if matches!(was, Life::Joining | Life::Closing) {
            return;
        }
        connection.life = Life::Joining;
        connection.deadline = None;
        self.core.handshake_over(slot);
        let connection = self.core.slab.at(slot);
        for token in [connection.receive, connection.blocked].into_iter().flatten() {
            self.submit(Op::Cancel(token), slot);
        }
        if was == Life::Live {
            self.say_closed(slot, reason);
        }
        if self.core.has_transmitted {
            // Nothing else of it may be in flight, but what it transmits this turn is: no close overtakes that.
            self.core.finishing.push(slot);
        } else {
            self.close_if_joined(slot);
        }
    }

    /// Tells the handler, once, if it knows of the connection.
    fn say_closed(&mut self, slot: u32, reason: &CloseReason) {
        let id = self.core.slab.id(slot);
        let connection = self.core.slab.at(slot);
        if std::mem::take(&mut connection.flags.opened) {
            self.with_handler(|handler, cx| handler.on_close(cx, id, reason));
        }
    }

    /// Closes the socket once nothing of the connection is in flight.
    pub(crate) fn close_if_joined(&mut self, slot: u32) {
        let connection = self.core.slab.at(slot);
        if connection.life == Life::Joining && connection.is_joined() {
            connection.life = Life::Closing;
            let socket = connection.socket;
            self.submit(Op::Close(socket), slot);
        }
    }

    /// The descriptor is free: so is the slot.
    pub(crate) fn on_closed(&mut self, slot: u32) {
        if slot != CONTEXT_NONE {
            self.discount(slot);
            let connection = self.core.slab.at(slot);
            connection.excess = Excess::default();
            self.core.memory_bytes -= connection.counted_bytes as usize;
            self.core.slab.remove(slot);
        }
        if self.ending.is_none() {
            for index in 0..self.accepts.len() {
                if self.accepts[index].token.is_none() {
                    self.accept(index);
                }
            }
        }
    }

    /// The wheel's entry for a connection has come up.
    pub(crate) fn on_wheel(&mut self, slot: u32, generation: u32) {
        if self.core.slab.try_at(slot).is_none() || self.core.slab.id(slot).generation != generation {
            return;
        }
        let now = self.core.stamp;
        let connection = self.core.slab.at(slot);
        // An entry may be older than the deadline, or than the entry that stands for it now.
        if connection.wheel_at.is_none_or(|at| at > now) {
            return;
        }
        connection.wheel_at = None;
        match connection.deadline {
            None => {}
            Some(deadline) if deadline > now => self.core.set_deadline_at(slot, Some(deadline)),
            Some(_) => {
                connection.deadline = None;
                self.on_deadline(slot);
            }
        }
    }

    fn on_deadline(&mut self, slot: u32) {
        let connection = self.core.slab.at(slot);
        match (connection.life, &connection.protocol) {
            (Life::Live, Protocol::Http(http)) if http.awaited.is_some() => self.on_answer_late(slot),
            (Life::Live, Protocol::Http(http)) if http.has_begun() => {
                let response = Response::text(408, "the request did not come whole in time\n");
                self.respond(slot, response, Then::Leave(Leave::Linger), false);
            }
            // Nothing was asked: there is nothing to answer. But inside TLS an end is said, or it may be an attacker's.
            (Life::Live, Protocol::Http(_)) if connection.tls.is_some() => {
                self.finish_slot(slot, &CloseReason::TimedOut(Timeout::Handshake), Leave::Close);
            }
            (Life::Live, Protocol::Http(_)) => self.end(slot, &CloseReason::TimedOut(Timeout::Handshake)),
            (Life::Live, Protocol::WebSocket { phase: Phase::Open, .. } | Protocol::Stream { .. }) => {
                self.look_at_session(slot);
            }
            (Life::Live, Protocol::WebSocket { .. }) => self.end(slot, &CloseReason::TimedOut(Timeout::Close)),
            (Life::Finishing | Life::Lingering, _) => self.end(slot, &CloseReason::TimedOut(Timeout::Close)),
            (Life::Joining | Life::Closing, _) => {}
        }
    }

    /// Stops accepting and asks every connection to leave, within this time.
    pub(crate) fn drain(&mut self, within: Duration) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some(Ending::Draining(self.core.now + within));
        for index in 0..self.accepts.len() {
            match self.accepts[index].token {
                Some(token) => {
                    self.submit(Op::Cancel(token), index as u32);
                }
                None => self.driver.close_listener(self.accepts[index].listener),
            }
        }
        for slot in self.core.slab.slots() {
            if self.core.slab.at(slot).life != Life::Live {
                continue;
            }
            match &self.core.slab.at(slot).protocol {
                // The answer that it waits for is its last.
                Protocol::Http(state) if state.awaited.is_some() => {}
                Protocol::Http(_) => self.finish_slot(slot, &CloseReason::TimedOut(Timeout::Drain), Leave::Close),
                Protocol::Stream { .. } => self.close_stream(slot),
                Protocol::WebSocket { .. } => {
                    let event = CloseEvent::LocalClose(CloseCode::GOING_AWAY);
                    self.with_handler(|_, cx| cx.close_slot(slot, event, "the server is going away"));
                }
            }
        }
    }

    /// Whether the shard goes on, and what its end wants done now.
    pub(crate) fn status(&mut self) -> Status {
        let idle = self.core.slab.len() == 0 && self.accepts.iter().all(|accept| accept.token.is_none());
        match self.ending {
            None => Status::Running,
            Some(Ending::Stopped) => Status::Ended,
            Some(Ending::Draining(_) | Ending::Cutting(_)) if idle => Status::Ended,
            Some(Ending::Draining(at)) if at <= self.core.now => {
                self.ending = Some(Ending::Cutting(self.core.now + CUT_TIMEOUT));
                for slot in self.core.slab.slots() {
                    self.end(slot, &CloseReason::TimedOut(Timeout::Drain));
                }
                Status::Running
            }
            Some(Ending::Cutting(at)) if at <= self.core.now => Status::Ended,
            Some(Ending::Draining(_) | Ending::Cutting(_)) => Status::Running,
        }
    }
}

/// Context of operations that belong to no connection.
pub(crate) const CONTEXT_NONE: u32 = u32::MAX;
/// From errno(3): the operation was cancelled.
const ECANCELED: i32 = 125;
