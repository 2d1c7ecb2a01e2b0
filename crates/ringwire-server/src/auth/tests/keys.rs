//! Which keys are read from files, how one is chosen, and how files that change are read again.

use super::*;
use crate::options::KeySource;

const RSA_PEM: &str = include_str!("../../../../../tests/fixtures/keys/rsa-public.pem");
const RSA_PKCS1_PEM: &str = include_str!("../../../../../tests/fixtures/keys/rsa-public-pkcs1.pem");
const P256_PEM: &str = include_str!("../../../../../tests/fixtures/keys/p256-public.pem");
const ED25519_PEM: &str = include_str!("../../../../../tests/fixtures/keys/ed25519-public.pem");
const P384_PEM: &str = include_str!("../../../../../tests/fixtures/keys/p384-public.pem");

fn algorithms(pem: &str) -> Vec<Algorithm> {
    public_keys(pem).expect("keys").iter().map(Key::algorithm).collect()
}

#[test]
fn public_keys_of_openssl_are_read() {
    assert_eq!(algorithms(RSA_PEM), [Algorithm::Rs256]);
    assert_eq!(algorithms(RSA_PKCS1_PEM), [Algorithm::Rs256]);
    assert_eq!(algorithms(P256_PEM), [Algorithm::Es256]);
    assert_eq!(algorithms(ED25519_PEM), [Algorithm::EdDsa]);
    let all = format!("{RSA_PEM}\nwords\n{ED25519_PEM}");
    assert_eq!(algorithms(&all), [Algorithm::Rs256, Algorithm::EdDsa]);
}

#[test]
fn what_is_no_public_key_says_what_to_do() {
    for (pem, words) in [
        ("", "openssl pkey -pubout"),
        ("-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----", "openssl pkey -pubout -in FILE"),
        ("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----", "openssl x509 -pubkey"),
        ("-----BEGIN PUBLIC KEY-----\nAA==\n", "there is no -----END PUBLIC KEY-----"),
        ("-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----", "no base64"),
        ("-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----", "no RSA, P-256 or Ed25519 key"),
        (P384_PEM, "no RSA, P-256 or Ed25519 key"),
    ] {
        let error = public_keys(pem).expect_err(words);
        assert!(error.contains(words), "{words} is not in: {error}");
    }
}

#[test]
fn a_key_that_is_cut_or_longer_is_refused() {
    let der: Vec<u8> = base64::engine::general_purpose::STANDARD
        .decode(RSA_PEM.lines().filter(|line| !line.starts_with('-')).collect::<String>())
        .expect("base64");
    let read = |der: &[u8]| {
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        public_keys(&format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"))
    };
    for end in 0..der.len() {
        assert!(read(&der[..end]).is_err(), "{end}");
    }
    assert!(read(&der).is_ok());
    assert!(read(&[&der[..], &[0]].concat()).is_err(), "nothing may follow it");
}

#[test]
fn keys_that_are_not_for_these_signatures_are_passed_over() {
    let k = encode(SECRET.as_bytes());
    let jwks = format!(
        r#"{{"keys":[{{"kty":"EC","crv":"P-384","x":"","y":""}},{{"kty":"oct","k":"{k}","use":"enc"}},
            {{"kty":"oct","k":"{k}","alg":"HS512"}},{{"kty":"new"}},{{"kty":"oct","k":"{k}","kid":"good","alg":"HS256"}}]}}"#
    );
    let keys = keys_of_jwks(&jwks).expect("one key");
    assert_eq!(keys.iter().map(|key| key.id()).collect::<Vec<_>>(), [Some("good")]);
}

#[test]
fn faulty_key_sets_say_which_key_and_why() {
    for (jwks, words) in [
        ("[]", "no JWK set"),
        (r#"{"keys":[]}"#, "no key in it"),
        (r#"{"keys":[{"kty":"oct","k":"AAAA","kid":"a"}]}"#, "keys[0] (kid a): a secret of 3 bytes is too short"),
        (r#"{"keys":[{"kty":"oct","k":"A=="}]}"#, "k is no base64url"),
        (r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#, "an RSA key of 24 bits"),
        (r#"{"keys":[{"kty":"RSA","n":"AQAB"}]}"#, "e is missing"),
        (r#"{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}"#, "65 bytes"),
        (r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA"}]}"#, "an Ed25519 key has 32 bytes, not 1"),
    ] {
        let error = keys_of_jwks(jwks).expect_err(words);
        assert!(error.contains(words), "{words} is not in: {error}");
    }
}

#[test]
fn kid_chooses_the_key() {
    let (a, b) = (P256::new(), P256::new());
    let access = access_with(vec![a.public().named("a"), b.public().named("b")], |_| {});
    let signed = |kid: &str, by: &P256| {
        let header = format!(r#"{{"alg":"ES256"{kid}}}"#);
        authenticate(&access, &token(&header, &claims(""), |message| by.sign(message))).map(drop)
    };
    assert_eq!(signed(r#","kid":"a""#, &a), Ok(()));
    assert_eq!(signed(r#","kid":"b""#, &a), Err(Denial::SignatureWrong));
    assert_eq!(signed(r#","kid":"c""#, &a), Err(Denial::KeyUnknown));
    assert_eq!(signed("", &b), Ok(()), "without a name a few are tried");
}

#[test]
fn a_key_without_a_name_may_have_signed_under_one() {
    let a = P256::new();
    let access = access_with(vec![a.public()], |_| {});
    let named = token(r#"{"alg":"ES256","kid":"theirs"}"#, &claims(""), |message| a.sign(message));
    assert!(authenticate(&access, &named).is_ok());
}

#[test]
fn only_a_few_keys_are_tried_for_a_token_without_kid() {
    let last = P256::new();
    let keys = (0..4).map(|n| P256::new().public().named(&n.to_string())).chain([last.public().named("last")]);
    let access = access_with(keys.collect(), |_| {});
    let signed = token(r#"{"alg":"ES256"}"#, &claims(""), |message| last.sign(message));
    assert_eq!(authenticate(&access, &signed), Err(Denial::KeyUnnamed));
}

#[test]
fn a_key_set_is_bounded_and_its_names_are_different() {
    let named = |n: usize| secret_key().named(&n.to_string());
    assert!(KeySet::new((0..100).map(named).collect()).is_ok());
    assert!(KeySet::new((0..101).map(named).collect()).expect_err("too many").contains("too many"));
    assert!(KeySet::new(vec![named(1), named(1)]).expect_err("twice").contains("two keys have the kid 1"));
}

#[test]
fn a_file_that_was_replaced_is_read_again_once() {
    let folder = std::env::temp_dir().join(format!("ringwire-keys-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("secret");
    let replace = |text: &str| {
        std::fs::write(folder.join("new"), text).expect("a file");
        std::fs::rename(folder.join("new"), &file).expect("renamed");
    };
    replace(&format!("{SECRET}\n"));
    let (mut files, keys) = KeyFiles::open(&[KeySource::SecretFile(file.clone())]).expect("a key");
    let access = access_with(Vec::new(), |_| {});
    access.replace_keys(keys);
    assert!(authenticate(&access, &hs256(&claims(""))).is_ok(), "the end of the line is not part of the secret");
    assert!(files.read_if_changed().is_none());
    replace("another secret, which is long enough");
    access.replace_keys(files.read_if_changed().expect("it has changed").expect("a key"));
    assert_eq!(authenticate(&access, &hs256(&claims(""))), Err(Denial::SignatureWrong));
    replace("short");
    assert!(files.read_if_changed().expect("it has changed").expect_err("too short").contains("too short"));
    assert!(files.read_if_changed().is_none(), "it is complained about once");
    std::fs::remove_dir_all(folder).expect("it is there");
    assert!(files.read_if_changed().expect("it is gone").expect_err("gone").contains("cannot read"));
}
