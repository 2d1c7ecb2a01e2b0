//! What peers do wrong, against the real engine on the real ring: after each fault nothing is left and the next client
//! is served ([`Server::finish`](support::server::Server::finish) checks it).
//!
//! Clients are blocking sockets on loopback. Ports come from the kernel, every wait is bounded, and random bytes come
//! from seeds that a failing test names.

mod support;

/// Whether clients and servers speak TLS.
const SECURE: bool = false;

#[path = "faults/common.rs"]
mod common;
#[path = "faults/network.rs"]
mod network;
#[path = "faults/proxies.rs"]
mod proxies;
