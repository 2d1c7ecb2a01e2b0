//! UTF-8: of whole messages, and of text that arrives in pieces.
//!
//! [`validate`] answers for ASCII without a call when the input is short, and otherwise hands over to the widest
//! validator of this CPU. [`Utf8Stream`] carries the bytes of a character that a piece ends in, at most three, and
//! refuses a character as soon as no continuation could make it right.

use std::fmt;

use crate::simd;

/// Inputs up to this length are first tried as ASCII, in words.
const SHORT_BYTES_MAX: usize = 128;

/// Whether `bytes` are UTF-8 (RFC 3629).
#[inline]
pub fn validate(bytes: &[u8]) -> bool {
    (bytes.len() <= SHORT_BYTES_MAX && is_ascii_short(bytes)) || simd::utf8_is_valid(bytes)
}

/// Like unmasking a short payload: the first and the last words, which may overlap; from 16 bytes on, a few vectors.
#[inline]
fn is_ascii_short(bytes: &[u8]) -> bool {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    const HIGH_BITS_16: u128 = (HIGH_BITS as u128) << 64 | HIGH_BITS as u128;
    if let (Some(last), (chunks, _)) = (bytes.last_chunk::<16>(), bytes.as_chunks::<16>()) {
        let mut union = *last;
        for chunk in chunks {
            union = std::array::from_fn(|i| union[i] | chunk[i]);
        }
        return u128::from_ne_bytes(union) & HIGH_BITS_16 == 0;
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        return (u64::from_ne_bytes(*first) | u64::from_ne_bytes(*last)) & HIGH_BITS == 0;
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return u64::from(u32::from_ne_bytes(*first) | u32::from_ne_bytes(*last)) & HIGH_BITS == 0;
    }
    bytes.iter().fold(0, |union, byte| union | byte) < 0x80
}

/// The bytes seen so far are not, and cannot become, UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUtf8;

impl fmt::Display for InvalidUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not UTF-8")
    }
}

impl std::error::Error for InvalidUtf8 {}

/// Validates text that arrives in pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utf8Stream {
    /// The start of a character that the last piece ended in.
    open: [u8; 3],
    open_bytes: u8,
}

impl Utf8Stream {
    /// A stream of which nothing was seen yet.
    pub const fn new() -> Self {
        Self { open: [0; 3], open_bytes: 0 }
    }

    /// Takes the next piece. After an error the stream must not be used again.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), InvalidUtf8> {
        let rest = self.complete_open(piece)?;
        if rest.is_empty() {
            return Ok(());
        }
        let (whole, open) = rest.split_at(rest.len() - open_sequence_bytes(rest));
        if !validate(whole) || !may_begin_character(open) {
            return Err(InvalidUtf8);
        }
        self.open[..open.len()].copy_from_slice(open);
        self.open_bytes = open.len() as u8;
        Ok(())
    }

    /// Whether the text may end here.
    pub const fn finish(&self) -> Result<(), InvalidUtf8> {
        if self.open_bytes == 0 { Ok(()) } else { Err(InvalidUtf8) }
    }

    /// Takes from `piece` what the open character lacks, and gives the rest.
    fn complete_open<'a>(&mut self, piece: &'a [u8]) -> Result<&'a [u8], InvalidUtf8> {
        if self.open_bytes == 0 {
            return Ok(piece);
        }
        let had = usize::from(self.open_bytes);
        let needs = sequence_bytes(self.open[0]);
        let (taken, rest) = piece.split_at(piece.len().min(needs - had));
        let has = had + taken.len();
        let mut character = [0; 4];
        character[..had].copy_from_slice(&self.open[..had]);
        character[had..has].copy_from_slice(taken);
        if has == needs {
            self.open_bytes = 0;
            return if std::str::from_utf8(&character[..has]).is_ok() { Ok(rest) } else { Err(InvalidUtf8) };
        }
        if !may_begin_character(&character[..has]) {
            return Err(InvalidUtf8);
        }
        self.open[..has].copy_from_slice(&character[..has]);
        self.open_bytes = has as u8;
        Ok(rest)
    }
}

/// Bytes at the end of `bytes` that a lead byte starts and that are fewer than it announces: 0 to 3.
fn open_sequence_bytes(bytes: &[u8]) -> usize {
    let last = bytes.len().min(3);
    (1..=last).find(|&back| sequence_bytes(bytes[bytes.len() - back]) > back).unwrap_or(0)
}

/// Length of the sequence that `lead` starts; 1 for bytes that start none.
const fn sequence_bytes(lead: u8) -> usize {
    match lead {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 1,
    }
}

/// Whether bytes can follow `bytes` that make them one character. True of none.
fn may_begin_character(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
        || bytes.is_empty()
}

#[cfg(test)]
#[path = "utf8_tests.rs"]
mod tests;
