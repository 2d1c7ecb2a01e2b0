//! What `/health` tells, kept by those who know it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// The server's feed: what it is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum FeedState {
    /// There is none.
    #[default]
    None,
    /// It waits for subscriptions.
    Waiting {
        /// How many it needs.
        subscriptions: u64,
    },
    /// It publishes.
    Running,
    /// It came to its end.
    Ended,
    /// It stopped at a fault.
    Failed {
        /// What went wrong, for who reads it.
        error: String,
    },
}

/// Shared by all threads of the server.
#[derive(Debug, Default)]
pub struct Status {
    feed: Mutex<FeedState>,
    feed_events: AtomicU64,
}

impl Status {
    /// The feed now does this.
    pub fn set_feed(&self, state: FeedState) {
        *self.feed.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// What the feed does.
    pub fn feed(&self) -> FeedState {
        self.feed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The feed has published one event more.
    pub fn count_feed_event(&self) {
        self.feed_events.fetch_add(1, Ordering::Relaxed);
    }

    /// Events that the feed has published.
    pub fn feed_events(&self) -> u64 {
        self.feed_events.load(Ordering::Relaxed)
    }
}
