//! What is measured: `ws://host:port/path` or `wss://`, or `tcp://host:port` for a floor that sends bytes back, or on to
//! others, as they come.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;

use ringwire_codec::deflate::{Deflate, DeflateOptions};
use ringwire_codec::handshake::Url;
use ringwire_codec::http::is_header;
use ringwire_engine::tls::{Connector, Roots};

/// Where to connect, and what is spoken there.
#[derive(Clone, Debug)]
pub struct Target {
    /// The address that the host's name stands for.
    pub address: SocketAddr,
    /// What is spoken.
    pub protocol: Protocol,
    /// What lies between messages and the socket.
    pub wire: Wire,
}

/// What lies between messages and the socket.
#[derive(Clone, Debug, Default)]
pub struct Wire {
    /// TLS, for a wss:// URL.
    pub tls: Option<Connector>,
    /// permessage-deflate, which the server must agree to.
    pub deflate: Option<Arc<Deflate>>,
    /// Further header fields of the opening handshake: name and value.
    pub headers: Vec<(String, String)>,
    /// Subprotocols to offer, the one liked best first. If any is offered, the server must agree to one.
    pub subprotocols: Vec<String>,
    /// Who we are, for protocols that say so in a message.
    pub token: Option<String>,
}

impl Wire {
    /// TLS that trusts the authorities in the file `ca`, and permessage-deflate if `deflate` says so.
    ///
    /// # Errors
    /// If the file cannot be read or has no certificate.
    pub fn new(ca: Option<&Path>, deflate: bool) -> Result<Self, String> {
        let tls = ca.map(|path| {
            let fault = |error: &dyn fmt::Display| format!("--ca {}: {error}", path.display());
            let pem = std::fs::read(path).map_err(|error| fault(&error))?;
            Connector::new(&Roots::Pem(pem)).map_err(|error| fault(&error))
        });
        // One offer that any server may answer: some read no further than the first, and context takeover is theirs to
        // decline.
        let offer = DeflateOptions { server_no_context_takeover: false, ..DeflateOptions::DEFAULT };
        let deflate = deflate.then(|| Arc::new(Deflate::new(offer)));
        Ok(Self { tls: tls.transpose()?, deflate, ..Self::default() })
    }

    /// Adds a header field, as the command line has it: `Name: value`.
    ///
    /// # Errors
    /// If it is none.
    pub fn add_header(&mut self, text: &str) -> Result<(), String> {
        let field = text.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
        let (name, value) = field
            .filter(|(name, value)| is_header(name, value))
            .ok_or_else(|| format!("--header {text:?}: 'Name: value' is needed"))?;
        self.headers.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Adds a token: `Authorization: Bearer TOKEN`.
    ///
    /// # Errors
    /// If it cannot be in a header field.
    pub fn add_token(&mut self, token: &str) -> Result<(), String> {
        self.add_header(&format!("Authorization: Bearer {token}"))
            .map_err(|_| "--token: it has characters that no header field may have".to_owned())?;
        self.token = Some(token.to_owned());
        Ok(())
    }

    /// Adds a subprotocol to offer.
    ///
    /// # Errors
    /// If it is no name for one.
    pub fn add_subprotocol(&mut self, name: &str) -> Result<(), String> {
        if !is_header(name, "") {
            return Err(format!("--subprotocol {name:?}: a name of letters, digits and .-_~+!#$%&'*^`| is needed"));
        }
        self.subprotocols.push(name.to_owned());
        Ok(())
    }
}

impl Wire {
    /// The first flag of what is said in the opening handshake of a WebSocket.
    fn of_handshake(&self) -> Option<&'static str> {
        let said = [
            (self.token.is_some(), "--token"),
            (!self.headers.is_empty(), "--header"),
            (!self.subprotocols.is_empty(), "--subprotocol"),
            (self.deflate.is_some(), "--deflate"),
        ];
        said.into_iter().find_map(|(is_said, flag)| is_said.then_some(flag))
    }
}

/// What is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// WebSocket, opened at this URL.
    WebSocket(Url),
    /// Nothing: bytes, cut into messages by their number, or into frames that nobody shook hands for.
    Tcp,
}

impl Target {
    /// Reads a target and resolves its host.
    ///
    /// # Errors
    /// What is wrong with it, as the user reads it.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::parse_with(text, Wire::default())
    }

    /// The same with something between messages and the socket.
    ///
    /// # Errors
    /// What is wrong with it, as the user reads it.
    pub fn parse_with(text: &str, wire: Wire) -> Result<Self, String> {
        let fault = |reason: String| format!("{text}: {reason}");
        if let Some(authority) = text.strip_prefix("tcp://") {
            if let Some(what) = wire.of_handshake() {
                return Err(fault(format!("there is no opening handshake on tcp:// that {what} could be in")));
            }
            let address = resolve(authority.trim_end_matches('/')).map_err(fault)?;
            return Ok(Self { address, protocol: Protocol::Tcp, wire: Wire::default() });
        }
        let url = Url::parse(text).map_err(|error| fault(format!("{error} (or tcp://host:port)")))?;
        if url.is_secure() && wire.tls.is_none() {
            return Err(fault("for wss:// the server's authority is needed: --ca FILE.pem".to_owned()));
        }
        let host = if url.host().contains(':') { format!("[{}]", url.host()) } else { url.host().to_owned() };
        let address = resolve(&format!("{host}:{}", url.port())).map_err(fault)?;
        Ok(Self { address, protocol: Protocol::WebSocket(url), wire })
    }

    /// The same server at another path.
    ///
    /// # Errors
    /// If the target has no paths, or this is none.
    pub fn at_path(&self, path: &str) -> Result<Self, String> {
        let Protocol::WebSocket(url) = &self.protocol else {
            return Err(format!("{self}: a ws:// URL is needed"));
        };
        let scheme = if url.is_secure() { "wss" } else { "ws" };
        let url = format!("{scheme}://{}{path}", url.authority());
        let url = Url::parse(&url).map_err(|error| format!("{path}: {error}"))?;
        Ok(Self { address: self.address, protocol: Protocol::WebSocket(url), wire: self.wire.clone() })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.protocol {
            Protocol::WebSocket(url) => url.fmt(f),
            Protocol::Tcp => write!(f, "tcp://{}", self.address),
        }
    }
}

fn resolve(authority: &str) -> Result<SocketAddr, String> {
    let resolved = authority.to_socket_addrs();
    let mut addresses = resolved.map_err(|error| format!("{error}: a host and a port are needed"))?;
    addresses.next().ok_or_else(|| "the host has no address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_read_and_shown() {
        let target = Target::parse("ws://127.0.0.1:81/echo?x=1").unwrap();
        assert_eq!(
            (target.address.to_string().as_str(), target.to_string().as_str()),
            ("127.0.0.1:81", "ws://127.0.0.1:81/echo?x=1")
        );
        assert!(matches!(target.protocol, Protocol::WebSocket(_)));
        let target = Target::parse("tcp://127.0.0.1:82").unwrap();
        assert_eq!((target.protocol.clone(), target.to_string().as_str()), (Protocol::Tcp, "tcp://127.0.0.1:82"));
        assert_eq!(Target::parse("ws://[::1]:83/").unwrap().address.to_string(), "[::1]:83");
    }

    #[test]
    fn another_path_is_of_the_same_server() {
        let target = Target::parse("ws://127.0.0.1:81/").unwrap();
        assert_eq!(target.at_path("/ws/a").unwrap().to_string(), "ws://127.0.0.1:81/ws/a");
        assert!(Target::parse("tcp://127.0.0.1:82").unwrap().at_path("/ws/a").is_err());
    }

    #[test]
    fn what_is_added_to_the_handshake_is_read_or_refused() {
        let mut wire = Wire::default();
        wire.add_header("X-Room:  7 ").unwrap();
        wire.add_token("abc").unwrap();
        wire.add_subprotocol("chat.v1").unwrap();
        let headers = [("X-Room", "7"), ("Authorization", "Bearer abc")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(
            (wire.headers.as_slice(), wire.subprotocols.as_slice()),
            (&headers[..], &["chat.v1".to_owned()][..])
        );
        assert!(wire.add_header("no colon").unwrap_err().contains("Name: value"));
        assert!(wire.add_header("a b: c").is_err() && wire.add_header("A: b\r\nC: d").is_err());
        assert!(wire.add_token("a\nb").unwrap_err().contains("--token"));
        assert!(wire.add_subprotocol("a b").unwrap_err().contains("--subprotocol"));
    }

    #[test]
    fn what_belongs_in_a_handshake_is_refused_where_there_is_none() {
        type Add = fn(&mut Wire) -> Result<(), String>;
        let adds: [(&str, Add); 4] = [
            ("--header", |wire| wire.add_header("A: b")),
            ("--token", |wire| wire.add_token("abc")),
            ("--subprotocol", |wire| wire.add_subprotocol("chat.v1")),
            ("--deflate", |wire| Wire::new(None, true).map(|deflating| *wire = deflating)),
        ];
        for (flag, add) in adds {
            let mut wire = Wire::default();
            add(&mut wire).unwrap();
            let fault = Target::parse_with("tcp://127.0.0.1:82", wire.clone()).unwrap_err();
            assert!(fault.contains(flag) && fault.contains("tcp://127.0.0.1:82"), "{fault}");
            assert!(Target::parse_with("ws://127.0.0.1:82", wire).is_ok());
        }
    }

    #[test]
    fn faults_name_the_target_and_what_would_be_right() {
        for (text, words) in [("http://h/", "ws://"), ("wss://127.0.0.1/", "--ca"), ("tcp://127.0.0.1", "port")] {
            let fault = Target::parse(text).unwrap_err();
            assert!(fault.starts_with(text) && fault.contains(words), "{fault}");
        }
    }
}
