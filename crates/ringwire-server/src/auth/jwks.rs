//! A JWK set (RFC 7517 §5): the keys of an issuer, each with a name, as it publishes them.
//!
//! Keys of kinds, curves and algorithms that are not taken, and keys that are for encryption, are passed over, as
//! RFC 7517 §5 has it; a key that is taken must be right.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::key::{Algorithm, KEY_ID_BYTES_MAX, Key};

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
}

/// The keys of a file that tokens may be signed with.
///
/// # Errors
/// What is wrong, in words; no key at all is an error too.
pub fn keys(text: &str) -> Result<Vec<Key>, String> {
    let mut bytes = text.as_bytes().to_vec();
    let set: Jwks = simd_json::from_slice(&mut bytes)
        .map_err(|error| format!("it is no JWK set, which is {{\"keys\":[{{\"kty\":..}}]}}: {error}"))?;
    let mut keys = Vec::new();
    for (at, jwk) in set.keys.iter().enumerate() {
        let about = |words: String| match &jwk.kid {
            Some(kid) => format!("keys[{at}] (kid {kid}): {words}"),
            None => format!("keys[{at}]: {words}"),
        };
        keys.extend(key(jwk).map_err(about)?);
    }
    if keys.is_empty() {
        return Err("there is no key in it for HS256, RS256, ES256 or EdDSA".to_owned());
    }
    Ok(keys)
}

/// The key, if it is one that tokens may be signed with.
fn key(jwk: &Jwk) -> Result<Option<Key>, String> {
    let algorithm = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("oct", _) => Algorithm::Hs256,
        ("RSA", _) => Algorithm::Rs256,
        ("EC", Some("P-256")) => Algorithm::Es256,
        ("OKP", Some("Ed25519")) => Algorithm::EdDsa,
        _ => return Ok(None),
    };
    let is_for_another = jwk.alg.as_deref().is_some_and(|name| Algorithm::named(name) != Some(algorithm));
    if is_for_another || jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
        return Ok(None);
    }
    let key = match algorithm {
        Algorithm::Hs256 => Key::secret(&field("k", jwk.k.as_ref())?),
        Algorithm::Rs256 => Key::rsa(&field("n", jwk.n.as_ref())?, &field("e", jwk.e.as_ref())?),
        Algorithm::Es256 => {
            let point = [vec![4], field("x", jwk.x.as_ref())?, field("y", jwk.y.as_ref())?].concat();
            Key::p256(&point)
        }
        Algorithm::EdDsa => Key::ed25519(&field("x", jwk.x.as_ref())?),
    }?;
    match &jwk.kid {
        Some(kid) if kid.len() > KEY_ID_BYTES_MAX => Err(format!("a kid has at most {KEY_ID_BYTES_MAX} bytes")),
        Some(kid) => Ok(Some(key.named(kid))),
        None => Ok(Some(key)),
    }
}

fn field(name: &str, value: Option<&String>) -> Result<Vec<u8>, String> {
    let value = value.ok_or_else(|| format!("{name} is missing"))?;
    URL_SAFE_NO_PAD.decode(value).map_err(|_| format!("{name} is no base64url without padding"))
}
