//! A shard's side of the hub: who subscribes to what, who is to be served, and with which bytes.
//!
//! One value per shard, used by its thread alone. It holds a *feed* per topic and lane that the shard has subscribers
//! of: the shard's view of that log's end, renewed under the topic's lock once per note. Between notes, nothing is
//! locked while subscribers read what the view covers; only one that lags behind it looks its segment up in the log.
//!
//! The life of a message here: [`note`](ShardHub::note) wakes each subscriber that had nothing pending, once; the
//! caller then [`pull`](ShardHub::pull)s for it whenever its socket can take more, until a pull says that no more is
//! pending. What the kernel did not take goes back into the log by [`rewind`](ShardHub::rewind), but for the rest of
//! an entry that has begun.

mod feed;
mod pull;
mod table;

use std::fmt;
use std::sync::Arc;

use crate::ids::{LANES_MAX, LaneId, ShardId, Subscriber, TopicId};
use crate::topic::Topic;

use feed::Feed;
use table::{NONE, Table};

pub use pull::Pulled;

/// What happens to a subscriber that lags behind what its topic keeps or allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowPolicy {
    /// Its cursor jumps to the log's end; what it missed is counted as its gap.
    Drop,
    /// It is to be disconnected: notes and pulls say so.
    Disconnect,
}

/// Why a note names a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Something is pending for it, and nothing was before. It is named once: pull until nothing is pending.
    Ready,
    /// It lags too far, and its policy is [`SlowPolicy::Disconnect`]. It is named once per subscription; pulls say so
    /// as well.
    Slow,
}

/// Bounds of a shard's tables. A subscription takes about 70 bytes, a slot 20, and they are taken when first used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardLimits {
    /// Slots of subscribers: each slot's number is below.
    pub slots_max: u32,
    /// Subscriptions of all subscribers.
    pub subscriptions_max: u32,
}

/// What became of the entries that were published since a subscriber subscribed, summed over its subscriptions:
/// `delivered + gap + pending = published`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Entries published.
    pub published: u64,
    /// Entries handed out by pulls and not taken back by rewinds.
    pub delivered: u64,
    /// Entries it does not get, as it was too slow.
    pub gap: u64,
    /// Entries it can still get.
    pub pending: u64,
}

/// The subscriptions of one shard.
#[derive(Debug)]
pub struct ShardHub {
    shard: ShardId,
    table: Table,
    feeds: Vec<Option<Feed>>,
    free_feeds: Vec<u32>,
    /// By [`TopicId`].
    views: Vec<Option<Box<View>>>,
}

/// A topic that the shard has subscribers of, or is yet to receive a note for.
#[derive(Debug)]
struct View {
    topic: Arc<Topic>,
    /// Index of each lane's feed, or [`NONE`].
    feeds: [u32; LANES_MAX],
    /// Notes received: it rotates who is served first.
    notes: u32,
}

impl ShardHub {
    /// The side of shard `shard`, without subscribers.
    pub fn new(shard: ShardId, limits: ShardLimits) -> Self {
        Self { shard, table: Table::new(limits), feeds: Vec::new(), free_feeds: Vec::new(), views: Vec::new() }
    }

    /// Subscribes `who` to a lane of `topic`, which is active while it has subscribers. Returns the number of the last entry
    /// before the subscription: those after it are delivered.
    ///
    /// A subscriber of another generation that still has the slot loses its subscriptions. All topics that a shard
    /// subscribes to are of one hub, which numbers them.
    pub fn subscribe(
        &mut self,
        who: Subscriber,
        topic: &Arc<Topic>,
        lane: LaneId,
        policy: SlowPolicy,
    ) -> Result<u64, SubscribeError> {
        if who.slot >= self.table.limits.slots_max {
            return Err(SubscribeError::SlotOutOfRange);
        }
        if self.table.record(who).is_none() {
            self.clear(who.slot);
        }
        let feed =
            self.views.get(topic.id().index()).and_then(Option::as_deref).map_or(NONE, |v| v.feeds[lane.index()]);
        if feed != NONE && self.table.of_slot(who.slot).any(|id| self.table[id].feed == feed) {
            return Err(SubscribeError::AlreadySubscribed);
        }
        if !self.table.has_room() {
            return Err(SubscribeError::TooManySubscriptions);
        }
        let (feed, last_seq) = self.join(topic, lane).ok_or(SubscribeError::Gone)?;
        let id = self.table.insert(who, feed, last_seq, policy);
        let subscribers = &mut self.feeds[feed as usize].as_mut().expect("the feed was joined").subscriptions;
        self.table[id].position = u32::try_from(subscribers.len()).expect("subscriptions_max fits u32");
        subscribers.push(id);
        topic.count_subscribed();
        Ok(last_seq)
    }

    /// Ends all subscriptions of `who`. If it has none, nothing happens.
    pub fn unsubscribe_all(&mut self, who: Subscriber) {
        if self.table.record(who).is_some() {
            self.clear(who.slot);
        }
    }

    /// A note of `topic` has arrived: looks at the log's end, and calls `wake` for each subscriber that must hear of
    /// it. Who is first changes from note to note, so that nobody is always last.
    pub fn note(&mut self, topic: TopicId, mut wake: impl FnMut(Subscriber, Wake)) {
        let Some(view) = self.views.get_mut(topic.index()).and_then(Option::as_mut) else { return };
        {
            let mut log = view.topic.log();
            log.note_arrived(self.shard);
            for feed in view.feeds.iter().filter(|feed| **feed != NONE) {
                self.feeds[*feed as usize].as_mut().expect("a view's feed exists").refresh(&log);
            }
        }
        if view.is_empty() {
            self.views[topic.index()] = None;
            return;
        }
        view.notes = view.notes.wrapping_add(1);
        for lane in 0..LANES_MAX {
            let feed = view.feeds[(lane + view.notes as usize) % LANES_MAX];
            if feed != NONE {
                let feed = self.feeds[feed as usize].as_ref().expect("a view's feed exists");
                announce(&mut self.table, feed, view.notes, &mut wake);
            }
        }
    }

    /// What became of the entries published for `who`. It is exact up to publishes that happen meanwhile.
    pub fn account(&self, who: Subscriber) -> Account {
        let mut sum = Account::default();
        if self.table.record(who).is_none() {
            return sum;
        }
        for id in self.table.of_slot(who.slot) {
            let subscription = &self.table[id];
            let feed = self.feeds[subscription.feed as usize].as_ref().expect("a subscription's feed exists");
            // A cursor beyond what this thread sees as last cannot be: the shard read it under the lock.
            let published = feed.topic.last_seq() - subscription.since;
            let passed = subscription.next - 1 - subscription.since;
            sum.published += published;
            sum.delivered += passed - subscription.gap;
            sum.gap += subscription.gap;
            sum.pending += published - passed;
        }
        sum
    }

    /// The view and the feed of a topic's lane, made if need be; with the number of the topic's last entry. Nothing, if
    /// the topic was let go.
    fn join(&mut self, topic: &Arc<Topic>, lane: LaneId) -> Option<(u32, u64)> {
        let nth = topic.id().index();
        if self.views.len() <= nth {
            self.views.resize_with(nth + 1, || None);
        }
        let mut log = topic.log();
        if log.is_gone() {
            return None;
        }
        let view = self.views[nth].get_or_insert_with(|| Box::new(View::new(Arc::clone(topic))));
        debug_assert!(Arc::ptr_eq(&view.topic, topic), "all topics of a shard are of one hub");
        log.join(self.shard);
        let feed = &mut view.feeds[lane.index()];
        if *feed == NONE {
            topic.enter(&mut log, lane);
            let new = Some(Feed::new(topic, lane, &log));
            *feed = if let Some(free) = self.free_feeds.pop() {
                self.feeds[free as usize] = new;
                free
            } else {
                self.feeds.push(new);
                u32::try_from(self.feeds.len() - 1).expect("subscriptions_max fits u32")
            };
        }
        Some((*feed, log.last_seq()))
    }

    /// Ends all subscriptions of whoever has `slot`.
    fn clear(&mut self, slot: u32) {
        while let Some(id) = self.table.remove_first(slot) {
            let (feed, position) = (self.table[id].feed, self.table[id].position as usize);
            let subscribers =
                &mut self.feeds[feed as usize].as_mut().expect("a subscription's feed exists").subscriptions;
            subscribers.swap_remove(position);
            if let Some(moved) = subscribers.get(position) {
                self.table[*moved].position = position as u32;
            }
            let is_last = subscribers.is_empty();
            self.leave(feed, is_last);
        }
    }

    /// A subscription of `feed` has ended.
    fn leave(&mut self, feed: u32, is_last: bool) {
        let slot = &mut self.feeds[feed as usize];
        let of = slot.as_ref().expect("a subscription's feed exists");
        of.topic.count_unsubscribed();
        if !is_last {
            return;
        }
        let (nth, lane) = (of.topic.id().index(), of.lane);
        *slot = None;
        self.free_feeds.push(feed);
        let view = self.views[nth].as_mut().expect("a feed's view exists");
        view.feeds[lane.index()] = NONE;
        let mut log = view.topic.log();
        view.topic.exit(&mut log, lane);
        let is_forgotten = view.is_empty() && !log.leave(self.shard);
        drop(log);
        if is_forgotten {
            self.views[nth] = None;
        }
        // Else the view waits for the note that is under way: only its arrival allows the next one.
    }
}

/// Makes the subscribers of `feed` ready that are behind its end, and names those that must hear of it.
fn announce(table: &mut Table, feed: &Feed, notes: u32, wake: &mut impl FnMut(Subscriber, Wake)) {
    // Multiples of the golden ratio spread the starting points evenly, however many notes and subscribers there are.
    let turn = u64::from(notes.wrapping_mul(0x9E37_79B9));
    let first = ((turn * feed.subscriptions.len() as u64) >> 32) as usize;
    let (after, before) = feed.subscriptions.split_at(first);
    for id in before.iter().chain(after) {
        let subscription = &mut table[*id];
        if subscription.next >= feed.end {
            continue;
        }
        if !subscription.is_ready {
            if let Some(who) = table.push_ready(*id) {
                wake(who, Wake::Ready);
            }
        } else if subscription.next < feed.floor
            && subscription.policy == SlowPolicy::Disconnect
            && !subscription.is_reported
        {
            subscription.is_reported = true;
            wake(table.subscriber(*id), Wake::Slow);
        }
    }
}

impl View {
    fn new(topic: Arc<Topic>) -> Self {
        Self { topic, feeds: [NONE; LANES_MAX], notes: 0 }
    }

    fn is_empty(&self) -> bool {
        self.feeds.iter().all(|feed| *feed == NONE)
    }
}

/// Why a subscription was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeError {
    /// The subscriber has the topic's lane already.
    AlreadySubscribed,
    /// The shard has `subscriptions_max` subscriptions.
    TooManySubscriptions,
    /// The slot's number is not below `slots_max`.
    SlotOutOfRange,
    /// The topic was let go: who opens its name again gets another.
    Gone,
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlreadySubscribed => "it is subscribed to this topic already",
            Self::TooManySubscriptions => "the shard has as many subscriptions as it may have",
            Self::SlotOutOfRange => "the slot is beyond those of the shard's table",
            Self::Gone => "the topic was let go while it was idle: subscribe again",
        })
    }
}

impl std::error::Error for SubscribeError {}
