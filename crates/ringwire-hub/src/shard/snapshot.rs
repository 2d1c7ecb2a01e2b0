//! Snapshots that are being received: the state of a keyed topic, as ready frames of one lane.
//!
//! A snapshot is shared by all who begin within [`SHARED_FOR_US`], and by who comes later, as long as what came since
//! is held by the log and is no more than another snapshot would be. Taking the state clones references under the
//! topic's lock; frames are made part by part, as the first of the receivers comes to them.
//!
//! A receiver holds the number of its snapshot, not the snapshot: at most [`PER_LANE_MAX`] of a lane exist at a time, so
//! that memory does not grow with the number of receivers that read slowly. Who finds its snapshot gone begins again
//! with another; that happens only if the log has moved on by more than it keeps since.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::framer::{Framer, Part};
use super::made::{copy_in, piece};
use crate::ids::LaneId;
use crate::topic::{Key, Log, Topic};

/// How long a snapshot is the one for whoever begins, in microseconds.
pub(super) const SHARED_FOR_US: u64 = 100_000;
/// Bytes of the history that go into one part, but for one key that has more. A receiver whose socket has taken a part of
/// it holds the rest.
const PART_BYTES: usize = 4 * 1024;
/// Snapshots of a topic's lane, on one shard.
const PER_LANE_MAX: usize = 2;

/// The snapshots of a shard.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    by_id: BTreeMap<u64, Snapshot>,
    /// Those of a feed, the newest last.
    by_feed: BTreeMap<u32, Vec<u64>>,
    last_id: u64,
    /// When each stops being the one for whoever begins.
    expiring: VecDeque<(u64, u64)>,
    /// Those that may have lost their last receiver.
    left: Vec<u64>,
}

/// The state of a topic in one lane.
#[derive(Debug)]
struct Snapshot {
    feed: u32,
    /// The state is that after this entry.
    seq: u64,
    made_us: u64,
    receivers: u32,
    keys: Vec<Key>,
    /// Keys that are in parts.
    framed: usize,
    parts: Vec<Frames>,
}

/// Frames of a part.
#[derive(Clone, Debug)]
pub(super) struct Frames {
    pub(super) words: Arc<[AtomicU64]>,
    pub(super) bytes: u32,
    /// No part follows.
    pub(super) is_last: bool,
}

impl Snapshots {
    /// A snapshot for `feed`, which is of `topic`, not older than entry `min_seq`: another receiver's or a new one.
    /// Returns its number and that of the last entry in it.
    pub(super) fn begin(&mut self, feed: u32, log: &Log, min_seq: u64, now_us: u64) -> (u64, u64) {
        // What follows it must be in the history, which knows the successors.
        let first = log.history().first_seq();
        let keys = log.keys().map_or(0, |keys| keys.len() as u64);
        let ids = self.by_feed.entry(feed).or_default();
        ids.retain(|id| self.by_id.contains_key(id));
        let held = ids.last().copied().filter(|id| self.by_id[id].seq + 1 >= first.max(min_seq + 1));
        let shared = held.filter(|id| {
            let snapshot = &self.by_id[id];
            let is_young = now_us.saturating_sub(snapshot.made_us) <= SHARED_FOR_US;
            let is_near = log.last_seq() - snapshot.seq <= keys;
            is_young || is_near || ids.len() >= PER_LANE_MAX
        });
        let id = shared.unwrap_or_else(|| self.take(feed, log, now_us));
        let snapshot = self.by_id.get_mut(&id).expect("it was found or taken");
        snapshot.receivers += 1;
        (id, snapshot.seq)
    }

    /// Takes the topic's state.
    fn take(&mut self, feed: u32, log: &Log, now_us: u64) -> u64 {
        self.last_id += 1;
        let keys: Vec<Key> = log.keys().into_iter().flat_map(|keys| keys.iter()).map(Key::of).collect();
        let (seq, made_us) = (log.last_seq(), now_us);
        let snapshot = Snapshot { feed, seq, made_us, receivers: 0, keys, framed: 0, parts: Vec::new() };
        let ids = self.by_feed.entry(feed).or_default();
        if ids.len() >= PER_LANE_MAX {
            self.by_id.remove(&ids.remove(0));
        }
        ids.push(self.last_id);
        self.by_id.insert(self.last_id, snapshot);
        self.expiring.push_back((now_us.saturating_add(SHARED_FOR_US), self.last_id));
        self.last_id
    }

    /// Part `part` of a snapshot, framed if nobody has come to it before. Nothing, if the snapshot is gone.
    pub(super) fn part(
        &mut self,
        id: u64,
        part: u32,
        lane: LaneId,
        topic: &Topic,
        framer: &mut impl Framer,
    ) -> Option<Frames> {
        let snapshot = self.by_id.get_mut(&id)?;
        while snapshot.parts.len() <= part as usize {
            snapshot.frame_next(lane, topic, framer);
        }
        Some(snapshot.parts[part as usize].clone())
    }

    /// One more is receiving it, again.
    pub(super) fn enter(&mut self, id: u64) {
        if let Some(snapshot) = self.by_id.get_mut(&id) {
            snapshot.receivers += 1;
        }
    }

    /// One of its receivers is no more.
    pub(super) fn leave(&mut self, id: u64) {
        if let Some(snapshot) = self.by_id.get_mut(&id) {
            snapshot.receivers -= 1;
            if snapshot.receivers == 0 {
                self.left.push(id);
            }
        }
    }

    /// The feed has ended.
    pub(super) fn end_feed(&mut self, feed: u32) {
        for id in self.by_feed.remove(&feed).unwrap_or_default() {
            self.by_id.remove(&id);
        }
    }

    /// When the next one stops being the one for whoever begins.
    pub(super) fn next_expiry(&self) -> Option<u64> {
        self.expiring.front().map(|(at_us, _)| *at_us)
    }

    /// Lets go those that nobody receives and nobody will.
    pub(super) fn expire(&mut self, now_us: u64) {
        while let Some((_, id)) = self.expiring.front().copied().filter(|(at_us, _)| *at_us <= now_us) {
            self.expiring.pop_front();
            self.left.push(id);
        }
        for id in std::mem::take(&mut self.left) {
            let Some(snapshot) = self.by_id.get(&id) else { continue };
            if snapshot.receivers == 0 && snapshot.made_us.saturating_add(SHARED_FOR_US) <= now_us {
                let feed = snapshot.feed;
                self.by_id.remove(&id);
                if let Some(ids) = self.by_feed.get_mut(&feed) {
                    ids.retain(|each| *each != id);
                    if ids.is_empty() {
                        self.by_feed.remove(&feed);
                    }
                }
            }
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}

impl Snapshot {
    fn frame_next(&mut self, lane: LaneId, topic: &Topic, framer: &mut impl Framer) {
        let rest = &self.keys[self.framed..];
        let mut bytes = 0;
        let fit = rest.iter().take_while(|key| {
            bytes += key.history.len();
            bytes <= PART_BYTES
        });
        let count = fit.count().max(1).min(rest.len());
        let part = Part { first: self.framed == 0, last: count == rest.len() };
        let mut out = Vec::new();
        framer.snapshot(lane, topic, self.seq, &rest[..count], part, &mut out);
        self.framed += count;
        if part.last {
            (self.keys, self.framed) = (Vec::new(), 0);
        }
        let words = piece(out.len().div_ceil(8));
        copy_in(&out, &words);
        let bytes = u32::try_from(out.len()).expect("a part is below 4 GiB");
        self.parts.push(Frames { words, bytes, is_last: part.last });
    }
}
