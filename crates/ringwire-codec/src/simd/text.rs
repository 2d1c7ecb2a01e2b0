//! Text that is UTF-8 by construction, whole or put together from pieces.
//!
//! [`Text`] is made in two ways: by validating a slice, perhaps while it is unmasked, and by [`Assembly::finish`], whose bytes only ever grew
//! through [`Utf8Stream`], or are validated there as a whole if they were [lent](Assembly::lend) meanwhile. Nothing else in the crate can make one, which is what its one line of `unsafe` rests on.

use std::fmt;

use crate::extension::{Extension, Output};
use crate::frame::FRAME_HEADER_BYTES_MAX;
use crate::mask::unmask_telling_ascii;
use crate::utf8::{self, Utf8Stream};
use crate::{MaskKey, Message, Violation, simd};

/// The payload of a text message. It is UTF-8.
pub struct Text<'a> {
    /// Valid UTF-8, and not lent out for writing.
    bytes: &'a mut [u8],
}

impl<'a> Text<'a> {
    /// `bytes` as text, or `None` if they are not UTF-8.
    #[inline]
    pub fn new(bytes: &'a mut [u8]) -> Option<Self> {
        utf8::validate(bytes).then_some(Self { bytes })
    }

    /// `masked` as text, unmasked in place, or `None` if that is not UTF-8.
    #[inline]
    pub(crate) fn unmask(masked: &'a mut [u8], key: MaskKey) -> Option<Self> {
        (unmask_telling_ascii(masked, key) || simd::utf8_is_valid(masked)).then_some(Self { bytes: masked })
    }

    /// The text.
    #[inline]
    pub fn as_str(&self) -> &str {
        // SAFETY: `bytes` were validated when this value was made and nobody could write to them since.
        unsafe { std::str::from_utf8_unchecked(self.bytes) }
    }

    /// The text's bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes
    }

    /// The bytes, to be parsed in place.
    #[inline]
    pub fn into_bytes(self) -> &'a mut [u8] {
        self.bytes
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// A message that arrives in pieces. Text is validated as it grows.
#[derive(Debug)]
pub(crate) struct Assembly {
    /// Room for a header, then the message. An extension's message begins at the front: it sees what it has written.
    bytes: Vec<u8>,
    room: usize,
    /// How many bytes at the end were received there and are still as they came.
    raw: usize,
    /// For text: what the end of `bytes` leaves open. All before it, less what is raw, is valid, if it was never lent.
    text: Option<Utf8Stream>,
    /// The memory was lent: who had it may have changed anything.
    was_lent: bool,
}

impl Assembly {
    /// A message that is transformed, or comes as it is; that one takes the `spare` memory if it is worth it for so many
    /// announced bytes.
    pub(crate) fn new(is_text: bool, is_transformed: bool, announced_bytes: u64, spare: &mut Vec<u8>) -> Self {
        let text = is_text.then(Utf8Stream::new);
        if is_transformed {
            return Self { bytes: Vec::new(), room: 0, raw: 0, text, was_lent: false };
        }
        // Nothing is lent beyond four times of what the header promises, whether or not that comes: memory in which such
        // a message was staged with room to grow has twice its length, and must do for the next.
        let is_worth_it = spare.capacity() > 0 && announced_bytes >= spare.capacity() as u64 / 4;
        let mut bytes = if is_worth_it { std::mem::take(spare) } else { Vec::new() };
        bytes.clear();
        Self { bytes, room: HEADER_ROOM_BYTES, raw: 0, text, was_lent: false }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len().saturating_sub(self.room)
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Appends `piece`. `more_bytes` of the message are known to follow it, and nothing else, or it is not known what
    /// follows. Memory grows with what came, never ahead of it by more than as much again; as much, unless the end is
    /// nearer, so that a message in small pieces is not moved with each.
    pub(crate) fn append(&mut self, piece: &[u8], more_bytes: Option<usize>) -> Result<(), Violation> {
        if piece.is_empty() {
            return Ok(());
        }
        let front = self.front();
        if self.bytes.capacity() - self.bytes.len() < front + piece.len() {
            let ahead = (self.len() + piece.len()).saturating_mul(2).max(MIN_BYTES) - self.len();
            let missing = more_bytes.map_or(usize::MAX, |more_bytes| piece.len().saturating_add(more_bytes));
            self.bytes.reserve_exact(front.saturating_add(missing.min(ahead)));
        }
        self.bytes.resize(self.bytes.len() + front, 0);
        self.bytes.extend_from_slice(piece);
        self.validate_last(piece.len())
    }

    /// Bytes that the front of the memory still lacks before the message begins.
    fn front(&self) -> usize {
        self.room.saturating_sub(self.bytes.len())
    }

    /// Lends its memory, behind whose bytes there is room to receive more of the message, up to `missing` bytes, and a
    /// header behind these; until it is [filled](Self::fill). It may be as long as the message is so far, or `ahead_bytes`.
    pub(crate) fn lend(&mut self, missing: usize, ahead_bytes: usize) -> Room {
        debug_assert_eq!(self.raw, 0, "what came before has been looked at");
        let front = self.front();
        let wanted = missing.min(self.len().max(ahead_bytes)).saturating_add(FRAME_HEADER_BYTES_MAX);
        self.was_lent = true;
        self.bytes.reserve_exact(front.saturating_add(wanted));
        self.bytes.resize(self.bytes.len() + front, 0);
        let bytes = std::mem::take(&mut self.bytes);
        let most = missing.saturating_add(FRAME_HEADER_BYTES_MAX).min(bytes.capacity() - bytes.len());
        Room { bytes, most }
    }

    /// Takes back what was lent. The last `raw` bytes were received there.
    pub(crate) fn fill(&mut self, bytes: Vec<u8>, raw: usize) {
        (self.bytes, self.raw) = (bytes, raw);
    }

    /// How many bytes have been received in place and not been looked at.
    pub(crate) fn raw(&self) -> usize {
        self.raw
    }

    /// Looks at the next `bytes` of those, which `unmask` makes readable.
    pub(crate) fn accept(&mut self, bytes: usize, unmask: impl FnOnce(&mut [u8])) -> Result<(), Violation> {
        let start = self.bytes.len() - self.raw;
        let piece = &mut self.bytes[start..start + bytes];
        unmask(piece);
        self.raw -= bytes;
        let Some(stream) = &mut self.text else { return Ok(()) };
        stream.push(piece).map_err(|_| Violation::TextNotUtf8)
    }

    /// Appends what `extension` makes of `piece`, up to a message of `message_bytes_max`.
    pub(crate) fn append_through(
        &mut self,
        extension: &mut dyn Extension,
        piece: &[u8],
        last: bool,
        message_bytes_max: usize,
    ) -> Result<(), Violation> {
        debug_assert!(self.room == 0, "an extension sees what it has written, and nothing else");
        let before = self.bytes.len();
        let decoded = extension.decode(piece, last, &mut Output::new(&mut self.bytes, message_bytes_max));
        // What was written before an error counts first, or the answer would depend on where the stream was split.
        self.validate_last(self.bytes.len() - before)?;
        Ok(decoded?)
    }

    fn validate_last(&mut self, added_bytes: usize) -> Result<(), Violation> {
        let Some(stream) = &mut self.text else { return Ok(()) };
        stream.push(&self.bytes[self.bytes.len() - added_bytes..]).map_err(|_| Violation::TextNotUtf8)
    }

    /// The whole message. Fails if text ends within a character.
    pub(crate) fn finish(self) -> Result<Finished, Violation> {
        if let Some(stream) = &self.text {
            stream.finish().map_err(|_| Violation::TextNotUtf8)?;
        }
        let front = self.room.min(self.bytes.len());
        if self.was_lent && self.text.is_some() && !utf8::validate(&self.bytes[front..]) {
            return Err(Violation::TextNotUtf8);
        }
        Ok(Finished { bytes: self.bytes, front, is_valid_text: self.text.is_some() })
    }
}

/// A message put together, for the time that it is handed out.
#[derive(Debug)]
pub(crate) struct Finished {
    bytes: Vec<u8>,
    /// Bytes before the message.
    front: usize,
    /// Cleared when the bytes are lent out, since who borrows them may write to them.
    is_valid_text: bool,
}

impl Finished {
    pub(crate) fn hand_out(&mut self) -> Message<'_> {
        let bytes = &mut self.bytes[self.front..];
        if std::mem::take(&mut self.is_valid_text) { Message::Text(Text { bytes }) } else { Message::Binary(bytes) }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The memory, and where in it the message begins.
    pub(crate) fn into_parts(self) -> (Vec<u8>, usize) {
        (self.bytes, self.front)
    }
}

/// Memory to receive the rest of a message in, where it is put together.
#[derive(Debug)]
pub struct Room {
    /// What there is of the message. More of it is received into the spare capacity.
    pub bytes: Vec<u8>,
    /// At most so much, of which there is spare capacity: what is missing, and a header behind it.
    pub most: usize,
}

/// The first allocation of an assembly, unless less is enough.
const MIN_BYTES: usize = 512;
/// Room in front of a message for the header of a frame from a server, so that it can go back from where it is.
const HEADER_ROOM_BYTES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_made_of_utf8_only() {
        assert_eq!(Text::new(&mut "жук".to_owned().into_bytes()).unwrap().as_str(), "жук");
        assert!(Text::new(&mut [0xC3, 0x28]).is_none());
    }

    #[test]
    fn an_assembly_ending_within_a_character_is_refused() {
        let mut assembly = Assembly::new(true, false, 0, &mut Vec::new());
        assembly.append("ж".as_bytes().split_last().unwrap().1, Some(1)).unwrap();
        assert_eq!(assembly.finish().unwrap_err(), Violation::TextNotUtf8);
    }

    #[test]
    fn text_is_handed_out_as_text_once() {
        let mut assembly = Assembly::new(true, false, 0, &mut Vec::new());
        assembly.append(b"abc", Some(0)).unwrap();
        let mut finished = assembly.finish().unwrap();
        let Message::Text(text) = finished.hand_out() else { panic!("a text message") };
        text.into_bytes().fill(0xFF);
        assert!(matches!(finished.hand_out(), Message::Binary(_)), "its bytes may have been written to");
    }

    #[test]
    fn memory_grows_with_the_data_and_not_with_the_length_in_the_header() {
        let mut assembly = Assembly::new(false, false, 0, &mut Vec::new());
        assembly.append(&[1; 100], Some(1 << 30)).unwrap();
        assert!(assembly.capacity() <= MIN_BYTES + HEADER_ROOM_BYTES, "{}", assembly.capacity());
        assembly.append(&[1; 1000], Some(1 << 30)).unwrap();
        assert!(assembly.capacity() <= 2 * assembly.len() + HEADER_ROOM_BYTES, "{}", assembly.capacity());
        let mut whole = Assembly::new(false, false, 0, &mut Vec::new());
        whole.append(&[1; 700], Some(300)).unwrap();
        whole.append(&[1; 300], Some(0)).unwrap();
        assert_eq!(
            whole.capacity(),
            1000 + HEADER_ROOM_BYTES,
            "the end of the message is known, so no more than the message"
        );
    }

    #[test]
    fn a_message_of_many_small_fragments_is_moved_seldom() {
        let mut assembly = Assembly::new(false, false, 0, &mut Vec::new());
        let mut moves = 0;
        for _ in 0..100_000 {
            let before = assembly.capacity();
            assembly.append(&[1], None).unwrap();
            moves += usize::from(assembly.capacity() != before);
        }
        assert!(moves <= 10, "{moves} moves");
    }

    #[test]
    fn spare_memory_is_taken_for_messages_that_are_long_enough_for_it() {
        let mut spare = Vec::with_capacity(1000);
        let short = Assembly::new(false, false, 249, &mut spare);
        assert_eq!((short.capacity(), spare.capacity()), (0, 1000));
        let transformed = Assembly::new(false, true, 1000, &mut spare);
        assert_eq!((transformed.capacity(), spare.capacity()), (0, 1000));
        let long = Assembly::new(false, false, 250, &mut spare);
        assert_eq!((long.capacity(), spare.capacity()), (1000, 0));
    }

    #[test]
    fn a_message_has_room_for_a_header_before_it() {
        let mut assembly = Assembly::new(false, false, 7, &mut Vec::new());
        assembly.append(b"mes", Some(4)).unwrap();
        assembly.append(b"sage", Some(0)).unwrap();
        let mut finished = assembly.finish().unwrap();
        assert_eq!(finished.hand_out().bytes(), b"message");
        let (bytes, front) = finished.into_parts();
        assert_eq!((&bytes[front..], front), (&b"message"[..], HEADER_ROOM_BYTES));
    }
}
