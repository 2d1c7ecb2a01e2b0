//! What peers do wrong inside TLS: the same tests as in `faults.rs`, word for word, on listeners that are encrypted.
//! Where a stream is to end well there, it must end with a `close_notify` here.

mod support;

/// Whether clients and servers speak TLS.
const SECURE: bool = true;

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
#[path = "faults/pace.rs"]
mod pace;
#[path = "faults/peers.rs"]
mod peers;
#[path = "faults/sessions.rs"]
mod sessions;
#[path = "faults/streams.rs"]
mod streams;
