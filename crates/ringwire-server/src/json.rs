//! JSON at the edges: is a payload JSON, and how is a text written as a JSON string.
//!
//! Payloads are passed on byte for byte, so parsing only answers yes or no: simd-json parses in place, hence on a
//! copy. Nothing here ever writes a payload anew.

use simd_json::{Buffers, Tape};

/// Scratch memory that is kept from check to check; a longer payload's is given back.
const SCRATCH_BYTES_KEPT: usize = 256 * 1024;

/// Answers whether bytes are one JSON text (RFC 8259), with memory that it keeps for the next question.
///
/// Nesting deeper than simd-json's limit (1024) and numbers beyond a double's range count as no JSON.
#[derive(Default)]
pub struct JsonCheck {
    copy: Vec<u8>,
    buffers: Buffers,
    tape: Option<Tape<'static>>,
}

impl JsonCheck {
    /// Whether `bytes` are one JSON text.
    pub fn is_json(&mut self, bytes: &[u8]) -> bool {
        self.with_tape(bytes, |_| ()).is_ok()
    }

    /// Parses a copy of `bytes` and calls `read` with the tape.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn with_tape<T>(&mut self, bytes: &[u8], read: impl FnOnce(&Tape<'_>) -> T) -> simd_json::Result<T> {
        self.copy.clear();
        self.copy.extend_from_slice(bytes);
        let mut tape = self.tape.take().unwrap_or_else(Tape::null).reset();
        let result = simd_json::fill_tape(&mut self.copy, &mut self.buffers, &mut tape).map(|()| read(&tape));
        self.tape = Some(tape.reset());
        if self.copy.capacity() > SCRATCH_BYTES_KEPT {
            *self = Self::default();
        }
        result
    }
}

impl std::fmt::Debug for JsonCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JsonCheck").field("copy_bytes", &self.copy.capacity()).finish_non_exhaustive()
    }
}

/// Appends `text` as a JSON string, quotes included (RFC 8259 §7).
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut done = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[done..at]);
        done = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
    }
    out.extend_from_slice(&bytes[done..]);
    out.push(b'"');
}

/// Appends valid JSON as one line: line breaks, which can only stand between its parts, become spaces.
pub fn write_line(out: &mut Vec<u8>, json: &str) {
    let start = out.len();
    out.extend_from_slice(json.as_bytes());
    if json.as_bytes().contains(&b'\n') || json.as_bytes().contains(&b'\r') {
        for byte in &mut out[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
}

/// Appends a whole number.
pub fn write_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let (mut at, mut left) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_told_from_what_is_none() {
        let mut check = JsonCheck::default();
        for json in ["{}", "[1,2]", "\"a\\u00e9\"", "1.50", "null", " {\"a\" : [true]} ", "-0", "1e300"] {
            assert!(check.is_json(json.as_bytes()), "{json}");
        }
        for other in ["", "hello", "{", "{}{}", "[1,]", "{'a':1}", "\"\n\"", "01", "nul", "\u{feff}{}", "NaN", "1e400"]
        {
            assert!(!check.is_json(other.as_bytes()), "{other}");
        }
        assert!(!check.is_json(b"\"\xff\""));
    }

    #[test]
    fn a_number_beyond_64_bits_is_json() {
        assert!(JsonCheck::default().is_json(b"{\"id\":123456789012345678901234567890}"));
    }

    #[test]
    fn memory_of_a_long_payload_is_given_back() {
        let mut check = JsonCheck::default();
        let long = format!("\"{}\"", "x".repeat(4 * SCRATCH_BYTES_KEPT));
        assert!(check.is_json(long.as_bytes()));
        assert!(check.copy.capacity() <= SCRATCH_BYTES_KEPT);
    }

    #[test]
    fn a_written_string_reads_back_as_itself() {
        let text: String = (0..0x80u8).map(char::from).chain("é€𝄞\u{2028}".chars()).collect();
        let mut out = Vec::new();
        write_string(&mut out, &text);
        let back: String = simd_json::from_slice(&mut out).expect("a JSON string");
        assert_eq!(back, text);
    }

    #[test]
    fn a_written_number_is_its_digits() {
        for number in [0, 9, 10, 1_000_000, u64::MAX] {
            let mut out = Vec::new();
            write_number(&mut out, number);
            assert_eq!(out, number.to_string().into_bytes());
        }
    }
}
