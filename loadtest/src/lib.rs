//! ringload: the latency of WebSocket servers, measured honestly.
//!
//! [`workload`]s are models of what clients do. Each [runs](run) on [`clients`]: connections on an io_uring ring of each
//! thread, one system call a turn, frames made in advance, so that the server is the bottleneck and not this.
//! [`adapter`]s speak what servers speak. [`report`] says what was found, with an account of every message, and says so
//! when the generator or the machine's other work set the pace. [`compare`] runs several servers side by side, and
//! [`find_max`] searches the highest rate that a server sustains.
//!
//! What this crate must never do: report a figure without what makes it doubtful.

#![forbid(unsafe_code)]

pub mod adapter;
pub mod cli;
pub mod clients;
pub mod compare;
pub mod find_max;
mod framing;
pub mod json;
pub mod live;
pub mod measure;
pub mod payload;
pub mod pubsub;
pub mod report;
pub mod run;
pub mod server;
pub mod slo;
pub mod target;
pub mod workload;
