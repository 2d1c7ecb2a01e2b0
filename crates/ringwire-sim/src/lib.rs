//! A seeded simulator: a [`Driver`](ringwire_ring::Driver) whose network, time and faults come from one number.
//!
//! A [`World`] holds virtual time, a network, one kernel per shard and the [peers](Peer) that connect to it. Shards run
//! the same code as on io_uring, over a [`SimDriver`]. [`run`] plays a whole scenario with the engine and clients that
//! check what they get. Everything random comes from the world's seed, so a run repeats
//! exactly; its [trace](World::trace) shows it.
//!
//! What this crate must never do: read a clock, start a thread, or iterate in the order of a hash.

#![forbid(unsafe_code)]

mod client;
mod connection;
mod conversation;
mod driver;
mod echo;
mod fanout;
mod faults;
mod kernel;
mod net;
mod peer;
mod pipe;
mod scenario;
mod secure;
mod trace;
mod world;

pub use conversation::{BODY_BYTES_MAX, FRAGMENTS_MAX, HEAD_BYTES_MAX, MESSAGE_BYTES_MAX, Reply, Said, converse};
pub use driver::{SimDriver, SimWaker};
pub use faults::Faults;
pub use kernel::KernelOptions;
pub use peer::{Peer, Read, Wire};
pub use scenario::{Outcome, Scenario, run};
pub use trace::Trace;
pub use world::World;
