//! A topic: its lanes under one lock, and what any thread may read of it without.
//!
//! Order. [`Topic::publish`] gives an entry its number, encodes it for each active lane and appends it, in one
//! critical section: all lanes hold the same entries in the same order, and every shard sees that order.
//!
//! Notes. A publish tells which shards must be told. At most one note per topic and shard is under way: the bit in
//! `noted` is set in the critical section that appends, and taken back in the one in which the shard reads the log's
//! end. Whichever of two such sections comes first: an append before the shard's is seen by it, an append after it
//! finds the bit clear and sends a note. So no entry waits for a note that nobody sends.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ids::{LANES_MAX, LaneId, ShardId, ShardSet, TopicId};
use crate::lane::Lane;
use crate::name::TopicName;

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

/// What is fixed when a topic is opened.
///
/// Worst-case memory of a topic: `retention.bytes` per active lane, or `entry_bytes_max` if that is more; beyond it,
/// each shard with subscribers may hold the eight segments it read last until its next note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicOptions {
    /// Names this log among all that have had the topic's name; sequence numbers compare within one epoch.
    pub epoch: u64,
    /// What is kept.
    pub retention: Retention,
    /// Longest entry of a lane; at most [`ENTRY_BYTES_LIMIT`].
    pub entry_bytes_max: usize,
    /// How far a subscriber may lag before its slow policy takes effect, in bytes of its lane. Retention is a limit
    /// in any case.
    pub backlog_bytes_max: u64,
}

impl Default for TopicOptions {
    fn default() -> Self {
        Self {
            epoch: 0,
            retention: Retention { entries: 10_000, bytes: 1 << 20, age_us: u64::MAX },
            entry_bytes_max: 1 << 20,
            backlog_bytes_max: u64::MAX,
        }
    }
}

/// A topic. Every method may be called from any thread.
#[derive(Debug)]
pub struct Topic {
    id: TopicId,
    name: TopicName,
    options: TopicOptions,
    log: Mutex<Log>,
    // Copies for readers without the lock.
    /// A bit per active lane.
    active: AtomicU8,
    last_seq: AtomicU64,
    subscriptions: AtomicU64,
    gap: AtomicU64,
}

/// What the lock guards.
#[derive(Debug)]
pub(crate) struct Log {
    lanes: [Option<Box<Lane>>; LANES_MAX],
    /// For each lane, how many want it kept: shards with subscribers to it, and whoever activated it.
    users: [u32; LANES_MAX],
    last_seq: u64,
    last_us: u64,
    /// Shards with subscribers.
    subscribed: ShardSet,
    /// Shards to which a note is under way.
    noted: ShardSet,
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
}

impl Topic {
    pub(crate) fn new(id: TopicId, name: TopicName, options: TopicOptions) -> Self {
        let mut lanes = [const { None }; LANES_MAX];
        lanes[LaneId::RAW.index()] = Some(Box::new(Lane::new(1)));
        let mut users = [0; LANES_MAX];
        users[LaneId::RAW.index()] = 1;
        let (subscribed, noted) = Default::default();
        Self {
            id,
            name,
            options,
            log: Mutex::new(Log { lanes, users, last_seq: 0, last_us: 0, subscribed, noted }),
            active: AtomicU8::new(1 << LaneId::RAW.index()),
            last_seq: AtomicU64::new(0),
            subscriptions: AtomicU64::new(0),
            gap: AtomicU64::new(0),
        }
    }

    /// Appends an entry, the same on every lane.
    ///
    /// `encode` is called once per active lane with the entry's number, and appends the ready frame to the buffer;
    /// a lane to which it appends nothing sends its subscribers nothing, and the entry counts as delivered there.
    /// It runs under the topic's lock: it must be short, and must not call the topic. `scratch` is the caller's, to
    /// be used again from call to call. Time that goes backwards is taken as standing still.
    pub fn publish(
        &self,
        now_us: u64,
        scratch: &mut Vec<u8>,
        mut encode: impl FnMut(LaneId, u64, &mut Vec<u8>),
    ) -> Result<Published, PublishError> {
        scratch.clear();
        let mut ends = [0; LANES_MAX];
        let mut log = self.log();
        let seq = log.last_seq + 1;
        // Encoded first, then appended: a refusal, or a panic of the encoder, leaves every lane as it was.
        for lane in LaneId::all().filter(|lane| log.lanes[lane.index()].is_some()) {
            let start = scratch.len();
            encode(lane, seq, scratch);
            let bytes = scratch.len() - start;
            if bytes > self.options.entry_bytes_max {
                return Err(PublishError::TooLong { lane, bytes });
            }
            ends[lane.index()] = scratch.len();
        }
        log.last_us = log.last_us.max(now_us);
        let (now_us, mut start) = (log.last_us, 0);
        for (lane, end) in log.lanes.iter_mut().zip(ends) {
            let Some(lane) = lane else { continue };
            lane.append(now_us, &scratch[start..end], &self.options.retention);
            start = end;
        }
        log.last_seq = seq;
        self.last_seq.store(seq, Ordering::Release);
        Ok(Published { seq, notify: log.notify() })
    }

    /// Lets go what has become too old. Says which shards must be sent a note, as by a publish, so that they let go
    /// what they hold.
    pub fn retain(&self, now_us: u64) -> ShardSet {
        let mut log = self.log();
        log.last_us = log.last_us.max(now_us);
        let now_us = log.last_us;
        let mut any = false;
        for lane in log.lanes.iter_mut().flatten() {
            any |= lane.retain(now_us, &self.options.retention);
        }
        if any { log.notify() } else { ShardSet::default() }
    }

    /// Has `lane` kept from the next entry on, for good. The raw lane always is; others, while they have subscribers.
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

    /// Subscriptions on all shards and lanes.
    pub fn subscriptions(&self) -> u64 {
        self.subscriptions.load(Ordering::Relaxed)
    }

    /// Entries that slow subscribers did not get: the sum over subscriptions.
    pub fn gap(&self) -> u64 {
        self.gap.load(Ordering::Relaxed)
    }

    /// Number of the first entry that the raw lane holds; `last_seq + 1` if it holds none.
    pub fn first_seq(&self) -> u64 {
        self.log().lane(LaneId::RAW).expect("the raw lane is always active").first_seq()
    }

    /// Bytes of memory that the lanes' segments take.
    pub fn allocated_bytes(&self) -> usize {
        self.log().lanes.iter().flatten().map(|lane| lane.allocated_bytes()).sum()
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        // A panic under the lock can only be the encoder's, before anything was changed.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more wants `lane` kept.
    pub(crate) fn enter(&self, log: &mut Log, lane: LaneId) {
        let next_seq = log.last_seq + 1;
        log.users[lane.index()] += 1;
        log.lanes[lane.index()].get_or_insert_with(|| Box::new(Lane::new(next_seq)));
        self.active.fetch_or(1 << lane.index(), Ordering::Relaxed);
    }

    /// One of those wants it no more. With the last, the lane is let go.
    pub(crate) fn exit(&self, log: &mut Log, lane: LaneId) {
        log.users[lane.index()] -= 1;
        if log.users[lane.index()] == 0 {
            log.lanes[lane.index()] = None;
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
}

impl Log {
    pub(crate) fn lane(&self, lane: LaneId) -> Option<&Lane> {
        self.lanes[lane.index()].as_deref()
    }

    pub(crate) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    pub(crate) fn join(&mut self, shard: ShardId) {
        self.subscribed.insert(shard);
    }

    /// Ends notes to `shard`. Says whether one is still under way.
    pub(crate) fn leave(&mut self, shard: ShardId) -> bool {
        self.subscribed.remove(shard);
        self.noted.contains(shard)
    }

    /// The note to `shard` has arrived; in the same critical section, the shard reads the log's end.
    pub(crate) fn note_arrived(&mut self, shard: ShardId) {
        self.noted.remove(shard);
    }

    /// Subscribed shards to which no note is under way; now one is.
    fn notify(&mut self) -> ShardSet {
        let notify = self.subscribed.without(self.noted);
        self.noted = self.noted.union(notify);
        notify
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { lane, bytes } => {
                write!(f, "an entry of {bytes} bytes (lane {}) is longer than the topic accepts", lane.index())
            }
        }
    }
}

impl std::error::Error for PublishError {}

#[cfg(test)]
mod tests {
    use super::*;

    const COMBINED: LaneId = LaneId::new(1);

    fn topic(options: TopicOptions) -> Topic {
        Topic::new(TopicId(0), TopicName::new("t").unwrap(), options)
    }

    #[test]
    fn an_inactive_lane_is_not_encoded_and_begins_when_activated() {
        let topic = topic(TopicOptions::default());
        let mut calls = Vec::new();
        let mut publish = || topic.publish(0, &mut Vec::new(), |lane, seq, _| calls.push((lane.index(), seq))).unwrap();
        publish();
        topic.activate(COMBINED);
        publish();
        assert_eq!(calls, [(0, 1), (0, 2), (1, 2)]);
        assert_eq!(topic.log().lane(COMBINED).unwrap().first_seq(), 2);
    }

    #[test]
    fn a_lane_that_nobody_wants_any_more_is_let_go() {
        let topic = topic(TopicOptions::default());
        let encoded = || {
            let mut lanes = Vec::new();
            topic.publish(0, &mut Vec::new(), |lane, _, out| (lanes.push(lane.index()), out.push(b'x')).1).unwrap();
            lanes
        };
        for _ in 0..2 {
            topic.enter(&mut topic.log(), COMBINED);
        }
        topic.exit(&mut topic.log(), COMBINED);
        assert_eq!((encoded(), topic.is_active(COMBINED)), (vec![0, 1], true));
        topic.exit(&mut topic.log(), COMBINED);
        assert_eq!((encoded(), topic.is_active(COMBINED)), (vec![0], false));
        assert!(topic.log().lane(COMBINED).is_none());
        topic.activate(COMBINED);
        topic.enter(&mut topic.log(), COMBINED);
        topic.exit(&mut topic.log(), COMBINED);
        assert_eq!(encoded(), [0, 1], "one that was activated stays");
        assert_eq!(topic.log().lane(COMBINED).unwrap().first_seq(), 3, "and begins when it was");
        assert!(topic.is_active(LaneId::RAW));
    }

    #[test]
    fn an_entry_too_long_for_one_lane_is_appended_to_none() {
        let topic = topic(TopicOptions { entry_bytes_max: 100, ..TopicOptions::default() });
        topic.activate(COMBINED);
        let publish = |len: usize| {
            topic.publish(0, &mut Vec::new(), |lane, _, out| out.resize(out.len() + len + lane.index(), b'x'))
        };
        assert_eq!(publish(100), Err(PublishError::TooLong { lane: COMBINED, bytes: 101 }));
        assert_eq!((topic.last_seq(), topic.log().lane(LaneId::RAW).unwrap().next_seq()), (0, 1));
        assert_eq!(publish(99).unwrap().seq, 1);
    }

    #[test]
    fn a_panic_of_the_encoder_leaves_the_topic_as_it_was() {
        let topic = topic(TopicOptions::default());
        topic.activate(COMBINED);
        let publish = |fail: bool| {
            topic.publish(0, &mut Vec::new(), |lane, _, out| {
                assert!(!fail || lane == LaneId::RAW);
                out.push(b'x');
            })
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| publish(true))).is_err());
        assert_eq!(publish(false).unwrap().seq, 1);
        assert_eq!(topic.log().lane(COMBINED).unwrap().next_seq(), 2);
    }

    #[test]
    fn one_note_per_shard_is_under_way() {
        let topic = topic(TopicOptions::default());
        let (a, b) = (ShardId::new(3), ShardId::new(63));
        let notify = || topic.publish(0, &mut Vec::new(), |_, _, _| ()).unwrap().notify.iter().collect::<Vec<_>>();
        assert_eq!(notify(), []);
        topic.log().join(a);
        topic.log().join(b);
        assert_eq!(notify(), [a, b]);
        assert_eq!(notify(), []);
        topic.log().note_arrived(b);
        assert_eq!(notify(), [b]);
        assert!(topic.log().leave(a), "the first note has not arrived");
    }

    #[test]
    fn time_that_goes_backwards_stands_still() {
        let retention = Retention { entries: u64::MAX, bytes: usize::MAX, age_us: 5_000_000 };
        let topic = topic(TopicOptions { retention, ..TopicOptions::default() });
        for (now_us, len) in [(20_000_000, 5_000), (24_000_000, 10), (30_000_000, 10), (0, 5_000)] {
            topic.publish(now_us, &mut Vec::new(), |_, _, out| out.resize(len, b'x')).unwrap();
        }
        assert_eq!(topic.first_seq(), 2, "the last publish opened a segment, when the first was too old");
        topic.retain(34_000_000);
        assert_eq!(topic.first_seq(), 2);
        topic.retain(36_000_000);
        assert_eq!(topic.first_seq(), 5);
    }
}
