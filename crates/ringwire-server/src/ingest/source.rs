//! What is told of each way in: how it is, what it published, what it dropped and why.
//!
//! A source is shared by the thread or task that runs it, which counts, and by whoever answers `/health` and `/metrics`.
//! What is dropped is counted by its reason, and said on standard error when it happens first and at each power of ten
//! from then on: loud, and no flood whatever a peer sends.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// Through what it comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// Datagrams to a port.
    Udp,
    /// A socket in the file system.
    Unix,
    /// A WebSocket server that this one is a client of.
    Upstream,
}

/// Why something was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// It is longer than may be.
    TooLong,
    /// It was to be text and is not UTF-8.
    NotText,
    /// It has not the form that its source has.
    Malformed,
    /// Nothing says into which topic it goes.
    Unmapped,
    /// The topic does not take it.
    Refused,
    /// It came faster than it could be read.
    Overrun,
}

/// How a source is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum SourceState {
    /// It has not begun, or waits until it tries again.
    #[default]
    Waiting,
    /// It publishes what comes.
    Running,
    /// It has no connection, and tries to get one again.
    Retrying {
        /// What went wrong, for who reads it.
        error: String,
    },
    /// It has ended for good.
    Failed {
        /// What went wrong, for who reads it.
        error: String,
    },
}

/// A way in.
#[derive(Debug)]
pub struct Source {
    kind: SourceKind,
    name: String,
    state: Mutex<SourceState>,
    connections: AtomicU64,
    published: AtomicU64,
    bytes: AtomicU64,
    dropped: [AtomicU64; Dropped::ALL.len()],
}

/// What `/health` tells of a source.
#[derive(Debug, Serialize)]
pub struct SourceHealth<'a> {
    kind: SourceKind,
    name: &'a str,
    #[serde(flatten)]
    state: SourceState,
    connections: u64,
    published: u64,
    dropped: u64,
}

impl Dropped {
    /// All reasons.
    pub const ALL: [Self; 6] =
        [Self::TooLong, Self::NotText, Self::Malformed, Self::Unmapped, Self::Refused, Self::Overrun];

    /// Its word in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::NotText => "not_text",
            Self::Malformed => "malformed",
            Self::Unmapped => "unmapped",
            Self::Refused => "refused",
            Self::Overrun => "overrun",
        }
    }
}

impl SourceKind {
    /// Its word in metrics and logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Unix => "unix",
            Self::Upstream => "upstream",
        }
    }
}

impl Source {
    /// A source that has not begun. `name` tells it from others of its kind.
    pub fn new(kind: SourceKind, name: String) -> Self {
        Self {
            kind,
            name,
            state: Mutex::default(),
            connections: AtomicU64::new(0),
            published: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            dropped: Default::default(),
        }
    }

    /// Through what it comes in.
    pub fn kind(&self) -> SourceKind {
        self.kind
    }

    /// What tells it from others of its kind.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// It is like this now.
    pub fn set_state(&self, state: SourceState) {
        *self.lock_state() = state;
    }

    /// How it is.
    pub fn state(&self) -> SourceState {
        self.lock_state().clone()
    }

    /// One peer more, or one less.
    pub fn set_connections(&self, count: u64) {
        self.connections.store(count, Ordering::Relaxed);
    }

    /// Peers connected.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// A payload of so many bytes was published.
    pub fn count(&self, bytes: usize) {
        self.published.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// What was published.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Bytes of payloads that were published.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What was dropped for this reason.
    pub fn dropped(&self, why: Dropped) -> u64 {
        self.dropped[why as usize].load(Ordering::Relaxed)
    }

    /// Something was dropped; `words` say what and why.
    pub fn drop_one<W: Display>(&self, why: Dropped, words: impl FnOnce() -> W) {
        self.drop_many(why, 1, words);
    }

    /// So much was dropped.
    pub fn drop_many<W: Display>(&self, why: Dropped, count: u64, words: impl FnOnce() -> W) {
        let before = self.dropped[why as usize].fetch_add(count, Ordering::Relaxed);
        let after = before + count;
        if count > 0 && (before == 0 || before.ilog10() < after.ilog10()) {
            self.say(format_args!("{}: dropped ({after} so far for this reason)", words()));
        }
    }

    /// Tells whoever runs the server.
    pub fn say(&self, words: impl Display) {
        eprintln!("ringwire: {} {}: {words}", self.kind.word(), self.name);
    }

    /// What `/health` tells of it.
    pub fn health(&self) -> SourceHealth<'_> {
        SourceHealth {
            kind: self.kind,
            name: &self.name,
            state: self.state(),
            connections: self.connections(),
            published: self.published(),
            dropped: Dropped::ALL.into_iter().map(|why| self.dropped(why)).sum(),
        }
    }

    /// Whether it is as it should be.
    pub fn is_well(&self) -> bool {
        matches!(*self.lock_state(), SourceState::Waiting | SourceState::Running)
    }

    fn lock_state(&self) -> MutexGuard<'_, SourceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_said_first_and_at_each_power_of_ten() {
        let source = Source::new(SourceKind::Udp, "127.0.0.1:9".to_owned());
        let mut said = Vec::new();
        for nth in 1..=1000 {
            source.drop_one(Dropped::NotText, || {
                said.push(nth);
                "it"
            });
        }
        assert_eq!(said, [1, 10, 100, 1000]);
        let mut said = 0;
        for count in [0, 5, 4, 91, 0] {
            source.drop_many(Dropped::Overrun, count, || {
                said += 1;
                "they"
            });
        }
        assert_eq!((said, source.dropped(Dropped::Overrun), source.dropped(Dropped::NotText)), (2, 100, 1000));
    }
}
