//! `[users]` and `[sessions]`: how much one user, and one connection, may have and do.

use super::rate::RateLimit;
use crate::config::Section;

/// What a user may have on all connections together. A guest's publishes count for the address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserLimits {
    /// Connections at a time.
    pub connections_max: Option<u32>,
    /// Entries published.
    pub publishes: Option<RateLimit>,
}

/// What a connection of the native protocol may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Topics and patterns subscribed to at a time.
    pub subscriptions_max: u32,
    /// Requests, but for publishes.
    pub requests: Option<RateLimit>,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { subscriptions_max: 1024, requests: Some(RateLimit { per_second: 100, burst: 1000 }) }
    }
}

/// Reads `[users]`.
pub(super) fn users(section: &mut Section<'_>) -> UserLimits {
    let connections_max = section.number("connections_max", 0, 0..=u32::MAX);
    UserLimits {
        connections_max: (connections_max > 0).then_some(connections_max),
        publishes: RateLimit::read(section, "publishes_per_second_max", "publishes_burst"),
    }
}

/// Reads `[sessions]`.
pub(super) fn sessions(section: &mut Section<'_>) -> SessionLimits {
    let defaults = SessionLimits::default();
    let requests = defaults.requests.expect("there is a limit by default");
    SessionLimits {
        subscriptions_max: section.number("subscriptions_max", defaults.subscriptions_max, 1..=1 << 16),
        requests: RateLimit::read_with(section, "requests_per_second_max", "requests_burst", requests),
    }
}
