//! The hub alone: what a publish and a delivery cost before a connection is touched.

use std::hint::black_box;
use std::sync::Arc;

use ringwire_hub::{
    Entry, Framer, Hub, Key, LaneId, Notice, Part, Retention, ShardHub, ShardId, ShardLimits, SlowPolicy, Subscriber,
    Topic, TopicName, TopicOptions, Wanted,
};

use super::work_to_count;

/// Nothing is made for one subscriber here.
struct NoFrames;

impl Framer for NoFrames {
    fn replay(&mut self, _: LaneId, _: &Topic, _: &[u8], _: &mut Vec<u8>) {
        panic!("the lane holds what is pulled");
    }

    fn notice(&mut self, _: LaneId, _: &Topic, _: Notice, _: &mut Vec<u8>) {
        panic!("nothing is skipped");
    }

    fn snapshot(&mut self, _: LaneId, _: &Topic, _: u64, _: &[Key], _: Part, _: &mut Vec<u8>) {
        panic!("the topic has no keys");
    }
}

const ENTRY: [u8; 128] = [b'x'; 128];

fn topic() -> Arc<Topic> {
    let retention = Retention { entries: 1_000, bytes: 1 << 30, age_us: u64::MAX };
    let options = TopicOptions { retention, ..TopicOptions::default() };
    Hub::new(1).open(&TopicName::new("book").expect("a name"), || options.into()).expect("room").topic
}

fn publish(topic: &Topic, scratch: &mut Vec<u8>) {
    let published = topic.publish(0, &Entry::MESSAGE, scratch, |_, _, _, out| out.extend_from_slice(&ENTRY));
    black_box(published.expect("an entry that fits"));
}

/// Entries of 128 bytes into the log of a topic that keeps 1,000.
pub(super) fn publish_128() -> u64 {
    const PUBLISHES: u64 = 10_000;
    let (topic, mut scratch) = (topic(), Vec::new());
    (0..PUBLISHES).for_each(|_| publish(&topic, &mut scratch));
    work_to_count(&mut || (0..PUBLISHES).for_each(|_| publish(&topic, &mut scratch)));
    assert_eq!(topic.last_seq(), 2 * PUBLISHES);
    PUBLISHES
}

/// A note to 1,000 subscribers of one entry, and the pull of each.
pub(super) fn deliver_1000() -> u64 {
    const SUBSCRIBERS: u32 = 1_000;
    const ROUNDS: u64 = 20;
    let (topic, mut scratch) = (topic(), Vec::new());
    let limits = ShardLimits { slots_max: SUBSCRIBERS, subscriptions_max: SUBSCRIBERS };
    let mut shard = ShardHub::new(ShardId::new(0), limits);
    for slot in 0..SUBSCRIBERS {
        let wanted = Wanted::all(LaneId::HISTORY, SlowPolicy::Drop);
        shard.subscribe(Subscriber { slot, generation: 1 }, &topic, &wanted).expect("room");
    }
    let mut ready = Vec::with_capacity(SUBSCRIBERS as usize);
    for round in 0..=ROUNDS {
        publish(&topic, &mut scratch);
        let mut deliver = || {
            shard.end_turn(0);
            shard.note(topic.id(), 0, |who, _| ready.push(who));
            assert_eq!(ready.len(), SUBSCRIBERS as usize);
            for who in ready.drain(..) {
                let pulled = shard.pull(who, 64 * 1024, 0, &mut NoFrames, |run| {
                    black_box((run.words.as_ptr(), run.start, run.end));
                });
                assert_eq!(pulled.entries, 1);
            }
        };
        if round == 0 { deliver() } else { work_to_count(&mut deliver) }
    }
    ROUNDS * u64::from(SUBSCRIBERS)
}
