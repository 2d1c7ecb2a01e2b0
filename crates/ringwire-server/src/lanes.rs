//! The forms in which a published payload goes out, each a lane of its topic's log: encoded once, as a ready frame,
//! however many subscribe.
//!
//! | lane | what a subscriber gets |
//! |---|---|
//! | [`RAW`] | the payload as it was published: a text as a text frame, anything else as a binary frame |
//! | [`COMBINED`] | text: `{"stream":"<topic>","data":<payload>}` |
//!
//! In the combined form a payload that is JSON stands as it is, byte for byte. A text that is no JSON stands as a
//! JSON string. Bytes stand in base64, and the object says so: `{"stream":"a","data":"AAEC","base64":true}`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringwire_codec::{Opcode, encode_frame};
use ringwire_hub::{LaneId, TopicName};

use crate::json::{self, JsonCheck};

/// The payload alone.
pub const RAW: LaneId = LaneId::RAW;
/// The payload with its topic's name.
pub const COMBINED: LaneId = LaneId::new(1);

/// Longest payload that may be published, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Longest entry that follows from it: a text of control characters, each six bytes in a JSON string, and the rest.
pub const ENTRY_BYTES_MAX: usize = 6 * PAYLOAD_BYTES_MAX + 1024;
/// Working memory that is kept from payload to payload.
const BODY_BYTES_KEPT: usize = 64 * 1024;

/// What is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
}

impl Payload<'_> {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Payload::Text(text) => text.len(),
            Payload::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Encodes payloads, with memory that it keeps from one to the next.
#[derive(Debug, Default)]
pub struct Encoder {
    json: JsonCheck,
    body: Vec<u8>,
}

impl Encoder {
    /// Appends to `out` the frame of `payload`, published to `topic`, on `lane`. Nothing, if it is no lane of ours.
    pub fn encode(&mut self, lane: LaneId, topic: &TopicName, payload: Payload<'_>, out: &mut Vec<u8>) {
        match (lane, payload) {
            (RAW, Payload::Text(text)) => encode_frame(out, Opcode::Text, text.as_bytes(), None),
            (RAW, Payload::Binary(bytes)) => encode_frame(out, Opcode::Binary, bytes, None),
            (COMBINED, payload) => {
                self.write_combined(topic, payload);
                encode_frame(out, Opcode::Text, &self.body, None);
                self.body.clear();
                self.body.shrink_to(BODY_BYTES_KEPT);
            }
            _ => {}
        }
    }

    /// Makes `body` the combined form. A topic's name needs no escapes in JSON.
    fn write_combined(&mut self, topic: &TopicName, payload: Payload<'_>) {
        let Self { json, body } = self;
        body.extend_from_slice(b"{\"stream\":\"");
        body.extend_from_slice(topic.as_str().as_bytes());
        body.extend_from_slice(b"\",\"data\":");
        match payload {
            Payload::Text(text) if json.is_json(text.as_bytes()) => body.extend_from_slice(text.as_bytes()),
            Payload::Text(text) => json::write_string(body, text),
            Payload::Binary(bytes) => {
                body.push(b'"');
                body.extend_from_slice(STANDARD.encode(bytes).as_bytes());
                body.extend_from_slice(b"\",\"base64\":true");
            }
        }
        body.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(lane: LaneId, payload: Payload<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        Encoder::default().encode(lane, &TopicName::new("a.B-c").unwrap(), payload, &mut out);
        out
    }

    /// The payload of a combined frame short enough for a two-byte header.
    fn combined(payload: Payload<'_>) -> String {
        let frame = frame(COMBINED, payload);
        assert_eq!(frame[..2], [0x81, u8::try_from(frame.len() - 2).unwrap()]);
        String::from_utf8(frame[2..].to_vec()).unwrap()
    }

    #[test]
    fn raw_form_is_the_payload_in_a_frame_of_its_kind() {
        assert_eq!(frame(RAW, Payload::Text("{}")), [0x81, 2, b'{', b'}']);
        assert_eq!(frame(RAW, Payload::Binary(&[0, 255])), [0x82, 2, 0, 255]);
        assert_eq!(frame(RAW, Payload::Text("")), [0x81, 0]);
    }

    #[test]
    fn json_stands_in_the_combined_form_byte_for_byte() {
        assert_eq!(combined(Payload::Text("{ \"p\": 1.50 }")), r#"{"stream":"a.B-c","data":{ "p": 1.50 }}"#);
        assert_eq!(combined(Payload::Text("null")), r#"{"stream":"a.B-c","data":null}"#);
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
    fn the_longest_payload_fits_an_entry_in_every_form() {
        let text = "\u{1}".repeat(PAYLOAD_BYTES_MAX);
        for lane in [RAW, COMBINED] {
            assert!(frame(lane, Payload::Text(&text)).len() <= ENTRY_BYTES_MAX);
            assert!(frame(lane, Payload::Binary(text.as_bytes())).len() <= ENTRY_BYTES_MAX);
        }
    }

    #[test]
    fn a_lane_of_another_has_no_entry() {
        assert!(frame(LaneId::new(5), Payload::Text("x")).is_empty());
    }
}
