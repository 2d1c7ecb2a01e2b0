//! From handlers to sockets.
//!
//! A connection transmits at most once a turn, all it has: replies staged in the arena, then what the handler is pulled
//! for. Whoever has replies transmits in their turn; of those that the handler has something for, a turn serves some, those
//! that have waited longest. A lone range of a log goes out from where it lies; several, or ones behind replies, are joined in the arena.
//! What a socket refuses of that becomes the connection's backlog, cut at the next frame boundary: the handler keeps
//! the rest. Replies that are more than a peer may be behind are a backlog from the start. While there is a backlog, an
//! ordinary send waits in the kernel; while there is none but the socket is full, a poll does. Nothing is pulled meanwhile.

use std::io;

use ringwire_ring::{Data, Driver, Op, OpToken, Staged};

use crate::connection::{Connection, Life, Protocol};
use crate::excess::{Rest, Sending};
use crate::handler::{CloseReason, Handler};
use crate::shard::Shard;

/// Fewest connections that a turn pulls for, if so many wait: each turn costs a system call.
const PULLED_CONNECTIONS_MIN: usize = 16;

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Transmits for every connection that has replies, and for some of those that the handler has something for; for all
    /// of them before a drain, which says that nothing more will come.
    pub(crate) fn transmit_ready(&mut self) {
        self.core.has_transmitted = true;
        let mut pulled = self.choose_pulled();
        // What is listed or queued from here on waits for the next turn: a connection transmits at most once in each.
        let mut ready = std::mem::take(&mut self.core.ready);
        for slot in ready.drain(..) {
            if let Some(connection) = self.core.slab.try_at(slot) {
                connection.flags.listed = false;
                self.transmit(slot);
            }
        }
        if self.core.ready.is_empty() {
            self.core.ready = ready;
        }
        for slot in pulled.drain(..) {
            if self.core.slab.try_at(slot).is_some() {
                self.transmit(slot);
            }
        }
        self.pulled = pulled;
    }

    /// Takes this turn's share of the connections that have something to be pulled and no replies: those will be pulled
    /// for behind their replies.
    fn choose_pulled(&mut self) -> Vec<u32> {
        let mut chosen = std::mem::take(&mut self.pulled);
        let core = &mut self.core;
        let waiting = core.pulls.len();
        let share = match self.to_drain {
            Some(_) => waiting,
            None => share(waiting, core.options.limits.pulled_connections_max),
        };
        while chosen.len() < share
            && let Some(slot) = core.pulls.pop()
        {
            let wants =
                |Connection { flags, blocked, .. }: &mut Connection| flags.pull && !flags.listed && blocked.is_none();
            if core.slab.try_at(slot).is_some_and(wants) {
                chosen.push(slot);
            }
        }
        chosen
    }

    fn transmit(&mut self, slot: u32) {
        let connection = self.core.slab.at(slot);
        if !matches!(connection.life, Life::Live | Life::Finishing) {
            connection.staged = Staged::default();
            return;
        }
        if connection.blocked.is_some() {
            return;
        }
        if connection.is_blocked() {
            return self.send_backlog(slot);
        }
        let pulled = self.pull(slot);
        let connection = self.core.slab.at(slot);
        let socket = connection.socket;
        let staged = std::mem::take(&mut connection.staged);
        connection.pulled_bytes = pulled as u32;
        if pulled > 0 {
            connection.session.message = self.core.stamp;
        }
        if connection.life == Life::Finishing {
            self.core.finishing.push(slot);
        }
        let data = if connection.tls.is_some() { self.seal(slot, staged) } else { self.join(staged) };
        if let Some(data) = data {
            self.submit(Op::Transmit(socket, data), slot);
        }
    }

    /// What is staged and what was pulled behind it, if there is anything.
    fn join(&mut self, mut staged: Staged) -> Option<Data> {
        let pieces = self.transmit.pieces();
        match (staged.is_empty(), pieces.len()) {
            (true, 0) => None,
            (true, 1) => pieces.pop().map(Data::Shared),
            _ => {
                for piece in pieces.drain(..) {
                    self.driver.stage().append_shared(&mut staged, &piece);
                }
                Some(Data::Staged(staged))
            }
        }
    }

    /// Asks the handler for what the connection is ready for, into `self.transmit`. Returns how much that is.
    fn pull(&mut self, slot: u32) -> usize {
        let budget = self.core.options.limits.pull_bytes_max;
        self.transmit.reset(budget);
        let id = self.core.slab.id(slot);
        let connection = self.core.slab.at(slot);
        if !connection.flags.pull || connection.life != Life::Live || !connection.may_be_pulled() {
            return 0;
        }
        connection.flags.pull = false;
        let mut transmit = std::mem::take(&mut self.transmit);
        self.with_handler(|handler, cx| handler.poll_transmit(cx, id, &mut transmit));
        self.transmit = transmit;
        // A handler that has closed meanwhile has nothing to add: no frame may follow its close frame, or last chunk.
        if !self.core.slab.at(slot).may_be_pulled() {
            self.transmit.reset(0);
        }
        let pulled = self.transmit.bytes();
        if pulled >= budget {
            self.core.slab.at(slot).flags.pull = true;
            self.core.pulls.push(slot);
        }
        pulled
    }

    fn send_backlog(&mut self, slot: u32) {
        let connection = self.core.slab.at(slot);
        let socket = connection.socket;
        let mut backlog = connection.excess.take_backlog();
        if connection.tls.is_some() && !self.seal_backlog(slot, &mut backlog) {
            if self.core.slab.at(slot).life == Life::Finishing {
                // It will never go out: what there was to say has been said.
                self.core.finishing.push(slot);
            }
            return self.core.count(slot);
        }
        let connection = self.core.slab.at(slot);
        connection.excess.sending = Sending::new(&backlog);
        self.core.count(slot);
        let token = self.submit(Op::Send(socket, backlog.into_data()), slot);
        self.core.slab.at(slot).blocked = Some(token);
        self.pause_if_behind(slot);
    }

    /// The socket did not take all: keeps what must still go out, and waits for room.
    pub(crate) fn on_short(&mut self, slot: u32, data: Data, sent: usize, error: Option<io::Error>) {
        if let Some(error) = error {
            return self.on_broken(slot, &error);
        }
        let id = self.core.slab.id(slot);
        let connection = self.core.slab.at(slot);
        if !matches!(connection.life, Life::Live | Life::Finishing) {
            return;
        }
        let unsent = data.len() - sent;
        let mut kept = unsent;
        let unsent_pulled = unsent.min(connection.pulled_bytes as usize);
        // A handler that has been told of the end takes nothing back: then all of it still goes out.
        if unsent_pulled > 0 && connection.life == Life::Live {
            connection.flags.pull = true;
            kept = unsent - unsent_pulled + self.handler.on_short(id, unsent_pulled);
        }
        let (rest, start) = match data {
            Data::Staged(staged) => self.driver.take_staged(&staged, sent, kept),
            Data::Shared(shared) => {
                let mut rest = Vec::new();
                shared.tail(unsent).head(kept).copy_to(&mut rest);
                (rest, 0)
            }
            Data::Owned { mut bytes, start } => {
                bytes.truncate(start + sent + kept);
                (bytes, start + sent)
            }
        };
        let mut rest = Rest::new(rest, start);
        let connection = self.core.slab.at(slot);
        if let Some(session) = &mut connection.tls {
            session.sealed_bytes = rest.len();
        }
        // Replies may have been staged this turn before it was known that they must wait, and be too many to stay there.
        rest.extend_from_slice(connection.excess.take_backlog().as_slice());
        let staged = std::mem::take(&mut connection.staged);
        rest.extend_from_slice(self.driver.staged(&staged));
        if !rest.is_empty() {
            connection.excess.backlog = rest;
        }
        if connection.is_blocked() {
            self.core.count(slot);
            self.core.list(slot);
            // What is read from now on is held, so that the handler never has to answer beyond its limit.
            self.pause_if_behind(slot);
        } else {
            let socket = connection.socket;
            let token = self.submit(Op::Writable(socket), slot);
            self.core.slab.at(slot).blocked = Some(token);
        }
    }

    /// The socket has room again, or broke.
    pub(crate) fn on_unblocked(&mut self, slot: u32, token: OpToken, result: io::Result<()>) {
        let id = self.core.slab.id(slot);
        let connection = self.core.slab.at(slot);
        assert_eq!(connection.blocked, Some(token), "one operation waits for room at a time");
        connection.blocked = None;
        connection.excess.forget_sending();
        self.core.count(slot);
        if self.core.slab.at(slot).life == Life::Joining {
            return self.close_if_joined(slot);
        }
        if let Err(error) = result {
            return self.on_broken(slot, &error);
        }
        let connection = self.core.slab.at(slot);
        connection.session.heard = self.core.stamp;
        match connection.life {
            Life::Live => {
                // What was staged while it was blocked is in the backlog; what the handler has is pulled.
                if !connection.excess.backlog.is_empty() || connection.has_tls_output() {
                    self.core.list(slot);
                } else if connection.flags.pull {
                    self.core.pulls.push(slot);
                }
                self.resume_if_caught_up(slot);
                let connection = self.core.slab.at(slot);
                if connection.flags.opened && !matches!(connection.protocol, Protocol::Http(_)) {
                    self.with_handler(|handler, cx| handler.on_drained(cx, id));
                }
            }
            Life::Finishing if connection.excess.backlog.is_empty() && !connection.has_tls_output() => {
                self.core.finishing.push(slot)
            }
            Life::Finishing => self.core.list(slot),
            Life::Lingering | Life::Joining | Life::Closing => {}
        }
    }

    fn on_broken(&mut self, slot: u32, error: &io::Error) {
        self.end(slot, &CloseReason::Broken(error.kind()));
    }
}

/// How many of so many that wait are pulled for in one turn: half of them, so that what is published while the first ones are
/// served goes out to the later ones in the same transmission.
fn share(waiting: usize, max: usize) -> usize {
    waiting.div_ceil(2).max(PULLED_CONNECTIONS_MIN).min(max.max(1)).min(waiting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_pulls_for_half_of_those_who_wait_within_its_bounds() {
        let turns = |waiting, max| {
            std::iter::successors(Some(waiting), |left| Some(left - share(*left, max)))
                .take_while(|left| *left > 0)
                .map(|left| share(left, max))
                .collect::<Vec<_>>()
        };
        assert_eq!(turns(10, 64), [10]);
        assert_eq!(turns(50, 64), [25, 16, 9]);
        assert_eq!(turns(5, 2), [2, 2, 1]);
        assert_eq!(turns(2, 0), [1, 1], "everyone is served");
        assert!(turns(1000, 64).iter().all(|served| *served <= 64));
    }
}
