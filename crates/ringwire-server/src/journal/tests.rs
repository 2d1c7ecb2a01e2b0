//! The journal under a hub: what comes back, in every order of failures that one process can make.

mod room;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ringwire_hub::{Subject, Topic, TopicName};
use ringwire_ring::{Clock, Instant};

use super::{Journal, JournalHealth, Outcome, restore};
use crate::auth::Access;
use crate::broker::{Broker, Publisher};
use crate::config::Config;
use crate::lanes::{Payload, Publication};
use crate::native::record::Record;
use crate::options::{JournalOptions, Options};

const CORES: NonZeroUsize = NonZeroUsize::MIN;
/// How long anything may take. It only passes where a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder that goes with the value.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringwire-journal-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One life of a server.
struct Life {
    broker: Arc<Broker>,
    journal: Arc<Journal>,
    publisher: Publisher,
    notes: Vec<String>,
    writer: Option<super::Writer>,
    /// When it began, which no other life did.
    born_us: u64,
}

/// How a life ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// All is written.
    Closed,
    /// Nothing more is.
    Killed,
}

impl Life {
    fn topic(&self, name: &str) -> Arc<Topic> {
        self.broker.open(&TopicName::new(name).unwrap()).unwrap()
    }

    fn publish(&mut self, topic: &str, publication: Publication<'_>) -> (u64, u64) {
        let topic = self.topic(topic);
        let published = self.publisher.publish(&topic, publication, self.born_us).expect("it is taken");
        (published.seq, published.ticket.expect("the topic is persistent"))
    }

    fn say(&mut self, topic: &str, text: &str) -> u64 {
        self.publish(topic, Payload::Text(text).into()).1
    }

    fn set(&mut self, topic: &str, key: &str, text: &str, owner: u64) -> u64 {
        self.publish(topic, Publication { subject: Subject::Update(key), owner, ..Payload::Text(text).into() }).1
    }

    async fn decided(&self, ticket: u64) -> Outcome {
        let clock = Clock::start();
        while self.journal.outcome(ticket) == Outcome::Pending {
            assert!(clock.now().since(Instant::default()) < PATIENCE, "ticket {ticket} is not decided");
            pause().await;
        }
        self.journal.outcome(ticket)
    }

    /// Has the writer write from now on.
    fn write(&mut self) {
        let (writer, broker) = (self.writer.take().expect("it writes once"), Arc::clone(&self.broker));
        tokio_uring::spawn(async move { writer.run(&broker.hub, |_| true).await });
    }

    async fn until(&self, is_so: impl Fn(&JournalHealth) -> bool) {
        let clock = Clock::start();
        while !is_so(&self.journal.health()) {
            assert!(clock.now().since(Instant::default()) < PATIENCE, "{:?}", self.journal.health());
            pause().await;
        }
    }

    /// The log of a topic: numbers and texts.
    fn log(&self, topic: &str) -> Vec<(u64, String)> {
        let mut log = Vec::new();
        self.topic(topic).history(0, usize::MAX, usize::MAX, |seq, history| {
            let record = Record::of_frame(history).expect("a record");
            assert_eq!((record.seq, record.topic as usize), (seq, self.topic(topic).id().index()));
            log.push((seq, String::from_utf8(record.payload.to_vec()).unwrap()));
        });
        log
    }

    /// The keys of a topic with their numbers and texts.
    fn keys(&self, topic: &str) -> Vec<(String, u64, String)> {
        let text = |history: &[u8]| String::from_utf8(Record::of_frame(history).unwrap().payload.to_vec()).unwrap();
        let (_, keys) = self.topic(topic).keys();
        keys.iter().map(|key| (key.name.to_string(), key.seq, text(&key.history))).collect()
    }
}

const RULES: &str = "[[topics]]\nmatch = \"book.>\"\nkind = \"keyed\"\npersistent = true\nretention.age_ms = 0\n\
                     [[topics]]\nmatch = \"short.>\"\nkind = \"keyed\"\npersistent = true\nretention.entries = 50\n\
                     [[topics]]\nmatch = \">\"\npersistent = true\nretention.age_ms = 0\n";

fn options(folder: &Path, more: &str) -> Options {
    options_with(RULES, folder, more)
}

fn options_with(rules: &str, folder: &Path, more: &str) -> Options {
    let text = format!("{rules}[journal]\ndirectory = \"{}\"\n{more}\n", folder.display());
    Options::check(&Config::parse(&text).unwrap(), CORES).expect("valid options")
}

/// Lives once in `folder`; `born_us` is later each time.
fn live(folder: &Path, more: &str, born_us: u64, end: End, run: impl AsyncFnOnce(&mut Life)) {
    live_with(RULES, folder, more, born_us, end, run);
}

fn live_with(rules: &str, folder: &Path, more: &str, born_us: u64, end: End, run: impl AsyncFnOnce(&mut Life)) {
    let options = options_with(rules, folder, more);
    let journal: &JournalOptions = options.journal.as_ref().expect("there is a journal");
    let opened = restore::open(journal).expect("the journal opens");
    let mut broker = Broker::new(Access::local(), CORES, born_us);
    broker.rules = options.topics.clone();
    broker.journal = Some(Arc::clone(&opened.journal));
    let notes = opened.contents.restore(&broker, &opened.journal, born_us);
    let (broker, journal) = (Arc::new(broker), opened.journal);
    let publisher = Publisher::new(broker.deflate);
    let mut life = Life { broker, journal, publisher, notes, writer: Some(opened.writer), born_us };
    tokio_uring::start(async {
        run(&mut life).await;
        if end == End::Closed {
            life.journal.close();
            let broker = Arc::clone(&life.broker);
            match life.writer.take() {
                Some(writer) => writer.run(&broker.hub, |_| true).await,
                None => until_unlocked(folder).await,
            }
        }
    });
}

/// Lets other tasks go on, and the ring with them: it is submitted to when the thread has nothing else to do.
async fn pause() {
    tokio::task::spawn_blocking(|| ()).await.expect("nothing cannot fail");
}

/// The writer has ended once nobody has the folder.
async fn until_unlocked(folder: &Path) {
    let clock = Clock::start();
    while super::folder::Folder::open(folder).is_err() {
        assert!(clock.now().since(Instant::default()) < PATIENCE, "the writer does not end");
        pause().await;
    }
}

fn texts(log: &[(u64, String)]) -> Vec<&str> {
    log.iter().map(|(_, text)| text.as_str()).collect()
}

#[test]
fn a_restart_keeps_epoch_numbers_keys_and_history() {
    let scratch = Scratch::new("restart");
    let mut epoch = 0;
    live(&scratch.0, "", 1_000_000, End::Closed, async |life| {
        life.write();
        for text in ["one", "two", "three"] {
            life.say("chat.a", text);
        }
        life.set("book.x", "b:1", "old", 0);
        life.set("book.x", "b:2", "kept", 0);
        life.set("book.x", "b:1", "new", 0);
        life.publish("book.x", Publication { subject: Subject::Remove("b:2"), ..Payload::Text("").into() });
        epoch = life.topic("chat.a").options().epoch;
    });
    for born_us in [2_000_000, 3_000_000] {
        live(&scratch.0, "", born_us, End::Closed, async |life| {
            life.write();
            assert_eq!(life.log("chat.a"), [(1, "one".into()), (2, "two".into()), (3, "three".into())]);
            assert_eq!(life.topic("chat.a").options().epoch, epoch);
            assert_eq!(life.keys("book.x"), [("b:1".to_owned(), 3, "new".to_owned())]);
            assert_eq!(texts(&life.log("book.x")), ["old", "kept", "new", ""]);
            assert!(life.topic("chat.a").goes_on_from(epoch, 3) && !life.topic("chat.a").goes_on_from(epoch, 4));
        });
    }
    live(&scratch.0, "", 4_000_000, End::Closed, async |life| {
        assert_eq!(life.publish("chat.a", Payload::Text("four").into()).0, 4);
    });
}

#[test]
fn after_a_kill_what_was_acknowledged_is_there_and_the_log_has_a_new_epoch() {
    let scratch = Scratch::new("kill");
    let mut epoch = 0;
    live(&scratch.0, "", 1_000_000, End::Killed, async |life| {
        life.write();
        let ticket = life.say("chat.a", "one");
        assert_eq!(life.decided(ticket).await, Outcome::Durable);
        epoch = life.topic("chat.a").options().epoch;
    });
    live(&scratch.0, "", 2_000_000, End::Killed, async |life| {
        life.write();
        let topic = life.topic("chat.a");
        assert_eq!(texts(&life.log("chat.a")), ["one"]);
        assert_ne!(topic.options().epoch, epoch, "a subscriber may have seen an entry 2 that is lost");
        assert!(topic.goes_on_from(epoch, 1) && !topic.goes_on_from(epoch, 2));
        let ticket = life.say("chat.a", "two");
        assert!(!topic.goes_on_from(epoch, 2), "nor is it this one");
        assert_eq!(life.decided(ticket).await, Outcome::Durable);
        epoch = topic.options().epoch;
    });
    live(&scratch.0, "", 3_000_000, End::Killed, async |life| {
        assert_eq!(texts(&life.log("chat.a")), ["one", "two"]);
        assert!(life.topic("chat.a").goes_on_from(epoch, 2), "the new epoch was kept");
        epoch = life.topic("chat.a").options().epoch;
        life.write();
        life.until(|health| health.syncs > 0).await;
    });
    live(&scratch.0, "", 4_000_000, End::Closed, async |life| {
        assert!(life.topic("chat.a").goes_on_from(epoch, 2), "although nothing was published in it");
    });
}

#[test]
fn a_server_that_is_killed_before_it_wrote_anything_was_not_closed() {
    let scratch = Scratch::new("unwritten");
    let mut epoch = 0;
    live(&scratch.0, "", 1_000_000, End::Closed, async |life| {
        life.say("a", "one");
        epoch = life.topic("a").options().epoch;
    });
    live(&scratch.0, "", 2_000_000, End::Killed, async |life| {
        assert_eq!(life.topic("a").options().epoch, epoch);
        // Subscribers would get this.
        life.say("a", "two");
    });
    live(&scratch.0, "", 3_000_000, End::Closed, async |life| {
        life.say("a", "another two");
        assert!(life.topic("a").goes_on_from(epoch, 1) && !life.topic("a").goes_on_from(epoch, 2));
    });
}

#[test]
fn what_does_not_come_back_makes_room_for_what_takes_its_numbers() {
    let scratch = Scratch::new("cut-short");
    live(&scratch.0, "", 1_000_000, End::Closed, async |life| {
        life.set("book.x", "k", "1", 0);
        life.set("book.x", "k", "2", 0);
    });
    // The topic is plain by now: its entries do not come back.
    let rules = format!("[[topics]]\nmatch = \"book.x\"\npersistent = true\nretention.age_ms = 0\n{RULES}");
    for (born_us, said) in [(2_000_000, 1), (3_000_000, 2)] {
        live_with(&rules, &scratch.0, "", born_us, End::Closed, async |life| {
            assert_eq!(life.log("book.x").len(), said - 1, "{:?}", life.notes);
            assert_eq!(life.notes.iter().any(|note| note.contains("no keys")), said == 1, "{:?}", life.notes);
            life.say("book.x", "plain");
            assert_eq!(texts(&life.log("book.x")), vec!["plain"; said]);
        });
    }
}

#[test]
fn a_repeated_idempotency_key_is_known_after_a_restart() {
    let scratch = Scratch::new("idempotency");
    let publication = || Publication { idempotency_key: Some("a1"), ..Payload::Text("x").into() };
    live(&scratch.0, "", 1_000_000, End::Closed, async |life| {
        life.say("a", "first");
        assert_eq!(life.publish("a", publication()).0, 2);
    });
    live(&scratch.0, "", 2_000_000, End::Closed, async |life| {
        let topic = life.topic("a");
        let again = life.publisher.publish(&topic, publication(), 2_000_000).unwrap();
        assert_eq!((again.seq, again.is_duplicate), (2, true));
        life.say("a", "third");
        assert_eq!(texts(&life.log("a")), ["first", "x", "third"]);
    });
}

#[test]
fn keys_that_were_bound_to_a_connection_are_removed_by_a_restart() {
    let scratch = Scratch::new("bound");
    live(&scratch.0, "", 1_000_000, End::Closed, async |life| {
        life.set("book.x", "mine", "1", 7);
        life.set("book.x", "was mine", "2", 7);
        life.set("book.x", "was mine", "3", 0);
    });
    live(&scratch.0, "", 2_000_000, End::Closed, async |life| {
        assert_eq!(life.keys("book.x"), [("was mine".to_owned(), 3, "3".to_owned())]);
        assert_eq!(life.topic("book.x").last_seq(), 4, "subscribers are told of the removal");
    });
    live(&scratch.0, "", 3_000_000, End::Closed, async |life| {
        assert_eq!((life.keys("book.x").len(), life.topic("book.x").last_seq()), (1, 4));
    });
}

#[test]
fn a_buffer_that_is_full_degrades_the_journal_and_it_heals_whole() {
    let scratch = Scratch::new("overflow");
    let more = "buffer_bytes_max = 1048576";
    let text = "x".repeat(10_000);
    live(&scratch.0, more, 1_000_000, End::Killed, async |life| {
        let first = life.set("book.x", "k", "before", 0);
        life.publish("once", Publication { idempotency_key: Some("a1"), ..Payload::Text("x").into() });
        // Nothing is written yet: the buffer takes what fits, and what is published goes on.
        let tickets: Vec<u64> = (0..200).map(|_| life.say("chat", &text)).collect();
        assert_eq!(life.journal.health().state, "degraded");
        assert!(life.journal.health().not_journaled > 0);
        for ticket in [first, tickets[0], tickets[199]] {
            assert_eq!(life.journal.outcome(ticket), Outcome::NotPersisted);
        }
        life.write();
        life.until(|health| health.state == "ok").await;
        assert_eq!(life.journal.outcome(first), Outcome::Durable, "it is on disk now");
        let ticket = life.say("chat", "after");
        assert_eq!(life.decided(ticket).await, Outcome::Durable);
    });
    live(&scratch.0, more, 2_000_000, End::Closed, async |life| {
        assert_eq!(life.keys("book.x"), [("k".to_owned(), 1, "before".to_owned())]);
        let log = life.log("chat");
        assert_eq!((log.len(), log[200].1.as_str()), (201, "after"));
        let again = Publication { idempotency_key: Some("a1"), ..Payload::Text("x").into() };
        let topic = life.topic("once");
        assert!(life.publisher.publish(&topic, again, 2_000_000).unwrap().is_duplicate, "it is remembered too");
    });
}

#[test]
fn a_write_that_ends_after_the_journal_has_failed_decides_nothing() {
    let scratch = Scratch::new("late");
    live(&scratch.0, "", 1_000_000, End::Killed, async |life| {
        let first = life.say("a", "1");
        let (batch, _) = life.journal.take(Vec::new(), |_| false);
        let second = life.say("a", "2");
        life.journal.fail_with("the disk is gone".to_owned());
        life.journal.settle(&batch);
        for ticket in [first, second] {
            assert_eq!(life.journal.outcome(ticket), Outcome::NotPersisted);
        }
        life.journal.heal(2);
        life.journal.settle(&batch);
        assert_eq!(life.journal.outcome(second), Outcome::NotPersisted);
    });
}

#[test]
fn a_topic_that_is_not_persistent_any_more_is_left_out_and_said_to_be() {
    let scratch = Scratch::new("left-out");
    live(&scratch.0, "", 1_000_000, End::Closed, async |life| {
        life.say("a", "1");
    });
    let options = options(&scratch.0, "");
    let opened = restore::open(options.journal.as_ref().unwrap()).unwrap();
    let broker = Broker::new(Access::local(), CORES, 2_000_000);
    let notes = opened.contents.restore(&broker, &opened.journal, 2_000_000);
    assert!(notes.len() == 1 && notes[0].contains("a: ") && notes[0].contains("persistent"), "{notes:?}");
    assert!(broker.hub.is_empty());
}

#[test]
fn what_was_repaired_is_said() {
    let scratch = Scratch::new("said");
    live(&scratch.0, "", 1_000_000, End::Closed, async |life| {
        life.say("a", "1");
    });
    let file = scratch.0.join("00000001.rwj");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    live(&scratch.0, "", 2_000_000, End::Closed, async |life| {
        assert!(life.notes[0].contains("00000001.rwj") && life.notes[0].contains("cut off"), "{:?}", life.notes);
        assert_eq!(texts(&life.log("a")), ["1"]);
    });
}
