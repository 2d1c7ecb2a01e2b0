//! What is fixed when a topic is opened.

use std::sync::Arc;

use super::Sink;

/// No topic accepts longer entries than this, in bytes of a lane: offsets in a segment have 32 bits.
pub const ENTRY_BYTES_LIMIT: usize = 256 << 20;

/// How much of a topic's log is kept. An entry is let go when any of the three says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// At least this many entries are kept, unless `bytes` or `age_us` says otherwise; at most a segment's more.
    pub entries: u64,
    /// Bytes of memory per lane, entries and index: a hard limit, other than that the last entry is always kept.
    pub bytes: usize,
    /// Entries older than this, in microseconds, are let go when the last of their segment is.
    pub age_us: u64,
}

/// Whether entries have keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicKind {
    /// Entries are messages, and nothing else. To who wants only the latest, each replaces the one before.
    Plain,
    /// Entries may update or remove a key. The last entry of each key is kept outside the log, beyond its retention.
    Keyed {
        /// Most keys at a time.
        keys_max: u32,
        /// A key without an update for this long, in microseconds, [expires](crate::Topic::remove_expired).
        key_ttl_us: u64,
    },
}

/// What is fixed when a topic is opened.
///
/// Worst-case memory of a topic: `retention.bytes` per active lane, or `entry_bytes_max` if that is more; one entry
/// of the history lane and some 150 bytes per key, and as much again per lane with a snapshot that somebody is
/// receiving; beyond it, each shard with subscribers may hold the eight segments it read last until its next note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicOptions {
    /// Names this log among all that have had the topic's name; sequence numbers compare within one epoch.
    pub epoch: u64,
    /// Whether entries have keys.
    pub kind: TopicKind,
    /// What is kept.
    pub retention: Retention,
    /// Longest entry of a lane; at most [`ENTRY_BYTES_LIMIT`].
    pub entry_bytes_max: usize,
    /// How far a subscriber may lag before its slow policy takes effect, in bytes of its lane. Retention is a limit
    /// in any case.
    pub backlog_bytes_max: u64,
    /// If not 0, all subscribers get what is new at most once in this many microseconds, at the same instants, and of
    /// each key only the latest.
    pub tick_us: u64,
}

impl TopicOptions {
    /// Whether entries may have keys.
    pub fn is_keyed(&self) -> bool {
        matches!(self.kind, TopicKind::Keyed { .. })
    }
}

impl Default for TopicOptions {
    fn default() -> Self {
        Self {
            epoch: 0,
            kind: TopicKind::Plain,
            retention: Retention { entries: 10_000, bytes: 1 << 20, age_us: u64::MAX },
            entry_bytes_max: 1 << 20,
            backlog_bytes_max: u64::MAX,
            tick_us: 0,
        }
    }
}

/// What a topic is opened with.
#[derive(Clone, Debug, Default)]
pub struct TopicSetup {
    /// What is fixed.
    pub options: TopicOptions,
    /// Who is told of each entry, if anyone.
    pub sink: Option<Arc<dyn Sink>>,
    /// The log that this one goes on from, if there was one.
    pub resumes: Option<Resumes>,
}

/// An earlier log whose entries are put back, and which may have had more: numbers behind its last are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumes {
    /// Its epoch.
    pub epoch: u64,
    /// Number of the last entry that is the same in both.
    pub last_seq: u64,
}

impl From<TopicOptions> for TopicSetup {
    fn from(options: TopicOptions) -> Self {
        Self { options, sink: None, resumes: None }
    }
}
