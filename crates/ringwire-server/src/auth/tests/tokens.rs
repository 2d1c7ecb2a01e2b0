//! Which tokens are taken, and why others are not.

use proptest::prelude::*;

use super::*;

fn denial(claims: &str) -> Denial {
    authenticate(&access(), &hs256(claims)).expect_err("denied")
}

#[test]
fn the_token_of_rfc_7515_a_1_is_taken() {
    let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let jwks = format!(r#"{{"keys":[{{"kty":"oct","k":"{key}"}}]}}"#);
    let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9l\
                 eGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let access = access_with(keys_of_jwks(&jwks).expect("a key"), |options| {
        options.expected.issuer = Some("joe".to_owned());
    });
    let at = |seconds: u64| access.authenticate(&credentials(token), seconds * 1_000_000);
    assert_eq!(at(1_300_819_379).expect("taken").expires_us, Some(1_300_819_380_000_000));
    assert_eq!(at(1_300_819_380), Err(Denial::Expired));
}

#[test]
fn the_token_of_rfc_7515_a_2_is_taken() {
    let n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-\
             pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2Cap\
             Hg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h\
             4FRWyuXpoQ";
    let jwks = format!(r#"{{"keys":[{{"kty":"RSA","n":"{n}","e":"AQAB","kid":"k"}}]}}"#);
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ij\
                 p0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJ\
                 dbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6\
                 _dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN\
                 _IoypGlUPQGe77Rw";
    let access = access_with(keys_of_jwks(&jwks).expect("a key"), |_| {});
    assert!(access.authenticate(&credentials(token), 1_300_000_000_000_000).is_ok());
}

#[test]
fn the_token_of_rfc_7515_a_3_is_taken() {
    let jwks = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
    let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ij\
                 p0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let access = access_with(keys_of_jwks(jwks).expect("a key"), |_| {});
    assert!(access.authenticate(&credentials(token), 1_300_000_000_000_000).is_ok());
}

#[test]
fn each_algorithm_is_taken_from_its_own_key_and_no_other() {
    let (p256, ed25519) = (P256::new(), ed25519());
    let ed_key = || Key::ed25519(ed25519.public_key().as_ref()).expect("a key");
    let ed_sign = |message: &[u8]| ed25519.sign(message).as_ref().to_vec();
    let claims = claims("");
    for (header, sign, own) in [
        (r#"{"alg":"HS256"}"#, &hmac_of(SECRET) as &dyn Fn(&[u8]) -> Vec<u8>, secret_key()),
        (r#"{"alg":"ES256"}"#, &|message| p256.sign(message), p256.public()),
        (r#"{"alg":"EdDSA"}"#, &ed_sign, ed_key()),
    ] {
        let token = token(header, &claims, sign);
        assert!(authenticate(&access_with(vec![own.clone()], |_| {}), &token).is_ok(), "{header}");
        let of_another = access_with(vec![secret_key(), p256.public(), ed_key()], |_| {});
        assert!(authenticate(&of_another, &token).is_ok(), "{header} among all keys");
        let others =
            [secret_key(), p256.public(), ed_key()].into_iter().filter(|key| key.algorithm() != own.algorithm());
        let denied = authenticate(&access_with(others.collect(), |_| {}), &token);
        assert_eq!(denied, Err(Denial::AlgorithmOfOtherKey), "{header}");
    }
    let another = token(r#"{"alg":"ES256"}"#, &claims, |message| P256::new().sign(message));
    assert_eq!(authenticate(&access_with(vec![p256.public()], |_| {}), &another), Err(Denial::SignatureWrong));
}

#[test]
fn a_public_key_is_no_secret() {
    // The attack: sign with HS256, and the server's public key, which anyone has, as the secret.
    let p256 = P256::new();
    let public = p256.0.public_key().as_ref().to_vec();
    let sign = |message: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &public), message).as_ref().to_vec();
    for header in [r#"{"alg":"HS256"}"#, r#"{"alg":"HS256","kid":"a"}"#] {
        let forged = token(header, &claims(""), sign);
        let access = access_with(vec![p256.public().named("a")], |_| {});
        assert_eq!(authenticate(&access, &forged), Err(Denial::AlgorithmOfOtherKey), "{header}");
    }
}

#[test]
fn what_is_not_signed_is_not_taken() {
    for alg in ["none", "None", "NONE", "", "HS384", "RS512", "PS256", "hs256"] {
        let header = format!(r#"{{"alg":"{alg}"}}"#);
        for sign in [&(|_: &[u8]| Vec::new()) as &dyn Fn(&[u8]) -> Vec<u8>, &hmac_of(SECRET)] {
            let denied = authenticate(&access(), &token(&header, &claims(""), sign));
            assert_eq!(denied, Err(Denial::AlgorithmRefused), "{alg}");
        }
    }
    let unsigned = token(r#"{"alg":"HS256"}"#, &claims(""), |_| Vec::new());
    assert_eq!(authenticate(&access(), &unsigned), Err(Denial::SignatureWrong));
}

#[test]
fn extensions_that_must_be_understood_are_not() {
    let token = token(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, &claims(""), hmac_of(SECRET));
    assert_eq!(authenticate(&access(), &token), Err(Denial::TokenMalformed));
}

#[test]
fn a_token_is_taken_up_to_its_expiry_and_the_leeway() {
    let access = access_with(vec![secret_key()], |options| options.expected.leeway_us = 5_000_000);
    let token = hs256(&format!(r#"{{"exp":{NOW},"nbf":{}}}"#, NOW - 100));
    let at =
        |seconds: u64| access.authenticate(&credentials(&token), seconds * 1_000_000).map(|grant| grant.expires_us);
    assert_eq!(at(NOW + 4), Ok(Some((NOW + 5) * 1_000_000)));
    assert_eq!(at(NOW + 5), Err(Denial::Expired));
    assert_eq!(at(NOW - 105).map(drop), Ok(()));
    assert_eq!(at(NOW - 106), Err(Denial::NotYetValid));
}

#[test]
fn a_token_expires_unless_the_server_wants_none_of_it() {
    assert_eq!(denial("{}"), Denial::ExpiryMissing);
    let access = access_with(vec![secret_key()], |options| options.expected.expiry_required = false);
    assert_eq!(authenticate(&access, &hs256("{}")).expect("taken").expires_us, None);
    assert_eq!(authenticate(&access, &hs256("{\"exp\":1}")), Err(Denial::Expired));
}

#[test]
fn issuer_and_audience_are_asked_for_by_name() {
    let access = access_with(vec![secret_key()], |options| {
        options.expected.issuer = Some("https://a.example".to_owned());
        options.expected.audience = Some("feed".to_owned());
    });
    let with = |more: &str| authenticate(&access, &hs256(&claims(more))).map(drop);
    let iss = r#","iss":"https://a.example""#;
    assert_eq!(with(&format!(r#"{iss},"aud":"feed""#)), Ok(()));
    assert_eq!(with(&format!(r#"{iss},"aud":["x","feed"]"#)), Ok(()));
    assert_eq!(with(&format!(r#"{iss},"aud":["x"]"#)), Err(Denial::AudienceWrong));
    assert_eq!(with(iss), Err(Denial::AudienceWrong));
    assert_eq!(with(r#","aud":"feed""#), Err(Denial::IssuerWrong));
    assert_eq!(
        denial(&claims(r#","aud":"feed""#)),
        Denial::AudienceWrong,
        "a server without a name is nobody's audience"
    );
}

#[test]
fn claims_of_a_wrong_type_are_no_permission() {
    for wrong in [
        "[]",
        "1",
        "",
        r#"{"exp":"soon"}"#,
        r#"{"exp":1e999}"#,
        r#"{"exp":99999999999,"exp":99999999999}"#,
        &claims(r#","nbf":[]"#),
        &claims(r#","sub":5"#),
        &claims(r#","subscribe":[5]"#),
        &claims(r#","publish":["a*"]"#),
        &claims(r#","ringwire":{"subscribe":{"a":1}}"#),
        &claims(r#","ringwire":[]"#),
        &format!(r#"{{"sub":"","exp":{}}}"#, NOW + 1),
        &format!(r#"{{"sub":"{}","exp":{}}}"#, "a".repeat(256), NOW + 1),
        &claims(&format!(r#","ringwire":{{"info":"{}"}}"#, "a".repeat(1023))),
        &claims(&format!(r#","publish":[{}]"#, ["\"a\""; 257].join(","))),
    ] {
        assert_eq!(denial(wrong), Denial::ClaimsMalformed, "{wrong}");
    }
}

#[test]
fn deep_nesting_is_no_harm() {
    let open = "[".repeat(2900);
    let deep = format!("{},\"x\":{open}{}", &claims("")[..claims("").len() - 1], "]".repeat(2900) + "}");
    assert_eq!(denial(&deep), Denial::ClaimsMalformed);
    let header = format!(r#"{{"alg":"HS256","x":{}{}}}"#, "[".repeat(370), "]".repeat(370));
    assert!(authenticate(&access(), &token(&header, &claims(""), hmac_of(SECRET))).is_ok());
}

#[test]
fn what_is_no_token_is_told_so() {
    for (text, denial) in [
        ("x", Denial::TokenWrong),
        ("x.y", Denial::TokenWrong),
        ("..", Denial::TokenMalformed),
        ("a.b.c.d.e", Denial::TokenMalformed),
        ("e30.e30.e30=", Denial::TokenMalformed),
        ("e30.e30.", Denial::TokenMalformed),
        (&"a.b.c".repeat(2000), Denial::TokenTooLong),
        (
            &token(&format!(r#"{{"alg":"HS256"{}}}"#, " ".repeat(760)), &claims(""), hmac_of(SECRET)),
            Denial::TokenMalformed,
        ),
    ] {
        assert_eq!(authenticate(&access(), text), Err(denial), "{text:.40}");
    }
}

proptest! {
    #[test]
    fn a_token_with_any_byte_changed_is_not_taken(at in 0_usize..200, byte in 0_u8..128) {
        let good = hs256(&claims(""));
        let at = at % good.len();
        let mut bad = good.clone().into_bytes();
        prop_assume!(bad[at] != byte);
        bad[at] = byte;
        let bad = String::from_utf8(bad).expect("ASCII");
        prop_assert!(authenticate(&access(), &bad).is_err(), "{}", bad);
    }

    #[test]
    fn nothing_that_is_not_signed_with_the_key_is_taken(header in ".{0,40}", claims in ".{0,60}", signature in any::<[u8; 32]>()) {
        let access = access();
        let texts = [
            format!("{header}.{claims}.{}", encode(&signature)),
            token(&header, &claims, |_| signature.to_vec()),
            token(r#"{"alg":"HS256"}"#, &claims, |_| signature.to_vec()),
        ];
        for text in texts {
            prop_assert!(authenticate(&access, &text).is_err(), "{}", text);
        }
    }

    #[test]
    fn any_claims_that_are_signed_give_an_answer(claims in ".{0,200}", exp in any::<f64>()) {
        let access = access();
        let _ = authenticate(&access, &hs256(&claims));
        let taken = authenticate(&access, &hs256(&format!("{{\"exp\":{exp:?}}}")));
        let is_over = exp <= NOW as f64;
        prop_assert_eq!(taken.is_ok(), exp.is_finite() && !is_over);
    }
}
