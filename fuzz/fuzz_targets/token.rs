//! Any text as a token, as claims that are signed, as keys: nothing panics, nothing that is not signed is taken, and
//! what is allowed is what the patterns say.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use ringwire_hub::TopicName;
use ringwire_server::access::PublishAccess;
use ringwire_server::auth::{Access, Credentials, Key, KeySet, keys_of_jwks, public_keys};
use ringwire_server::options::{AuthOptions, KeySource, TopicRules};

/// A secret of 32 bytes; what is signed with it is made here.
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW_US: u64 = 1_700_000_000_000_000;

fuzz_target!(|text: &str| {
    for keys in [keys_of_jwks(text), public_keys(text)].into_iter().flatten() {
        assert!(!keys.is_empty());
        let _ = keys.iter().map(|key| key.verifies(b"message", text.as_bytes())).collect::<Vec<_>>();
    }
    static ACCESS: OnceLock<Access> = OnceLock::new();
    let access = ACCESS.get_or_init(access);
    let unsigned = Credentials { token: Some(text.into()), ..Credentials::default() };
    assert!(access.authenticate(&unsigned, NOW_US).is_err(), "nobody can sign with a secret that is not told");
    let signed = Credentials { token: Some(sign(text).into()), ..Credentials::default() };
    let Ok(grant) = access.authenticate(&signed, NOW_US) else { return };
    assert!(grant.is_authenticated() && grant.expires_us.is_none_or(|expires_us| expires_us > NOW_US));
    let (rules, name) = (TopicRules::default(), TopicName::new("a.b").expect("a name"));
    // Names may be written with escapes.
    if grant.may_publish(&rules, &name).is_ok() && !text.contains('\\') {
        assert!(text.contains("publish"), "what may be published to is said");
    }
});

fn access() -> Access {
    let sources = vec![KeySource::Secret(SECRET.to_owned())];
    let keys = KeySet::new(vec![Key::secret(SECRET.as_bytes()).expect("long enough")]).expect("a key");
    Access::new(AuthOptions { sources, ..AuthOptions::default() }, PublishAccess::Closed, keys)
}

fn sign(claims: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#), URL_SAFE_NO_PAD.encode(claims));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = ring::hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}
