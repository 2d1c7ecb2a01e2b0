//! `ringwire.bin.1`: messages of records, little-endian, each beginning at a multiple of 8 bytes.

use ringwire_codec::Opcode;

use super::{Pending, bind};
use crate::adapter::{Heard, Line, Needs, Say, excerpt};
use crate::clients::Message;

/// Bytes before the fields that need not be there.
const HEADER_BYTES: usize = 24;
/// Records begin at multiples of this.
const ALIGNMENT: usize = 8;
/// Types of records.
const MESSAGE: u8 = 1;
const UPDATE: u8 = 2;
const CONTROL: u8 = 6;
const GREATEST_TYPE: u8 = 7;
/// The flag of a payload that is UTF-8.
const TEXT: u8 = 4;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Binary {
    pending: Pending,
    topics: Vec<Box<str>>,
    /// The number of each topic to publish to, once it is known.
    numbers: Vec<u32>,
}

impl Binary {
    pub(super) fn new(session: &Needs<'_>) -> Self {
        let topics: Vec<Box<str>> = session.publishes.iter().map(|&topic| topic.into()).collect();
        let pending = Pending { binds: topics.len(), ..Pending::new(session) };
        Self { pending, numbers: vec![0; topics.len()], topics }
    }
}

impl Line for Binary {
    fn open(&mut self, say: &mut Say) {
        let topics = std::mem::take(&mut self.topics);
        let binds = topics.iter().enumerate().map(|(index, topic)| bind(index, topic));
        for request in self.pending.subscribe().into_iter().chain(binds) {
            record(say, CONTROL, 0, request.as_bytes());
        }
    }

    fn hear(&mut self, message: Message<'_>, _: &mut Say) -> Result<Heard, String> {
        let (mut rest, mut heard) = (message.bytes, Heard::Control);
        while !rest.is_empty() {
            let (record, behind) = split(rest).filter(|_| !message.is_text).ok_or_else(|| {
                format!("what is no record, although ringwire.bin.1 is spoken: {}", excerpt(message.bytes))
            })?;
            rest = behind;
            match record.kind {
                MESSAGE | UPDATE => heard = Heard::Payloads,
                CONTROL => {
                    for line in record.payload.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                        if let Some((index, number)) = self.pending.hear(line)? {
                            let known = self.numbers.get_mut(index);
                            *known.ok_or_else(|| format!("an answer to what was not asked: {}", excerpt(line)))? =
                                number;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(heard)
    }

    fn is_ready(&self) -> bool {
        self.pending.is_empty()
    }

    fn publish(&mut self, topic: usize, payload: &[u8], say: &mut Say) {
        record(say, MESSAGE, self.numbers[topic], payload);
    }
}

/// A record, as far as it is looked at.
struct Record<'a> {
    kind: u8,
    /// What is behind the header: of a control record, JSON.
    payload: &'a [u8],
}

/// The record that `bytes` begin with, and those behind it.
fn split(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let word = |at: usize| bytes.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word) as usize);
    let length = word(0).filter(|length| *length >= HEADER_BYTES && length % ALIGNMENT == 0)?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let kind = Some(record[16]).filter(|kind| (MESSAGE..=GREATEST_TYPE).contains(kind))?;
    // A control record has neither time nor key, so its payload is behind the header.
    let payload = &record[HEADER_BYTES..];
    let payload = if kind == CONTROL { payload.get(..word(20)?)? } else { payload };
    Some((Record { kind, payload }, rest))
}

/// Says a record, of no number and for no answer.
fn record(say: &mut Say, kind: u8, topic: u32, payload: &[u8]) {
    let bytes = (HEADER_BYTES + payload.len()).next_multiple_of(ALIGNMENT);
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&(bytes as u32).to_le_bytes());
    header[4..8].copy_from_slice(&topic.to_le_bytes());
    header[16] = kind;
    header[17] = TEXT;
    header[20..].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    say.parts(Opcode::Binary, &[&header, payload, &[0; ALIGNMENT][..bytes - HEADER_BYTES - payload.len()]]);
}
