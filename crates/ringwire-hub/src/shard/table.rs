//! Slabs of subscribers and subscriptions, and the lists through them.
//!
//! A subscription is one cache line; its lists go through it, so a subscriber costs no allocation of its own: the
//! subscriptions of a slot, and those of them that are ready (first in, first out).

use std::ops::{Index, IndexMut};

use crate::ids::Subscriber;

use super::special::Special;
use super::{ShardLimits, SlowPolicy};

/// No index.
pub(super) const NONE: u32 = u32::MAX;

/// A cursor and its account.
#[derive(Debug)]
pub(super) struct Subscription {
    /// The cursor: number of the next entry.
    pub(super) next: u64,
    /// Number of the last entry before the subscription.
    pub(super) since: u64,
    /// Entries that later ones took the place of, or that were too old.
    pub(super) skipped: u64,
    /// Entries it was too slow for.
    pub(super) gap: u64,
    /// How it is served otherwise than with each entry at once.
    pub(super) special: Option<Box<Special>>,
    pub(super) feed: u32,
    /// Index in the feed's list.
    pub(super) position: u32,
    pub(super) slot: u32,
    /// The next one of the same slot; if free, of the free ones.
    sibling: u32,
    ready_next: u32,
    pub(super) policy: SlowPolicy,
    /// It is in the slot's list of ready ones: something may be pending.
    pub(super) is_ready: bool,
    /// That it is to be disconnected was said.
    pub(super) is_reported: bool,
    /// Something was handed out since [`caught_up`](super::ShardHub::caught_up) named it.
    pub(super) has_news: bool,
}

/// A slot.
#[derive(Debug)]
pub(super) struct Record {
    generation: u32,
    first: u32,
    ready_head: u32,
    ready_tail: u32,
    pulled_last: u32,
}

/// Both slabs.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) limits: ShardLimits,
    records: Vec<Record>,
    subscriptions: Vec<Subscription>,
    free: u32,
}

impl Table {
    pub(super) fn new(limits: ShardLimits) -> Self {
        // The last index is not one, as it means none.
        let subscriptions_max = limits.subscriptions_max.min(NONE - 1);
        let limits = ShardLimits { subscriptions_max, ..limits };
        Self { limits, records: Vec::new(), subscriptions: Vec::new(), free: NONE }
    }

    pub(super) fn has_room(&self) -> bool {
        self.free != NONE || self.subscriptions.len() < self.limits.subscriptions_max as usize
    }

    /// The slot of `who`, if it is of that generation.
    pub(super) fn record(&self, who: Subscriber) -> Option<&Record> {
        self.records.get(who.slot as usize).filter(|record| record.generation == who.generation)
    }

    /// Subscriptions of a slot.
    pub(super) fn of_slot(&self, slot: u32) -> impl Iterator<Item = u32> {
        let some = |id: u32| Some(id).filter(|id| *id != NONE);
        let first = self.records.get(slot as usize).and_then(|record| some(record.first));
        std::iter::successors(first, move |id| some(self[*id].sibling))
    }

    /// The subscription of the same slot that comes after `id`.
    pub(super) fn sibling(&self, id: u32) -> Option<u32> {
        Some(self[id].sibling).filter(|id| *id != NONE)
    }

    /// Who has subscription `id`.
    pub(super) fn subscriber(&self, id: u32) -> Subscriber {
        let slot = self[id].slot;
        Subscriber { slot, generation: self.records[slot as usize].generation }
    }

    /// Adds a subscription, to which entries after `since` belong. There is room for it, and the slot is free or of
    /// the same generation.
    pub(super) fn insert(&mut self, who: Subscriber, feed: u32, since: u64, policy: SlowPolicy) -> u32 {
        let slots = self.records.len().max(who.slot as usize + 1);
        self.records.resize_with(slots, Record::default);
        let record = &mut self.records[who.slot as usize];
        record.generation = who.generation;
        let subscription = Subscription {
            next: since + 1,
            since,
            skipped: 0,
            gap: 0,
            special: None,
            feed,
            position: 0,
            slot: who.slot,
            sibling: record.first,
            ready_next: NONE,
            policy,
            is_ready: false,
            is_reported: false,
            has_news: false,
        };
        let id = self.free;
        if id == NONE {
            record.first = u32::try_from(self.subscriptions.len()).expect("subscriptions_max is below NONE");
            self.subscriptions.push(subscription);
        } else {
            record.first = id;
            self.free = self.subscriptions[id as usize].sibling;
            self.subscriptions[id as usize] = subscription;
        }
        self.records[who.slot as usize].first
    }

    /// Frees a subscription of `slot` and returns it, for the caller to take it off its feed before anything else is
    /// inserted. With the first one, all lists of the slot end: the caller removes the others as well.
    pub(super) fn remove_first(&mut self, slot: u32) -> Option<u32> {
        let record = self.records.get_mut(slot as usize)?;
        let id = std::mem::replace(&mut record.first, NONE);
        (record.ready_head, record.ready_tail, record.pulled_last) = (NONE, NONE, NONE);
        if id == NONE {
            return None;
        }
        let subscription = &mut self.subscriptions[id as usize];
        record.first = std::mem::replace(&mut subscription.sibling, self.free);
        self.free = id;
        Some(id)
    }

    /// Takes subscription `id` off all lists and frees it, for the caller to take it off its feed before anything else
    /// is inserted.
    pub(super) fn remove(&mut self, id: u32) {
        let slot = self[id].slot;
        let next = self[id].sibling;
        let before = self.of_slot(slot).find(|each| self[*each].sibling == id);
        let ready: Vec<u32> = self.ready(slot).filter(|each| *each != id).collect();
        let record = &mut self.records[slot as usize];
        (record.ready_head, record.ready_tail) = (NONE, NONE);
        match before {
            Some(before) => self[before].sibling = next,
            None => record.first = next,
        }
        ready.into_iter().for_each(|each| _ = self.push_ready(each));
        self[id].is_ready = false;
        self[id].sibling = std::mem::replace(&mut self.free, id);
    }

    /// The ready subscriptions of a slot.
    fn ready(&self, slot: u32) -> impl Iterator<Item = u32> {
        let some = |id: u32| Some(id).filter(|id| *id != NONE);
        let first = some(self.records[slot as usize].ready_head);
        std::iter::successors(first, move |id| some(self[*id].ready_next))
    }

    /// The ready subscription of a slot whose turn it is.
    pub(super) fn first_ready(&self, slot: u32) -> Option<u32> {
        Some(self.records[slot as usize].ready_head).filter(|id| *id != NONE)
    }

    /// Puts a subscription last among the ready ones of its slot; it is not there yet. Returns whose it is, if it is
    /// the only one.
    pub(super) fn push_ready(&mut self, id: u32) -> Option<Subscriber> {
        let subscription = &mut self.subscriptions[id as usize];
        (subscription.is_ready, subscription.ready_next) = (true, NONE);
        let slot = subscription.slot;
        let record = &mut self.records[slot as usize];
        let last = std::mem::replace(&mut record.ready_tail, id);
        if last == NONE {
            record.ready_head = id;
            return Some(Subscriber { slot, generation: record.generation });
        }
        self.subscriptions[last as usize].ready_next = id;
        None
    }

    /// Puts a subscription first among the ready ones of its slot, if it is not there.
    pub(super) fn push_ready_first(&mut self, id: u32) {
        let subscription = &mut self.subscriptions[id as usize];
        if std::mem::replace(&mut subscription.is_ready, true) {
            return;
        }
        let record = &mut self.records[subscription.slot as usize];
        subscription.ready_next = std::mem::replace(&mut record.ready_head, id);
        if record.ready_tail == NONE {
            record.ready_tail = id;
        }
    }

    /// Takes the first ready subscription of a slot off the list.
    pub(super) fn pop_ready(&mut self, slot: u32) {
        let record = &mut self.records[slot as usize];
        let subscription = &mut self.subscriptions[record.ready_head as usize];
        subscription.is_ready = false;
        record.ready_head = subscription.ready_next;
        if record.ready_head == NONE {
            record.ready_tail = NONE;
        }
    }

    /// The last piece of the slot's last pull, in the shard's journal; [`NONE`] if there is none.
    pub(super) fn pulled_last(&mut self, slot: u32) -> &mut u32 {
        &mut self.records[slot as usize].pulled_last
    }
}

impl Default for Record {
    fn default() -> Self {
        Self { generation: 0, first: NONE, ready_head: NONE, ready_tail: NONE, pulled_last: NONE }
    }
}

impl Index<u32> for Table {
    type Output = Subscription;

    fn index(&self, id: u32) -> &Subscription {
        &self.subscriptions[id as usize]
    }
}

impl IndexMut<u32> for Table {
    fn index_mut(&mut self, id: u32) -> &mut Subscription {
        &mut self.subscriptions[id as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_is_one_cache_line_and_a_slot_a_third() {
        assert_eq!((size_of::<Subscription>(), size_of::<Record>()), (64, 20));
        assert!(size_of::<Special>() <= 112);
    }

    #[test]
    fn ready_ones_are_served_in_the_order_they_became_so() {
        let mut table = Table::new(ShardLimits { slots_max: 10, subscriptions_max: 10 });
        let who = Subscriber { slot: 3, generation: 9 };
        let ids: Vec<u32> = (0..4).map(|feed| table.insert(who, feed, 0, SlowPolicy::Drop)).collect();
        assert_eq!(table.push_ready(ids[2]), Some(who));
        assert_eq!(table.push_ready(ids[0]), None);
        table.push_ready_first(ids[3]);
        table.push_ready_first(ids[0]);
        let mut order = Vec::new();
        while let Some(id) = table.first_ready(3) {
            order.push(id);
            table.pop_ready(3);
        }
        assert_eq!(order, [ids[3], ids[2], ids[0]]);
        assert_eq!(table.push_ready(ids[1]), Some(who), "the list is whole after it was empty");
    }

    #[test]
    fn what_is_freed_is_used_again() {
        let mut table = Table::new(ShardLimits { slots_max: 10, subscriptions_max: 3 });
        for generation in 0..5 {
            for feed in 0..3 {
                assert!(table.has_room());
                table.insert(Subscriber { slot: 1, generation }, feed, 0, SlowPolicy::Drop);
            }
            assert!(!table.has_room());
            assert_eq!(table.of_slot(1).count(), 3);
            while table.remove_first(1).is_some() {}
        }
        assert_eq!(table.subscriptions.len(), 3);
    }
}
