//! Notes that a full mailbox refused, until it takes them.
//!
//! A note must not be lost: until it has arrived, the topic sends its shard no other
//! ([`Published::notify`](ringwire_hub::Published)). So a sender keeps what was refused and posts it again before it
//! rests. At most one note per topic and shard is under way, which bounds what is kept.

use std::collections::VecDeque;

use ringwire_hub::{ShardId, ShardSet};

/// Keeps mail of type `M` that could not be posted.
#[derive(Debug)]
pub struct Outbox<M> {
    waiting: VecDeque<(ShardId, M)>,
}

impl<M> Default for Outbox<M> {
    fn default() -> Self {
        Self { waiting: VecDeque::new() }
    }
}

impl<M> Outbox<M> {
    /// Posts a mail made by `make` to each of `shards`, through `post`, which hands back what it cannot take.
    pub fn send(&mut self, shards: ShardSet, make: impl Fn() -> M, mut post: impl FnMut(ShardId, M) -> Result<(), M>) {
        for shard in shards.iter() {
            if let Err(refused) = post(shard, make()) {
                self.waiting.push_back((shard, refused));
            }
        }
    }

    /// Posts again what waits.
    pub fn retry(&mut self, mut post: impl FnMut(ShardId, M) -> Result<(), M>) {
        for _ in 0..self.waiting.len() {
            let Some((shard, mail)) = self.waiting.pop_front() else { return };
            if let Err(refused) = post(shard, mail) {
                self.waiting.push_back((shard, refused));
            }
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringwire_hub::{
        Entry, Hub, LaneId, ShardHub, ShardLimits, SlowPolicy, Subscriber, TopicName, TopicSetup, Wanted,
    };

    /// The notes that a publish asks for if shards 0 and 1 have subscribers.
    fn both_shards() -> ShardSet {
        let topic = Hub::new(1).open(&TopicName::new("a").unwrap(), TopicSetup::default).unwrap().topic;
        for shard in [0, 1] {
            let mut hub = ShardHub::new(ShardId::new(shard), ShardLimits { slots_max: 1, subscriptions_max: 1 });
            let who = Subscriber { slot: 0, generation: 0 };
            hub.subscribe(who, &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop)).unwrap();
        }
        topic.publish(0, &Entry::MESSAGE, &mut Vec::new(), |_, _, _, out| out.push(0)).unwrap().notify
    }

    #[test]
    fn what_a_full_mailbox_refuses_is_posted_until_it_is_taken() {
        let mut outbox = Outbox::default();
        let mut taken = Vec::new();
        outbox.send(both_shards(), || "note", |shard, mail| if shard.index() == 0 { Ok(()) } else { Err(mail) });
        assert!(!outbox.is_empty());
        outbox.retry(|_, mail| Err(mail));
        assert!(!outbox.is_empty());
        outbox.retry(|shard, mail| {
            taken.push((shard.index(), mail));
            Ok(())
        });
        assert!(outbox.is_empty());
        outbox.retry(|_, _| panic!("nothing waits"));
        assert_eq!(taken, [(1, "note")]);
    }
}
