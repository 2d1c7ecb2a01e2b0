//! Opening one connection: its socket, what is said in the opening handshake, and the words for what goes wrong.
//!
//! Nothing here waits: the socket connects by itself, and [`Opening::answer`] takes the server's answer as it comes.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ringwire_codec::extension::{Extension, Negotiator};
use ringwire_codec::handshake::{ClientHandshake, Url};
use ringwire_codec::http::{Response, is_header};
use ringwire_engine::tls::Session;
use ringwire_ring::linux::{descriptor_limit, is_in_progress, is_out_of_descriptors};
use socket2::{Domain, Protocol as Transport, Socket, Type};

use super::{Door, End, source};
use crate::target::Protocol;

/// Longest head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// A connection that is being opened.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) door: Arc<Door>,
    /// Which of the connections it is, from 1, for words.
    number: u64,
    nonce: [u8; 16],
    /// The socket, until it is connected: direct descriptors cannot be asked for their errors.
    pub(super) socket: Option<Socket>,
    /// The request has been sent.
    pub(super) is_requested: bool,
    /// What came of the answer's head.
    head: Vec<u8>,
}

/// The server's answer opens the connection.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) extension: Option<Box<dyn Extension>>,
    /// Bytes behind the answer's head: the last ones that came.
    pub(super) first_bytes: usize,
}

impl Opening {
    pub(super) fn new(door: Arc<Door>, number: u64, nonce: [u8; 16]) -> Self {
        Self { door, number, nonce, socket: None, is_requested: false, head: Vec::new() }
    }

    /// Makes the socket and begins to connect it. Whether it is connected already.
    ///
    /// # Errors
    /// What went wrong, as the user reads it.
    pub(super) fn connect(&mut self, receive_buffer_bytes: Option<i32>) -> Result<bool, String> {
        let socket = self.make_socket(receive_buffer_bytes).map_err(|error| words_of(&error))?;
        let connected = match socket.connect(&self.door.target.address.into()) {
            Ok(()) => true,
            Err(error) if is_in_progress(&error) => false,
            Err(error) => return Err(words_of(&error)),
        };
        self.socket = Some(socket);
        Ok(connected)
    }

    fn make_socket(&self, receive_buffer_bytes: Option<i32>) -> io::Result<Socket> {
        let address = self.door.target.address;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Transport::TCP))?;
        socket.set_nonblocking(true)?;
        if self.door.spread && matches!(address.ip(), IpAddr::V4(ip) if ip.is_loopback()) {
            socket.bind(&SocketAddr::from((source::next(), 0)).into())?;
        }
        if let Some(bytes) = receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes as usize)?;
        }
        socket.set_tcp_nodelay(true)?;
        Ok(socket)
    }

    /// The socket has connected or failed to.
    ///
    /// # Errors
    /// What went wrong, as the user reads it.
    pub(super) fn take_error(&self) -> Result<(), String> {
        let error = self.socket.as_ref().map_or(Ok(None), Socket::take_error);
        match error {
            Ok(None) => Ok(()),
            Ok(Some(error)) | Err(error) => Err(words_of(&error)),
        }
    }

    /// The URL, if a WebSocket is to be opened.
    pub(super) fn url(&self) -> Option<&Url> {
        match &self.door.target.protocol {
            Protocol::WebSocket(url) => Some(url),
            Protocol::Tcp => None,
        }
    }

    /// TLS for the connection, if there is to be TLS.
    ///
    /// # Errors
    /// If no certificate could be for such a server.
    pub(super) fn session(&self) -> Result<Option<Box<Session>>, String> {
        let Some(url) = self.url().filter(|url| url.is_secure()) else { return Ok(None) };
        let Some(connector) = &self.door.target.wire.tls else {
            return Err("for wss:// the server's authority is needed: --ca FILE.pem".to_owned());
        };
        let session = connector.session(url.host()).map_err(|error| error.to_string())?;
        Ok(Some(Box::new(session)))
    }

    /// The request.
    ///
    /// # Errors
    /// If a header field or a subprotocol cannot be sent.
    pub(super) fn request(&self) -> Result<Vec<u8>, String> {
        self.with_handshake(|handshake| {
            let subprotocols = handshake.subprotocols.iter().map(|name| ("Sec-WebSocket-Protocol", *name));
            for (name, value) in handshake.headers.iter().copied().chain(subprotocols) {
                if !is_header(name, value) {
                    return Err(format!("{name:?}: {value:?} is not a line of an HTTP request"));
                }
            }
            Ok(handshake.request())
        })
    }

    /// Takes in bytes of the answer. `None` while its head is not whole.
    pub(super) fn answer(&mut self, bytes: &[u8]) -> Option<Result<Answer, String>> {
        self.head.extend_from_slice(bytes);
        let (response, head_bytes) = match Response::parse(&self.head) {
            Ok(Some(parsed)) => parsed,
            Ok(None) if self.head.len() > HEAD_BYTES_MAX => {
                return Some(Err("the head of the server's answer is too long".to_owned()));
            }
            Ok(None) => return None,
            Err(error) => return Some(Err(error.to_string())),
        };
        let first_bytes = self.head.len() - head_bytes;
        Some(self.verify(&response).map(|extension| Answer { extension, first_bytes }))
    }

    fn verify(&self, response: &Response<'_>) -> Result<Option<Box<dyn Extension>>, String> {
        if response.status() != 101 {
            return Err(words_of_status(response));
        }
        self.with_handshake(|handshake| {
            let established = handshake.verify(response).map_err(|error| error.to_string())?;
            if handshake.extension.is_some() && established.extension.is_none() {
                return Err("the server does not agree to permessage-deflate".to_owned());
            }
            if !handshake.subprotocols.is_empty() && established.subprotocol.is_none() {
                let offered = handshake.subprotocols.join(", ");
                return Err(format!("the server agrees to no subprotocol; offered: {offered}"));
            }
            Ok(established.extension)
        })
    }

    fn with_handshake<T>(&self, each: impl FnOnce(&ClientHandshake<'_>) -> Result<T, String>) -> Result<T, String> {
        let wire = &self.door.target.wire;
        let url = self.url().ok_or("no WebSocket is to be opened")?;
        let subprotocols = self.door.subprotocols.iter().chain(&wire.subprotocols);
        let subprotocols: Vec<&str> = subprotocols.map(String::as_str).collect();
        let headers = wire.headers.iter().chain(&self.door.headers);
        let headers: Vec<(&str, &str)> = headers.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        each(&ClientHandshake {
            extension: wire.deflate.as_deref().map(|deflate| deflate as &dyn Negotiator),
            subprotocols: &subprotocols,
            headers: &headers,
            ..ClientHandshake::new(url, self.nonce)
        })
    }

    /// The end of a connection that could not be opened.
    pub(super) fn failed(&self, reason: &str) -> End {
        End::NotOpened(format!("connection {} of {}: {reason}", self.number, self.door.target))
    }
}

/// An error of the socket, with what to do about it.
fn words_of(error: &io::Error) -> String {
    if is_out_of_descriptors(error) {
        let limit = descriptor_limit().map_or("reached".to_owned(), |limit| limit.to_string());
        return format!(
            "too few descriptors: RLIMIT_NOFILE is {limit}, and a few hundred are needed beside those of the rings: \
             raise it (ulimit -n)"
        );
    }
    let advice = match error.kind() {
        ErrorKind::ConnectionRefused => ": does a server listen there?",
        ErrorKind::AddrNotAvailable => {
            ": no port of this source address is free (net.ipv4.ip_local_port_range), some of them for a minute after \
             a connection has ended"
        }
        _ => "",
    };
    format!("{error}{advice}")
}

/// An answer that opens nothing, with what to do about it.
fn words_of_status(response: &Response<'_>) -> String {
    let advice = match response.status() {
        404 => ": is the path right?".to_owned(),
        401 | 403 => ": is a token needed, or another one?".to_owned(),
        300..=399 => response.header("location").map_or(String::new(), |to| format!(": it points to {to}")),
        _ => String::new(),
    };
    format!("HTTP {} {}", response.status(), response.reason()).trim_end().to_owned() + &advice
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;
    use ringwire_codec::handshake::{Policy, accept};
    use ringwire_codec::http::Request;

    fn opening(change: impl FnOnce(&mut Door)) -> Opening {
        let mut door = Door::new(Target::parse("ws://127.0.0.1:81/x").unwrap());
        change(&mut door);
        Opening::new(Arc::new(door), 7, [1; 16])
    }

    /// What comes of an answer to the request that a door makes.
    fn answered(change: impl FnOnce(&mut Door), answer: impl Fn(&Request<'_>) -> Vec<u8>) -> Result<usize, String> {
        let mut opening = opening(change);
        let request = opening.request()?;
        let (request, _) = Request::parse(&request).unwrap().unwrap();
        let answer = answer(&request);
        // In two parts, the first of which opens nothing yet.
        let (first, second) = answer.split_at(9);
        assert!(opening.answer(first).is_none());
        opening.answer(second).unwrap().map(|answer| answer.first_bytes)
    }

    fn accepted(request: &Request<'_>) -> Vec<u8> {
        accept(request, &Policy::default()).unwrap().response(&[])
    }

    #[test]
    fn bytes_behind_the_answer_are_counted() {
        let opened = answered(|_| (), |request| [accepted(request), b"\x81\x01x".to_vec()].concat());
        assert_eq!(opened, Ok(3));
    }

    #[test]
    fn a_status_comes_with_advice() {
        let words = |head: &str| answered(|_| (), |_| format!("HTTP/1.1 {head}\r\n\r\n").into_bytes()).unwrap_err();
        assert_eq!(words("404 Not Found"), "HTTP 404 Not Found: is the path right?");
        assert_eq!(words("403 Forbidden"), "HTTP 403 Forbidden: is a token needed, or another one?");
        assert_eq!(words("301 Moved\r\nLocation: ws://b/"), "HTTP 301 Moved: it points to ws://b/");
        assert_eq!(words("500 "), "HTTP 500");
        let failed = opening(|_| ()).failed("HTTP 500");
        assert_eq!(failed, End::NotOpened("connection 7 of ws://127.0.0.1:81/x: HTTP 500".to_owned()));
    }

    #[test]
    fn headers_of_the_target_and_of_the_door_are_sent() {
        let change = |door: &mut Door| {
            door.target.wire.headers.push(("Authorization".to_owned(), "Bearer t".to_owned()));
            door.headers.push(("X-Room".to_owned(), "7".to_owned()));
        };
        let request = String::from_utf8(opening(change).request().unwrap()).unwrap();
        assert!(request.contains("\r\nAuthorization: Bearer t\r\nX-Room: 7\r\n"), "{request}");
    }

    #[test]
    fn a_header_that_would_make_two_is_refused() {
        let change = |door: &mut Door| door.headers.push(("X".to_owned(), "a\r\nb".to_owned()));
        assert!(opening(change).request().unwrap_err().contains("not a line"));
    }

    #[test]
    fn a_server_that_agrees_to_no_subprotocol_is_not_talked_to() {
        let change = |door: &mut Door| door.subprotocols.push("chat".to_owned());
        assert!(answered(change, accepted).unwrap_err().contains("offered: chat"));
        let agreed = |request: &Request<'_>| {
            let policy = Policy { subprotocols: vec!["chat".to_owned()], ..Policy::default() };
            accept(request, &policy).unwrap().response(&[])
        };
        assert_eq!(answered(change, agreed), Ok(0));
    }

    #[test]
    fn an_endless_head_is_given_up() {
        let mut opening = opening(|_| ());
        let line = format!("X: {}\r\n", "x".repeat(1000));
        assert!(opening.answer(b"HTTP/1.1 101 S\r\n").is_none());
        let ended = (0..20).find_map(|_| opening.answer(line.as_bytes()));
        assert!(ended.unwrap().unwrap_err().contains("too long"));
    }
}
