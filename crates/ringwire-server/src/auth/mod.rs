//! Who somebody is, and what they may do (docs/decisions/0011-tokens.md).
//!
//! [`Access::authenticate`] makes a [`Grant`] of what a request shows: an API key, a token (a JWT that one of the
//! server's keys has signed), or nothing. A grant and the topic's rule together decide on each topic:
//!
//! | the rule says | a guest | with a token or key |
//! |---|---|---|
//! | `anyone` | may | may |
//! | `authenticated` | may not | may where its patterns match |
//! | `nobody` | may not | may not |
//! | `default` | as [`PublishAccess`] says, or if tokens or keys are configured, may not | may where its patterns match |
//!
//! Who presents something that is wrong gets an answer that says so, and is no guest. Without tokens and keys in the
//! configuration what is presented is not looked at.
//!
//! What it must never do: read a clock or a file (time is an argument, [`KeyFiles`] reads); say a secret.

mod api_key;
mod claims;
mod denial;
mod files;
mod jwks;
mod jws;
mod key;
mod pem;
mod rate;
mod users;

use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock};

use ringwire_hub::{Pattern, TopicName};

pub use self::api_key::{API_KEY_BYTES_MIN, ApiKey, sha256};
pub use self::claims::{Expectations, INFO_BYTES_MAX, PATTERNS_MAX, USER_BYTES_MAX};
pub use self::denial::{Denial, FLOOD, FORBIDDEN, TOKEN_EXPIRED};
pub use self::files::KeyFiles;
pub use self::jwks::keys as keys_of_jwks;
pub use self::jws::TOKEN_BYTES_MAX;
pub use self::key::{Algorithm, Key, KeySet, SECRET_BYTES_MIN};
pub use self::pem::public_keys;
pub use self::rate::Rate;
pub use self::users::{Seat, Users};

use crate::access::PublishAccess;
use crate::options::{AuthOptions, TopicRules, Who};

/// What the first segment of a companion topic is: who is present in the topic behind it.
const PRESENCE: &str = "$presence.";

/// What a request shows of its sender.
#[derive(Clone, Debug, Default)]
pub struct Credentials<'a> {
    /// `Host` header.
    pub host: Option<&'a str>,
    /// `Origin` header: the page that a browser speaks for. Programs send none.
    pub origin: Option<&'a str>,
    /// `Authorization` header.
    pub authorization: Option<&'a str>,
    /// `X-API-Key` header.
    pub api_key: Option<&'a str>,
    /// A token or key that came otherwise: `token` in the query, for browsers, which cannot set headers on a
    /// WebSocket, or in a `connect` request.
    pub token: Option<Cow<'a, str>>,
}

impl Credentials<'_> {
    /// The token or key that is presented: the header's before the query's.
    fn presented(&self) -> Option<&str> {
        self.authorization.and_then(secret_of).or(self.api_key.map(str::trim)).or(self.token.as_deref())
    }
}

/// What is presented in an `Authorization` header of scheme `Bearer` (RFC 6750 §2.1) or `ApiKey`, in any case.
fn secret_of(authorization: &str) -> Option<&str> {
    let (scheme, secret) = authorization.split_once(' ')?;
    let is_known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("apikey");
    is_known.then(|| secret.trim())
}

/// Who is let in how. One for the whole server; every method may be called from any thread.
#[derive(Debug)]
pub struct Access {
    guests: PublishAccess,
    /// Whether guests may subscribe where nothing is said.
    guests_subscribe: bool,
    options: AuthOptions,
    keys: RwLock<Arc<KeySet>>,
}

impl Access {
    /// Lets in who has one of the options' API keys, the publish token, or a token that one of `keys` has signed; and
    /// guests, as `publish` says.
    pub fn new(mut options: AuthOptions, publish: PublishAccess, keys: KeySet) -> Self {
        // Where only publishing needs a token, reading is open.
        let guests_subscribe = !options.is_configured();
        let all = || vec![Pattern::new(">").expect("a pattern")];
        if let PublishAccess::Token(token) = &publish {
            let (name, sha256) = ("publish-token".to_owned(), sha256(token));
            options.api_keys.push(ApiKey { name, sha256, subscribe: all(), publish: all() });
        }
        Self { guests: publish, guests_subscribe, options, keys: RwLock::new(Arc::new(keys)) }
    }

    /// Lets in whoever is on this machine, as a server without configuration does.
    pub fn local() -> Self {
        Self::new(AuthOptions::default(), PublishAccess::Loopback, KeySet::default())
    }

    /// Has tokens verified with these keys from now on.
    pub fn replace_keys(&self, keys: KeySet) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// Who sent this, at `now_us`, in microseconds since 1970.
    ///
    /// # Errors
    /// What is wrong with the token or key that was presented.
    pub fn authenticate(&self, credentials: &Credentials<'_>, now_us: u64) -> Result<Grant, Denial> {
        match credentials.presented() {
            Some(secret) if self.options.is_configured() => self.known(secret, now_us),
            _ => Ok(self.guest(credentials)),
        }
    }

    fn known(&self, secret: &str, now_us: u64) -> Result<Grant, Denial> {
        if secret.len() > TOKEN_BYTES_MAX {
            return Err(Denial::TokenTooLong);
        }
        if let Some(key) = api_key::find(&self.options.api_keys, secret) {
            let (subscribe, publish) = (key.subscribe.clone(), key.publish.clone());
            let standing = Standing::Known { subscribe, publish };
            return Ok(Grant { user: Some(key.name.as_str().into()), expires_us: None, info: None, standing });
        }
        let keys = Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner));
        if keys.is_empty() || !jws::is_like_a_token(secret) {
            return Err(Denial::TokenWrong);
        }
        let mut payload = jws::verify(secret, &keys)?;
        let claims = claims::check(&mut payload, &self.options.expected, now_us)?;
        let standing = Standing::Known {
            subscribe: claims.subscribe.unwrap_or_else(|| self.options.subscribe.clone()),
            publish: claims.publish.unwrap_or_else(|| self.options.publish.clone()),
        };
        Ok(Grant { user: claims.user, expires_us: claims.expires_us, info: claims.info, standing })
    }

    fn guest(&self, credentials: &Credentials<'_>) -> Grant {
        let subscribe = if self.guests_subscribe { Ok(()) } else { Err(Denial::TokenMissing) };
        let publish = match &self.guests {
            PublishAccess::Loopback | PublishAccess::Closed if self.options.is_configured() => {
                Err(Denial::TokenMissing)
            }
            guests => guests.check(credentials),
        };
        Grant { user: None, expires_us: None, info: None, standing: Standing::Guest { subscribe, publish } }
    }
}

/// Who somebody is, and what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The user: a token's `sub`, or an API key's name. Guests have none, nor has who shows a token without `sub`.
    pub user: Option<Arc<str>>,
    /// From when on the token is not taken any more, in microseconds since 1970, if it expires.
    pub expires_us: Option<u64>,
    /// What others are told of the user, as JSON, if the token says it.
    pub info: Option<Arc<str>>,
    standing: Standing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// Nothing was presented: what may be done where nothing is said.
    Guest { subscribe: Result<(), Denial>, publish: Result<(), Denial> },
    /// A token or key was presented, which allows these.
    Known { subscribe: Vec<Pattern>, publish: Vec<Pattern> },
}

impl Grant {
    /// Whether a token or key was presented.
    pub fn is_authenticated(&self) -> bool {
        matches!(self.standing, Standing::Known { .. })
    }

    /// Whether the topic may be subscribed to, its presence and its history read. What tells of a topic's presence
    /// may be read by whoever may subscribe to the topic.
    ///
    /// # Errors
    /// Why not.
    pub fn may_subscribe(&self, rules: &TopicRules, name: &TopicName) -> Result<(), Denial> {
        let companion_of = name.as_str().strip_prefix(PRESENCE).and_then(|name| TopicName::new(name).ok());
        let name = companion_of.as_ref().unwrap_or(name);
        match (rules.rule_for(name).subscribe, &self.standing) {
            (Who::Nobody, _) => Err(Denial::NobodySubscribes),
            (Who::Anyone, _) => Ok(()),
            (Who::Default, Standing::Guest { subscribe, .. }) => *subscribe,
            (Who::Authenticated, Standing::Guest { .. }) => Err(Denial::TokenMissing),
            (_, Standing::Known { subscribe, .. }) => matching(subscribe, name).ok_or(Denial::SubscribeForbidden),
        }
    }

    /// Whether all topics that match may be subscribed to as they come; [`may_subscribe`](Self::may_subscribe) must
    /// still be asked about each, since a rule may have more to say.
    ///
    /// # Errors
    /// Why not.
    pub fn may_watch(&self, rules: &TopicRules, pattern: &Pattern) -> Result<(), Denial> {
        let companion_of = pattern.as_str().strip_prefix(PRESENCE).and_then(|text| Pattern::new(text).ok());
        let pattern = companion_of.as_ref().unwrap_or(pattern);
        let mut open = rules.written().iter().filter(|rule| rule.subscribe == Who::Anyone);
        if open.any(|rule| rule.pattern.contains(pattern)) {
            return Ok(());
        }
        match &self.standing {
            Standing::Guest { subscribe, .. } => *subscribe,
            Standing::Known { subscribe, .. } => {
                let is_allowed = subscribe.iter().any(|own| own.contains(pattern));
                if is_allowed { Ok(()) } else { Err(Denial::SubscribeForbidden) }
            }
        }
    }

    /// Whether the topic may be published to.
    ///
    /// # Errors
    /// Why not.
    pub fn may_publish(&self, rules: &TopicRules, name: &TopicName) -> Result<(), Denial> {
        match (rules.rule_for(name).publish, &self.standing) {
            (Who::Nobody, _) => Err(Denial::NobodyPublishes),
            (Who::Anyone, _) => Ok(()),
            (Who::Default, Standing::Guest { publish, .. }) => *publish,
            (Who::Authenticated, Standing::Guest { .. }) => Err(Denial::TokenMissing),
            (_, Standing::Known { publish, .. }) => matching(publish, name).ok_or(Denial::PublishForbidden),
        }
    }

    /// The grant of a token that renews this one.
    ///
    /// # Errors
    /// If it is of another user, or of nobody.
    pub fn renewed(&self, by: Grant) -> Result<Grant, Denial> {
        let was_somebody_else = self.is_authenticated() && self.user != by.user;
        if was_somebody_else || !by.is_authenticated() { Err(Denial::OtherUser) } else { Ok(by) }
    }
}

fn matching(patterns: &[Pattern], name: &TopicName) -> Option<()> {
    patterns.iter().any(|pattern| pattern.matches(name)).then_some(())
}

#[cfg(test)]
mod tests;
