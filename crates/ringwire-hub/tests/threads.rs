//! Real threads: publishers on two, shards on two more, mail between them. Shards must agree on one order.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use ringwire_hub::{
    Account, Entry, Framer, Hub, Key, LaneId, Notice, Part, Retention, ShardHub, ShardId, ShardLimits, SlowPolicy,
    Subject, Subscriber, Topic, TopicId, TopicKind, TopicName, TopicOptions, Wanted,
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

const SHARDS: u8 = 2;
const PUBLISHERS: u64 = 2;
const SUBSCRIBERS: u32 = 3;
/// Bytes before an entry's filler: length, publisher, number given by the publisher, number given by the topic.
const HEAD_BYTES: usize = 32;

fn encode(publisher: u64, count: u64, seq: u64, out: &mut Vec<u8>) {
    let len = HEAD_BYTES as u64 + (seq * 31 + publisher) % 100;
    for number in [len, publisher, count, seq] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.resize(out.len() + len as usize - HEAD_BYTES, seq as u8);
}

/// The publisher, its count, and the sequence number of each entry in `bytes`; each entry is whole.
fn decode(mut bytes: &[u8]) -> Vec<(u64, u64, u64)> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let number = |nth: usize| u64::from_le_bytes(bytes[nth * 8..][..8].try_into().unwrap());
        let (len, publisher, count, seq) = (number(0) as usize, number(1), number(2), number(3));
        assert!(bytes[HEAD_BYTES..len].iter().all(|byte| *byte == seq as u8), "an entry is what was written");
        entries.push((publisher, count, seq));
        bytes = &bytes[len..];
    }
    entries
}

/// Publishes `count` entries, sending the notes that are asked for.
fn publish(publisher: u64, count: u64, topic: &Topic, mail: &[Sender<TopicId>]) {
    let mut scratch = Vec::new();
    for nth in 0..count {
        let published = topic
            .publish(nth, &Entry::MESSAGE, &mut scratch, |_, seq, _, out| encode(publisher, nth, seq, out))
            .unwrap();
        for shard in published.notify.iter() {
            mail[shard.index()].send(topic.id()).unwrap();
        }
    }
}

/// What each subscriber of a shard received, and its account.
type Received = Vec<(Vec<(u64, u64, u64)>, Account)>;

/// Serves subscribers until the publishers are gone and nothing is pending.
fn serve(mut shard: ShardHub, mail: &Receiver<TopicId>) -> Received {
    let mut bytes = vec![Vec::new(); SUBSCRIBERS as usize];
    let mut budget = 1;
    while let Ok(topic) = mail.recv() {
        let mut ready = Vec::new();
        shard.note(topic, 0, |who, _| ready.push(who));
        for who in ready {
            loop {
                budget = budget * 5 % 9_973;
                let mut pulled_bytes = Vec::new();
                let pulled = shard.pull(who, budget, 0, &mut NoFrames, |run| run.copy_to(&mut pulled_bytes));
                // Now and then the kernel takes a part.
                let unsent = pulled.bytes * (budget % 4) / 8;
                let owed = shard.rewind(who, unsent);
                pulled_bytes.truncate(pulled.bytes - unsent + owed);
                bytes[who.slot as usize].extend(pulled_bytes);
                if !pulled.more && unsent == owed {
                    break;
                }
            }
        }
    }
    let account = |slot| shard.account(Subscriber { slot, generation: 0 });
    (0..).zip(&bytes).map(|(slot, bytes)| (decode(bytes), account(slot))).collect()
}

fn run(count: u64, retention: Retention) -> Vec<Received> {
    let hub = Hub::new(1);
    let topic = hub
        .open(&TopicName::new("t").unwrap(), || TopicOptions { retention, ..TopicOptions::default() }.into())
        .unwrap()
        .topic;
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..SHARDS).map(|_| channel()).unzip();
    let shards = (0..SHARDS).map(|nth| {
        let limits = ShardLimits { slots_max: SUBSCRIBERS, subscriptions_max: 100 };
        let mut shard = ShardHub::new(ShardId::new(nth), limits);
        for slot in 0..SUBSCRIBERS {
            shard
                .subscribe(Subscriber { slot, generation: 0 }, &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop))
                .unwrap();
        }
        shard
    });
    let shards: Vec<_> = shards.collect();
    thread::scope(|scope| {
        let serving: Vec<_> =
            shards.into_iter().zip(receivers).map(|(shard, mail)| scope.spawn(move || serve(shard, &mail))).collect();
        for publisher in 0..PUBLISHERS {
            let (topic, senders) = (&topic, senders.clone());
            scope.spawn(move || publish(publisher, count, topic, &senders));
        }
        drop(senders);
        serving.into_iter().map(|shard| shard.join().unwrap()).collect()
    })
}

#[test]
fn all_subscribers_on_all_shards_see_one_order() {
    let count = 50_000;
    let received = run(count, Retention { entries: u64::MAX, bytes: usize::MAX, age_us: u64::MAX });
    let reference = &received[0][0].0;
    assert!(reference.iter().map(|entry| entry.2).eq(1..=count * PUBLISHERS));
    let mut counts = HashMap::new();
    for (publisher, nth, _) in reference {
        let next = counts.entry(publisher).or_insert(0);
        assert_eq!(nth, next, "what one publisher sends keeps its order");
        *next += 1;
    }
    for (entries, account) in received.iter().flatten() {
        assert_eq!(entries, reference);
        assert_eq!((account.delivered, account.gap, account.pending), (count * PUBLISHERS, 0, 0));
    }
}

#[test]
fn what_is_lost_while_segments_go_is_in_the_gap() {
    let count = 50_000;
    let received = run(count, Retention { entries: u64::MAX, bytes: 9_000, age_us: u64::MAX });
    for (entries, account) in received.iter().flatten() {
        assert!(entries.is_sorted_by(|a, b| a.2 < b.2), "in order, and none twice");
        assert_eq!(account.published, count * PUBLISHERS);
        assert_eq!((account.delivered, account.pending), (entries.len() as u64, 0));
        assert_eq!(account.delivered + account.gap, account.published);
    }
}

/// While publishers append, a subscriber that wants the latest goes from round to round: it has the last of each key.
#[test]
fn who_wants_the_latest_has_the_last_of_each_key_whatever_is_appended_meanwhile() {
    const KEYS: u64 = 50;
    let kind = TopicKind::Keyed { keys_max: KEYS as u32, key_ttl_us: u64::MAX };
    let retention = Retention { entries: u64::MAX, bytes: usize::MAX, age_us: u64::MAX };
    let options = TopicOptions { kind, retention, ..TopicOptions::default() };
    let topic = Hub::new(1).open(&TopicName::new("t").unwrap(), || options.into()).unwrap().topic;
    let mut shard = ShardHub::new(ShardId::new(0), ShardLimits { slots_max: 1, subscriptions_max: 1 });
    let who = Subscriber { slot: 0, generation: 0 };
    shard.subscribe(who, &topic, &Wanted { snapshot: false, ..Wanted::latest(LaneId::HISTORY) }).unwrap();
    let (sender, mail) = channel();
    let mut last = vec![0; KEYS as usize];
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let (topic, sender) = (&topic, sender.clone());
            scope.spawn(move || {
                for nth in 0..50_000 {
                    let key = (nth * 7 + publisher) % KEYS;
                    let name = key.to_string();
                    let entry = Entry { subject: Subject::Update(&name), ..Entry::MESSAGE };
                    let encode = |_, seq, _, out: &mut Vec<u8>| encode(key, nth, seq, out);
                    let published = topic.publish(nth, &entry, &mut Vec::new(), encode).unwrap();
                    published.notify.iter().for_each(|_| sender.send(topic.id()).unwrap());
                }
            });
        }
        drop(sender);
        while let Ok(note) = mail.recv() {
            shard.end_turn(0);
            shard.note(note, 0, |_, _| ());
            loop {
                let mut bytes = Vec::new();
                let more = shard.pull(who, 5_000, 0, &mut NoFrames, |run| run.copy_to(&mut bytes)).more;
                for (key, _, seq) in decode(&bytes) {
                    assert!(seq > last.iter().copied().max().unwrap(), "in ascending order");
                    last[key as usize] = seq;
                }
                if !more {
                    break;
                }
            }
        }
    });
    let account = shard.account(who);
    assert_eq!((account.pending, account.delivered + account.skipped), (0, 50_000 * PUBLISHERS));
    for (key, seq) in (0..KEYS).zip(last) {
        assert_eq!(topic.key(&key.to_string()).unwrap().seq, seq, "the last of key {key}");
    }
}
