//! A signed token in its compact form: `header.payload.signature`, each in base64url (RFC 7515 §3.1, §7.1).
//!
//! What it must never do: read a payload before its signature has been verified; take the token's word for how it is to
//! be verified beyond choosing among the server's keys. `jku`, `jwk`, `x5u` and `x5c` are not looked at.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Denial;
use super::key::{Algorithm, KeySet};

/// Longest token, in bytes of its compact form.
pub const TOKEN_BYTES_MAX: usize = 8192;
/// Longest header, in bytes of base64url: it is parsed before anything has been verified.
const HEADER_BYTES_MAX: usize = 1024;

/// What a header says that matters here.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    kid: Option<Cow<'a, str>>,
    /// Extensions that must be understood: none is (RFC 7515 §4.1.11).
    crit: Option<IgnoredAny>,
}

/// Whether `text` looks like a token: then it is told what is wrong with it.
pub(super) fn is_like_a_token(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() >= 2
}

/// The payload of a token that one of `keys` has signed.
///
/// # Errors
/// Why it is not taken.
pub(super) fn verify(token: &str, keys: &KeySet) -> Result<Vec<u8>, Denial> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Denial::TokenTooLong);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(Denial::TokenMalformed)?;
    let (header, payload) = message.split_once('.').ok_or(Denial::TokenMalformed)?;
    if header.len() > HEADER_BYTES_MAX {
        return Err(Denial::TokenMalformed);
    }
    // Refuses padding, other alphabets (hence a third dot), and bits beyond the last byte.
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Denial::TokenMalformed);
    let (mut header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
    let header: Header<'_> = simd_json::from_slice(&mut header).map_err(|_| Denial::TokenMalformed)?;
    if header.crit.is_some() {
        return Err(Denial::TokenMalformed);
    }
    let algorithm = Algorithm::named(&header.alg).ok_or(Denial::AlgorithmRefused)?;
    keys.verify(algorithm, header.kid.as_deref(), message.as_bytes(), &signature)?;
    Ok(payload)
}
