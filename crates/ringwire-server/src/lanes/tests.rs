//! Tests of the lanes: what each form is, byte by byte.

use std::sync::Arc;

use ringwire_hub::{Hub, Topic, TopicKind, TopicName, TopicOptions};

use super::encoder::Encoder;
use super::*;

const ALL: [LaneId; 8] = [HISTORY, COMBINED, RAW, RAW_DEFLATE, COMBINED_DEFLATE, JSON, JSON_DEFLATE, SSE];

fn topic() -> Arc<Topic> {
    let kind = TopicKind::Keyed { keys_max: 10, key_ttl_us: u64::MAX };
    let options = TopicOptions { epoch: 36, kind, ..TopicOptions::default() };
    Hub::new(1).open(&TopicName::new("a.B-c").unwrap(), || options.into()).unwrap().topic
}

fn encoded(lane: LaneId, publication: &Publication<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::default().encode(lane, &topic(), publication, 7, 99, &mut out);
    out
}

fn frame(lane: LaneId, payload: Payload<'_>) -> Vec<u8> {
    encoded(lane, &payload.into())
}

/// The text of a frame short enough for a two-byte header, or of a four-byte one.
fn text(lane: LaneId, publication: &Publication<'_>) -> String {
    let frame = encoded(lane, publication);
    assert_eq!(frame[0], 0x81);
    String::from_utf8(frame[if frame[1] < 126 { 2 } else { 4 }..].to_vec()).unwrap()
}

fn combined(payload: Payload<'_>) -> String {
    text(COMBINED, &payload.into())
}

fn update<'a>(payload: Payload<'a>) -> Publication<'a> {
    Publication { subject: Subject::Update("k\""), source_seq: Some(5), ..payload.into() }
}

fn removal() -> Publication<'static> {
    Publication { subject: Subject::Remove("k"), ..Payload::Text("").into() }
}

#[test]
fn raw_form_is_the_payload_in_a_frame_of_its_kind() {
    assert_eq!(frame(RAW, Payload::Text("{}")), [0x81, 2, b'{', b'}']);
    assert_eq!(frame(RAW, Payload::Binary(&[0, 255])), [0x82, 2, 0, 255]);
    assert_eq!(frame(RAW, Payload::Text("")), [0x81, 0]);
}

#[test]
fn raw_form_of_an_update_is_its_payload_and_of_a_removal_nothing() {
    assert_eq!(encoded(RAW, &update(Payload::Json("{}"))), [0x81, 2, b'{', b'}']);
    assert!(encoded(RAW, &removal()).is_empty() && encoded(RAW_DEFLATE, &removal()).is_empty());
}

#[test]
fn json_stands_in_the_combined_form_byte_for_byte() {
    assert_eq!(combined(Payload::Text("{ \"p\":\n1.50 }")), "{\"stream\":\"a.B-c\",\"data\":{ \"p\":\n1.50 }}");
    assert_eq!(combined(Payload::Json("null")), r#"{"stream":"a.B-c","data":null}"#);
}

#[test]
fn other_text_stands_as_a_json_string() {
    assert_eq!(combined(Payload::Text("say \"hi\"\n")), r#"{"stream":"a.B-c","data":"say \"hi\"\n"}"#);
    assert_eq!(combined(Payload::Text("")), r#"{"stream":"a.B-c","data":""}"#);
    assert_eq!(combined(Payload::Text("1},{")), r#"{"stream":"a.B-c","data":"1},{"}"#);
}

#[test]
fn bytes_stand_in_base64_and_say_so() {
    assert_eq!(combined(Payload::Binary(&[0, 1, 2])), r#"{"stream":"a.B-c","data":"AAEC","base64":true}"#);
}

#[test]
fn keys_stand_behind_the_data_of_the_combined_form() {
    assert_eq!(text(COMBINED, &update(Payload::Text("1"))), r#"{"stream":"a.B-c","data":1,"key":"k\""}"#);
    assert_eq!(text(COMBINED, &removal()), r#"{"stream":"a.B-c","remove":true,"key":"k"}"#);
}

#[test]
fn the_json_form_is_a_message_of_the_native_protocol() {
    let message = |payload: Payload<'_>| text(JSON, &payload.into());
    let head = r#"{"topic":"a.B-c","type":"message","seq":7,"ts":99,"#;
    assert_eq!(message(Payload::Text("{\"a\":\n1}")), format!("{head}\"data\":{{\"a\": 1}}}}"));
    assert_eq!(message(Payload::Text("hi\n")), format!("{head}\"data\":\"hi\\n\"}}"));
    assert_eq!(message(Payload::Binary(&[0, 1, 2])), format!("{head}\"data\":\"AAEC\",\"base64\":true}}"));
    assert_eq!(
        text(JSON, &update(Payload::Json("[]"))),
        r#"{"topic":"a.B-c","type":"update","seq":7,"ts":99,"source_seq":5,"key":"k\"","data":[]}"#
    );
    assert_eq!(text(JSON, &removal()), r#"{"topic":"a.B-c","type":"remove","seq":7,"ts":99,"key":"k"}"#);
}

#[test]
fn an_event_is_a_chunk_with_its_place_as_id_and_the_message_as_data() {
    let event = |publication: &Publication<'_>| String::from_utf8(encoded(SSE, publication)).unwrap();
    let chunk = |event: String| format!("{:x}\r\n{event}\r\n", event.len());
    let message = r#"{"topic":"a.B-c","type":"message","seq":7,"ts":99,"data":[ ]}"#;
    assert_eq!(event(&Payload::Text("[\n]").into()), chunk(format!("id: 10-7\nevent: message\ndata: {message}\n\n")));
    let removal_json = r#"{"topic":"a.B-c","type":"remove","seq":7,"ts":99,"key":"k"}"#;
    assert_eq!(event(&removal()), chunk(format!("id: 10-7\nevent: remove\ndata: {removal_json}\n\n")));
}

#[test]
fn the_history_is_a_record_from_which_the_publication_is_read_back() {
    for publication in [
        Payload::Binary(&[0, 255]).into(),
        Publication { source_seq: Some(5), ..Payload::Text("é").into() },
        update(Payload::Text("{}")),
        removal(),
    ] {
        let frame = encoded(HISTORY, &publication);
        let record = Record::of_frame(&frame).expect("one record");
        assert_eq!((record.topic, record.seq, record.ts_us), (0, 7, Some(99)));
        assert_eq!(Publication::of_record(&record), Some(publication));
    }
}

#[test]
fn records_that_are_no_entries_publish_nothing() {
    let key = |kind, key| Record { key, ..Record::new(kind, 0, 0) };
    for record in [
        key(RecordKind::Message, "k"),
        key(RecordKind::Update, ""),
        key(RecordKind::Remove, ""),
        key(RecordKind::Control, ""),
        Record { flags: Flags::TEXT, payload: &[0xFF], ..Record::new(RecordKind::Message, 0, 0) },
    ] {
        assert_eq!(Publication::of_record(&record), None, "{record:?}");
    }
}

#[test]
fn the_longest_payload_fits_an_entry_in_every_form() {
    let long = "\u{1}".repeat(PAYLOAD_BYTES_MAX);
    let key = "\u{1}".repeat(255);
    for lane in ALL {
        for payload in [Payload::Text(&long), Payload::Binary(long.as_bytes())] {
            let publication = Publication { subject: Subject::Update(&key), ..payload.into() };
            assert!(encoded(lane, &publication).len() <= ENTRY_BYTES_MAX - 255);
        }
    }
}

/// What a subscriber reads from a frame that may be compressed.
fn unpacked(frame: &[u8]) -> Vec<u8> {
    use ringwire_codec::deflate::Deflate;
    use ringwire_codec::extension::{ExtensionParams, Negotiator};
    use ringwire_codec::{Decoder, DecoderLimits, Event, Role};
    let offer = ExtensionParams { name: "permessage-deflate", params: Vec::new() };
    let mut extension = Deflate::new(Default::default()).accept(&offer).unwrap().extension;
    let mut input = frame.to_vec();
    let mut decoder = Decoder::new(Role::Client, DecoderLimits::default());
    let step = decoder.decode_with(&mut input, Some(&mut *extension)).unwrap();
    let Some(Event::Message(message)) = step.event else { panic!("a message") };
    message.bytes().to_vec()
}

const PAIRS: [(LaneId, LaneId); 3] = [(RAW, RAW_DEFLATE), (COMBINED, COMBINED_DEFLATE), (JSON, JSON_DEFLATE)];

#[test]
fn compressed_lanes_hold_the_same_in_less() {
    let text = format!("[{}]", "{\"p\":\"39432.48\"},".repeat(50));
    for (plain, packed) in PAIRS {
        let (plain, packed) = (frame(plain, Payload::Text(&text)), frame(packed, Payload::Text(&text)));
        assert_eq!(packed[0], 0xC1, "RSV1");
        assert!(packed.len() < plain.len() / 4, "{} of {}", packed.len(), plain.len());
        assert_eq!(unpacked(&packed), unpacked(&plain));
    }
}

#[test]
fn what_does_not_get_shorter_stands_plain_in_compressed_lanes() {
    let short = Payload::Text("{\"p\":\"39432.48\"}");
    let mut random = fastrand::Rng::with_seed(7);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(3000).collect();
    for (plain, packed) in PAIRS {
        assert_eq!(frame(packed, short), frame(plain, short));
    }
    assert_eq!(frame(RAW_DEFLATE, Payload::Binary(&noise)), frame(RAW, Payload::Binary(&noise)));
}

#[test]
fn what_is_prepared_is_what_is_encoded() {
    let topic = topic();
    ALL[1..].iter().for_each(|lane| topic.activate(*lane));
    let mut encoder = Encoder::default();
    let long = format!("[{}]", "{},".repeat(300));
    for text in [&long, "no JSON", ""] {
        for publication in [Payload::Text(text).into(), update(Payload::Binary(text.as_bytes()))] {
            encoder.prepare(&topic, &publication, 99);
            // The number that is likely is 1, and it is 7 here: the likely one must not get through.
            for (seq, lane) in [1, 7].into_iter().flat_map(|seq| ALL.map(|lane| (seq, lane))) {
                let (mut got, mut want) = (Vec::new(), Vec::new());
                encoder.encode(lane, &topic, &publication, seq, 99, &mut got);
                Encoder::default().encode(lane, &topic, &publication, seq, 99, &mut want);
                assert_eq!(got, want, "{lane:?}");
            }
            encoder.forget();
        }
    }
}

#[test]
fn compressed_lanes_are_for_those_who_can_read_each_message_alone() {
    let agreed = Parameters {
        server_no_context_takeover: true,
        client_no_context_takeover: false,
        server_max_window_bits: WindowBits::MAX,
        client_max_window_bits: WindowBits::MIN,
    };
    for (plain, packed) in PAIRS {
        assert_eq!(lane_for(plain, Some(agreed)), packed);
        let small = Parameters { server_max_window_bits: WindowBits::new(14).unwrap(), ..agreed };
        let takeover = Parameters { server_no_context_takeover: false, ..agreed };
        for other in [None, Some(small), Some(takeover)] {
            assert_eq!(lane_for(plain, other), plain);
        }
    }
    assert_eq!(lane_for(HISTORY, Some(agreed)), HISTORY);
}
