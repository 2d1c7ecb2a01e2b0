//! Public keys in PEM: `PUBLIC KEY` (SubjectPublicKeyInfo, RFC 5280 §4.1.2.7) and `RSA PUBLIC KEY` (PKCS #1, RFC 8017
//! §A.1.1).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::key::Key;

/// `rsaEncryption`, `id-ecPublicKey` with `prime256v1`, `id-Ed25519`: as `AlgorithmIdentifier` contents in DER.
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
const P256: &[u8] =
    &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];

/// Tags of DER.
const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const INTEGER: u8 = 0x02;

/// The public keys of a file, in their order.
///
/// # Errors
/// What is wrong, in words; no key at all is an error too.
pub fn public_keys(text: &str) -> Result<Vec<Key>, String> {
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some((_, block)) = rest.split_once("-----BEGIN ") {
        let (label, block) = block.split_once("-----").ok_or("a BEGIN line does not end")?;
        let end = format!("-----END {label}-----");
        let (body, behind) = block.split_once(end.as_str()).ok_or_else(|| format!("there is no {end}"))?;
        keys.push(public_key(label, body)?);
        rest = behind;
    }
    if keys.is_empty() {
        return Err("there is no public key in it: `-----BEGIN PUBLIC KEY-----` is needed, as `openssl pkey -pubout` \
                    writes it"
            .to_owned());
    }
    Ok(keys)
}

fn public_key(label: &str, body: &str) -> Result<Key, String> {
    match label {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => {}
        "CERTIFICATE" => {
            return Err("this is a certificate; give its key: openssl x509 -pubkey -noout -in FILE".to_owned());
        }
        _ if label.ends_with("PRIVATE KEY") => {
            return Err("this is a private key, which only who signs should have; give its public key: openssl pkey \
                        -pubout -in FILE"
                .to_owned());
        }
        _ => return Err(format!("{label} is no public key")),
    }
    let body: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(body).map_err(|_| format!("what is between the lines of {label} is no base64"))?;
    let key = if label == "PUBLIC KEY" { subject_public_key(&der) } else { rsa_public_key(&der) };
    key.ok_or_else(|| "the key is no RSA, P-256 or Ed25519 key in DER".to_owned())?
}

/// A `SubjectPublicKeyInfo`; `None` if it is another thing or another kind of key.
fn subject_public_key(der: &[u8]) -> Option<Result<Key, String>> {
    let (info, []) = value(der, SEQUENCE)? else { return None };
    let (algorithm, info) = value(info, SEQUENCE)?;
    let (bits, []) = value(info, BIT_STRING)? else { return None };
    // The first byte says how many bits of the last are unused.
    let [0, key @ ..] = bits else { return None };
    match algorithm {
        RSA => rsa_public_key(key),
        P256 => Some(Key::p256(key)),
        ED25519 => Some(Key::ed25519(key)),
        _ => None,
    }
}

fn rsa_public_key(der: &[u8]) -> Option<Result<Key, String>> {
    let (key, []) = value(der, SEQUENCE)? else { return None };
    let (n, key) = value(key, INTEGER)?;
    let (e, []) = value(key, INTEGER)? else { return None };
    // Negative numbers begin with a bit that is set.
    if n.first()? & 0x80 != 0 || e.first()? & 0x80 != 0 {
        return None;
    }
    Some(Key::rsa(n, e))
}

/// The contents of the first value, which has this tag, and what follows it.
fn value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = der.split_first_chunk()?;
    if found != tag {
        return None;
    }
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => rest.split_first().map(|(len, rest)| (usize::from(*len), rest))?,
        0x82 => rest.split_first_chunk::<2>().map(|(len, rest)| (usize::from(u16::from_be_bytes(*len)), rest))?,
        _ => return None,
    };
    rest.split_at_checked(len)
}
