//! What the journal keeps and what it lets go: segments, checkpoints, retention, topics that are let go.

use bytes::Bytes;
use ringwire_hub::Subject;

use super::super::checkpoint::Checkpoint;
use super::super::record::Record;
use super::super::replay::{Replay, ReplayedTopic};
use super::super::segment::{Header, Records};
use super::{End, Journal, Scratch, live, texts};
use crate::lanes::{Payload, Publication};

#[test]
fn a_topic_that_was_let_go_does_not_come_back() {
    let scratch = Scratch::new("gone");
    live(&scratch.0, "", 1_000_000, End::Closed, async |life| {
        life.write();
        life.set("book.x", "k", "1", 0);
        life.publish("book.x", Publication { subject: Subject::Remove("k"), ..Payload::Text("").into() });
        life.say("b", "stays");
        life.set("short.x", "k", "1", 0);
        life.publish("short.x", Publication { subject: Subject::Remove("k"), ..Payload::Text("").into() });
        let topic = life.topic("short.x");
        topic.retain(u64::MAX / 2);
        assert_eq!(life.broker.hub.let_go_idle(u64::MAX), 1);
    });
    live(&scratch.0, "", 2_000_000, End::Closed, async |life| {
        let names: Vec<_> = life.broker.hub.topics().iter().map(|topic| topic.name().to_string()).collect();
        assert_eq!(names, ["b", "book.x"]);
        assert_eq!(life.publish("short.x", Payload::Text("1").into()).0, 1);
    });
}

#[test]
fn segments_that_hold_nothing_any_more_are_removed_and_nothing_is_lost() {
    let scratch = Scratch::new("compact");
    let more = "segment_bytes = 65536\nfsync = \"never\"";
    let mut expected = (Vec::new(), Vec::new());
    live(&scratch.0, more, 1_000_000, End::Killed, async |life| {
        life.write();
        life.set("book.y", "old and kept", "1", 0);
        for round in 0..20_000_u64 {
            let key = format!("k{}", round % 300);
            let ticket = life.set("short.x", &key, &format!("{round:0100}"), 0);
            if round % 7 == 0 {
                life.publish("short.x", Publication { subject: Subject::Remove(&key), ..Payload::Text("").into() });
            }
            if round % 64 == 0 {
                life.decided(ticket).await;
            }
        }
        let ticket = life.say("chat", "last");
        life.decided(ticket).await;
        let health = life.journal.health();
        assert!(health.written_bytes > 4_000_000, "{health:?}");
        // Twice what is held (300 keys of some 300 bytes) and two segments, and what is being written.
        assert!(health.bytes < 1_000_000, "{health:?}");
        expected = (life.keys("short.x"), life.log("short.x"));
    });
    let files = std::fs::read_dir(&scratch.0).unwrap().count();
    assert!(files < 16, "{files} files");
    live(&scratch.0, more, 2_000_000, End::Closed, async |life| {
        assert_eq!(life.keys("short.x"), expected.0);
        let log = life.log("short.x");
        assert!(log.ends_with(&expected.1) || expected.1.ends_with(&log), "{} of {}", log.len(), expected.1.len());
        assert!(log.len() >= 50);
        assert_eq!(life.keys("book.y").len(), 1);
        assert_eq!(texts(&life.log("chat")), ["last"]);
    });
}

#[test]
fn the_journal_does_not_grow_from_restart_to_restart() {
    let scratch = Scratch::new("lives");
    let mut sizes = Vec::new();
    for life in 1..=12 {
        live(&scratch.0, "segment_bytes = 65536\nfsync = \"never\"", life * 1_000_000, End::Killed, async |life| {
            life.write();
            let mut ticket = 0;
            for nth in 0..1_500 {
                ticket = life.say("short.x", &format!("{nth:0100}"));
                if nth % 100 == 0 {
                    life.decided(ticket).await;
                }
            }
            life.decided(ticket).await;
        });
        let files = std::fs::read_dir(&scratch.0).unwrap();
        sizes.push(files.map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>());
    }
    // 50 entries of some 200 bytes are held, and a life writes some 300 KB.
    assert!(sizes.iter().all(|bytes| *bytes < 700_000), "{sizes:?}");
}

/// What the records that wait to be written come to.
fn replayed(journal: &Journal) -> Vec<ReplayedTopic> {
    let (batch, _) = journal.take(Vec::new(), |_| true);
    let header = Header { number: 1, previous_bytes: 0 }.encode();
    let file = Bytes::from([&header[..], &batch.bytes].concat());
    let (mut replay, mut records) = (Replay::default(), Records::new(&file));
    while let Some(placed) = records.next_record().unwrap() {
        replay.apply(&file, &placed);
    }
    replay.finish()
}

#[test]
fn a_checkpoint_that_retention_overtakes_has_no_hole() {
    // Of the entries that are still to be written it passes some, or all.
    for more in [40, 200] {
        overtake(more);
    }
}

fn overtake(more: u64) {
    let scratch = Scratch::new("overtaken");
    live(&scratch.0, "", 1_000_000, End::Killed, async |life| {
        let text = "x".repeat(30_000);
        for _ in 0..60 {
            life.say("short.x", &text);
        }
        let _ = replayed(&life.journal);
        let mut checkpoint = Checkpoint::new(&life.journal, 1);
        assert!(checkpoint.step(&life.journal, &life.broker.hub), "it takes more than a piece");
        for _ in 0..more {
            life.say("short.x", &text);
        }
        assert!(life.topic("short.x").first_seq() > 38, "retention has passed what is to be written next");
        while checkpoint.step(&life.journal, &life.broker.hub) {}
        let topics = replayed(&life.journal);
        let seqs: Vec<u64> = topics[0].log.iter().map(|stored| stored.entry().seq).collect();
        assert!(!topics[0].has_hole && seqs.len() >= 50, "{seqs:?}");
        assert_eq!((topics[0].last_seq, seqs.last().copied()), (60 + more, Some(60 + more)));
    });
}

#[test]
fn nothing_is_written_of_a_topic_after_it_was_let_go() {
    let scratch = Scratch::new("after");
    live(&scratch.0, "", 1_000_000, End::Killed, async |life| {
        let topic = life.topic("short.x");
        let sink = life.journal.all_topics().remove(0);
        topic.retain(u64::MAX / 2);
        assert_eq!(life.broker.hub.let_go_idle(u64::MAX), 1);
        let _ = replayed(&life.journal);
        sink.note(&Record::Begin { topic: sink.id() });
        assert_eq!(life.journal.waiting_bytes(), 0);
    });
}

#[test]
fn a_segment_that_is_begun_again_under_its_number_declares_its_topics_again() {
    let scratch = Scratch::new("again");
    live(&scratch.0, "", 1_000_000, End::Killed, async |life| {
        life.say("a", "1");
        for _ in 0..2 {
            life.journal.fail_with("no space".to_owned());
            life.journal.heal(7);
            let mut checkpoint = Checkpoint::new(&life.journal, 7);
            while checkpoint.step(&life.journal, &life.broker.hub) {}
        }
        let topics = replayed(&life.journal);
        assert_eq!(topics.iter().map(|topic| topic.log.len()).collect::<Vec<_>>(), [1]);
    });
}
