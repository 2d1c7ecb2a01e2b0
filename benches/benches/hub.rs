//! What fanout costs before a socket is touched: a publish, a note and a pull.
//!
//! `publish`: one entry of 128 bytes into the history, over 1 to 100,000 topics in turn, and into one topic that keeps 100
//! to 1,000,000 entries. `append`: a publish by length, beside a plain copy. `fanout`: one publish reaches 1,000 subscribers
//! of one topic, or 20 do before they pull; elements are subscribers. `spread`: as many topics as subscribers, one each; a
//! publish, its note and its pull per element.
//! `latest`: 1,000 subscribers that want the latest of 100 keys and lag by 400 entries: what each costs in a round.
//! `patterns`: a name against 10,000 patterns, and a pattern against the names of 100,000 topics.
//! `instead`: the same fanout over a queue per connection, and over a buffer behind a lock.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringwire_hub::{
    Entry, Framer, Hub, Key, LaneId, Notice, Part, Pattern, PatternMap, Retention, ShardHub, ShardId, ShardLimits,
    SlowPolicy, Subject, Subscriber, Topic, TopicKind, TopicName, TopicOptions, TopicSetup, Wanted,
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

const ENTRY: [u8; 128] = [b'x'; 128];
const SUBSCRIBERS: u32 = 1_000;

fn open(topics: usize, entries: u64) -> Vec<Arc<Topic>> {
    let hub = Hub::new(topics);
    let retention = Retention { entries, bytes: 1 << 30, age_us: u64::MAX };
    let options = TopicOptions { retention, ..TopicOptions::default() };
    (0..topics)
        .map(|nth| {
            hub.open(&TopicName::new(&format!("topic.{nth}")).unwrap(), || options.into()).expect("a name").topic
        })
        .collect()
}

fn publish(topic: &Topic, scratch: &mut Vec<u8>) {
    let published = topic.publish(0, &Entry::MESSAGE, scratch, |_, _, _, out| out.extend_from_slice(&ENTRY));
    black_box(published.expect("an entry that fits"));
}

fn shard() -> ShardHub {
    ShardHub::new(ShardId::new(0), ShardLimits { slots_max: 100_000, subscriptions_max: 100_000 })
}

fn who(slot: u32) -> Subscriber {
    Subscriber { slot, generation: 1 }
}

fn publishing(c: &mut Criterion) {
    let mut group = c.benchmark_group("hub/publish");
    quick(&mut group);
    for count in [1, 100, 10_000, 100_000] {
        let (topics, mut scratch, mut nth) = (open(count, 1_000), Vec::new(), 0);
        group.bench_function(BenchmarkId::new("topics", count), |b| {
            b.iter(|| {
                nth = (nth + 1) % topics.len();
                publish(&topics[nth], &mut scratch);
            });
        });
    }
    for entries in [100, 10_000, 1_000_000] {
        let (topic, mut scratch) = (open(1, entries).remove(0), Vec::new());
        (0..entries).for_each(|_| publish(&topic, &mut scratch));
        group.bench_function(BenchmarkId::new("retained", entries), |b| b.iter(|| publish(&topic, &mut scratch)));
    }
}

/// One publish to 1,000 subscribers of one topic: who is to be served, and what each gets.
fn fanout(c: &mut Criterion) {
    let mut group = c.benchmark_group("hub/fanout");
    quick(&mut group);
    group.throughput(Throughput::Elements(u64::from(SUBSCRIBERS)));
    let (topic, mut scratch, mut shard) = (open(1, 1_000).remove(0), Vec::new(), shard());
    for slot in 0..SUBSCRIBERS {
        shard.subscribe(who(slot), &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop)).expect("room");
    }
    let shard = RefCell::new(shard);
    let mut publish_and_note = |lag: usize| {
        (0..lag).for_each(|_| publish(&topic, &mut scratch));
        let mut ready = Vec::with_capacity(SUBSCRIBERS as usize);
        shard.borrow_mut().note(topic.id(), 0, |who, _| ready.push(who));
        assert_eq!(ready.len(), SUBSCRIBERS as usize);
        ready
    };
    let pull_all = |ready: Vec<Subscriber>| {
        let mut shard = shard.borrow_mut();
        shard.end_turn(0);
        for who in ready {
            let pulled = shard.pull(who, 64 * 1024, 0, &mut NoFrames, |run| {
                black_box((run.words.as_ptr(), run.start, run.end));
            });
            assert!(pulled.entries > 0 && !pulled.more);
        }
    };
    group.bench_function("pull", |b| b.iter_batched(|| publish_and_note(1), pull_all, BatchSize::PerIteration));
    for lag in [1, 20] {
        group
            .bench_function(BenchmarkId::new("publish_note_pull", lag), |b| b.iter(|| pull_all(publish_and_note(lag))));
    }
}

/// Many topics, each with one subscriber: nothing is warm.
fn spread(c: &mut Criterion) {
    let mut group = c.benchmark_group("hub/spread");
    quick(&mut group);
    for count in [1_000, 10_000u32] {
        let (topics, mut scratch, mut shard) = (open(count as usize, 1_000), Vec::new(), shard());
        for (slot, topic) in (0..).zip(&topics) {
            shard.subscribe(who(slot), topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop)).expect("room");
        }
        group.throughput(Throughput::Elements(u64::from(count)));
        group.bench_function(BenchmarkId::new("publish_note_pull", count), |b| {
            b.iter(|| {
                for (slot, topic) in (0..).zip(&topics) {
                    publish(topic, &mut scratch);
                    shard.end_turn(0);
                    shard.note(topic.id(), 0, |who, _| assert_eq!(who.slot, slot));
                    let pulled = shard.pull(who(slot), 64 * 1024, 0, &mut NoFrames, |run| {
                        black_box((run.words.as_ptr(), run.start, run.end));
                    });
                    assert_eq!(pulled.entries, 1);
                }
            });
        });
    }
}

/// Slow subscribers that want the latest of each key: what a round costs that skips three entries in four.
fn latest(c: &mut Criterion) {
    let mut group = c.benchmark_group("hub/latest");
    quick(&mut group);
    group.throughput(Throughput::Elements(u64::from(SUBSCRIBERS)));
    let kind = TopicKind::Keyed { keys_max: 100, key_ttl_us: u64::MAX };
    let options = TopicOptions { kind, ..TopicOptions::default() };
    let topic = Hub::new(1).open(&TopicName::new("book").unwrap(), || options.into()).expect("a name").topic;
    let (mut shard, mut scratch) = (shard(), Vec::new());
    let keys: Vec<String> = (0..100).map(|key| format!("level.{key}")).collect();
    for slot in 0..SUBSCRIBERS {
        let wanted = Wanted { snapshot: false, ..Wanted::latest(LaneId::HISTORY) };
        shard.subscribe(who(slot), &topic, &wanted).expect("room");
    }
    group.bench_function("publish_note_pull/400", |b| {
        b.iter(|| {
            for key in keys.iter().cycle().take(400) {
                let entry = Entry { subject: Subject::Update(key), ..Entry::MESSAGE };
                let encode = |_, _, _, out: &mut Vec<u8>| out.extend_from_slice(&ENTRY);
                topic.publish(0, &entry, &mut scratch, encode).expect("it fits");
            }
            shard.end_turn(0);
            let mut ready = Vec::with_capacity(SUBSCRIBERS as usize);
            shard.note(topic.id(), 0, |who, _| ready.push(who));
            for who in ready {
                // What a turn makes is bounded: then the next one goes on.
                while shard.pull(who, 64 * 1024, 0, &mut NoFrames, |run| _ = black_box(run.len())).more {
                    shard.end_turn(0);
                }
            }
        });
    });
}

/// 100,000 topics and 10,000 patterns: whom a name concerns, and what a pattern finds.
fn patterns(c: &mut Criterion) {
    let mut group = c.benchmark_group("hub/patterns");
    quick(&mut group);
    let hub = Hub::new(100_000);
    let names: Vec<TopicName> =
        (0..100_000).map(|nth| TopicName::new(&format!("market.{}.sym{nth}", nth % 100)).expect("a name")).collect();
    let mut map = PatternMap::default();
    for (nth, name) in names.iter().enumerate() {
        hub.open(name, TopicSetup::default).expect("room");
        if nth < 10_000 {
            let text = match nth % 3 {
                0 => format!("market.*.sym{nth}"),
                1 => format!("*.{}.sym{nth}", nth % 100),
                _ => format!("market.{}.sym{nth}.>", nth % 100),
            };
            map.insert(&Pattern::new(&text).expect("a pattern"), nth);
        }
    }
    let (mut nth, mut found) = (0, 0u64);
    group.bench_function("name_of_100000_against_10000", |b| {
        b.iter(|| {
            nth = (nth + 7_919) % names.len();
            map.matching(&names[nth], |_| found += 1);
        });
    });
    assert!(found > 0);
    let one = Pattern::new("market.7.>").expect("a pattern");
    group.bench_function("topics_1000_of_100000", |b| b.iter(|| assert_eq!(hub.matching(&one).len(), 1_000)));
}

/// The same fanout done otherwise, for docs/decisions/0003-log.md: what a queue per connection costs, and a buffer
/// behind a lock, out of which each reader copies.
fn instead(c: &mut Criterion) {
    let mut group = c.benchmark_group("hub/instead");
    quick(&mut group);
    group.throughput(Throughput::Elements(u64::from(SUBSCRIBERS)));
    let mut queues: Vec<VecDeque<Arc<[u8]>>> = vec![VecDeque::new(); SUBSCRIBERS as usize];
    for lag in [1, 20] {
        group.bench_function(BenchmarkId::new("queue_per_connection", lag), |b| {
            b.iter(|| {
                for _ in 0..lag {
                    let entry: Arc<[u8]> = ENTRY.into();
                    queues.iter_mut().for_each(|queue| queue.push_back(Arc::clone(&entry)));
                }
                for queue in &mut queues {
                    queue.drain(..).for_each(|entry| drop(black_box(entry)));
                }
            });
        });
    }
    let log = RwLock::new(Vec::with_capacity(1 << 20));
    let (mut cursors, mut out) = (vec![0; SUBSCRIBERS as usize], Vec::with_capacity(1 << 20));
    group.bench_function("buffer_behind_a_lock", |b| {
        b.iter(|| {
            let mut bytes = log.write().expect("not poisoned");
            if bytes.len() + ENTRY.len() > bytes.capacity() {
                bytes.clear();
                cursors.fill(0);
            }
            bytes.extend_from_slice(&ENTRY);
            drop(bytes);
            out.clear();
            for cursor in &mut cursors {
                let bytes = log.read().expect("not poisoned");
                out.extend_from_slice(&bytes[*cursor..]);
                *cursor = bytes.len();
            }
            black_box(out.len());
        });
    });
}

/// What writing through atomic words costs: a publish by its length, beside a plain copy into a buffer.
fn appending(c: &mut Criterion) {
    let mut group = c.benchmark_group("hub/append");
    quick(&mut group);
    for len in [16, 128, 1_024, 16_384] {
        let (topic, mut scratch, bytes) = (open(1, 1_000).remove(0), Vec::new(), vec![b'x'; len]);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::new("publish", len), |b| {
            b.iter(|| {
                topic
                    .publish(0, &Entry::MESSAGE, &mut scratch, |_, _, _, out| out.extend_from_slice(&bytes))
                    .expect("it fits")
            });
        });
        let mut buffer = Vec::with_capacity(64 * 1024);
        group.bench_function(BenchmarkId::new("plain_copy", len), |b| {
            b.iter(|| {
                if buffer.len() + len > buffer.capacity() {
                    buffer.clear();
                }
                buffer.extend_from_slice(black_box(&bytes));
            });
        });
    }
}

fn quick(group: &mut BenchmarkGroup<'_, WallTime>) {
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2)).sample_size(30);
}

criterion_group!(benches, publishing, appending, fanout, spread, latest, patterns, instead);
criterion_main!(benches);
