//! Writes what topics hold anew, a piece at a time: so that old segments can go, and so that a journal that failed is whole
//! again.
//!
//! Topics go on meanwhile: what is published to one stands between its `Begin` and its `Holds`, and counts beside what is
//! written here. A piece is written when the one before it has gone to disk, so that publishers find the buffer nearly
//! empty.

use std::sync::Arc;
use std::vec::IntoIter;

use ringwire_hub::{Hub, Key, Topic};

use super::record::{Entry, EntryKind, Record};
use super::shared::{Journal, TopicJournal};
use crate::native::record::{Record as Binary, RecordKind};

/// Bytes of a piece, and one entry more.
const PIECE_BYTES: usize = 256 * 1024;

/// A checkpoint under way.
#[derive(Debug)]
pub(super) struct Checkpoint {
    /// The first segment that has any of it.
    pub(super) segment: u64,
    /// Bytes of it so far.
    pub(super) bytes: u64,
    topics: IntoIter<Arc<TopicJournal>>,
    current: Option<Current>,
    piece: Vec<u8>,
}

/// The topic that is being written.
#[derive(Debug)]
struct Current {
    topic: Arc<Topic>,
    journal: Arc<TopicJournal>,
    /// The last entry of it; later ones are written as they are published.
    last_seq: u64,
    /// The next entry of the log.
    next_seq: u64,
    /// From here on the log was written without a hole; retention may have passed what was written before.
    first_seq: u64,
    /// The log is written, and these are not yet.
    keys: IntoIter<Key>,
}

impl Checkpoint {
    /// A checkpoint of all topics, from the beginning of segment `segment`, which has begun.
    pub(super) fn new(journal: &Journal, segment: u64) -> Self {
        let topics = journal.all_topics().into_iter();
        Self { segment, bytes: 0, topics, current: None, piece: Vec::new() }
    }

    /// Appends the next piece to the journal. Says whether there is more.
    pub(super) fn step(&mut self, journal: &Journal, hub: &Hub) -> bool {
        loop {
            let Some(current) = &mut self.current else {
                let Some(next) = self.topics.next() else { return false };
                self.current = Current::begin(next, journal, hub);
                continue;
            };
            self.piece.clear();
            let is_done = current.piece(&mut self.piece);
            journal.append_block(&current.journal, &self.piece);
            self.bytes += self.piece.len() as u64;
            if is_done {
                self.current = None;
            }
            // Many topics hold little: a piece has as many of them as fit.
            if journal.waiting_bytes() >= PIECE_BYTES {
                return true;
            }
        }
    }
}

impl Current {
    /// Begins a topic; none, if it is gone.
    fn begin(journal: Arc<TopicJournal>, all: &Journal, hub: &Hub) -> Option<Self> {
        let topic = hub.topic(journal.name().as_str()).filter(|topic| topic.options().epoch == journal.epoch())?;
        journal.note(&Record::Begin { topic: journal.id() });
        all.resume(&journal);
        // Under the topic's lock: an entry after these is written as it is published, behind `Begin`.
        let (last_seq, keys) = topic.keys();
        Some(Self { topic, journal, last_seq, next_seq: 0, first_seq: 0, keys: keys.into_iter() })
    }

    /// Appends the next piece of the topic to `out`. Says whether it was the last.
    fn piece(&mut self, out: &mut Vec<u8>) -> bool {
        let Self { topic, journal, last_seq, next_seq, first_seq, keys } = self;
        let id = journal.id();
        if *next_seq <= *last_seq {
            let mut expected = *next_seq;
            *next_seq = topic.history(*next_seq, usize::MAX, PIECE_BYTES, |seq, history| {
                if seq > *last_seq {
                    return;
                }
                if seq != expected {
                    *first_seq = seq;
                }
                expected = seq + 1;
                write_entry(out, id, history, None);
            });
            if expected <= *last_seq && *next_seq > *last_seq {
                // Retention passed what was left.
                *first_seq = *last_seq + 1;
            }
            return false;
        }
        // A topic that holds no log has nothing before its next entry.
        let first_seq = if *first_seq == 0 { *last_seq + 1 } else { *first_seq };
        for key in keys.by_ref() {
            // Those in the log stand there, but for whose they are.
            if key.seq < first_seq || key.owner != 0 {
                write_entry(out, id, &key.history, Some(key.owner != 0));
            }
            if out.len() >= PIECE_BYTES {
                return false;
            }
        }
        for (key, seq) in topic.idempotency_keys() {
            Record::Remembered { topic: id, seq, key: key.as_bytes() }.write(out);
        }
        Record::Holds { topic: id, first_seq, last_seq: *last_seq }.write(out);
        true
    }
}

/// Appends the record of an entry of a history lane; `state` says whether it is bound, if it stands for its key.
fn write_entry(out: &mut Vec<u8>, topic: u32, history: &[u8], state: Option<bool>) {
    let Some(binary) = Binary::of_frame(history) else { return };
    let kind = match binary.kind {
        RecordKind::Update => EntryKind::Update,
        RecordKind::Remove => EntryKind::Remove,
        _ => EntryKind::Message,
    };
    let entry = Entry {
        topic,
        seq: binary.seq,
        time_us: binary.ts_us.unwrap_or_default(),
        kind,
        bound: state.unwrap_or_default(),
        state: state.is_some(),
        key: binary.key.as_bytes(),
        idempotency_key: b"",
        bytes: history,
    };
    Record::Entry(entry).write(out);
}
