//! Inflating: one message, piece by piece, and never more of it than is allowed.

use std::fmt;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::window::Window;
use super::{InflationLimit, TAIL};
use crate::extension::{ExtensionError, Output};

/// Inflates one message after the other. What belongs to the connection, the window, is lent to it.
pub(super) struct Reader {
    inflate: Inflate,
    /// Compressed bytes taken of this message.
    taken_bytes: usize,
    /// Blocks of this message that said they were the last.
    final_blocks: u32,
    /// A block came that says it is the last (BFINAL). Others may follow it all the same (RFC 7692 §7.2.3.4).
    has_ended: bool,
}

impl Reader {
    /// What one takes: the library's window of 32 KiB and its tables.
    pub(super) const MEMORY_BYTES: usize = 48 * 1024;

    pub(super) fn new() -> Self {
        Self { inflate: Inflate::new(false, 15), taken_bytes: 0, final_blocks: 0, has_ended: false }
    }

    /// Begins a message that may refer to what is in `window`.
    pub(super) fn begin(&mut self, window: Option<&Window>) {
        (self.taken_bytes, self.final_blocks) = (0, 0);
        self.restart(window, &[]);
    }

    /// Takes the next piece of the message, and with the last its end.
    pub(super) fn read(
        &mut self,
        piece: &[u8],
        last: bool,
        window: Option<&Window>,
        limit: &InflationLimit,
        out: &mut Output<'_>,
    ) -> Result<(), ExtensionError> {
        self.take(piece, window, limit, out)?;
        if !last || self.has_ended || self.taken_bytes == 0 {
            return Ok(());
        }
        // Behind the tail that the sender took off, a block that says it is the last: the library takes it for the end
        // only if the message ended with a block.
        let written = out.written().len();
        self.take(&END, window, limit, out)?;
        let is_whole = self.has_ended && out.written().len() == written;
        if is_whole { Ok(()) } else { Err(ExtensionError::Malformed) }
    }

    /// Inflates all of `input`. The ratio is looked at in steps of the message's own bytes, so that it does not matter
    /// in which pieces they came.
    fn take(
        &mut self,
        mut input: &[u8],
        window: Option<&Window>,
        limit: &InflationLimit,
        out: &mut Output<'_>,
    ) -> Result<(), ExtensionError> {
        while !input.is_empty() {
            if self.has_ended {
                self.final_blocks += 1;
                if self.final_blocks >= FINAL_BLOCKS_MAX {
                    return Err(ExtensionError::Malformed);
                }
                self.restart(window, out.written());
            }
            let step_end = (self.taken_bytes / STEP_BYTES + 1) * STEP_BYTES;
            let step = &input[..input.len().min(step_end - self.taken_bytes)];
            let taken = self.step(step, limit.bytes_max(step_end), out)?;
            self.taken_bytes += taken;
            input = &input[taken..];
        }
        Ok(())
    }

    /// Inflates `input`, or as much as comes before a last block's end, into a message of at most `bytes_max`. Says how
    /// much it took.
    fn step(&mut self, input: &[u8], bytes_max: usize, out: &mut Output<'_>) -> Result<usize, ExtensionError> {
        let mut rest = input;
        let mut guess = (input.len() * RATIO_GUESS).max(ROOM_BYTES_MIN);
        loop {
            let may_write = bytes_max.saturating_sub(out.written().len()).min(out.remaining());
            let room_bytes = guess.min(may_write);
            let (status, taken, written) = if room_bytes > 0 {
                self.inflate_into(rest, room_bytes, out)?
            } else {
                // Nothing may be written: whether anything would be is seen in a byte that is thrown away.
                let result = self.inflate_some(rest, &mut [0]);
                if result.2 > 0 {
                    return Err(ExtensionError::TooBig);
                }
                (result.0?, result.1, 0)
            };
            rest = &rest[taken..];
            self.has_ended = status == Status::StreamEnd;
            if self.has_ended || written < room_bytes.max(1) {
                debug_assert!(self.has_ended || rest.is_empty(), "with room left, all is taken");
                return Ok(input.len() - rest.len());
            }
            guess = ROOM_BYTES_MORE;
        }
    }

    fn inflate_into(
        &mut self,
        input: &[u8],
        room_bytes: usize,
        out: &mut Output<'_>,
    ) -> Result<(Status, usize, usize), ExtensionError> {
        let mut result = (Err(ExtensionError::Malformed), 0, 0);
        out.fill(room_bytes, |room| {
            result = self.inflate_some(input, room);
            result.2
        });
        Ok((result.0?, result.1, result.2))
    }

    /// One call of the library: what it says, how much it took and wrote. It may have written before it fails.
    fn inflate_some(&mut self, input: &[u8], room: &mut [u8]) -> (Result<Status, ExtensionError>, usize, usize) {
        let (in_before, out_before) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self.inflate.decompress(input, room, InflateFlush::SyncFlush);
        let taken = (self.inflate.total_in() - in_before) as usize;
        let written = (self.inflate.total_out() - out_before) as usize;
        (status.map_err(|_| ExtensionError::Malformed), taken, written)
    }

    /// Starts on a block that may refer to what is in `window` and then to `message`.
    fn restart(&mut self, window: Option<&Window>, message: &[u8]) {
        self.inflate.reset(false);
        self.has_ended = false;
        let recent = &message[message.len().saturating_sub(WINDOW_BYTES_MAX)..];
        let older = window.filter(|window| recent.len() < window.bytes_max()).map_or([&[][..]; 2], Window::pieces);
        for bytes in [older[0], older[1], recent] {
            if !bytes.is_empty() {
                self.inflate.set_dictionary(bytes).expect("a raw stream takes a dictionary at its start");
            }
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("taken_bytes", &self.taken_bytes).finish_non_exhaustive()
    }
}

/// The tail, and an empty block that says it is the last.
const END: [u8; 9] = [TAIL[0], TAIL[1], TAIL[2], TAIL[3], 1, 0, 0, 0xFF, 0xFF];
/// Blocks of a message that may say they are the last, the real last one included. Each costs a copy of the window
/// though it may be of two bytes; who compresses at one go makes one, and who does it by fragments few.
const FINAL_BLOCKS_MAX: u32 = 16;
/// Compressed bytes between two looks at the ratio.
const STEP_BYTES: usize = 1024;
/// How much room the first try has, as a multiple of the input.
const RATIO_GUESS: usize = 6;
const ROOM_BYTES_MIN: usize = 512;
/// How much room the others have.
const ROOM_BYTES_MORE: usize = 16 * 1024;
/// The library's window.
const WINDOW_BYTES_MAX: usize = 32 * 1024;
