//! The client's side: the request, and whether the answer is to this request (RFC 6455 §4.1).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Url, VERSION, accept_key};
use crate::extension::{Extension, ExtensionParams, Negotiator};
use crate::http::{Response, Version, push_header};

/// An opening handshake as a client makes it.
#[derive(Clone, Copy, Debug)]
pub struct ClientHandshake<'a> {
    /// Where to.
    pub url: &'a Url,
    /// 16 random bytes, fresh for each connection.
    pub nonce: [u8; 16],
    /// Subprotocols to offer, the one liked best first.
    pub subprotocols: &'a [&'a str],
    /// The extension to offer.
    pub extension: Option<&'a dyn Negotiator>,
    /// More header fields: Origin, Authorization and the like.
    pub headers: &'a [(&'a str, &'a str)],
}

/// What the server agreed to.
#[derive(Debug)]
pub struct Established {
    /// The subprotocol, one of those offered.
    pub subprotocol: Option<String>,
    /// The extension, for the connection's decoder.
    pub extension: Option<Box<dyn Extension>>,
}

/// Why an answer does not open a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandshakeError {
    /// The server answers with this HTTP status instead of 101.
    Refused(u16),
    /// The answer is older than HTTP/1.1.
    HttpVersion,
    /// Upgrade does not name WebSocket.
    UpgradeMissing,
    /// Connection does not name the upgrade.
    ConnectionMissing,
    /// Sec-WebSocket-Accept is missing or answers another key.
    AcceptWrong,
    /// A subprotocol that was not offered, or more than one.
    SubprotocolNotOffered,
    /// An extension that was not offered, in a form that was not offered, or more than one.
    ExtensionNotOffered,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HandshakeError::Refused(status) => return write!(f, "the server refused the upgrade with status {status}"),
            HandshakeError::HttpVersion => "the server's answer is not HTTP/1.1",
            HandshakeError::UpgradeMissing => "the server's answer lacks the field Upgrade: websocket",
            HandshakeError::ConnectionMissing => "the server's answer lacks the field Connection: Upgrade",
            HandshakeError::AcceptWrong => "the server's Sec-WebSocket-Accept does not answer this handshake",
            HandshakeError::SubprotocolNotOffered => "the server chose a subprotocol that was not offered",
            HandshakeError::ExtensionNotOffered => "the server chose an extension that was not offered",
        })
    }
}

impl std::error::Error for HandshakeError {}

impl<'a> ClientHandshake<'a> {
    /// A handshake that offers nothing beyond the protocol.
    pub const fn new(url: &'a Url, nonce: [u8; 16]) -> Self {
        Self { url, nonce, subprotocols: &[], extension: None, headers: &[] }
    }

    /// The request's bytes.
    ///
    /// # Panics
    /// If a subprotocol or a header field is not one line of a header.
    pub fn request(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        for part in ["GET ", self.url.target(), " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        push_header(&mut out, "Host", &self.url.authority());
        push_header(&mut out, "Upgrade", "websocket");
        push_header(&mut out, "Connection", "Upgrade");
        push_header(&mut out, "Sec-WebSocket-Key", &self.key());
        push_header(&mut out, "Sec-WebSocket-Version", VERSION);
        if !self.subprotocols.is_empty() {
            push_header(&mut out, "Sec-WebSocket-Protocol", &self.subprotocols.join(", "));
        }
        if let Some(extension) = self.extension {
            push_header(&mut out, "Sec-WebSocket-Extensions", &extension.offer());
        }
        for (name, value) in self.headers {
            push_header(&mut out, name, value);
        }
        out.extend_from_slice(b"\r\n");
        out
    }

    /// Whether `response` opens the connection, and on which terms. What follows its head is the first frames.
    pub fn verify(&self, response: &Response<'_>) -> Result<Established, HandshakeError> {
        let headers = response.headers();
        if response.status() != 101 {
            return Err(HandshakeError::Refused(response.status()));
        }
        if response.version() != Version::Http11 {
            return Err(HandshakeError::HttpVersion);
        }
        if !headers.has_token("upgrade", "websocket") {
            return Err(HandshakeError::UpgradeMissing);
        }
        if !headers.has_token("connection", "upgrade") {
            return Err(HandshakeError::ConnectionMissing);
        }
        let answers = |accept: &str| accept.as_bytes() == accept_key(&self.key());
        if !headers.only("sec-websocket-accept").is_some_and(answers) {
            return Err(HandshakeError::AcceptWrong);
        }
        Ok(Established { subprotocol: self.agreed_subprotocol(response)?, extension: self.agreed_extension(response)? })
    }

    fn key(&self) -> String {
        STANDARD.encode(self.nonce)
    }

    fn agreed_subprotocol(&self, response: &Response<'_>) -> Result<Option<String>, HandshakeError> {
        let mut chosen = response.headers().all("sec-websocket-protocol");
        match (chosen.next(), chosen.next()) {
            (None, _) => Ok(None),
            (Some(one), None) if self.subprotocols.contains(&one) => Ok(Some(one.to_owned())),
            (Some(_), _) => Err(HandshakeError::SubprotocolNotOffered),
        }
    }

    fn agreed_extension(&self, response: &Response<'_>) -> Result<Option<Box<dyn Extension>>, HandshakeError> {
        let not_offered = HandshakeError::ExtensionNotOffered;
        let mut chosen = response.headers().all("sec-websocket-extensions").filter(|value| !value.is_empty());
        let Some(value) = chosen.next() else { return Ok(None) };
        let mut answers = ExtensionParams::parse_list(value);
        let (Some(answer), None, None) = (answers.next(), answers.next(), chosen.next()) else {
            return Err(not_offered);
        };
        let negotiator = self.extension.ok_or(not_offered)?;
        negotiator.confirm(&answer).map(Some).ok_or(not_offered)
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::tests::UpperNegotiator;
    use super::super::{Policy, accept};
    use super::*;
    use crate::http::Request;
    use std::sync::Arc;

    fn url() -> Url {
        Url::parse("ws://server.example.com/chat?x=1").unwrap()
    }

    /// The RFC's response (§1.2) with one part replaced.
    fn answer(from: &str, to: &str) -> String {
        let response = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
        assert!(response.contains(from));
        response.replacen(from, to, 1)
    }

    fn verify(response: &str) -> Result<Established, HandshakeError> {
        let url = url();
        let handshake = ClientHandshake {
            subprotocols: &["chat", "superchat"],
            ..ClientHandshake::new(&url, *b"the sample nonce")
        };
        handshake.verify(&Response::parse(response.as_bytes()).unwrap().unwrap().0)
    }

    #[test]
    fn the_request_is_the_rfcs() {
        let url = url();
        let handshake = ClientHandshake {
            subprotocols: &["chat", "superchat"],
            headers: &[("Origin", "http://example.com")],
            ..ClientHandshake::new(&url, *b"the sample nonce")
        };
        assert_eq!(
            String::from_utf8(handshake.request()).unwrap(),
            "GET /chat?x=1 HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: chat, superchat\r\nOrigin: http://example.com\r\n\r\n"
        );
    }

    #[test]
    fn the_rfcs_response_opens_the_connection() {
        let established = verify(&answer("", "")).unwrap();
        assert_eq!(established.subprotocol.as_deref(), Some("chat"));
        assert!(established.extension.is_none());
    }

    #[test]
    fn an_answer_that_lacks_something_opens_nothing() {
        let cases = [
            ("101 Switching Protocols", "404 Not Found", HandshakeError::Refused(404)),
            ("HTTP/1.1", "HTTP/1.0", HandshakeError::HttpVersion),
            ("Upgrade: websocket", "Upgrade: h2c", HandshakeError::UpgradeMissing),
            ("Connection: Upgrade", "Connection: close", HandshakeError::ConnectionMissing),
            ("s3pPLMBi", "S3pPLMBi", HandshakeError::AcceptWrong),
            ("Sec-WebSocket-Accept", "X", HandshakeError::AcceptWrong),
            ("Protocol: chat", "Protocol: other", HandshakeError::SubprotocolNotOffered),
            ("Protocol: chat", "Extensions: permessage-deflate", HandshakeError::ExtensionNotOffered),
        ];
        for (from, to, want) in cases {
            assert_eq!(verify(&answer(from, to)).map(|_| ()), Err(want), "{to}");
        }
    }

    #[test]
    fn both_sides_agree_on_subprotocol_and_extension() {
        let url = url();
        let handshake = ClientHandshake {
            subprotocols: &["a", "b"],
            extension: Some(&UpperNegotiator),
            ..ClientHandshake::new(&url, [7; 16])
        };
        let policy =
            Policy { subprotocols: vec!["b".into()], extension: Some(Arc::new(UpperNegotiator)), ..Policy::default() };
        let request = handshake.request();
        let accepted = accept(&Request::parse(&request).unwrap().unwrap().0, &policy).unwrap();
        let response = accepted.response(&[]);
        let established = handshake.verify(&Response::parse(&response).unwrap().unwrap().0).unwrap();
        assert_eq!(established.subprotocol.as_deref(), Some("b"));
        assert!(established.extension.is_some());
        let unasked = ClientHandshake { extension: None, ..handshake };
        let verified = unasked.verify(&Response::parse(&response).unwrap().unwrap().0);
        assert_eq!(verified.unwrap_err(), HandshakeError::ExtensionNotOffered);
    }
}
