//! The only home of io_uring and of libc.
//!
//! A [`Driver`] takes operations ([`Op`]) and gives back completions ([`Completion`]). The ring owns what the
//! kernel can see: an operation's buffers move into the driver when it is submitted and come back with its last
//! completion, so no mistake of a caller can let the kernel touch freed memory. Two drivers exist: [`linux::Ring`]
//! on io_uring, and the simulator of the `ringwire-sim` crate, which replaces network and time.
//!
//! What this crate must never do: know WebSocket or HTTP; allocate on the hot path; hand out a buffer that the
//! kernel still owns.

mod arena;
mod buffer;
mod clock;
mod data;
mod driver;
mod op;

pub mod linux;

pub use arena::{Arena, Stage, Staged};
pub use buffer::Buffer;
pub use clock::{Clock, Instant, wall_clock_us};
pub use data::{Data, Shared};
pub use driver::{Driver, ListenOptions, Wait, Waker};
pub use op::{Completion, Event, Lease, Listener, Op, OpToken, Socket, SubmitError};
