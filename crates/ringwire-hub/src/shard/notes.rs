//! What wakes subscribers: notes, ticks of topics, and intervals that are over.
//!
//! A topic that ticks has its note heeded at the next multiple of its `tick_us`, on every shard at the same instants;
//! until then the note is under way, so publishers send no other. A subscriber that wants rounds no closer than an
//! interval waits in a list by when it is due, and is in no other.

use crate::ids::{LANES_MAX, Subscriber, TopicId};

use super::feed::Feed;
use super::special::Special;
use super::table::{NONE, Subscription, Table};
use super::wanted::SlowPolicy;
use super::{ShardHub, Wake};

impl ShardHub {
    /// A note of `topic` has arrived: looks at the log's end, and calls `wake` for each subscriber that must hear of
    /// it. Who is first changes from note to note, so that nobody is always last. If the topic ticks, this waits for
    /// [`due`](Self::due).
    pub fn note(&mut self, topic: TopicId, now_us: u64, mut wake: impl FnMut(Subscriber, Wake)) {
        self.now_us = self.now_us.max(now_us);
        let Some(Some(view)) = self.views.get(topic.index()) else { return };
        match view.topic.options().tick_us {
            tick_us if tick_us > 0 && !now_us.is_multiple_of(tick_us) && !view.is_empty() => {
                self.held.insert(((now_us / tick_us).saturating_add(1).saturating_mul(tick_us), topic));
            }
            _ => self.heed(topic, &mut wake),
        }
    }

    /// When [`due`](Self::due) is to be called, in microseconds, if nothing else happens.
    pub fn next_due(&self) -> Option<u64> {
        let rounds = self.waiting.first().map(|(at_us, _)| *at_us);
        let ticks = self.held.first().map(|(at_us, _)| *at_us);
        [rounds, ticks, self.snapshots.next_expiry()].into_iter().flatten().min()
    }

    /// Time has passed: calls `wake` as [`note`](Self::note) does, for topics that tick and subscribers whose interval is
    /// over.
    pub fn due(&mut self, now_us: u64, mut wake: impl FnMut(Subscriber, Wake)) {
        self.now_us = self.now_us.max(now_us);
        while self.held.first().is_some_and(|(at_us, _)| *at_us <= now_us) {
            let (_, topic) = self.held.pop_first().expect("it was there");
            self.heed(topic, &mut wake);
        }
        while self.waiting.first().is_some_and(|(at_us, _)| *at_us <= now_us) {
            let (_, id) = self.waiting.pop_first().expect("it was there");
            let subscription = &mut self.table[id];
            subscription.special.as_mut().expect("only special ones wait").waits_until = 0;
            if !subscription.is_ready
                && let Some(who) = self.table.push_ready(id)
            {
                wake(who, Wake::Ready);
            }
        }
        self.snapshots.expire(now_us);
    }

    /// What was pulled so far has been sent, or rewound. To be called in each turn before its pulls: what a turn makes
    /// is bounded, and its memory is used again from here on.
    pub fn end_turn(&mut self, now_us: u64) {
        self.now_us = self.now_us.max(now_us);
        self.journal.clear();
        self.made.end_turn();
        self.scratch.history = None;
        if self.snapshots.len() > 0 {
            self.snapshots.expire(now_us);
        }
    }

    /// Looks at the log's end, and wakes who must hear of it.
    fn heed(&mut self, topic: TopicId, wake: &mut impl FnMut(Subscriber, Wake)) {
        let Some(view) = self.views.get_mut(topic.index()).and_then(Option::as_mut) else { return };
        let (mut feeds, mut count) = ([NONE; LANES_MAX], 0);
        {
            let mut log = view.topic.log();
            log.note_arrived(self.shard);
            for feed in view.feeds.iter().filter(|feed| **feed != NONE) {
                self.feeds[*feed as usize].as_mut().expect("a view's feed exists").refresh(&log);
                feeds[count] = *feed;
                count += 1;
            }
        }
        if count == 0 {
            self.views[topic.index()] = None;
            return;
        }
        view.notes = view.notes.wrapping_add(1);
        let feed = |nth: usize| self.feeds[feeds[nth] as usize].as_ref().expect("a view's feed exists");
        let total: usize = (0..count).map(|nth| feed(nth).subscriptions.len()).sum();
        // Multiples of the golden ratio spread the starting points evenly, however many notes and subscribers there are.
        let turn = u64::from(view.notes.wrapping_mul(0x9E37_79B9));
        let mut first = ((turn * total as u64) >> 32) as usize;
        let mut nth = 0;
        while first >= feed(nth).subscriptions.len() {
            first -= feed(nth).subscriptions.len();
            nth += 1;
        }
        let table = &mut self.table;
        let mut announce = |feed: &Feed, ids: &[u32]| ids.iter().for_each(|id| announce(table, feed, *id, wake));
        // From the first one on, through all lanes, around to the one before it.
        announce(feed(nth), &feed(nth).subscriptions[first..]);
        for each in (nth + 1..count).chain(0..nth) {
            announce(feed(each), &feed(each).subscriptions);
        }
        announce(feed(nth), &feed(nth).subscriptions[..first]);
    }
}

/// Makes a subscriber of `feed` ready if it is behind the end, and names it if it must hear of it.
fn announce(table: &mut Table, feed: &Feed, id: u32, wake: &mut impl FnMut(Subscriber, Wake)) {
    let subscription = &mut table[id];
    if subscription.next >= feed.end {
        return;
    }
    if subscription.is_ready {
        if is_slow(subscription, feed) && !subscription.is_reported {
            subscription.is_reported = true;
            wake(table.subscriber(id), Wake::Slow);
        }
        return;
    }
    let waits = subscription.special.as_ref().is_some_and(|special| special.waits_until > 0);
    if !waits && let Some(who) = table.push_ready(id) {
        wake(who, Wake::Ready);
    }
}

/// Whether it lags so far that it is to be disconnected.
fn is_slow(subscription: &Subscription, feed: &Feed) -> bool {
    subscription.policy == SlowPolicy::Disconnect
        && match subscription.special.as_deref() {
            None => subscription.next < feed.floor,
            Some(Special { is_latest: true, .. }) => false,
            Some(special) if special.is_catching_up || special.is_always_conflated() => subscription.next < feed.first,
            Some(_) => subscription.next < feed.floor,
        }
}
