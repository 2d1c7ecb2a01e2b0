//! TLS, as a transformer of bytes: ciphertext in and plaintext out, plaintext in and ciphertext out.
//!
//! A [`Session`] stands between a connection's socket and what speaks on it, on rustls's unbuffered machines: it owns no
//! buffer while nothing is under way, so an idle connection costs its keys and little else. The engine's path is the
//! same with and without it: received bytes are decrypted before they are parsed, and what a turn has staged and pulled
//! is encrypted, in records as large as there is data for, just before it is transmitted (`link`).
//!
//! An [`Acceptor`] makes the sessions of a listener from certificate and key; a [`Connector`] those of a client.
//!
//! What this module must never do: let a byte of plaintext reach the socket of a connection that has a session, or let
//! an unverified peer's mistakes cost more than one bounded buffer.

mod acceptor;
mod connector;
mod error;
mod link;
mod session;

pub use acceptor::{Acceptor, ClientCertificates, ServerTls};
pub use connector::{Connector, Roots};
pub use error::{CertificateFault, SetupError, TlsError};
pub use session::{Session, Stream, TlsFacts};

pub(crate) use link::{Scratch, TLS_HANDSHAKE};

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;

/// Whether a listener's connections are encrypted.
#[derive(Clone, Debug, Default)]
pub enum Transport {
    /// None is.
    #[default]
    Plain,
    /// All are: a request in plain text gets a 400 that says so.
    Tls(Acceptor),
    /// The first byte of each decides, so that `https`, `wss`, `http` and `ws` share a port.
    Either(Acceptor),
}

impl Transport {
    /// What makes sessions, if there are any.
    pub fn acceptor(&self) -> Option<&Acceptor> {
        match self {
            Transport::Plain => None,
            Transport::Tls(acceptor) | Transport::Either(acceptor) => Some(acceptor),
        }
    }
}

/// What is spoken inside TLS, for ALPN (RFC 7301).
const ALPN_HTTP_1_1: &[u8] = b"http/1.1";

/// The time that certificates and tickets are judged by.
#[derive(Debug)]
struct WallClock;

impl rustls::time_provider::TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        let since_epoch = Duration::from_micros(ringwire_ring::wall_clock_us());
        Some(UnixTime::since_unix_epoch(since_epoch))
    }
}

/// Both roles' cryptography. AES-128 comes first: nobody breaks it, and it costs less than AES-256.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| !format!("{:?}", suite.suite()).contains("AES_128_GCM"));
    Arc::new(provider)
}
