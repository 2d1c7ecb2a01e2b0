//! Contexts that connections share, each in use by one at a time.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::compress::Compressor;
use super::inflate::Reader;
use super::{DeflateOptions, WindowBits};

/// The contexts of one shard, and how they are to be made.
#[derive(Debug)]
pub(super) struct Pool {
    options: DeflateOptions,
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    /// By window: one message at a time is compressed.
    compressors: [Option<Box<Compressor>>; WINDOWS],
    #[expect(clippy::vec_box, reason = "a reader goes to its connection and back without being copied")]
    readers: Vec<Box<Reader>>,
}

impl Pool {
    pub(super) fn new(options: DeflateOptions) -> Self {
        Self { options, idle: Mutex::default() }
    }

    pub(super) fn options(&self) -> &DeflateOptions {
        &self.options
    }

    /// Calls `compress` with a compressor for this window.
    pub(super) fn with_compressor<R>(&self, window: WindowBits, compress: impl FnOnce(&mut Compressor) -> R) -> R {
        let place = usize::from(window.value() - WindowBits::MIN.value());
        let idle = self.idle().compressors[place].take();
        let mut compressor = idle.unwrap_or_else(|| Box::new(self.compressor(window)));
        let result = compress(&mut compressor);
        self.idle().compressors[place] = Some(compressor);
        result
    }

    /// A compressor that is not shared.
    pub(super) fn compressor(&self, window: WindowBits) -> Compressor {
        Compressor::new(self.options.level, self.options.memory_level, window)
    }

    /// A reader, to be brought back when its message is read.
    pub(super) fn reader(&self) -> Box<Reader> {
        let idle = self.idle().readers.pop();
        idle.unwrap_or_else(|| Box::new(Reader::new()))
    }

    pub(super) fn bring_back(&self, reader: Box<Reader>) {
        let mut idle = self.idle();
        if idle.readers.len() < READERS_MAX {
            idle.readers.push(reader);
        }
    }

    /// What it keeps, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let idle = self.idle();
        let compressors: usize = idle.compressors.iter().flatten().map(|compressor| compressor.memory_bytes()).sum();
        compressors + idle.readers.len() * Reader::MEMORY_BYTES
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Windows that there are, from 256 bytes to 32 KiB.
const WINDOWS: usize = (WindowBits::MAX.value() - WindowBits::MIN.value() + 1) as usize;
/// Readers that are kept for the next message. More are in use only while that many messages are incomplete.
const READERS_MAX: usize = 8;
