//! Makes the frames of a publication.
//!
//! Two steps, so that the topic's lock is held for copies only. [`Encoder::prepare`], before the lock, does what takes
//! long: it finds out whether the payload is JSON, writes a payload that is none as a JSON string or in base64, and
//! compresses. [`Encoder::encode`], under the lock, knows the entry's number and time and puts the frames together. A
//! compressed JSON message holds both, so it is prepared for the number that is likely, and made again if it is another.

use ringwire_codec::deflate::{Compressor, WindowBits};
use ringwire_codec::{FrameHeader, Opcode, encode_frame};
use ringwire_hub::{LaneId, Subject, Topic};

use super::{
    COMBINED, COMBINED_DEFLATE, HISTORY, JSON, JSON_DEFLATE, Payload, Publication, RAW, RAW_DEFLATE, SSE, SharedDeflate,
};
use crate::json::{JsonCheck, write_number, write_string};
use crate::native::epoch::Epoch;
use crate::native::push::{Data, Entry};
use crate::native::record::Record;

/// Working memory that is kept from payload to payload.
const BODY_BYTES_KEPT: usize = 64 * 1024;
/// The lanes that are compressed, and hence prepared as a whole.
const PACKED: [LaneId; 3] = [RAW_DEFLATE, COMBINED_DEFLATE, JSON_DEFLATE];
/// The lanes in which a payload stands in JSON.
const WRITTEN: [LaneId; 5] = [COMBINED, COMBINED_DEFLATE, JSON, JSON_DEFLATE, SSE];

/// Encodes publications, with memory that it keeps from one to the next.
#[derive(Debug, Default)]
pub struct Encoder {
    shared: SharedDeflate,
    json: JsonCheck,
    /// Whether the payload is JSON, once that has been asked.
    is_json: Option<bool>,
    /// A payload that is no JSON as the member `,"data":..`, once it has been asked for.
    data: Vec<u8>,
    body: Vec<u8>,
    packed: Vec<u8>,
    /// Made when it is first needed.
    compressor: Option<Box<Compressor>>,
    /// Frames of the publication that is to come next, by [`PACKED`].
    prepared: [Vec<u8>; PACKED.len()],
    /// Number and time for which they were prepared.
    prepared_for: (u64, u64),
}

impl Encoder {
    /// An encoder that compresses as `shared` says.
    pub fn new(shared: SharedDeflate) -> Self {
        Self { shared, ..Self::default() }
    }

    /// Does what takes a while for the lanes of `topic` that are active now. `now_us` is when it will be published.
    pub fn prepare(&mut self, topic: &Topic, publication: &Publication<'_>, now_us: u64) {
        self.forget();
        if WRITTEN.iter().any(|lane| topic.is_active(*lane)) {
            self.write_data(publication.payload);
        }
        self.prepared_for = (topic.last_seq() + 1, now_us);
        for (nth, lane) in PACKED.into_iter().enumerate() {
            if topic.is_active(lane) {
                let mut frame = std::mem::take(&mut self.prepared[nth]);
                let (seq, time_us) = self.prepared_for;
                self.make(lane, topic, publication, seq, time_us, &mut frame);
                self.prepared[nth] = frame;
            }
        }
    }

    /// Appends to `out` the form that entry `seq` of `topic` has on `lane`. What was prepared must have been for the same
    /// publication.
    pub fn encode(
        &mut self,
        lane: LaneId,
        topic: &Topic,
        publication: &Publication<'_>,
        seq: u64,
        time_us: u64,
        out: &mut Vec<u8>,
    ) {
        let prepared = PACKED.iter().position(|packed| *packed == lane).map(|nth| &self.prepared[nth]);
        let holds = lane != JSON_DEFLATE || self.prepared_for == (seq, time_us);
        match prepared {
            Some(frame) if holds && !frame.is_empty() => out.extend_from_slice(frame),
            _ => self.make(lane, topic, publication, seq, time_us, out),
        }
    }

    /// Lets go of what was prepared: what comes next is another publication.
    pub fn forget(&mut self) {
        self.is_json = None;
        let buffers = self.prepared.iter_mut().chain([&mut self.data, &mut self.body, &mut self.packed]);
        for buffer in buffers {
            buffer.clear();
            buffer.shrink_to(BODY_BYTES_KEPT);
        }
    }

    /// Appends to `out` the form that entry `seq` of `topic` has on `lane`. Between two publications,
    /// [`forget`](Self::forget) must be called.
    pub(super) fn make(
        &mut self,
        lane: LaneId,
        topic: &Topic,
        publication: &Publication<'_>,
        seq: u64,
        time_us: u64,
        out: &mut Vec<u8>,
    ) {
        let is_removal = matches!(publication.subject, Subject::Remove(_));
        let opcode = if publication.payload.is_text() { Opcode::Text } else { Opcode::Binary };
        let bytes = publication.payload.bytes();
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        match lane {
            HISTORY => publication.record(topic.id().index() as u32, seq, time_us).append_frame_to(out),
            RAW if !is_removal => encode_frame(out, opcode, bytes, None),
            RAW_DEFLATE if !is_removal => self.push_packed(out, opcode, bytes),
            COMBINED | COMBINED_DEFLATE => self.write_combined(topic, publication, &mut body),
            JSON | JSON_DEFLATE | SSE => self.write_message(topic, publication, seq, time_us, &mut body),
            _ => {}
        }
        match lane {
            COMBINED | JSON => encode_frame(out, Opcode::Text, &body, None),
            COMBINED_DEFLATE | JSON_DEFLATE => self.push_packed(out, Opcode::Text, &body),
            SSE => push_event(out, publication.kind().word(), Some((topic, seq)), &body),
            _ => {}
        }
        self.body = body;
    }

    /// Appends a frame of `payload`, compressed if that makes it shorter.
    pub(super) fn push_packed(&mut self, out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
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

    /// Finds out whether `payload` is JSON, and makes `data` of it if it is none. Returns the text if it is.
    fn write_data<'a>(&mut self, payload: Payload<'a>) -> Option<&'a str> {
        let data = match payload {
            Payload::Json(text) => return Some(text),
            Payload::Text(text) => {
                let json = &mut self.json;
                if *self.is_json.get_or_insert_with(|| json.is_json(text.as_bytes())) {
                    return Some(text);
                }
                Data::Text(text)
            }
            Payload::Binary(bytes) => Data::Bytes(bytes),
        };
        if self.data.is_empty() {
            data.write(&mut self.data);
        }
        None
    }

    /// Appends the combined form. A topic's name needs no escapes in JSON.
    fn write_combined(&mut self, topic: &Topic, publication: &Publication<'_>, body: &mut Vec<u8>) {
        body.extend_from_slice(b"{\"stream\":\"");
        body.extend_from_slice(topic.name().as_str().as_bytes());
        body.push(b'"');
        if matches!(publication.subject, Subject::Remove(_)) {
            body.extend_from_slice(b",\"remove\":true");
        } else if let Some(json) = self.write_data(publication.payload) {
            body.extend_from_slice(b",\"data\":");
            body.extend_from_slice(json.as_bytes());
        } else {
            body.extend_from_slice(&self.data);
        }
        if let Some(key) = publication.subject.key() {
            body.extend_from_slice(b",\"key\":");
            write_string(body, key);
        }
        body.push(b'}');
    }

    /// Appends the JSON message.
    fn write_message(
        &mut self,
        topic: &Topic,
        publication: &Publication<'_>,
        seq: u64,
        time_us: u64,
        body: &mut Vec<u8>,
    ) {
        self.with_entry(topic.name().as_str(), publication, seq, time_us, |entry, data| {
            entry.write(body);
            append_data(data, body);
        });
    }

    /// Appends an entry of the history as an item of a snapshot.
    pub(super) fn write_item(&mut self, history: &[u8], body: &mut Vec<u8>) {
        self.with_held("", history, |entry, data| {
            entry.write_item(body);
            append_data(data, body);
        });
    }

    /// Appends an entry of the history of `topic` as a JSON message.
    pub(super) fn write_held(&mut self, topic: &str, history: &[u8], body: &mut Vec<u8>) {
        self.with_held(topic, history, |entry, data| {
            entry.write(body);
            append_data(data, body);
        });
    }

    fn with_held(&mut self, topic: &str, history: &[u8], write: impl FnOnce(&Entry<'_>, &[u8])) {
        let Some(record) = Record::of_frame(history) else { return };
        let Some(publication) = Publication::of_record(&record) else { return };
        self.forget();
        self.with_entry(topic, &publication, record.seq, record.ts_us.unwrap_or_default(), write);
        self.forget();
    }

    /// Calls `write` with the entry, and with the member that holds its data if that is not JSON.
    fn with_entry(
        &mut self,
        topic: &str,
        publication: &Publication<'_>,
        seq: u64,
        time_us: u64,
        write: impl FnOnce(&Entry<'_>, &[u8]),
    ) {
        let is_removal = matches!(publication.subject, Subject::Remove(_));
        let json = if is_removal { None } else { self.write_data(publication.payload) };
        let entry = Entry {
            topic,
            kind: publication.kind(),
            seq,
            ts_us: time_us,
            source_seq: publication.source_seq,
            key: publication.subject.key().unwrap_or_default(),
            data: json.map_or(Data::None, Data::Json),
        };
        write(&entry, if json.is_none() && !is_removal { &self.data } else { &[] });
    }
}

/// Puts a member into the object that `body` ends with.
fn append_data(data: &[u8], body: &mut Vec<u8>) {
    if !data.is_empty() {
        body.pop();
        body.extend_from_slice(data);
        body.push(b'}');
    }
}

/// Appends an event, as a chunk: its name, and `json`, which is one line. Its id, if it has one, is the place behind an
/// entry: who comes again with it misses nothing.
pub(super) fn push_event(out: &mut Vec<u8>, name: &str, place: Option<(&Topic, u64)>, json: &[u8]) {
    let mut id = Vec::with_capacity(48);
    if let Some((topic, seq)) = place {
        id.extend_from_slice(b"id: ");
        Epoch(topic.options().epoch).append_to(&mut id);
        id.push(b'-');
        write_number(&mut id, seq);
        id.push(b'\n');
    }
    push_chunk(out, &[&id, b"event: ", name.as_bytes(), b"\ndata: ", json, b"\n\n"]);
}

/// Appends `pieces` as one chunk (RFC 9112 §7.1), which is how a stream of events is sent.
fn push_chunk(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
    let digits = (1..16).rev().find(|digits| bytes >> (4 * digits) != 0).unwrap_or(0);
    out.extend((0..=digits).rev().map(|digit| b"0123456789abcdef"[bytes >> (4 * digit) & 15]));
    out.extend_from_slice(b"\r\n");
    pieces.iter().for_each(|piece| out.extend_from_slice(piece));
    out.extend_from_slice(b"\r\n");
}
