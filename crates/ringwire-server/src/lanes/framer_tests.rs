//! Tests of what is framed for one subscriber: each notice and each part of a snapshot, in every form.

use std::sync::Arc;

use ringwire_hub::{Hub, TopicKind, TopicName, TopicOptions};

use super::*;
use crate::lanes::Payload;
use crate::native::record::records;

fn topic(kind: TopicKind) -> Arc<Topic> {
    let options = TopicOptions { epoch: 36, kind, ..TopicOptions::default() };
    Hub::new(1).open(&TopicName::new("t").unwrap(), || options.into()).unwrap().topic
}

fn plain() -> Arc<Topic> {
    topic(TopicKind::Plain)
}

fn keyed() -> Arc<Topic> {
    topic(TopicKind::Keyed { keys_max: 10, key_ttl_us: u64::MAX })
}

fn noticed(lane: LaneId, topic: &Topic, notice: Notice) -> Vec<u8> {
    let mut out = Vec::new();
    Frames::default().notice(lane, topic, notice, &mut out);
    out
}

/// The payload of the only frame, short enough for a header of two or four bytes.
fn payload(frame: &[u8]) -> &[u8] {
    let (header, bytes) = FrameHeader::parse(frame).unwrap().unwrap();
    assert_eq!(frame.len(), bytes + header.payload_bytes as usize);
    &frame[bytes..]
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

const SKIP: Notice = Notice::Skip { from: 3, to: 9, count: 4, why: SkipReason::Conflated };
const GAP: Notice = Notice::Gap { from: 3, to: 9, why: GapReason::Slow };

/// A key as the hub keeps it, of an entry with this payload.
fn key(name: &str, seq: u64, payload: Payload<'_>) -> Key {
    let publication =
        Publication { subject: ringwire_hub::Subject::Update(name), source_seq: Some(5), ..payload.into() };
    let mut history = Vec::new();
    publication.record(0, seq, 99).append_frame_to(&mut history);
    Key { name: name.into(), seq, owner: 0, history: history.into() }
}

fn snapshot(lane: LaneId, keys: &[Key], first: bool, last: bool) -> Vec<u8> {
    let mut out = Vec::new();
    Frames::default().snapshot(lane, &keyed(), 7, keys, Part { first, last }, &mut out);
    out
}

#[test]
fn a_notice_is_a_message_in_json() {
    let skip = r#"{"topic":"t","type":"skip","from":3,"to":9,"count":4,"why":"conflated"}"#;
    assert_eq!(text(payload(&noticed(JSON, &plain(), SKIP))), skip);
    assert_eq!(payload(&noticed(JSON_DEFLATE, &plain(), SKIP)), skip.as_bytes());
    let gap = r#"{"topic":"t","type":"gap","from":3,"to":9,"why":"slow"}"#;
    assert_eq!(text(payload(&noticed(JSON, &plain(), GAP))), gap);
}

#[test]
fn a_notice_is_a_record_in_binary() {
    let frames = [SKIP, GAP].map(|notice| noticed(HISTORY, &plain(), notice));
    let [skip, gap] = frames.each_ref().map(|frame| Record::of_frame(frame).expect("a record"));
    assert_eq!((skip.kind, skip.seq, gap.kind, gap.seq), (RecordKind::Skip, 3, RecordKind::Gap, 3));
    assert_eq!(skip.payload, [9, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(gap.payload, [9, 0, 0, 0, 0, 0, 0, 0, 4]);
}

#[test]
fn forms_without_notices_have_none() {
    for lane in [RAW, RAW_DEFLATE, COMBINED, COMBINED_DEFLATE] {
        assert!(noticed(lane, &plain(), SKIP).is_empty() && noticed(lane, &plain(), GAP).is_empty());
    }
}

#[test]
fn an_event_has_an_id_only_if_nothing_before_it_is_still_to_come() {
    let has_id = |topic: &Topic, notice| text(&noticed(SSE, topic, notice)).contains("id: 10-9\n");
    assert!(has_id(&plain(), GAP));
    assert!(!has_id(&plain(), SKIP) && !has_id(&keyed(), GAP));
    let keys = [key("a", 1, Payload::Text("1"))];
    assert!(!text(&snapshot(SSE, &keys, true, false)).contains("id:"));
    assert!(
        text(&snapshot(SSE, &keys, false, true))
            .contains("id: 10-7\nevent: snapshot\ndata: {\"topic\":\"t\",\"type\":\"snapshot\"")
    );
}

#[test]
fn a_snapshot_in_json_lists_each_key_with_its_entry() {
    let keys = [key("a", 1, Payload::Text("{\"x\":1}")), key("b", 4, Payload::Binary(&[0, 1, 2]))];
    assert_eq!(
        text(payload(&snapshot(JSON, &keys, true, true))),
        concat!(
            r#"{"topic":"t","type":"snapshot","epoch":"10","seq":7,"first":true,"last":true,"data":["#,
            r#"{"key":"a","seq":1,"ts":99,"source_seq":5,"data":{"x":1}},"#,
            r#"{"key":"b","seq":4,"ts":99,"source_seq":5,"data":"AAEC","base64":true}]}"#
        )
    );
    assert!(text(payload(&snapshot(JSON, &[], true, true))).ends_with("\"data\":[]}"));
}

#[test]
fn a_snapshot_in_records_ends_with_one_that_has_its_seq() {
    let keys = [key("a", 1, Payload::Text("1")), key("b", 4, Payload::Text("2"))];
    let read = |frame: &[u8]| -> Vec<(u64, String, [bool; 3])> {
        let flags =
            |record: &Record<'_>| [Flags::SNAPSHOT, Flags::FIRST, Flags::LAST].map(|flag| record.flags.has(flag));
        let all = records(payload(frame)).map(Result::unwrap);
        all.map(|record| (record.seq, record.key.to_owned(), flags(&record))).collect()
    };
    let row = |seq, key: &str, flags| (seq, key.to_owned(), flags);
    assert_eq!(
        read(&snapshot(HISTORY, &keys, true, true)),
        [row(1, "a", [true, true, false]), row(4, "b", [true, false, false]), row(7, "", [true, false, true])]
    );
    assert_eq!(read(&snapshot(HISTORY, &keys[1..], false, false)), [row(4, "b", [true, false, false])]);
    assert_eq!(read(&snapshot(HISTORY, &[], true, true)), [row(7, "", [true, true, true])]);
}

#[test]
fn forms_without_snapshots_have_the_entries_again() {
    let keys = [key("a", 1, Payload::Text("1")), key("b", 4, Payload::Text("2"))];
    assert_eq!(snapshot(RAW, &keys, true, true), [0x81, 1, b'1', 0x81, 1, b'2']);
    let combined = snapshot(COMBINED, &keys[..1], true, true);
    assert_eq!(text(payload(&combined)), r#"{"stream":"t","data":1,"key":"a"}"#);
}

#[test]
fn what_is_replayed_is_what_the_lane_would_hold() {
    let topic = keyed();
    let key = key("a", 1, Payload::Text("no JSON"));
    let mut frames = Frames::default();
    for lane in [RAW, COMBINED, JSON, JSON_DEFLATE, SSE] {
        let (mut replayed, mut held) = (Vec::new(), Vec::new());
        frames.replay(lane, &topic, &key.history, &mut replayed);
        let publication = Publication {
            subject: ringwire_hub::Subject::Update("a"),
            source_seq: Some(5),
            ..Payload::Text("no JSON").into()
        };
        Encoder::default().encode(lane, &topic, &publication, 1, 99, &mut held);
        assert_eq!(replayed, held, "{lane:?}");
    }
}
