//! The native protocol: what its messages are, read and written. `docs/protocol.md` is its specification.
//!
//! | module | what |
//! |---|---|
//! | [`request`] | what a client asks for, parsed out of its messages |
//! | [`reply`] | results and errors, which belong to one request |
//! | [`push`] | what is told unasked: entries, skips, gaps, snapshots, heartbeats |
//! | [`record`] | the binary form of all of these; also what is kept, journaled and recorded |
//! | [`fault`] | every error with its code and words |
//! | [`epoch`] | how a log's epoch and a position in it are written |
//!
//! Bytes in and values out, or the other way round: nothing here knows a connection or the hub.

pub mod epoch;
pub mod fault;
pub mod push;
pub mod record;
pub mod reply;
pub mod request;

mod fields;
mod params;
pub(crate) mod scan;
