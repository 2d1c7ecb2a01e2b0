//! Bytes in, events out: frames, in any split of the stream, become messages and control events.
//!
//! A frame that lies whole in the input is unmasked where it lies and handed out from there. Everything else, a
//! frame in pieces or a message in fragments, is put together in one allocation that lives no longer than it is
//! needed ([`Pending`]). The order of checks follows the order of bytes, so every split of a stream gives the same
//! events and the same [`Violation`].
//!
//! What this module must never do: allocate what a header promises before the bytes are there; let a message grow
//! over its limit; give an event after the one that ended the connection.

mod event;
mod pending;

pub use event::{Event, Message, Step};

use std::sync::Arc;

use crate::extension::Extension;
use crate::frame::FRAME_HEADER_BYTES_MAX;
use crate::{CloseFrame, FrameHeader, Opcode, Room, Text, Violation, unmask};
use pending::{Found, Pending};

/// Which end of the connection this is. A server refuses unmasked frames, a client masked ones (RFC 6455 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// Accepted the connection.
    #[default]
    Server,
    /// Opened the connection.
    Client,
}

/// How much a peer may send at once.
///
/// A connection's worst-case memory is twice `message_bytes_max`, while a fragmented message of that size arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecoderLimits {
    /// Longest payload of one frame. It also bounds a message in the form that an extension gave it.
    pub frame_bytes_max: u64,
    /// Longest message, all fragments together, as the extension unpacks it.
    pub message_bytes_max: usize,
    /// Most frames that one message may come in. Without it, frames without payload could follow each other for ever.
    pub fragments_max: u32,
}

impl DecoderLimits {
    /// 17 MiB for frame and message, a message of 16 MiB with its envelope, in at most 131,072 frames.
    pub const DEFAULT: Self = Self { frame_bytes_max: 17 << 20, message_bytes_max: 17 << 20, fragments_max: 1 << 17 };
}

impl Default for DecoderLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Decodes one direction of one connection. Idle, it owns nothing but itself.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Shared by all decoders that were made with them. None: the default ones.
    limits: Option<Arc<DecoderLimits>>,
    pending: Option<Box<Pending>>,
    role: Role,
    /// The peer's close frame or a violation came: the rest of the stream has no meaning.
    ended: bool,
}

impl Decoder {
    /// A decoder for the stream that an endpoint of this role receives. Many may share their limits.
    pub fn new(role: Role, limits: impl Into<Arc<DecoderLimits>>) -> Self {
        Self { limits: Some(limits.into()), role, ..Self::default() }
    }

    /// Takes some bytes from the front of `input` and gives at most one event. To be called with the rest until the
    /// input is empty; what is taken need not be kept. Payloads are unmasked in place.
    ///
    /// After [`Event::Close`] and after an error the rest of the stream is swallowed. A message that did not lie
    /// whole in one input is held until the next call or [`release`](Self::release).
    ///
    /// # Errors
    /// The first rule that the stream breaks.
    #[inline]
    pub fn decode<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Step<'a>, Violation> {
        self.decode_with(input, None)
    }

    /// The same on a connection with an extension, which owns RSV1. It is lent for the call: the other direction
    /// needs it too.
    ///
    /// # Errors
    /// The first rule that the stream breaks.
    #[inline]
    pub fn decode_with<'a>(
        &'a mut self,
        input: &'a mut [u8],
        extension: Option<&mut (dyn Extension + 'static)>,
    ) -> Result<Step<'a>, Violation> {
        self.decode_next(input, extension, None)
    }

    /// The same, with memory for messages that must be put together: `spare` is taken for a long one, and given back by
    /// [`release_into`](Self::release_into), so that who decodes many streams need not allocate for each.
    ///
    /// # Errors
    /// The first rule that the stream breaks.
    #[inline]
    pub fn decode_in<'a>(
        &'a mut self,
        input: &'a mut [u8],
        extension: Option<&mut (dyn Extension + 'static)>,
        spare: &mut Vec<u8>,
    ) -> Result<Step<'a>, Violation> {
        self.decode_next(input, extension, Some(spare))
    }

    #[inline]
    fn decode_next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        extension: Option<&mut (dyn Extension + 'static)>,
        spare: Option<&mut Vec<u8>>,
    ) -> Result<Step<'a>, Violation> {
        if self.pending.is_none()
            && !self.ended
            && let Ok(Some((header, header_bytes))) = FrameHeader::parse(input)
            && let Some(end) = self.whole_frame_end(&header, header_bytes, input.len())
        {
            let payload = &mut input[header_bytes..end];
            let event = if header.opcode == Opcode::Text {
                let text = match header.mask {
                    Some(key) => Text::unmask(payload, key),
                    None => Text::new(payload),
                };
                let Some(text) = text else {
                    self.ended = true;
                    return Err(Violation::TextNotUtf8);
                };
                Event::Message(Message::Text(text))
            } else {
                if let Some(key) = header.mask {
                    unmask(payload, key);
                }
                if header.opcode == Opcode::Binary {
                    Event::Message(Message::Binary(payload))
                } else {
                    self.ended = header.opcode == Opcode::Close;
                    control_event(header.opcode, payload)?
                }
            };
            return Ok(Step { consumed: end, event: Some(event) });
        }
        self.decode_pieces(input, extension, spare)
    }

    /// Frees the message that the last event borrowed, if it was put together here, and whatever else is no longer
    /// needed. To be called when the input is used up, so that an idle connection owns no buffer.
    #[inline]
    pub fn release(&mut self) {
        if self.pending.is_some() {
            self.release_into(&mut Vec::new());
        }
    }

    /// The same, and keeps the memory of that message in `spare` if there is less: at most 1 MiB.
    #[inline]
    pub fn release_into(&mut self, spare: &mut Vec<u8>) {
        if let Some(pending) = &mut self.pending
            && !pending.release(spare)
        {
            self.pending = None;
        }
    }

    /// Takes out the memory of the message that the last event borrowed, if it was put together here, and where in it the
    /// message begins: at least as far from the front as a server's frame has a header, unless an extension made it.
    pub fn take_message(&mut self) -> Option<(Vec<u8>, usize)> {
        self.pending.as_mut()?.take_finished()
    }

    /// Bytes that have come of a header that is not whole; `None` within a frame.
    pub fn header_bytes(&self) -> Option<usize> {
        self.pending.as_ref().map_or(Some(0), |pending| pending.header_bytes())
    }

    /// Memory to receive in what is missing of a frame, where the message is put together: it is not copied then. `None` if
    /// nothing is, or it does not lie in the message as it comes, or the message has less than `bytes_min` bytes with
    /// it. What is lent is as much as the message has so far, or four times `bytes_min`, at most 256 KiB. Until
    /// [`fill`](Self::fill) nothing may be decoded.
    pub fn make_room(&mut self, bytes_min: usize) -> Option<Room> {
        self.pending.as_mut()?.make_room(bytes_min)
    }

    /// Takes that memory back. Its last `added` bytes, perhaps none, were received: as much of them as belongs to the frame
    /// comes next in the stream. What is behind that is put into `tail`; gives how much it is. Memory of other origin, with room
    /// for a header, belongs to no frame.
    ///
    /// # Panics
    /// If that is more than a header.
    pub fn fill(&mut self, bytes: Vec<u8>, added: usize, tail: &mut [u8; FRAME_HEADER_BYTES_MAX]) -> usize {
        if let Some(pending) = self.pending.as_mut().filter(|pending| pending.has_lent()) {
            return pending.fill(bytes, added, tail);
        }
        tail[..added].copy_from_slice(&bytes[bytes.len() - added..]);
        added
    }

    /// Whether a part of the stream has been received in place: it is decoded by the next call, whatever its input.
    #[inline]
    pub fn is_filled(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.is_filled())
    }

    /// Memory held now beyond the decoder itself, for budgets: an incomplete frame or message.
    pub fn assembly_bytes(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.memory_bytes())
    }

    #[inline]
    fn limits(&self) -> &DecoderLimits {
        self.limits.as_deref().unwrap_or(&DecoderLimits::DEFAULT)
    }

    /// Where a frame ends that lies whole in the input, needs no other and breaks no rule. Anything else is left to
    /// [`decode_pieces`](Self::decode_pieces).
    #[inline]
    fn whole_frame_end(&self, header: &FrameHeader, header_bytes: usize, input_bytes: usize) -> Option<usize> {
        let stands_alone = header.fin && !header.rsv1 && header.opcode != Opcode::Continuation;
        let is_masked_right = header.mask.is_some() == (self.role == Role::Server);
        let payload_bytes = usize::try_from(header.payload_bytes).ok()?;
        let fits = payload_bytes <= input_bytes - header_bytes
            && (header.opcode.is_control()
                || (payload_bytes <= self.limits().message_bytes_max
                    && header.payload_bytes <= self.limits().frame_bytes_max));
        (stands_alone && is_masked_right && fits).then_some(header_bytes + payload_bytes)
    }

    /// The general path: any frame, in any number of pieces.
    fn decode_pieces<'a>(
        &'a mut self,
        input: &'a mut [u8],
        extension: Option<&mut (dyn Extension + 'static)>,
        spare: Option<&mut Vec<u8>>,
    ) -> Result<Step<'a>, Violation> {
        let mut none = Vec::new();
        let spare = spare.unwrap_or(&mut none);
        self.release_into(spare);
        if self.ended || (input.is_empty() && !self.is_filled()) {
            return Ok(Step { consumed: input.len(), event: None });
        }
        let limits = self.limits.as_deref().unwrap_or(&DecoderLimits::DEFAULT);
        let pending = self.pending.get_or_insert_default();
        let advanced = pending.advance(input, self.role, limits, extension, spare);
        let (consumed, found) = advanced.inspect_err(|_| {
            self.ended = true;
            self.pending = None;
        })?;
        let event = match (found, &mut self.pending) {
            (Found::Message, Some(pending)) => pending.hand_out().map(Event::Message),
            (Found::Control(opcode), Some(pending)) => {
                self.ended |= opcode == Opcode::Close;
                Some(control_event(opcode, pending.control())?)
            }
            (Found::Nothing, _) | (_, None) => None,
        };
        Ok(Step { consumed, event })
    }
}

/// What a control frame says.
fn control_event(opcode: Opcode, payload: &[u8]) -> Result<Event<'_>, Violation> {
    match opcode {
        Opcode::Ping => Ok(Event::Ping(payload)),
        Opcode::Pong => Ok(Event::Pong(payload)),
        _ => CloseFrame::parse(payload).map(Event::Close),
    }
}

#[cfg(test)]
mod tests;
