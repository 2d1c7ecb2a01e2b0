//! What a stream leaves open between two inputs: part of a header, of a control frame, of a message.

use std::fmt;

use super::{DecoderLimits, Role};
use crate::extension::Extension;
use crate::frame::{CONTROL_PAYLOAD_BYTES_MAX, FRAME_HEADER_BYTES_MAX};
use crate::simd::text::{Assembly, Finished, Room};
use crate::{FrameHeader, MaskKey, Message, Opcode, Violation, unmask};

/// Everything in pieces. Exists only while there is something.
pub(super) struct Pending {
    header: [u8; FRAME_HEADER_BYTES_MAX],
    header_bytes: u8,
    control_bytes: u8,
    control: [u8; CONTROL_PAYLOAD_BYTES_MAX],
    frame: Option<Frame>,
    message: Option<Assembly>,
    /// The message's payload goes through the extension.
    is_transformed: bool,
    /// Payload bytes that the headers of this message announced.
    announced_bytes: u64,
    /// Frames of this message so far.
    fragments: u32,
    /// The message that the last event lent out.
    finished: Option<Finished>,
    /// The memory that is lent to be received in.
    lent_bytes: usize,
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

impl Frame {
    /// Unmasks the next piece of the payload.
    fn advance(&mut self, piece: &mut [u8]) {
        if let Some(key) = self.mask {
            unmask(piece, key);
            self.mask = Some(key.rotated(piece.len()));
        }
        self.remaining -= piece.len() as u64;
    }
}

/// Most memory of a message that is kept for another.
pub(super) const SPARE_BYTES_MAX: usize = 1024 * 1024;
/// Most memory that a message is received in before as much of it has come.
const BYTES_AHEAD_MAX: usize = 256 * 1024;
/// How much of a payload is unmasked at a time before it is copied: half of a first-level cache.
const TILE_BYTES: usize = 16 * 1024;

/// What [`Pending::advance`] came upon. The bytes stay in [`Pending`].
pub(super) enum Found {
    Nothing,
    Message,
    Control(Opcode),
}

impl Pending {
    /// Takes from `input` up to the end of one frame: what is missing of its header, then of its payload. Gives how
    /// many bytes that were.
    pub(super) fn advance(
        &mut self,
        input: &mut [u8],
        role: Role,
        limits: &DecoderLimits,
        extension: Option<&mut (dyn Extension + 'static)>,
        spare: &mut Vec<u8>,
    ) -> Result<(usize, Found), Violation> {
        let mut consumed = 0;
        let mut frame = match self.frame.take() {
            // What was received in place stands before `input`.
            Some(frame) if self.is_filled() => return Ok((0, self.take_filled(frame)?)),
            Some(frame) => frame,
            None => {
                let (taken, header) = self.take_header(input)?;
                consumed = taken;
                let Some(header) = header else { return Ok((consumed, Found::Nothing)) };
                self.admit(&header, role, limits, extension.is_some(), spare)?;
                Frame { opcode: header.opcode, fin: header.fin, mask: header.mask, remaining: header.payload_bytes }
            }
        };
        let rest = &mut input[consumed..];
        let piece_bytes = usize::try_from(frame.remaining).unwrap_or(usize::MAX).min(rest.len());
        let piece = &mut rest[..piece_bytes];
        let found = match extension {
            None if !frame.opcode.is_control() => self.take_tiles(&mut frame, piece, limits.message_bytes_max)?,
            extension => {
                frame.advance(piece);
                if frame.opcode.is_control() {
                    self.take_control(&frame, piece)
                } else {
                    self.take_payload(&frame, piece, extension, limits.message_bytes_max)?
                }
            }
        };
        if frame.remaining > 0 {
            self.frame = Some(frame);
        }
        Ok((consumed + piece_bytes, found))
    }

    /// Takes in a piece of a payload by tiles, so that what is unmasked is still in the first cache when it is copied.
    fn take_tiles(
        &mut self,
        frame: &mut Frame,
        piece: &mut [u8],
        message_bytes_max: usize,
    ) -> Result<Found, Violation> {
        if piece.len() <= TILE_BYTES {
            frame.advance(piece);
            return self.take_payload(frame, piece, None, message_bytes_max);
        }
        let mut found = Found::Nothing;
        for tile in piece.chunks_mut(TILE_BYTES) {
            frame.advance(tile);
            found = self.take_payload(frame, tile, None, message_bytes_max)?;
        }
        Ok(found)
    }

    /// Payload that a frame of a message lacks, if it is to lie there as it comes.
    fn missing_bytes(&self) -> usize {
        match &self.frame {
            Some(frame) if !frame.opcode.is_control() && !self.is_transformed => {
                usize::try_from(frame.remaining).unwrap_or(usize::MAX)
            }
            _ => 0,
        }
    }

    /// Bytes of a header that is not whole; none if a frame has begun.
    pub(super) fn header_bytes(&self) -> Option<usize> {
        self.frame.is_none().then_some(usize::from(self.header_bytes))
    }

    /// Memory to receive in what a frame lacks of its payload, if the message has at least so many bytes with that; of a
    /// fragment, if that by itself is so much, since it grows with each.
    pub(super) fn make_room(&mut self, bytes_min: usize) -> Option<Room> {
        let missing = self.missing_bytes();
        let is_last = self.frame.as_ref()?.fin;
        let message = self.message.as_mut()?;
        let bytes = if is_last { message.len() + missing } else { missing };
        if missing == 0 || message.raw() > 0 || bytes < bytes_min {
            return None;
        }
        let room = message.lend(missing, bytes_min.saturating_mul(4).min(BYTES_AHEAD_MAX));
        self.lent_bytes = room.bytes.capacity();
        Some(room)
    }

    pub(super) fn has_lent(&self) -> bool {
        self.lent_bytes > 0
    }

    /// Takes that memory back, with so many bytes `added`. Gives how many bytes behind the frame's end are in `tail` now.
    pub(super) fn fill(&mut self, mut bytes: Vec<u8>, added: usize, tail: &mut [u8; FRAME_HEADER_BYTES_MAX]) -> usize {
        self.lent_bytes = 0;
        let (Some(frame), Some(message)) = (&self.frame, &mut self.message) else { return 0 };
        let raw = usize::try_from(frame.remaining).unwrap_or(usize::MAX).min(added);
        let (behind, end) = (added - raw, bytes.len() - (added - raw));
        tail[..behind].copy_from_slice(&bytes[end..]);
        bytes.truncate(end);
        message.fill(bytes, raw);
        behind
    }

    /// Whether payload was received in place and has not been looked at.
    pub(super) fn is_filled(&self) -> bool {
        self.message.as_ref().is_some_and(|message| message.raw() > 0)
    }

    /// Looks at the payload that was received in place, by tiles.
    fn take_filled(&mut self, mut frame: Frame) -> Result<Found, Violation> {
        let message = self.message.as_mut().expect("a message was filled");
        while message.raw() > 0 {
            message.accept(message.raw().min(TILE_BYTES), |tile| frame.advance(tile))?;
        }
        let is_last = frame.fin && frame.remaining == 0;
        if frame.remaining > 0 {
            self.frame = Some(frame);
        }
        self.find(is_last)
    }

    /// The payload of the control frame that was found.
    pub(super) fn control(&self) -> &[u8] {
        &self.control[..usize::from(self.control_bytes)]
    }

    /// The message that was found.
    pub(super) fn hand_out(&mut self) -> Option<Message<'_>> {
        self.finished.as_mut().map(Finished::hand_out)
    }

    /// The memory of the message that the last event lent out, and where in it that begins.
    pub(super) fn take_finished(&mut self) -> Option<(Vec<u8>, usize)> {
        self.finished.take().map(Finished::into_parts)
    }

    /// Takes back what the last event lent out, into `spare` if that has less; gives whether anything is left.
    pub(super) fn release(&mut self, spare: &mut Vec<u8>) -> bool {
        if let Some((mut bytes, _)) = self.take_finished()
            && (spare.capacity() + 1..=SPARE_BYTES_MAX).contains(&bytes.capacity())
        {
            bytes.clear();
            *spare = bytes;
        }
        self.header_bytes > 0 || self.frame.is_some() || self.message.is_some()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let message = self.message.as_ref().map_or(0, Assembly::capacity);
        size_of::<Self>() + message + self.lent_bytes + self.finished.as_ref().map_or(0, Finished::capacity)
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

    /// The rules that depend on the role, on the frames before, on limits and extension.
    fn admit(
        &mut self,
        header: &FrameHeader,
        role: Role,
        limits: &DecoderLimits,
        has_extension: bool,
        spare: &mut Vec<u8>,
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
        match header.opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => {
                self.control_bytes = 0;
                return Ok(());
            }
            Opcode::Continuation if self.message.is_none() => return Err(Violation::NothingToContinue),
            Opcode::Text | Opcode::Binary if self.message.is_some() => return Err(Violation::MessageInterrupted),
            Opcode::Continuation => {}
            Opcode::Text | Opcode::Binary => self.start(header, spare),
        }
        if header.payload_bytes > limits.frame_bytes_max {
            return Err(Violation::FrameTooBig);
        }
        self.fragments += 1;
        if self.fragments > limits.fragments_max {
            return Err(Violation::TooManyFragments);
        }
        self.announced_bytes = self.announced_bytes.saturating_add(header.payload_bytes);
        // What a transformed message becomes is bounded where it is written.
        let bytes_max = if self.is_transformed { limits.frame_bytes_max } else { limits.message_bytes_max as u64 };
        if self.announced_bytes > bytes_max { Err(Violation::MessageTooBig) } else { Ok(()) }
    }

    fn start(&mut self, header: &FrameHeader, spare: &mut Vec<u8>) {
        let is_text = header.opcode == Opcode::Text;
        self.message = Some(Assembly::new(is_text, header.rsv1, header.payload_bytes, spare));
        self.is_transformed = header.rsv1;
        self.announced_bytes = 0;
        self.fragments = 0;
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
            // Only behind the last frame is it known that nothing follows.
            _ => message.append(piece, frame.fin.then(|| usize::try_from(frame.remaining).unwrap_or(usize::MAX)))?,
        }
        self.find(is_last)
    }

    /// The message is whole, or not.
    fn find(&mut self, is_last: bool) -> Result<Found, Violation> {
        if !is_last {
            return Ok(Found::Nothing);
        }
        let message = self.message.take().expect("a frame of a message has one");
        self.finished = Some(message.finish()?);
        Ok(Found::Message)
    }
}

impl Default for Pending {
    fn default() -> Self {
        Self {
            header: [0; FRAME_HEADER_BYTES_MAX],
            header_bytes: 0,
            control_bytes: 0,
            control: [0; CONTROL_PAYLOAD_BYTES_MAX],
            frame: None,
            message: None,
            is_transformed: false,
            announced_bytes: 0,
            fragments: 0,
            finished: None,
            lent_bytes: 0,
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
