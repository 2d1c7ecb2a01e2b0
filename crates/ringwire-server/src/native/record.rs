//! The binary record: one entry, notice or control message in fixed offsets, little-endian.
//!
//! ```text
//!  0  u32  bytes of the whole record, a multiple of 8
//!  4  u32  topic id
//!  8  u64  seq
//! 16  u8   type          17  u8  flags          18  u16  bytes of the key
//! 20  u32  bytes of the payload
//! 24  u64  ts, in µs since the Unix epoch, if TS       then  u64  source_seq, if SOURCE
//!     key, payload, zeros up to a multiple of 8
//! ```
//!
//! A WebSocket message of `ringwire.bin.1` holds one or more of them, one behind the other. The history lane of every
//! topic holds one per entry, as a ready frame ([`Record::append_frame_to`], [`Record::of_frame`]); the journal and the
//! recording hold the records themselves.
//!
//! A record has one form: what [`Record::parse`] accepts is written the same by [`Record::append_to`].

use std::fmt;

use ringwire_codec::{FrameHeader, Opcode};
use ringwire_hub::KEY_BYTES_MAX;

/// Bytes before the optional fields.
pub const RECORD_HEADER_BYTES: usize = 24;
/// Records begin at multiples of this.
const ALIGNMENT: usize = 8;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// An entry of a plain topic.
    Message = 1,
    /// An entry that sets a key.
    Update = 2,
    /// An entry that removes a key.
    Remove = 3,
    /// Some of the entries `seq..=to` do not come: payload u64 `to`, u64 count, u8 [why](crate::native::push::Why).
    Skip = 4,
    /// None of the entries `seq..=to` comes: payload u64 `to`, u8 why.
    Gap = 5,
    /// A JSON message.
    Control = 6,
    /// A publish was taken: `seq` is the request's id, the payload the entry's seq as u64.
    Ack = 7,
}

impl RecordKind {
    /// What a JSON message of this kind has as its `type`, for those that have one.
    pub fn word(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Update => "update",
            Self::Remove => "remove",
            Self::Skip => "skip",
            Self::Gap => "gap",
            Self::Control => "control",
            Self::Ack => "ack",
        }
    }
}

/// Facts of a record. Whether it has a time and a source's number is not among them: [`Record::ts_us`] and
/// [`Record::source_seq`] say so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

/// An entry, a notice or a control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it is.
    pub kind: RecordKind,
    /// Number of the topic on this connection; in what the server keeps, the hub's number of it.
    pub topic: u32,
    /// Number of the entry; the first one of a skip or gap; the request's id of a publish or an ack.
    pub seq: u64,
    /// Facts of the payload and of the place.
    pub flags: Flags,
    /// When it was published, in µs since the Unix epoch.
    pub ts_us: Option<u64>,
    /// The publisher's own number.
    pub source_seq: Option<u64>,
    /// The key, at most [`KEY_BYTES_MAX`] bytes; empty if it has none.
    pub key: &'a str,
    /// The payload. UTF-8 if it has [`Flags::TEXT`], which parsing does not check.
    pub payload: &'a [u8],
}

/// What is wrong with the bytes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFault {
    /// They end before the record does: so many bytes are needed to go on.
    Incomplete {
        /// From the record's beginning.
        needed: usize,
    },
    /// The length of the record is not that of its parts, filled up with zeros to a multiple of 8.
    Length {
        /// What it says.
        bytes: u32,
        /// What its parts come to.
        parts: usize,
    },
    /// There is no such type.
    Kind(u8),
    /// A flag that has no meaning is set.
    Flags(u8),
    /// The key is longer than [`KEY_BYTES_MAX`], or not UTF-8.
    Key,
    /// The bytes that fill it up are not zeros.
    Padding,
}

impl Flags {
    /// No facts.
    pub const NONE: Self = Self(0);
    /// The payload is UTF-8.
    pub const TEXT: Self = Self(4);
    /// The record belongs to a snapshot.
    pub const SNAPSHOT: Self = Self(8);
    /// It is the first of the snapshot.
    pub const FIRST: Self = Self(16);
    /// It is the last of the snapshot.
    pub const LAST: Self = Self(32);
    /// The key is to go when the connection goes that publishes it. Publishes only.
    pub const BOUND: Self = Self(64);

    const TS: u8 = 1;
    const SOURCE: u8 = 2;
    const UNKNOWN: u8 = 128;

    /// Whether all of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These and `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl RecordKind {
    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Message,
            2 => Self::Update,
            3 => Self::Remove,
            4 => Self::Skip,
            5 => Self::Gap,
            6 => Self::Control,
            7 => Self::Ack,
            _ => return None,
        })
    }
}

impl<'a> Record<'a> {
    /// A record without anything optional.
    pub const fn new(kind: RecordKind, topic: u32, seq: u64) -> Self {
        Self { kind, topic, seq, flags: Flags::NONE, ts_us: None, source_seq: None, key: "", payload: &[] }
    }

    /// A control record with this JSON text.
    pub const fn control(json: &'a [u8]) -> Self {
        Self { flags: Flags::TEXT, payload: json, ..Self::new(RecordKind::Control, 0, 0) }
    }

    /// Length of its encoded form.
    pub fn encoded_bytes(&self) -> usize {
        self.parts_bytes().next_multiple_of(ALIGNMENT)
    }

    /// Appends its encoded form.
    ///
    /// # Panics
    /// If the key is longer than [`KEY_BYTES_MAX`], or the payload as long as 4 GiB.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        assert!(self.key.len() <= KEY_BYTES_MAX, "a key has at most {KEY_BYTES_MAX} bytes");
        let bytes = self.encoded_bytes();
        let end = out.len() + bytes;
        let mut flags = self.flags.0;
        flags |= if self.ts_us.is_some() { Flags::TS } else { 0 };
        flags |= if self.source_seq.is_some() { Flags::SOURCE } else { 0 };
        let mut header = [0; RECORD_HEADER_BYTES];
        header[..4].copy_from_slice(&u32::try_from(bytes).expect("a record is below 4 GiB").to_le_bytes());
        header[4..8].copy_from_slice(&self.topic.to_le_bytes());
        header[8..16].copy_from_slice(&self.seq.to_le_bytes());
        header[16] = self.kind as u8;
        header[17] = flags;
        header[18..20].copy_from_slice(&(self.key.len() as u16).to_le_bytes());
        header[20..].copy_from_slice(&(self.payload.len() as u32).to_le_bytes());
        out.reserve(bytes);
        out.extend_from_slice(&header);
        for field in [self.ts_us, self.source_seq].into_iter().flatten() {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(self.key.as_bytes());
        out.extend_from_slice(self.payload);
        out.resize(end, 0);
    }

    /// Appends it as a binary frame from the server that holds nothing else.
    pub fn append_frame_to(&self, out: &mut Vec<u8>) {
        let payload_bytes = self.encoded_bytes() as u64;
        let header = FrameHeader { fin: true, rsv1: false, opcode: Opcode::Binary, mask: None, payload_bytes };
        out.extend_from_slice(&header.encode());
        self.append_to(out);
    }

    /// The record at the front of `input` and its length.
    ///
    /// # Errors
    /// What is wrong; [`RecordFault::Incomplete`] may be right once more bytes have come.
    pub fn parse(input: &'a [u8]) -> Result<(Self, usize), RecordFault> {
        let header = input
            .first_chunk::<RECORD_HEADER_BYTES>()
            .ok_or(RecordFault::Incomplete { needed: RECORD_HEADER_BYTES })?;
        let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (bytes, payload_bytes) = (word(0), word(20) as usize);
        let key_bytes = usize::from(u16::from_le_bytes([header[18], header[19]]));
        let kind = RecordKind::from_byte(header[16]).ok_or(RecordFault::Kind(header[16]))?;
        let flags = header[17];
        if flags & Flags::UNKNOWN != 0 {
            return Err(RecordFault::Flags(flags));
        }
        if key_bytes > KEY_BYTES_MAX {
            return Err(RecordFault::Key);
        }
        let options = (flags & (Flags::TS | Flags::SOURCE)).count_ones() as usize * 8;
        let parts = RECORD_HEADER_BYTES + options + key_bytes + payload_bytes;
        let needed = parts.next_multiple_of(ALIGNMENT);
        if needed as u64 != u64::from(bytes) {
            return Err(RecordFault::Length { bytes, parts });
        }
        let body = input.get(RECORD_HEADER_BYTES..needed).ok_or(RecordFault::Incomplete { needed })?;
        let (mut rest, padding) = body.split_at(parts - RECORD_HEADER_BYTES);
        if padding.iter().any(|byte| *byte != 0) {
            return Err(RecordFault::Padding);
        }
        let mut option = |flag: u8| {
            let (value, behind) = rest.split_first_chunk::<8>().filter(|_| flags & flag != 0)?;
            rest = behind;
            Some(u64::from_le_bytes(*value))
        };
        let (ts_us, source_seq) = (option(Flags::TS), option(Flags::SOURCE));
        let (key, payload) = rest.split_at(key_bytes);
        let record = Self {
            kind,
            topic: word(4),
            seq: u64::from_le_bytes(*header[8..].first_chunk().expect("24 bytes have 8 behind 8")),
            flags: Flags(flags & !(Flags::TS | Flags::SOURCE)),
            ts_us,
            source_seq,
            key: std::str::from_utf8(key).map_err(|_| RecordFault::Key)?,
            payload,
        };
        Ok((record, needed))
    }

    /// The record of a frame that [`Record::append_frame_to`] made. Nothing, if it is none.
    pub fn of_frame(frame: &'a [u8]) -> Option<Self> {
        let (header, header_bytes) = FrameHeader::parse(frame).ok()??;
        let payload = frame.get(header_bytes..)?;
        let is_ours = header.opcode == Opcode::Binary && header.payload_bytes == payload.len() as u64;
        let (record, bytes) = Self::parse(payload).ok().filter(|_| is_ours)?;
        (bytes == payload.len()).then_some(record)
    }

    fn parts_bytes(&self) -> usize {
        let options = usize::from(self.ts_us.is_some()) + usize::from(self.source_seq.is_some());
        RECORD_HEADER_BYTES + options * 8 + self.key.len() + self.payload.len()
    }
}

/// The records of a message, until one of them is faulty.
pub fn records(message: &[u8]) -> impl Iterator<Item = Result<Record<'_>, RecordFault>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let parsed = Record::parse(rest);
        rest = parsed.map_or(&[], |(_, bytes)| &rest[bytes..]);
        Some(parsed.map(|(record, _)| record))
    })
}

impl fmt::Display for RecordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete { needed } => write!(f, "the message ends inside a record, which needs {needed} bytes"),
            Self::Length { bytes, parts } => write!(
                f,
                "a record of {bytes} bytes whose parts come to {parts}: its length is theirs, filled up to a multiple of 8"
            ),
            Self::Kind(kind) => write!(f, "a record of type {kind}, which there is not"),
            Self::Flags(flags) => write!(f, "a record with flags {flags:#x}: flag 0x80 has no meaning, send it as 0"),
            Self::Key => write!(f, "a record's key is UTF-8 of at most {KEY_BYTES_MAX} bytes"),
            Self::Padding => f.write_str("a record is filled up with zeros"),
        }
    }
}

impl std::error::Error for RecordFault {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(record: &Record<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        record.append_to(&mut out);
        out
    }

    #[test]
    fn fields_stand_where_the_specification_puts_them() {
        let record = Record {
            flags: Flags::TEXT,
            ts_us: Some(0x0102_0304),
            source_seq: Some(5),
            key: "k",
            payload: b"{}",
            ..Record::new(RecordKind::Update, 7, 1091)
        };
        let mut want = vec![48, 0, 0, 0, 7, 0, 0, 0, 0x43, 4, 0, 0, 0, 0, 0, 0, 2, 7, 1, 0, 2, 0, 0, 0];
        want.extend([4, 3, 2, 1, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        want.extend(*b"k{}\0\0\0\0\0");
        assert_eq!(encoded(&record), want);
    }

    #[test]
    fn a_frame_of_one_record_is_read_back() {
        for payload_bytes in [0, 90, 200, 70_000] {
            let payload = vec![7; payload_bytes];
            let record = Record { payload: &payload, ts_us: Some(9), ..Record::new(RecordKind::Message, 1, 2) };
            let mut frame = Vec::new();
            record.append_frame_to(&mut frame);
            assert_eq!(Record::of_frame(&frame), Some(record));
            frame.push(0);
            assert_eq!(Record::of_frame(&frame), None, "something stands behind it");
        }
    }

    /// A record with one byte changed.
    fn with(at: usize, byte: u8) -> Result<u64, RecordFault> {
        let mut bytes = encoded(&Record { key: "key", payload: b"12", ..Record::new(RecordKind::Update, 1, 2) });
        bytes[at] = byte;
        Record::parse(&bytes).map(|(record, _)| record.seq)
    }

    #[test]
    fn each_fault_of_a_record_is_told_from_the_others() {
        assert_eq!(with(8, 3), Ok(3));
        assert_eq!(with(0, 24), Err(RecordFault::Length { bytes: 24, parts: 29 }));
        assert_eq!(with(0, 40), Err(RecordFault::Length { bytes: 40, parts: 29 }));
        assert_eq!(with(3, 255), Err(RecordFault::Length { bytes: 0xFF00_0020, parts: 29 }));
        assert_eq!(with(16, 0), Err(RecordFault::Kind(0)));
        assert_eq!(with(16, 8), Err(RecordFault::Kind(8)));
        assert_eq!(with(17, 128), Err(RecordFault::Flags(128)));
        assert_eq!(with(19, 1), Err(RecordFault::Key));
        assert_eq!(with(24, 0xFF), Err(RecordFault::Key));
        assert_eq!(with(31, 1), Err(RecordFault::Padding));
    }

    #[test]
    fn a_record_that_is_cut_says_how_much_it_needs() {
        let bytes = encoded(&Record { payload: b"123456789", ..Record::new(RecordKind::Message, 1, 2) });
        for cut in 0..bytes.len() {
            let needed = if cut < RECORD_HEADER_BYTES { RECORD_HEADER_BYTES } else { bytes.len() };
            assert_eq!(Record::parse(&bytes[..cut]), Err(RecordFault::Incomplete { needed }));
        }
    }

    #[test]
    fn records_of_a_message_come_in_order_until_one_is_faulty() {
        let mut message = Vec::new();
        for seq in 1..=3 {
            Record::new(RecordKind::Message, 1, seq).append_to(&mut message);
        }
        let seqs = |message: &[u8]| records(message).map(|record| record.map(|r| r.seq)).collect::<Vec<_>>();
        assert_eq!(seqs(&message), [Ok(1), Ok(2), Ok(3)]);
        message[24 + 16] = 99;
        assert_eq!(seqs(&message), [Ok(1), Err(RecordFault::Kind(99))]);
        assert_eq!(seqs(&message[..30]), [Ok(1), Err(RecordFault::Incomplete { needed: 24 })]);
    }

    fn kinds() -> impl Strategy<Value = RecordKind> {
        (1..=7u8).prop_map(|byte| RecordKind::from_byte(byte).unwrap())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            kind in kinds(),
            (topic, seq) in any::<(u32, u64)>(),
            flags in 0..32u8,
            (ts_us, source_seq) in any::<(Option<u64>, Option<u64>)>(),
            key in "\\PC{0,60}",
            payload in proptest::collection::vec(any::<u8>(), 0..300),
            behind in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let flags = Flags(flags << 2);
            let record = Record { kind, topic, seq, flags, ts_us, source_seq, key: &key, payload: &payload };
            let mut bytes = encoded(&record);
            prop_assert_eq!((bytes.len(), bytes.len() % 8), (record.encoded_bytes(), 0));
            let len = bytes.len();
            bytes.extend(behind);
            prop_assert_eq!(Record::parse(&bytes), Ok((record, len)));
        }

        #[test]
        fn what_is_read_is_written_the_same(
            seed in proptest::collection::vec(any::<u8>(), 32..80),
            changes in proptest::collection::vec((0..48usize, any::<u8>()), 0..3),
        ) {
            let mut bytes = encoded(&Record { key: "key", payload: &seed[..9], ..Record::new(RecordKind::Remove, 9, 8) });
            for (at, byte) in changes {
                if let Some(slot) = bytes.get_mut(at) {
                    *slot = byte;
                }
            }
            if let Ok((record, len)) = Record::parse(&bytes) {
                prop_assert_eq!(encoded(&record), &bytes[..len]);
            }
        }
    }
}
