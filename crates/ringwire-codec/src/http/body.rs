//! Bodies in chunks (RFC 9112 §7.1): `size CRLF data CRLF`, ended by a chunk of size 0 and trailers.
//!
//! Line ends are CRLF and nothing else, sizes are hex digits and nothing else: leniency here is what request
//! smuggling is made of. Extensions and trailers are skipped within [`SKIPPED_BYTES_MAX`].

use std::fmt;

use super::target::hex_digit;

/// Chunk extensions and trailers are skipped up to this many bytes per body.
pub const SKIPPED_BYTES_MAX: u32 = 8192;

/// Reads a body in chunks, from any split of the stream.
#[derive(Clone, Debug, Default)]
pub struct ChunkedDecoder {
    state: State,
    /// The size being read, then what is left of the chunk's data.
    remaining: u64,
    skipped_bytes: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    SizeFirstDigit,
    Size,
    Extension,
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    LastLf,
    Done,
}

/// One look at the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkedStep<'a> {
    /// Bytes of the input that are dealt with.
    pub consumed: usize,
    /// Data of the body, if some came.
    pub data: &'a [u8],
    /// The body is complete; the rest of the input is not of it.
    pub done: bool,
}

/// A body that is not in chunked form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyError {
    /// A chunk size that is not hex digits, or over 64 bits.
    SizeInvalid,
    /// A line that does not end in CRLF, or data that does not.
    LineEndInvalid,
    /// More extensions or trailers than are skipped.
    TooMuchSkipped,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BodyError::SizeInvalid => "a chunk size is not a hexadecimal number",
            BodyError::LineEndInvalid => "a chunk does not end where its size says",
            BodyError::TooMuchSkipped => "too many bytes of chunk extensions or trailers",
        })
    }
}

impl std::error::Error for BodyError {}

impl ChunkedDecoder {
    /// Takes bytes from the front of `input` up to the end of a piece of data, of the body, or of the input. To be
    /// called with the rest until the input is empty or the body done.
    pub fn decode<'a>(&mut self, input: &'a [u8]) -> Result<ChunkedStep<'a>, BodyError> {
        let mut consumed = 0;
        while self.state != State::Done && consumed < input.len() {
            if self.state == State::Data {
                let rest = &input[consumed..];
                let data = &rest[..usize::try_from(self.remaining).unwrap_or(usize::MAX).min(rest.len())];
                self.remaining -= data.len() as u64;
                if self.remaining == 0 {
                    self.state = State::DataCr;
                }
                return Ok(ChunkedStep { consumed: consumed + data.len(), data, done: false });
            }
            self.state = self.on_byte(input[consumed])?;
            consumed += 1;
        }
        Ok(ChunkedStep { consumed, data: &[], done: self.state == State::Done })
    }

    /// One byte that is not data.
    fn on_byte(&mut self, byte: u8) -> Result<State, BodyError> {
        match (self.state, byte) {
            (State::SizeFirstDigit, _) => {
                self.remaining = 0;
                self.add_digit(byte)
            }
            (State::Size, b'\r') => Ok(State::SizeEnd),
            (State::Size, b';' | b' ' | b'\t') => self.skip(State::Extension),
            (State::Size, _) => self.add_digit(byte),
            (State::Extension, b'\r') => Ok(State::SizeEnd),
            (State::Extension, b'\n') => Err(BodyError::LineEndInvalid),
            (State::Extension, _) => self.skip(State::Extension),
            (State::SizeEnd, b'\n') if self.remaining == 0 => Ok(State::TrailerStart),
            (State::SizeEnd, b'\n') => Ok(State::Data),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::SizeFirstDigit),
            (State::TrailerStart, b'\r') => Ok(State::LastLf),
            (State::Trailer, b'\r') => Ok(State::TrailerLf),
            (State::TrailerStart | State::Trailer, b'\n') => Err(BodyError::LineEndInvalid),
            (State::TrailerStart | State::Trailer, _) => self.skip(State::Trailer),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::LastLf, b'\n') => Ok(State::Done),
            (State::SizeEnd | State::DataCr | State::DataLf | State::TrailerLf | State::LastLf, _) => {
                Err(BodyError::LineEndInvalid)
            }
            (State::Data | State::Done, _) => unreachable!("data and what follows the body are not looked at"),
        }
    }

    fn add_digit(&mut self, byte: u8) -> Result<State, BodyError> {
        let digit = hex_digit(byte).ok_or(BodyError::SizeInvalid)?;
        let shifted = self.remaining.checked_mul(16).ok_or(BodyError::SizeInvalid)?;
        self.remaining = shifted | u64::from(digit);
        Ok(State::Size)
    }

    fn skip(&mut self, next: State) -> Result<State, BodyError> {
        self.skipped_bytes += 1;
        if self.skipped_bytes > SKIPPED_BYTES_MAX { Err(BodyError::TooMuchSkipped) } else { Ok(next) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body, and what was left over if it came to its end.
    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, Option<Vec<u8>>), BodyError> {
        let (mut decoder, mut body, mut after) = (ChunkedDecoder::default(), Vec::new(), None);
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let step = decoder.decode(rest)?;
                body.extend_from_slice(step.data);
                rest = &rest[step.consumed..];
                if step.done {
                    after.get_or_insert_with(Vec::new).extend_from_slice(rest);
                    break;
                }
            }
        }
        Ok((body, after))
    }

    const BODY: &[u8] = b"4\r\nWiki\r\n6;ext=\"1\"\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\nX: y\r\n\r\nGET";

    #[test]
    fn a_body_is_read_in_any_split() {
        let want = (b"Wikipedia in \r\n\r\nchunks.".to_vec(), Some(b"GET".to_vec()));
        for split in 0..=BODY.len() {
            let (a, b) = BODY.split_at(split);
            assert_eq!(decode(&[a, b]), Ok(want.clone()), "split at {split}");
        }
        let bytes: Vec<&[u8]> = BODY.chunks(1).collect();
        assert_eq!(decode(&bytes), Ok(want));
    }

    #[test]
    fn a_body_without_its_last_chunk_is_not_done() {
        assert_eq!(decode(&[b"2\r\nab\r\n"]), Ok((b"ab".to_vec(), None)));
    }

    #[test]
    fn sizes_are_hex_digits_of_64_bits() {
        for wrong in ["\r\n", "+1\r\n", "0x1\r\n", "g\r\n", "-1\r\n", " 1\r\n", "10000000000000000\r\n"] {
            assert_eq!(decode(&[wrong.as_bytes()]), Err(BodyError::SizeInvalid), "{wrong:?}");
        }
        assert!(decode(&[b"fFfFfFfFfFfFfFfF\r\n"]).is_ok());
    }

    #[test]
    fn lines_end_in_crlf_only() {
        for wrong in ["1\r\nabc", "1\rx", "1;a\nb", "0\r\n\n", "0\r\nA: b\n", "0\r\n\rx", "1\r\na\rx"] {
            assert_eq!(decode(&[wrong.as_bytes()]), Err(BodyError::LineEndInvalid), "{wrong:?}");
        }
        assert_eq!(decode(&[b"1\na"]), Err(BodyError::SizeInvalid));
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let extension = format!("1;{}", "x".repeat(9000));
        assert_eq!(decode(&[extension.as_bytes()]), Err(BodyError::TooMuchSkipped));
        let trailers = format!("0\r\n{}", "a: b\r\n".repeat(3000));
        assert_eq!(decode(&[trailers.as_bytes()]), Err(BodyError::TooMuchSkipped));
    }
}
