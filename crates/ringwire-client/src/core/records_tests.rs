//! The client against a scripted server that speaks records.

use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::super::Command;
use super::*;
use crate::event::TopicKind;
use crate::options::{Options, Subscribe};

/// A record of topic 7 without time and number of its publisher.
fn record(kind: u8, flags: u8, seq: u64, key: &str, payload: &[u8]) -> Vec<u8> {
    let bytes = (24 + key.len() + payload.len()).next_multiple_of(8);
    let mut record = u32::try_from(bytes).unwrap().to_le_bytes().to_vec();
    record.extend(7u32.to_le_bytes());
    record.extend(seq.to_le_bytes());
    record.extend([kind, flags, u8::try_from(key.len()).unwrap(), 0]);
    record.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
    record.extend([key.as_bytes(), payload].concat());
    record.resize(bytes, 0);
    record
}

/// A core that is subscribed to the keyed topic `a`, whose number is 7.
fn subscribed() -> (Core, mpsc::Receiver<Event>) {
    let now = Instant::now();
    let mut core = Core::new(&Options::default());
    core.hello(None, None);
    let answer = |core: &mut Core, result: serde_json::Value| {
        let request: serde_json::Value = serde_json::from_str(&core.out.pop_front().unwrap()).unwrap();
        let answer = json!({ "id": request["id"], "result": result });
        core.records(&record::control(&answer.to_string()), now).unwrap();
    };
    answer(&mut core, json!({ "time": 1 }));
    let (events, received) = mpsc::channel(9);
    let (reply, _) = oneshot::channel();
    core.command(Command::Subscribe { options: Subscribe::to("a"), events, reply }, now);
    let topic = json!({ "topic": "a", "id": 7, "epoch": "e1", "seq": 4, "head": 4, "state": "new", "kind": "keyed" });
    answer(&mut core, json!([topic]));
    assert!(matches!(&core.events[0].1, Event::Subscribed(at) if at.kind == TopicKind::Keyed));
    core.events.clear();
    (core, received)
}

#[test]
fn a_snapshot_in_records_is_gathered_and_ends_with_the_record_without_a_key() {
    let (mut core, _receiver) = subscribed();
    let now = Instant::now();
    let first = record(record::UPDATE, record::SNAPSHOT | record::FIRST, 2, "a", b"1");
    let second = record(record::UPDATE, record::SNAPSHOT, 4, "b", b"2");
    let last = record(record::REMOVE, record::SNAPSHOT | record::LAST, 4, "", b"");
    let update = record(record::UPDATE, 0, 5, "a", b"3");
    core.records(&[first, second.clone()].concat(), now).unwrap();
    core.records(&[second, last, update].concat(), now).unwrap();
    let parts: Vec<_> = core.events.drain(..).map(|(_, event)| event).collect();
    let [Event::Snapshot(one), Event::Snapshot(two), Event::Entry(entry)] = &parts[..] else { panic!("{parts:?}") };
    assert_eq!((one.first, one.last, one.entries.len(), &*one.epoch), (true, false, 2, "e1"));
    assert_eq!((two.first, two.last, two.entries.len(), two.seq), (false, true, 1, 4));
    assert_eq!((entry.seq, &*entry.key), (5, "a"));
    assert_eq!(core.subs.values().next().unwrap().accounts()[0].delivered, 1);
}

#[test]
fn notices_move_the_place_and_unknown_records_are_ignored() {
    let (mut core, _receiver) = subscribed();
    let numbers = |numbers: &[u64], why| [numbers.iter().flat_map(|n| n.to_le_bytes()).collect(), vec![why]].concat();
    let message = [
        record(record::REMOVE, record::SNAPSHOT | record::FIRST | record::LAST, 4, "", b""),
        record(record::SKIP, 0, 5, "", &numbers(&[9, 5], 1)),
        record(99, 0, 1, "", b""),
        record(record::GAP, 0, 10, "", &numbers(&[12], 4)),
    ];
    core.records(&message.concat(), Instant::now()).unwrap();
    let account = core.subs.values().next().unwrap().accounts().remove(0);
    assert_eq!((account.published, account.skipped, account.gap, account.breaks), (8, 5, 3, 0));
    assert!(core.records(&[1, 2, 3], Instant::now()).is_err());
}
