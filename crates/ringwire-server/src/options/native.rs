//! `[native]`: what a connection of the native protocol may have, and how often it is told that the server is there.

use std::time::Duration;

use super::rate::RateLimit;
use crate::config::Section;

/// How often a heartbeat comes by default.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How many topics a connection may have by default.
const TOPICS_MAX: usize = 1024;
/// How many keys may be bound to a connection by default.
const BOUND_KEYS_MAX: usize = 1024;
/// How many publishes may wait for the disk by default.
const PENDING_PUBLISHES_MAX: usize = 4096;
/// How many requests other than publishes a second by default: enough to subscribe to all topics one by one.
const REQUESTS_PER_SECOND_MAX: u32 = 1000;

/// What a connection of the native protocol may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NativeOptions {
    /// How often a heartbeat comes.
    pub heartbeat: Duration,
    /// Most topics and patterns that a connection is subscribed to; some 300 bytes each.
    pub topics_max: usize,
    /// Most keys that are removed when their connection ends; as much, and the key.
    pub bound_keys_max: usize,
    /// Most publishes to persistent topics that wait for the disk; some 100 bytes each.
    pub pending_publishes_max: usize,
    /// How many requests other than publishes a connection may make; publishes have the limits of their topics.
    pub requests: Option<RateLimit>,
}

impl Default for NativeOptions {
    fn default() -> Self {
        let requests = RateLimit { per_second: REQUESTS_PER_SECOND_MAX, burst: REQUESTS_PER_SECOND_MAX };
        Self {
            heartbeat: HEARTBEAT,
            topics_max: TOPICS_MAX,
            bound_keys_max: BOUND_KEYS_MAX,
            pending_publishes_max: PENDING_PUBLISHES_MAX,
            requests: Some(requests),
        }
    }
}

/// Reads the section.
pub(super) fn native(section: &mut Section<'_>) -> NativeOptions {
    const MOST: usize = 1 << 20;
    NativeOptions {
        heartbeat: section.millis("heartbeat_ms", HEARTBEAT, Duration::from_millis(10)),
        topics_max: section.number("topics_max", TOPICS_MAX, 1..=MOST),
        bound_keys_max: section.number("bound_keys_max", BOUND_KEYS_MAX, 0..=MOST),
        pending_publishes_max: section.number("pending_publishes_max", PENDING_PUBLISHES_MAX, 1..=MOST),
        requests: RateLimit::read_with(
            section,
            "requests_per_second_max",
            "requests_burst",
            RateLimit { per_second: REQUESTS_PER_SECOND_MAX, burst: 0 },
        ),
    }
}
