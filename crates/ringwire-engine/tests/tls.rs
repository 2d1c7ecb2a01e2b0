//! TLS in the real engine on the real ring, against rustls's own buffered client; and sessions by themselves.
//!
//! What peers do wrong inside TLS is `faults_tls.rs`; here is what they do to TLS itself, and what it is for:
//! certificates, versions, resumption, one port for both.

mod support;

/// Whether clients speak TLS unless a test says otherwise.
const SECURE: bool = true;

#[path = "tls/certificates.rs"]
mod certificates;
#[path = "tls/faults.rs"]
mod faults;
#[path = "tls/ports.rs"]
mod ports;
#[path = "tls/resumption.rs"]
mod resumption;
#[path = "tls/session.rs"]
mod session;
