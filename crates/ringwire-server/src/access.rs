//! Who may publish (docs/decisions/0004-publish-access.md).
//!
//! Reading is open to whoever reaches the port. Publishing is not: [`PublishAccess::check`] decides it from the
//! request's headers alone. A browser lets any page open a WebSocket to 127.0.0.1 and send forms to it, so where
//! nothing else protects, a page must come from this server itself. A page's host name may be made to resolve to
//! 127.0.0.1 (DNS rebinding), so "from this server" means an origin whose host is an address or `localhost`.

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};

/// Who may publish.
#[derive(Clone, PartialEq, Eq)]
pub enum PublishAccess {
    /// Anyone who reaches the port, which is only this machine: programs, and this server's own page.
    Loopback,
    /// Who presents this token.
    Token(String),
    /// Anyone at all.
    Anyone,
    /// Nobody: the server listens to more than this machine and was told of no protection.
    Closed,
}

/// What a request shows of its sender.
#[derive(Clone, Debug, Default)]
pub struct Credentials<'a> {
    /// `Host` header.
    pub host: Option<&'a str>,
    /// `Origin` header: the page that a browser speaks for. Programs send none.
    pub origin: Option<&'a str>,
    /// `Authorization` header.
    pub authorization: Option<&'a str>,
    /// `token` in the query, for browsers, which cannot set headers on a WebSocket.
    pub token: Option<Cow<'a, str>>,
}

/// Why somebody may not publish. Its text is for them to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// No token was presented.
    TokenMissing,
    /// The token presented is another.
    TokenWrong,
    /// The sender is a page of another origin.
    ForeignOrigin,
    /// Nobody may.
    Closed,
}

impl Denial {
    /// The HTTP status that says it (RFC 9110 §15.5.2, §15.5.4).
    pub fn status(self) -> u16 {
        match self {
            Denial::TokenMissing | Denial::TokenWrong => 401,
            Denial::ForeignOrigin | Denial::Closed => 403,
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Denial::TokenMissing => {
                "publishing needs the server's token: send `Authorization: Bearer TOKEN`, or ?token=TOKEN"
            }
            Denial::TokenWrong => "this is not the server's publish token",
            Denial::ForeignOrigin => {
                "pages of other origins may not publish here: start the server with --publish-token and present it"
            }
            Denial::Closed => {
                "publishing is closed: the server listens beyond this machine; start it with --publish-token TOKEN, \
                 or with --insecure-publish to let anyone publish"
            }
        })
    }
}

impl PublishAccess {
    /// Whether the sender of these credentials may publish.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, credentials: &Credentials<'_>) -> Result<(), Denial> {
        match self {
            PublishAccess::Anyone => Ok(()),
            PublishAccess::Closed => Err(Denial::Closed),
            PublishAccess::Token(token) => check_token(token, credentials),
            PublishAccess::Loopback => check_origin(credentials),
        }
    }

    /// What the server says of it as it starts, if that is worth a line.
    pub fn notice(&self) -> Option<&'static str> {
        match self {
            PublishAccess::Loopback | PublishAccess::Token(_) => None,
            PublishAccess::Anyone => Some("anyone who reaches this address may publish (--insecure-publish)"),
            PublishAccess::Closed => {
                Some("publishing is closed beyond loopback; --publish-token TOKEN opens it to who presents the token")
            }
        }
    }
}

impl fmt::Debug for PublishAccess {
    /// Without the token, which has no business in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PublishAccess::Loopback => "Loopback",
            PublishAccess::Token(_) => "Token(..)",
            PublishAccess::Anyone => "Anyone",
            PublishAccess::Closed => "Closed",
        })
    }
}

fn check_token(token: &str, credentials: &Credentials<'_>) -> Result<(), Denial> {
    let presented =
        credentials.authorization.and_then(bearer).or(credentials.token.as_deref()).ok_or(Denial::TokenMissing)?;
    if same_secret(presented.as_bytes(), token.as_bytes()) { Ok(()) } else { Err(Denial::TokenWrong) }
}

/// The token of an `Authorization: Bearer` header (RFC 6750 §2.1); the scheme's case is free.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Compares without ending early, so that time says nothing of how much was right.
fn same_secret(presented: &[u8], secret: &[u8]) -> bool {
    let differing = presented.iter().zip(secret).fold(0, |differing, (a, b)| differing | (a ^ b));
    presented.len() == secret.len() && std::hint::black_box(differing) == 0
}

fn check_origin(credentials: &Credentials<'_>) -> Result<(), Denial> {
    let Some(origin) = credentials.origin else { return Ok(()) };
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    match (authority, credentials.host) {
        (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host) && is_local(host) => Ok(()),
        _ => Err(Denial::ForeignOrigin),
    }
}

/// Whether `host`, with or without a port, is an address or a `localhost` name: what nobody's DNS can answer for.
fn is_local(host: &str) -> bool {
    if host.parse::<SocketAddr>().is_ok() {
        return true;
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bracketed = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let name = name.to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<std::net::Ipv4Addr>().is_ok()
        || bracketed.is_some_and(|name| name.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_page(origin: &'static str, host: &'static str) -> Credentials<'static> {
        Credentials { host: Some(host), origin: Some(origin), ..Credentials::default() }
    }

    #[test]
    fn on_loopback_programs_may_publish() {
        assert_eq!(PublishAccess::Loopback.check(&Credentials::default()), Ok(()));
    }

    #[test]
    fn on_loopback_the_servers_own_page_may_publish() {
        for host in ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "LOCALHOST", "127.0.0.1", "a.localhost:1"] {
            let origin = format!("http://{host}");
            let credentials = Credentials { host: Some(host), origin: Some(&origin), ..Credentials::default() };
            assert_eq!(PublishAccess::Loopback.check(&credentials), Ok(()), "{host}");
        }
    }

    #[test]
    fn on_loopback_pages_of_other_origins_may_not() {
        for origin in ["http://evil.example", "null", "http://127.0.0.1:9090", "http://localhost:8080", "file://"] {
            let denied = PublishAccess::Loopback.check(&from_page(origin, "127.0.0.1:8080"));
            assert_eq!(denied, Err(Denial::ForeignOrigin), "{origin}");
        }
    }

    #[test]
    fn a_name_made_to_resolve_here_is_a_foreign_origin() {
        let rebound = from_page("http://evil.example:8080", "evil.example:8080");
        assert_eq!(PublishAccess::Loopback.check(&rebound), Err(Denial::ForeignOrigin));
        let lookalike = from_page("http://127.0.0.1.evil.example", "127.0.0.1.evil.example");
        assert_eq!(PublishAccess::Loopback.check(&lookalike), Err(Denial::ForeignOrigin));
    }

    #[test]
    fn a_token_is_taken_from_the_header_or_the_query() {
        let access = PublishAccess::Token("s3cret".into());
        let with = |authorization, token: Option<&'static str>| Credentials {
            authorization,
            token: token.map(Cow::Borrowed),
            ..Credentials::default()
        };
        assert_eq!(access.check(&with(Some("Bearer s3cret"), None)), Ok(()));
        assert_eq!(access.check(&with(Some("bearer s3cret"), None)), Ok(()));
        assert_eq!(access.check(&with(None, Some("s3cret"))), Ok(()));
        assert_eq!(access.check(&with(None, None)), Err(Denial::TokenMissing));
        assert_eq!(access.check(&with(Some("Basic s3cret"), None)), Err(Denial::TokenMissing));
        for wrong in ["s3cre", "s3cret2", "S3cret", ""] {
            assert_eq!(access.check(&with(None, Some(wrong))), Err(Denial::TokenWrong), "{wrong}");
        }
    }

    #[test]
    fn with_a_token_the_origin_is_free() {
        let credentials = Credentials { token: Some("t".into()), ..from_page("http://desk.example", "feed.example") };
        assert_eq!(PublishAccess::Token("t".into()).check(&credentials), Ok(()));
    }

    #[test]
    fn closed_is_closed_to_all() {
        assert_eq!(PublishAccess::Closed.check(&Credentials::default()), Err(Denial::Closed));
    }

    #[test]
    fn a_token_is_not_printed() {
        assert!(!format!("{:?}", PublishAccess::Token("s3cret".into())).contains("s3cret"));
    }
}
