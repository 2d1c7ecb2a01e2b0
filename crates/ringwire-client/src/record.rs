//! `ringwire.bin.1`: records, as docs/protocol.md lays them out. Little-endian, each a multiple of 8 bytes.

use std::sync::Arc;

use crate::error::Error;
use crate::event::{Data, Entry, EntryKind, SnapshotEntry};

/// Bytes before the fields that need not be there.
const HEADER_BYTES: usize = 24;
/// Records begin at multiples of this.
const ALIGNMENT: usize = 8;

pub(crate) const MESSAGE: u8 = 1;
pub(crate) const UPDATE: u8 = 2;
pub(crate) const REMOVE: u8 = 3;
pub(crate) const SKIP: u8 = 4;
pub(crate) const GAP: u8 = 5;
pub(crate) const CONTROL: u8 = 6;

const TS: u8 = 1;
const SOURCE: u8 = 2;
const TEXT: u8 = 4;
pub(crate) const SNAPSHOT: u8 = 8;
pub(crate) const FIRST: u8 = 16;
pub(crate) const LAST: u8 = 32;

/// A record, its parts where they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    /// The topic's number on this connection.
    pub(crate) topic: u32,
    pub(crate) seq: u64,
    ts_us: u64,
    source_seq: Option<u64>,
    pub(crate) key: &'a str,
    pub(crate) payload: &'a [u8],
}

/// The records of a message.
pub(crate) fn records(mut bytes: &[u8]) -> impl Iterator<Item = Result<Record<'_>, Error>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let record = split(bytes).and_then(|(record, rest)| {
            bytes = rest;
            parse(record)
        });
        if record.is_none() {
            bytes = &[];
        }
        Some(record.ok_or_else(|| Error::Protocol("a record that is none".to_owned())))
    })
}

impl Record<'_> {
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// As an entry of the topic of this name.
    pub(crate) fn entry(&self, topic: Arc<str>) -> Entry {
        let kind = match self.kind {
            UPDATE => EntryKind::Update,
            REMOVE => EntryKind::Remove,
            _ => EntryKind::Message,
        };
        let (seq, ts_us, source_seq) = (self.seq, self.ts_us, self.source_seq);
        Entry { topic, kind, seq, ts_us, source_seq, key: self.key.into(), data: self.data() }
    }

    /// As a key of a snapshot.
    pub(crate) fn snapshot_entry(&self) -> SnapshotEntry {
        SnapshotEntry { key: self.key.into(), seq: self.seq, ts_us: self.ts_us, data: self.data() }
    }

    /// The numbers of a skip's or gap's payload: so many u64, and a word for why.
    pub(crate) fn notice<const N: usize>(&self) -> Result<([u64; N], Arc<str>), Error> {
        let short = || Error::Protocol("a skip or gap that is too short".to_owned());
        let numbers = std::array::from_fn(|nth| number(self.payload, nth * 8));
        let why = match self.payload.get(N * 8).ok_or_else(short)? {
            1 => "conflated",
            2 => "rate",
            3 => "age",
            4 => "slow",
            _ => "lost",
        };
        Ok((numbers.map(Option::unwrap_or_default), why.into()))
    }

    fn data(&self) -> Data {
        if self.has(TEXT) { Data::text(self.payload) } else { Data::bytes(self.payload.to_vec()) }
    }
}

/// A JSON message as a record.
pub(crate) fn control(json: &str) -> Vec<u8> {
    let bytes = (HEADER_BYTES + json.len()).next_multiple_of(ALIGNMENT);
    let mut record = Vec::with_capacity(bytes);
    record.extend_from_slice(&u32::try_from(bytes).expect("requests are short").to_le_bytes());
    record.extend_from_slice(&[0; 12]);
    record.extend_from_slice(&[CONTROL, TEXT, 0, 0]);
    record.extend_from_slice(&u32::try_from(json.len()).expect("requests are short").to_le_bytes());
    record.extend_from_slice(json.as_bytes());
    record.resize(bytes, 0);
    record
}

/// The first record's bytes, and the others.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
    let length = usize::try_from(length).ok().filter(|length| *length >= HEADER_BYTES)?;
    bytes.split_at_checked(length)
}

fn parse(record: &[u8]) -> Option<Record<'_>> {
    let (kind, flags) = (record[16], record[17]);
    let key_bytes = usize::from(u16::from_le_bytes([record[18], record[19]]));
    let payload_bytes = usize::try_from(u32::from_le_bytes(record[20..24].try_into().ok()?)).ok()?;
    let mut at = HEADER_BYTES;
    let mut optional = |flag| {
        let value = (flags & flag != 0).then(|| number(record, at));
        at += if flags & flag != 0 { 8 } else { 0 };
        value
    };
    let (ts_us, source_seq) = (optional(TS), optional(SOURCE));
    let (key, rest) = record.get(at..)?.split_at_checked(key_bytes)?;
    Some(Record {
        kind,
        flags,
        topic: u32::from_le_bytes(record[4..8].try_into().ok()?),
        seq: number(record, 8)?,
        ts_us: ts_us.map_or(Some(0), |ts| ts)?,
        source_seq: source_seq.map_or(Some(None), |source| source.map(Some))?,
        key: std::str::from_utf8(key).ok()?,
        payload: rest.get(..payload_bytes)?,
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record as the specification lays it out.
    fn written(kind: u8, flags: u8, optional: &[u64], key: &str, payload: &[u8]) -> Vec<u8> {
        let parts = HEADER_BYTES + 8 * optional.len() + key.len() + payload.len();
        let bytes = parts.next_multiple_of(8);
        let mut record = u32::try_from(bytes).unwrap().to_le_bytes().to_vec();
        record.extend(7u32.to_le_bytes());
        record.extend(1041u64.to_le_bytes());
        record.extend([kind, flags]);
        record.extend(u16::try_from(key.len()).unwrap().to_le_bytes());
        record.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
        optional.iter().for_each(|number| record.extend(number.to_le_bytes()));
        record.extend([key.as_bytes(), payload].concat());
        record.resize(bytes, 0);
        record
    }

    #[test]
    fn records_are_read_one_behind_the_other() {
        let update = written(UPDATE, TS | SOURCE | TEXT, &[99, 5], "k", b"{\"q\":1}");
        let bytes = written(MESSAGE, 0, &[], "", &[0, 255]);
        let both: Vec<_> = [update, bytes].concat();
        let read: Vec<_> = records(&both).map(|record| record.unwrap().entry("a".into())).collect();
        let [update, message] = &read[..] else { panic!("{read:?}") };
        assert_eq!((update.kind, update.seq, update.ts_us, update.source_seq), (EntryKind::Update, 1041, 99, Some(5)));
        assert_eq!((&*update.key, update.data.as_str()), ("k", Some("{\"q\":1}")));
        assert_eq!((message.kind, message.ts_us, message.source_seq), (EntryKind::Message, 0, None));
        assert_eq!((&message.data.as_bytes()[..], message.data.as_str()), (&[0, 255][..], None));
    }

    #[test]
    fn notices_have_their_numbers_and_a_word() {
        let payload = [1090u64.to_le_bytes().as_slice(), &40u64.to_le_bytes(), &[2]].concat();
        let skip = written(SKIP, 0, &[], "", &payload);
        let record = records(&skip).next().unwrap().unwrap();
        assert_eq!(record.notice::<2>().unwrap(), ([1090, 40], "rate".into()));
        let short = written(GAP, 0, &[], "", &payload[..8]);
        assert!(records(&short).next().unwrap().unwrap().notice::<1>().is_err());
    }

    #[test]
    fn what_is_cut_off_is_no_record_and_ends_the_message() {
        let whole = written(UPDATE, TS | SOURCE, &[1, 2], "key", b"payload");
        for length in 1..whole.len() {
            let read: Vec<_> = records(&whole[..length]).collect();
            assert!(matches!(read[..], [Err(_)]), "{length}");
        }
        for (at, byte) in [(0, 16), (0, 0), (18, 200), (20, 200)] {
            let mut wrong = whole.clone();
            wrong[at] = byte;
            assert!(records(&wrong).next().unwrap().is_err(), "{at}");
        }
    }

    #[test]
    fn a_request_is_a_control_record() {
        let bytes = control("{\"id\":1}");
        let record = records(&bytes).next().unwrap().unwrap();
        assert_eq!((record.kind, record.payload, bytes.len() % 8), (CONTROL, &b"{\"id\":1}"[..], 0));
    }
}
