//! Who is not simply given each entry: rounds, ticks, ages, replay, snapshots. One test per rule.
//!
//! A frame is a word: `3k` updates key k by entry 3, `4-k` removes it, `5` is a message. Notices and snapshots stand in
//! brackets.

mod taken_back;

use std::sync::Arc;

use ringwire_hub::{
    Account, Begin, Entry, Framer, GapReason, Hub, Key, LaneId, Mode, Notice, Part, Retention, ShardHub, ShardId,
    ShardLimits, SkipReason, SlowPolicy, Start, Subject, Subscriber, Topic, TopicKind, TopicName, TopicOptions, Wake,
    Wanted,
};

const HISTORY: LaneId = LaneId::HISTORY;
const JSON: LaneId = LaneId::new(5);
const KEEP_ALL: Retention = Retention { entries: u64::MAX, bytes: usize::MAX, age_us: u64::MAX };
const KEYED: TopicOptions = TopicOptions {
    epoch: 9,
    kind: TopicKind::Keyed { keys_max: 10_000, key_ttl_us: u64::MAX },
    retention: KEEP_ALL,
    entry_bytes_max: 1 << 20,
    backlog_bytes_max: u64::MAX,
    tick_us: 0,
};
const PLAIN: TopicOptions = TopicOptions { kind: TopicKind::Plain, ..KEYED };

/// In lane [`JSON`] what is replayed says so.
struct Words;

impl Framer for Words {
    fn replay(&mut self, _: LaneId, _: &Topic, history: &[u8], out: &mut Vec<u8>) {
        out.push(b'~');
        out.extend_from_slice(history);
    }

    fn notice(&mut self, _: LaneId, _: &Topic, notice: Notice, out: &mut Vec<u8>) {
        let text = match notice {
            Notice::Skip { from, to, count, why } => {
                let why = match why {
                    SkipReason::Conflated => "conflated",
                    SkipReason::Rate => "rate",
                    SkipReason::Age => "age",
                };
                format!("[{count} of {from}..{to} {why}] ")
            }
            Notice::Gap { from, to, why } => {
                format!("[gap {from}..{to} {}] ", if why == GapReason::Slow { "slow" } else { "lost" })
            }
        };
        out.extend(text.bytes());
    }

    fn snapshot(&mut self, _: LaneId, _: &Topic, seq: u64, keys: &[Key], part: Part, out: &mut Vec<u8>) {
        out.extend(if part.first { format!("[by {seq}: ") } else { "[".to_owned() }.bytes());
        keys.iter().for_each(|key| out.extend_from_slice(&key.history));
        out.extend_from_slice(if part.last { b"end] " } else { b"] " });
    }
}

/// A topic and a shard with one subscriber after another.
struct World {
    hub: Hub,
    topic: Arc<Topic>,
    shard: ShardHub,
    now_us: u64,
}

impl World {
    fn new(options: TopicOptions) -> Self {
        let hub = Hub::new(10);
        let topic = hub.open(&TopicName::new("t").unwrap(), || options.into()).unwrap().topic;
        let limits = ShardLimits { slots_max: 2_000, subscriptions_max: 2_000 };
        let mut world = Self { hub, topic, shard: ShardHub::new(ShardId::new(0), limits), now_us: 10_000_000 };
        world.wait(0);
        world
    }

    /// Publishes words: `k` updates key k, `-k` removes it, `.` is a message.
    fn publish(&self, words: &str) {
        for word in words.split(' ') {
            let subject = match (word, word.strip_prefix('-')) {
                (".", _) => Subject::Message,
                (_, Some(key)) => Subject::Remove(key),
                (key, None) => Subject::Update(key),
            };
            let encode = |_, seq, _, out: &mut Vec<u8>| {
                out.extend(format!("{seq}{} ", if word == "." { "" } else { word }).bytes());
            };
            let entry = Entry { subject, ..Entry::MESSAGE };
            self.topic.publish(self.now_us, &entry, &mut Vec::new(), encode).unwrap();
        }
    }

    fn note(&mut self) -> Vec<u32> {
        let mut woken = Vec::new();
        self.shard.note(self.topic.id(), self.now_us, |who, wake| {
            assert_eq!(wake, Wake::Ready);
            woken.push(who.slot);
        });
        woken
    }

    fn subscribe(&mut self, slot: u32, wanted: &Wanted) -> (u64, Begin, bool) {
        let subscribed = self.shard.subscribe(who(slot), &self.topic, wanted).unwrap();
        (subscribed.seq, subscribed.begin, subscribed.is_ready)
    }

    fn pull(&mut self, slot: u32, budget: usize) -> String {
        let mut bytes = Vec::new();
        self.shard.pull(who(slot), budget, self.now_us, &mut Words, |run| run.copy_to(&mut bytes));
        String::from_utf8(bytes).unwrap()
    }

    /// Publishes, notes, pulls.
    fn serve(&mut self, words: &str) -> String {
        self.publish(words);
        self.note();
        self.pull(0, 10_000)
    }

    /// Time passes. Returns who is woken by it.
    fn wait(&mut self, us: u64) -> Vec<u32> {
        self.now_us += us;
        let mut woken = Vec::new();
        self.shard.end_turn(self.now_us);
        self.shard.due(self.now_us, |who, _| woken.push(who.slot));
        woken
    }

    fn account(&self, slot: u32) -> (u64, u64, u64, u64) {
        let Account { published, delivered, skipped, gap, pending } = self.shard.account(who(slot));
        assert_eq!(delivered + skipped + gap + pending, published);
        (delivered, skipped, gap, pending)
    }
}

fn who(slot: u32) -> Subscriber {
    Subscriber { slot, generation: 0 }
}

const LATEST: Wanted = Wanted::latest(HISTORY);
const ALL: Wanted = Wanted::all(HISTORY, SlowPolicy::Drop);

#[test]
fn of_what_waits_the_latest_of_each_key_comes_and_what_has_no_key() {
    let mut world = World::new(KEYED);
    world.subscribe(0, &LATEST);
    assert_eq!(world.pull(0, 100), "[by 0: end] ");
    assert_eq!(world.serve("a b a . a b -b"), "[4 of 1..7 conflated] 4 5a 7-b ");
    assert_eq!(world.account(0), (3, 4, 0, 0));
    assert_eq!(world.serve("c"), "8c ", "who is prompt gets each");
}

#[test]
fn on_a_plain_topic_the_last_comes() {
    let mut world = World::new(PLAIN);
    world.subscribe(0, &LATEST);
    assert_eq!(world.serve(". . . ."), "[3 of 1..3 conflated] 4 ");
    assert_eq!(world.serve("."), "5 ");
}

#[test]
fn a_round_is_done_with_before_the_next_begins() {
    let mut world = World::new(KEYED);
    world.subscribe(0, &Wanted { snapshot: false, ..LATEST });
    world.publish("a b c d a");
    world.note();
    assert_eq!(world.pull(0, 0), "[1 of 1..2 conflated] 2b ");
    world.publish("c d");
    world.note();
    assert_eq!(world.pull(0, 6), "3c 4d ", "they are of the round that has begun");
    assert_eq!(world.pull(0, 100), "5a 6c 7d ");
}

#[test]
fn rounds_are_no_closer_than_the_interval() {
    let mut world = World::new(KEYED);
    world.subscribe(0, &Wanted { interval_us: 50_000, snapshot: false, ..ALL });
    assert_eq!(world.serve("a b"), "1a 2b ");
    assert_eq!(world.serve("a"), "");
    assert_eq!(world.shard.next_due(), Some(world.now_us + 50_000));
    world.publish("a b a");
    assert_eq!(world.note(), [], "it waits, and is not woken");
    assert_eq!(world.pull(0, 1_000), "");
    assert_eq!(world.wait(49_999), []);
    assert_eq!(world.wait(1), [0]);
    assert_eq!(world.pull(0, 1_000), "[2 of 3..6 rate] 5b 6a ");
    world.wait(1_000_000);
    assert_eq!(world.serve("a"), "7a ", "who has waited long enough waits no more");
    assert_eq!(world.account(0), (5, 2, 0, 0));
}

#[test]
fn a_subscription_that_waits_can_end() {
    let mut world = World::new(KEYED);
    world.subscribe(0, &Wanted { interval_us: 50_000, snapshot: false, ..ALL });
    world.serve("a");
    world.serve("a");
    let standing = world.shard.unsubscribe(who(0), &world.topic, HISTORY).unwrap();
    assert_eq!((standing.account.delivered, standing.account.pending), (1, 1));
    assert_eq!(world.shard.next_due(), None);
    assert_eq!(world.wait(60_000), []);
}

#[test]
fn a_topic_ticks_at_the_same_instants_for_all() {
    let mut world = World::new(TopicOptions { tick_us: 20_000, ..KEYED });
    let mut other = ShardHub::new(ShardId::new(1), ShardLimits { slots_max: 1, subscriptions_max: 1 });
    let wanted = Wanted { snapshot: false, ..ALL };
    other.subscribe(who(0), &world.topic, &wanted).unwrap();
    world.subscribe(0, &wanted);
    world.subscribe(1, &wanted);
    world.now_us += 7_000;
    world.publish("a b a");
    assert_eq!(world.note(), []);
    other.note(world.topic.id(), world.now_us + 3_000, |_, _| panic!("it is not time"));
    assert_eq!((world.shard.next_due(), other.next_due()), (Some(10_020_000), Some(10_020_000)));
    assert_eq!(world.wait(12_999), []);
    assert_eq!(world.wait(1).len(), 2);
    assert_eq!(world.pull(0, 1_000), "[1 of 1..3 rate] 2b 3a ");
    world.publish("a");
    assert_eq!(world.pull(1, 1_000), "[1 of 1..3 rate] 2b 3a ", "what came since is of the next tick");
}

#[test]
fn what_is_too_old_is_conflated_or_skipped() {
    for (options, old, young, want) in
        [(KEYED, "a b a b", "b c", "[3 of 1..6 age] 3a 5b 6c "), (PLAIN, ". . . .", ". .", "[4 of 1..4 age] 5 6 ")]
    {
        let mut world = World::new(options);
        world.subscribe(0, &Wanted { max_age_us: 100_000, snapshot: false, ..ALL });
        world.publish(old);
        world.note();
        world.now_us += 150_000;
        world.publish(young);
        world.note();
        assert_eq!(world.pull(0, 1_000), want);
        world.now_us += 50_000;
        assert_eq!(world.serve(young).matches('[').count(), 0, "what is young enough comes");
    }
}

#[test]
fn who_lags_beyond_the_backlog_is_conflated_until_it_has_caught_up() {
    let mut world = World::new(TopicOptions { backlog_bytes_max: 30, ..KEYED });
    world.subscribe(0, &Wanted { slow: SlowPolicy::Latest, snapshot: false, ..ALL });
    world.publish("a a a");
    world.note();
    assert_eq!(world.pull(0, 0), "1a ", "within the backlog it gets each");
    world.publish("a a a a a a a a a a b");
    world.note();
    assert_eq!(world.pull(0, 100), "[11 of 2..14 conflated] 13a 14b ");
    assert_eq!(world.serve("a a"), "15a 16a ", "it has caught up");
}

#[test]
fn beyond_the_backlog_a_gap_is_told_and_the_state_follows() {
    let mut world = World::new(TopicOptions { backlog_bytes_max: 30, ..KEYED });
    world.subscribe(0, &Wanted { snapshot: false, ..ALL });
    assert_eq!(world.serve("a b ".repeat(20).trim_end()), "[gap 1..40 slow] [by 40: 39a 40b end] ");
    assert_eq!(world.serve("c"), "41c ");
    assert_eq!(world.account(0), (1, 0, 40, 0));
    let mut world = World::new(TopicOptions { backlog_bytes_max: 30, ..PLAIN });
    world.subscribe(0, &ALL);
    assert_eq!(world.serve(". ".repeat(20).trim_end()), "[gap 1..20 slow] ");
}

#[test]
fn who_wants_the_latest_jumps_over_what_is_not_held_by_a_snapshot() {
    let mut world = World::new(TopicOptions { retention: Retention { entries: 10, ..KEEP_ALL }, ..KEYED });
    world.subscribe(0, &Wanted { snapshot: false, ..LATEST });
    let words = "a ".to_owned() + &"b c ".repeat(500);
    assert_eq!(world.serve(words.trim_end()), "[1001 of 1..1001 conflated] [by 1001: 1a 1000b 1001c end] ");
    assert_eq!(world.account(0), (0, 1001, 0, 0));
}

#[test]
fn entries_from_before_the_lane_are_made_from_the_history() {
    let mut world = World::new(KEYED);
    world.publish("a b c");
    let back = Wanted { start: Start::Back { entries: 2 }, ..Wanted::all(JSON, SlowPolicy::Drop) };
    assert_eq!(world.subscribe(0, &back), (1, Begin::New, true));
    world.publish("d");
    assert_eq!(world.pull(0, 4), "~2b ");
    assert_eq!(world.pull(0, 100), "~3c ");
    world.note();
    assert_eq!(world.pull(0, 100), "4d ");
}

#[test]
fn who_comes_from_the_past_is_not_slow_until_it_has_caught_up() {
    let mut world = World::new(TopicOptions { backlog_bytes_max: 30, ..PLAIN });
    world.publish(". ".repeat(30).trim_end());
    world.subscribe(0, &Wanted { start: Start::Back { entries: 25 }, ..ALL });
    let mut got = String::new();
    for _ in 0..25 {
        got += &world.pull(0, 0);
    }
    assert_eq!(got, (6..=30).map(|seq| format!("{seq} ")).collect::<String>());
    assert_eq!(world.serve(". ".repeat(30).trim_end()), "[gap 31..60 slow] ", "now it is");
}

#[test]
fn a_pull_looks_at_so_many_entries_and_no_more() {
    let mut world = World::new(KEYED);
    world.subscribe(0, &Wanted { snapshot: false, ..LATEST });
    assert_eq!(world.serve("a ".repeat(10_000).trim_end()), "[4096 of 1..4096 conflated] ");
    assert_eq!(world.pull(0, 100), "[4096 of 4097..8192 conflated] ");
    assert_eq!(world.pull(0, 100), "[1807 of 8193..10000 conflated] 10000a ");
}

#[test]
fn a_resumed_subscription_misses_nothing_and_a_lost_place_is_said() {
    let mut world = World::new(TopicOptions { retention: Retention { entries: 5, ..KEEP_ALL }, ..KEYED });
    world.publish("a b c");
    let after = |epoch, seq| Wanted { start: Start::After { epoch, seq }, ..ALL };
    assert_eq!(world.subscribe(0, &after(9, 1)), (1, Begin::Resumed, true));
    assert_eq!(world.pull(0, 100), "2b 3c ");
    assert_eq!(world.subscribe(1, &after(9, 3)), (3, Begin::Resumed, false));
    assert_eq!(world.subscribe(2, &after(9, 4)), (3, Begin::Reset, true), "it has not been published");
    assert_eq!(world.pull(2, 100), "[by 3: 1a 2b 3c end] ");
    assert_eq!(world.subscribe(3, &after(8, 2)), (3, Begin::Reset, true), "another epoch");
    world.publish("a ".repeat(1_000).trim_end());
    assert_eq!(world.subscribe(4, &after(9, 3)), (1_003, Begin::Reset, true), "not held");
}

#[test]
fn a_new_topic_of_a_pattern_is_read_from_its_first_entry() {
    let mut world = World::new(KEYED);
    world.publish("a b");
    let first = Wanted { start: Start::First, ..Wanted::all(JSON, SlowPolicy::Drop) };
    assert_eq!(world.subscribe(0, &first), (0, Begin::New, true));
    assert_eq!(world.pull(0, 100), "~1a ~2b ", "nobody had the lane, and no snapshot is needed");
}

#[test]
fn a_snapshot_is_shared_by_who_begins_within_a_tenth_of_a_second() {
    let mut world = World::new(KEYED);
    world.publish("a b");
    assert_eq!(world.subscribe(0, &ALL).0, 2);
    world.publish("c ".repeat(10).trim_end());
    world.wait(100_000 - 1);
    assert_eq!(world.subscribe(1, &ALL).0, 2, "the log covers what came since");
    world.wait(200_000);
    assert_eq!(world.subscribe(2, &ALL).0, 12);
    assert_eq!(world.pull(1, 14), "[by 2: 1a 2b end] ");
    assert_eq!(world.pull(2, 100), "[by 12: 1a 2b 12c end] ");
    let at = |world: &mut World, slot| {
        let mut words = Vec::new();
        world.shard.pull(who(slot), 0, world.now_us, &mut Words, |run| words.push(Arc::downgrade(run.words)));
        words.remove(0)
    };
    let mut world = World::new(KEYED);
    world.publish("a b");
    world.subscribe(0, &ALL);
    world.subscribe(1, &ALL);
    let (one, two) = (at(&mut world, 0), at(&mut world, 1));
    assert!(one.ptr_eq(&two) && one.strong_count() == 1, "the same bytes");
    world.wait(100_001);
    assert_eq!(one.strong_count(), 0, "nobody receives it any more");
}

#[test]
fn snapshots_that_stalled_receivers_hold_are_bounded() {
    let mut world = World::new(TopicOptions { retention: Retention { entries: 100, ..KEEP_ALL }, ..KEYED });
    let keys: Vec<String> = (0..2_000).map(|key| format!("key{key:09}")).collect();
    world.publish(&keys.join(" "));
    let mut parts = Vec::new();
    for slot in 0..50 {
        world.subscribe(slot, &ALL);
        world.shard.pull(who(slot), 0, world.now_us, &mut Words, |run| parts.push(Arc::downgrade(run.words)));
        world.publish(&keys.join(" "));
        world.wait(200_000);
    }
    assert!(parts.iter().filter(|part| part.strong_count() > 0).count() <= 2);
    // The first of them begins again with another snapshot, and ends with the state.
    let mut got = String::new();
    for _ in 0..200 {
        got += &world.pull(0, 20_000);
        world.wait(1_000);
    }
    let last = got.rsplit("[by ").next().unwrap();
    assert!(got.contains("[gap 2001..") && last.contains("end]"), "{}", &got[..200]);
    assert!(last.matches("key").count() >= 2_000);
    assert_eq!(world.account(0).3, 0);
}

#[test]
fn a_topic_that_is_let_go_is_another_one_when_it_is_opened_again() {
    let mut world = World::new(TopicOptions { retention: Retention { age_us: 1_000, ..KEEP_ALL }, ..PLAIN });
    world.subscribe(0, &Wanted { interval_us: 1_000_000, ..ALL });
    world.serve(".");
    world.publish(".");
    world.shard.unsubscribe_all(who(0));
    world.note();
    world.wait(10_000);
    world.topic.retain(world.now_us);
    assert_eq!(world.hub.let_go_idle(u64::MAX), 1);
    let refused = world.shard.subscribe(who(0), &world.topic, &ALL);
    assert_eq!(refused, Err(ringwire_hub::SubscribeError::Gone));
    let next = world.hub.open(&TopicName::new("u").unwrap(), || KEYED.into()).unwrap().topic;
    assert_eq!(next.id(), world.topic.id());
    world.topic = next;
    world.subscribe(0, &Wanted { mode: Mode::Latest, ..ALL });
    assert_eq!(world.pull(0, 100), "[by 0: end] ");
    assert_eq!(world.serve("a a"), "[1 of 1..2 conflated] 2a ");
}

#[test]
fn who_has_been_handed_everything_is_told_the_last_entry_once() {
    let mut world = World::new(KEYED);
    world.subscribe(0, &LATEST);
    world.pull(0, 100);
    let at = |world: &mut World| {
        let mut at = Vec::new();
        world.shard.caught_up(who(0), |_, seq| at.push(seq));
        at
    };
    at(&mut world);
    world.publish("a b");
    world.note();
    assert_eq!(at(&mut world), [], "something is pending");
    world.pull(0, 100);
    assert_eq!(at(&mut world), [2]);
    assert_eq!(at(&mut world), [], "nothing has come since");
}
