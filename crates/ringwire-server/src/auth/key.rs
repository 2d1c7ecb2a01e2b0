//! Keys that tokens are signed with, each for one algorithm, and how one is chosen.
//!
//! A key's kind decides its algorithm, and a token must name that one (RFC 8725 §3.1): a public key can never be taken
//! for a shared secret.

use std::fmt;

use ring::hmac;
use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use ring::signature::{UnparsedPublicKey, VerificationAlgorithm};

use super::Denial;

/// Most keys there are at a time.
pub(super) const KEYS_MAX: usize = 100;
/// Longest `kid`.
pub(super) const KEY_ID_BYTES_MAX: usize = 255;
/// How many keys are tried for a token that names none: each costs up to 100 microseconds.
const CANDIDATES_MAX: usize = 4;
/// Shortest secret (RFC 7518 §3.2).
pub const SECRET_BYTES_MIN: usize = 32;
/// Sizes of an RSA modulus that are taken (RFC 7518 §3.3): 2048 to 8192 bits.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// How a token is signed (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256 and a shared secret.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// The algorithm that a header's `alg` names, if it is one of these.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "HS256" => Some(Self::Hs256),
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// A key and, if it has one, its name.
#[derive(Clone)]
pub struct Key {
    id: Option<Box<str>>,
    material: Material,
}

#[derive(Clone)]
enum Material {
    Secret(hmac::Key),
    Rsa {
        n: Box<[u8]>,
        e: Box<[u8]>,
    },
    /// An uncompressed point of P-256.
    P256(Box<[u8; 65]>),
    Ed25519([u8; 32]),
}

impl Key {
    /// A shared secret, for HS256.
    ///
    /// # Errors
    /// That it is too short, in words.
    pub fn secret(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() < SECRET_BYTES_MIN {
            return Err(format!(
                "a secret of {} bytes is too short for HS256: at least {SECRET_BYTES_MIN} are needed, as \
                 `openssl rand -hex 32` makes them",
                bytes.len()
            ));
        }
        Ok(Self { id: None, material: Material::Secret(hmac::Key::new(hmac::HMAC_SHA256, bytes)) })
    }

    /// An RSA key of modulus `n` and exponent `e`, both big-endian, for RS256.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn rsa(n: &[u8], e: &[u8]) -> Result<Self, String> {
        let [n, e] = [n, e].map(|number| &number[number.iter().take_while(|byte| **byte == 0).count()..]);
        if !MODULUS_BYTES.contains(&n.len()) {
            return Err(format!("an RSA key of {} bits is not taken: 2048 to 8192 are", 8 * n.len()));
        }
        if e.is_empty() || e.len() > 4 || e.ends_with(&[0]) {
            return Err("an RSA key with this exponent is not taken: 65537 is usual".to_owned());
        }
        Ok(Self { id: None, material: Material::Rsa { n: n.into(), e: e.into() } })
    }

    /// An uncompressed point of the curve P-256 (SEC 1 §2.3.3), for ES256.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn p256(point: &[u8]) -> Result<Self, String> {
        match <[u8; 65]>::try_from(point) {
            Ok(point) if point[0] == 4 => Ok(Self { id: None, material: Material::P256(Box::new(point)) }),
            _ => Err("a key on P-256 is an uncompressed point of 65 bytes".to_owned()),
        }
    }

    /// An Ed25519 key, for EdDSA.
    ///
    /// # Errors
    /// That it has another length, in words.
    pub fn ed25519(bytes: &[u8]) -> Result<Self, String> {
        let bytes = bytes.try_into().map_err(|_| format!("an Ed25519 key has 32 bytes, not {}", bytes.len()))?;
        Ok(Self { id: None, material: Material::Ed25519(bytes) })
    }

    /// The same under a name.
    #[must_use]
    pub fn named(self, id: &str) -> Self {
        Self { id: Some(id.into()), ..self }
    }

    /// Its name.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The only algorithm that it is for.
    pub fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Secret(_) => Algorithm::Hs256,
            Material::Rsa { .. } => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
            Material::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// Whether `signature` is this key's of `message`. A secret is compared in constant time.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let public = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
        };
        match &self.material {
            Material::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            Material::Rsa { n, e } => {
                let key = RsaPublicKeyComponents { n: &n[..], e: &e[..] };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            Material::P256(point) => public(&ECDSA_P256_SHA256_FIXED, &point[..]),
            Material::Ed25519(key) => public(&ED25519, &key[..]),
        }
    }
}

impl fmt::Debug for Key {
    /// Without the key itself, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

/// All keys that tokens may be signed with.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<Key>);

impl KeySet {
    /// These keys.
    ///
    /// # Errors
    /// If they are too many, or two have one name and one algorithm, in words.
    pub fn new(keys: Vec<Key>) -> Result<Self, String> {
        if keys.len() > KEYS_MAX {
            return Err(format!("{} keys are too many: at most {KEYS_MAX} are taken", keys.len()));
        }
        for (at, key) in keys.iter().enumerate() {
            let is_same = |other: &Key| other.id == key.id && other.algorithm() == key.algorithm();
            if let Some(id) = key.id().filter(|_| keys[..at].iter().any(is_same)) {
                return Err(format!("two keys have the kid {id}; give each one of its own"));
            }
        }
        Ok(Self(keys))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none: no token is taken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks that one of the keys, the one called `id` if one is, signed `message`.
    ///
    /// A key without a name may have signed a token that names one: whoever gave the key in a file of its own could not
    /// say its name.
    ///
    /// # Errors
    /// Why none did.
    pub fn verify(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Denial> {
        let has_that_name = |key: &Key| id.is_some() && key.id() == id;
        let is_named = self.0.iter().any(has_that_name);
        let may_be = |key: &Key| if is_named { has_that_name(key) } else { id.is_none() || key.id.is_none() };
        let mut any = false;
        let mut candidates = 0;
        for key in self.0.iter().filter(|key| may_be(key)) {
            any = true;
            if key.algorithm() != algorithm {
                continue;
            }
            candidates += 1;
            if candidates > CANDIDATES_MAX {
                return Err(Denial::KeyUnnamed);
            }
            if key.verifies(message, signature) {
                return Ok(());
            }
        }
        match (any, candidates) {
            (false, _) => Err(Denial::KeyUnknown),
            (true, 0) => Err(Denial::AlgorithmOfOtherKey),
            (true, _) => Err(Denial::SignatureWrong),
        }
    }
}
