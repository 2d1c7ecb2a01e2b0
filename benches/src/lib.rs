//! What ringwire is measured against.
//!
//! [`floor`] holds servers that do as little as an echo or a fanout can: raw TCP on the same `Driver`, on epoll, on
//! tokio-uring.
//! The `floor` binary runs them. `benches/` holds the criterion benches, `records/` results with their method.

#![forbid(unsafe_code)]

pub mod floor;
pub mod market;
