//! What peers do wrong, against the real engine on the real ring: after each fault nothing is left and the next client
//! is served ([`Server::finish`](support::server::Server::finish) checks it).
//!
//! Clients are blocking sockets on loopback. Ports come from the kernel, every wait is bounded, and random bytes come
//! from seeds that a failing test names.

mod support;

/// Whether clients and servers speak TLS.
const SECURE: bool = false;

#[path = "faults/admission.rs"]
mod admission;
#[path = "faults/answers.rs"]
mod answers;
#[path = "faults/closing.rs"]
mod closing;
#[path = "faults/deflate.rs"]
mod deflate;
#[path = "faults/http.rs"]
mod http;
#[path = "faults/limits.rs"]
mod limits;
#[path = "faults/load.rs"]
mod load;
#[path = "faults/network.rs"]
mod network;
#[path = "faults/pace.rs"]
mod pace;
#[path = "faults/peers.rs"]
mod peers;
#[path = "faults/proxies.rs"]
mod proxies;
#[path = "faults/sessions.rs"]
mod sessions;
#[path = "faults/streams.rs"]
mod streams;
