//! permessage-deflate (RFC 7692): messages compressed on their way, as both sides agreed in the opening handshake.
//!
//! [`Deflate`] is the [`Negotiator`](crate::extension::Negotiator) of either role; what it agrees on are
//! [`Parameters`], and a connection's [`Extension`](crate::extension::Extension) follows them. zlib-rs compresses
//! and inflates.
//!
//! Memory. Inflating needs some 47 KiB while a message comes in, compressing some 280 KiB while one goes out. Both
//! belong to a [`Deflate`], which a shard has for itself, and go from message to message; a connection without context
//! takeover owns 40 bytes. With takeover, what a connection received last is kept in a ring of the window's size, and
//! what it sent last in a compressor of its own; both are made when the first message needs them.
//!
//! What this module must never do: inflate more than the message limit and the [`InflationLimit`] allow before it
//! looks at them; refer to bytes that are outside of the window agreed on; keep a context where none was agreed.

mod compress;
mod inflate;
mod negotiate;
mod options;
mod params;
mod pool;
mod session;
mod window;

pub use compress::Compressor;
pub use negotiate::Deflate;
pub use options::{DeflateOptions, InflationLimit, Level, MemoryLevel};
pub use params::{ParamError, Parameters, WindowBits};

/// The extension's name (RFC 7692 §7).
pub const NAME: &str = "permessage-deflate";

/// What a compressor's flush ends in: an empty block, without compression. A message goes out without it, and is read
/// with it (§7.2.1, §7.2.2).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
