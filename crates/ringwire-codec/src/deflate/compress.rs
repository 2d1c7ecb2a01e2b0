//! Compressing: one message into blocks that end on a byte.

use std::fmt;

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush};

use super::{Level, MemoryLevel, TAIL, WindowBits};

/// Compresses messages, each by itself or each with those before.
pub struct Compressor {
    deflate: Deflate,
    memory_bytes: usize,
}

impl Compressor {
    /// A compressor whose matches stay within `window`. Takes its memory at once: the message, its window twice and
    /// two bytes for each place in it, 128 KiB of hash table, and some 7 bytes per symbol of a block.
    ///
    /// For a window of 256 bytes it is the one of 512, whose matches reach no further than 250 bytes.
    pub fn new(level: Level, memory_level: MemoryLevel, window: WindowBits) -> Self {
        let window_bits = window.value().max(9);
        let config = DeflateConfig {
            level: level.value().into(),
            mem_level: memory_level.value().into(),
            window_bits: -i32::from(window_bits),
            ..DeflateConfig::default()
        };
        let window_bytes = 1usize << window_bits;
        let symbols = 1usize << (memory_level.value() + 6);
        let memory_bytes = STATE_BYTES + 4 * window_bytes + HASH_BYTES + 7 * symbols;
        Self { deflate: Deflate::new_with_config(config), memory_bytes }
    }

    /// Memory it holds.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Appends `payload` to `out`, compressed by itself, and returns true; or leaves `out` as it was and returns false
    /// if that is not shorter.
    pub fn compress_alone(&mut self, payload: &[u8], out: &mut Vec<u8>) -> bool {
        if payload.is_empty() {
            return false;
        }
        let start = out.len();
        self.deflate.reset();
        self.compress_on(payload, out);
        let is_shorter = out.len() - start < payload.len();
        if !is_shorter {
            out.truncate(start);
        }
        is_shorter
    }

    /// Appends `payload` to `out`, compressed with what was compressed before. It must not be empty: there is nothing
    /// to flush then.
    ///
    /// Takes the flush to its end, also where the result is of no use: zlib-rs 0.6.8 panics if it is reset while it
    /// holds output (`Pending::reset_keep` forgets how much, but not from where).
    pub(super) fn compress_on(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        debug_assert!(!payload.is_empty(), "an empty message cannot be flushed");
        let mut rest = payload;
        loop {
            let start = out.len();
            let room_bytes = rest.len() + rest.len() / 8 + ROOM_BYTES_MIN;
            out.resize(start + room_bytes, 0);
            let (consumed, written) = self.flush(rest, &mut out[start..]);
            out.truncate(start + written);
            rest = &rest[consumed..];
            if written < room_bytes {
                break;
            }
        }
        debug_assert!(rest.is_empty() && out.ends_with(&TAIL), "a flush takes all and ends in an empty block");
        out.truncate(out.len() - TAIL.len());
    }

    /// Compresses and flushes as far as `out` reaches. Says how much was taken and written.
    fn flush(&mut self, payload: &[u8], out: &mut [u8]) -> (usize, usize) {
        let (in_before, out_before) = (self.deflate.total_in(), self.deflate.total_out());
        self.deflate.compress(payload, out, DeflateFlush::SyncFlush).expect("a compressor takes any bytes");
        let consumed = (self.deflate.total_in() - in_before) as usize;
        let written = (self.deflate.total_out() - out_before) as usize;
        (consumed, written)
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").field("memory_bytes", &self.memory_bytes).finish_non_exhaustive()
    }
}

/// The library's hash table: two bytes for each of 65,536 hashes.
const HASH_BYTES: usize = 128 * 1024;
/// The library's state beside its buffers, rounded up.
const STATE_BYTES: usize = 8 * 1024;
/// Room for a flush beyond the payload.
const ROOM_BYTES_MIN: usize = 64;
