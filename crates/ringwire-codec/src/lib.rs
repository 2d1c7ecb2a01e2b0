//! WebSocket as values: bytes in, events out (RFC 6455), for both roles.
//!
//! Nothing here owns a socket, a clock or a thread. [`Decoder`] turns any split of a byte stream into events and
//! hands a frame that lies whole in its input out in place, without a copy. [`encode_frame`] is its inverse.
//! [`handshake`] decides on upgrades and makes them, over [`http`]'s request and response heads. [`Phase`] is the
//! closing handshake. [`deflate`] is permessage-deflate (RFC 7692), and [`extension`] is where it plugs in.
//!
//! What this crate must never do: trust a length before the bytes are there; hand out text that is not UTF-8;
//! keep a buffer for a connection that is idle.

#![deny(unsafe_code)]

mod close;
mod decoder;
mod encode;
mod frame;
mod mask;
#[expect(unsafe_code, reason = "vector loads, CPU dispatch and `Text`, whose one line rests on the validator")]
mod simd;
mod violation;

pub mod deflate;
pub mod extension;
pub mod handshake;
pub mod http;
pub mod proxy;
pub mod utf8;

pub use close::{CloseAction, CloseCode, CloseEvent, CloseFrame, Phase};
pub use decoder::{Decoder, DecoderLimits, Event, Message, Role, Step};
pub use encode::{encode_close, encode_frame, encode_message, frame_bytes};
pub use frame::{CONTROL_PAYLOAD_BYTES_MAX, EncodedHeader, FRAME_HEADER_BYTES_MAX, FrameHeader, Opcode};
pub use mask::{MaskKey, unmask};
pub use simd::text::{Room, Text};
pub use violation::Violation;

/// One entry per kernel, for tests and benches that compare them.
#[doc(hidden)]
pub mod backends {
    pub use crate::simd::{UnmaskBackend, Utf8Backend, unmask_backends, utf8_backends};
}
