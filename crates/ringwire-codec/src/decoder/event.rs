//! What a decoder gives: events that borrow their payloads from the input, or from the decoder where they had to be
//! put together.

use crate::{CloseFrame, Opcode, Text};

/// One look at the input.
#[derive(Debug)]
pub struct Step<'a> {
    /// Bytes of the input that are dealt with. At least one, unless the input is empty.
    pub consumed: usize,
    /// What they brought.
    pub event: Option<Event<'a>>,
}

/// What a peer said.
#[derive(Debug)]
pub enum Event<'a> {
    /// A whole message.
    Message(Message<'a>),
    /// To be answered with a pong of the same payload (§5.5.3).
    Ping(&'a [u8]),
    /// Answers a ping, or none (§5.5.3).
    Pong(&'a [u8]),
    /// The peer's last frame; `None` if it gave no code. What follows it is dropped.
    Close(Option<CloseFrame<'a>>),
}

/// A whole message, unmasked, in place.
#[derive(Debug)]
pub enum Message<'a> {
    /// UTF-8.
    Text(Text<'a>),
    /// Anything.
    Binary(&'a mut [u8]),
}

impl<'a> Message<'a> {
    /// The payload.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    /// The payload, to be changed in place.
    #[inline]
    pub fn into_bytes(self) -> &'a mut [u8] {
        match self {
            Message::Text(text) => text.into_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    /// Whether it was sent as text.
    #[inline]
    pub const fn is_text(&self) -> bool {
        matches!(self, Message::Text(_))
    }

    /// The opcode to send such a message with.
    #[inline]
    pub const fn opcode(&self) -> Opcode {
        if self.is_text() { Opcode::Text } else { Opcode::Binary }
    }
}
