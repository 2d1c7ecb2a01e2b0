//! A topic: its lanes under one lock, and what any thread may read of it without.
//!
//! Order. [`Topic::publish`] gives an entry its number, encodes it for each active lane and appends it, in one
//! critical section: all lanes hold the same entries in the same order, and every shard sees that order. The topic's
//! [`Sink`] is told in the same section.
//!
//! Notes. A publish tells which shards must be told. At most one note per topic and shard is under way: the bit in
//! `noted` is set in the critical section that appends, and taken back in the one in which the shard reads the log's
//! end. Whichever of two such sections comes first: an append before the shard's is seen by it, an append after it
//! finds the bit clear and sends a note. So no entry waits for a note that nobody sends.
//!
//! Keys. The last entry of each key is kept beside the log, so that retention does not lose it; and each entry of the
//! history lane learns its successor, the next one of its key, when that is appended.
//!
//! End. A topic that holds nothing and that nobody subscribes to is let go by its hub. Who still has it finds out when
//! publishing or subscribing, and opens the name again.

mod entry;
mod keys;
mod log;
mod options;

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ids::{LANES_MAX, LaneId, ShardSet, TopicId};
use crate::name::TopicName;
use crate::run::Run;

pub use self::entry::{
    Appended, Entry, IDEMPOTENCY_KEY_BYTES_MAX, KEY_BYTES_MAX, PublishError, Published, Sink, Subject,
};
pub use self::keys::IDEMPOTENCY_KEYS_MAX;
pub(crate) use self::log::Log;
pub use self::options::{ENTRY_BYTES_LIMIT, Resumes, Retention, TopicKind, TopicOptions, TopicSetup};

/// A topic. Every method may be called from any thread.
#[derive(Debug)]
pub struct Topic {
    id: TopicId,
    name: TopicName,
    options: TopicOptions,
    sink: Option<Arc<dyn Sink>>,
    resumes: Option<Resumes>,
    log: Mutex<Log>,
    // Copies for readers without the lock.
    /// A bit per active lane.
    active: AtomicU8,
    last_seq: AtomicU64,
    subscriptions: AtomicU64,
    skipped: AtomicU64,
    gap: AtomicU64,
}

impl Topic {
    pub(crate) fn new(id: TopicId, name: TopicName, setup: TopicSetup) -> Self {
        let TopicSetup { options, sink, resumes } = setup;
        Self {
            id,
            name,
            options,
            sink,
            resumes,
            log: Mutex::new(Log::new(options.kind)),
            active: AtomicU8::new(1 << LaneId::HISTORY.index()),
            last_seq: AtomicU64::new(0),
            subscriptions: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            gap: AtomicU64::new(0),
        }
    }

    /// Appends an entry, the same on every lane.
    ///
    /// `encode` is called once per active lane with the entry's number and time, and appends the ready frame to the
    /// buffer; a lane to which it appends nothing sends its subscribers nothing, and the entry counts as delivered
    /// there. It runs under the topic's lock: it must be short, and must not call the topic. `scratch` is the caller's,
    /// to be used again from call to call. Time that goes backwards is taken as standing still.
    ///
    /// # Errors
    /// Why it was refused; nothing was appended then.
    pub fn publish(
        &self,
        now_us: u64,
        entry: &Entry<'_>,
        scratch: &mut Vec<u8>,
        encode: impl FnMut(LaneId, u64, u64, &mut Vec<u8>),
    ) -> Result<Published, PublishError> {
        self.append(&mut self.log(), now_us, entry, scratch, encode)
    }

    /// Removes one key that has had no update for too long, the one whose last is the oldest, as if its removal was
    /// published. `encode` is told which. Nothing, if there is none; a key that is updated meanwhile stays.
    ///
    /// # Errors
    /// Why the removal was refused.
    pub fn remove_expired(
        &self,
        now_us: u64,
        scratch: &mut Vec<u8>,
        mut encode: impl FnMut(&str, LaneId, u64, u64, &mut Vec<u8>),
    ) -> Result<Option<Published>, PublishError> {
        let mut log = self.log();
        let Some(key) = log.keys().and_then(|keys| keys.expired(now_us)) else { return Ok(None) };
        let entry = Entry { subject: Subject::Remove(&key), ..Entry::MESSAGE };
        let encode = |lane, seq, time_us, out: &mut Vec<u8>| encode(&key, lane, seq, time_us, out);
        self.append(&mut log, now_us, &entry, scratch, encode).map(Some)
    }

    /// Appends under the lock.
    fn append(
        &self,
        log: &mut Log,
        now_us: u64,
        entry: &Entry<'_>,
        scratch: &mut Vec<u8>,
        mut encode: impl FnMut(LaneId, u64, u64, &mut Vec<u8>),
    ) -> Result<Published, PublishError> {
        scratch.clear();
        let mut ends = [0; LANES_MAX];
        if let Some((seq, ticket)) = log.check(entry)? {
            return Ok(Published { seq, notify: ShardSet::default(), ticket, is_duplicate: true });
        }
        let (seq, now_us) = (log.last_seq() + 1, log.last_us().max(now_us));
        // Encoded first, then appended: a refusal, or a panic of the encoder, leaves every lane as it was.
        for lane in LaneId::all().filter(|lane| log.lane(*lane).is_some()) {
            let start = scratch.len();
            encode(lane, seq, now_us, scratch);
            let bytes = scratch.len() - start;
            if bytes > self.options.entry_bytes_max {
                return Err(PublishError::TooLong { lane, bytes });
            }
            ends[lane.index()] = scratch.len();
        }
        let history = &scratch[..ends[LaneId::HISTORY.index()]];
        let appended = Appended { seq, time_us: now_us, entry, history };
        log.append(&appended, scratch, ends, &self.options.retention);
        let ticket = self.sink.as_ref().map(|sink| sink.append(self, &appended));
        log.remember(entry.idempotency_key, seq, ticket);
        self.last_seq.store(seq, Ordering::Release);
        Ok(Published { seq, notify: log.notify(), ticket, is_duplicate: false })
    }

    /// Puts back an entry from an earlier life of the topic: the next one, or, where the ones between are not known any
    /// more, a later one. Nobody may have subscribed yet. The sink is not told.
    ///
    /// # Errors
    /// That it could not have been published. A key may be removed that is not there: what set it may be lost.
    ///
    /// # Panics
    /// If the entry is not later than the last one.
    pub fn restore(&self, appended: &Appended<'_>) -> Result<(), PublishError> {
        let mut log = self.log();
        assert!(appended.seq > log.last_seq(), "entries are put back in their order");
        match log.check(&Entry { idempotency_key: None, ..*appended.entry }) {
            Ok(_) | Err(PublishError::NoSuchKey) => {}
            Err(error) => return Err(error),
        }
        log.restore(appended, &self.options.retention);
        self.last_seq.store(appended.seq, Ordering::Release);
        Ok(())
    }

    /// Puts back the number of the last entry, where entries after the last one put back are not known any more.
    pub fn restore_last_seq(&self, last_seq: u64) {
        let mut log = self.log();
        if last_seq > log.last_seq() {
            log.begin_at(last_seq + 1);
            self.last_seq.store(last_seq, Ordering::Release);
        }
    }

    /// Lets go what has become too old. Says which shards must be sent a note, as by a publish, so that they let go
    /// what they hold.
    pub fn retain(&self, now_us: u64) -> ShardSet {
        let mut log = self.log();
        if log.retain(now_us, &self.options.retention) { log.notify() } else { ShardSet::default() }
    }

    /// Calls `each` with the entries that are held from `from` on, their numbers and their bytes in the history lane: at
    /// most `entries_max`, and no more than fit `bytes_max` but for the first. Returns the number at which to go on.
    pub fn history(&self, from: u64, entries_max: usize, bytes_max: usize, mut each: impl FnMut(u64, &[u8])) -> u64 {
        let (spans, first) = {
            let log = self.log();
            let lane = log.history();
            (lane.spans_from(from, usize::MAX).collect::<Vec<_>>(), lane.first_seq())
        };
        let (mut next, mut bytes, mut entry) = (from.max(first), 0, Vec::new());
        for span in &spans {
            while span.contains(next) {
                let (start, end) = (span.segment.start_of(next), span.segment.end_of(next));
                bytes += (end - start) as usize;
                let count = next - from.max(first);
                if count >= entries_max as u64 || (bytes > bytes_max && count > 0) {
                    return next;
                }
                entry.clear();
                Run { words: span.segment.words(), start, end }.copy_to(&mut entry);
                each(next, &entry);
                next += 1;
            }
        }
        next
    }

    /// All keys in their order, each with its entry's number and its bytes in the history lane; with the number of the
    /// last entry by which this is the state.
    pub fn keys(&self) -> (u64, Vec<Key>) {
        let log = self.log();
        let keys = log.keys().into_iter().flat_map(keys::Keys::iter);
        (log.last_seq(), keys.map(Key::of).collect())
    }

    /// One key, if it is there.
    pub fn key(&self, name: &str) -> Option<Key> {
        let log = self.log();
        let state = log.keys()?.get(name)?;
        Some(Key { name: name.into(), seq: state.seq, owner: state.owner, history: Arc::clone(&state.history) })
    }

    /// How many keys there are.
    pub fn key_count(&self) -> usize {
        self.log().keys().map_or(0, keys::Keys::len)
    }

    /// The idempotency keys that are remembered with their entries' numbers, the oldest first.
    pub fn idempotency_keys(&self) -> Vec<(String, u64)> {
        self.log().remembered().map(|(key, seq)| (key.to_owned(), seq)).collect()
    }

    /// Puts back an idempotency key of entry `seq`.
    pub fn restore_idempotency_key(&self, key: &str, seq: u64) {
        self.log().remember(Some(key), seq, None);
    }

    /// Has `lane` kept from the next entry on, for good. The history lane always is; others, while they have
    /// subscribers.
    pub fn activate(&self, lane: LaneId) {
        self.enter(&mut self.log(), lane);
    }

    /// Whether `lane` was active a moment ago: what takes long to encode can be made before the publish that needs it,
    /// out of the topic's lock.
    pub fn is_active(&self, lane: LaneId) -> bool {
        self.active.load(Ordering::Relaxed) & 1 << lane.index() != 0
    }

    /// The topic's number.
    pub fn id(&self) -> TopicId {
        self.id
    }

    /// The topic's name.
    pub fn name(&self) -> &TopicName {
        &self.name
    }

    /// What was fixed when the topic was opened.
    pub fn options(&self) -> &TopicOptions {
        &self.options
    }

    /// Number of the last entry; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.last_seq.load(Ordering::Acquire)
    }

    /// Whether who has had everything up to entry `seq` of the log `epoch` can go on behind it: it is this log, or the one
    /// that this goes on from, and entry `seq` is there.
    pub fn goes_on_from(&self, epoch: u64, seq: u64) -> bool {
        let before = self.resumes.is_some_and(|before| epoch == before.epoch && seq <= before.last_seq);
        before || (epoch == self.options.epoch && seq <= self.last_seq())
    }

    /// Subscriptions on all shards and lanes.
    pub fn subscriptions(&self) -> u64 {
        self.subscriptions.load(Ordering::Relaxed)
    }

    /// Entries that subscribers did not get as later ones took their place: the sum over subscriptions.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Entries that slow subscribers did not get: the sum over subscriptions.
    pub fn gap(&self) -> u64 {
        self.gap.load(Ordering::Relaxed)
    }

    /// Number of the first entry that the history holds; `last_seq + 1` if it holds none.
    pub fn first_seq(&self) -> u64 {
        self.log().history().first_seq()
    }

    /// Bytes of memory that the lanes' segments take.
    pub fn allocated_bytes(&self) -> usize {
        self.log().allocated_bytes()
    }

    /// Ends the topic if it holds nothing, nobody wants it, and nothing was published since `before_us`.
    pub(crate) fn let_go(&self, before_us: u64) -> bool {
        let mut log = self.log();
        let is_idle = log.is_idle(before_us);
        if is_idle {
            log.end();
            if let Some(sink) = &self.sink {
                sink.let_go(self);
            }
        }
        is_idle
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        // A panic under the lock can only be the encoder's, before anything was changed.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more wants `lane` kept.
    pub(crate) fn enter(&self, log: &mut Log, lane: LaneId) {
        log.enter(lane);
        self.active.fetch_or(1 << lane.index(), Ordering::Relaxed);
    }

    /// One of those wants it no more. With the last, the lane is let go.
    pub(crate) fn exit(&self, log: &mut Log, lane: LaneId) {
        if log.exit(lane) {
            self.active.fetch_and(!(1 << lane.index()), Ordering::Relaxed);
        }
    }

    pub(crate) fn count_subscribed(&self) {
        self.subscriptions.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_unsubscribed(&self) {
        self.subscriptions.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn count_gap(&self, entries: u64) {
        self.gap.fetch_add(entries, Ordering::Relaxed);
    }

    pub(crate) fn count_skipped(&self, entries: u64) {
        self.skipped.fetch_add(entries, Ordering::Relaxed);
    }

    /// So many that were counted are pending again.
    pub(crate) fn uncount(&self, skipped: u64, gap: u64) {
        self.skipped.fetch_sub(skipped, Ordering::Relaxed);
        self.gap.fetch_sub(gap, Ordering::Relaxed);
    }
}

/// A key and its last entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub name: Arc<str>,
    /// Number of its last entry.
    pub seq: u64,
    /// Whose it is; 0 for nobody's.
    pub owner: u64,
    /// That entry in the history lane.
    pub history: Arc<[u8]>,
}

impl Key {
    pub(crate) fn of((name, state): (&Arc<str>, &keys::KeyState)) -> Self {
        Self { name: Arc::clone(name), seq: state.seq, owner: state.owner, history: Arc::clone(&state.history) }
    }
}

#[cfg(test)]
mod tests;
