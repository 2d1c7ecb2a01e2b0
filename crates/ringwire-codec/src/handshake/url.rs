//! `ws://` and `wss://` URLs (RFC 6455 §3).

use std::fmt;
use std::fmt::Write as _;
use std::net::Ipv6Addr;

/// Where to connect and what to ask for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    secure: bool,
    host: String,
    port: u16,
    target: String,
}

/// Why a URL is not one of WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UrlError {
    /// The scheme is not `ws` or `wss`.
    Scheme,
    /// There is no host, or it is not a name or an address.
    Host,
    /// The port is not a number from 1 to 65535.
    Port,
    /// There is a user name or a password; they would be sent to nobody.
    UserInfo,
    /// There is a fragment (`#`), which §3 forbids.
    Fragment,
    /// There is a space or a control character.
    Character,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UrlError::Scheme => "the URL must begin with ws:// or wss://",
            UrlError::Host => "the URL's host is not a name or an address (IPv6 in brackets)",
            UrlError::Port => "the URL's port is not a number from 1 to 65535",
            UrlError::UserInfo => "the URL must not hold a user name or password",
            UrlError::Fragment => "the URL must not have a fragment (write # as %23)",
            UrlError::Character => "the URL has a space or a control character",
        })
    }
}

impl std::error::Error for UrlError {}

impl Url {
    /// Reads a URL. Characters beyond ASCII in path and query are percent-encoded.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(UrlError::Character);
        }
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::Scheme)?;
        let secure = match scheme {
            _ if scheme.eq_ignore_ascii_case("ws") => false,
            _ if scheme.eq_ignore_ascii_case("wss") => true,
            _ => return Err(UrlError::Scheme),
        };
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        let (host, port) = split_port(authority)?;
        let port = match port {
            Some(digits) => parse_port(digits)?,
            None => default_port(secure),
        };
        let slash = if target.starts_with('/') { "" } else { "/" };
        let target = format!("{slash}{}", encode_non_ascii(target));
        Ok(Self { secure, host: host.to_ascii_lowercase(), port, target })
    }

    /// Whether the connection is to be TLS (`wss`).
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host to resolve and, with TLS, to verify: a name or an address, IPv6 without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port: 80 for `ws` and 443 for `wss` unless the URL says otherwise.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, for the request line.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Host and port as the Host field has them: the port is left out where it is the scheme's own.
    pub fn authority(&self) -> String {
        let mut authority = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port != default_port(self.secure) {
            let _ = write!(authority, ":{}", self.port);
        }
        authority
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.authority(), self.target)
    }
}

const fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

/// Splits an authority into a host, checked, and the port's digits.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), UrlError> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or(UrlError::Host)?;
        address.parse::<Ipv6Addr>().map_err(|_| UrlError::Host)?;
        return match port.strip_prefix(':') {
            Some(digits) => Ok((address, Some(digits))),
            None if port.is_empty() => Ok((address, None)),
            None => Err(UrlError::Host),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, digits)) => (host, Some(digits)),
        None => (authority, None),
    };
    let is_name = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    if is_name { Ok((host, port)) } else { Err(UrlError::Host) }
}

fn parse_port(digits: &str) -> Result<u16, UrlError> {
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(UrlError::Port);
    }
    digits.parse().ok().filter(|port| *port > 0).ok_or(UrlError::Port)
}

fn encode_non_ascii(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            encoded.push(c);
        } else {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_with_default_ports() {
        for (text, secure, host, port, target, authority) in [
            ("ws://example.com", false, "example.com", 80, "/", "example.com"),
            ("wss://example.com/chat", true, "example.com", 443, "/chat", "example.com"),
            ("WS://Example.com:8080/a?b=c", false, "example.com", 8080, "/a?b=c", "example.com:8080"),
            ("wss://h:80", true, "h", 80, "/", "h:80"),
            ("ws://h:80?x", false, "h", 80, "/?x", "h"),
            ("ws://127.0.0.1:9/%20", false, "127.0.0.1", 9, "/%20", "127.0.0.1:9"),
            ("ws://[::1]/", false, "::1", 80, "/", "[::1]"),
            ("wss://[2001:DB8::2]:8443/x", true, "2001:db8::2", 8443, "/x", "[2001:db8::2]:8443"),
            ("ws://h/ж", false, "h", 80, "/%D0%B6", "h"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.is_secure(), url.host(), url.port(), url.target()), (secure, host, port, target), "{text}");
            assert_eq!(url.authority(), authority, "{text}");
            assert_eq!(Url::parse(&url.to_string()).as_ref(), Ok(&url), "{text} is read back as shown");
        }
    }

    #[test]
    fn what_is_no_websocket_url_is_refused_with_the_reason() {
        for (text, error) in [
            ("http://h/", UrlError::Scheme),
            ("h:80/x", UrlError::Scheme),
            ("ws://", UrlError::Host),
            ("ws:///x", UrlError::Host),
            ("ws://:80/", UrlError::Host),
            ("ws://[::1/", UrlError::Host),
            ("ws://[::1]x/", UrlError::Host),
            ("ws://[h]/", UrlError::Host),
            ("ws://a_b!/", UrlError::Host),
            ("ws://::1/", UrlError::Host),
            ("ws://h:/", UrlError::Port),
            ("ws://h:0/", UrlError::Port),
            ("ws://h:65536/", UrlError::Port),
            ("ws://h:+8/", UrlError::Port),
            ("ws://user:secret@h/", UrlError::UserInfo),
            ("ws://h/#top", UrlError::Fragment),
            ("ws://h/a b", UrlError::Character),
            ("ws://h/\r\nX: y", UrlError::Character),
        ] {
            assert_eq!(Url::parse(text), Err(error), "{text}");
        }
    }
}
