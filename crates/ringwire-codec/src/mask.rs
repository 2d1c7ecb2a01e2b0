//! Masking (RFC 6455 §5.3): every byte a client sends is XORed with a key that repeats every four bytes.
//!
//! Unmasking is masking. Short payloads, which are most, take two overlapping words or vectors, without a loop and
//! without asking which CPU this is: both are read before either is written, so no byte is XORed twice. Long ones
//! go to the widest kernel of this CPU.

use crate::simd;

/// A frame's masking key, as it lies on the wire: byte `i` of the payload is XORed with byte `i % 4` of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MaskKey([u8; 4]);

impl MaskKey {
    /// The key with these four bytes.
    #[inline]
    pub const fn new(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// The four bytes, in wire order.
    #[inline]
    pub const fn bytes(self) -> [u8; 4] {
        self.0
    }

    /// The key for what follows after `consumed` bytes of the payload.
    #[inline]
    #[must_use]
    pub const fn rotated(self, consumed: usize) -> Self {
        Self(u32::from_le_bytes(self.0).rotate_right(8 * (consumed as u32 % 4)).to_le_bytes())
    }

    /// The key as a word in memory order.
    #[inline(always)]
    const fn word(self) -> u32 {
        u32::from_ne_bytes(self.0)
    }
}

impl From<[u8; 4]> for MaskKey {
    fn from(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }
}

/// Up to this many bytes the words of the baseline instruction set are enough.
const SHORT_BYTES_MAX: usize = 128;

/// XORs `payload` in place with `key` (RFC 6455 §5.3); masks and unmasks.
///
/// For a payload that comes in pieces, pass [`MaskKey::rotated`] by the bytes before each.
#[inline]
pub fn unmask(payload: &mut [u8], key: MaskKey) {
    match payload.len() {
        0..=3 => unmask_tiny(payload, key),
        4..=7 => _ = ends::<1>(payload, key),
        8..=16 => _ = ends::<2>(payload, key),
        17..=32 => _ = ends::<4>(payload, key),
        33..=64 => _ = ends::<8>(payload, key),
        65..=SHORT_BYTES_MAX => _ = ends::<16>(payload, key),
        _ => simd::unmask_long(payload, key),
    }
}

/// Unmasks, and tells whether the result is known to be ASCII. For a short payload that costs little while the bytes
/// are in registers; a second look would have to wait for the stores of the first. Long payloads are not looked at:
/// there two passes measure faster than one that does both.
#[inline]
pub(crate) fn unmask_telling_ascii(payload: &mut [u8], key: MaskKey) -> bool {
    match payload.len() {
        0..=3 => {
            unmask_tiny(payload, key);
            payload.is_ascii()
        }
        4..=7 => are_ascii(ends::<1>(payload, key)),
        8..=16 => are_ascii(ends::<2>(payload, key)),
        17..=32 => are_ascii(ends::<4>(payload, key)),
        33..=64 => are_ascii(ends::<8>(payload, key)),
        65..=SHORT_BYTES_MAX => are_ascii(ends::<16>(payload, key)),
        _ => {
            simd::unmask_long(payload, key);
            false
        }
    }
}

/// At most three bytes.
#[inline]
fn unmask_tiny(payload: &mut [u8], MaskKey(key): MaskKey) {
    match payload {
        [a] => *a ^= key[0],
        [a, b] => {
            *a ^= key[0];
            *b ^= key[1];
        }
        [a, b, c] => {
            *a ^= key[0];
            *b ^= key[1];
            *c ^= key[2];
        }
        _ => {}
    }
}

/// `N` to `2 * N` words: the first `N` and the last `N`, which may overlap. Gives them, unmasked.
#[inline(always)]
fn ends<const N: usize>(payload: &mut [u8], key: MaskKey) -> [[[u8; 4]; N]; 2] {
    let first = xor(first_words::<N>(payload), key);
    let last_at = payload.len() - 4 * N;
    let last = xor(first_words::<N>(&payload[last_at..]), key.rotated(last_at));
    payload[..4 * N].copy_from_slice(first.as_flattened());
    payload[last_at..].copy_from_slice(last.as_flattened());
    [first, last]
}

#[inline(always)]
fn are_ascii<const N: usize>(words: [[[u8; 4]; N]; 2]) -> bool {
    words.as_flattened().iter().fold(0, |union, word| union | u32::from_ne_bytes(*word)) & 0x8080_8080 == 0
}

/// The first `N` words of `bytes`, which holds as many.
#[inline(always)]
pub(crate) fn first_words<const N: usize>(bytes: &[u8]) -> [[u8; 4]; N] {
    let (words, _) = bytes.as_chunks();
    *words.first_chunk().expect("the caller passes at least N words")
}

/// Masks words. Written so that the compiler sees one key for all of them.
#[inline(always)]
pub(crate) fn xor<const N: usize>(words: [[u8; 4]; N], key: MaskKey) -> [[u8; 4]; N] {
    words.map(|word| (u32::from_ne_bytes(word) ^ key.word()).to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::unmask_backends;

    const KEY: MaskKey = MaskKey([0x37, 0xfa, 0x21, 0x3d]);

    fn oracle(payload: &[u8], MaskKey(key): MaskKey) -> Vec<u8> {
        payload.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect()
    }

    fn sample(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i as u32).wrapping_mul(0x9E37_79B1).to_be_bytes()[0]).collect()
    }

    /// Every length to 300 at every alignment: the payload as the oracle has it, its surroundings untouched.
    fn check(name: &str, lens: impl Iterator<Item = usize>, unmask: impl Fn(&mut [u8], MaskKey)) {
        for len in lens {
            for offset in 0..64 {
                let mut buffer = sample(offset + len + 64);
                let before = buffer.clone();
                unmask(&mut buffer[offset..offset + len], KEY);
                assert_eq!(buffer[..offset], before[..offset], "{name}: before a payload of {len} at {offset}");
                assert_eq!(
                    buffer[offset..offset + len],
                    oracle(&before[offset..offset + len], KEY),
                    "{name}: payload of {len} at {offset}"
                );
                assert_eq!(buffer[offset + len..], before[offset + len..], "{name}: after a payload of {len}");
            }
        }
    }

    #[test]
    fn unmask_agrees_with_the_oracle_at_every_length_and_alignment() {
        check("unmask", (0..300).chain([511, 512, 513, 1000, 4099]), unmask);
    }

    #[test]
    fn short_ascii_is_told_from_everything_else_at_every_length() {
        for len in 0..=SHORT_BYTES_MAX {
            let ascii: Vec<u8> = sample(len).iter().map(|byte| byte & 0x7F).collect();
            let mut payload = oracle(&ascii, KEY);
            assert!(unmask_telling_ascii(&mut payload, KEY), "{len} bytes of ASCII");
            assert_eq!(payload, ascii);
            for wrong in 0..len {
                let mut payload = ascii.clone();
                payload[wrong] |= 0x80;
                let mut masked = oracle(&payload, KEY);
                assert!(!unmask_telling_ascii(&mut masked, KEY), "byte {wrong} of {len}");
                assert_eq!(masked, payload);
            }
        }
    }

    #[test]
    fn every_backend_agrees_with_the_oracle_at_every_length_and_alignment() {
        for backend in unmask_backends() {
            check(backend.name, (backend.payload_bytes_min..300).chain([511, 512, 513, 1000, 4099]), backend.unmask);
        }
    }

    #[test]
    fn a_split_payload_is_unmasked_with_rotated_keys() {
        for len in [1, 3, 4, 7, 64, 125, 129, 300] {
            for split in 0..=len {
                let mut pieces = sample(len);
                let (head, tail) = pieces.split_at_mut(split);
                unmask(head, KEY);
                unmask(tail, KEY.rotated(split));
                assert_eq!(pieces, oracle(&sample(len), KEY), "{len} bytes, split at {split}");
            }
        }
    }

    #[test]
    fn rotation_repeats_every_four_bytes() {
        assert_eq!(KEY.rotated(1).bytes(), [0xfa, 0x21, 0x3d, 0x37]);
        assert_eq!(KEY.rotated(3).bytes(), [0x3d, 0x37, 0xfa, 0x21]);
        assert_eq!(KEY.rotated(usize::MAX - 3), KEY);
    }

    #[test]
    fn the_rfcs_masked_hello_unmasks() {
        let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        unmask(&mut payload, KEY);
        assert_eq!(&payload, b"Hello");
    }
}
