//! What a subscription is given.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::Refusal;

/// A topic's kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TopicKind {
    /// Messages.
    #[default]
    Plain,
    /// The state of keys.
    Keyed,
}

/// How a topic's delivery begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicState {
    /// Anew.
    New,
    /// Right behind the last entry that came.
    Resumed,
    /// Anew, since the entries behind the last one that came are gone or of another epoch.
    Reset,
}

/// A place in a topic: behind entry `seq` of the log that `epoch` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Names the log, as the server writes it.
    pub epoch: Arc<str>,
    /// Counts from 1; 0 is the beginning.
    pub seq: u64,
}

/// What was published. Over the JSON form of the protocol it is raw JSON, or bytes; a text that is no JSON comes as a JSON
/// string. Over the binary form ([`Options::binary`](crate::Options::binary)) it is what was published, byte for byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Data {
    bytes: Bytes,
    is_text: bool,
}

impl Data {
    pub(crate) fn json(text: &str) -> Self {
        Self::text(text.as_bytes())
    }

    /// Bytes that are said to be UTF-8.
    pub(crate) fn text(bytes: &[u8]) -> Self {
        Self { bytes: Bytes::copy_from_slice(bytes), is_text: true }
    }

    pub(crate) fn bytes(bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into(), is_text: false }
    }

    /// The bytes, of a text or of whatever it is.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The text; nothing if it is bytes.
    pub fn as_str(&self) -> Option<&str> {
        if self.is_text { std::str::from_utf8(&self.bytes).ok() } else { None }
    }
}

/// What an entry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Says something, on a plain topic.
    Message,
    /// Sets a key.
    Update,
    /// Removes a key.
    Remove,
}

/// An entry of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The topic.
    pub topic: Arc<str>,
    /// What it does.
    pub kind: EntryKind,
    /// Its number in the topic.
    pub seq: u64,
    /// When it was published, in µs since the Unix epoch.
    pub ts_us: u64,
    /// The publisher's own number.
    pub source_seq: Option<u64>,
    /// The key; empty on a plain topic.
    pub key: Arc<str>,
    /// What was published; empty of a [`Remove`](EntryKind::Remove).
    pub data: Data,
}

/// `count` of the entries `from..=to` do not come, on purpose; the others of that range do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "said above")]
pub struct Skip {
    pub topic: Arc<str>,
    pub from: u64,
    pub to: u64,
    pub count: u64,
    /// `conflated`, `rate` or `age`.
    pub why: Arc<str>,
}

/// None of the entries `from..=to` comes: they are lost to this subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "said above")]
pub struct Gap {
    pub topic: Arc<str>,
    pub from: u64,
    pub to: u64,
    /// `slow` or `lost`.
    pub why: Arc<str>,
}

/// One key of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// The key.
    pub key: Arc<str>,
    /// The entry that set it.
    pub seq: u64,
    /// When, in µs since the Unix epoch.
    pub ts_us: u64,
    /// To what.
    pub data: Data,
}

/// A part of a keyed topic's state behind entry `seq`. Those from `first` to `last` together replace what was known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The topic.
    pub topic: Arc<str>,
    /// Its log.
    pub epoch: Arc<str>,
    /// The last entry that the state holds; in the binary form, 0 before the last part.
    pub seq: u64,
    /// Whether it is the first part,
    pub first: bool,
    /// and the last.
    pub last: bool,
    /// Keys, in their order.
    pub entries: Vec<SnapshotEntry>,
}

/// A topic's delivery begins behind `seq`. Told of each topic, again after each reconnection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// The topic.
    pub topic: Arc<str>,
    /// The pattern that matched it.
    pub pattern: Option<Arc<str>>,
    /// Its log.
    pub epoch: Arc<str>,
    /// The entry behind which delivery begins.
    pub seq: u64,
    /// The topic's last entry at that moment.
    pub head: u64,
    /// Anew, or where it stopped.
    pub state: TopicState,
    /// The topic's kind.
    pub kind: TopicKind,
    /// Its number in this connection's records.
    pub(crate) id: u32,
}

/// What a [`Subscription`](crate::Subscription) is given, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Delivery of a topic begins.
    Subscribed(Subscribed),
    /// An entry.
    Entry(Entry),
    /// Entries that do not come, on purpose.
    Skip(Skip),
    /// Entries that are lost.
    Gap(Gap),
    /// State of a keyed topic.
    Snapshot(Snapshot),
    /// A topic or pattern cannot be subscribed to, or a topic that a pattern matches. With `retry` what was named is asked
    /// for again.
    Refused {
        /// Which.
        topic: Arc<str>,
        /// Why.
        error: Refusal,
    },
}
