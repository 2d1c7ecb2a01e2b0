//! Who may publish (docs/decisions/0004-publish-access.md).
//!
//! Reading is open to whoever reaches the port. Publishing is not: [`PublishAccess::check`] decides it from the
//! request's headers alone. A browser lets any page open a WebSocket to 127.0.0.1 and send forms to it, so where
//! nothing else protects, a page must come from this server itself. A page's host name may be made to resolve to
//! 127.0.0.1 (DNS rebinding), so "from this server" means an origin whose host is an address or `localhost`.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};

use crate::auth::{Credentials, Denial};

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

impl PublishAccess {
    /// Whether the sender of these may publish, who has presented neither token nor key.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, credentials: &Credentials<'_>) -> Result<(), Denial> {
        match self {
            PublishAccess::Anyone => Ok(()),
            PublishAccess::Closed => Err(Denial::Closed),
            PublishAccess::Token(_) => Err(Denial::TokenMissing),
            PublishAccess::Loopback => check_origin(credentials),
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
    fn closed_is_closed_to_all() {
        assert_eq!(PublishAccess::Closed.check(&Credentials::default()), Err(Denial::Closed));
    }

    #[test]
    fn a_token_is_not_printed() {
        assert!(!format!("{:?}", PublishAccess::Token("s3cret".into())).contains("s3cret"));
    }
}
