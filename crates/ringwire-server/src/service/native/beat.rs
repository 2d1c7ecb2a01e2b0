//! When which connection gets its next heartbeat. All have the same interval, so the order in which they were begun is
//! the order in which they are due.

use std::collections::VecDeque;

use ringwire_engine::ConnectionId;
use ringwire_ring::Instant;

/// Heartbeats to come. A connection that ends keeps its place until that is due.
#[derive(Debug, Default)]
pub(super) struct Beats(VecDeque<(Instant, ConnectionId)>);

impl Beats {
    /// Has `connection` get one at `at`, which is not before those that were begun already.
    pub(super) fn begin(&mut self, at: Instant, connection: ConnectionId) {
        self.0.push_back((at, connection));
    }

    /// A connection that is to get its heartbeat by `now`.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<ConnectionId> {
        if self.0.front()?.0 > now {
            return None;
        }
        self.0.pop_front().map(|(_, connection)| connection)
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.front().map(|(at, _)| *at)
    }
}
