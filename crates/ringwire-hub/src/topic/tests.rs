//! One test per rule of a topic.

use super::*;
use crate::ids::ShardId;

const COMBINED: LaneId = LaneId::new(1);

fn topic(options: TopicOptions) -> Topic {
    Topic::new(TopicId(0), TopicName::new("t").unwrap(), options.into())
}

#[test]
fn an_inactive_lane_is_not_encoded_and_begins_when_activated() {
    let topic = topic(TopicOptions::default());
    let mut calls = Vec::new();
    let mut publish = || {
        topic.publish(0, &Entry::MESSAGE, &mut Vec::new(), |lane, seq, _, _| calls.push((lane.index(), seq))).unwrap()
    };
    publish();
    topic.activate(COMBINED);
    publish();
    assert_eq!(calls, [(0, 1), (0, 2), (1, 2)]);
    assert_eq!(topic.log().lane(COMBINED).unwrap().first_seq(), 2);
}

#[test]
fn a_lane_that_nobody_wants_any_more_is_let_go() {
    let topic = topic(TopicOptions::default());
    let encoded = || {
        let mut lanes = Vec::new();
        topic
            .publish(0, &Entry::MESSAGE, &mut Vec::new(), |lane, _, _, out| {
                (lanes.push(lane.index()), out.push(b'x')).1
            })
            .unwrap();
        lanes
    };
    for _ in 0..2 {
        topic.enter(&mut topic.log(), COMBINED);
    }
    topic.exit(&mut topic.log(), COMBINED);
    assert_eq!((encoded(), topic.is_active(COMBINED)), (vec![0, 1], true));
    topic.exit(&mut topic.log(), COMBINED);
    assert_eq!((encoded(), topic.is_active(COMBINED)), (vec![0], false));
    assert!(topic.log().lane(COMBINED).is_none());
    topic.activate(COMBINED);
    topic.enter(&mut topic.log(), COMBINED);
    topic.exit(&mut topic.log(), COMBINED);
    assert_eq!(encoded(), [0, 1], "one that was activated stays");
    assert_eq!(topic.log().lane(COMBINED).unwrap().first_seq(), 3, "and begins when it was");
    assert!(topic.is_active(LaneId::HISTORY));
}

#[test]
fn an_entry_too_long_for_one_lane_is_appended_to_none() {
    let topic = topic(TopicOptions { entry_bytes_max: 100, ..TopicOptions::default() });
    topic.activate(COMBINED);
    let publish = |len: usize| {
        topic.publish(0, &Entry::MESSAGE, &mut Vec::new(), |lane, _, _, out| {
            out.resize(out.len() + len + lane.index(), b'x')
        })
    };
    assert_eq!(publish(100), Err(PublishError::TooLong { lane: COMBINED, bytes: 101 }));
    assert_eq!((topic.last_seq(), topic.log().lane(LaneId::HISTORY).unwrap().next_seq()), (0, 1));
    assert_eq!(publish(99).unwrap().seq, 1);
}

#[test]
fn a_panic_of_the_encoder_leaves_the_topic_as_it_was() {
    let topic = topic(TopicOptions::default());
    topic.activate(COMBINED);
    let publish = |fail: bool| {
        topic.publish(0, &Entry::MESSAGE, &mut Vec::new(), |lane, _, _, out| {
            assert!(!fail || lane == LaneId::HISTORY);
            out.push(b'x');
        })
    };
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| publish(true))).is_err());
    assert_eq!(publish(false).unwrap().seq, 1);
    assert_eq!(topic.log().lane(COMBINED).unwrap().next_seq(), 2);
}

#[test]
fn one_note_per_shard_is_under_way() {
    let topic = topic(TopicOptions::default());
    let (a, b) = (ShardId::new(3), ShardId::new(63));
    let notify = || {
        topic.publish(0, &Entry::MESSAGE, &mut Vec::new(), |_, _, _, _| ()).unwrap().notify.iter().collect::<Vec<_>>()
    };
    assert_eq!(notify(), []);
    topic.log().join(a);
    topic.log().join(b);
    assert_eq!(notify(), [a, b]);
    assert_eq!(notify(), []);
    topic.log().note_arrived(b);
    assert_eq!(notify(), [b]);
    assert!(topic.log().leave(a), "the first note has not arrived");
}

#[test]
fn time_that_goes_backwards_stands_still() {
    let retention = Retention { entries: u64::MAX, bytes: usize::MAX, age_us: 5_000_000 };
    let topic = topic(TopicOptions { retention, ..TopicOptions::default() });
    for (now_us, len) in [(20_000_000, 5_000), (24_000_000, 10), (30_000_000, 10), (0, 5_000)] {
        topic.publish(now_us, &Entry::MESSAGE, &mut Vec::new(), |_, _, _, out| out.resize(len, b'x')).unwrap();
    }
    assert_eq!(topic.first_seq(), 2, "the last publish opened a segment, when the first was too old");
    topic.retain(34_000_000);
    assert_eq!(topic.first_seq(), 2);
    topic.retain(36_000_000);
    assert_eq!(topic.first_seq(), 5);
}

const KEYED: TopicKind = TopicKind::Keyed { keys_max: 2, key_ttl_us: u64::MAX };

fn keyed(kind: TopicKind) -> Topic {
    topic(TopicOptions { kind, ..TopicOptions::default() })
}

/// Publishes an entry whose bytes are its number.
fn put(topic: &Topic, now_us: u64, entry: Entry<'_>) -> Result<u64, PublishError> {
    let encode = |_, seq: u64, _, out: &mut Vec<u8>| out.extend(seq.to_string().bytes());
    topic.publish(now_us, &entry, &mut Vec::new(), encode).map(|published| published.seq)
}

fn update(key: &str) -> Entry<'_> {
    Entry { subject: Subject::Update(key), ..Entry::MESSAGE }
}

fn remove(key: &str) -> Entry<'_> {
    Entry { subject: Subject::Remove(key), ..Entry::MESSAGE }
}

fn state(topic: &Topic) -> Vec<(String, u64, Vec<u8>)> {
    topic.keys().1.iter().map(|key| (key.name.to_string(), key.seq, key.history.to_vec())).collect()
}

#[test]
fn the_last_entry_of_each_key_is_kept_beyond_the_log() {
    let retention = Retention { bytes: 1_000, ..TopicOptions::default().retention };
    let topic = topic(TopicOptions { kind: KEYED, retention, ..TopicOptions::default() });
    put(&topic, 0, update("b")).unwrap();
    for _ in 0..1_000 {
        put(&topic, 0, update("a")).unwrap();
    }
    assert!(topic.first_seq() > 900);
    assert_eq!(state(&topic), [("a".into(), 1_001, b"1001".to_vec()), ("b".into(), 1, b"1".to_vec())]);
    assert_eq!(topic.key("b").map(|key| key.seq), Some(1));
}

#[test]
fn an_entry_learns_its_successor() {
    let topic = keyed(KEYED);
    for entry in [update("a"), Entry::MESSAGE, update("b"), update("a"), remove("b")] {
        put(&topic, 0, entry).unwrap();
    }
    let log = topic.log();
    let successors = (1..=5).map(|seq| log.history().span_of(seq).unwrap().segment.successor(seq));
    assert_eq!(successors.collect::<Vec<_>>(), [4, 0, 5, 0, 0]);
}

#[test]
fn what_a_topic_does_not_take_is_refused_with_its_reason() {
    let plain = keyed(TopicKind::Plain);
    assert_eq!(put(&plain, 0, update("a")), Err(PublishError::NotKeyed));
    let topic = keyed(KEYED);
    assert_eq!(put(&topic, 0, update("")), Err(PublishError::KeyLength));
    assert_eq!(put(&topic, 0, update(&"k".repeat(KEY_BYTES_MAX + 1))), Err(PublishError::KeyLength));
    assert_eq!(put(&topic, 0, remove("a")), Err(PublishError::NoSuchKey));
    put(&topic, 0, update("a")).unwrap();
    put(&topic, 0, update("b")).unwrap();
    assert_eq!(put(&topic, 0, update("c")), Err(PublishError::TooManyKeys { max: 2 }));
    put(&topic, 0, remove("a")).unwrap();
    assert_eq!(put(&topic, 0, update("c")), Ok(4), "refusals use no number");
    let long = "i".repeat(IDEMPOTENCY_KEY_BYTES_MAX + 1);
    let entry = Entry { idempotency_key: Some(&long), ..Entry::MESSAGE };
    assert_eq!(put(&topic, 0, entry), Err(PublishError::IdempotencyKeyLength));
}

#[test]
fn an_owner_removes_only_what_is_its_own() {
    let topic = keyed(KEYED);
    put(&topic, 0, Entry { owner: 7, ..update("hand") }).unwrap();
    put(&topic, 0, Entry { owner: 8, ..update("hand") }).unwrap();
    assert_eq!(put(&topic, 0, Entry { owner: 7, ..remove("hand") }), Err(PublishError::NoSuchKey));
    assert!(put(&topic, 0, Entry { owner: 8, ..remove("hand") }).is_ok());
    put(&topic, 0, Entry { owner: 8, ..update("hand") }).unwrap();
    assert!(put(&topic, 0, remove("hand")).is_ok(), "nobody in particular may remove any");
}

#[test]
fn an_idempotency_key_is_published_once_as_long_as_it_is_remembered() {
    let topic = keyed(TopicKind::Plain);
    let with = |key: &str| {
        let entry = Entry { idempotency_key: Some(key), ..Entry::MESSAGE };
        let published = topic.publish(0, &entry, &mut Vec::new(), |_, _, _, _| ()).unwrap();
        (published.seq, published.is_duplicate)
    };
    assert_eq!([with("first"), with("first")], [(1, false), (1, true)]);
    for nth in 1..IDEMPOTENCY_KEYS_MAX {
        with(&nth.to_string());
    }
    assert_eq!(with("first"), (1, true));
    with("one more");
    assert_eq!(with("first"), (IDEMPOTENCY_KEYS_MAX as u64 + 2, false));
    assert_eq!(topic.idempotency_keys().len(), IDEMPOTENCY_KEYS_MAX);
}

#[test]
fn keys_without_an_update_expire() {
    let topic = keyed(TopicKind::Keyed { keys_max: 9, key_ttl_us: 100 });
    for (now_us, key) in [(1_000, "a"), (1_010, "b"), (1_020, "c"), (1_090, "a")] {
        put(&topic, now_us, update(key)).unwrap();
    }
    let remove_expired = |now_us| {
        let mut removed = String::new();
        let done = topic.remove_expired(now_us, &mut Vec::new(), |key, _, seq, _, _| removed = format!("{key} {seq}"));
        let seq = done.unwrap().map_or(String::new(), |done| done.seq.to_string());
        assert!(removed.ends_with(&seq));
        removed
    };
    assert_eq!(remove_expired(1_110), "");
    assert_eq!([remove_expired(1_121), remove_expired(1_121), remove_expired(1_121)], ["b 5", "c 6", ""]);
    put(&topic, 1_122, update("b")).unwrap();
    assert_eq!([remove_expired(1_222), remove_expired(1_223)], ["a 8", "b 9"]);
    assert_eq!(topic.key_count(), 0);
}

#[test]
fn history_is_read_in_bounded_parts() {
    let topic = keyed(KEYED);
    for _ in 0..120 {
        put(&topic, 0, Entry::MESSAGE).unwrap();
    }
    let read = |from, entries_max, bytes_max| {
        let mut got = Vec::new();
        let next = topic.history(from, entries_max, bytes_max, |seq, bytes| {
            assert_eq!(bytes, seq.to_string().as_bytes());
            got.push(seq);
        });
        (got, next)
    };
    assert_eq!(read(99, 3, 1_000), (vec![99, 100, 101], 102));
    assert_eq!(read(98, 100, 5), (vec![98, 99], 100));
    assert_eq!(read(110, 9, 0), (vec![110], 111), "one comes in any case");
    assert_eq!(read(119, 9, 1_000), (vec![119, 120], 121));
    assert_eq!(read(121, 9, 1_000), (vec![], 121));
    assert_eq!(read(0, 2, 1_000), (vec![1, 2], 3));
}

#[test]
fn what_is_put_back_goes_on_where_it_was() {
    let topic = keyed(KEYED);
    let back = |seq: u64, entry: Entry<'_>| {
        topic.restore(&Appended { seq, time_us: seq, entry: &entry, history: seq.to_string().as_bytes() })
    };
    back(3, update("a")).unwrap();
    back(7, update("b")).unwrap();
    back(8, update("a")).unwrap();
    assert_eq!(back(9, update("c")), Err(PublishError::TooManyKeys { max: 2 }));
    topic.restore_idempotency_key("i", 8);
    assert_eq!((topic.first_seq(), topic.last_seq()), (7, 8));
    assert_eq!(state(&topic), [("a".into(), 8, b"8".to_vec()), ("b".into(), 7, b"7".to_vec())]);
    assert_eq!(put(&topic, 0, Entry { idempotency_key: Some("i"), ..Entry::MESSAGE }), Ok(8));
    topic.restore_last_seq(20);
    assert_eq!((topic.first_seq(), put(&topic, 0, update("b"))), (21, Ok(21)));
}

#[test]
fn a_removal_is_put_back_although_what_set_the_key_is_lost() {
    let topic = keyed(KEYED);
    let removal = Entry { subject: Subject::Remove("a"), ..Entry::MESSAGE };
    topic.restore(&Appended { seq: 4, time_us: 0, entry: &removal, history: b"4" }).unwrap();
    assert_eq!((topic.first_seq(), topic.last_seq(), topic.key_count()), (4, 4, 0));
}

#[test]
fn a_position_is_good_in_its_own_log_and_in_the_one_before_up_to_what_both_have() {
    let resumes = Some(Resumes { epoch: 6, last_seq: 2 });
    let setup = TopicSetup { options: TopicOptions { epoch: 7, ..TopicOptions::default() }, sink: None, resumes };
    let topic = Topic::new(TopicId(0), TopicName::new("t").unwrap(), setup);
    topic.restore_last_seq(3);
    let good = |epoch| (0..5).filter(|seq| topic.goes_on_from(epoch, *seq)).collect::<Vec<_>>();
    assert_eq!((good(6), good(7), good(5)), (vec![0, 1, 2], vec![0, 1, 2, 3], vec![]));
}

#[test]
fn a_sink_is_told_of_each_entry_once_and_its_ticket_comes_back() {
    #[derive(Debug, Default)]
    struct Told(Mutex<Vec<(u64, String)>>);
    impl Sink for Told {
        fn append(&self, topic: &Topic, appended: &Appended<'_>) -> u64 {
            assert_eq!(topic.name().as_str(), "t");
            let history = String::from_utf8(appended.history.to_vec()).unwrap();
            self.0.lock().unwrap().push((appended.seq, history));
            appended.seq * 100
        }
        fn let_go(&self, _: &Topic) {
            self.0.lock().unwrap().push((0, "end".into()));
        }
    }
    let sink = Arc::new(Told::default());
    let setup = TopicSetup { sink: Some(sink.clone()), ..TopicSetup::default() };
    let topic = Topic::new(TopicId(0), TopicName::new("t").unwrap(), setup);
    topic.activate(COMBINED);
    let entry = Entry { idempotency_key: Some("i"), ..Entry::MESSAGE };
    for _ in 0..2 {
        let encode = |lane: LaneId, _, _, out: &mut Vec<u8>| out.push(b'0' + lane.index() as u8);
        let published = topic.publish(0, &entry, &mut Vec::new(), encode).unwrap();
        assert_eq!(published.ticket, Some(100));
    }
    topic.retain(u64::MAX);
    assert!(!topic.let_go(u64::MAX), "it holds an entry");
    assert_eq!(*sink.0.lock().unwrap(), [(1, "0".to_owned())]);
}
