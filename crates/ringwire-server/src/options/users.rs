//! `[users]`: how much one user may have and do.

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

/// Reads `[users]`.
pub(super) fn users(section: &mut Section<'_>) -> UserLimits {
    let connections_max = section.number("connections_max", 0, 0..=u32::MAX);
    UserLimits {
        connections_max: (connections_max > 0).then_some(connections_max),
        publishes: RateLimit::read(section, "publishes_per_second_max", "publishes_burst"),
    }
}
