//! The recorded order book, keyed by price level: who reads a trickle of it ends with the book of who reads all, and
//! costs no memory however many there are.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};

use ringwire_hub::{
    Entry, Framer, Hub, Key, LaneId, Notice, Part, Retention, ShardHub, ShardId, ShardLimits, Subject, Subscriber,
    Topic, TopicKind, TopicName, TopicOptions, Wanted,
};

const RECORDED: &str = include_str!("../../../tests/fixtures/data/xrpusdt-orderbook-2024-12-01.jsonl");
/// How often the record is played, with other quantities each time.
const PASSES: u64 = 10;
/// From one message of the record to the next.
const STEP_US: u64 = 100_000;
/// What the slow ones read in that time: 20 KB a second.
const SLOW_BYTES: usize = 2_000;

/// Price levels of a message, each with its side and quantity; none if the level is gone.
fn levels(line: &str) -> Vec<(String, f64)> {
    let side = |name: &str| {
        let start = line.find(&format!("\"{name}\":[[")).map(|at| at + name.len() + 5);
        let inner = start.map_or("", |start| &line[start..start + line[start..].find("]]").unwrap()]);
        let pairs = inner.split("],[").filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let mut words = pair.split('"').filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
                (format!("{name}:{}", words.next().unwrap()), words.next().unwrap().parse().unwrap())
            })
            .collect::<Vec<_>>()
    };
    [side("b"), side("a")].concat()
}

/// Frames are lines: `key=quantity`, `key=` for one that is gone; notices and the ends of snapshots are lines too.
struct Lines;

impl Framer for Lines {
    fn replay(&mut self, _: LaneId, _: &Topic, history: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(history);
    }

    fn notice(&mut self, _: LaneId, _: &Topic, notice: Notice, out: &mut Vec<u8>) {
        let count = match notice {
            Notice::Skip { count, .. } => count,
            Notice::Gap { from, to, .. } => to + 1 - from,
        };
        out.extend(format!("!{count}\n").bytes());
    }

    fn snapshot(&mut self, _: LaneId, _: &Topic, _: u64, keys: &[Key], part: Part, out: &mut Vec<u8>) {
        out.extend_from_slice(if part.first { b"[\n" } else { b"" });
        keys.iter().for_each(|key| out.extend_from_slice(&key.history));
        out.extend_from_slice(if part.last { b"]\n" } else { b"" });
    }
}

/// What a subscriber makes of its stream.
#[derive(Default)]
struct Reader {
    book: BTreeMap<String, String>,
    snapshot: Option<BTreeMap<String, String>>,
    delivered: u64,
    skipped: u64,
}

impl Reader {
    fn read(&mut self, stream: &[u8]) {
        for line in std::str::from_utf8(stream).unwrap().lines() {
            if line == "[" {
                self.snapshot = Some(BTreeMap::new());
            } else if line == "]" {
                self.book = self.snapshot.take().unwrap();
            } else if let Some(count) = line.strip_prefix('!') {
                self.skipped += count.parse::<u64>().unwrap();
            } else {
                let (key, quantity) = line.split_once('=').unwrap();
                self.delivered += u64::from(self.snapshot.is_none());
                let book = self.snapshot.as_mut().unwrap_or(&mut self.book);
                if quantity.is_empty() {
                    book.remove(key);
                } else {
                    book.insert(key.to_owned(), quantity.to_owned());
                }
            }
        }
    }
}

/// Plays the record to one subscriber that reads all, one that reads a trickle, and `others` that read as much. Returns
/// what the two have made of it, and how many segments are held in the end.
struct Played {
    fast: Reader,
    slow: Reader,
    segments: usize,
    slow_skipped: u64,
}

fn play(others: u32, lane: LaneId) -> Played {
    let retention = Retention { entries: 2_000, bytes: 1 << 20, age_us: u64::MAX };
    let kind = TopicKind::Keyed { keys_max: 10_000, key_ttl_us: u64::MAX };
    let options = TopicOptions { kind, retention, ..TopicOptions::default() };
    let topic = Hub::new(1).open(&TopicName::new("book.X").unwrap(), || options.into()).unwrap().topic;
    let mut shard = ShardHub::new(ShardId::new(0), ShardLimits { slots_max: 5_000, subscriptions_max: 5_000 });
    let who = |slot| Subscriber { slot, generation: 0 };
    for slot in 0..others + 2 {
        let wanted = if slot == 0 { Wanted::all(lane, ringwire_hub::SlowPolicy::Drop) } else { Wanted::latest(lane) };
        shard.subscribe(who(slot), &topic, &wanted).unwrap();
    }
    let (mut readers, mut segments) = ([Reader::default(), Reader::default()], Vec::<Weak<[AtomicU64]>>::new());
    let (mut now_us, mut owed) = (0, [Vec::new(), Vec::new()]);
    let mut turn = |shard: &mut ShardHub, now_us, bytes: usize| {
        shard.end_turn(now_us);
        shard.due(now_us, |_, _| ());
        let mut more = false;
        for slot in 2..others + 2 {
            // These are there, and read as much.
            more |=
                shard.pull(who(slot), bytes, now_us, &mut Lines, |run| segments.push(Arc::downgrade(run.words))).more;
        }
        for slot in 0..2 {
            let budget = if slot == 0 { usize::MAX } else { bytes };
            let mut stream = std::mem::take(&mut owed[slot as usize]);
            if stream.len() < budget {
                let before = stream.len();
                let pulled = shard.pull(who(slot), 64 * 1024, now_us, &mut Lines, |run| {
                    segments.push(Arc::downgrade(run.words));
                    run.copy_to(&mut stream);
                });
                // Of what was handed out, the socket takes what it has room for.
                let unsent = stream.len().saturating_sub(budget.max(before));
                let taken_back = unsent - shard.rewind(who(slot), unsent);
                stream.truncate(before + pulled.bytes - taken_back);
                more |= pulled.more || unsent > 0;
            }
            let rest = stream.split_off(stream.len().min(budget));
            more |= !rest.is_empty();
            // Lines may be cut; what has not come whole is read with the rest.
            let whole = stream.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            readers[slot as usize].read(&stream[..whole]);
            owed[slot as usize] = [&stream[whole..], &rest].concat();
        }
        segments.dedup_by(|a, b| a.ptr_eq(b));
        segments.retain(|segment| segment.strong_count() > 0);
        more
    };
    for pass in 0..PASSES {
        for line in RECORDED.lines() {
            for (key, quantity) in levels(line) {
                let subject = if quantity == 0.0 { Subject::Remove(&key) } else { Subject::Update(&key) };
                let quantity = if quantity == 0.0 { String::new() } else { (quantity + pass as f64).to_string() };
                let entry = Entry { subject, ..Entry::MESSAGE };
                let encode = |_, _, _, out: &mut Vec<u8>| out.extend(format!("{key}={quantity}\n").bytes());
                // A level that is not there is not removed again.
                _ = topic.publish(now_us, &entry, &mut Vec::new(), encode);
            }
            now_us += STEP_US;
            shard.note(topic.id(), now_us, |_, _| ());
            turn(&mut shard, now_us, SLOW_BYTES);
        }
    }
    let mut turns = 0;
    while turn(&mut shard, now_us, SLOW_BYTES) {
        turns += 1;
        now_us += STEP_US;
        assert!(turns < 10_000, "it ends");
    }
    let mut slow_skipped = 0;
    for slot in 0..others + 2 {
        let account = shard.account(who(slot));
        assert_eq!(account.delivered + account.skipped, account.published, "{account:?}");
        assert_eq!((account.pending, account.gap), (0, 0));
        slow_skipped = account.skipped;
    }
    assert_eq!(readers[0].delivered + shard.account(who(0)).skipped, topic.last_seq());
    assert_eq!(readers[1].delivered + readers[1].skipped, topic.last_seq());
    let mut held: Vec<_> = segments.iter().filter_map(Weak::upgrade).map(|words| Arc::as_ptr(&words)).collect();
    held.sort();
    held.dedup();
    let [fast, slow] = readers;
    Played { fast, slow, segments: held.len(), slow_skipped }
}

#[test]
fn a_trickle_of_the_book_ends_with_the_book_of_who_reads_all() {
    for lane in [LaneId::HISTORY, LaneId::new(4)] {
        let played = play(0, lane);
        assert!(played.fast.book.len() > 900, "{} levels", played.fast.book.len());
        assert!(played.slow.book == played.fast.book, "the same book");
        assert!(played.slow_skipped > 4_000, "{} skipped", played.slow_skipped);
    }
}

#[test]
fn slow_readers_of_the_book_hold_no_memory() {
    let [one, many] = [1, 100].map(|others| play(others, LaneId::HISTORY).segments);
    assert!(many <= one + 4, "{one} segments held for one, {many} for a hundred");
}

/// Figures: `cargo test --release -p ringwire-hub --test book -- --ignored --nocapture --test-threads 1`.
#[test]
#[ignore = "prints figures"]
fn memory_of_slow_readers() {
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    play(0, LaneId::HISTORY);
    for others in [1, 100, 1_000] {
        let before = resident();
        let played = play(others, LaneId::HISTORY);
        let grown = resident().saturating_sub(before);
        println!("{others} slow readers: {} segments held, resident grew by {grown} bytes", played.segments);
    }
}
