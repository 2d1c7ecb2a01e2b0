//! Messages that look like what exchanges send: JSON, of any length, each with its number.
//!
//! The text is an order book's update with prices and sizes of a seeded random walk, so it compresses as such texts do.
//! Compressed, each message stands by itself, so it may be sent whatever the server agreed on.

use ringwire_codec::deflate::{Compressor, Level, MemoryLevel, WindowBits};
use ringwire_codec::{FrameHeader, MaskKey, Opcode, unmask};

/// Makes and recognises JSON messages with a number.
#[derive(Debug)]
pub struct NumberedJson {
    text: Vec<u8>,
    compressor: Option<Compressor>,
    key: MaskKey,
    payload: Vec<u8>,
    frame: Vec<u8>,
}

/// What stands in front of the number.
const HEAD: &[u8] = b"{\"u\":\"";
/// Digits of a sealed number, in hexadecimal.
const DIGITS: usize = 16;

impl NumberedJson {
    /// Text messages of `payload_bytes`, compressed on their way if `compressed`.
    ///
    /// # Errors
    /// If that is too short.
    pub fn new(payload_bytes: usize, compressed: bool) -> Result<Self, String> {
        let middle = b"\",\"s\":\"BTCUSDT\",\"b\":[";
        let shortest = HEAD.len() + DIGITS + middle.len() + LEVEL_BYTES_MAX + 3;
        if payload_bytes < shortest {
            return Err(format!("--bytes {payload_bytes}: JSON messages need at least {shortest}"));
        }
        let mut random = fastrand::Rng::with_seed(payload_bytes as u64);
        let mut text = [HEAD, &[b'0'; DIGITS], middle].concat();
        let mut price_cents = 4_321_000u64;
        while text.len() + LEVEL_BYTES_MAX + 3 <= payload_bytes {
            price_cents -= random.u64(1..200);
            let size = random.u32(1..9_999_999);
            let level = format!(
                "[\"{}.{:02}\",\"{}.{:05}\"],",
                price_cents / 100,
                price_cents % 100,
                size / 100_000,
                size % 100_000
            );
            text.extend_from_slice(level.as_bytes());
        }
        text.pop();
        text.extend_from_slice(b"]");
        text.resize(payload_bytes - 1, b' ');
        text.push(b'}');
        let compressor = compressed.then(|| Compressor::new(Level::FASTEST, MemoryLevel::DEFAULT, WindowBits::MAX));
        let key = MaskKey::new(random.u32(..).to_ne_bytes());
        Ok(Self { text, compressor, key, payload: Vec::new(), frame: Vec::new() })
    }

    /// The frame of the message with this number.
    pub fn frame(&mut self, number: u64) -> &[u8] {
        self.text[HEAD.len()..HEAD.len() + DIGITS].copy_from_slice(&digits(super::seal(number)));
        self.payload.clear();
        let compressor = self.compressor.as_mut();
        let rsv1 = compressor.is_some_and(|compressor| compressor.compress_alone(&self.text, &mut self.payload));
        if !rsv1 {
            self.payload.extend_from_slice(&self.text);
        }
        unmask(&mut self.payload, self.key);
        let payload_bytes = self.payload.len() as u64;
        let header = FrameHeader { fin: true, rsv1, opcode: Opcode::Text, mask: Some(self.key), payload_bytes };
        self.frame.clear();
        self.frame.extend_from_slice(&header.encode());
        self.frame.extend_from_slice(&self.payload);
        &self.frame
    }

    /// The number of a message that came back, or `None` if it is not one of this run's.
    pub fn number(&self, payload: &[u8]) -> Option<u64> {
        let (own_head, own_rest) = self.text.split_at(HEAD.len());
        let (head, rest) = payload.split_at_checked(HEAD.len())?;
        if head != own_head || rest.get(DIGITS..)? != &own_rest[DIGITS..] {
            return None;
        }
        let sealed = u64::from_str_radix(std::str::from_utf8(&rest[..DIGITS]).ok()?, 16).ok()?;
        // Capital letters, and a sign, would be another text for the same number.
        (rest[..DIGITS] == digits(sealed)).then(|| super::unseal(sealed))?
    }
}

/// Longest `["43210.00","99.99999"],`.
const LEVEL_BYTES_MAX: usize = 24;

fn digits(number: u64) -> [u8; DIGITS] {
    std::array::from_fn(|at| b"0123456789abcdef"[(number >> (4 * (DIGITS - 1 - at)) & 15) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringwire_codec::deflate::{Deflate, DeflateOptions};
    use ringwire_codec::extension::{ExtensionParams, Negotiator};
    use ringwire_codec::{Decoder, DecoderLimits, Event, Role};

    /// The payload that a server gets.
    fn received(frame: &[u8]) -> Vec<u8> {
        let offer = ExtensionParams::parse_list("permessage-deflate").next().unwrap();
        let mut agreed = Deflate::new(DeflateOptions::DEFAULT).accept(&offer).unwrap();
        let mut bytes = frame.to_vec();
        let mut decoder = Decoder::new(Role::Server, DecoderLimits::default());
        let step = decoder.decode_with(&mut bytes, Some(&mut *agreed.extension)).unwrap();
        assert_eq!(step.consumed, frame.len());
        let Some(Event::Message(message)) = step.event else { panic!("a whole message") };
        assert!(message.is_text());
        message.bytes().to_vec()
    }

    #[test]
    fn every_length_is_kept_and_every_number_comes_back() {
        for compressed in [false, true] {
            for payload_bytes in [100, 101, 128, 1000, 1024, 5000] {
                let mut json = NumberedJson::new(payload_bytes, compressed).unwrap();
                for number in [0, 1, 0xAB_EF01_2345, crate::payload::NUMBER_MAX] {
                    let frame = json.frame(number).to_vec();
                    let payload = received(&frame);
                    assert_eq!((payload.len(), json.number(&payload)), (payload_bytes, Some(number)));
                    assert_eq!(frame.len() < payload_bytes, compressed, "{payload_bytes}");
                }
            }
        }
    }

    #[test]
    fn another_text_has_no_number() {
        let mut json = NumberedJson::new(200, false).unwrap();
        let mut payload = received(json.frame(7));
        for at in 0..payload.len() {
            payload[at] ^= 1;
            assert_eq!(json.number(&payload), None, "byte {at}");
            payload[at] ^= 1;
        }
        assert_eq!(json.number(&payload), Some(7));
        assert_eq!(json.number(b"{}"), None);
        assert!(NumberedJson::new(20, false).unwrap_err().contains("--bytes 20"));
    }
}
