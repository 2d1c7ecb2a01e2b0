//! `[hub]`: what holds for topics as such.

use std::time::Duration;

use crate::config::Section;

/// How long a topic stays by default that holds nothing and is not used.
const TOPICS_IDLE: Duration = Duration::from_secs(600);

/// What holds for topics as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HubOptions {
    /// A topic that holds nothing, that nobody subscribes to and to which nothing was published for this long is let go.
    pub topics_idle: Duration,
}

/// Reads the section.
pub(super) fn hub(section: &mut Section<'_>) -> HubOptions {
    HubOptions { topics_idle: section.millis("topics_idle_ms", TOPICS_IDLE, Duration::from_millis(1)) }
}
