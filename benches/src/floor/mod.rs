//! Echo servers on raw TCP: the floor that a WebSocket echo stands on.
//!
//! All listen on one address with `TCP_NODELAY`, run on the calling thread, and send back each piece of the stream as
//! it came. They end with their process.

pub mod epoll;
pub mod ring;
pub mod tokio;

/// Bytes that one receive takes at most, for all floors alike: what the engine's buffers have.
const RECEIVE_BYTES: usize = 32 * 1024;
