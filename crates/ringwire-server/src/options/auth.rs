//! `[auth]`: which tokens and keys are taken, and what they allow; and who may come in without.

use std::path::PathBuf;

use ringwire_engine::ListenerOptions;
use toml::Value;

use super::tls::{Encryption, TlsOptions};
use crate::access::PublishAccess;
use crate::auth::{API_KEY_BYTES_MIN, ApiKey, Expectations, PATTERNS_MAX, SECRET_BYTES_MIN, USER_BYTES_MAX, sha256};
use crate::config::Section;
use ringwire_hub::Pattern;

/// Most keys of `[[auth.api_keys]]`: each is compared with what is presented.
const API_KEYS_MAX: usize = 1024;

/// Which tokens and keys are taken.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AuthOptions {
    /// Where the keys that tokens are signed with come from.
    pub sources: Vec<KeySource>,
    /// What is asked of each token.
    pub expected: Expectations,
    /// What may be subscribed to with a token that does not say it.
    pub subscribe: Vec<Pattern>,
    /// What may be published to with a token that does not say it.
    pub publish: Vec<Pattern>,
    /// Keys that are presented as they are.
    pub api_keys: Vec<ApiKey>,
    /// Whether anyone may come in where nothing protects.
    pub insecure: bool,
}

/// Where keys come from that tokens are signed with. Files are read again when they change.
#[derive(Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A shared secret of the configuration.
    Secret(String),
    /// A file whose contents, but for the end of the last line, are a shared secret.
    SecretFile(PathBuf),
    /// Public keys in PEM.
    PublicKeyFile(PathBuf),
    /// A JWK set.
    JwksFile(PathBuf),
}

impl AuthOptions {
    /// Whether a token or a key lets anyone in.
    pub fn is_configured(&self) -> bool {
        !self.sources.is_empty() || !self.api_keys.is_empty()
    }
}

impl std::fmt::Debug for KeySource {
    /// Without secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Secret(_) => f.write_str("Secret(..)"),
            Self::SecretFile(file) => f.debug_tuple("SecretFile").field(file).finish(),
            Self::PublicKeyFile(file) => f.debug_tuple("PublicKeyFile").field(file).finish(),
            Self::JwksFile(file) => f.debug_tuple("JwksFile").field(file).finish(),
        }
    }
}

impl std::fmt::Debug for AuthOptions {
    /// Without secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthOptions").field("api_keys", &self.api_keys).finish_non_exhaustive()
    }
}

/// Reads the section.
pub(super) fn auth(section: &mut Section<'_>) -> AuthOptions {
    let secret = section.secret("hmac_secret", |secret| {
        let words = format!("a secret of at least {SECRET_BYTES_MIN} bytes is needed: openssl rand -hex 32 makes one");
        if secret.len() < SECRET_BYTES_MIN { Err(words) } else { Ok(KeySource::Secret(secret.to_owned())) }
    });
    let mut file =
        |key: &str, source: fn(PathBuf) -> KeySource| section.optional_text(key, super::tls::a_path).map(source);
    let files = [
        file("hmac_secret_file", KeySource::SecretFile),
        file("public_key_file", KeySource::PublicKeyFile),
        file("jwks_file", KeySource::JwksFile),
    ];
    let sources: Vec<KeySource> = secret.into_iter().chain(files.into_iter().flatten()).collect();
    let of_tokens = ["issuer", "audience"].map(|key| section.optional_text(key, a_word));
    if sources.is_empty() {
        for (key, said) in ["issuer", "audience"].iter().zip(&of_tokens) {
            if said.is_some() {
                section.fault(
                    key,
                    "this is about tokens, and there is no key to verify them with: hmac_secret, \
                                    hmac_secret_file, public_key_file or jwks_file is needed",
                );
            }
        }
    }
    let [issuer, audience] = of_tokens;
    let leeway_us = section.number("leeway_ms", 10_000_u64, 0..=3_600_000) * 1000;
    let expiry_required = section.switch("expiry_required", true);
    let subscribe = patterns(section, "subscribe", &[">"]);
    let publish = patterns(section, "publish", &[]);
    let api_keys = api_keys(section);
    let insecure = section.switch("insecure", false);
    let expected = Expectations { leeway_us, expiry_required, issuer, audience };
    AuthOptions { sources, expected, subscribe, publish, api_keys, insecure }
}

fn api_keys(section: &mut Section<'_>) -> Vec<ApiKey> {
    let mut names: Vec<String> = Vec::new();
    let keys = section.optional_sections("api_keys", |section| {
        let name = name(section, &names);
        names.push(name.clone());
        let sha256 = digest(section);
        let (subscribe, publish) = (patterns(section, "subscribe", &[">"]), patterns(section, "publish", &[">"]));
        ApiKey { name, sha256, subscribe, publish }
    });
    if keys.len() > API_KEYS_MAX {
        section.fault("api_keys", &format!("{} keys are too many: at most {API_KEYS_MAX} are read", keys.len()));
    }
    keys
}

fn name(section: &mut Section<'_>, others: &[String]) -> String {
    if !section.has("name") {
        section.fault("name", "a key needs a name: it is the user of who presents the key");
    }
    let name = section.optional_text("name", |name| {
        if name.is_empty() || name.len() > USER_BYTES_MAX {
            return Err(format!("a name has 1 to {USER_BYTES_MAX} bytes"));
        }
        if others.iter().any(|other| other == name) {
            return Err("another key has this name; give each one of its own".to_owned());
        }
        Ok(name.to_owned())
    });
    name.unwrap_or_default()
}

/// Reads `secret` or `sha256`. What is printed has the second.
fn digest(section: &mut Section<'_>) -> [u8; 32] {
    let (has_secret, has_digest) = (section.has("secret"), section.has("sha256"));
    let secret = section.secret("secret", |secret| {
        let is_key = secret.len() >= API_KEY_BYTES_MIN && secret.bytes().all(|byte| byte.is_ascii_graphic());
        let words = format!(
            "a key has at least {API_KEY_BYTES_MIN} printable ASCII characters without spaces: openssl rand -hex 32 \
             makes one"
        );
        if is_key { Ok(sha256(secret)) } else { Err(words) }
    });
    if let Some(digest) = &secret {
        section.shown("sha256", to_hex(digest));
    }
    let digest = section.optional_text("sha256", |text| {
        from_hex(text).ok_or_else(|| "64 hex digits are needed: printf %s KEY | sha256sum makes them".to_owned())
    });
    if has_secret == has_digest {
        section.fault("secret", "a key has either `secret`, the key itself, or `sha256`, its SHA-256 in hex");
    }
    secret.or(digest).unwrap_or_default()
}

fn patterns(section: &mut Section<'_>, key: &str, by_default: &[&str]) -> Vec<Pattern> {
    section.any(key, Value::from(by_default.to_vec()), |value: &Value| {
        let words = "a list of patterns is needed, as in [\"book.>\", \"chat\"]";
        let list = value.as_array().ok_or(words)?;
        if list.len() > PATTERNS_MAX {
            return Err(format!("{} patterns are too many: at most {PATTERNS_MAX} are read", list.len()));
        }
        let pattern = |value: &Value| {
            let text = value.as_str().ok_or_else(|| words.to_owned())?;
            Pattern::new(text).map_err(|error| format!("{text}: {error}"))
        };
        list.iter().map(pattern).collect()
    })
}

/// Reports each listener that lets in whoever reaches it, though nobody said that anyone may.
pub(super) fn protect(
    root: &mut Section<'_>,
    listeners: &[ListenerOptions],
    tls: &TlsOptions,
    auth: &AuthOptions,
    publish: &PublishAccess,
) {
    let is_consented = auth.insecure || *publish == PublishAccess::Anyone;
    if is_consented || auth.is_configured() || matches!(publish, PublishAccess::Token(_)) {
        return;
    }
    let asks_for_certificates = tls.clients.as_ref().is_some_and(|clients| clients.required);
    for (at, (listener, encryption)) in listeners.iter().zip(&tls.listeners).enumerate() {
        let shows_one = asks_for_certificates && *encryption == Encryption::Required;
        if !listener.address.ip().is_loopback() && !shows_one {
            root.fault(
                &format!("listen[{at}].address"),
                &format!(
                    "{} can be reached from other machines, and nothing says who may come in: configure tokens or keys \
                     in [auth] (docs/operations.md), or a --publish-token so that anyone may read and who has it \
                     publish; or say --insecure (auth.insecure = true) to serve whoever reaches it",
                    listener.address
                ),
            );
        }
    }
}

fn a_word(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("a text that is not empty is needed".to_owned()) } else { Ok(text.to_owned()) }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    if digits.len() == 64 { bytes.try_into().ok() } else { None }
}
