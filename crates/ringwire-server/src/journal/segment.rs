//! Segment files of a journal: their names, their heads, and the records in them one by one.
//!
//! A journal is a folder of files `00000001.rwj`, `00000002.rwj`, ..., written in this order, each only appended to.
//!
//! ```text
//!  0  8 bytes "RWJRNL\0\1"
//!  8  u64 number          as in the file's name
//! 16  u64 previous_bytes  length of the segment before, when this one was begun
//! 24  u32 zero
//! 28  u32 checksum        crc32c of the 28 bytes before
//! 32  records
//! ```
//!
//! The writer knows how long a segment was when it left it, and says so in the next one: what lies behind that was
//! never acknowledged (a write failed there), and a segment that has fewer whole records is damaged.

use std::fmt;

use super::record::{self, Fault, Record, u64_at};

/// Bytes before the first record.
pub const HEADER_BYTES: usize = 32;
/// How the names of segment files end.
pub const EXTENSION: &str = "rwj";

const MAGIC: [u8; 8] = *b"RWJRNL\0\x01";

/// The head of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The segment's number, from 1.
    pub number: u64,
    /// Bytes of the segment before it, header included; 0 if there was none.
    pub previous_bytes: u64,
}

impl Header {
    /// The bytes of the header.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.previous_bytes.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..28]);
        bytes[28..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads the header of `file`; none, if it does not begin with a whole one.
    pub fn decode(file: &[u8]) -> Option<Self> {
        let bytes = file.first_chunk::<HEADER_BYTES>()?;
        let (head, sum) = bytes.split_at(28);
        let fits = head.starts_with(&MAGIC) && sum == crc32c::crc32c(head).to_le_bytes();
        fits.then_some(Self { number: u64_at(head, 8)?, previous_bytes: u64_at(head, 16)? })
    }
}

/// The name of segment `number`'s file.
pub fn file_name(number: u64) -> String {
    format!("{number:08}.{EXTENSION}")
}

/// The number of the segment whose file is called `name`; none, if it is no segment's name.
pub fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    let number: u64 = number.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

/// Reads the records of a segment, one by one.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    file: &'a [u8],
    at: usize,
}

/// A record, and where it stands in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed<'a> {
    /// Index of its first byte.
    pub at: usize,
    /// One past its last byte.
    pub end: usize,
    /// The record.
    pub record: Record<'a>,
}

/// Where reading had to stop before the file's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Index of the first byte that is of no good record.
    pub at: usize,
    /// Why it is of none.
    pub fault: Fault,
}

impl<'a> Records<'a> {
    /// The records of `file`, a whole segment file. Its header is not looked at.
    pub fn new(file: &'a [u8]) -> Self {
        Self { file, at: HEADER_BYTES.min(file.len()) }
    }

    /// The next record; none at the end of the file.
    ///
    /// # Errors
    /// If what stands there is no record. Nothing behind it is read: where it ends is not known.
    pub fn next_record(&mut self) -> Result<Option<Placed<'a>>, Stop> {
        let at = self.at;
        if at == self.file.len() {
            return Ok(None);
        }
        let (record, bytes) = record::read(&self.file[at..]).map_err(|fault| Stop { at, fault })?;
        self.at += bytes;
        Ok(Some(Placed { at, end: self.at, record }))
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.fault, self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_whole_or_not_at_all() {
        let header = Header { number: 3, previous_bytes: 1 << 40 };
        let mut bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Some(header));
        for length in 0..HEADER_BYTES {
            assert_eq!(Header::decode(&bytes[..length]), None);
        }
        for bit in 0..HEADER_BYTES * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn names_of_segments_sort_as_their_numbers_and_others_are_none() {
        assert_eq!((file_name(7).as_str(), number_of("00000007.rwj")), ("00000007.rwj", Some(7)));
        assert_eq!(number_of(&file_name(u64::MAX)), Some(u64::MAX));
        for other in ["7.rwj", "00000007", "00000007.rwr", "0000000x.rwj", ".rwj", "lock", "+0000007.rwj"] {
            assert_eq!(number_of(other), None, "{other}");
        }
    }

    #[test]
    fn reading_stops_at_what_is_no_record_and_says_where() {
        let mut file = Header { number: 1, previous_bytes: 0 }.encode().to_vec();
        let mut ends = vec![file.len()];
        for topic in 0..3 {
            Record::LetGo { topic }.write(&mut file);
            ends.push(file.len());
        }
        file[ends[1] + 12] ^= 1;
        let mut records = Records::new(&file);
        let first = records.next_record().unwrap().unwrap();
        assert_eq!((first.at, first.end, first.record), (ends[0], ends[1], Record::LetGo { topic: 0 }));
        assert_eq!(records.next_record(), Err(Stop { at: ends[1], fault: Fault::Damaged }));
        assert_eq!(records.next_record(), Err(Stop { at: ends[1], fault: Fault::Damaged }), "and stays there");
    }
}
