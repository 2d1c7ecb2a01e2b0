//! What ringwire is measured against, and by.
//!
//! [`floor`] holds servers that do as little as an echo or a fanout can: raw TCP on the same `Driver`, on epoll, on
//! tokio-uring. The `floor` binary runs them. [`counted`] holds hot paths in memory, whose instructions are counted.
//! `benches/` holds the criterion benches, `records/` results with their method.

#![forbid(unsafe_code)]

pub mod counted;
pub mod floor;
pub mod market;
