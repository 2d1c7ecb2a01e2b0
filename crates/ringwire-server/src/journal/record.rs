//! The records of a journal: bytes to values and back.
//!
//! ```text
//!  0  u32 bytes      of the whole record
//!  4  u32 checksum   crc32c of `bytes` and of all that follows the checksum
//!  8  u8  type       1 opened, 2 entry, 3 remembered, 4 let go, 5 begin, 6 holds, 7 cut, 8 checkpoint,
//!                   9 end
//!  9  u8  flags
//! 10  u16 name_bytes of the topic's name or the entry's key
//! 12  u32 topic      the journal's own number of the topic
//! 16  u64 seq
//! 24  u64 time_us    since the Unix epoch
//! 32  what the type has besides, then the name or key, then all else
//! ```
//!
//! All numbers are little-endian. What a publisher's entry says is not looked into: `bytes` of an [`Entry`] are the
//! entry of the topic's history lane as it stands there.
//!
//! What this file must never do: hand out a record whose checksum does not fit, or read past the bytes it was given.

use std::fmt;

/// Bytes before what a type has besides.
pub const HEAD_BYTES: usize = 32;
/// No record is longer; a length above this was not written by a journal.
pub const RECORD_BYTES_MAX: usize = 16 << 20;
/// Longest name or key.
pub const NAME_BYTES_MAX: usize = u16::MAX as usize;
/// Longest idempotency key.
pub const IDEMPOTENCY_BYTES_MAX: usize = u8::MAX as usize;

const OPENED: u8 = 1;
const ENTRY: u8 = 2;
const REMEMBERED: u8 = 3;
const LET_GO: u8 = 4;
const BEGIN: u8 = 5;
const HOLDS: u8 = 6;
const CUT: u8 = 7;
const CHECKPOINT: u8 = 8;
const END: u8 = 9;

/// Of an opened topic: it keeps the last entry of each key.
const KEYED: u8 = 1;
/// Of an entry: it sets its key, or removes it.
const UPDATE: u8 = 1;
const REMOVE: u8 = 2;
/// Of an entry: its key goes when the connection goes that published it.
const BOUND: u8 = 4;
/// Of an entry: it stands here as the last of its key, and not as a part of the log.
const STATE: u8 = 8;

/// What a journal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A topic has this number from here on. Stands in each segment before the topic's first record there.
    Opened(Opened<'a>),
    /// Something was published.
    Entry(Entry<'a>),
    /// An entry had this idempotency key.
    Remembered {
        /// The topic's number.
        topic: u32,
        /// The entry's number.
        seq: u64,
        /// The key.
        key: &'a [u8],
    },
    /// The topic holds nothing and is gone, with its numbers and its epoch.
    LetGo {
        /// The topic's number.
        topic: u32,
    },
    /// What the topic holds stands again from here on, up to [`Holds`](Record::Holds); what is published meanwhile
    /// stands between.
    Begin {
        /// The topic's number.
        topic: u32,
    },
    /// What stands between the topic's last [`Begin`](Record::Begin) and this is all that it held, with what was
    /// published since.
    Holds {
        /// The topic's number.
        topic: u32,
        /// Number of the first entry of its log; those before it are there for their keys only.
        first_seq: u64,
        /// Number of its last entry as of `Begin`; `first_seq - 1` if the log was empty.
        last_seq: u64,
    },
    /// Entries after this one, of those that stand before this record, do not count: they did not come back when the
    /// topic did.
    Cut {
        /// The topic's number.
        topic: u32,
        /// Number of the last entry that counts.
        last_seq: u64,
    },
    /// Segments before this one are not needed: what they hold that still counts stands again from here on.
    Checkpoint {
        /// Number of the first segment that is needed.
        segment: u64,
    },
    /// The journal was closed in good order: nothing was published that it does not hold.
    End,
}

/// A topic, as it stood when the record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    /// Its number in this journal, never used for another.
    pub topic: u32,
    /// Names its log among all that have had its name.
    pub epoch: u64,
    /// Whether it keeps the last entry of each key.
    pub keyed: bool,
    /// Its name.
    pub name: &'a str,
}

/// An entry of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The topic's number.
    pub topic: u32,
    /// The entry's number.
    pub seq: u64,
    /// When it was published, in microseconds since the Unix epoch.
    pub time_us: u64,
    /// What it does to its key.
    pub kind: EntryKind,
    /// Whether its key goes with its publisher's connection.
    pub bound: bool,
    /// Whether it stands here as the last of its key, and not as a part of the log.
    pub state: bool,
    /// Its key; empty if it has none.
    pub key: &'a [u8],
    /// Its idempotency key; empty if it has none.
    pub idempotency_key: &'a [u8],
    /// The entry as the topic's history lane has it.
    pub bytes: &'a [u8],
}

/// What an entry does to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// It has none.
    Message,
    /// Sets it.
    Update,
    /// Removes it.
    Remove,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They end before the record does.
    Cut,
    /// They are not what was written.
    Damaged,
    /// They are as they were written, but by a version with other records.
    Unknown {
        /// The record's type.
        kind: u8,
    },
}

impl Record<'_> {
    /// Appends the record to `out`.
    ///
    /// # Panics
    /// If a name, a key or the whole is longer than this file's limits.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        match *self {
            Record::Opened(opened) => {
                let Opened { topic, epoch, keyed, name } = opened;
                head(out, OPENED, flag(KEYED, keyed), name.len(), topic, epoch, 0);
                out.extend_from_slice(name.as_bytes());
            }
            Record::Entry(entry) => {
                let Entry { topic, seq, time_us, kind, bound, state, key, idempotency_key, bytes } = entry;
                let kind = match kind {
                    EntryKind::Message => 0,
                    EntryKind::Update => UPDATE,
                    EntryKind::Remove => REMOVE,
                };
                let flags = kind | flag(BOUND, bound) | flag(STATE, state);
                head(out, ENTRY, flags, key.len(), topic, seq, time_us);
                out.push(u8::try_from(idempotency_key.len()).expect("an idempotency key has at most 255 bytes"));
                out.extend_from_slice(key);
                out.extend_from_slice(idempotency_key);
                out.extend_from_slice(bytes);
            }
            Record::Remembered { topic, seq, key } => {
                head(out, REMEMBERED, 0, key.len(), topic, seq, 0);
                out.extend_from_slice(key);
            }
            Record::LetGo { topic } => head(out, LET_GO, 0, 0, topic, 0, 0),
            Record::Begin { topic } => head(out, BEGIN, 0, 0, topic, 0, 0),
            Record::Holds { topic, first_seq, last_seq } => {
                head(out, HOLDS, 0, 0, topic, last_seq, 0);
                out.extend_from_slice(&first_seq.to_le_bytes());
            }
            Record::Cut { topic, last_seq } => head(out, CUT, 0, 0, topic, last_seq, 0),
            Record::Checkpoint { segment } => head(out, CHECKPOINT, 0, 0, 0, segment, 0),
            Record::End => head(out, END, 0, 0, 0, 0, 0),
        }
        let bytes = out.len() - start;
        assert!(bytes <= RECORD_BYTES_MAX, "a record of {bytes} bytes");
        let record = &mut out[start..];
        record[..4].copy_from_slice(&u32::try_from(bytes).expect("16 MiB at most").to_le_bytes());
        let sum = checksum(record);
        record[4..8].copy_from_slice(&sum.to_le_bytes());
    }
}

/// Reads the record at the beginning of `bytes`, with its length.
///
/// # Errors
/// Why there is none.
pub fn read(bytes: &[u8]) -> Result<(Record<'_>, usize), Fault> {
    let Some(length) = u32_at(bytes, 0) else { return Err(Fault::Cut) };
    let length = length as usize;
    if !(HEAD_BYTES..=RECORD_BYTES_MAX).contains(&length) {
        return Err(Fault::Damaged);
    }
    let record = bytes.get(..length).ok_or(Fault::Cut)?;
    if u32_at(record, 4) != Some(checksum(record)) {
        return Err(Fault::Damaged);
    }
    parse(record).ok_or(Fault::Unknown { kind: record[8] }).map(|record| (record, length))
}

/// Reads a record whose checksum fits: only another version can have written one that does not parse.
fn parse(record: &[u8]) -> Option<Record<'_>> {
    let (kind, flags) = (record[8], record[9]);
    let name_bytes = usize::from(u16::from_le_bytes([record[10], record[11]]));
    let (topic, seq, time_us) = (u32_at(record, 12)?, u64_at(record, 16)?, u64_at(record, 24)?);
    match kind {
        OPENED => {
            let name = std::str::from_utf8(record.get(HEAD_BYTES..HEAD_BYTES + name_bytes)?).ok()?;
            Some(Record::Opened(Opened { topic, epoch: seq, keyed: flags & KEYED != 0, name }))
        }
        ENTRY => {
            let (idempotency_bytes, rest) = record.get(HEAD_BYTES..)?.split_first()?;
            let (key, rest) = rest.split_at_checked(name_bytes)?;
            let (idempotency_key, bytes) = rest.split_at_checked(usize::from(*idempotency_bytes))?;
            let kind = match flags & (UPDATE | REMOVE) {
                0 => EntryKind::Message,
                UPDATE => EntryKind::Update,
                REMOVE => EntryKind::Remove,
                _ => return None,
            };
            let (bound, state) = (flags & BOUND != 0, flags & STATE != 0);
            Some(Record::Entry(Entry { topic, seq, time_us, kind, bound, state, key, idempotency_key, bytes }))
        }
        REMEMBERED => Some(Record::Remembered { topic, seq, key: record.get(HEAD_BYTES..HEAD_BYTES + name_bytes)? }),
        LET_GO => Some(Record::LetGo { topic }),
        BEGIN => Some(Record::Begin { topic }),
        HOLDS => Some(Record::Holds { topic, first_seq: u64_at(record, HEAD_BYTES)?, last_seq: seq }),
        CUT => Some(Record::Cut { topic, last_seq: seq }),
        CHECKPOINT => Some(Record::Checkpoint { segment: seq }),
        END => Some(Record::End),
        _ => None,
    }
}

fn head(out: &mut Vec<u8>, kind: u8, flags: u8, name_bytes: usize, topic: u32, seq: u64, time_us: u64) {
    // Length and checksum are put in once the record is whole.
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&u16::try_from(name_bytes).expect("a name or key has at most 65,535 bytes").to_le_bytes());
    out.extend_from_slice(&topic.to_le_bytes());
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(&time_us.to_le_bytes());
}

fn flag(bit: u8, is_set: bool) -> u8 {
    if is_set { bit } else { 0 }
}

fn checksum(record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&record[..4]), &record[8..])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Cut => f.write_str("the file ends within a record"),
            Fault::Damaged => f.write_str("a record's checksum does not fit its bytes"),
            Fault::Unknown { kind } => write!(f, "a record of type {kind}, which this version does not know"),
        }
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: Entry<'_> = Entry {
        topic: 7,
        seq: 1001,
        time_us: 1_700_000_000_000_000,
        kind: EntryKind::Update,
        bound: true,
        state: false,
        key: b"b:67210.5",
        idempotency_key: b"a1",
        bytes: b"{\"q\":\"0.7\"}",
    };

    fn all() -> Vec<Record<'static>> {
        let opened = Opened { topic: 7, epoch: u64::MAX - 3, keyed: true, name: "book.BTC-USD" };
        let bare =
            Entry { kind: EntryKind::Message, bound: false, key: b"", idempotency_key: b"", bytes: b"", ..ENTRY };
        vec![
            Record::Opened(opened),
            Record::Opened(Opened { keyed: false, name: "a", ..opened }),
            Record::Entry(ENTRY),
            Record::Entry(Entry { kind: EntryKind::Remove, bytes: b"", ..ENTRY }),
            Record::Entry(Entry { bound: false, state: true, ..ENTRY }),
            Record::Entry(bare),
            Record::Remembered { topic: 1, seq: 2, key: b"a1" },
            Record::LetGo { topic: u32::MAX },
            Record::Begin { topic: 3 },
            Record::Holds { topic: 3, first_seq: 1 << 50, last_seq: 1 << 60 },
            Record::Cut { topic: 3, last_seq: 77 },
            Record::Checkpoint { segment: 9 },
            Record::End,
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        for record in all() {
            let mut bytes = Vec::new();
            record.write(&mut bytes);
            let length = bytes.len();
            bytes.extend_from_slice(b"what follows");
            assert_eq!(read(&bytes), Ok((record, length)));
        }
    }

    #[test]
    fn a_record_that_is_cut_anywhere_is_said_to_be() {
        for record in all() {
            let mut bytes = Vec::new();
            record.write(&mut bytes);
            for length in 0..bytes.len() {
                assert_eq!(read(&bytes[..length]), Err(Fault::Cut), "{record:?} cut at {length}");
            }
        }
    }

    #[test]
    fn any_flipped_bit_is_found() {
        for record in all() {
            let mut bytes = Vec::new();
            record.write(&mut bytes);
            for at in 0..bytes.len() * 8 {
                bytes[at / 8] ^= 1 << (at % 8);
                assert!(matches!(read(&bytes), Err(Fault::Cut | Fault::Damaged)), "{record:?}, bit {at}");
                bytes[at / 8] ^= 1 << (at % 8);
            }
        }
    }

    #[test]
    fn a_whole_record_of_another_version_is_not_taken_for_damage() {
        let mut bytes = Vec::new();
        Record::End.write(&mut bytes);
        bytes[8] = 77;
        let sum = checksum(&bytes);
        bytes[4..8].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(read(&bytes), Err(Fault::Unknown { kind: 77 }));
    }
}
