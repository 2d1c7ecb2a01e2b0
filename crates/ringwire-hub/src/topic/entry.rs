//! What is published, what comes of it, and who else is told.

use std::fmt;

use super::Topic;
use crate::ids::{LaneId, ShardSet};

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 255;
/// Longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 64;

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// Something was said.
    Message,
    /// This key has a new value.
    Update(&'a str),
    /// This key has no value any more.
    Remove(&'a str),
}

impl<'a> Subject<'a> {
    /// The key, if it is about one.
    pub fn key(self) -> Option<&'a str> {
        match self {
            Self::Message => None,
            Self::Update(key) | Self::Remove(key) => Some(key),
        }
    }
}

/// What is published, apart from its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What it is about.
    pub subject: Subject<'a>,
    /// Whose the key is from now on; 0 for nobody's. A removal by an owner removes only what is its own.
    pub owner: u64,
    /// A second entry that has the same, among those that the topic remembers, is not appended.
    pub idempotency_key: Option<&'a str>,
}

impl Entry<'_> {
    /// A message, nobody's, as often as it is published.
    pub const MESSAGE: Self = Self { subject: Subject::Message, owner: 0, idempotency_key: None };
}

/// What a publish came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The entry's number.
    pub seq: u64,
    /// Shards that the caller must now send a note: their [`ShardHub::note`](crate::ShardHub::note) is to be called.
    /// A note must not be lost, as none follows before it has arrived; hence at most one per topic and shard is
    /// under way, and a mailbox with room for one per topic never refuses it.
    pub notify: ShardSet,
    /// What the topic's sink returned, if it has one.
    pub ticket: Option<u64>,
    /// An entry with this idempotency key was published before: `seq` and `ticket` are that one's, and nothing was
    /// appended.
    pub is_duplicate: bool,
}

/// Why a publish was refused. Nothing was appended, and no number was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// The entry is longer than the topic's `entry_bytes_max` in this lane.
    TooLong {
        /// The lane.
        lane: LaneId,
        /// Bytes of the entry.
        bytes: usize,
    },
    /// The topic has no keys.
    NotKeyed,
    /// The key is empty or longer than [`KEY_BYTES_MAX`].
    KeyLength,
    /// The topic has as many keys as it may have.
    TooManyKeys {
        /// How many that is.
        max: u32,
    },
    /// The key to be removed is not there, or not the owner's.
    NoSuchKey,
    /// The idempotency key is empty or longer than [`IDEMPOTENCY_KEY_BYTES_MAX`].
    IdempotencyKeyLength,
    /// The topic was let go: who opens its name again gets another.
    Gone,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { lane, bytes } => {
                write!(f, "an entry of {bytes} bytes (lane {}) is longer than the topic accepts", lane.index())
            }
            Self::NotKeyed => f.write_str("the topic is plain: its entries have no keys"),
            Self::KeyLength => write!(f, "a key has 1 to {KEY_BYTES_MAX} bytes"),
            Self::TooManyKeys { max } => write!(f, "the topic has {max} keys, and no more are taken: remove some"),
            Self::NoSuchKey => f.write_str("there is no such key to remove"),
            Self::IdempotencyKeyLength => {
                write!(f, "an idempotency key has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes")
            }
            Self::Gone => f.write_str("the topic was let go while it was idle: publish again"),
        }
    }
}

impl std::error::Error for PublishError {}

/// Is told of what is appended to a topic: a journal.
pub trait Sink: Send + Sync + fmt::Debug {
    /// An entry was appended. Called under the topic's lock, in the order of the entries, so it must be short and must
    /// not call the topic. The ticket that it returns goes to the publisher; it means something to the sink alone.
    fn append(&self, topic: &Topic, appended: &Appended<'_>) -> u64;

    /// The topic is let go: nothing is held of it, and nothing comes after this.
    fn let_go(&self, topic: &Topic);
}

/// An entry that a topic has, or had before.
#[derive(Clone, Copy, Debug)]
pub struct Appended<'a> {
    /// Its number.
    pub seq: u64,
    /// When it was published, in microseconds.
    pub time_us: u64,
    /// What it is.
    pub entry: &'a Entry<'a>,
    /// Its bytes in the history lane.
    pub history: &'a [u8],
}
