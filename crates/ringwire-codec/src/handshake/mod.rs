//! The opening handshake (RFC 6455 §4): the server's decision on an upgrade, and the client's request and check of
//! the answer.
//!
//! Nothing here draws random numbers or knows DNS: a client passes its nonce, and gets a [`Url`]'s host and port to
//! connect to.

mod client;
mod server;
mod url;

pub use client::{ClientHandshake, Established, HandshakeError};
pub use server::{Accepted, OriginPolicy, Policy, Refusal, accept, accept_over, wants_upgrade};
pub use url::{Url, UrlError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// The version of the protocol that is spoken here.
const VERSION: &str = "13";

/// `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (§4.2.2, step 5.4).
pub fn accept_key(key: &str) -> [u8; 28] {
    let digest = Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    let mut encoded = [0; 28];
    let len = STANDARD.encode_slice(digest, &mut encoded).expect("20 bytes are 28 in base64");
    debug_assert_eq!(len, encoded.len());
    encoded
}

/// A key and its accept are ASCII.
fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("base64 is ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_keys_are_the_rfcs() {
        assert_eq!(&accept_key("dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        // A second pair, as widely quoted.
        assert_eq!(&accept_key("x3JJHMbDL1EzLkh9GBhXDw=="), b"HSmrc0sMlYUkAGmm5OPpG2HaGWk=");
    }
}
