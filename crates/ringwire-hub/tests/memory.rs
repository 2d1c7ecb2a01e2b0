//! What may stay in memory: the log within its limits, and nothing on behalf of a slow subscriber.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};

use ringwire_hub::{
    Entry, Framer, Hub, Key, LaneId, Notice, Part, Retention, ShardHub, ShardId, ShardLimits, ShardSet, SlowPolicy,
    Subscriber, Topic, TopicName, TopicOptions, Wanted,
};

/// Nothing is made for one subscriber here.
struct NoFrames;

impl Framer for NoFrames {
    fn replay(&mut self, _: LaneId, _: &Topic, _: &[u8], _: &mut Vec<u8>) {
        panic!("the lane holds what is pulled");
    }

    fn notice(&mut self, _: LaneId, _: &Topic, _: Notice, _: &mut Vec<u8>) {}

    fn snapshot(&mut self, _: LaneId, _: &Topic, _: u64, _: &[Key], _: Part, _: &mut Vec<u8>) {
        panic!("the topic has no keys");
    }
}

const KEEP_ALL: Retention = Retention { entries: u64::MAX, bytes: usize::MAX, age_us: u64::MAX };

fn open(retention: Retention) -> Arc<Topic> {
    Hub::new(1)
        .open(&TopicName::new("t").unwrap(), || TopicOptions { retention, ..TopicOptions::default() }.into())
        .unwrap()
        .topic
}

fn shard() -> ShardHub {
    ShardHub::new(ShardId::new(0), ShardLimits { slots_max: 10, subscriptions_max: 10 })
}

fn who(slot: u32) -> Subscriber {
    Subscriber { slot, generation: 0 }
}

fn publish(topic: &Topic, now_us: u64, len: usize) -> ShardSet {
    topic.publish(now_us, &Entry::MESSAGE, &mut Vec::new(), |_, seq, _, out| out.resize(len, seq as u8)).unwrap().notify
}

/// Pulls for `slot`, and returns weak references to the segments it read.
fn pull(shard: &mut ShardHub, slot: u32, budget: usize) -> Vec<Weak<[AtomicU64]>> {
    let mut segments = Vec::new();
    shard.pull(who(slot), budget, 0, &mut NoFrames, |run| segments.push(Arc::downgrade(run.words)));
    segments
}

fn held(segments: &[Weak<[AtomicU64]>]) -> usize {
    segments.iter().filter(|segment| segment.strong_count() > 0).count()
}

#[test]
fn a_subscriber_that_stops_reading_holds_no_segment() {
    let (topic, mut shard) = (open(Retention { bytes: 100_000, ..KEEP_ALL }), shard());
    for slot in 0..2 {
        shard.subscribe(who(slot), &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop)).unwrap();
    }
    let mut segments = Vec::new();
    for nth in 0..10_000 {
        publish(&topic, 0, 100);
        shard.note(topic.id(), 0, |_, _| ());
        segments.extend(pull(&mut shard, 0, 10_000));
        if nth < 10 {
            segments.extend(pull(&mut shard, 1, 100));
        }
        assert!(topic.allocated_bytes() <= 100_000);
    }
    segments.dedup_by(|a, b| a.ptr_eq(b));
    assert!(segments.len() > 50 && held(&segments) < 15, "{} of {}", held(&segments), segments.len());
    assert_eq!(shard.account(who(1)).pending, 9_990, "it has not been pulled for");
}

#[test]
fn a_run_that_is_held_outlives_its_retention() {
    let (topic, mut shard) = (open(Retention { bytes: 10_000, ..KEEP_ALL }), shard());
    shard.subscribe(who(0), &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop)).unwrap();
    publish(&topic, 0, 100);
    shard.note(topic.id(), 0, |_, _| ());
    let mut kept = None;
    shard.pull(who(0), 100, 0, &mut NoFrames, |run| kept = Some((Arc::clone(run.words), run.start, run.end)));
    (0..1_000).for_each(|_| _ = publish(&topic, 0, 100));
    let (words, start, end) = kept.unwrap();
    let mut bytes = Vec::new();
    ringwire_hub::Run { words: &words, start, end }.copy_to(&mut bytes);
    assert_eq!(bytes, [1; 100]);
}

#[test]
fn age_empties_a_topic_and_the_shards_that_looked_at_it() {
    let (topic, mut shard) = (open(Retention { age_us: 1_000_000, ..KEEP_ALL }), shard());
    shard.subscribe(who(0), &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop)).unwrap();
    (0..500).for_each(|_| _ = publish(&topic, 0, 100));
    shard.note(topic.id(), 0, |_, _| ());
    let segments = pull(&mut shard, 0, usize::MAX);
    assert!(segments.len() > 1);
    let notify = topic.retain(2_000_000);
    assert_eq!(topic.allocated_bytes(), 0);
    assert!(notify.contains(ShardId::new(0)) && held(&segments) > 0);
    shard.note(topic.id(), 0, |_, _| ());
    assert_eq!(held(&segments), 0);
}

#[test]
fn a_million_entries_in_ten_thousand_topics_take_at_most_1_3_times_their_bytes() {
    let hub = Hub::new(10_000);
    let options = TopicOptions { retention: Retention { entries: 100, ..KEEP_ALL }, ..TopicOptions::default() };
    let (mut allocated, mut held) = (0, 0);
    for nth in 0..10_000 {
        let topic = hub.open(&TopicName::new(&format!("topic.{nth}")).unwrap(), || options.into()).unwrap().topic;
        (0..100 + nth % 100).for_each(|_| _ = publish(&topic, 0, 128));
        allocated += topic.allocated_bytes() + size_of::<Topic>();
        held += topic.last_seq() + 1 - topic.first_seq();
    }
    assert!(held >= 1_000_000);
    assert!(allocated as f64 <= held as f64 * 128.0 * 1.3, "{allocated} bytes for {held} entries");
}
