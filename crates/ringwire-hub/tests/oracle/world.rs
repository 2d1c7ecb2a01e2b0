//! Publishers, mailboxes, kernels and receivers around a hub and its shards.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ringwire_hub::{
    Appended, Begin, Entry, Hub, Mode, PublishError, Retention, ShardHub, ShardId, ShardLimits, ShardSet, SlowPolicy,
    Start, Subject, SubscribeError, Subscriber, Topic, TopicId, TopicKind, TopicName, TopicOptions, Wake, Wanted,
};

use super::Op;
use super::client::{Client, Known};
use super::frames::{Frames, Kind, LANES, SILENT, decode, entry};
use super::model::TopicModel;

pub(crate) const TOPICS: usize = 4;
pub(crate) const SHARDS: usize = 2;
pub(crate) const SLOTS: usize = 3;
/// The topic without keys.
const PLAIN: usize = 1;
/// The topic that ticks.
const TICKING: usize = 3;
const TICK_US: u64 = 50_000;

/// What is subscribed to, and how.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) topic: usize,
    pub(crate) lane: usize,
    pub(crate) mode: Mode,
    pub(crate) slow: SlowPolicy,
    pub(crate) interval_us: u64,
    pub(crate) max_age_us: u64,
    pub(crate) from: From,
    pub(crate) snapshot: bool,
}

/// Where a subscription is to begin.
#[derive(Clone, Copy, Debug)]
pub(crate) enum From {
    Head,
    First,
    Back(u64),
    /// Where the slot's last subscription to the topic ended, if there was one.
    Resume,
}

/// A connection: what the hub handed out, and what the kernel took of it.
#[derive(Default)]
struct Connection {
    generation: u32,
    ready: bool,
    /// Bytes that must go out before anything else, and where the frames among them come from.
    owed: Vec<u8>,
    /// Bytes of the pull that is under way.
    in_flight: Option<Vec<u8>>,
    /// A subscription has ended since it was woken: it may be woken again.
    is_unsure: bool,
    /// A turn has ended since, or a subscription: what is not sent is owed.
    is_owed: bool,
    received: Vec<u8>,
    subscriptions: Vec<Client>,
    /// What was known of a topic when its subscription ended.
    remembered: BTreeMap<usize, Known>,
}

pub(crate) struct World {
    now_us: u64,
    hub: Hub,
    topics: Vec<Arc<Topic>>,
    models: Vec<TopicModel>,
    shards: Vec<ShardHub>,
    mail: Vec<VecDeque<TopicId>>,
    connections: Vec<Vec<Connection>>,
    /// Nothing is ever let go, so nobody can be slow.
    is_kept: bool,
}

fn options(nth: usize, epoch: u64, is_kept: bool) -> TopicOptions {
    let all = Retention { entries: u64::MAX, bytes: usize::MAX, age_us: u64::MAX };
    let few = [
        Retention { entries: 30, ..all },
        Retention { bytes: 9_000, ..all },
        Retention { age_us: 2_000_000, bytes: 50_000, ..all },
        Retention { bytes: 20_000, ..all },
    ];
    let keyed = TopicKind::Keyed { keys_max: 8, key_ttl_us: u64::MAX };
    TopicOptions {
        epoch,
        kind: if nth == PLAIN { TopicKind::Plain } else { keyed },
        retention: if is_kept { all } else { few[nth] },
        backlog_bytes_max: if is_kept || nth % 2 == 1 { u64::MAX } else { 4_000 },
        tick_us: if nth == TICKING { TICK_US } else { 0 },
        ..TopicOptions::default()
    }
}

fn open(hub: &Hub, models: &[TopicModel], is_kept: bool) -> Vec<Arc<Topic>> {
    let open = |(nth, model): (usize, &TopicModel)| {
        let name = TopicName::new(&format!("t{nth}")).unwrap();
        hub.open(&name, || options(nth, model.epoch, is_kept).into()).unwrap().topic
    };
    models.iter().enumerate().map(open).collect()
}

fn shards() -> Vec<ShardHub> {
    let limits = ShardLimits { slots_max: SLOTS as u32, subscriptions_max: 100 };
    (0..SHARDS).map(|nth| ShardHub::new(ShardId::new(nth as u8), limits)).collect()
}

impl World {
    pub(crate) fn new(is_kept: bool) -> Self {
        let (hub, models) = (Hub::new(TOPICS), vec![TopicModel { epoch: 7, ..TopicModel::default() }; TOPICS]);
        Self {
            now_us: 1_000_000,
            topics: open(&hub, &models, is_kept),
            hub,
            models,
            shards: shards(),
            mail: vec![VecDeque::new(); SHARDS],
            connections: (0..SHARDS).map(|_| (0..SLOTS).map(|_| Connection::default()).collect()).collect(),
            is_kept,
        }
    }

    pub(crate) fn step(&mut self, op: &Op) {
        match *op {
            Op::Publish { topic, key, removes, bytes } => self.publish(topic, key, removes, bytes),
            Op::Burst { topic, count } => {
                (0..count).for_each(|nth| self.publish(topic, (nth * 5 % 9) as u8, nth % 11 == 10, nth * 13 % 300));
            }
            Op::Note { shard } => self.note(shard),
            Op::Turn { shard } => self.turn(shard),
            Op::Pull { shard, slot, budget } => self.pull(shard, slot, budget),
            Op::Complete { shard, slot, taken_permille } => self.complete(shard, slot, taken_permille),
            Op::Serve { shard, slot, budget, taken_permille } => {
                self.note(shard);
                self.pull(shard, slot, budget);
                self.complete(shard, slot, taken_permille);
            }
            Op::Subscribe { shard, slot, ref asked } => self.subscribe(shard, slot, asked),
            Op::Unsubscribe { shard, slot, nth } => self.unsubscribe(shard, slot, nth),
            Op::Leave { shard, slot } => self.leave(shard, slot),
            Op::Wait { us } => {
                self.now_us += us;
                for nth in 0..TOPICS {
                    let notify = self.topics[nth].retain(self.now_us);
                    self.send_notes(nth, notify);
                }
            }
            Op::Restart { same_epoch } => self.restart(same_epoch),
        }
    }

    fn who(&self, shard: usize, slot: usize) -> Subscriber {
        Subscriber { slot: slot as u32, generation: self.connections[shard][slot].generation }
    }

    fn publish(&mut self, topic: usize, key: u8, removes: bool, bytes: usize) {
        let model = &mut self.models[topic];
        let is_set = model.state(model.head()).contains_key(&key);
        let kind = match (topic == PLAIN || key == 8, removes) {
            (true, _) => Kind::Message,
            (false, true) => Kind::Remove(key),
            (false, false) => Kind::Update(key),
        };
        let name = key.to_string();
        let subject = match kind {
            Kind::Message => Subject::Message,
            Kind::Update(_) => Subject::Update(&name),
            Kind::Remove(_) => Subject::Remove(&name),
        };
        let encode = |lane, seq, _, out: &mut Vec<u8>| entry(lane, topic as u8, seq, kind, bytes, out);
        let of = Entry { subject, ..Entry::MESSAGE };
        let published = self.topics[topic].publish(self.now_us, &of, &mut Vec::new(), encode);
        if matches!(kind, Kind::Remove(_)) && !is_set {
            assert_eq!(published.map(drop), Err(PublishError::NoSuchKey));
            return;
        }
        let published = published.unwrap();
        model.entries.push((kind, bytes));
        assert_eq!(published.seq, model.head());
        self.send_notes(topic, published.notify);
    }

    fn send_notes(&mut self, topic: usize, notify: ShardSet) {
        let topic = self.topics[topic].id();
        for shard in notify.iter() {
            let mail = &mut self.mail[shard.index()];
            assert!(!mail.contains(&topic), "one note per topic and shard is under way");
            mail.push_back(topic);
        }
    }

    fn note(&mut self, shard: usize) {
        let Some(topic) = self.mail[shard].pop_front() else { return };
        let mut woken = Vec::new();
        self.shards[shard].note(topic, self.now_us, |who, wake| woken.push((who, wake)));
        self.wake(shard, &woken);
    }

    /// A turn begins: what was pulled in the one before has been sent or rewound.
    fn turn(&mut self, shard: usize) {
        let mut woken = Vec::new();
        self.shards[shard].end_turn(self.now_us);
        self.shards[shard].due(self.now_us, |who, wake| woken.push((who, wake)));
        assert!(self.shards[shard].next_due().is_none_or(|due| due > self.now_us));
        self.connections[shard].iter_mut().for_each(|connection| connection.is_owed = true);
        self.wake(shard, &woken);
    }

    fn wake(&mut self, shard: usize, woken: &[(Subscriber, Wake)]) {
        for (who, wake) in woken {
            let connection = &mut self.connections[shard][who.slot as usize];
            if connection.generation > who.generation {
                // It has left meanwhile, as another of its subscriptions was too slow.
                continue;
            }
            match wake {
                Wake::Ready => {
                    let was_ready = std::mem::replace(&mut connection.ready, true);
                    assert!(!was_ready || connection.is_unsure, "it was ready before");
                }
                Wake::Slow => self.leave(shard, who.slot as usize),
            }
        }
    }

    fn pull(&mut self, shard: usize, slot: usize, budget: usize) {
        let who = self.who(shard, slot);
        let connection = &mut self.connections[shard][slot];
        if connection.in_flight.is_some() || !connection.ready {
            return;
        }
        let mut bytes = Vec::new();
        let pulled = self.shards[shard].pull(who, budget, self.now_us, &mut Frames, |run| {
            assert!(!run.is_empty());
            run.copy_to(&mut bytes);
        });
        assert_eq!(pulled.bytes, bytes.len());
        let (ends, lanes) = boundaries(&bytes);
        // Notices come on top: at most one before what did not fit.
        let within = ends.iter().filter(|end| **end <= budget).count();
        assert!(within + 3 >= ends.len(), "{} of {} frames within {budget}", within, ends.len());
        assert!(lanes <= connection.subscriptions.len());
        assert!(!self.is_kept || (pulled.gap == 0 && !pulled.slow), "nobody can be slow");
        (connection.ready, connection.is_unsure) = (pulled.more, false);
        connection.in_flight = Some(bytes);
        connection.is_owed = false;
        if pulled.slow {
            self.leave(shard, slot);
        }
    }

    /// The kernel takes a part of what is under way.
    fn complete(&mut self, shard: usize, slot: usize, taken_permille: usize) {
        let who = self.who(shard, slot);
        let connection = &mut self.connections[shard][slot];
        let Some(bytes) = connection.in_flight.take() else { return };
        let owed = std::mem::take(&mut connection.owed);
        let taken = (owed.len() + bytes.len()) * taken_permille / 1_000;
        connection.received.extend(owed.iter().chain(&bytes).take(taken));
        let unsent = bytes.len().min(owed.len() + bytes.len() - taken);
        let begun = bytes.len() - unsent;
        let owes = if unsent == 0 { 0 } else { self.shards[shard].rewind(who, unsent) };
        connection.ready |= owes < unsent;
        let (ends, _) = boundaries(&bytes);
        assert!(begun + owes == 0 || ends.contains(&(begun + owes)), "what is owed ends a frame");
        let first = ends.iter().copied().find(|end| *end >= begun).filter(|_| begun > 0).unwrap_or(0);
        let is_least = begun + owes == first;
        assert!(is_least || connection.is_owed || !self.is_kept, "{begun} + {owes}, not {first}");
        connection.owed = [&owed[taken.min(owed.len())..], &bytes[begun..begun + owes]].concat();
        self.receive(shard, slot);
        let connection = &self.connections[shard][slot];
        if !connection.ready && connection.owed.is_empty() {
            connection.subscriptions.iter().for_each(|client| client.check_state(&self.models[client.topic]));
        }
    }

    /// The receiver takes apart what has come.
    fn receive(&mut self, shard: usize, slot: usize) {
        let connection = &mut self.connections[shard][slot];
        loop {
            let Some(lane) = connection.received.get(5) else { return };
            let lane = *LANES.iter().find(|each| each.index() == usize::from(*lane)).unwrap();
            let Some((frame, len)) = decode(&connection.received, lane) else { return };
            // In one lane, a connection has one topic here.
            connection.received.drain(..len);
            let client = connection.subscriptions.iter_mut().find(|client| client.lane == lane);
            let Some(client) = client else { continue };
            client.receive(frame, &self.models[client.topic]);
        }
    }

    fn subscribe(&mut self, shard: usize, slot: usize, asked: &Asked) {
        let (who, lane, model) = (self.who(shard, slot), LANES[asked.lane], &self.models[asked.topic]);
        let connection = &mut self.connections[shard][slot];
        // A frame says its lane, so a connection takes one topic in each; and one lane of each topic.
        let is_taken = connection.subscriptions.iter().any(|client| client.lane == lane && client.topic != asked.topic);
        let is_unclear = connection.in_flight.is_some() || !connection.owed.is_empty();
        if is_taken || is_unclear || !connection.received.is_empty() {
            return;
        }
        let remembered = connection.remembered.get(&asked.topic).cloned();
        let start = match (asked.from, &remembered) {
            (From::First, _) => Start::First,
            (From::Back(entries), _) => Start::Back { entries },
            (From::Resume, Some(known)) => Start::After { epoch: known.epoch, seq: known.at },
            (From::Head, _) | (From::Resume, None) => Start::Head,
        };
        let &Asked { mode, slow, interval_us, max_age_us, snapshot, .. } = asked;
        let wanted = Wanted { lane, mode, slow, interval_us, max_age_us, start, snapshot };
        let result = self.shards[shard].subscribe(who, &self.topics[asked.topic], &wanted);
        if connection.subscriptions.iter().any(|client| client.lane == lane) {
            assert_eq!(result, Err(SubscribeError::AlreadySubscribed));
            return;
        }
        let subscribed = result.unwrap();
        assert_eq!(subscribed.head, model.head());
        assert!(subscribed.seq <= model.head());
        let resumed = remembered.filter(|_| subscribed.begin == Begin::Resumed);
        match start {
            Start::After { epoch, seq } => {
                let is_there = epoch == model.epoch && seq <= model.head();
                let resumes = subscribed.begin == Begin::Resumed;
                assert!(resumes == is_there || (is_there && !self.is_kept), "{start:?} in {}", model.head());
                assert!(!resumes || subscribed.seq == seq);
            }
            Start::Back { entries } => {
                let from = model.head().saturating_sub(entries);
                assert!(subscribed.seq == from || (subscribed.seq > from && !self.is_kept));
            }
            Start::First => assert!(subscribed.seq == 0 || !self.is_kept),
            Start::Head => assert!(subscribed.seq == model.head() || (asked.topic != PLAIN && snapshot)),
        }
        let mut known = Known { epoch: model.epoch, at: subscribed.seq, state: None };
        if subscribed.seq == 0 {
            known.state = Some(BTreeMap::new());
        }
        if let Some(resumed) = resumed {
            known.state = resumed.state;
        }
        connection.ready |= subscribed.is_ready;
        connection.subscriptions.push(Client::new(asked.topic, lane, known));
    }

    /// Ends one subscription.
    fn unsubscribe(&mut self, shard: usize, slot: usize, nth: usize) {
        let who = self.who(shard, slot);
        let connection = &mut self.connections[shard][slot];
        if connection.subscriptions.len() <= nth {
            return;
        }
        (connection.is_owed, connection.is_unsure) = (true, true);
        let client = connection.subscriptions.remove(nth);
        let standing = self.shards[shard].unsubscribe(who, &self.topics[client.topic], client.lane).unwrap();
        assert_eq!(standing.since, client.since);
        connection.remembered.insert(client.topic, client.remembered());
    }

    /// The connection ends.
    fn leave(&mut self, shard: usize, slot: usize) {
        let who = self.who(shard, slot);
        self.shards[shard].unsubscribe_all(who);
        assert_eq!(self.shards[shard].account(who), ringwire_hub::Account::default());
        self.forget(shard, slot);
    }

    fn forget(&mut self, shard: usize, slot: usize) {
        let connection = std::mem::take(&mut self.connections[shard][slot]);
        let mut remembered = connection.remembered;
        remembered.extend(connection.subscriptions.into_iter().map(|client| (client.topic, client.remembered())));
        let generation = connection.generation + 1;
        self.connections[shard][slot] = Connection { generation, remembered, ..Connection::default() };
    }

    /// The server ends, and comes back with what a journal would have: the last entry of each key, and the log.
    fn restart(&mut self, same_epoch: bool) {
        for shard in 0..SHARDS {
            (0..SLOTS).for_each(|slot| self.forget(shard, slot));
        }
        let before = std::mem::take(&mut self.topics);
        self.hub = Hub::new(TOPICS);
        if !same_epoch {
            for model in &mut self.models {
                *model = TopicModel { epoch: model.epoch + 1, ..TopicModel::default() };
            }
        }
        self.topics = open(&self.hub, &self.models, self.is_kept);
        (self.shards, self.mail) = (shards(), vec![VecDeque::new(); SHARDS]);
        if !same_epoch {
            return;
        }
        for (nth, model) in self.models.iter().enumerate() {
            let first = before[nth].first_seq();
            let state = model.state(model.head());
            for (seq, (kind, bytes)) in (1..).zip(&model.entries) {
                let is_last = matches!(kind, Kind::Update(key) if state.get(key) == Some(&seq));
                if seq < first && !is_last {
                    continue;
                }
                let (Kind::Update(key) | Kind::Remove(key)) = *kind else {
                    self.put_back(nth, seq, Subject::Message, *kind, *bytes);
                    continue;
                };
                let name = key.to_string();
                let subject =
                    if matches!(kind, Kind::Update(_)) { Subject::Update(&name) } else { Subject::Remove(&name) };
                self.put_back(nth, seq, subject, *kind, *bytes);
            }
            self.topics[nth].restore_last_seq(model.head());
        }
    }

    fn put_back(&self, nth: usize, seq: u64, subject: Subject<'_>, kind: Kind, bytes: usize) {
        let mut history = Vec::new();
        entry(LANES[0], nth as u8, seq, kind, bytes, &mut history);
        let of = Entry { subject, ..Entry::MESSAGE };
        let appended = Appended { seq, time_us: self.now_us, entry: &of, history: &history };
        match self.topics[nth].restore(&appended) {
            // Its key was set by an entry that is not known any more.
            Err(PublishError::NoSuchKey) => assert!(matches!(kind, Kind::Remove(_))),
            result => result.unwrap(),
        }
    }

    pub(crate) fn check_accounts(&self) {
        for (shard, connections) in self.connections.iter().enumerate() {
            for (slot, connection) in connections.iter().enumerate() {
                let mut count = 0;
                self.shards[shard].accounts(self.who(shard, slot), |topic, lane, standing| {
                    let client = connection.subscriptions.iter().find(|client| client.lane == lane).unwrap();
                    let account = standing.account;
                    assert!(Arc::ptr_eq(topic, &self.topics[client.topic]));
                    assert_eq!(standing.since, client.since);
                    assert_eq!(account.published, self.models[client.topic].head() - client.since);
                    let explained = account.delivered + account.skipped + account.gap + account.pending;
                    assert_eq!(explained, account.published);
                    assert!(client.delivered <= account.delivered + account.pending);
                    count += 1;
                });
                assert_eq!(count, connection.subscriptions.len());
            }
        }
    }

    /// Everything under way arrives, and is sent.
    pub(crate) fn settle(&mut self) {
        for shard in 0..SHARDS {
            for _ in 0..20 {
                while !self.mail[shard].is_empty() {
                    self.note(shard);
                }
                for slot in 0..SLOTS {
                    self.drain(shard, slot);
                }
                self.now_us = self.shards[shard].next_due().unwrap_or(self.now_us).max(self.now_us);
                self.turn(shard);
            }
            for slot in 0..SLOTS {
                self.check_settled(shard, slot);
            }
        }
        let subscriptions: usize = self.connections.iter().flatten().map(|each| each.subscriptions.len()).sum();
        let counted: u64 = self.topics.iter().map(|topic| topic.subscriptions()).sum();
        assert_eq!(counted, subscriptions as u64);
    }

    fn drain(&mut self, shard: usize, slot: usize) {
        self.complete(shard, slot, 1_000);
        for _ in 0..1_000 {
            let connection = &mut self.connections[shard][slot];
            if !connection.ready && connection.owed.is_empty() {
                return;
            }
            connection.ready = true;
            self.pull(shard, slot, 2_000);
            self.complete(shard, slot, 1_000);
        }
        panic!("it has been pulled for a thousand times, and there is still more");
    }

    fn check_settled(&mut self, shard: usize, slot: usize) {
        self.check_accounts();
        let who = self.who(shard, slot);
        let connection = &self.connections[shard][slot];
        assert!(connection.received.is_empty(), "whole frames");
        let accounts = &mut Vec::new();
        self.shards[shard].accounts(who, |_, lane, standing| accounts.push((lane, standing.account)));
        for client in &connection.subscriptions {
            let account = accounts.iter().find(|(lane, _)| *lane == client.lane).unwrap().1;
            let model = &self.models[client.topic];
            assert_eq!((account.pending, account.delivered), (0, client.delivered));
            if client.lane != SILENT {
                assert_eq!((account.skipped, account.gap), (client.skipped, client.gap));
                assert_eq!(client.known.at, model.head());
            }
            if let Some(state) = &client.known.state {
                assert_eq!(*state, model.state(model.head()), "the state in the end");
            }
        }
        let mut named = 0;
        self.shards[shard].caught_up(who, |topic, at| {
            assert_eq!(at, topic.last_seq());
            named += 1;
        });
        assert!(named <= self.connections[shard][slot].subscriptions.len());
        self.shards[shard].caught_up(who, |_, _| panic!("nothing has come since"));
    }
}

/// Where the frames of `bytes` end; and of how many lanes they are.
fn boundaries(bytes: &[u8]) -> (Vec<usize>, usize) {
    let (mut ends, mut lanes) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < bytes.len() {
        let lane = *LANES.iter().find(|lane| lane.index() == usize::from(bytes[at + 5])).unwrap();
        at += decode(&bytes[at..], lane).expect("whole frames").1;
        ends.push(at);
        if !lanes.contains(&lane) {
            lanes.push(lane);
        }
    }
    (ends, lanes.len())
}
