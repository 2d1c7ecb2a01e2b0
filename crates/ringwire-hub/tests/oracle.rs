//! The hub against a naive model: every entry of every topic in a plain list, every subscriber's bytes in another.
//!
//! A case is a random sequence of publishes, notes that arrive late, pulls with random budgets, kernels that take a
//! part, subscriptions that come and go, and time. The model serves a subscriber only when the hub said so, and sends
//! notes only where the hub said so; at the end everything in flight arrives and is pulled. Then each subscriber must
//! have whole entries, in order, none twice; and those it has not must be its gap.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;
use ringwire_hub::{
    Entry, Framer, Hub, Key, LaneId, Notice, Part, Retention, ShardHub, ShardId, ShardLimits, SlowPolicy, Subscribed,
    Subscriber, Topic, TopicId, TopicName, TopicOptions, Wake, Wanted,
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

const TOPICS: usize = 3;
const LANES: [LaneId; 2] = [LaneId::HISTORY, LaneId::new(3)];
const SHARDS: usize = 2;
const SLOTS: usize = 3;

#[derive(Clone, Debug)]
enum Op {
    Publish { topic: usize, len: usize },
    Burst { topic: usize, count: usize },
    Note { shard: usize },
    Pull { shard: usize, slot: usize, budget: usize },
    Complete { shard: usize, slot: usize, taken_permille: usize },
    Subscribe { shard: usize, slot: usize, topic: usize, lane: usize, disconnect: bool },
    Unsubscribe { shard: usize, slot: usize },
    Wait { us: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let (topic, shard, slot) = (0..TOPICS, 0..SHARDS, 0..SLOTS);
    let who = (shard.clone(), slot.clone());
    prop_oneof![
        6 => (topic.clone(), prop_oneof![Just(0), 16..80usize, 16..3_000usize])
            .prop_map(|(topic, len)| Op::Publish { topic, len }),
        2 => (topic.clone(), 1..40usize).prop_map(|(topic, count)| Op::Burst { topic, count }),
        5 => shard.prop_map(|shard| Op::Note { shard }),
        8 => (who.clone(), prop_oneof![0..100usize, 0..5_000usize, Just(usize::MAX)])
            .prop_map(|((shard, slot), budget)| Op::Pull { shard, slot, budget }),
        8 => (who.clone(), 0..=1_000usize)
            .prop_map(|((shard, slot), taken_permille)| Op::Complete { shard, slot, taken_permille }),
        4 => (who.clone(), topic, 0..LANES.len(), any::<bool>()).prop_map(|((shard, slot), topic, lane, disconnect)| {
            Op::Subscribe { shard, slot, topic, lane, disconnect }
        }),
        1 => who.prop_map(|(shard, slot)| Op::Unsubscribe { shard, slot }),
        1 => (0..3_000_000u64).prop_map(|us| Op::Wait { us }),
    ]
}

/// One connection: what the hub handed out, and what the kernel took of it.
#[derive(Default)]
struct Client {
    generation: u32,
    ready: bool,
    /// Bytes that must go out before anything else.
    owed: Vec<u8>,
    /// Bytes of the pull that is under way.
    in_flight: Option<Vec<u8>>,
    received: Vec<u8>,
    gap: u64,
    /// Last entry before the subscription, by topic and lane.
    since: BTreeMap<(usize, usize), u64>,
}

struct World {
    now_us: u64,
    topics: Vec<Arc<Topic>>,
    /// Length of every entry, by topic: 0 for one that sends nothing.
    published: Vec<Vec<usize>>,
    shards: Vec<ShardHub>,
    mail: Vec<VecDeque<TopicId>>,
    clients: Vec<Vec<Client>>,
    /// Nothing is ever let go, so nobody can be slow.
    is_kept: bool,
}

/// An entry says what it is, so that a stream of them can be taken apart: topic, lane, length, number, filler.
fn encode(topic: usize, lane: usize, seq: u64, len: usize, out: &mut Vec<u8>) {
    if len == 0 {
        return;
    }
    let start = out.len();
    out.extend([topic as u8, lane as u8]);
    out.extend(u32::try_from(len + lane).unwrap().to_le_bytes());
    out.extend(seq.to_le_bytes());
    let filler = (out.len() - start..len + lane).map(|at| (at as u64 * 31 + seq * 7 + topic as u64) as u8);
    out.extend(filler);
}

/// Topic, lane, number and length of the entry at the beginning of `bytes`, which must be what [`encode`] writes.
fn decode(bytes: &[u8]) -> (usize, usize, u64, usize) {
    let (topic, lane) = (bytes[0] as usize, bytes[1] as usize);
    let len = u32::from_le_bytes(bytes[2..6].try_into().unwrap()) as usize;
    let seq = u64::from_le_bytes(bytes[6..14].try_into().unwrap());
    let mut want = Vec::new();
    encode(topic, lane, seq, len - lane, &mut want);
    assert_eq!(bytes[..len], want, "an entry arrives as it was encoded");
    (topic, lane, seq, len)
}

impl World {
    fn new(is_kept: bool) -> Self {
        let hub = Hub::new(TOPICS);
        let all = Retention { entries: u64::MAX, bytes: usize::MAX, age_us: u64::MAX };
        let few = [
            Retention { entries: 30, ..all },
            Retention { bytes: 9_000, ..all },
            Retention { age_us: 2_000_000, bytes: 50_000, ..all },
        ];
        let topics = (0..TOPICS).map(|nth| {
            let retention = if is_kept { all } else { few[nth] };
            let backlog_bytes_max = if is_kept || nth != 0 { u64::MAX } else { 4_000 };
            let options = TopicOptions { retention, backlog_bytes_max, ..TopicOptions::default() };
            hub.open(&TopicName::new(&format!("t{nth}")).unwrap(), || options.into()).unwrap().topic
        });
        let limits = ShardLimits { slots_max: SLOTS as u32, subscriptions_max: 100 };
        Self {
            now_us: 1_000_000,
            topics: topics.collect(),
            published: vec![Vec::new(); TOPICS],
            shards: (0..SHARDS).map(|nth| ShardHub::new(ShardId::new(nth as u8), limits)).collect(),
            mail: vec![VecDeque::new(); SHARDS],
            clients: (0..SHARDS).map(|_| (0..SLOTS).map(|_| Client::default()).collect()).collect(),
            is_kept,
        }
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::Publish { topic, len } => self.publish(topic, len),
            Op::Burst { topic, count } => (0..count).for_each(|nth| self.publish(topic, 16 + nth * 13 % 300)),
            Op::Note { shard } => self.note(shard),
            Op::Pull { shard, slot, budget } => self.pull(shard, slot, budget),
            Op::Complete { shard, slot, taken_permille } => self.complete(shard, slot, taken_permille),
            Op::Subscribe { shard, slot, topic, lane, disconnect } => {
                let policy = if disconnect { SlowPolicy::Disconnect } else { SlowPolicy::Drop };
                let who = self.who(shard, slot);
                let result = self.shards[shard].subscribe(who, &self.topics[topic], &Wanted::all(LANES[lane], policy));
                let since = &mut self.clients[shard][slot].since;
                assert_eq!(result.is_err(), since.contains_key(&(topic, lane)), "once per topic and lane");
                if let Ok(Subscribed { seq: last_seq, .. }) = result {
                    assert_eq!(last_seq, self.published[topic].len() as u64);
                    since.insert((topic, lane), last_seq);
                }
            }
            Op::Unsubscribe { shard, slot } => self.unsubscribe(shard, slot),
            Op::Wait { us } => {
                self.now_us += us;
                for nth in 0..TOPICS {
                    let notify = self.topics[nth].retain(self.now_us);
                    self.send_notes(self.topics[nth].id(), notify);
                }
            }
        }
    }

    fn who(&self, shard: usize, slot: usize) -> Subscriber {
        Subscriber { slot: slot as u32, generation: self.clients[shard][slot].generation }
    }

    fn publish(&mut self, topic: usize, len: usize) {
        // Entries without bytes leave no trace at the receiver, so they are published where nothing gets lost.
        let len = if self.is_kept { len } else { len.max(16) };
        self.published[topic].push(len);
        let published =
            self.topics[topic].publish(self.now_us, &Entry::MESSAGE, &mut Vec::new(), |lane, seq, _, out| {
                let lane = LANES.iter().position(|each| *each == lane).unwrap();
                encode(topic, lane, seq, len, out);
            });
        let published = published.unwrap();
        assert_eq!(published.seq, self.published[topic].len() as u64);
        self.send_notes(self.topics[topic].id(), published.notify);
    }

    fn send_notes(&mut self, topic: TopicId, notify: ringwire_hub::ShardSet) {
        for shard in notify.iter() {
            let mail = &mut self.mail[shard.index()];
            assert!(!mail.contains(&topic), "one note per topic and shard is under way");
            mail.push_back(topic);
        }
    }

    fn note(&mut self, shard: usize) {
        let Some(topic) = self.mail[shard].pop_front() else { return };
        let clients = &mut self.clients[shard];
        let mut slow = Vec::new();
        self.shards[shard].note(topic, 0, |who, wake| {
            let client = &mut clients[who.slot as usize];
            assert_eq!(client.generation, who.generation);
            match wake {
                Wake::Ready => assert!(!std::mem::replace(&mut client.ready, true), "it was ready before"),
                Wake::Slow => slow.push(who.slot as usize),
            }
        });
        slow.into_iter().for_each(|slot| self.unsubscribe(shard, slot));
    }

    fn pull(&mut self, shard: usize, slot: usize, budget: usize) {
        let who = self.who(shard, slot);
        let client = &mut self.clients[shard][slot];
        if client.in_flight.is_some() || !client.ready {
            return;
        }
        let (mut bytes, mut longest) = (Vec::new(), 0);
        let pulled = self.shards[shard].pull(who, budget, 0, &mut NoFrames, |run| {
            assert!(!run.is_empty());
            run.copy_to(&mut bytes);
        });
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let len = decode(rest).3;
            longest = longest.max(len);
            rest = &rest[len..];
        }
        assert_eq!(pulled.bytes, bytes.len());
        assert!(bytes.len() <= budget || bytes.len() == longest, "within the budget, or one entry");
        assert!(!self.is_kept || (pulled.gap == 0 && !pulled.slow), "nobody can be slow");
        client.gap += pulled.gap;
        client.ready = pulled.more;
        client.in_flight = Some(bytes);
        if pulled.slow {
            self.unsubscribe(shard, slot);
        }
    }

    /// The kernel takes a part of what is under way.
    fn complete(&mut self, shard: usize, slot: usize, taken_permille: usize) {
        let who = self.who(shard, slot);
        let client = &mut self.clients[shard][slot];
        let Some(bytes) = client.in_flight.take() else { return };
        let owed = std::mem::take(&mut client.owed);
        let taken = (owed.len() + bytes.len()) * taken_permille / 1_000;
        client.received.extend(owed.iter().chain(&bytes).take(taken));
        let unsent = bytes.len().min(owed.len() + bytes.len() - taken);
        let begun = bytes.len() - unsent;
        let owes = if unsent == 0 { 0 } else { self.shards[shard].rewind(who, unsent) };
        client.ready |= owes < unsent;
        // Where the entry ends in which `begun` lies.
        let (mut boundary, mut boundaries) = (0, vec![0]);
        while boundary < bytes.len() {
            boundary += decode(&bytes[boundary..]).3;
            boundaries.push(boundary);
        }
        let want = boundaries[boundaries.partition_point(|boundary| *boundary < begun)];
        assert!(boundaries.contains(&(begun + owes)), "what is owed ends an entry");
        assert!(begun + owes == want || (!self.is_kept && begun + owes > want), "{begun} + {owes}, not {want}");
        client.owed = [&owed[taken.min(owed.len())..], &bytes[begun..begun + owes]].concat();
    }

    fn unsubscribe(&mut self, shard: usize, slot: usize) {
        self.check_account(shard, slot);
        let who = self.who(shard, slot);
        self.shards[shard].unsubscribe_all(who);
        assert_eq!(self.shards[shard].account(who), ringwire_hub::Account::default());
        let generation = self.clients[shard][slot].generation + 1;
        self.clients[shard][slot] = Client { generation, ..Client::default() };
    }

    fn check_account(&self, shard: usize, slot: usize) {
        let account = self.shards[shard].account(self.who(shard, slot));
        let client = &self.clients[shard][slot];
        let since = client.since.iter().map(|((topic, _), since)| self.published[*topic].len() as u64 - since);
        assert_eq!(account.published, since.sum::<u64>());
        assert_eq!(account.delivered + account.gap + account.pending, account.published);
        assert_eq!(account.gap, client.gap);
    }

    /// Everything under way arrives, and is sent.
    fn settle(&mut self) {
        for shard in 0..SHARDS {
            while !self.mail[shard].is_empty() {
                self.note(shard);
            }
            for slot in 0..SLOTS {
                self.complete(shard, slot, 1_000);
                while self.clients[shard][slot].ready || !self.clients[shard][slot].owed.is_empty() {
                    self.clients[shard][slot].ready = true;
                    self.pull(shard, slot, 2_000);
                    self.complete(shard, slot, 1_000);
                }
                self.check_received(shard, slot);
            }
        }
        let subscriptions: usize = self.clients.iter().flatten().map(|client| client.since.len()).sum();
        let counted: u64 = self.topics.iter().map(|topic| topic.subscriptions()).sum();
        assert_eq!(counted, subscriptions as u64);
    }

    fn check_received(&self, shard: usize, slot: usize) {
        self.check_account(shard, slot);
        let client = &self.clients[shard][slot];
        let mut last = client.since.clone();
        let (mut rest, mut entries) = (&client.received[..], 0);
        while !rest.is_empty() {
            let (topic, lane, seq, len) = decode(rest);
            let last = last.get_mut(&(topic, lane)).expect("an entry of a subscription");
            assert!(seq > *last, "in order, and none twice");
            *last = seq;
            entries += 1;
            rest = &rest[len..];
        }
        let of = |(topic, _): &(usize, usize), since: u64| self.published[*topic][since as usize..].iter();
        let sending =
            client.since.iter().flat_map(|(key, since)| of(key, *since)).filter(|len| **len > 0).count() as u64;
        let account = self.shards[shard].account(self.who(shard, slot));
        assert_eq!(account.pending, 0);
        assert_eq!(entries + account.gap, sending);
    }
}

fn run(is_kept: bool, ops: &[Op]) {
    let mut world = World::new(is_kept);
    ops.iter().for_each(|op| world.step(op));
    world.settle();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_entry_arrives_when_the_log_keeps_all(ops in proptest::collection::vec(op(), 0..200)) {
        run(true, &ops);
    }

    #[test]
    fn every_entry_arrives_or_is_in_the_gap(ops in proptest::collection::vec(op(), 0..200)) {
        run(false, &ops);
    }
}
