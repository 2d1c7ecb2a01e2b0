//! What a token says, once its signature has been verified (RFC 7519 §4).
//!
//! `sub` is the user. `ringwire` may hold `subscribe` and `publish`, patterns of topics, and `info`, which others are
//! told of the user; `subscribe` and `publish` may also stand at the top. Claims that are not known are ignored, those
//! that are must have their type: what cannot be understood is not taken for permission.

use std::sync::Arc;

use serde::Deserialize;
use simd_json::OwnedValue;

use super::Denial;
use ringwire_hub::Pattern;

/// Longest user, in bytes.
pub const USER_BYTES_MAX: usize = 255;
/// Most patterns of one claim.
pub const PATTERNS_MAX: usize = 256;
/// Longest `info`, in bytes of JSON.
pub const INFO_BYTES_MAX: usize = 1024;
/// The end of time, in seconds since 1970, for a claim: beyond, microseconds have more than 64 bits.
const SECONDS_MAX: f64 = 1e13;

/// What is asked of each token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectations {
    /// How far the clock that signed may be off.
    pub leeway_us: u64,
    /// Whether a token must expire.
    pub expiry_required: bool,
    /// What `iss` must be.
    pub issuer: Option<String>,
    /// What `aud` must be or contain.
    pub audience: Option<String>,
}

/// What a token came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claims {
    /// `sub`.
    pub user: Option<Arc<str>>,
    /// `exp` and the leeway, in microseconds since 1970: from then on the token is not taken.
    pub expires_us: Option<u64>,
    /// Patterns of topics to subscribe to, if the token names any, or none.
    pub subscribe: Option<Vec<Pattern>>,
    /// Patterns of topics to publish to, the same.
    pub publish: Option<Vec<Pattern>>,
    /// `ringwire.info`, as JSON.
    pub info: Option<Arc<str>>,
}

#[derive(Deserialize)]
struct Written {
    sub: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iss: Option<String>,
    aud: Option<OneOrMany>,
    subscribe: Option<OneOrMany>,
    publish: Option<OneOrMany>,
    #[serde(default)]
    ringwire: Own,
}

#[derive(Default, Deserialize)]
struct Own {
    subscribe: Option<OneOrMany>,
    publish: Option<OneOrMany>,
    info: Option<OwnedValue>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn list(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// Reads and checks the claims of a token at `now_us`, in microseconds since 1970.
///
/// # Errors
/// Why the token is not taken.
pub(super) fn check(payload: &mut [u8], expected: &Expectations, now_us: u64) -> Result<Claims, Denial> {
    let written: Written = simd_json::from_slice(payload).map_err(|_| Denial::ClaimsMalformed)?;
    let expires_us = written.exp.map(micros).transpose()?.map(|exp| exp.saturating_add(expected.leeway_us));
    match expires_us {
        Some(expires_us) if expires_us <= now_us => return Err(Denial::Expired),
        None if expected.expiry_required => return Err(Denial::ExpiryMissing),
        _ => {}
    }
    if written.nbf.map(micros).transpose()?.is_some_and(|nbf| nbf > now_us.saturating_add(expected.leeway_us)) {
        return Err(Denial::NotYetValid);
    }
    if expected.issuer.is_some() && written.iss != expected.issuer {
        return Err(Denial::IssuerWrong);
    }
    check_audience(written.aud.as_ref(), expected.audience.as_deref())?;
    let is_long = |user: &String| user.is_empty() || user.len() > USER_BYTES_MAX;
    if written.sub.as_ref().is_some_and(is_long) {
        return Err(Denial::ClaimsMalformed);
    }
    let Own { subscribe, publish, info } = written.ringwire;
    Ok(Claims {
        user: written.sub.map(Arc::from),
        expires_us,
        subscribe: patterns(subscribe.or(written.subscribe))?,
        publish: patterns(publish.or(written.publish))?,
        info: info.map(as_json).transpose()?,
    })
}

/// A token for somebody else is refused, also where this server has no name (RFC 7519 §4.1.3).
fn check_audience(named: Option<&OneOrMany>, own: Option<&str>) -> Result<(), Denial> {
    match (named, own) {
        (None, None) => Ok(()),
        (Some(named), Some(own)) if named.list().iter().any(|name| name == own) => Ok(()),
        _ => Err(Denial::AudienceWrong),
    }
}

/// A `NumericDate`, which may have a fraction (RFC 7519 §2).
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the bounds, and never negative")]
fn micros(seconds: f64) -> Result<u64, Denial> {
    if seconds.is_nan() {
        return Err(Denial::ClaimsMalformed);
    }
    Ok((seconds.clamp(0.0, SECONDS_MAX) * 1e6) as u64)
}

fn patterns(list: Option<OneOrMany>) -> Result<Option<Vec<Pattern>>, Denial> {
    let Some(list) = list else { return Ok(None) };
    if list.list().len() > PATTERNS_MAX {
        return Err(Denial::ClaimsMalformed);
    }
    let patterns = list.list().iter().map(|text| Pattern::new(text)).collect::<Result<_, _>>();
    patterns.map(Some).map_err(|_| Denial::ClaimsMalformed)
}

fn as_json(info: OwnedValue) -> Result<Arc<str>, Denial> {
    let text = simd_json::to_string(&info).map_err(|_| Denial::ClaimsMalformed)?;
    if text.len() > INFO_BYTES_MAX { Err(Denial::ClaimsMalformed) } else { Ok(text.into()) }
}
