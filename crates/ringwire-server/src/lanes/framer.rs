//! Makes what the hub asks for one subscriber, or for the few that begin together: entries out of the history, notices,
//! snapshots; in the form of each lane.
//!
//! | lane | a notice | a part of a snapshot |
//! |---|---|---|
//! | [`HISTORY`] | a record of type 4 or 5 | records with the flag SNAPSHOT; behind the last key a record of type 3 without a key, whose seq is the snapshot's |
//! | [`JSON`] | a message | a message |
//! | [`SSE`] | an event | an event |
//! | raw and combined | nothing: they have no form for it | the entries, as if they were published again |
//!
//! An event has an id only where who comes again with it misses nothing: behind a skip some entries are still to come,
//! and so does a snapshot, so neither a skip nor a gap on a keyed topic nor any part of a snapshot but the last has one.

use ringwire_codec::{FrameHeader, Opcode, encode_frame};
use ringwire_hub::{Framer, GapReason, Key, LaneId, Notice, Part, SkipReason, Topic};

use super::encoder::{Encoder, push_event};
use super::{
    COMBINED, COMBINED_DEFLATE, HISTORY, JSON, JSON_DEFLATE, Publication, RAW, RAW_DEFLATE, SSE, SharedDeflate,
};
use crate::native::epoch::Epoch;
use crate::native::push::{self, Why};
use crate::native::record::{Flags, Record, RecordKind};

/// Makes frames of what the hub knows, with memory that it keeps from one to the next.
#[derive(Debug, Default)]
pub struct Frames {
    encoder: Encoder,
    body: Vec<u8>,
}

impl Frames {
    /// Compresses as `shared` says, where somebody gets it.
    pub fn new(shared: SharedDeflate) -> Self {
        Self { encoder: Encoder::new(shared), body: Vec::new() }
    }

    /// Appends an entry of the history of `topic` as a JSON message, without a frame.
    pub fn write_message(&mut self, topic: &Topic, history: &[u8], out: &mut Vec<u8>) {
        self.encoder.write_held(topic.name().as_str(), history, out);
    }

    /// Appends a JSON message in the form of `lane`: its type, and the place behind which an event's reader may come again.
    fn message(&mut self, lane: LaneId, word: &str, place: Option<(&Topic, u64)>, out: &mut Vec<u8>) {
        match lane {
            JSON => encode_frame(out, Opcode::Text, &self.body, None),
            JSON_DEFLATE => self.encoder.push_packed(out, Opcode::Text, &self.body),
            SSE => push_event(out, word, place, &self.body),
            _ => {}
        }
    }

    /// Appends the records in `self.body` as a frame.
    fn records(&mut self, out: &mut Vec<u8>) {
        let payload_bytes = self.body.len() as u64;
        let header = FrameHeader { fin: true, rsv1: false, opcode: Opcode::Binary, mask: None, payload_bytes };
        out.extend_from_slice(&header.encode());
        out.extend_from_slice(&self.body);
    }
}

impl Framer for Frames {
    fn replay(&mut self, lane: LaneId, topic: &Topic, history: &[u8], out: &mut Vec<u8>) {
        let record = Record::of_frame(history);
        let Some((record, publication)) = record.and_then(|record| Some((record, Publication::of_record(&record)?)))
        else {
            debug_assert!(false, "the history holds entries only");
            return;
        };
        self.encoder.forget();
        self.encoder.make(lane, topic, &publication, record.seq, record.ts_us.unwrap_or_default(), out);
        self.encoder.forget();
    }

    fn notice(&mut self, lane: LaneId, topic: &Topic, notice: Notice, out: &mut Vec<u8>) {
        let name = topic.name().as_str();
        self.body.clear();
        let (word, place) = match notice {
            Notice::Gap { to, .. } => (RecordKind::Gap.word(), (!topic.options().is_keyed()).then_some((topic, to))),
            Notice::Skip { .. } => (RecordKind::Skip.word(), None),
        };
        match notice {
            _ if lane == HISTORY => {
                write_record(topic, notice, &mut self.body);
                self.records(out);
            }
            Notice::Skip { from, to, count, why } => push::skip(&mut self.body, name, from, to, count, skipped(why)),
            Notice::Gap { from, to, why } => push::gap(&mut self.body, name, from, to, lost(why)),
        }
        self.message(lane, word, place, out);
    }

    fn snapshot(&mut self, lane: LaneId, topic: &Topic, seq: u64, keys: &[Key], part: Part, out: &mut Vec<u8>) {
        match lane {
            HISTORY => {
                self.body.clear();
                write_records(topic, seq, keys, part, &mut self.body);
                self.records(out);
            }
            JSON | JSON_DEFLATE | SSE => {
                let mut body = std::mem::take(&mut self.body);
                body.clear();
                let epoch = Epoch(topic.options().epoch);
                push::snapshot_begin(&mut body, topic.name().as_str(), epoch, seq, part.first, part.last);
                for (nth, key) in keys.iter().enumerate() {
                    if nth > 0 {
                        body.push(b',');
                    }
                    self.encoder.write_item(&key.history, &mut body);
                }
                push::snapshot_end(&mut body);
                self.body = body;
                self.message(lane, "snapshot", part.last.then_some((topic, seq)), out);
            }
            RAW | RAW_DEFLATE | COMBINED | COMBINED_DEFLATE => {
                keys.iter().for_each(|key| self.replay(lane, topic, &key.history, out));
            }
            _ => {}
        }
    }
}

fn skipped(why: SkipReason) -> Why {
    match why {
        SkipReason::Conflated => Why::Conflated,
        SkipReason::Rate => Why::Rate,
        SkipReason::Age => Why::Age,
    }
}

fn lost(why: GapReason) -> Why {
    match why {
        GapReason::Slow => Why::Slow,
        GapReason::Lost => Why::Lost,
    }
}

/// Appends a notice as a record.
fn write_record(topic: &Topic, notice: Notice, out: &mut Vec<u8>) {
    let mut payload = Vec::with_capacity(17);
    let (kind, from, why) = match notice {
        Notice::Skip { from, to, count, why } => {
            payload.extend_from_slice(&to.to_le_bytes());
            payload.extend_from_slice(&count.to_le_bytes());
            (RecordKind::Skip, from, skipped(why))
        }
        Notice::Gap { from, to, why } => {
            payload.extend_from_slice(&to.to_le_bytes());
            (RecordKind::Gap, from, lost(why))
        }
    };
    payload.push(why as u8);
    Record { payload: &payload, ..Record::new(kind, topic.id().index() as u32, from) }.append_to(out);
}

/// Appends a part of a snapshot as records.
fn write_records(topic: &Topic, seq: u64, keys: &[Key], part: Part, out: &mut Vec<u8>) {
    let mut place = if part.first { Flags::SNAPSHOT.with(Flags::FIRST) } else { Flags::SNAPSHOT };
    for key in keys {
        if let Some(record) = Record::of_frame(&key.history) {
            Record { flags: record.flags.with(place), ..record }.append_to(out);
            place = Flags::SNAPSHOT;
        }
    }
    if part.last {
        let end = Record::new(RecordKind::Remove, topic.id().index() as u32, seq);
        Record { flags: place.with(Flags::LAST), ..end }.append_to(out);
    }
}

#[cfg(test)]
#[path = "framer_tests.rs"]
mod tests;
