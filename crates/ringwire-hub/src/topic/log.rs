//! What a topic's lock guards: the lanes, the keys, and who is told.

use super::entry::{Appended, Entry, PublishError};
use super::keys::{Keys, Remembered};
use super::options::{Retention, TopicKind};
use crate::ids::{LANES_MAX, LaneId, ShardId, ShardSet};
use crate::lane::Lane;
use crate::segment::Index;

/// A topic's log.
#[derive(Debug)]
pub(crate) struct Log {
    lanes: [Option<Box<Lane>>; LANES_MAX],
    /// For each lane, how many want it kept: shards with subscribers to it, and whoever activated it.
    users: [u32; LANES_MAX],
    last_seq: u64,
    last_us: u64,
    keys: Option<Box<Keys>>,
    /// Made with the first idempotency key.
    remembered: Option<Box<Remembered>>,
    /// Shards with subscribers.
    subscribed: ShardSet,
    /// Shards to which a note is under way.
    noted: ShardSet,
    is_gone: bool,
}

impl Log {
    pub(super) fn new(kind: TopicKind) -> Self {
        let keys = Keys::new(kind).map(Box::new);
        let index = if keys.is_some() { Index::Successors } else { Index::Ends };
        let mut lanes = [const { None }; LANES_MAX];
        lanes[LaneId::HISTORY.index()] = Some(Box::new(Lane::new(1, index)));
        let mut users = [0; LANES_MAX];
        users[LaneId::HISTORY.index()] = 1;
        let (subscribed, noted) = Default::default();
        Self { lanes, users, last_seq: 0, last_us: 0, keys, remembered: None, subscribed, noted, is_gone: false }
    }

    /// Whether `entry` may be appended; if it was already, its number and ticket.
    pub(super) fn check(&self, entry: &Entry<'_>) -> Result<Option<(u64, Option<u64>)>, PublishError> {
        if self.is_gone {
            return Err(PublishError::Gone);
        }
        Remembered::check(entry)?;
        if let Some(answer) = self.remembered.as_ref().and_then(|keys| keys.find(entry.idempotency_key)) {
            return Ok(Some(answer));
        }
        match (&self.keys, entry.subject.key()) {
            (Some(keys), _) => keys.check(entry)?,
            (None, Some(_)) => return Err(PublishError::NotKeyed),
            (None, None) => {}
        }
        Ok(None)
    }

    /// Appends an entry to every lane: `frames` up to each lane's end, from that of the lane before it.
    pub(super) fn append(
        &mut self,
        appended: &Appended<'_>,
        frames: &[u8],
        ends: [usize; LANES_MAX],
        retention: &Retention,
    ) {
        let mut start = 0;
        for (lane, end) in self.lanes.iter_mut().zip(ends) {
            let Some(lane) = lane else { continue };
            lane.append(appended.time_us, &frames[start..end], retention);
            start = end;
        }
        self.count(appended);
    }

    /// Appends an entry of an earlier life to the history lane, which begins anew there if it is not the next one.
    pub(super) fn restore(&mut self, appended: &Appended<'_>, retention: &Retention) {
        if appended.seq != self.last_seq + 1 {
            self.begin_at(appended.seq);
        }
        let history = self.lanes[LaneId::HISTORY.index()].as_mut().expect("the history lane is always active");
        history.append(self.last_us.max(appended.time_us), appended.history, retention);
        self.count(appended);
    }

    /// An entry was appended.
    fn count(&mut self, appended: &Appended<'_>) {
        self.last_us = self.last_us.max(appended.time_us);
        self.last_seq = appended.seq;
        if let Some(before) = self.keys.as_mut().and_then(|keys| keys.apply(appended)) {
            self.history().set_successor(before, appended.seq);
        }
    }

    /// The next entry is `next_seq`: what the lanes hold is not followed by it, and is let go.
    pub(super) fn begin_at(&mut self, next_seq: u64) {
        self.lanes.iter_mut().flatten().for_each(|lane| lane.begin_at(next_seq));
        self.last_seq = next_seq - 1;
    }

    /// Remembers that entry `seq` had this idempotency key.
    pub(super) fn remember(&mut self, key: Option<&str>, seq: u64, ticket: Option<u64>) {
        if key.is_some() {
            self.remembered.get_or_insert_default().insert(key, seq, ticket);
        }
    }

    /// The idempotency keys that are remembered, the oldest first.
    pub(super) fn remembered(&self) -> impl Iterator<Item = (&str, u64)> {
        self.remembered.iter().flat_map(|keys| keys.iter())
    }

    /// Lets go what has become too old. Says whether there was any.
    pub(super) fn retain(&mut self, now_us: u64, retention: &Retention) -> bool {
        let now_us = self.last_us.max(now_us);
        let mut any = false;
        for lane in self.lanes.iter_mut().flatten() {
            any |= lane.retain(now_us, retention);
        }
        any
    }

    pub(crate) fn lane(&self, lane: LaneId) -> Option<&Lane> {
        self.lanes[lane.index()].as_deref()
    }

    pub(crate) fn history(&self) -> &Lane {
        self.lane(LaneId::HISTORY).expect("the history lane is always active")
    }

    pub(crate) fn keys(&self) -> Option<&Keys> {
        self.keys.as_deref()
    }

    pub(crate) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    pub(super) fn last_us(&self) -> u64 {
        self.last_us
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        self.lanes.iter().flatten().map(|lane| lane.allocated_bytes()).sum()
    }

    /// Whether the topic was let go.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Whether nothing would be lost if the topic ended, and nothing was published since `before_us`.
    pub(super) fn is_idle(&self, before_us: u64) -> bool {
        let nobody = self.subscribed.is_empty() && self.noted.is_empty();
        let nothing = self.history().first_seq() > self.last_seq && self.keys().is_none_or(|keys| keys.len() == 0);
        let unused = self.users.iter().sum::<u32>() == 1;
        nobody && nothing && unused && self.last_us <= before_us && !self.is_gone
    }

    /// The topic is let go.
    pub(super) fn end(&mut self) {
        self.is_gone = true;
    }

    /// One more wants `lane` kept.
    pub(super) fn enter(&mut self, lane: LaneId) {
        let next_seq = self.last_seq + 1;
        self.users[lane.index()] += 1;
        self.lanes[lane.index()].get_or_insert_with(|| Box::new(Lane::new(next_seq, Index::Ends)));
    }

    /// One of those wants it no more. Says whether it was the last: the lane was let go.
    pub(super) fn exit(&mut self, lane: LaneId) -> bool {
        self.users[lane.index()] -= 1;
        let is_last = self.users[lane.index()] == 0;
        if is_last {
            self.lanes[lane.index()] = None;
        }
        is_last
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
    pub(super) fn notify(&mut self) -> ShardSet {
        let notify = self.subscribed.without(self.noted);
        self.noted = self.noted.union(notify);
        notify
    }
}
