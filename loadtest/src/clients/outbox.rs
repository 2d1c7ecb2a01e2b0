//! What a workload does with connections.

use std::sync::Arc;

use ringwire_codec::Opcode;
use ringwire_ring::Instant;

use super::Door;
use super::core::Core;
use super::link::Phase;

/// Where a workload opens, sends and closes.
#[derive(Debug)]
pub struct Outbox<'a> {
    pub(super) core: &'a mut Core,
}

impl Outbox<'_> {
    /// Begins to open a connection (TCP, TLS, opening handshake), or puts it in the queue of those that wait for others
    /// to be opened, and says its number. The workload hears later that it is open or has ended.
    pub fn open(&mut self, door: &Arc<Door>) -> usize {
        self.core.open(door)
    }

    /// Sends bytes, a whole frame of the client's or raw ones, with the next turn. On a connection that is not open yet
    /// or any more they go nowhere.
    #[inline]
    pub fn send(&mut self, link: usize, bytes: &[u8]) {
        if matches!(self.core.links[link].phase, Phase::Open) {
            self.core.send(link, bytes);
        }
    }

    /// Closes a connection. A WebSocket says so (close 1000) behind what was sent, and has ended when the server has
    /// closed it too, or after a second. One without a WebSocket, or not open yet, ends as with [`abort`](Self::abort).
    pub fn close(&mut self, link: usize) {
        self.core.close(link);
    }

    /// Ends a connection without a word, as a client does whose network has gone. What was sent with this turn and what
    /// the socket has not taken goes nowhere.
    pub fn abort(&mut self, link: usize) {
        self.core.abort(link);
    }

    /// From now on, or once it is open, reads at most so many bytes a second: a small piece at a time, with a small
    /// receive buffer, so that what comes faster waits with the server. 0: nothing, not even its end; [`u64::MAX`]: as
    /// fast as it comes again. Best said right after [`open`](Self::open): a receive buffer does not shrink at once.
    pub fn throttle(&mut self, link: usize, bytes_per_second: u64) {
        self.core.throttle(link, bytes_per_second);
    }

    /// Bytes that were sent and that the socket has not taken.
    pub fn backlog_bytes(&self, link: usize) -> usize {
        self.core.backlog_bytes(link)
    }

    /// Answers a ping.
    #[cold]
    pub(super) fn pong(&mut self, link: usize, payload: &[u8]) {
        if matches!(self.core.links[link].phase, Phase::Open) {
            self.core.send_control(link, Opcode::Pong, payload);
        }
    }

    /// The current instant.
    pub fn now(&self) -> Instant {
        self.core.now()
    }
}
