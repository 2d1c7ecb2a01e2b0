//! The forms in which a published payload goes out, each a lane of its topic's log: encoded once, as a ready frame,
//! however many subscribe.
//!
//! | lane | what a subscriber gets |
//! |---|---|
//! | [`HISTORY`] | the binary record, as `ringwire.bin.1` has it; all other forms can be made of it |
//! | [`RAW`] | the payload as it was published: a text as a text frame, anything else as a binary frame |
//! | [`COMBINED`] | text: `{"stream":"<topic>","data":<payload>}` |
//! | [`JSON`] | text: the JSON message of the native protocol |
//! | [`RAW_DEFLATE`], [`COMBINED_DEFLATE`], [`JSON_DEFLATE`] | the same, compressed (RFC 7692) if that makes it shorter |
//! | [`SSE`] | no frame: an event of a stream of Server-Sent Events, in a chunk of its own; its data is the JSON message |
//!
//! In the combined form a payload that is JSON stands as it is, byte for byte. A text that is no JSON stands as a
//! JSON string. Bytes stand in base64, and the object says so: `{"stream":"a","data":"AAEC","base64":true}`. An entry
//! with a key has `"key":".."` behind it, and the removal of a key is `{"stream":"a","remove":true,"key":".."}`; the raw
//! form has nothing of either.
//!
//! The history is always kept, another lane only while it has subscribers, so nothing is compressed that nobody gets. A
//! compressed frame is compressed by itself and with the largest window: it is for those who have agreed on that
//! ([`lane_for`]), and all others get the plain lane, which any peer can read.

mod encoder;
mod framer;

use ringwire_codec::deflate::{Level, MemoryLevel, Parameters, WindowBits};
use ringwire_hub::{Entry, LaneId, Subject};

pub use self::encoder::Encoder;
pub use self::framer::Frames;
use crate::native::record::{Flags, Record, RecordKind};

/// Binary records: what all other lanes can be made of.
pub const HISTORY: LaneId = LaneId::HISTORY;
/// The payload with its topic's name.
pub const COMBINED: LaneId = LaneId::new(1);
/// The payload alone.
pub const RAW: LaneId = LaneId::new(2);
/// [`RAW`], compressed.
pub const RAW_DEFLATE: LaneId = LaneId::new(3);
/// [`COMBINED`], compressed.
pub const COMBINED_DEFLATE: LaneId = LaneId::new(4);
/// The JSON messages of the native protocol.
pub const JSON: LaneId = LaneId::new(5);
/// [`JSON`], compressed.
pub const JSON_DEFLATE: LaneId = LaneId::new(6);
/// Server-Sent Events.
pub const SSE: LaneId = LaneId::new(7);

/// Longest payload that may be published, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Longest entry that follows from it: a text of control characters, each six bytes in a JSON string, and the rest: a
/// topic's name, a key of control characters, numbers.
pub const ENTRY_BYTES_MAX: usize = 6 * PAYLOAD_BYTES_MAX + 4096;

/// What is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A text message.
    Text(&'a str),
    /// A text message that is known to be valid JSON.
    Json(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
}

/// A payload, and what is published with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication<'a> {
    /// The payload; of a removal, an empty one.
    pub payload: Payload<'a>,
    /// What it is about.
    pub subject: Subject<'a>,
    /// The publisher's own number.
    pub source_seq: Option<u64>,
    /// A second publication to the same topic that has the same is not published.
    pub idempotency_key: Option<&'a str>,
    /// Whose the key is from then on; 0 for nobody's.
    pub owner: u64,
}

/// How messages are compressed that many get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedDeflate {
    /// How hard the compressor tries.
    pub level: Level,
    /// How much memory it takes: one compressor per shard that publishes, and one for the feed.
    pub memory_level: MemoryLevel,
    /// Shorter messages go as they are, in bytes.
    pub threshold_bytes: usize,
}

impl<'a> Payload<'a> {
    /// Its bytes.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Payload::Text(text) | Payload::Json(text) => text.as_bytes(),
            Payload::Binary(bytes) => bytes,
        }
    }

    /// Length in bytes.
    pub fn len(self) -> usize {
        self.bytes().len()
    }

    /// Whether it is empty.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether it goes out as text.
    pub fn is_text(self) -> bool {
        matches!(self, Payload::Text(_) | Payload::Json(_))
    }
}

impl<'a> From<Payload<'a>> for Publication<'a> {
    /// A message that is nobody's and has nothing with it.
    fn from(payload: Payload<'a>) -> Self {
        Self { payload, subject: Subject::Message, source_seq: None, idempotency_key: None, owner: 0 }
    }
}

impl<'a> Publication<'a> {
    /// What a record of an entry, from a history lane or from a publisher, publishes. Nothing, if it is no entry, or a
    /// text that is not UTF-8, or an update or a removal without a key.
    pub fn of_record(record: &Record<'a>) -> Option<Self> {
        let payload = match record.flags.has(Flags::TEXT) {
            true => Payload::Text(std::str::from_utf8(record.payload).ok()?),
            false => Payload::Binary(record.payload),
        };
        let subject = match record.kind {
            RecordKind::Message if record.key.is_empty() => Subject::Message,
            RecordKind::Update if !record.key.is_empty() => Subject::Update(record.key),
            RecordKind::Remove if !record.key.is_empty() => Subject::Remove(record.key),
            _ => return None,
        };
        Some(Self { subject, source_seq: record.source_seq, ..payload.into() })
    }

    /// What the hub is to know of it.
    pub fn entry(&self) -> Entry<'a> {
        Entry { subject: self.subject, owner: self.owner, idempotency_key: self.idempotency_key }
    }

    /// Its record as entry `seq` of the topic with number `topic`.
    pub fn record(&self, topic: u32, seq: u64, time_us: u64) -> Record<'a> {
        Record {
            flags: if self.payload.is_text() { Flags::TEXT } else { Flags::NONE },
            ts_us: Some(time_us),
            source_seq: self.source_seq,
            key: self.subject.key().unwrap_or_default(),
            payload: self.payload.bytes(),
            ..Record::new(self.kind(), topic, seq)
        }
    }

    /// The type of its record.
    pub fn kind(&self) -> RecordKind {
        match self.subject {
            Subject::Message => RecordKind::Message,
            Subject::Update(_) => RecordKind::Update,
            Subject::Remove(_) => RecordKind::Remove,
        }
    }
}

impl Default for SharedDeflate {
    fn default() -> Self {
        Self { level: Level::SHARED, memory_level: MemoryLevel::DEFAULT, threshold_bytes: 128 }
    }
}

/// The lane for a subscriber to `lane` whose connection has agreed on this.
pub fn lane_for(lane: LaneId, agreed: Option<Parameters>) -> LaneId {
    let reads_shared = agreed
        .is_some_and(|agreed| agreed.server_no_context_takeover && agreed.server_max_window_bits == WindowBits::MAX);
    match lane {
        RAW if reads_shared => RAW_DEFLATE,
        COMBINED if reads_shared => COMBINED_DEFLATE,
        JSON if reads_shared => JSON_DEFLATE,
        other => other,
    }
}

#[cfg(test)]
mod tests;
