//! One connection's permessage-deflate.

use std::sync::Arc;

use super::compress::Compressor;
use super::inflate::Reader;
use super::pool::Pool;
use super::window::Window;
use super::{Parameters, WindowBits};
use crate::Role;
use crate::extension::{Extension, ExtensionError, Output};

/// What both sides agreed on, and the contexts that follow from it. Without context takeover, it owns nothing while
/// no message is under way.
#[derive(Debug)]
pub(super) struct Session {
    pool: Arc<Pool>,
    agreed: Parameters,
    role: Role,
    /// Of the message that is coming in.
    reader: Option<Box<Reader>>,
    /// With the peer's takeover: what it sent last.
    window: Option<Box<Window>>,
    /// With the own takeover: what was sent last.
    compressor: Option<Box<Compressor>>,
}

impl Session {
    pub(super) fn new(role: Role, agreed: Parameters, pool: Arc<Pool>) -> Self {
        Self { pool, agreed, role, reader: None, window: None, compressor: None }
    }

    /// Whether the own messages refer to those before, and how far.
    fn outbound(&self) -> (bool, WindowBits) {
        match self.role {
            Role::Server => (!self.agreed.server_no_context_takeover, self.agreed.server_max_window_bits),
            Role::Client => (!self.agreed.client_no_context_takeover, self.agreed.client_max_window_bits),
        }
    }

    /// The same of the peer's messages.
    fn inbound(&self) -> (bool, WindowBits) {
        match self.role {
            Role::Server => (!self.agreed.client_no_context_takeover, self.agreed.client_max_window_bits),
            Role::Client => (!self.agreed.server_no_context_takeover, self.agreed.server_max_window_bits),
        }
    }
}

impl Extension for Session {
    fn decode(&mut self, piece: &[u8], last: bool, out: &mut Output<'_>) -> Result<(), ExtensionError> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => {
                let mut reader = self.pool.reader();
                reader.begin(self.window.as_deref());
                reader
            }
        };
        let limit = &self.pool.options().inflation;
        let result = reader.read(piece, last, self.window.as_deref(), limit, out);
        if result.is_ok() && !last {
            self.reader = Some(reader);
            return Ok(());
        }
        self.pool.bring_back(reader);
        if let (Ok(()), (true, bits)) = (result, self.inbound()) {
            let window = self.window.get_or_insert_with(|| Box::new(Window::new(bits.window_bytes())));
            window.push(out.written());
        }
        result
    }

    fn encode(&mut self, payload: &[u8], out: &mut Vec<u8>) -> bool {
        let options = self.pool.options();
        let (takes_over, bits) = self.outbound();
        let threshold_bytes = if takes_over { options.takeover_threshold_bytes } else { options.threshold_bytes };
        if payload.len() < threshold_bytes.max(1) {
            return false;
        }
        if takes_over {
            let compressor = self.compressor.get_or_insert_with(|| Box::new(self.pool.compressor(bits)));
            compressor.compress_on(payload, out);
            return true;
        }
        // A message that is no longer than the window cannot refer beyond it, whatever the compressor's own is.
        let bits = if payload.len() <= bits.window_bytes() { WindowBits::MAX } else { bits };
        self.pool.with_compressor(bits, |compressor| compressor.compress_alone(payload, out))
    }

    fn memory_bytes(&self) -> usize {
        let window = self.window.as_ref().map_or(0, |window| size_of::<Window>() + window.memory_bytes());
        let compressor = self.compressor.as_ref().map_or(0, |compressor| compressor.memory_bytes());
        let reader = self.reader.as_ref().map_or(0, |_| Reader::MEMORY_BYTES);
        size_of::<Self>() + window + compressor + reader
    }

    fn deflate(&self) -> Option<Parameters> {
        Some(self.agreed)
    }
}
