//! The start: opens the journal and puts back what it holds, before anything is served.
//!
//! A topic comes back with its entries, their numbers and times, its keys and its idempotency keys. It keeps its epoch if
//! the journal was closed in good order. If not, subscribers may have seen entries that never reached the disk, and
//! their numbers will be used again: so the log gets a new epoch, and positions of the old one are good up to the last
//! entry that came back. Keys that were bound to a connection are removed, as that connection is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ringwire_hub::{Appended, Entry as HubEntry, Resumes, Subject, Topic, TopicName};

use super::folder::{Folder, FolderError};
use super::record::{Entry, EntryKind, Record};
use super::replay::{ReplayedTopic, Stored};
use super::segment::{HEADER_BYTES, Header};
use super::shared::Journal;
use super::writer::{Begun, Writer};
use crate::broker::{Broker, Publisher};
use crate::lanes::{Payload, Publication};
use crate::native::record::Record as Binary;
use crate::options::JournalOptions;

/// A journal that was opened, and what was in it.
#[derive(Debug)]
pub struct Opened {
    /// For publishers.
    pub journal: Arc<Journal>,
    /// To be run by the control plane.
    pub writer: Writer,
    /// To be put back.
    pub contents: Contents,
}

/// What a journal held.
#[derive(Debug)]
pub struct Contents {
    topics: Vec<ReplayedTopic>,
    is_closed: bool,
    /// What was repaired, for whoever reads the log.
    pub notes: Vec<String>,
}

/// Opens the journal that `options` say.
///
/// # Errors
/// Why it cannot be used, and what to do.
pub fn open(options: &JournalOptions) -> Result<Opened, FolderError> {
    let folder = Folder::open(&options.directory)?;
    let found = folder.read(options.repair)?;
    let (number, previous_bytes) = found.segments.last().map_or((1, 0), |(number, bytes)| (number + 1, *bytes));
    let failed = |error| FolderError::Io(folder.segment(number), error);
    // What was not synced in an earlier run must be before there is a segment behind it.
    found.segments.last().map_or(Ok(()), |(last, _)| folder.sync_segment(*last)).map_err(failed)?;
    // From here on the journal is not closed, whatever is written of what is published.
    let mut mark = Vec::new();
    Record::Checkpoint { segment: found.segments.first().map_or(number, |(first, _)| *first) }.write(&mut mark);
    let file = folder.begin(Header { number, previous_bytes }, &mark).map_err(failed)?;
    let journal = Arc::new(Journal::new(options.buffer_bytes_max, found.next_topic, number));
    let begun = Begun { file, number, position: (HEADER_BYTES + mark.len()) as u64 };
    let writer = Writer::new(Arc::clone(&journal), folder, options, begun, found.segments);
    let contents = Contents { topics: found.topics, is_closed: found.is_closed, notes: found.notes };
    Ok(Opened { journal, writer, contents })
}

impl Contents {
    /// Puts everything back. Returns what there is to say of it.
    pub fn restore(self, broker: &Broker, journal: &Arc<Journal>, now_us: u64) -> Vec<String> {
        let mut notes = self.notes;
        let mut publisher = Publisher::new(broker.deflate);
        let (mut topics, mut entries) = (0usize, 0usize);
        for topic in self.topics {
            let name = topic.name.clone();
            match restore_topic(topic, self.is_closed, broker, journal, &mut publisher, now_us) {
                Ok(count) => {
                    topics += 1;
                    entries += count;
                }
                Err(what) => notes.push(format!("journal: {name}: {what}")),
            }
        }
        if topics > 0 {
            notes.push(format!("journal: {entries} entries of {topics} topics are back"));
        }
        notes
    }
}

/// Puts a topic back; how many entries it has then.
fn restore_topic(
    replayed: ReplayedTopic,
    is_closed: bool,
    broker: &Broker,
    journal: &Arc<Journal>,
    publisher: &mut Publisher,
    now_us: u64,
) -> Result<usize, String> {
    let name = TopicName::new(&replayed.name).map_err(|error| error.to_string())?;
    if !broker.rules.rule_for(&name).persistent {
        return Err("it is in the journal, and its rule does not say persistent = true: it is left out".to_owned());
    }
    let epoch = if is_closed { replayed.epoch } else { broker.next_epoch() };
    let resumes = (!is_closed).then_some(Resumes { epoch: replayed.epoch, last_seq: replayed.last_seq });
    let sink = journal.known_topic(replayed.id, &name, epoch, replayed.keyed);
    let topic = broker.reopen(&name, epoch, resumes, Arc::clone(&sink)).map_err(|error| error.to_string())?;
    let (mut count, mut bound) = (0, BTreeMap::new());
    let mut bytes = Vec::with_capacity(replayed.log.len());
    let mut fault = None;
    for stored in replayed.states.iter().chain(&replayed.log) {
        fault = put_back(&topic, stored).err();
        if fault.is_some() {
            break;
        }
        let entry = stored.entry();
        if entry.kind != EntryKind::Message {
            bound.insert(entry.key.to_vec(), entry.bound && entry.kind == EntryKind::Update);
        }
        count += 1;
        bytes.push((entry.seq, stored.record_bytes() as u64));
    }
    if fault.is_none() {
        topic.restore_last_seq(replayed.last_seq);
    }
    for (seq, key) in &replayed.remembered {
        topic.restore_idempotency_key(&String::from_utf8_lossy(key), *seq);
    }
    if replayed.has_hole || fault.is_some() || !is_closed {
        // With it the topic's new epoch is written.
        sink.note(&Record::Cut { topic: sink.id(), last_seq: topic.last_seq() });
    }
    // Retention has let go what was in the journal only because nothing had been removed there yet.
    let (first_seq, (_, keys)) = (topic.first_seq(), topic.keys());
    let log_bytes: u64 = bytes.iter().filter(|(seq, _)| *seq >= first_seq).map(|(_, bytes)| bytes).sum();
    let key_bytes: u64 = keys.iter().map(|key| (key.history.len() + key.name.len()) as u64).sum();
    journal.held_bytes.fetch_add(log_bytes + key_bytes, Ordering::Relaxed);
    remove_bound(&topic, bound, publisher, now_us);
    fault.map_or(Ok(count), Err)
}

/// Puts an entry back, under the number that the topic has in this run.
fn put_back(topic: &Topic, stored: &Stored) -> Result<(), String> {
    let Entry { seq, time_us, kind, key, bytes, .. } = stored.entry();
    let broken = || format!("entry {seq} is not as this version writes it");
    let binary = Binary::of_frame(bytes).ok_or_else(broken)?;
    let id = u32::try_from(topic.id().index()).expect("a topic's number has 32 bits");
    let mut history = Vec::with_capacity(bytes.len());
    Binary { topic: id, ..binary }.append_frame_to(&mut history);
    let key = std::str::from_utf8(key).map_err(|_| broken())?;
    let subject = match kind {
        EntryKind::Message => Subject::Message,
        EntryKind::Update => Subject::Update(key),
        EntryKind::Remove => Subject::Remove(key),
    };
    let entry = HubEntry { subject, owner: 0, idempotency_key: None };
    topic
        .restore(&Appended { seq, time_us, entry: &entry, history: &history })
        .map_err(|error| format!("entry {seq} does not come back, and none after it: {error}"))
}

/// Removes keys whose connections are gone.
fn remove_bound(topic: &Topic, keys: BTreeMap<Vec<u8>, bool>, publisher: &mut Publisher, now_us: u64) {
    let bound = keys.iter().filter(|(_, is_bound)| **is_bound);
    for key in bound.filter_map(|(key, _)| std::str::from_utf8(key).ok()) {
        let removal = Publication { subject: Subject::Remove(key), ..Payload::Text("").into() };
        // It is refused only if the key is gone already.
        let _ = publisher.publish(topic, removal, now_us);
    }
}
