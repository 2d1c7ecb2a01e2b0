//! Frame headers (RFC 6455 §5.2): 2 to 14 bytes before each payload.
//!
//! [`FrameHeader::parse`] refuses what is wrong in any connection; what depends on the role, on the frames before
//! or on extensions is for the [`Decoder`](crate::Decoder).

use std::ops::Deref;

use crate::{MaskKey, Violation};

/// Longest header: 2 bytes, a 64-bit length, a mask key.
pub const FRAME_HEADER_BYTES_MAX: usize = 14;
/// Longest payload of a close, ping or pong frame (§5.5).
pub const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_RSV3: u8 = 0x30;
const MASKED: u8 = 0x80;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// What a frame is (§5.2, §11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation = 0x0,
    /// A text message, or its first fragment.
    Text = 0x1,
    /// A binary message, or its first fragment.
    Binary = 0x2,
    /// The start or the end of the closing handshake.
    Close = 0x8,
    /// Asks for a pong with the same payload.
    Ping = 0x9,
    /// Answers a ping, or says that the sender is there.
    Pong = 0xA,
}

impl Opcode {
    /// Whether frames of this kind may stand between a message's fragments, and must be short.
    #[inline]
    pub const fn is_control(self) -> bool {
        self as u8 >= Opcode::Close as u8
    }

    #[inline]
    const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xA => Opcode::Pong,
            _ => return None,
        })
    }
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The message ends with this frame.
    pub fin: bool,
    /// The bit of an extension; permessage-deflate marks compressed messages with it (RFC 7692 §6).
    pub rsv1: bool,
    /// Kind of frame.
    pub opcode: Opcode,
    /// The key that the payload is masked with, from client to server.
    pub mask: Option<MaskKey>,
    /// Length of the payload.
    pub payload_bytes: u64,
}

impl FrameHeader {
    /// The header at the front of `input` and its length, or `None` while it is incomplete.
    ///
    /// What the bytes at hand already show to be wrong is refused at once, in the order in which bytes come, so
    /// that the answer does not depend on how the stream was split.
    #[inline]
    pub fn parse(input: &[u8]) -> Result<Option<(Self, usize)>, Violation> {
        let Some(&first) = input.first() else { return Ok(None) };
        if first & RSV2_RSV3 != 0 {
            return Err(Violation::ReservedBit);
        }
        let Some(opcode) = Opcode::from_bits(first & 0x0F) else {
            return Err(Violation::ReservedOpcode);
        };
        let fin = first & FIN != 0;
        if opcode.is_control() && !fin {
            return Err(Violation::ControlFragmented);
        }
        let Some(&second) = input.get(1) else { return Ok(None) };
        let length = second & !MASKED;
        if opcode.is_control() && usize::from(length) > CONTROL_PAYLOAD_BYTES_MAX {
            return Err(Violation::ControlTooLong);
        }
        let (payload_bytes, mut header_bytes) = match length {
            LENGTH_16 => match long_length_16(input)? {
                Some(payload_bytes) => (payload_bytes, 4),
                None => return Ok(None),
            },
            LENGTH_64 => match long_length_64(input)? {
                Some(payload_bytes) => (payload_bytes, 10),
                None => return Ok(None),
            },
            length => (u64::from(length), 2),
        };
        let mut mask = None;
        if second & MASKED != 0 {
            let Some(key) = input[header_bytes..].first_chunk::<4>() else { return Ok(None) };
            mask = Some(MaskKey::new(*key));
            header_bytes += 4;
        }
        Ok(Some((Self { fin, rsv1: first & RSV1 != 0, opcode, mask, payload_bytes }, header_bytes)))
    }

    /// The header's bytes, with the length in its shortest form.
    ///
    /// They are put together in a word: bytes written one by one would have to reach the cache before a copy of
    /// them all could be read.
    #[inline]
    pub fn encode(&self) -> EncodedHeader {
        let first = self.opcode as u8 | if self.fin { FIN } else { 0 } | if self.rsv1 { RSV1 } else { 0 };
        let (length, mut len) = match self.payload_bytes {
            0..=125 => (u128::from(self.payload_bytes), 2),
            126..=0xFFFF => (u128::from(LENGTH_16) | u128::from((self.payload_bytes as u16).swap_bytes()) << 8, 4),
            _ => (u128::from(LENGTH_64) | u128::from(self.payload_bytes.swap_bytes()) << 8, 10),
        };
        let mut word = u128::from(first) | length << 8;
        if let Some(key) = self.mask {
            word |= u128::from(MASKED) << 8 | u128::from(u32::from_le_bytes(key.bytes())) << (8 * len);
            len += 4;
        }
        EncodedHeader { bytes: word.to_le_bytes(), len }
    }
}

#[inline]
fn long_length_16(input: &[u8]) -> Result<Option<u64>, Violation> {
    let Some(bytes) = input[2..].first_chunk::<2>() else { return Ok(None) };
    let length = u16::from_be_bytes(*bytes);
    if length < u16::from(LENGTH_16) { Err(Violation::LengthNotMinimal) } else { Ok(Some(u64::from(length))) }
}

#[inline]
fn long_length_64(input: &[u8]) -> Result<Option<u64>, Violation> {
    let Some(bytes) = input[2..].first_chunk::<8>() else { return Ok(None) };
    let length = u64::from_be_bytes(*bytes);
    if length > i64::MAX as u64 {
        return Err(Violation::LengthTopBit);
    }
    if length <= u64::from(u16::MAX) { Err(Violation::LengthNotMinimal) } else { Ok(Some(length)) }
}

/// The bytes of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedHeader {
    /// The header, then zeros.
    bytes: [u8; 16],
    len: u8,
}

impl EncodedHeader {
    /// The header with zeros behind it, and how many of the bytes are the header's.
    #[inline]
    pub fn padded(&self) -> (&[u8; 16], usize) {
        (&self.bytes, usize::from(self.len))
    }

    /// Appends the header to `out`: a copy of fixed size, cut to length, costs less than one of the right length.
    #[inline]
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let end = out.len() + usize::from(self.len);
        out.extend_from_slice(&self.bytes);
        out.truncate(end);
    }
}

impl Deref for EncodedHeader {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(input: &[u8]) -> (FrameHeader, usize) {
        FrameHeader::parse(input).unwrap().expect("a whole header")
    }

    #[test]
    fn every_header_is_read_back_as_written() {
        let opcodes = [Opcode::Continuation, Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong];
        let lengths = [0, 1, 125, 126, 127, 0xFFFF, 0x1_0000, i64::MAX as u64];
        for opcode in opcodes {
            for payload_bytes in lengths.into_iter().filter(|&n| !opcode.is_control() || n <= 125) {
                for (fin, rsv1) in [(true, false), (true, true), (opcode.is_control(), false)] {
                    for mask in [None, Some(MaskKey::new([1, 2, 3, 4]))] {
                        let header = FrameHeader { fin, rsv1, opcode, mask, payload_bytes };
                        let bytes = header.encode();
                        assert_eq!(parsed(&bytes), (header, bytes.len()));
                        for short in 0..bytes.len() {
                            assert_eq!(FrameHeader::parse(&bytes[..short]), Ok(None), "{short} bytes of {header:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_rfcs_examples_parse() {
        // §5.7
        let (header, at) = parsed(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f]);
        assert_eq!((header.opcode, header.fin, header.payload_bytes, at), (Opcode::Text, true, 5, 6));
        assert_eq!(header.mask, Some(MaskKey::new([0x37, 0xfa, 0x21, 0x3d])));
        let (header, at) = parsed(&[0x82, 0x7E, 0x01, 0x00]);
        assert_eq!((header.opcode, header.payload_bytes, at), (Opcode::Binary, 256, 4));
        let (header, at) = parsed(&[0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!((header.payload_bytes, at), (65536, 10));
        let (header, _) = parsed(&[0x01, 0x03]);
        assert!(!header.fin);
    }

    #[test]
    fn rsv2_and_rsv3_are_refused() {
        for bits in [0x10, 0x20, 0x30] {
            assert_eq!(FrameHeader::parse(&[0x81 | bits]), Err(Violation::ReservedBit));
        }
    }

    #[test]
    fn reserved_opcodes_are_refused() {
        for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
            assert_eq!(FrameHeader::parse(&[0x80 | opcode]), Err(Violation::ReservedOpcode), "opcode {opcode}");
        }
    }

    #[test]
    fn fragmented_control_frames_are_refused() {
        for opcode in [8, 9, 10] {
            assert_eq!(FrameHeader::parse(&[opcode]), Err(Violation::ControlFragmented), "opcode {opcode}");
        }
    }

    #[test]
    fn control_frame_over_125_bytes_is_refused() {
        for opcode in [8, 9, 10] {
            for length in [126, 127] {
                assert_eq!(FrameHeader::parse(&[0x80 | opcode, length]), Err(Violation::ControlTooLong));
            }
            assert!(FrameHeader::parse(&[0x80 | opcode, 125]).is_ok());
        }
    }

    #[test]
    fn a_length_in_more_bytes_than_it_needs_is_refused() {
        assert_eq!(FrameHeader::parse(&[0x82, 126, 0, 125]), Err(Violation::LengthNotMinimal));
        assert_eq!(FrameHeader::parse(&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]), Err(Violation::LengthNotMinimal));
    }

    #[test]
    fn the_top_bit_of_a_length_is_refused() {
        assert_eq!(FrameHeader::parse(&[0x82, 127, 0x80, 0, 0, 0, 0, 1, 0, 0]), Err(Violation::LengthTopBit));
    }
}
