//! How much is read in a turn: from one connection, and from all of them.
//!
//! A turn reads so many bytes ([`EngineOptions::turn_bytes_max`](crate::EngineOptions::turn_bytes_max)) and leaves the
//! rest to the next one. What is received beyond that is not looked at (`intake.rs`); of what is held, a part is.
//!
//! Four things hold a connection up. Too much waits for its peer to read: then it goes on when that is out. Or its request
//! is still to be answered: then it goes on in the turn behind the answer. Or the connection has had its part of the turn,
//! or the turn as a whole is full: then it goes on in the next turn, before what comes in then, and in the order in which
//! connections were held up. In all four it is *paused*: what has come in is held, its receive is cancelled, and the next
//! one starts only when all that is held has been decoded, so that what is held never grows from turn to turn. Only a
//! connection that awaits an answer is read from until something comes.
//!
//! A part of a turn is counted in bytes of messages, for connections with an extension only: elsewhere, messages are no
//! longer than what came in.

use std::collections::VecDeque;

use ringwire_ring::{Driver, Op};

use crate::connection::{Life, Protocol};
use crate::handler::Handler;
use crate::shard::Shard;

/// What inflating a message costs at least, in bytes of messages.
pub(crate) const MESSAGE_WORK_BYTES: usize = 1024;
/// What may be inflated for one connection in a turn, and one message more.
const CONNECTION_BYTES_MAX: usize = 1024 * 1024;
/// What may be inflated for all connections in a turn, and one message more.
const INFLATED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What may be staged in a turn for all connections before the rest of what came in waits for the next.
const STAGED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How far a turn has come.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Bytes that were received, or held and decoded.
    read: usize,
    /// Bytes of messages made for all connections with an extension.
    bytes: usize,
    /// Of these, for the connection in this slot, the latest.
    latest: (u32, usize),
    /// Connections that go on in the next turn. One that has ended meanwhile, or goes on already, may be among them.
    deferred: VecDeque<u32>,
}

impl Pace {
    /// So many bytes were received, or are decoded that were held.
    pub(crate) fn read(&mut self, bytes: usize) {
        self.read += bytes;
    }

    /// So many bytes of messages were made for a connection with an extension.
    pub(crate) fn work(&mut self, slot: u32, bytes: usize) {
        self.bytes += bytes;
        if self.latest.0 != slot {
            self.latest = (slot, 0);
        }
        self.latest.1 += bytes;
    }

    /// The connection in this slot goes on in the next turn.
    pub(crate) fn defer(&mut self, slot: u32) {
        self.deferred.push_back(slot);
    }

    /// Whether somebody goes on in the next turn.
    pub(crate) fn has_deferred(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// Whether a connection with an extension may have a further message decoded.
    pub(crate) fn has_time_for(&self, slot: u32) -> bool {
        let latest = if self.latest.0 == slot { self.latest.1 } else { 0 };
        self.bytes < INFLATED_BYTES_MAX && latest < CONNECTION_BYTES_MAX
    }
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// A turn begins: those go on that the one before had no time for.
    pub(crate) fn go_on(&mut self) {
        let pace = &mut self.core.pace;
        (pace.read, pace.bytes, pace.latest) = (0, 0, (0, 0));
        // Those that are held up again come behind these.
        for _ in 0..pace.deferred.len() {
            if self.turn_is_full() || self.room() == 0 || self.core.pace.bytes >= INFLATED_BYTES_MAX {
                return;
            }
            let Some(slot) = self.core.pace.deferred.pop_front() else { return };
            if self.core.slab.try_at(slot).is_some_and(|connection| connection.life == Life::Live) {
                self.resume_if_caught_up(slot);
            }
        }
    }

    /// Bytes that the turn still reads.
    pub(crate) fn room(&self) -> usize {
        self.core.options.turn_bytes_max.saturating_sub(self.core.pace.read)
    }

    /// Whether nothing more can be made of what came in: until the next turn, when memory has been made.
    pub(crate) fn turn_is_full(&mut self) -> bool {
        self.driver.stage().staged_bytes() > STAGED_BYTES_MAX
            || self.core.memory_bytes > self.core.options.limits.memory_bytes_max
    }

    /// Keeps what came in for later: until what waits for the peer is out, or else for the next turn.
    pub(crate) fn hold(&mut self, slot: u32, bytes: &[u8]) {
        if matches!(self.core.slab.at(slot).protocol, Protocol::Stream { .. }) {
            return;
        }
        self.pause_if_behind(slot);
        if !self.core.slab.at(slot).flags.paused {
            self.pause(slot);
            // One that awaits an answer goes on when that has been given, one behind replies when some of them are out.
            if !self.core.awaits_answer(slot) && !self.core.slab.at(slot).is_filled_behind_replies() {
                self.core.pace.defer(slot);
            }
        }
        match &mut self.core.held_again {
            Some(held_again) => *held_again = bytes.len(),
            None => self.core.slab.at(slot).excess.held.extend_from_slice(bytes),
        }
        self.core.count(slot);
    }

    /// Stops reading from a peer that reads too little of what it is sent.
    pub(crate) fn pause_if_behind(&mut self, slot: u32) {
        let high = self.core.options.limits.backlog_high_bytes;
        let connection = self.core.slab.at(slot);
        if connection.life == Life::Live && !connection.flags.paused && connection.waiting_bytes() > high {
            self.pause(slot);
        }
    }

    fn pause(&mut self, slot: u32) {
        let connection = self.core.slab.at(slot);
        connection.flags.paused = true;
        let is_cancelled = std::mem::replace(&mut connection.flags.cancelled, true);
        if let Some(receive) = connection.receive.filter(|_| !is_cancelled) {
            self.submit(Op::Cancel(receive), slot);
        }
    }

    /// Takes in what is held, at most so many bytes of it. The others stay where they are.
    fn take_held(&mut self, slot: u32, bytes_max: usize) {
        let mut held = self.core.slab.at(slot).excess.take_held();
        let taken = held.len().min(bytes_max);
        self.core.pace.read(taken);
        self.core.held_again = Some(0);
        self.on_plain(slot, &mut held.as_mut_slice()[..taken]);
        let is_over = self.core.slab.at(slot).life != Life::Live;
        if taken < held.len() && !is_over && !self.core.slab.at(slot).flags.paused {
            self.hold(slot, &[]);
        }
        held.skip(taken - self.core.held_again.take().unwrap_or(0));
        // On a stream nothing is held.
        if !held.is_empty() && !is_over && self.core.slab.at(slot).flags.paused {
            self.core.slab.at(slot).excess.held = held;
            self.core.count(slot);
        }
    }

    /// Goes on with what is held, as far as the turn has room for it, and then reads again; unless too much waits for the
    /// peer.
    pub(crate) fn resume_if_caught_up(&mut self, slot: u32) {
        let high = self.core.options.limits.backlog_high_bytes;
        let room = self.room();
        let connection = self.core.slab.at(slot);
        if !connection.flags.paused || connection.waiting_bytes() > high {
            return;
        }
        connection.flags.paused = false;
        self.take_held(slot, room);
        let connection = self.core.slab.at(slot);
        let listens = matches!(connection.life, Life::Live | Life::Finishing | Life::Lingering);
        // If the receive is still being cancelled, its end starts the next one.
        if listens && !connection.flags.paused && connection.receive.is_none() {
            self.receive(slot);
        }
        self.end_if_said(slot);
    }
}
