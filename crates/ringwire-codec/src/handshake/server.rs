//! The server's side: accept an upgrade, or refuse it with a status and words that help (RFC 6455 §4.2).

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::{VERSION, accept_key, ascii};
use crate::extension::{Agreed, ExtensionParams, Negotiator};
use crate::http::{BodyLength, Request, Version, push_header};

/// What a server agrees to.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Subprotocols it speaks, the one it likes best first.
    pub subprotocols: Vec<String>,
    /// Pages it lets in.
    pub origin: OriginPolicy,
    /// The extension it offers.
    pub extension: Option<Arc<dyn Negotiator>>,
}

/// Which pages may connect (§10.2). Clients other than browsers send no Origin and are always let in: the check
/// protects a browser's user from other pages, not the server from its clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OriginPolicy {
    /// All.
    #[default]
    Any,
    /// Those that came from the host and port that the request names in Host, and encrypted just if the request is.
    SameOrigin,
    /// Those of these origins, each as a browser writes it: `https://example.com`.
    List(Vec<String>),
}

impl OriginPolicy {
    /// Whether the page that makes this request, if it is one, is let in. `encrypted` says whether the client sends it
    /// over TLS; `None`: nobody knows, and pages over `http` and `https` are the same.
    pub fn admits(&self, request: &Request<'_>, encrypted: Option<bool>) -> bool {
        let mut origins = request.headers().all("origin");
        let Some(origin) = origins.next() else { return true };
        let stands_once = origins.next().is_none();
        match self {
            OriginPolicy::Any => true,
            OriginPolicy::SameOrigin => {
                stands_once && request.host().is_some_and(|host| is_same_origin(origin, host, encrypted))
            }
            OriginPolicy::List(list) => stands_once && list.iter().any(|own| own.eq_ignore_ascii_case(origin)),
        }
    }
}

/// Whether the request asks for WebSocket at all, rightly or not. If so, it is for [`accept`] to answer.
pub fn wants_upgrade(request: &Request<'_>) -> bool {
    request.headers().has_token("upgrade", "websocket") || request.header("sec-websocket-key").is_some()
}

/// Decides on a request for WebSocket of which nobody knows whether it is encrypted.
pub fn accept<'p>(request: &Request<'_>, policy: &'p Policy) -> Result<Accepted<'p>, Refusal> {
    accept_over(request, policy, None)
}

/// Decides on a request for WebSocket; `encrypted` as in [`OriginPolicy::admits`].
pub fn accept_over<'p>(
    request: &Request<'_>,
    policy: &'p Policy,
    encrypted: Option<bool>,
) -> Result<Accepted<'p>, Refusal> {
    let headers = request.headers();
    if request.method() != "GET" {
        return Err(Refusal::METHOD);
    }
    if request.version() != Version::Http11 {
        return Err(Refusal::HTTP_VERSION);
    }
    if request.body() != BodyLength::Bytes(0) {
        return Err(Refusal::BODY);
    }
    if request.host().is_none_or(str::is_empty) {
        return Err(Refusal::HOST);
    }
    if !headers.has_token("connection", "upgrade") {
        return Err(Refusal::CONNECTION);
    }
    if !headers.has_token("upgrade", "websocket") {
        return Err(Refusal::UPGRADE);
    }
    if headers.only("sec-websocket-version") != Some(VERSION) {
        return Err(Refusal::VERSION);
    }
    let key = headers.only("sec-websocket-key").filter(|key| is_key(key)).ok_or(Refusal::KEY)?;
    if !policy.origin.admits(request, encrypted) {
        return Err(Refusal::ORIGIN);
    }
    let is_offered = |own: &&String| headers.list("sec-websocket-protocol").any(|offered| offered == own.as_str());
    let subprotocol = policy.subprotocols.iter().find(is_offered).map(String::as_str);
    let extension = policy.extension.as_deref().and_then(|negotiator| {
        let mut offers = headers.all("sec-websocket-extensions").flat_map(ExtensionParams::parse_list);
        offers.find_map(|offer| negotiator.accept(&offer))
    });
    Ok(Accepted { accept_key: accept_key(key), subprotocol, extension })
}

/// 16 bytes in base64. What the last two bits of padding hold does not matter.
fn is_key(key: &str) -> bool {
    const LENIENT: GeneralPurpose =
        GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));
    let mut nonce = [0; 18];
    key.len() == 24 && LENIENT.decode_slice(key, &mut nonce) == Ok(16)
}

/// Whether a page of `origin` came from `host`, the port left out where it is the scheme's own, and was encrypted if
/// that must be so.
fn is_same_origin(origin: &str, host: &str, encrypted: Option<bool>) -> bool {
    let Some((scheme, origin_host)) = origin.split_once("://") else { return false };
    let (own_port, is_encrypted) = match scheme {
        "http" => (":80", false),
        "https" => (":443", true),
        _ => return false,
    };
    if encrypted.is_some_and(|encrypted| encrypted != is_encrypted) {
        return false;
    }
    let without_port = |host| str::strip_suffix(host, own_port).unwrap_or(host).to_owned();
    without_port(origin_host).eq_ignore_ascii_case(&without_port(host))
}

/// An upgrade that the server agrees to.
#[derive(Debug)]
pub struct Accepted<'p> {
    /// The answer to the client's key, in ASCII.
    pub accept_key: [u8; 28],
    /// The subprotocol that both speak, if there is one.
    pub subprotocol: Option<&'p str>,
    /// The extension that both speak, for the connection's decoder.
    pub extension: Option<Agreed>,
}

impl Accepted<'_> {
    /// The head of the response, with `extra` header fields.
    ///
    /// # Panics
    /// If an extra field is not one line of a header.
    pub fn response(&self, extra: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        self.write_response(&mut out, extra);
        out
    }

    /// Appends the head of the response to `out`. Panics like [`response`](Self::response).
    pub fn write_response(&self, out: &mut Vec<u8>, extra: &[(&str, &str)]) {
        out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
        push_header(out, "Sec-WebSocket-Accept", ascii(&self.accept_key));
        if let Some(subprotocol) = self.subprotocol {
            push_header(out, "Sec-WebSocket-Protocol", subprotocol);
        }
        if let Some(agreed) = &self.extension {
            push_header(out, "Sec-WebSocket-Extensions", &agreed.header_value);
        }
        for (name, value) in extra {
            push_header(out, name, value);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// An upgrade that the server does not agree to, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status of the answer.
    pub status: u16,
    /// What is wrong with the request, in a sentence.
    pub message: &'static str,
    /// Header fields of the answer.
    pub headers: &'static [(&'static str, &'static str)],
}

impl Refusal {
    /// The method is not GET.
    pub const METHOD: Self = Self::bad_request("a WebSocket handshake is a GET request");
    /// The request is older than HTTP/1.1.
    pub const HTTP_VERSION: Self = Self::bad_request("a WebSocket handshake needs HTTP/1.1");
    /// The request has a body.
    pub const BODY: Self = Self::bad_request("a WebSocket handshake has no body");
    /// Host is missing or empty.
    pub const HOST: Self = Self::bad_request("a WebSocket handshake needs a Host field");
    /// Connection does not name the upgrade.
    pub const CONNECTION: Self = Self::bad_request("a WebSocket handshake needs the field Connection: Upgrade");
    /// Upgrade does not name WebSocket.
    pub const UPGRADE: Self = Self::bad_request("a WebSocket handshake needs the field Upgrade: websocket");
    /// The key is missing, repeated, or not 16 bytes.
    pub const KEY: Self = Self::bad_request("a WebSocket handshake needs one Sec-WebSocket-Key: 16 bytes in base64");
    /// The protocol version is missing or not 13.
    pub const VERSION: Self = Self {
        status: 426,
        message: "the WebSocket version spoken here is 13",
        headers: &[("Sec-WebSocket-Version", VERSION), ("Upgrade", "websocket")],
    };
    /// The page that asks is not let in.
    pub const ORIGIN: Self = Self { status: 403, message: "pages of this origin may not connect", headers: &[] };

    const fn bad_request(message: &'static str) -> Self {
        Self { status: 400, message, headers: &[] }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
#[path = "server_tests.rs"]
pub(super) mod tests;
