//! What tests on real sockets share: a client, and a server that keeps accounts.
#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod answers;
pub(crate) mod census;
pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod server;
pub(crate) mod wire;
