//! Each rule about tokens, keys and grants. Tokens of others are those of RFC 7515; the rest is signed here with ring.

mod grants;
mod keys;
mod tokens;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};

use super::*;

/// A secret for HS256.
const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// The time of all tests, in seconds since 1970.
const NOW: u64 = 1_700_000_000;

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token with this header and these claims, signed by `sign`.
fn token(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
    let signature = encode(&sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn hmac_of(secret: &str) -> impl Fn(&[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    move |message| hmac::sign(&key, message).as_ref().to_vec()
}

/// A token of these claims, signed with [`SECRET`].
fn hs256(claims: &str) -> String {
    token(r#"{"alg":"HS256","typ":"JWT"}"#, claims, hmac_of(SECRET))
}

/// Claims that are taken, with more of them.
fn claims(more: &str) -> String {
    format!(r#"{{"sub":"u1","exp":{}{more}}}"#, NOW + 60)
}

struct P256(EcdsaKeyPair);

impl P256 {
    fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        Self(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("a key"))
    }

    fn public(&self) -> Key {
        Key::p256(self.0.public_key().as_ref()).expect("a point")
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(&SystemRandom::new(), message).expect("signs").as_ref().to_vec()
    }
}

fn ed25519() -> Ed25519KeyPair {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
    Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key")
}

/// An access that takes tokens signed with these keys.
fn access_with(keys: Vec<Key>, configure: impl FnOnce(&mut AuthOptions)) -> Access {
    let sources = vec![crate::options::KeySource::Secret(SECRET.to_owned())];
    let mut options = AuthOptions { sources, subscribe: vec![pattern(">")], ..AuthOptions::default() };
    options.expected.expiry_required = true;
    configure(&mut options);
    Access::new(options, PublishAccess::Loopback, KeySet::new(keys).expect("keys"))
}

fn access() -> Access {
    access_with(vec![secret_key()], |_| {})
}

fn secret_key() -> Key {
    Key::secret(SECRET.as_bytes()).expect("long enough")
}

fn pattern(text: &str) -> Pattern {
    Pattern::new(text).expect("a pattern")
}

fn name(text: &str) -> TopicName {
    TopicName::new(text).expect("a name")
}

fn credentials(token: &str) -> Credentials<'_> {
    Credentials { token: Some(token.into()), ..Credentials::default() }
}

fn authenticate(access: &Access, token: &str) -> Result<Grant, Denial> {
    access.authenticate(&credentials(token), NOW * 1_000_000)
}
