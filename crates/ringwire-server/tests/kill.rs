//! kill -9 in the middle of 50,000 publishes a second: every entry that was acknowledged is there after it, once, in order.
//!
//! The publishing process is this program again ([`publisher`]): two threads, as two shards would, publish to a hub whose
//! journal syncs before it acknowledges, and write each acknowledgement to standard output. It is killed at some instant;
//! what it wrote until then is what it acknowledged. The journal is then read back, and goes on in the next round.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ringwire_hub::{Topic, TopicName};
use ringwire_ring::{Clock, Instant, wall_clock_us};
use ringwire_server::auth::Access;
use ringwire_server::broker::{Broker, Publisher};
use ringwire_server::config::Config;
use ringwire_server::journal::{Journal, Outcome, restore};
use ringwire_server::lanes::Payload;
use ringwire_server::native::record::Record;
use ringwire_server::options::Options;

/// The folder of the journal, for the process that publishes.
const FOLDER: &str = "RINGWIRE_KILL_FOLDER";
/// How many rounds to play; 5 by default.
const ROUNDS: &str = "RINGWIRE_KILL_ROUNDS";
/// Publishes a second, of both threads.
const RATE: u64 = 50_000;
/// Each thread publishes to its own topic and to one they share.
const TOPICS: [&str; 3] = ["own.0", "own.1", "shared"];
/// Bytes of an acknowledgement: topic, number, value.
const ACK_BYTES: usize = 24;

#[test]
fn what_was_acknowledged_outlives_kill_9_once_and_in_order() {
    let rounds = std::env::var(ROUNDS).map_or(5, |rounds| rounds.parse().expect("a number of rounds"));
    let folder = Scratch(std::env::temp_dir().join(format!("ringwire-kill-{}", std::process::id())));
    let _ = std::fs::remove_dir_all(&folder.0);
    let mut random = fastrand::Rng::with_seed(wall_clock_us());
    let mut acknowledged: BTreeMap<(usize, u64), u64> = BTreeMap::new();
    let mut rates = Vec::new();
    for round in 1..=rounds {
        let (mut child, mut output) = start(&folder.0);
        let mut said = Vec::new();
        let mut chunk = vec![0; 64 * 1024];
        // From the first acknowledgement on, for some time that no two rounds share.
        let alive = Duration::from_micros(random.u64(100_000..500_000));
        let mut clock = None;
        while clock.is_none_or(|clock: Clock| clock.now().since(Instant::default()) < alive) {
            let count = output.read(&mut chunk).expect("its output can be read");
            assert!(count > 0, "round {round}: the publisher ended by itself");
            said.extend_from_slice(&chunk[..count]);
            clock.get_or_insert_with(Clock::start);
        }
        child.kill().expect("it lives");
        child.wait().expect("a child can be waited for");
        output.read_to_end(&mut said).expect("its output ends with it");
        let acks = said.chunks_exact(ACK_BYTES).map(|ack| [0, 8, 16].map(|at| word(&ack[at..])));
        let count = acks.len();
        acknowledged.extend(acks.map(|[topic, seq, value]| ((usize::try_from(topic).expect("small"), seq), value)));
        rates.push(count as f64 / alive.as_secs_f64());
        check(&folder.0, round, &acknowledged);
    }
    rates.sort_by(f64::total_cmp);
    println!(
        "{rounds} rounds: {} acknowledged entries are there, once and in order; acknowledged a second: {:.0} (median), \
         {:.0} to {:.0}",
        acknowledged.len(),
        rates[rates.len() / 2],
        rates[0],
        rates[rates.len() - 1]
    );
}

/// A folder that goes with the value.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn start(folder: &Path) -> (Child, std::process::ChildStdout) {
    // Not by its name: a build may have put another in its place.
    let mut command = Command::new("/proc/self/exe");
    command.args(["--exact", "publisher", "--ignored", "--nocapture", "--quiet"]).env(FOLDER, folder);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("this program runs");
    let mut output = child.stdout.take().expect("it is piped");
    // What the test's own frame prints ends where the publisher begins.
    let mut line = [0; 1];
    let mut seen = Vec::new();
    while !seen.ends_with(b"begin\n") {
        let count = output.read(&mut line).expect("its output can be read");
        assert!(count > 0, "it does not begin: {}", String::from_utf8_lossy(&seen));
        seen.push(line[0]);
    }
    (child, output)
}

/// Opens the journal as a server would, and looks for all that was acknowledged.
fn check(folder: &Path, round: u32, acknowledged: &BTreeMap<(usize, u64), u64>) {
    let (broker, _journal, _writer) = open(folder);
    for (nth, name) in TOPICS.iter().enumerate() {
        let topic = broker.open(&TopicName::new(name).expect("a name")).expect("it opens");
        let mut log = BTreeMap::new();
        topic.history(0, usize::MAX, usize::MAX, |seq, history| {
            let record = Record::of_frame(history).expect("a record");
            let value = std::str::from_utf8(record.payload).expect("a text").parse::<u64>().expect("a number");
            assert!(log.last_key_value().is_none_or(|(last, _)| *last + 1 == seq), "{name}: a hole before {seq}");
            log.insert(seq, value);
        });
        let first = topic.first_seq();
        let mine = acknowledged.range((nth, 0)..(nth + 1, 0)).map(|((_, seq), value)| (*seq, *value));
        for (seq, value) in mine.filter(|(seq, _)| *seq >= first) {
            assert_eq!(log.get(&seq), Some(&value), "round {round}: {name}: entry {seq} was acknowledged");
        }
        let values = log.values().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(values.len(), log.len(), "round {round}: {name}: each once");
    }
}

fn open(folder: &Path) -> (Broker, Arc<Journal>, ringwire_server::journal::Writer) {
    open_with(folder, "always")
}

fn open_with(folder: &Path, fsync: &str) -> (Broker, Arc<Journal>, ringwire_server::journal::Writer) {
    let text = format!(
        "[[topics]]\nmatch = \">\"\npersistent = true\nretention.bytes = 1048576\nretention.age_ms = 0\n\
         [journal]\ndirectory = \"{}\"\nsegment_bytes = 1048576\nfsync = \"{fsync}\"\n",
        folder.display()
    );
    let options = Options::check(&Config::parse(&text).expect("TOML"), NonZeroUsize::MIN).expect("valid options");
    let opened = restore::open(options.journal.as_ref().expect("there is a journal")).expect("the journal opens");
    let mut broker = Broker::new(Access::local(), NonZeroUsize::MIN, wall_clock_us());
    broker.rules = options.topics;
    broker.journal = Some(Arc::clone(&opened.journal));
    for note in opened.contents.restore(&broker, &opened.journal, wall_clock_us()) {
        eprintln!("{note}");
    }
    (broker, opened.journal, opened.writer)
}

/// What is killed.
#[test]
#[ignore = "run by what_was_acknowledged_outlives_kill_9_once_and_in_order"]
fn publisher() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let (broker, journal, writer) = open(Path::new(&folder));
    let broker = Arc::new(broker);
    let mut output = std::io::stdout();
    output.write_all(b"begin\n").and_then(|()| output.flush()).expect("somebody reads");
    for nth in 0..2 {
        let (broker, journal) = (Arc::clone(&broker), Arc::clone(&journal));
        #[expect(clippy::disallowed_methods, reason = "a shard's stand-in")]
        std::thread::spawn(move || publish(nth, &broker, &journal));
    }
    tokio_uring::start(async move { writer.run(&broker.hub, |_| true).await });
}

/// Publishes at half the rate for ever, and says what is acknowledged.
fn publish(nth: usize, broker: &Broker, journal: &Journal) {
    let open = |name: &str| broker.open(&TopicName::new(name).expect("a name")).expect("it opens");
    let topics: [(usize, Arc<Topic>); 2] = [(nth, open(TOPICS[nth])), (2, open(TOPICS[2]))];
    let mut publisher = Publisher::new(broker.deflate);
    // No two values are the same, of all rounds and threads.
    let mut value = wall_clock_us() * 1000 + nth as u64 * 500;
    let (clock, mut published) = (Clock::start(), 0);
    let (mut waiting, mut acks) = (VecDeque::new(), Vec::new());
    loop {
        let due = clock.now().as_nanos() / (2_000_000_000 / RATE);
        while published < due {
            let (index, topic) = &topics[usize::from(published % 2 == 0)];
            value += 1000;
            let text = value.to_string();
            let done = publisher.publish(topic, Payload::Text(&text), wall_clock_us()).expect("it is taken");
            waiting.push_back((done.ticket.expect("the topic is persistent"), *index, done.seq, value));
            published += 1;
        }
        while let Some((ticket, index, seq, value)) = waiting.front().copied() {
            match journal.outcome(ticket) {
                Outcome::Pending => break,
                Outcome::Durable => [index as u64, seq, value].iter().for_each(|word| acks.extend(word.to_le_bytes())),
                Outcome::NotPersisted => panic!("the journal is degraded: {:?}", journal.health()),
            }
            waiting.pop_front();
        }
        if !acks.is_empty() {
            // One write of whole acknowledgements, so that those of the two threads do not mix.
            let mut output = std::io::stdout().lock();
            output.write_all(&acks).and_then(|()| output.flush()).expect("somebody reads");
            acks.clear();
        }
        std::thread::yield_now();
    }
}

/// How long acknowledgements take, and how many entries a write carries, at some rates. One thread publishes 40 bytes each
/// time; it and the writer share the machine with whatever else runs.
#[test]
#[ignore = "a measurement: run by cargo xtask test, in release"]
fn what_a_group_commit_costs() {
    for fsync in ["always", "never"] {
        for rate in [100, 1_000, 10_000, 50_000, 200_000] {
            let folder = Scratch(std::env::temp_dir().join(format!("ringwire-group-{}", std::process::id())));
            let _ = std::fs::remove_dir_all(&folder.0);
            let (broker, journal, writer) = open_with(&folder.0, fsync);
            let broker = Arc::new(broker);
            let (publishing, its_journal) = (Arc::clone(&broker), Arc::clone(&journal));
            #[expect(clippy::disallowed_methods, reason = "a shard's stand-in")]
            let publisher = std::thread::spawn(move || measure(rate, &publishing, &its_journal));
            tokio_uring::start(async move { writer.run(&broker.hub, |_| true).await });
            let mut took_us = publisher.join().expect("it publishes");
            took_us.sort_unstable();
            let (count, health) = (took_us.len(), journal.health());
            assert!(count > 0 && health.state == "ok", "{health:?}");
            println!(
                "fsync {fsync}, {rate} a second: acknowledged after {} us (median), {} us (p99); {:.1} entries a write, {} \
                 writes and {} syncs in 2 s",
                took_us[count / 2],
                took_us[count * 99 / 100],
                count as f64 / health.writes as f64,
                health.writes,
                health.syncs
            );
        }
    }
}

/// Publishes for two seconds, and closes the journal. Returns how long each acknowledgement took, in microseconds.
fn measure(rate: u64, broker: &Broker, journal: &Journal) -> Vec<u64> {
    let topic = broker.open(&TopicName::new("measured").expect("a name")).expect("it opens");
    let mut publisher = Publisher::new(broker.deflate);
    let (clock, mut published, mut waiting, mut took_us) = (Clock::start(), 0, VecDeque::new(), Vec::new());
    while clock.now().as_nanos() < 2_000_000_000 || !waiting.is_empty() {
        let now_ns = clock.now().as_nanos();
        while published < now_ns.min(2_000_000_000) / (1_000_000_000 / rate) {
            let payload = Payload::Text("{\"price\":\"67210.50\",\"quantity\":\"0.70\"}");
            let done = publisher.publish(&topic, payload, wall_clock_us()).expect("it is taken");
            waiting.push_back((done.ticket.expect("the topic is persistent"), clock.now().as_nanos()));
            published += 1;
        }
        while waiting.front().is_some_and(|(ticket, _)| journal.outcome(*ticket) == Outcome::Durable) {
            let (_, at_ns) = waiting.pop_front().expect("there is one");
            took_us.push((clock.now().as_nanos() - at_ns) / 1000);
        }
        std::thread::yield_now();
    }
    journal.close();
    took_us
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(*bytes.first_chunk().expect("8 bytes"))
}
