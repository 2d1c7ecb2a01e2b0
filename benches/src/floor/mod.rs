//! Servers on raw TCP: the floors that a WebSocket echo and a publish stand on.
//!
//! All listen on one address with `TCP_NODELAY` and run on the calling thread. An echo sends back each piece of the
//! stream as it came; a [`fanout`] sends it to everyone else. They end with their process.

pub mod epoll;
pub mod fanout;
pub mod ring;
pub mod tokio;

/// Bytes that one receive takes at most, for all floors alike: what the engine's buffers have.
const RECEIVE_BYTES: usize = 32 * 1024;
