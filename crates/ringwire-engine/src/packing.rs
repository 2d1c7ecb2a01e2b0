//! Messages through their connection's extension on the way out.
//!
//! What the extension writes goes through one buffer of the shard, which is kept from message to message.

use ringwire_codec::{FrameHeader, Opcode, deflate};

use crate::context::Context;
use crate::slab::ConnectionId;

/// How much of the buffer is kept.
const SCRATCH_BYTES_KEPT: usize = 64 * 1024;

impl<M> Context<'_, M> {
    /// What the connection has agreed on of permessage-deflate (RFC 7692); none if it is not in use, or the connection
    /// has ended. Frames that a handler makes itself must keep to it.
    pub fn deflate(&mut self, connection: ConnectionId) -> Option<deflate::Parameters> {
        self.core.live(connection)?.extension()?.deflate()
    }

    /// Encodes a message behind what this connection already transmits, as its extension would have it.
    pub(crate) fn stage_message(&mut self, slot: u32, opcode: Opcode, payload: &[u8]) {
        let Some(extension) = self.core.slab.at(slot).extension() else {
            return self.stage_frame(slot, opcode, payload);
        };
        let mut packed = std::mem::take(&mut self.core.scratch);
        packed.clear();
        if extension.encode(payload, &mut packed) {
            let payload_bytes = packed.len() as u64;
            let header = FrameHeader { fin: true, rsv1: true, opcode, mask: None, payload_bytes };
            self.stage(slot, &[&header.encode(), &packed]);
            // Its first message may have made a context.
            self.core.count(slot);
        } else {
            self.stage_frame(slot, opcode, payload);
        }
        packed.shrink_to(SCRATCH_BYTES_KEPT);
        self.core.scratch = packed;
    }
}
