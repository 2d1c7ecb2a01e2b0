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
//!
//! Who wants each entry and is prompt gets runs of the log, and costs a cursor. Everything else (rounds, replay,
//! snapshots, notices) is the slow path, in `serve` and `rounds`; what it makes for one subscriber lives until the turn after, and
//! nothing is ever queued per subscriber.

mod account;
mod feed;
mod framer;
mod journal;
mod made;
mod notes;
mod pull;
mod rounds;
mod serve;
mod snapshot;
mod special;
mod table;
mod wanted;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::ids::{LANES_MAX, LaneId, ShardId, Subscriber, TopicId};
use crate::segment::Span;
use crate::topic::{Log, Topic};

use feed::Feed;
use journal::{Frame, Journal};
use made::Made;
use snapshot::Snapshots;
use special::{Receiving, Special};
use table::{NONE, Table};

pub use account::{Account, Standing};
pub use framer::{Framer, GapReason, Notice, Part, SkipReason};
pub use pull::Pulled;
pub use wanted::{Begin, Mode, SlowPolicy, Start, SubscribeError, Subscribed, Wanted};

/// Why a note names a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Something is pending for it, and nothing was before. It is named once: pull until nothing is pending.
    Ready,
    /// It lags too far, and its policy is [`SlowPolicy::Disconnect`]. It is named once per subscription; pulls say so
    /// as well.
    Slow,
}

/// Bounds of a shard's tables. A subscription takes about 70 bytes, and some 120 more while it is served in rounds, comes
/// from the past or receives a snapshot; a slot takes 20. They are taken when first used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardLimits {
    /// Slots of subscribers: each slot's number is below.
    pub slots_max: u32,
    /// Subscriptions of all subscribers.
    pub subscriptions_max: u32,
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
    snapshots: Snapshots,
    journal: Journal,
    made: Made,
    /// Subscriptions that wait for their next round, by when it may begin.
    waiting: BTreeSet<(u64, u32)>,
    /// Topics whose note is heeded at their next tick, by when that is.
    held: BTreeSet<(u64, TopicId)>,
    scratch: Scratch,
    /// The latest time that the shard was told.
    now_us: u64,
}

/// Working memory of the slow path.
#[derive(Debug, Default)]
struct Scratch {
    /// The segment of a history that was read last in this turn.
    history: Option<(TopicId, Span)>,
    /// An entry of the history.
    entry: Vec<u8>,
    /// Frames that follow a notice.
    bytes: Vec<u8>,
    frames: Vec<Frame>,
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
        Self {
            shard,
            table: Table::new(limits),
            feeds: Vec::new(),
            free_feeds: Vec::new(),
            views: Vec::new(),
            snapshots: Snapshots::default(),
            journal: Journal::default(),
            made: Made::default(),
            waiting: BTreeSet::new(),
            held: BTreeSet::new(),
            scratch: Scratch::default(),
            now_us: 0,
        }
    }

    /// Subscribes `who` to a lane of `topic`, which is active while it has subscribers.
    ///
    /// A subscriber of another generation that still has the slot loses its subscriptions. All topics that a shard
    /// subscribes to are of one hub, which numbers them.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn subscribe(
        &mut self,
        who: Subscriber,
        topic: &Arc<Topic>,
        wanted: &Wanted,
    ) -> Result<Subscribed, SubscribeError> {
        if who.slot >= self.table.limits.slots_max {
            return Err(SubscribeError::SlotOutOfRange);
        }
        if self.table.record(who).is_none() {
            self.clear(who.slot);
        }
        if self.find(who, topic, wanted.lane).is_some() {
            return Err(SubscribeError::AlreadySubscribed);
        }
        if !self.table.has_room() {
            return Err(SubscribeError::TooManySubscriptions);
        }
        let (nth, mut subscribed, snapshot) = self.join(topic, wanted).ok_or(SubscribeError::Gone)?;
        let id = self.table.insert(who, nth, subscribed.seq, wanted.slow);
        let feed = self.feeds[nth as usize].as_mut().expect("the feed was joined");
        let subscription = &mut self.table[id];
        subscription.position = u32::try_from(feed.subscriptions.len()).expect("subscriptions_max fits u32");
        feed.subscriptions.push(id);
        let mut special = Special::new(wanted, topic.options());
        special.is_catching_up = subscription.next < feed.floor;
        special.snapshot = snapshot.map(|snapshot| Receiving { snapshot, part: 0 });
        subscribed.is_ready = snapshot.is_some() || subscription.next < feed.end;
        subscription.special = special.is_needed().then(|| Box::new(special));
        if subscribed.is_ready {
            self.table.push_ready(id);
        }
        topic.count_subscribed();
        Ok(subscribed)
    }

    /// Ends a subscription. Returns how it stood, if there was one. What the last pull of it handed out can no longer be
    /// taken back.
    pub fn unsubscribe(&mut self, who: Subscriber, topic: &Topic, lane: LaneId) -> Option<Standing> {
        let id = self.find(who, topic, lane)?;
        let standing = self.standing(id);
        self.journal.forget(*self.table.pulled_last(who.slot), id);
        self.table.remove(id);
        self.forget(id);
        Some(standing)
    }

    /// Ends all subscriptions of `who`. If it has none, nothing happens.
    pub fn unsubscribe_all(&mut self, who: Subscriber) {
        if self.table.record(who).is_some() {
            self.clear(who.slot);
        }
    }

    /// What became of the entries published for `who`, summed over its subscriptions. It is exact up to publishes that
    /// happen meanwhile.
    pub fn account(&self, who: Subscriber) -> Account {
        let mut sum = Account::default();
        self.accounts(who, |_, _, standing| sum += standing.account);
        sum
    }

    /// Calls `each` with every subscription of `who` and how it stands.
    pub fn accounts(&self, who: Subscriber, mut each: impl FnMut(&Arc<Topic>, LaneId, Standing)) {
        if self.table.record(who).is_none() {
            return;
        }
        for id in self.table.of_slot(who.slot) {
            let feed = self.feed(self.table[id].feed);
            each(&feed.topic, feed.lane, self.standing(id));
        }
    }

    /// Calls `each` with the topics of which `who` has been handed everything, and something since the last call; with
    /// the number of the last entry.
    pub fn caught_up(&mut self, who: Subscriber, mut each: impl FnMut(&Topic, u64)) {
        if self.table.record(who).is_none() {
            return;
        }
        let mut at = self.table.of_slot(who.slot).next();
        while let Some(id) = at {
            at = self.table.sibling(id);
            let subscription = &mut self.table[id];
            let feed = self.feeds[subscription.feed as usize].as_ref().expect("a subscription's feed exists");
            if subscription.next >= feed.end && subscription.has_news && !subscription.is_ready {
                subscription.has_news = false;
                each(&feed.topic, subscription.next - 1);
            }
        }
    }

    fn feed(&self, feed: u32) -> &Feed {
        self.feeds[feed as usize].as_ref().expect("a subscription's feed exists")
    }

    /// The subscription of `who` to a lane of `topic`.
    fn find(&self, who: Subscriber, topic: &Topic, lane: LaneId) -> Option<u32> {
        self.table.record(who)?;
        let view = self.views.get(topic.id().index())?.as_deref()?;
        let feed = view.feeds[lane.index()];
        if feed == NONE || !std::ptr::eq(&*view.topic, topic) {
            return None;
        }
        self.table.of_slot(who.slot).find(|id| self.table[*id].feed == feed)
    }

    fn standing(&self, id: u32) -> Standing {
        let subscription = &self.table[id];
        let (since, gap, skipped) = (subscription.since, subscription.gap, subscription.skipped);
        // A cursor beyond what this thread sees as last cannot be: the shard read it under the lock.
        let published = self.feed(subscription.feed).topic.last_seq() - since;
        let passed = subscription.next - 1 - since;
        let (delivered, pending) = (passed - gap - skipped, published - passed);
        Standing { since, account: Account { published, delivered, skipped, gap, pending } }
    }

    /// The feed that is wanted of a topic, made if need be; with where the subscription begins, and the snapshot that it
    /// begins with. Nothing, if the topic was let go.
    fn join(&mut self, topic: &Arc<Topic>, wanted: &Wanted) -> Option<(u32, Subscribed, Option<u64>)> {
        let (nth, lane) = (topic.id().index(), wanted.lane);
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
        let feed = *feed;
        let mut subscribed = begin(topic, &log, wanted);
        let is_placed = match wanted.start {
            Start::Head => false,
            // Behind the very first entry, or as far back as was asked, nothing is needed that came before.
            Start::First => subscribed.seq == 0,
            Start::Back { .. } => true,
            Start::After { .. } => subscribed.begin == Begin::Resumed,
        };
        let mut snapshot = None;
        if topic.options().is_keyed() && wanted.snapshot && !is_placed {
            let (id, seq) = self.snapshots.begin(feed, &log, 0, self.now_us);
            (snapshot, subscribed.seq) = (Some(id), seq);
        }
        Some((feed, subscribed, snapshot))
    }

    /// Ends all subscriptions of whoever has `slot`.
    fn clear(&mut self, slot: u32) {
        while let Some(id) = self.table.remove_first(slot) {
            self.forget(id);
        }
    }

    /// Subscription `id` was taken off the table: takes it off its feed and wherever else it is known.
    fn forget(&mut self, id: u32) {
        let subscription = &mut self.table[id];
        let (feed, position) = (subscription.feed, subscription.position as usize);
        if let Some(special) = subscription.special.take() {
            self.waiting.remove(&(special.waits_until, id));
            if let Some(receiving) = special.snapshot {
                self.snapshots.leave(receiving.snapshot);
            }
        }
        let subscribers = &mut self.feeds[feed as usize].as_mut().expect("a subscription's feed exists").subscriptions;
        subscribers.swap_remove(position);
        if let Some(moved) = subscribers.get(position) {
            self.table[*moved].position = position as u32;
        }
        let is_last = subscribers.is_empty();
        self.leave(feed, is_last);
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
        self.snapshots.end_feed(feed);
        self.scratch.history = None;
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

/// Where a subscription begins in the log.
fn begin(topic: &Topic, log: &Log, wanted: &Wanted) -> Subscribed {
    let (head, held) = (log.last_seq(), first_held(log, wanted.lane) - 1);
    let (seq, begin) = match wanted.start {
        Start::Head => (head, Begin::New),
        Start::First => (held, Begin::New),
        Start::Back { entries } => (head.saturating_sub(entries).max(held), Begin::New),
        Start::After { epoch, seq } if topic.goes_on_from(epoch, seq) && (held..=head).contains(&seq) => {
            (seq, Begin::Resumed)
        }
        Start::After { .. } => (head, Begin::Reset),
    };
    Subscribed { seq, head, begin, is_ready: false }
}

/// The first entry that the lane or the history holds.
fn first_held(log: &Log, lane: LaneId) -> u64 {
    let history = log.history().first_seq();
    log.lane(lane).map_or(history, |lane| lane.first_seq().min(history))
}

impl View {
    fn new(topic: Arc<Topic>) -> Self {
        Self { topic, feeds: [NONE; LANES_MAX], notes: 0 }
    }

    fn is_empty(&self) -> bool {
        self.feeds.iter().all(|feed| *feed == NONE)
    }
}
