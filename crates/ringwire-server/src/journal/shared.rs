//! The journal as publishers see it: a buffer that records are appended to, and tickets that say when they are on disk.
//!
//! A publisher, on any thread and under its topic's lock, encodes its record into the buffer and goes on. The writer
//! takes the whole buffer, writes it in one go, and settles the tickets of all that is in it at once: the more is
//! published, the more each write and each sync carries.
//!
//! When the disk fails, or is so slow that the buffer is full, nothing waits: the journal is *degraded*. What is published
//! then is counted and not kept on disk, its tickets are settled as such, and every topic waits to be written anew
//! (`checkpoint`). Once all are, everything that topics hold is on disk again.
//!
//! What this file must never do: make a publisher wait for a disk; settle a ticket as durable that is not.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use ringwire_hub::{Appended, ShardId, Sink, Subject, Topic, TopicName};
use serde::Serialize;
use tokio::sync::Notify;

use super::record::{Entry, EntryKind, Opened, Record};

/// `lost_from` while nothing is lost.
const NONE_LOST: u64 = u64::MAX;
/// No segment: they are numbered from 1.
const NOWHERE: u64 = 0;

/// What became of what a ticket was given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is on its way to the disk.
    Pending,
    /// It is on disk, as the fsync policy has it.
    Durable,
    /// It was published, and may be lost if the server ends: the journal is degraded.
    NotPersisted,
}

/// How the journal does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JournalHealth {
    /// `ok`, `degraded` (nothing is written), or `healing` (all that topics hold is being written anew).
    pub state: &'static str,
    /// Why it is not `ok`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Bytes written since the start.
    pub written_bytes: u64,
    /// Writes since the start: so many groups were committed.
    pub writes: u64,
    /// Syncs since the start.
    pub syncs: u64,
    /// Entries published while they could not be written.
    pub not_journaled: u64,
}

/// Shared by all publishers and the writer.
#[derive(Debug)]
pub struct Journal {
    buffer_bytes_max: usize,
    tail: Mutex<Tail>,
    /// All tickets up to this one are decided.
    settled: AtomicU64,
    /// Of these, those from this one on are not persisted.
    lost_from: AtomicU64,
    /// A bit per shard that waits for a ticket.
    waiting: AtomicU64,
    pub(super) wake: Notify,
    topics: Mutex<BTreeMap<u32, Weak<TopicJournal>>>,
    /// Bytes that a checkpoint would write, about: as of the last one, or the start.
    pub(super) held_bytes: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) written_bytes: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) syncs: AtomicU64,
    not_journaled: AtomicU64,
}

/// What the lock guards.
#[derive(Debug)]
struct Tail {
    bytes: Vec<u8>,
    /// The last ticket given.
    appended: u64,
    /// The segment that what is appended goes to.
    segment: u64,
    /// How often the journal has failed. Topics of an earlier generation have not been written anew.
    generation: u64,
    phase: Phase,
    error: Option<String>,
    next_topic: u32,
    is_closing: bool,
}

/// How the journal does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// All topics are written.
    Well,
    /// Nothing is written.
    Failing,
    /// Topics are being written anew.
    Healing,
}

/// What the writer takes at a time.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    /// The last ticket in it.
    ticket: u64,
    generation: u64,
    pub(super) is_closing: bool,
}

/// One topic's way into the journal.
#[derive(Debug)]
pub struct TopicJournal {
    journal: Arc<Journal>,
    id: u32,
    name: TopicName,
    epoch: u64,
    keyed: bool,
    // Read and written under the journal's lock.
    /// The last segment that says what the topic's number means.
    declared: AtomicU64,
    generation: AtomicU64,
    is_gone: AtomicBool,
}

impl Journal {
    /// A journal whose next topic has number `next_topic`, and whose writer is at segment `segment`. Memory: up to
    /// `buffer_bytes_max` wait to be written, and as many are being written.
    pub(super) fn new(buffer_bytes_max: usize, next_topic: u32, segment: u64) -> Self {
        let tail = Tail {
            bytes: Vec::new(),
            appended: 0,
            segment,
            generation: 1,
            phase: Phase::Well,
            error: None,
            next_topic,
            is_closing: false,
        };
        let zero = || AtomicU64::new(0);
        Self {
            buffer_bytes_max,
            tail: Mutex::new(tail),
            settled: zero(),
            lost_from: AtomicU64::new(NONE_LOST),
            waiting: zero(),
            wake: Notify::new(),
            topics: Mutex::default(),
            held_bytes: zero(),
            bytes: zero(),
            written_bytes: zero(),
            writes: zero(),
            syncs: zero(),
            not_journaled: zero(),
        }
    }

    /// A new topic's way into the journal.
    pub fn topic(self: &Arc<Self>, name: &TopicName, epoch: u64, keyed: bool) -> Arc<TopicJournal> {
        let id = {
            let mut tail = self.tail();
            tail.next_topic += 1;
            tail.next_topic - 1
        };
        self.known_topic(id, name, epoch, keyed)
    }

    /// The way into the journal of a topic that is in it with number `id`.
    pub fn known_topic(self: &Arc<Self>, id: u32, name: &TopicName, epoch: u64, keyed: bool) -> Arc<TopicJournal> {
        let topic = Arc::new(TopicJournal {
            journal: Arc::clone(self),
            id,
            name: name.clone(),
            epoch,
            keyed,
            declared: AtomicU64::new(NOWHERE),
            generation: AtomicU64::new(self.tail().generation),
            is_gone: AtomicBool::new(false),
        });
        self.topics().insert(id, Arc::downgrade(&topic));
        topic
    }

    /// The last ticket that is decided. All up to it are durable while the journal is well; [`outcome`](Self::outcome)
    /// says it in any case.
    pub fn durable(&self) -> u64 {
        self.settled.load(Ordering::Acquire)
    }

    /// What became of what `ticket` was given for.
    pub fn outcome(&self, ticket: u64) -> Outcome {
        if ticket > self.settled.load(Ordering::SeqCst) {
            Outcome::Pending
        } else if ticket >= self.lost_from.load(Ordering::Acquire) {
            Outcome::NotPersisted
        } else {
            Outcome::Durable
        }
    }

    /// As [`outcome`](Self::outcome); if it is pending, `shard` gets one [`Mail::Durable`](crate::broker::Mail) once more
    /// is decided, and must then ask again.
    pub fn outcome_or_wait(&self, ticket: u64, shard: ShardId) -> Outcome {
        match self.outcome(ticket) {
            Outcome::Pending => {
                // The writer settles first and looks who waits then: one of the two sees the other.
                self.wait_for(shard);
                self.outcome(ticket)
            }
            decided => decided,
        }
    }

    /// How it does.
    pub fn health(&self) -> JournalHealth {
        let (state, error) = {
            let tail = self.tail();
            let state = match tail.phase {
                Phase::Well => "ok",
                Phase::Failing => "degraded",
                Phase::Healing => "healing",
            };
            (state, tail.error.clone())
        };
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        JournalHealth {
            state,
            error,
            bytes: read(&self.bytes),
            written_bytes: read(&self.written_bytes),
            writes: read(&self.writes),
            syncs: read(&self.syncs),
            not_journaled: read(&self.not_journaled),
        }
    }

    /// Has the writer write all there is, say that this is the end, and end.
    pub fn close(&self) {
        self.tail().is_closing = true;
        self.wake.notify_one();
    }

    /// Appends a record of `topic`; the ticket for it.
    pub(super) fn append(&self, topic: &TopicJournal, record: &Record<'_>) -> u64 {
        let mut tail = self.tail();
        tail.appended += 1;
        let ticket = tail.appended;
        if tail.phase != Phase::Failing && tail.bytes.len() > self.buffer_bytes_max {
            let full = self.buffer_bytes_max;
            self.fail(&mut tail, format!("the disk is too slow: {full} bytes wait to be written"));
        }
        if tail.phase == Phase::Failing {
            self.not_journaled.fetch_add(1, Ordering::Relaxed);
            self.settled.store(ticket, Ordering::SeqCst);
            return ticket;
        }
        if topic.generation.load(Ordering::Relaxed) == tail.generation {
            self.put(&mut tail, topic, |out| record.write(out));
        } else {
            self.not_journaled.fetch_add(1, Ordering::Relaxed);
            self.wake.notify_one();
        }
        ticket
    }

    /// Appends records of `topic` that give nobody a ticket, whatever the topic's generation.
    pub(super) fn append_block(&self, topic: &TopicJournal, records: &[u8]) {
        let mut tail = self.tail();
        if tail.phase != Phase::Failing {
            self.put(&mut tail, topic, |out| out.extend_from_slice(records));
        }
    }

    /// Appends a record that is of no topic.
    pub(super) fn append_mark(&self, record: &Record<'_>) {
        let mut tail = self.tail();
        if tail.phase != Phase::Failing {
            record.write(&mut tail.bytes);
        }
    }

    /// What is published to `topic` is written again from here on.
    pub(super) fn resume(&self, topic: &TopicJournal) {
        topic.generation.store(self.tail().generation, Ordering::Relaxed);
    }

    /// All topics that have a way into the journal.
    pub(super) fn all_topics(&self) -> Vec<Arc<TopicJournal>> {
        let mut topics = self.topics();
        topics.retain(|_, topic| topic.strong_count() > 0);
        topics.values().filter_map(Weak::upgrade).collect()
    }

    /// Bytes that wait to be written.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.tail().bytes.len()
    }

    /// Takes all there is, in exchange for an empty buffer. With `rotate`, what comes after goes to the next segment.
    pub(super) fn take(&self, spare: Vec<u8>, rotate: impl FnOnce(usize) -> bool) -> (Batch, bool) {
        let mut tail = self.tail();
        let rotates = tail.phase != Phase::Failing && rotate(tail.bytes.len());
        if rotates {
            tail.segment += 1;
        }
        let Tail { appended: ticket, generation, is_closing, .. } = *tail;
        let bytes = std::mem::replace(&mut tail.bytes, spare);
        (Batch { bytes, ticket, generation, is_closing }, rotates)
    }

    /// What is in `batch` is on disk.
    pub(super) fn settle(&self, batch: &Batch) {
        let tail = self.tail();
        // After a failure its tickets are decided already.
        if tail.generation == batch.generation && tail.phase != Phase::Failing {
            self.settled.store(batch.ticket, Ordering::SeqCst);
        }
    }

    /// Writing has failed: what is not settled is not persisted.
    pub(super) fn fail_with(&self, error: String) {
        self.fail(&mut self.tail(), error);
    }

    /// Writing works again, from the beginning of segment `segment`: topics are to be written anew.
    pub(super) fn heal(&self, segment: u64) {
        let topics = self.all_topics();
        let mut tail = self.tail();
        // A segment that was begun in vain had the same number, and what declared a topic in it is gone.
        topics.iter().for_each(|topic| topic.declared.store(NOWHERE, Ordering::Relaxed));
        tail.phase = Phase::Healing;
        tail.segment = segment;
    }

    /// All topics have been written anew; false, if the journal has failed meanwhile.
    pub(super) fn healed(&self) -> bool {
        let mut tail = self.tail();
        if tail.phase == Phase::Failing {
            return false;
        }
        tail.phase = Phase::Well;
        tail.error = None;
        self.lost_from.store(NONE_LOST, Ordering::Release);
        true
    }

    pub(super) fn phase(&self) -> Phase {
        self.tail().phase
    }

    /// Why it is not well, and how many entries were not written.
    pub(super) fn trouble(&self) -> (String, u64) {
        (self.tail().error.clone().unwrap_or_default(), self.not_journaled.load(Ordering::Relaxed))
    }

    /// `shard` is to be told once more is decided.
    pub(super) fn wait_for(&self, shard: ShardId) {
        self.waiting.fetch_or(1 << shard.index(), Ordering::SeqCst);
    }

    /// The shards that wait for tickets. They are to be told, and wait no more.
    pub(super) fn take_waiting(&self) -> impl Iterator<Item = ShardId> {
        let waiting = self.waiting.swap(0, Ordering::SeqCst);
        (0..64).filter(move |index| waiting & (1 << index) != 0).map(ShardId::new)
    }

    fn put(&self, tail: &mut Tail, topic: &TopicJournal, write: impl FnOnce(&mut Vec<u8>)) {
        if topic.is_gone.load(Ordering::Relaxed) {
            return;
        }
        let was_empty = tail.bytes.is_empty();
        if topic.declared.swap(tail.segment, Ordering::Relaxed) != tail.segment {
            let TopicJournal { id, epoch, keyed, .. } = *topic;
            Record::Opened(Opened { topic: id, epoch, keyed, name: topic.name.as_str() }).write(&mut tail.bytes);
        }
        write(&mut tail.bytes);
        if was_empty {
            self.wake.notify_one();
        }
    }

    fn fail(&self, tail: &mut Tail, error: String) {
        if tail.phase != Phase::Failing {
            tail.phase = Phase::Failing;
            tail.generation += 1;
            tail.error = Some(error);
        }
        tail.bytes = Vec::new();
        self.lost_from.fetch_min(self.settled.load(Ordering::Relaxed) + 1, Ordering::Release);
        self.settled.store(tail.appended, Ordering::SeqCst);
        self.wake.notify_one();
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        // What panics under the lock is a record that is too long, before anything of it was kept.
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn topics(&self) -> MutexGuard<'_, BTreeMap<u32, Weak<TopicJournal>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TopicJournal {
    /// The topic's number in the journal.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The topic's name.
    pub fn name(&self) -> &TopicName {
        &self.name
    }

    /// Names the topic's log.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Appends a record of the topic other than an entry.
    pub(super) fn note(&self, record: &Record<'_>) {
        let mut bytes = Vec::new();
        record.write(&mut bytes);
        self.journal.append_block(self, &bytes);
    }
}

impl Sink for TopicJournal {
    fn append(&self, _topic: &Topic, appended: &Appended<'_>) -> u64 {
        let (kind, key) = match appended.entry.subject {
            Subject::Message => (EntryKind::Message, ""),
            Subject::Update(key) => (EntryKind::Update, key),
            Subject::Remove(key) => (EntryKind::Remove, key),
        };
        let entry = Entry {
            topic: self.id,
            seq: appended.seq,
            time_us: appended.time_us,
            kind,
            bound: appended.entry.owner != 0,
            state: false,
            key: key.as_bytes(),
            idempotency_key: appended.entry.idempotency_key.unwrap_or_default().as_bytes(),
            bytes: appended.history,
        };
        self.journal.append(self, &Record::Entry(entry))
    }

    fn let_go(&self, _topic: &Topic) {
        self.note(&Record::LetGo { topic: self.id });
        let _tail = self.journal.tail();
        self.is_gone.store(true, Ordering::Relaxed);
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "on its way to the disk",
            Self::Durable => "on disk",
            Self::NotPersisted => "published, but not on disk: the journal is degraded",
        })
    }
}
