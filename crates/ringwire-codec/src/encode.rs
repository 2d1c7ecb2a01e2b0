//! Frames on their way out.

use std::ops::Deref;

use crate::extension::Extension;
use crate::{CONTROL_PAYLOAD_BYTES_MAX, CloseCode, FRAME_HEADER_BYTES_MAX, FrameHeader, MaskKey, Opcode, unmask};

/// Appends one whole frame (FIN set) to `out`. A client must pass a fresh random `mask` for each frame, a server
/// none (RFC 6455 §5.1).
#[inline]
pub fn encode_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<MaskKey>) {
    push_frame(out, opcode, payload, mask, false);
}

/// Appends one message to `out`, as one frame, transformed by `extension` if it wants to.
///
/// `scratch` is where the extension writes; it is cleared first, and may be used again.
pub fn encode_message(
    out: &mut Vec<u8>,
    opcode: Opcode,
    payload: &[u8],
    mask: Option<MaskKey>,
    extension: &mut dyn Extension,
    scratch: &mut Vec<u8>,
) {
    debug_assert!(matches!(opcode, Opcode::Text | Opcode::Binary), "extensions transform messages only");
    scratch.clear();
    if extension.encode(payload, scratch) {
        push_frame(out, opcode, scratch, mask, true);
    } else {
        push_frame(out, opcode, payload, mask, false);
    }
}

/// Length of a whole frame with a payload of this length.
#[inline]
pub const fn frame_bytes(payload_bytes: usize, masked: bool) -> usize {
    let header = match payload_bytes {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    };
    header + if masked { 4 } else { 0 } + payload_bytes
}

#[inline]
fn push_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<MaskKey>, rsv1: bool) {
    debug_assert!(!opcode.is_control() || payload.len() <= CONTROL_PAYLOAD_BYTES_MAX, "control frames are short");
    let header = FrameHeader { fin: true, rsv1, opcode, mask, payload_bytes: payload.len() as u64 };
    out.reserve(2 + FRAME_HEADER_BYTES_MAX + payload.len());
    header.encode().append_to(out);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = mask {
        unmask(&mut out[start..], key);
    }
}

/// The payload of a close frame: the code, then as much of `reason` as fits in 123 bytes, cut between characters.
/// Without a code it is empty (RFC 6455 §5.5.1).
///
/// # Panics
/// In debug builds, if the code must not be sent.
pub fn encode_close(code: Option<CloseCode>, reason: &str) -> ClosePayload {
    let mut payload = ClosePayload { bytes: [0; CONTROL_PAYLOAD_BYTES_MAX], len: 0 };
    let Some(code) = code else { return payload };
    debug_assert!(code.may_be_sent(), "{code} must not be sent");
    let room = reason.len().min(CONTROL_PAYLOAD_BYTES_MAX - 2);
    let end = (0..=room).rev().find(|&end| reason.is_char_boundary(end)).unwrap_or(0);
    let reason = &reason.as_bytes()[..end];
    payload.bytes[..2].copy_from_slice(&code.value().to_be_bytes());
    payload.bytes[2..2 + reason.len()].copy_from_slice(reason);
    payload.len = 2 + reason.len() as u8;
    payload
}

/// The bytes of a close frame's payload.
#[derive(Clone, Copy, Debug)]
pub struct ClosePayload {
    bytes: [u8; CONTROL_PAYLOAD_BYTES_MAX],
    len: u8,
}

impl Deref for ClosePayload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_hello_is_the_rfcs() {
        let mut out = Vec::new();
        encode_frame(&mut out, Opcode::Text, b"Hello", None);
        assert_eq!(out, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    }

    #[test]
    fn a_clients_hello_is_the_rfcs_and_leaves_what_was_before() {
        let mut out = vec![0xAA];
        encode_frame(&mut out, Opcode::Text, b"Hello", Some(MaskKey::new([0x37, 0xfa, 0x21, 0x3d])));
        assert_eq!(out, [0xAA, 0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn frame_bytes_is_the_length_of_the_frame() {
        for payload_bytes in [0, 1, 125, 126, 0xFFFF, 0x1_0000] {
            for mask in [None, Some(MaskKey::new([9; 4]))] {
                let mut out = Vec::new();
                encode_frame(&mut out, Opcode::Binary, &vec![0; payload_bytes], mask);
                assert_eq!(out.len(), frame_bytes(payload_bytes, mask.is_some()));
            }
        }
    }

    #[test]
    fn a_close_reason_is_cut_between_characters() {
        let payload = encode_close(Some(CloseCode::GOING_AWAY), &"ж".repeat(100));
        assert_eq!(payload[..2], [0x03, 0xE9]);
        assert_eq!(payload.len(), 2 + 122, "61 characters of two bytes; the 62nd would end at 124");
        assert_eq!(std::str::from_utf8(&payload[2..]), Ok(&*"ж".repeat(61)));
    }

    #[test]
    fn a_close_without_a_code_is_empty() {
        assert!(encode_close(None, "ignored").is_empty());
    }
}
