//! What a line says: whole frames, one behind the other, until the caller has sent them. Those of a client are masked.

use ringwire_codec::{FrameHeader, MaskKey, Opcode, unmask};

/// Frames to be sent on one connection. One [`Say`] serves all connections of a thread in turn, so its memory is used
/// again.
#[derive(Clone, Debug, Default)]
pub struct Say {
    frames: Vec<u8>,
    masks: fastrand::Rng,
}

impl Say {
    /// Nothing said yet. `seed` decides on the masks.
    pub fn new(seed: u64) -> Self {
        Self { frames: Vec::new(), masks: fastrand::Rng::with_seed(seed) }
    }

    /// Says a text message.
    pub fn text(&mut self, text: &str) {
        self.parts(Opcode::Text, &[text.as_bytes()]);
    }

    /// Says a binary message.
    pub fn binary(&mut self, bytes: &[u8]) {
        self.parts(Opcode::Binary, &[bytes]);
    }

    /// Says one message, whose payload is these parts in order. A text's must be UTF-8 together.
    pub fn parts(&mut self, opcode: Opcode, parts: &[&[u8]]) {
        let mask = MaskKey::new(self.masks.u32(..).to_ne_bytes());
        let start = self.frame(Some(mask), opcode, parts);
        unmask(&mut self.frames[start..], mask);
    }

    /// Says one message as a server does, not masked: for who passes it on as it is.
    pub fn unmasked(&mut self, opcode: Opcode, payload: &[u8]) {
        self.frame(None, opcode, &[payload]);
    }

    /// Says bytes that are no frame, where there is no WebSocket.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.frames.extend_from_slice(bytes);
    }

    /// Appends a frame, its payload as it is, and says where that begins.
    fn frame(&mut self, mask: Option<MaskKey>, opcode: Opcode, parts: &[&[u8]]) -> usize {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let header = FrameHeader { fin: true, rsv1: false, opcode, mask, payload_bytes: bytes as u64 };
        header.encode().append_to(&mut self.frames);
        let start = self.frames.len();
        self.frames.reserve(bytes);
        for part in parts {
            self.frames.extend_from_slice(part);
        }
        start
    }

    /// The frames said since [`Say::clear`].
    pub fn frames(&self) -> &[u8] {
        &self.frames
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Forgets what was said: it is sent.
    pub fn clear(&mut self) {
        self.frames.clear();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use ringwire_codec::{Decoder, DecoderLimits, Event, Role};

    /// Takes the messages that were said, as a server decodes them: whether each is text, and its bytes.
    pub(crate) fn said(say: &mut Say) -> Vec<(bool, Vec<u8>)> {
        let mut bytes = say.frames().to_vec();
        say.clear();
        let mut decoder = Decoder::new(Role::Server, DecoderLimits::default());
        let (mut at, mut messages) = (0, Vec::new());
        while at < bytes.len() {
            let step = decoder.decode(&mut bytes[at..]).unwrap();
            at += step.consumed;
            let Some(Event::Message(message)) = step.event else { panic!("a whole message: {:?}", step.event) };
            messages.push((message.is_text(), message.bytes().to_vec()));
        }
        messages
    }

    /// The same where all are texts.
    pub(crate) fn said_texts(say: &mut Say) -> Vec<String> {
        let texts = said(say).into_iter().map(|(is_text, bytes)| {
            assert!(is_text);
            String::from_utf8(bytes).unwrap()
        });
        texts.collect()
    }

    #[test]
    fn messages_are_frames_that_a_server_takes_apart_again() {
        let mut say = Say::new(1);
        assert!(say.is_empty());
        let long = vec![7; 70_000];
        say.text("a\u{436}");
        say.binary(&long);
        say.parts(Opcode::Text, &[b"x", b"", b"yz"]);
        let frames = say.frames().to_vec();
        let want = [(true, "a\u{436}".as_bytes().to_vec()), (false, long), (true, b"xyz".to_vec())];
        assert_eq!(said(&mut say), want);
        assert!(say.is_empty());
        assert!(!frames.windows(3).any(|window| window == b"xyz"), "payloads are masked");
    }
}
