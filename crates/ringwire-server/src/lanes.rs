//! The forms in which a published payload goes out, each a lane of its topic's log: encoded once, as a ready frame,
//! however many subscribe.
//!
//! | lane | what a subscriber gets |
//! |---|---|
//! | [`RAW`] | the payload as it was published: a text as a text frame, anything else as a binary frame |
//! | [`COMBINED`] | text: `{"stream":"<topic>","data":<payload>}` |
//! | [`RAW_DEFLATE`], [`COMBINED_DEFLATE`] | the same, compressed (RFC 7692) if that makes it shorter |
//!
//! In the combined form a payload that is JSON stands as it is, byte for byte. A text that is no JSON stands as a
//! JSON string. Bytes stand in base64, and the object says so: `{"stream":"a","data":"AAEC","base64":true}`.
//!
//! A lane is kept only while it has subscribers, so nothing is compressed that nobody gets. A compressed frame is
//! compressed by itself and with the largest window: it is for those who have agreed on that ([`lane_for`]), and all
//! others get the plain lane, which any peer can read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringwire_codec::deflate::{Compressor, Level, MemoryLevel, Parameters, WindowBits};
use ringwire_codec::{FrameHeader, Opcode, encode_frame};
use ringwire_hub::{LaneId, Topic, TopicName};

use crate::json::{self, JsonCheck};

/// The payload alone.
pub const RAW: LaneId = LaneId::HISTORY;
/// The payload with its topic's name.
pub const COMBINED: LaneId = LaneId::new(1);
/// [`RAW`], compressed.
pub const RAW_DEFLATE: LaneId = LaneId::new(2);
/// [`COMBINED`], compressed.
pub const COMBINED_DEFLATE: LaneId = LaneId::new(3);
/// The lanes whose frames take longer than a copy to make.
const PREPARED: [LaneId; 3] = [COMBINED, RAW_DEFLATE, COMBINED_DEFLATE];

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

/// How messages are compressed that many get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedDeflate {
    /// How hard the compressor tries.
    pub level: Level,
    /// How much memory it takes: one compressor per shard that publishes, and one for the feed.
    pub memory_level: MemoryLevel,
    /// Shorter messages go as they are, in bytes.
    pub threshold_bytes: usize,
}

impl Default for SharedDeflate {
    fn default() -> Self {
        Self { level: Level::SHARED, memory_level: MemoryLevel::DEFAULT, threshold_bytes: 128 }
    }
}

/// The lane for a subscriber to `lane` whose connection has agreed on this.
pub fn lane_for(lane: LaneId, agreed: Option<Parameters>) -> LaneId {
    let reads_shared = agreed
        .is_some_and(|agreed| agreed.server_no_context_takeover && agreed.server_max_window_bits == WindowBits::MAX);
    match lane {
        RAW if reads_shared => RAW_DEFLATE,
        COMBINED if reads_shared => COMBINED_DEFLATE,
        other => other,
    }
}

/// Encodes payloads, with memory that it keeps from one to the next.
#[derive(Debug, Default)]
pub struct Encoder {
    shared: SharedDeflate,
    json: JsonCheck,
    /// The combined form of the payload, once it has been asked for.
    body: Vec<u8>,
    packed: Vec<u8>,
    /// Made when it is first needed.
    compressor: Option<Box<Compressor>>,
    /// Frames of the payload that is to be published next, by [`PREPARED`].
    prepared: [Vec<u8>; PREPARED.len()],
}

impl Encoder {
    /// An encoder that compresses as `shared` says.
    pub fn new(shared: SharedDeflate) -> Self {
        Self { shared, ..Self::default() }
    }

    /// Makes the frames that take a while for the lanes of `topic` that are active now, so that its lock is not held
    /// meanwhile.
    pub fn prepare(&mut self, topic: &Topic, payload: Payload<'_>) {
        self.forget();
        for (nth, lane) in PREPARED.into_iter().enumerate() {
            if topic.is_active(lane) {
                let mut frame = std::mem::take(&mut self.prepared[nth]);
                self.make(lane, topic.name(), payload, &mut frame);
                self.prepared[nth] = frame;
            }
        }
    }

    /// Appends to `out` the frame of `payload`, published to `topic`, on `lane`. Nothing, if it is no lane of ours.
    /// What was prepared must have been for the same.
    pub fn encode(&mut self, lane: LaneId, topic: &TopicName, payload: Payload<'_>, out: &mut Vec<u8>) {
        let prepared = PREPARED.iter().position(|prepared| *prepared == lane).map(|nth| &self.prepared[nth]);
        match prepared {
            Some(frame) if !frame.is_empty() => out.extend_from_slice(frame),
            _ => self.make(lane, topic, payload, out),
        }
    }

    /// Lets go of what was prepared.
    pub fn forget(&mut self) {
        for buffer in self.prepared.iter_mut().chain([&mut self.body, &mut self.packed]) {
            buffer.clear();
            buffer.shrink_to(BODY_BYTES_KEPT);
        }
    }

    fn make(&mut self, lane: LaneId, topic: &TopicName, payload: Payload<'_>, out: &mut Vec<u8>) {
        let (opcode, bytes) = match payload {
            Payload::Text(text) => (Opcode::Text, text.as_bytes()),
            Payload::Binary(bytes) => (Opcode::Binary, bytes),
        };
        if matches!(lane, COMBINED | COMBINED_DEFLATE) && self.body.is_empty() {
            self.write_combined(topic, payload);
        }
        let body = std::mem::take(&mut self.body);
        match lane {
            RAW => encode_frame(out, opcode, bytes, None),
            COMBINED => encode_frame(out, Opcode::Text, &body, None),
            RAW_DEFLATE => self.push_packed(out, opcode, bytes),
            COMBINED_DEFLATE => self.push_packed(out, Opcode::Text, &body),
            _ => {}
        }
        self.body = body;
    }

    /// Appends a frame of `payload`, compressed if that makes it shorter.
    fn push_packed(&mut self, out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
        let SharedDeflate { level, memory_level, threshold_bytes } = self.shared;
        self.packed.clear();
        let is_packed = payload.len() >= threshold_bytes && {
            let new = || Box::new(Compressor::new(level, memory_level, WindowBits::MAX));
            self.compressor.get_or_insert_with(new).compress_alone(payload, &mut self.packed)
        };
        if !is_packed {
            return encode_frame(out, opcode, payload, None);
        }
        let payload_bytes = self.packed.len() as u64;
        let header = FrameHeader { fin: true, rsv1: true, opcode, mask: None, payload_bytes };
        out.extend_from_slice(&header.encode());
        out.extend_from_slice(&self.packed);
    }

    /// Makes `body` the combined form. A topic's name needs no escapes in JSON.
    fn write_combined(&mut self, topic: &TopicName, payload: Payload<'_>) {
        let Self { json, body, .. } = self;
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
        for lane in [RAW, COMBINED, RAW_DEFLATE, COMBINED_DEFLATE] {
            assert!(frame(lane, Payload::Text(&text)).len() <= ENTRY_BYTES_MAX);
            assert!(frame(lane, Payload::Binary(text.as_bytes())).len() <= ENTRY_BYTES_MAX);
        }
    }

    #[test]
    fn a_lane_of_another_has_no_entry() {
        assert!(frame(LaneId::new(5), Payload::Text("x")).is_empty());
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

    #[test]
    fn compressed_lanes_hold_the_same_in_less() {
        let text = format!("[{}]", "{\"p\":\"39432.48\"},".repeat(50));
        for (plain, packed) in [(RAW, RAW_DEFLATE), (COMBINED, COMBINED_DEFLATE)] {
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
        assert_eq!(frame(RAW_DEFLATE, short), frame(RAW, short));
        assert_eq!(frame(COMBINED_DEFLATE, short), frame(COMBINED, short));
        assert_eq!(frame(RAW_DEFLATE, Payload::Binary(&noise)), frame(RAW, Payload::Binary(&noise)));
    }

    #[test]
    fn what_is_prepared_is_what_is_encoded() {
        use ringwire_hub::{Hub, TopicOptions};
        let topic =
            Hub::new(1).open(&TopicName::new("a.B-c").unwrap(), || TopicOptions::default().into()).unwrap().topic;
        PREPARED.iter().for_each(|lane| topic.activate(*lane));
        let mut encoder = Encoder::default();
        for text in ["{}".repeat(300), "no JSON".to_owned(), String::new()] {
            encoder.prepare(&topic, Payload::Text(&text));
            assert!(encoder.prepared.iter().all(|frame| !frame.is_empty()));
            for lane in [RAW].into_iter().chain(PREPARED) {
                let mut out = Vec::new();
                encoder.encode(lane, topic.name(), Payload::Text(&text), &mut out);
                assert_eq!(out, frame(lane, Payload::Text(&text)));
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
        assert_eq!(lane_for(RAW, Some(agreed)), RAW_DEFLATE);
        assert_eq!(lane_for(COMBINED, Some(agreed)), COMBINED_DEFLATE);
        let small = Parameters { server_max_window_bits: WindowBits::new(14).unwrap(), ..agreed };
        let takeover = Parameters { server_no_context_takeover: false, ..agreed };
        for other in [None, Some(small), Some(takeover)] {
            assert_eq!((lane_for(RAW, other), lane_for(COMBINED, other)), (RAW, COMBINED));
        }
    }
}
