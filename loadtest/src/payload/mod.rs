//! Payloads that can be accounted for: numbered, and known to the last byte.
//!
//! A payload begins with one or two numbers, 8 bytes each in little-endian order, the upper three of them a check over the
//! others: a number that was changed must not pass for another. What follows is a pattern that every message of a run
//! shares. The client's frame around it is made once, mask included: a message more costs a
//! patch of the masked numbers, not a new frame.

mod json;
pub mod stamp;

use ringwire_codec::{MaskKey, Opcode, encode_frame, frame_bytes};

pub use json::NumberedJson;

/// Greatest number: some 10^12 messages on a connection.
pub const NUMBER_MAX: u64 = (1 << NUMBER_BITS) - 1;
const NUMBER_BITS: u32 = 40;

/// A number with its check above it.
#[inline]
fn seal(number: u64) -> u64 {
    debug_assert!(number <= NUMBER_MAX, "{number} is more than {NUMBER_MAX}");
    // The upper bits of a product with an odd constant depend on every bit of the number.
    let check = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> NUMBER_BITS;
    check << NUMBER_BITS | number
}

/// The number that was sealed, or `None` if none was.
#[inline]
fn unseal(sealed: u64) -> Option<u64> {
    let number = sealed & NUMBER_MAX;
    (seal(number) == sealed).then_some(number)
}

/// A client's frame whose payload is numbered.
#[derive(Clone, Debug)]
pub struct Numbered {
    frame: Vec<u8>,
    /// Where the payload begins in the frame.
    payload_at: usize,
    /// The mask key over 8 bytes.
    key: u64,
    /// The payload's bytes behind the numbers, as they come back.
    pattern: Vec<u8>,
    numbers: usize,
}

impl Numbered {
    /// A binary frame of `payload_bytes` that carries `numbers` numbers.
    ///
    /// # Errors
    /// If the payload is too short for them.
    pub fn new(payload_bytes: usize, numbers: usize) -> Result<Self, String> {
        if payload_bytes < numbers * 8 {
            return Err(format!("--bytes {payload_bytes}: at least {} are needed to tell messages apart", numbers * 8));
        }
        let mut random = fastrand::Rng::with_seed(payload_bytes as u64);
        let key = random.u32(..).to_ne_bytes();
        let mut payload = vec![0; payload_bytes];
        random.fill(&mut payload[numbers * 8..]);
        let mut frame = Vec::new();
        encode_frame(&mut frame, Opcode::Binary, &payload, Some(MaskKey::new(key)));
        let [a, b, c, d] = key;
        Ok(Self {
            payload_at: frame_bytes(payload_bytes, true) - payload_bytes,
            key: u64::from_le_bytes([a, b, c, d, a, b, c, d]),
            pattern: payload.split_off(numbers * 8),
            frame,
            numbers,
        })
    }

    /// The frame, with these numbers of at most [`NUMBER_MAX`].
    ///
    /// # Panics
    /// If they are not as many as it was made for.
    pub fn frame(&mut self, numbers: &[u64]) -> &[u8] {
        assert_eq!(numbers.len(), self.numbers, "a frame has as many numbers as it was made for");
        for (index, number) in numbers.iter().enumerate() {
            let at = self.payload_at + 8 * index;
            self.frame[at..at + 8].copy_from_slice(&(seal(*number) ^ self.key).to_le_bytes());
        }
        &self.frame
    }

    /// Length of the frame.
    pub fn frame_bytes(&self) -> usize {
        self.frame.len()
    }

    /// The number at `index` of a payload that came back, or `None` if it is not one of this run's.
    #[inline]
    pub fn number(&self, payload: &[u8], index: usize) -> Option<u64> {
        let (numbers, pattern) = payload.split_at_checked(self.numbers * 8)?;
        if pattern != self.pattern {
            return None;
        }
        unseal(u64::from_le_bytes(*numbers.as_chunks::<8>().0.get(index)?))
    }

    /// The first number of a whole frame that came back as it was sent, mask and all.
    #[inline]
    pub fn number_in_frame(&self, frame: &[u8]) -> Option<u64> {
        let pattern_at = self.payload_at + self.numbers * 8;
        if frame.len() != self.frame.len()
            || frame[..self.payload_at] != self.frame[..self.payload_at]
            || frame[pattern_at..] != self.frame[pattern_at..]
        {
            return None;
        }
        let bytes = frame[self.payload_at..].first_chunk::<8>()?;
        unseal(u64::from_le_bytes(*bytes) ^ self.key)
    }
}

/// What an echo sends.
#[derive(Debug)]
pub(crate) enum Messages {
    Random(Numbered),
    Json(NumberedJson),
}

impl Messages {
    pub(crate) fn frame(&mut self, number: u64) -> &[u8] {
        match self {
            Messages::Random(messages) => messages.frame(&[number]),
            Messages::Json(messages) => messages.frame(number),
        }
    }

    /// The number of a message that came back, or `None` if it is not one of this run's.
    #[inline]
    pub(crate) fn number(&self, payload: &[u8]) -> Option<u64> {
        match self {
            Messages::Random(messages) => messages.number(payload, 0),
            Messages::Json(messages) => messages.number(payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringwire_codec::{Decoder, DecoderLimits, Event, Role};

    fn unmasked(frame: &[u8]) -> Vec<u8> {
        let mut bytes = frame.to_vec();
        let mut decoder = Decoder::new(Role::Server, DecoderLimits::default());
        let step = decoder.decode(&mut bytes).unwrap();
        assert_eq!(step.consumed, frame.len());
        let Some(Event::Message(message)) = step.event else { panic!("a whole message") };
        message.bytes().to_vec()
    }

    #[test]
    fn a_server_reads_the_numbers_that_were_sent() {
        for bytes in [16, 64, 125, 126, 4096, 70_000] {
            let mut numbered = Numbered::new(bytes, 2).unwrap();
            for numbers in [[0, 1], [NUMBER_MAX, 77], [1, 2]] {
                let frame = numbered.frame(&numbers).to_vec();
                let payload = unmasked(&frame);
                assert_eq!(payload.len(), bytes);
                assert_eq!([0, 1].map(|index| numbered.number(&payload, index)), numbers.map(Some));
                assert_eq!(numbered.number_in_frame(&frame), Some(numbers[0]));
            }
        }
    }

    #[test]
    fn a_changed_byte_or_length_is_noticed() {
        let mut numbered = Numbered::new(64, 1).unwrap();
        let frame = numbered.frame(&[5]).to_vec();
        let payload = unmasked(&frame);
        for at in 0..64 {
            let mut changed = payload.clone();
            changed[at] ^= 1;
            assert_eq!(numbered.number(&changed, 0), None, "byte {at}");
            let mut changed = frame.clone();
            changed[at + 6] ^= 1;
            assert_eq!(numbered.number_in_frame(&changed), None, "byte {at}");
        }
        assert_eq!(numbered.number(&payload[..63], 0), None);
        assert_eq!(numbered.number(&payload[..7], 0), None);
        assert_eq!(numbered.number_in_frame(&frame[..69]), None);
    }

    #[test]
    fn a_payload_too_short_for_its_numbers_is_refused() {
        assert!(Numbered::new(7, 1).unwrap_err().contains("at least 8"));
        assert!(Numbered::new(8, 1).is_ok());
    }
}
