//! Bytes in, events out: frames, in any split of the stream, become messages and control events.
//!
//! A frame that lies whole in the input is unmasked where it lies and handed out from there. Everything else, a
//! frame in pieces or a message in fragments, is put together in one allocation that lives no longer than it is
//! needed ([`Pending`]). The order of checks follows the order of bytes, so every split of a stream gives the same
//! events and the same [`Violation`].
//!
//! What this module must never do: allocate what a header promises before the bytes are there; let a message grow
//! over its limit; give an event after the one that ended the connection.

use std::fmt;

use crate::extension::Extension;
use crate::frame::{CONTROL_PAYLOAD_BYTES_MAX, FRAME_HEADER_BYTES_MAX};
use crate::simd::text::{Assembly, Finished};
use crate::{CloseFrame, FrameHeader, MaskKey, Opcode, Text, Violation, unmask};

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
}

impl Default for DecoderLimits {
    /// 17 MiB for both: a message of 16 MiB with its envelope.
    fn default() -> Self {
        Self { frame_bytes_max: 17 << 20, message_bytes_max: 17 << 20 }
    }
}

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

/// Decodes one direction of one connection. Idle, it owns nothing but itself (and its extension).
#[derive(Debug, Default)]
pub struct Decoder {
    limits: DecoderLimits,
    extension: Option<Box<dyn Extension>>,
    pending: Option<Box<Pending>>,
    role: Role,
    /// The peer's close frame or a violation came: the rest of the stream has no meaning.
    ended: bool,
}

impl Decoder {
    /// A decoder for the stream that an endpoint of this role receives.
    pub fn new(role: Role, limits: DecoderLimits) -> Self {
        Self { limits, role, ..Self::default() }
    }

    /// The same with an extension, which now owns RSV1.
    #[must_use]
    pub fn with_extension(self, extension: Box<dyn Extension>) -> Self {
        Self { extension: Some(extension), ..self }
    }

    /// The extension, for the direction out.
    pub fn extension_mut(&mut self) -> Option<&mut (dyn Extension + 'static)> {
        self.extension.as_deref_mut()
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
        if self.pending.is_none()
            && !self.ended
            && let Ok(Some((header, header_bytes))) = FrameHeader::parse(input)
            && let Some(end) = self.whole_message_end(&header, header_bytes, input.len())
        {
            let payload = &mut input[header_bytes..end];
            if let Some(key) = header.mask {
                unmask(payload, key);
            }
            let message = if header.opcode == Opcode::Text {
                let Some(text) = Text::new(payload) else {
                    self.ended = true;
                    return Err(Violation::TextNotUtf8);
                };
                Message::Text(text)
            } else {
                Message::Binary(payload)
            };
            return Ok(Step { consumed: end, event: Some(Event::Message(message)) });
        }
        self.decode_any(input)
    }

    /// Frees the message that the last event borrowed, if it was put together here, and whatever else is no longer
    /// needed. To be called when the input is used up, so that an idle connection owns no buffer.
    #[inline]
    pub fn release(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.finished = None;
            if !pending.is_needed() {
                self.pending = None;
            }
        }
    }

    /// Memory held now beyond the decoder itself, for budgets: an incomplete frame or message, and the extension's.
    pub fn assembly_bytes(&self) -> usize {
        let pending = self.pending.as_ref().map_or(0, |pending| pending.memory_bytes());
        pending + self.extension.as_ref().map_or(0, |extension| extension.memory_bytes())
    }

    /// Where a frame ends that is a whole message, lies in the input and breaks no rule. Anything else is left to
    /// [`decode_any`](Self::decode_any).
    #[inline]
    fn whole_message_end(&self, header: &FrameHeader, header_bytes: usize, input_bytes: usize) -> Option<usize> {
        let is_message = header.fin && !header.rsv1 && matches!(header.opcode, Opcode::Text | Opcode::Binary);
        let is_masked_right = header.mask.is_some() == (self.role == Role::Server);
        let payload_bytes = usize::try_from(header.payload_bytes).ok()?;
        let fits = payload_bytes <= input_bytes - header_bytes
            && payload_bytes <= self.limits.message_bytes_max
            && header.payload_bytes <= self.limits.frame_bytes_max;
        (is_message && is_masked_right && fits).then_some(header_bytes + payload_bytes)
    }

    /// The general path: any frame, in any number of pieces.
    fn decode_any<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Step<'a>, Violation> {
        self.release();
        if self.ended || input.is_empty() {
            return Ok(Step { consumed: input.len(), event: None });
        }
        let (consumed, found) = self.advance(input).inspect_err(|_| self.end())?;
        let event = match found {
            Found::Nothing => None,
            Found::Message => {
                let finished = self.pending.as_mut().and_then(|pending| pending.finished.as_mut());
                finished.map(|finished| Event::Message(finished.hand_out()))
            }
            Found::Control(opcode) => {
                self.ended = opcode == Opcode::Close;
                let payload = self.pending.as_ref().map_or(&[][..], |pending| pending.control());
                Some(match opcode {
                    Opcode::Ping => Event::Ping(payload),
                    Opcode::Pong => Event::Pong(payload),
                    _ => Event::Close(CloseFrame::parse(payload)?),
                })
            }
        };
        Ok(Step { consumed, event })
    }

    /// Ends the stream for good.
    fn end(&mut self) {
        self.ended = true;
        self.pending = None;
    }

    /// Takes from `input` up to the end of one frame: what is missing of its header, then of its payload.
    fn advance(&mut self, input: &mut [u8]) -> Result<(usize, Found), Violation> {
        let pending = self.pending.get_or_insert_default();
        let mut consumed = 0;
        let mut frame = match pending.frame.take() {
            Some(frame) => frame,
            None => {
                let (taken, header) = pending.take_header(input)?;
                consumed = taken;
                let Some(header) = header else { return Ok((consumed, Found::Nothing)) };
                admit(&header, pending, self.role, &self.limits, self.extension.is_some())?;
                Frame::from(header)
            }
        };
        let rest = &mut input[consumed..];
        let piece_bytes = usize::try_from(frame.remaining).unwrap_or(usize::MAX).min(rest.len());
        let piece = &mut rest[..piece_bytes];
        if let Some(key) = frame.mask {
            unmask(piece, key);
            frame.mask = Some(key.rotated(piece_bytes));
        }
        frame.remaining -= piece_bytes as u64;
        consumed += piece_bytes;

        let found = if frame.opcode.is_control() {
            pending.take_control(&frame, piece)
        } else {
            pending.take_payload(&frame, piece, self.extension.as_deref_mut(), self.limits.message_bytes_max)?
        };
        if frame.remaining > 0 {
            pending.frame = Some(frame);
        }
        Ok((consumed, found))
    }
}

/// What depends on the role, the frames before and the limits.
fn admit(
    header: &FrameHeader,
    pending: &mut Pending,
    role: Role,
    limits: &DecoderLimits,
    has_extension: bool,
) -> Result<(), Violation> {
    match (role, header.mask) {
        (Role::Server, None) => return Err(Violation::UnmaskedFromClient),
        (Role::Client, Some(_)) => return Err(Violation::MaskedFromServer),
        (Role::Server, Some(_)) | (Role::Client, None) => {}
    }
    let starts_message = matches!(header.opcode, Opcode::Text | Opcode::Binary);
    if header.rsv1 && !(has_extension && starts_message) {
        return Err(Violation::UnexpectedRsv1);
    }
    if header.opcode.is_control() {
        pending.control_bytes = 0;
        return Ok(());
    }
    match (&pending.message, header.opcode) {
        (None, Opcode::Continuation) => return Err(Violation::NothingToContinue),
        (Some(_), Opcode::Text | Opcode::Binary) => return Err(Violation::MessageInterrupted),
        _ => {}
    }
    if header.payload_bytes > limits.frame_bytes_max {
        return Err(Violation::FrameTooBig);
    }
    if starts_message {
        let assembly = if header.opcode == Opcode::Text { Assembly::text() } else { Assembly::binary() };
        pending.message = Some(assembly);
        pending.is_transformed = header.rsv1;
        pending.transformed_bytes = 0;
    }
    let before = match &pending.message {
        Some(_) if pending.is_transformed => pending.transformed_bytes,
        Some(message) => message.len() as u64,
        None => 0,
    };
    let after = before.saturating_add(header.payload_bytes);
    let bytes_max = if pending.is_transformed { limits.frame_bytes_max } else { limits.message_bytes_max as u64 };
    if after > bytes_max {
        return Err(Violation::MessageTooBig);
    }
    pending.transformed_bytes = after;
    Ok(())
}

/// What [`Decoder::advance`] came upon. The bytes are in [`Pending`].
enum Found {
    Nothing,
    Message,
    Control(Opcode),
}

/// What is left of a frame.
#[derive(Debug)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    /// The key for the next byte.
    mask: Option<MaskKey>,
    remaining: u64,
}

impl From<FrameHeader> for Frame {
    fn from(header: FrameHeader) -> Self {
        Self { opcode: header.opcode, fin: header.fin, mask: header.mask, remaining: header.payload_bytes }
    }
}

/// All that a stream leaves open between two inputs.
struct Pending {
    header: [u8; FRAME_HEADER_BYTES_MAX],
    header_bytes: u8,
    control_bytes: u8,
    control: [u8; CONTROL_PAYLOAD_BYTES_MAX],
    /// The message's payload goes through the extension.
    is_transformed: bool,
    /// Payload bytes that the headers of this message have announced.
    transformed_bytes: u64,
    frame: Option<Frame>,
    message: Option<Assembly>,
    /// The message that the last event lent out.
    finished: Option<Finished>,
}

impl Default for Pending {
    fn default() -> Self {
        Self {
            header: [0; FRAME_HEADER_BYTES_MAX],
            header_bytes: 0,
            control_bytes: 0,
            control: [0; CONTROL_PAYLOAD_BYTES_MAX],
            is_transformed: false,
            transformed_bytes: 0,
            frame: None,
            message: None,
            finished: None,
        }
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("frame", &self.frame)
            .field("message_bytes", &self.message.as_ref().map(Assembly::len))
            .finish_non_exhaustive()
    }
}

impl Pending {
    fn is_needed(&self) -> bool {
        self.header_bytes > 0 || self.frame.is_some() || self.message.is_some()
    }

    fn memory_bytes(&self) -> usize {
        let message = self.message.as_ref().map_or(0, Assembly::capacity);
        size_of::<Self>() + message + self.finished.as_ref().map_or(0, Finished::capacity)
    }

    fn control(&self) -> &[u8] {
        &self.control[..usize::from(self.control_bytes)]
    }

    /// Completes the header from `input`; gives how many bytes it took.
    fn take_header(&mut self, input: &[u8]) -> Result<(usize, Option<FrameHeader>), Violation> {
        let had = usize::from(self.header_bytes);
        let added = input.len().min(FRAME_HEADER_BYTES_MAX - had);
        self.header[had..had + added].copy_from_slice(&input[..added]);
        let Some((header, header_bytes)) = FrameHeader::parse(&self.header[..had + added])? else {
            self.header_bytes += added as u8;
            return Ok((added, None));
        };
        self.header_bytes = 0;
        Ok((header_bytes - had, Some(header)))
    }

    fn take_control(&mut self, frame: &Frame, piece: &[u8]) -> Found {
        let had = usize::from(self.control_bytes);
        self.control[had..had + piece.len()].copy_from_slice(piece);
        self.control_bytes += piece.len() as u8;
        if frame.remaining == 0 { Found::Control(frame.opcode) } else { Found::Nothing }
    }

    fn take_payload(
        &mut self,
        frame: &Frame,
        piece: &[u8],
        extension: Option<&mut (dyn Extension + 'static)>,
        message_bytes_max: usize,
    ) -> Result<Found, Violation> {
        let message = self.message.as_mut().expect("a data frame is admitted with a message to add to");
        let is_last = frame.fin && frame.remaining == 0;
        match extension {
            Some(extension) if self.is_transformed => {
                message.append_through(extension, piece, is_last, message_bytes_max)?;
            }
            _ => message.append(piece, usize::try_from(frame.remaining).unwrap_or(usize::MAX))?,
        }
        if !is_last {
            return Ok(Found::Nothing);
        }
        let message = self.message.take().expect("the message was there above");
        self.finished = Some(message.finish()?);
        Ok(Found::Message)
    }
}

#[cfg(test)]
#[path = "decoder_tests.rs"]
mod tests;
