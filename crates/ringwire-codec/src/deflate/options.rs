//! What one side wants of permessage-deflate, with defaults that serve.

use super::WindowBits;

/// What one side agrees to, and how it compresses. Names are the RFC's: `server` and `client` are the roles, on
/// whichever side the options are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateOptions {
    /// The server compresses each message by itself (§7.1.1.1). A server says so whether or not it is asked; a client
    /// asks for it.
    ///
    /// Off, a server's connection keeps a compressor from its first compressed message on:
    /// [`Compressor::memory_bytes`](super::Compressor::memory_bytes), some 280 KiB.
    pub server_no_context_takeover: bool,
    /// The client compresses each message by itself (§7.1.1.2). Off, a server's connection keeps the bytes it received
    /// last, at most a window of `client_max_window_bits`.
    pub client_no_context_takeover: bool,
    /// Largest window of the server's compressor (§7.1.2.1).
    pub server_max_window_bits: WindowBits,
    /// Largest window of the client's compressor (§7.1.2.2). A client that does not offer the parameter cannot be held
    /// to it, and gets the largest.
    pub client_max_window_bits: WindowBits,
    /// How hard the own side's compressor tries.
    pub level: Level,
    /// How much memory the own side's compressor takes.
    pub memory_level: MemoryLevel,
    /// Messages shorter than this, in bytes, go as they are where each is compressed by itself. Those that do not get
    /// shorter do in any case.
    pub threshold_bytes: usize,
    /// The same where messages are compressed with those before, which pays sooner.
    pub takeover_threshold_bytes: usize,
    /// How much may come of a compressed message.
    pub inflation: InflationLimit,
}

impl DeflateOptions {
    /// No context takeover, the largest windows, the fastest level; short messages go as they are.
    pub const DEFAULT: Self = Self {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: WindowBits::MAX,
        client_max_window_bits: WindowBits::MAX,
        level: Level::FASTEST,
        memory_level: MemoryLevel::DEFAULT,
        threshold_bytes: 128,
        takeover_threshold_bytes: 32,
        inflation: InflationLimit::DEFAULT,
    };
}

impl Default for DeflateOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How hard a compressor tries, from 1 to 9.
///
/// What a message of 1 KiB of JSON costs and becomes, without context takeover
/// (`cargo bench -p ringwire-benches --bench deflate`): level 1 some 3 µs and 30 %, level 3 some 9 µs and 24 %,
/// level 6 some 10 µs and 23 %; one of 64 KiB takes 0.11, 0.35 and 0.65 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(u8);

impl Level {
    /// The fastest: for messages that are compressed once for each receiver.
    pub const FASTEST: Self = Self(1);
    /// A fifth smaller at three times the cost: for messages that are compressed once for many receivers.
    pub const SHARED: Self = Self(3);

    /// Level 1 to 9.
    pub const fn new(level: u8) -> Option<Self> {
        if matches!(level, 1..=9) { Some(Self(level)) } else { None }
    }

    /// The level's number.
    pub const fn value(self) -> u8 {
        self.0
    }
}

/// How much memory a compressor takes beside its window, from 1 to 9: how many symbols a block may have.
///
/// With the largest window: level 1 some 264 KiB, level 5 some 280 KiB, level 8 (zlib's default) some 376 KiB, level 9
/// some 488 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemoryLevel(u8);

impl MemoryLevel {
    /// Level 5: as small and as fast as level 8 for messages up to 64 KiB, in three quarters of its memory.
    pub const DEFAULT: Self = Self(5);

    /// Level 1 to 9.
    pub const fn new(level: u8) -> Option<Self> {
        if matches!(level, 1..=9) { Some(Self(level)) } else { None }
    }

    /// The level's number.
    pub const fn value(self) -> u8 {
        self.0
    }
}

impl Default for MemoryLevel {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How much may come of a compressed message, beside the limit on messages. What passes it ends with 1009.
///
/// The limit is looked at while inflating: of a bomb, no more than this is ever written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InflationLimit {
    /// Most bytes that one compressed byte may stand for, over the message so far (counted in steps of 1 KiB). Deflate
    /// itself reaches 1032; JSON seldom more than 20.
    pub ratio_max: usize,
    /// Up to here, any ratio passes: bytes of the message.
    pub floor_bytes: usize,
}

impl InflationLimit {
    /// 200 times, from 4 MiB on: tests and tools send some MiB of one byte, services do not send more.
    pub const DEFAULT: Self = Self { ratio_max: 200, floor_bytes: 4 << 20 };

    /// No limit but the one on messages.
    pub const NONE: Self = Self { ratio_max: usize::MAX, floor_bytes: 0 };

    /// Most bytes that may come of the first `compressed_bytes`.
    pub(super) fn bytes_max(&self, compressed_bytes: usize) -> usize {
        self.floor_bytes.max(self.ratio_max.saturating_mul(compressed_bytes))
    }
}

impl Default for InflationLimit {
    fn default() -> Self {
        Self::DEFAULT
    }
}
