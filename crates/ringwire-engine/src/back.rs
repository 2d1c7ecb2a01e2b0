//! Messages that go back to their senders from where they are.
//!
//! A message that came in several pieces was put together in memory of its own, with room for a header in front. When the
//! handler sends that very message back, its memory becomes a part of the turn's arena, and is used again for the next
//! such message. So an echo of a long message is copied once, by the way of unmasking it. Whatever else must go out
//! before or behind it, the order stays that in which the handler has sent.

use ringwire_codec::{Decoder, FrameHeader, Message, Opcode, frame_bytes};
use ringwire_ring::{Data, Driver};

use crate::context::{Context, MessageKind, SendError};
use crate::excess::Rest;
use crate::handler::Handler;
use crate::shard::Shard;
use crate::slab::ConnectionId;

/// Shorter messages are copied: that costs less than to look.
const BACK_BYTES_MIN: usize = 4096;
/// Most memory of a transmission that is used again.
const REUSED_BYTES_MAX: usize = 1024 * 1024;
/// Inputs after which memory for messages is freed if none has used it: what a burst needed is not kept for ever.
const SPARE_INPUTS: u32 = 4096;

/// What a shard knows of the message that a handler is looking at, and what memory it has for the next one.
#[derive(Debug, Default)]
pub(crate) struct Back {
    /// The message that was put together, while the handler has it: on which connection, where, how long.
    lent: Option<(u32, usize, usize)>,
    /// It is to go back as this.
    wanted: Option<Opcode>,
    /// Memory for messages that must be put together.
    spare: Vec<u8>,
    /// Inputs since that was last used.
    inputs: u32,
}

impl Back {
    /// A message goes to the handler. `input`: where what was received begins and ends; it was not put together there.
    #[inline]
    pub(crate) fn lend(&mut self, slot: u32, message: &Message<'_>, input: (usize, usize)) {
        let bytes = message.bytes();
        self.lent = None;
        if bytes.len() >= BACK_BYTES_MIN {
            let at = bytes.as_ptr().addr();
            self.lent = (at < input.0 || at >= input.1).then_some((slot, at, bytes.len()));
        }
    }

    /// Takes the memory of a transmission that is done, if there is none.
    pub(crate) fn reuse(&mut self, data: Data) {
        if let Data::Owned { mut bytes, .. } = data
            && self.spare.capacity() == 0
            && (BACK_BYTES_MIN..=REUSED_BYTES_MAX).contains(&bytes.capacity())
        {
            bytes.clear();
            self.spare = bytes;
        }
    }

    /// Puts by what an input has left of the [`spare`](Shard::spare) memory that was `at` this place.
    #[inline]
    pub(crate) fn put_by(&mut self, spare: Vec<u8>, at: *const u8) {
        self.inputs = if spare.as_ptr() == at { self.inputs + 1 } else { 0 };
        self.spare = spare;
        if self.inputs == SPARE_INPUTS {
            (self.spare, self.inputs) = (Vec::new(), 0);
        }
    }
}

impl<M> Context<'_, M> {
    /// Sends a message that has just come in back to its sender, or on to another connection. The same as
    /// [`send`](Self::send), but that a long message may go back without being copied.
    pub fn send_back(&mut self, connection: ConnectionId, message: Message<'_>) -> Result<(), SendError> {
        let bytes = message.bytes();
        let is_lent = self.core.back.lent == Some((connection.slot, bytes.as_ptr().addr(), bytes.len()));
        if is_lent && self.may_go_from_its_place(connection, bytes.len()) {
            self.core.admit_message(connection)?;
            self.core.back.wanted = Some(message.opcode());
            self.core.back.lent = None;
            return Ok(());
        }
        let kind = if message.is_text() { MessageKind::Text } else { MessageKind::Binary };
        self.send(connection, kind, bytes)
    }

    /// Whether what this connection sends needs no change, nothing is before it, and it is not too long to be tried.
    fn may_go_from_its_place(&mut self, connection: ConnectionId, payload_bytes: usize) -> bool {
        let lone = self.core.options.limits.lone_bytes_max();
        frame_bytes(payload_bytes, false) <= lone
            && self.core.live(connection).is_some_and(|found| {
                let is_plain = found.tls.is_none() && found.extension().is_none();
                is_plain && !found.is_blocked() && found.staged.is_empty()
            })
    }
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Memory for a message of this connection, if it must be put together.
    pub(crate) fn spare(&mut self) -> Vec<u8> {
        let spare = std::mem::take(&mut self.core.back.spare);
        if spare.capacity() > 0 { spare } else { self.driver.stage().take_spare() }
    }

    /// The handler is done with a message: if it is to go back, its memory goes into this turn's arena.
    #[inline]
    pub(crate) fn send_lent(&mut self, slot: u32, decoder: &mut Decoder) {
        self.core.back.lent = None;
        if let Some(opcode) = self.core.back.wanted.take() {
            self.send_from_its_place(slot, opcode, decoder);
        }
    }

    fn send_from_its_place(&mut self, slot: u32, opcode: Opcode, decoder: &mut Decoder) {
        // Only what the decoder has put together is lent, and the handler has had no way to it.
        let (mut bytes, front) = decoder.take_message().expect("a message that was lent is still with its decoder");
        let payload_bytes = (bytes.len() - front) as u64;
        let header = FrameHeader { fin: true, rsv1: false, opcode, mask: None, payload_bytes }.encode();
        let start = front - header.len();
        bytes[start..front].copy_from_slice(&header);
        let connection = self.core.slab.at(slot);
        if connection.is_blocked() {
            // The handler has sent so much behind it that all of it must wait.
            let behind = connection.excess.take_backlog();
            connection.excess.backlog = Rest::new(bytes, start);
            connection.excess.backlog.extend_from_slice(behind.as_slice());
            return self.core.count(slot);
        }
        let behind = std::mem::take(&mut connection.staged);
        let mut stage = self.driver.stage();
        let behind = stage.bytes(&behind).to_vec();
        let mut staged = stage.adopt(bytes, start);
        stage.append(&mut staged, &[&behind]);
        self.core.slab.at(slot).staged = staged;
        self.core.list(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_no_message_uses_is_freed_in_the_end() {
        let mut back = Back::default();
        let mut live = |inputs, used: bool| {
            for _ in 0..inputs {
                let spare = std::mem::take(&mut back.spare);
                let at = spare.as_ptr();
                let left = if used { Vec::with_capacity(spare.capacity() + 1000) } else { spare };
                back.put_by(left, at);
            }
            back.spare.capacity()
        };
        assert_eq!(live(1, true), 1000);
        assert_eq!(live(SPARE_INPUTS - 1, false), 1000);
        assert_eq!(live(1, true), 2000, "used just in time");
        assert_eq!(live(SPARE_INPUTS - 1, false), 2000);
        assert_eq!(live(1, false), 0);
    }
}
