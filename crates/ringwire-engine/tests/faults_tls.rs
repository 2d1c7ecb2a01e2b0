//! What peers do wrong inside TLS: the same tests as in `faults.rs`, word for word, on listeners that are encrypted.
//! Where a stream is to end well there, it must end with a `close_notify` here.

mod support;

/// Whether clients and servers speak TLS.
const SECURE: bool = true;

#[path = "faults/common.rs"]
mod common;
