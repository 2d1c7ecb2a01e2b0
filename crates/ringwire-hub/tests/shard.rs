//! One shard: who is woken, what a pull hands out, and what a rewind takes back. One test per rule.

use std::sync::Arc;

use ringwire_hub::{
    Account, Entry, Framer, Hub, Key, LaneId, Notice, Part, Pulled, Retention, ShardHub, ShardId, ShardLimits,
    ShardSet, SlowPolicy, SubscribeError, Subscriber, Topic, TopicName, TopicOptions, Wake, Wanted,
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
const SHARD: ShardId = ShardId::new(5);

fn open(hub: &Hub, name: &str) -> Arc<Topic> {
    hub.open(&TopicName::new(name).unwrap(), || TopicOptions { retention: KEEP_ALL, ..TopicOptions::default() }.into())
        .unwrap()
        .topic
}

fn with_backlog(backlog_bytes_max: u64) -> Arc<Topic> {
    let options = TopicOptions { retention: KEEP_ALL, backlog_bytes_max, ..TopicOptions::default() };
    Hub::new(1).open(&TopicName::new("t").unwrap(), || options.into()).unwrap().topic
}

fn shard() -> ShardHub {
    ShardHub::new(SHARD, ShardLimits { slots_max: 1_000, subscriptions_max: 1_000 })
}

fn who(slot: u32) -> Subscriber {
    Subscriber { slot, generation: 1 }
}

fn publish(topic: &Topic, bytes: &[u8]) -> ShardSet {
    topic.publish(0, &Entry::MESSAGE, &mut Vec::new(), |_, _, _, out| out.extend_from_slice(bytes)).unwrap().notify
}

fn note(shard: &mut ShardHub, topic: &Topic) -> Vec<(u32, Wake)> {
    let mut woken = Vec::new();
    shard.note(topic.id(), 0, |who, wake| woken.push((who.slot, wake)));
    woken
}

fn pull(shard: &mut ShardHub, who: Subscriber, budget: usize) -> (String, Pulled) {
    let mut bytes = Vec::new();
    let pulled = shard.pull(who, budget, 0, &mut NoFrames, |run| run.copy_to(&mut bytes));
    (String::from_utf8(bytes).unwrap(), pulled)
}

#[test]
fn only_entries_after_the_subscription_are_delivered() {
    let (topic, mut shard) = (with_backlog(u64::MAX), shard());
    publish(&topic, b"a");
    assert_eq!(
        shard
            .subscribe(who(0), &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop))
            .map(|subscribed| subscribed.seq),
        Ok(1)
    );
    publish(&topic, b"b");
    assert_eq!(
        shard
            .subscribe(who(1), &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop))
            .map(|subscribed| subscribed.seq),
        Ok(2)
    );
    assert_eq!(note(&mut shard, &topic), [(0, Wake::Ready)]);
    publish(&topic, b"c");
    assert_eq!(note(&mut shard, &topic), [(1, Wake::Ready)]);
    assert_eq!(pull(&mut shard, who(0), 100).0, "bc");
    assert_eq!(pull(&mut shard, who(1), 100).0, "c");
}

#[test]
fn a_subscriber_is_woken_once_until_it_has_nothing_pending() {
    let (topic, mut shard) = (with_backlog(u64::MAX), shard());
    shard.subscribe(who(0), &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop)).unwrap();
    publish(&topic, b"ab");
    publish(&topic, b"cd");
    assert_eq!(note(&mut shard, &topic), [(0, Wake::Ready)]);
    assert!(pull(&mut shard, who(0), 2).1.more);
    publish(&topic, b"ef");
    assert_eq!(note(&mut shard, &topic), []);
    let (bytes, pulled) = pull(&mut shard, who(0), 4);
    assert_eq!((bytes.as_str(), pulled.more), ("cdef", false));
    publish(&topic, b"gh");
    assert_eq!(note(&mut shard, &topic), [(0, Wake::Ready)]);
}

#[test]
fn a_pull_stays_within_its_budget_but_gives_one_entry() {
    let (topic, mut shard) = (with_backlog(u64::MAX), shard());
    shard.subscribe(who(0), &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop)).unwrap();
    ["1111", "22", "3", "4444"].iter().for_each(|entry| _ = publish(&topic, entry.as_bytes()));
    note(&mut shard, &topic);
    assert_eq!(pull(&mut shard, who(0), 0).0, "1111");
    assert_eq!(pull(&mut shard, who(0), 6).0, "223");
    assert_eq!(pull(&mut shard, who(0), 3).0, "4444");
    assert_eq!(pull(&mut shard, who(0), 3), (String::new(), Pulled::default()));
}

#[test]
fn subscriptions_of_one_subscriber_are_served_in_turn() {
    let (hub, mut shard) = (Hub::new(3), shard());
    let topics = ["a", "b", "c"].map(|name| open(&hub, name));
    for topic in &topics {
        shard.subscribe(who(0), topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop)).unwrap();
        (0..4).for_each(|_| _ = publish(topic, topic.name().as_str().as_bytes()));
        note(&mut shard, topic);
    }
    let pulls: Vec<String> = (0..6).map(|_| pull(&mut shard, who(0), 2).0).collect();
    assert_eq!(pulls, ["aa", "bb", "cc", "aa", "bb", "cc"]);
}

#[test]
fn every_lane_has_its_own_bytes() {
    let (topic, mut shard, combined) = (with_backlog(u64::MAX), shard(), LaneId::new(7));
    shard.subscribe(who(0), &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop)).unwrap();
    shard.subscribe(who(1), &topic, &Wanted::all(combined, SlowPolicy::Drop)).unwrap();
    for _ in 0..2 {
        topic
            .publish(0, &Entry::MESSAGE, &mut Vec::new(), |lane, seq, _, out| {
                out.extend(format!("{}.{seq} ", lane.index()).bytes())
            })
            .unwrap();
    }
    assert_eq!(note(&mut shard, &topic).len(), 2);
    assert_eq!(pull(&mut shard, who(0), 100).0, "0.1 0.2 ");
    assert_eq!(pull(&mut shard, who(1), 100).0, "7.1 7.2 ");
}

#[test]
fn a_rewind_owes_the_rest_of_the_entry_that_has_begun() {
    for (unsent, owed, again) in [(0, 0, ""), (1, 1, ""), (3, 3, ""), (4, 0, "DDDD"), (5, 1, "DDDD"), (6, 0, "CCDDDD")]
    {
        let (topic, mut shard) = (with_backlog(u64::MAX), shard());
        shard.subscribe(who(0), &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop)).unwrap();
        ["AAA", "B", "CC", "DDDD"].iter().for_each(|entry| _ = publish(&topic, entry.as_bytes()));
        note(&mut shard, &topic);
        assert_eq!(pull(&mut shard, who(0), 100).0.len(), 10);
        assert_eq!(shard.rewind(who(0), unsent), owed, "{unsent}");
        assert_eq!(shard.account(who(0)).pending > 0, !again.is_empty());
        assert_eq!(pull(&mut shard, who(0), 100).0, again, "{unsent}");
    }
}

#[test]
fn a_pull_is_rewound_once() {
    let (topic, mut shard) = (with_backlog(u64::MAX), shard());
    shard.subscribe(who(0), &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop)).unwrap();
    ["AAA", "BBB"].iter().for_each(|entry| _ = publish(&topic, entry.as_bytes()));
    note(&mut shard, &topic);
    pull(&mut shard, who(0), 3);
    pull(&mut shard, who(0), 3);
    assert_eq!(shard.rewind(who(0), 0), 0);
    assert_eq!(shard.rewind(who(0), 3), 3);
    assert_eq!(shard.account(who(0)).delivered, 2);
}

#[test]
fn a_rewind_takes_back_the_last_pull_and_no_more() {
    let (topic, mut shard) = (with_backlog(u64::MAX), shard());
    shard.subscribe(who(0), &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop)).unwrap();
    ["AAA", "BBB"].iter().for_each(|entry| _ = publish(&topic, entry.as_bytes()));
    note(&mut shard, &topic);
    pull(&mut shard, who(0), 3);
    pull(&mut shard, who(0), 3);
    assert_eq!(shard.rewind(who(0), 6), 3);
    assert_eq!(pull(&mut shard, who(0), 100).0, "BBB");
}

#[test]
fn a_rewind_reaches_over_subscriptions_and_pulls_of_others() {
    let (hub, mut shard) = (Hub::new(3), shard());
    for name in ["a", "b", "c"] {
        let topic = open(&hub, name);
        for slot in 0..2 {
            shard.subscribe(who(slot), &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop)).unwrap();
        }
        (0..2).for_each(|_| _ = publish(&topic, name.repeat(3).as_bytes()));
        note(&mut shard, &topic);
    }
    assert_eq!(pull(&mut shard, who(0), 100).0, "aaaaaabbbbbbcccccc");
    assert_eq!(pull(&mut shard, who(1), 100).0, "aaaaaabbbbbbcccccc");
    assert_eq!(shard.rewind(who(0), 13), 1, "of aaaaa.abbbbbbcccccc");
    assert_eq!(shard.rewind(who(1), 8), 2, "of aaaaaabbbb.bbcccccc");
    assert_eq!(pull(&mut shard, who(0), 100).0, "bbbbbbcccccc");
    assert_eq!(pull(&mut shard, who(1), 100).0, "cccccc");
    assert_eq!(shard.account(who(0)), Account { published: 6, delivered: 6, skipped: 0, gap: 0, pending: 0 });
}

#[test]
fn what_the_log_has_let_go_is_owed_whole() {
    let options = TopicOptions { retention: Retention { bytes: 4_000, ..KEEP_ALL }, ..TopicOptions::default() };
    let (topic, mut shard) =
        (Hub::new(1).open(&TopicName::new("t").unwrap(), || options.into()).unwrap().topic, shard());
    shard.subscribe(who(0), &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop)).unwrap();
    (0..3).for_each(|_| _ = publish(&topic, &[b'x'; 100]));
    note(&mut shard, &topic);
    pull(&mut shard, who(0), 1_000);
    (0..100).for_each(|_| _ = publish(&topic, &[b'y'; 100]));
    assert_eq!(shard.rewind(who(0), 250), 250);
    assert_eq!(shard.account(who(0)), Account { published: 103, delivered: 3, skipped: 0, gap: 0, pending: 100 });
}

#[test]
fn a_pull_of_which_nothing_was_sent_is_taken_back_although_the_log_has_let_it_go() {
    let options = TopicOptions { retention: Retention { bytes: 4_000, ..KEEP_ALL }, ..TopicOptions::default() };
    let (topic, mut shard) =
        (Hub::new(1).open(&TopicName::new("t").unwrap(), || options.into()).unwrap().topic, shard());
    shard.subscribe(who(0), &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop)).unwrap();
    (0..3).for_each(|_| _ = publish(&topic, &[b'x'; 100]));
    note(&mut shard, &topic);
    pull(&mut shard, who(0), 1_000);
    (0..100).for_each(|_| _ = publish(&topic, &[b'y'; 100]));
    assert_eq!(shard.rewind(who(0), 300), 0);
    note(&mut shard, &topic);
    assert_eq!(pull(&mut shard, who(0), 1_000).1.gap, 103);
}

#[test]
fn a_cursor_beyond_the_backlog_limit_jumps_and_the_gap_is_counted() {
    let (topic, mut shard) = (with_backlog(300), shard());
    shard.subscribe(who(0), &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop)).unwrap();
    (0..3).for_each(|_| _ = publish(&topic, &[b'x'; 100]));
    note(&mut shard, &topic);
    publish(&topic, b"y");
    assert_eq!(note(&mut shard, &topic), []);
    let (bytes, pulled) = pull(&mut shard, who(0), 1_000);
    assert_eq!((bytes.as_str(), pulled), ("", Pulled { gap: 4, ..Pulled::default() }));
    assert_eq!((shard.account(who(0)).gap, topic.gap()), (4, 4));
    publish(&topic, b"z");
    assert_eq!(note(&mut shard, &topic), [(0, Wake::Ready)]);
    assert_eq!(pull(&mut shard, who(0), 1_000).0, "z");
}

#[test]
fn a_backlog_at_its_limit_is_delivered() {
    let (topic, mut shard) = (with_backlog(300), shard());
    shard.subscribe(who(0), &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop)).unwrap();
    (0..3).for_each(|_| _ = publish(&topic, &[b'x'; 100]));
    note(&mut shard, &topic);
    assert_eq!(pull(&mut shard, who(0), 1_000).0.len(), 300);
}

#[test]
fn a_slow_subscriber_that_is_not_pulled_is_reported_by_a_note_once() {
    let (topic, mut shard) = (with_backlog(300), shard());
    shard.subscribe(who(0), &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Disconnect)).unwrap();
    for (nth, woken) in [vec![(0, Wake::Ready)], vec![], vec![], vec![(0, Wake::Slow)], vec![]].iter().enumerate() {
        publish(&topic, &[b'x'; 100]);
        assert_eq!(note(&mut shard, &topic), *woken, "{nth}");
    }
    let (bytes, pulled) = pull(&mut shard, who(0), 1_000);
    assert_eq!((bytes.as_str(), pulled), ("", Pulled { slow: true, more: true, ..Pulled::default() }));
    assert_eq!(shard.account(who(0)), Account { published: 5, pending: 5, ..Account::default() });
}

#[test]
fn a_note_under_way_is_the_only_one_although_the_shard_leaves_and_joins() {
    let (topic, mut shard) = (with_backlog(u64::MAX), shard());
    shard.subscribe(who(0), &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop)).unwrap();
    assert!(publish(&topic, b"a").contains(SHARD));
    shard.unsubscribe_all(who(0));
    shard.subscribe(who(1), &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop)).unwrap();
    assert!(publish(&topic, b"b").is_empty(), "the first note has not arrived");
    assert_eq!(note(&mut shard, &topic), [(1, Wake::Ready)]);
    assert!(publish(&topic, b"c").contains(SHARD));
    shard.unsubscribe_all(who(1));
    assert_eq!(note(&mut shard, &topic), []);
    assert!(publish(&topic, b"d").is_empty(), "nobody is there");
    shard.subscribe(who(2), &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop)).unwrap();
    assert!(publish(&topic, b"e").contains(SHARD));
}

#[test]
fn a_name_of_an_earlier_generation_reaches_nobody() {
    let (topic, mut shard) = (with_backlog(u64::MAX), shard());
    let (old, new) = (Subscriber { slot: 4, generation: 1 }, Subscriber { slot: 4, generation: 2 });
    shard.subscribe(old, &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop)).unwrap();
    publish(&topic, b"a");
    note(&mut shard, &topic);
    shard.subscribe(new, &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop)).unwrap();
    assert_eq!(topic.subscriptions(), 1, "the slot has one owner");
    publish(&topic, b"b");
    note(&mut shard, &topic);
    assert_eq!(pull(&mut shard, old, 100), (String::new(), Pulled::default()));
    assert_eq!(shard.rewind(old, 7), 7);
    shard.unsubscribe_all(old);
    assert_eq!(pull(&mut shard, new, 100).0, "b");
}

#[test]
fn subscriptions_are_bounded_and_unique() {
    let (hub, limits) = (Hub::new(3), ShardLimits { slots_max: 2, subscriptions_max: 2 });
    let (mut shard, topics) = (ShardHub::new(SHARD, limits), ["a", "b", "c"].map(|name| open(&hub, name)));
    let mut subscribe =
        |slot, topic| shard.subscribe(who(slot), topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop));
    assert_eq!(subscribe(2, &topics[0]).map(drop), Err(SubscribeError::SlotOutOfRange));
    assert!(subscribe(0, &topics[0]).is_ok());
    assert_eq!(subscribe(0, &topics[0]).map(drop), Err(SubscribeError::AlreadySubscribed));
    assert!(subscribe(0, &topics[1]).is_ok());
    assert_eq!(subscribe(1, &topics[2]).map(drop), Err(SubscribeError::TooManySubscriptions));
    assert_eq!(topics[2].subscriptions(), 0);
}

#[test]
fn nobody_is_always_served_first_or_last() {
    for count in [2u32, 7, 100] {
        let (topic, mut shard) = (with_backlog(u64::MAX), shard());
        for slot in 0..count {
            shard.subscribe(who(slot), &topic, &Wanted::all(LaneId::HISTORY, SlowPolicy::Drop)).unwrap();
        }
        let (rounds, mut first, mut last) = (count * 50, vec![0u32; count as usize], vec![0u32; count as usize]);
        for _ in 0..rounds {
            publish(&topic, b"x");
            let woken = note(&mut shard, &topic);
            let mut slots: Vec<u32> = woken.iter().map(|(slot, _)| *slot).collect();
            first[slots[0] as usize] += 1;
            last[slots[slots.len() - 1] as usize] += 1;
            slots.iter().for_each(|slot| _ = pull(&mut shard, who(*slot), 100));
            slots.sort_unstable();
            assert!(slots.iter().copied().eq(0..count), "everybody is served in each round");
        }
        for times in first.iter().chain(&last) {
            assert!((45..=55).contains(times), "{times} times of {rounds} by {count}");
        }
    }
}

#[test]
fn over_a_thousand_publishes_each_is_served_in_the_middle_on_average() {
    let (topic, mut shard, count) = (with_backlog(u64::MAX), shard(), 500u32);
    for slot in 0..count {
        // Two in three are on one lane, the others on two more.
        let lane = LaneId::new([0, 0, 0, 0, 1, 5][slot as usize % 6]);
        shard.subscribe(who(slot), &topic, &Wanted::all(lane, SlowPolicy::Drop)).unwrap();
    }
    let mut positions = vec![0u64; count as usize];
    for _ in 0..1_000 {
        publish(&topic, b"x");
        let woken = note(&mut shard, &topic);
        assert_eq!(woken.len(), count as usize);
        for (position, (slot, _)) in (0..).zip(woken) {
            positions[slot as usize] += position;
            pull(&mut shard, who(slot), 100);
        }
        shard.end_turn(0);
    }
    let middle = f64::from(count - 1) / 2.0;
    for sum in positions {
        let mean = sum as f64 / 1_000.0;
        assert!((mean - middle).abs() <= middle * 0.05, "{mean}, not {middle}");
    }
}
