//! Opens connections, one after the other, with blocking sockets: a connection joins the ring once it is open.
//!
//! For tests and for clients whose socket another one reads. On loopback [`Connector::spread`] takes a new source address
//! after every [`PER_SOURCE`] connections.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use ringwire_codec::extension::{Extension, Negotiator};
use ringwire_codec::handshake::{ClientHandshake, Url};
use ringwire_codec::http::Response;
use ringwire_engine::tls::Session;
use socket2::{Domain, Protocol as Transport, Socket, Type};

use crate::clients::source;
use crate::target::{Protocol, Target, Wire};

pub use crate::clients::PER_SOURCE;

/// How long connecting and each step of the handshake may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// An open connection.
#[derive(Debug)]
pub struct Opened {
    /// The socket, blocking.
    pub stream: TcpStream,
    /// Bytes of the first frames, if they came with the answer's head.
    pub first_bytes: Vec<u8>,
    /// TLS, its handshake done.
    pub tls: Option<Box<Session>>,
    /// The extension that the server agreed to.
    pub extension: Option<Box<dyn Extension>>,
}

/// Opens connections to one target.
#[derive(Debug)]
pub struct Connector<'a> {
    target: &'a Target,
    opened: usize,
    is_spread: bool,
    random: fastrand::Rng,
}

impl<'a> Connector<'a> {
    /// Opens connections from whatever address the kernel chooses.
    pub fn new(target: &'a Target) -> Self {
        Self { target, opened: 0, is_spread: false, random: fastrand::Rng::with_seed(0) }
    }

    /// Opens connections from several addresses of loopback, if the target is there: from the `first`th on, as if those
    /// before had been opened here too.
    pub fn spread(target: &'a Target, first: usize) -> Self {
        Self { target, opened: first, is_spread: true, random: fastrand::Rng::with_seed(first as u64) }
    }

    /// What is spoken on the connections.
    pub fn protocol(&self) -> &'a Protocol {
        &self.target.protocol
    }

    /// Opens a connection, with its opening handshake if it is a WebSocket.
    ///
    /// # Errors
    /// What went wrong, as the user reads it.
    pub fn open(&mut self) -> Result<Opened, String> {
        let source = self.is_spread.then(|| source::address(self.opened / PER_SOURCE));
        self.opened += 1;
        let fault = |error: io::Error| format!("{}: connection {}: {error}", self.target, self.opened);
        let stream = connect(self.target.address, source).map_err(fault)?;
        let Protocol::WebSocket(url) = &self.target.protocol else {
            return Ok(Opened { stream, first_bytes: Vec::new(), tls: None, extension: None });
        };
        let nonce = self.random.u128(..).to_ne_bytes();
        let opened = Line::open(stream, url, &self.target.wire).and_then(|line| line.shake_hands(url, nonce));
        opened.map_err(|reason| format!("{}: connection {}: {reason}", self.target, self.opened))
    }
}

fn connect(address: SocketAddr, source: Option<Ipv4Addr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Transport::TCP))?;
    if let (Some(source), IpAddr::V4(ip)) = (source, address.ip())
        && ip.is_loopback()
    {
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    socket.connect_timeout(&address.into(), PATIENCE)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

/// A connection until its WebSocket is open: blocking reads and writes, through TLS if there is TLS.
struct Line<'w> {
    stream: TcpStream,
    wire: &'w Wire,
    tls: Option<Box<Session>>,
}

impl<'w> Line<'w> {
    /// Opens TLS if the URL asks for it.
    fn open(stream: TcpStream, url: &Url, wire: &'w Wire) -> Result<Self, String> {
        let mut line = Self { stream, wire, tls: None };
        if let Some(connector) = wire.tls.as_ref().filter(|_| url.is_secure()) {
            let session = connector.session(url.host()).map_err(|error| error.to_string())?;
            line.tls = Some(Box::new(session));
            let mut early = Vec::new();
            while line.tls.as_ref().is_some_and(|session| session.is_handshaking()) {
                line.write(&[])?;
                line.read(&mut early)?;
            }
        }
        Ok(line)
    }

    fn write(&mut self, plain: &[u8]) -> Result<(), String> {
        let mut sealed = Vec::new();
        let bytes = match &mut self.tls {
            None => plain,
            Some(session) => {
                session.transmit(plain, &mut sealed).map_err(|error| error.to_string())?;
                &sealed
            }
        };
        self.stream.write_all(bytes).map_err(|error| error.to_string())
    }

    /// Appends what comes next. Nothing may come of bytes that are TLS's own.
    fn read(&mut self, plain: &mut Vec<u8>) -> Result<(), String> {
        let mut bytes = [0; 4096];
        let read = self.stream.read(&mut bytes).map_err(|error| format!("no answer to the handshake: {error}"))?;
        if read == 0 {
            return Err("the server ended the connection in the handshake".to_owned());
        }
        match &mut self.tls {
            None => plain.extend_from_slice(&bytes[..read]),
            Some(session) => drop(session.receive(&mut bytes[..read], plain).map_err(|error| error.to_string())?),
        }
        Ok(())
    }

    /// Opens the WebSocket.
    fn shake_hands(mut self, url: &Url, nonce: [u8; 16]) -> Result<Opened, String> {
        let extension = self.wire.deflate.as_deref().map(|deflate| deflate as &dyn Negotiator);
        let handshake = ClientHandshake { extension, ..ClientHandshake::new(url, nonce) };
        self.write(&handshake.request())?;
        let mut head = Vec::new();
        loop {
            self.read(&mut head)?;
            if let Some((response, head_bytes)) = Response::parse(&head).map_err(|error| error.to_string())? {
                let established = handshake.verify(&response).map_err(|error| error.to_string())?;
                if self.wire.deflate.is_some() && established.extension.is_none() {
                    return Err("the server does not agree to permessage-deflate".to_owned());
                }
                let first_bytes = head[head_bytes..].to_vec();
                let Self { stream, tls, .. } = self;
                return Ok(Opened { stream, first_bytes, tls, extension: established.extension });
            }
            if head.len() > HEAD_BYTES_MAX {
                return Err("the head of the server's answer is too long".to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringwire_codec::handshake::{Policy, accept};
    use ringwire_codec::http::Request;
    use std::net::TcpListener;

    /// What a connection to a server that answers with `answer` opens, and what the server saw as its source.
    fn open(
        spread: Option<usize>,
        answer: impl Fn(&Request<'_>) -> Vec<u8> + Sync,
    ) -> (Result<Vec<u8>, String>, IpAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::parse(&format!("ws://{}/x", listener.local_addr().unwrap())).unwrap();
        std::thread::scope(|scope| {
            let server = scope.spawn(|| {
                let (mut stream, from) = listener.accept().unwrap();
                let mut bytes = vec![0; 4096];
                let len = stream.read(&mut bytes).unwrap();
                let (request, _) = Request::parse(&bytes[..len]).unwrap().unwrap();
                stream.write_all(&answer(&request)).unwrap();
                from.ip()
            });
            let mut connector = spread.map_or(Connector::new(&target), |first| Connector::spread(&target, first));
            let opened = connector.open();
            (opened.map(|opened| opened.first_bytes), server.join().unwrap())
        })
    }

    fn accepted(request: &Request<'_>) -> Vec<u8> {
        accept(request, &Policy::default()).unwrap().response(&[])
    }

    #[test]
    fn bytes_behind_the_answer_are_kept() {
        let (opened, _) = open(None, |request| [accepted(request), b"\x81\x01x".to_vec()].concat());
        assert_eq!(opened.unwrap(), b"\x81\x01x");
    }

    #[test]
    fn a_refusal_says_its_status_and_where() {
        let (opened, _) = open(None, |_| b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec());
        let fault = opened.unwrap_err();
        assert!(fault.contains("404") && fault.contains("ws://127.0.0.1"), "{fault}");
    }

    #[test]
    fn a_server_that_hangs_up_is_an_error() {
        let (opened, _) = open(None, |_| Vec::new());
        assert!(opened.unwrap_err().contains("ended the connection"));
    }

    #[test]
    fn spread_connections_change_their_source_address() {
        assert_eq!(open(None, accepted).1, Ipv4Addr::new(127, 0, 0, 1));
        assert_eq!(open(Some(0), accepted).1, Ipv4Addr::new(127, 0, 1, 1));
        assert_eq!(open(Some(PER_SOURCE - 1), accepted).1, Ipv4Addr::new(127, 0, 1, 1));
        assert_eq!(open(Some(PER_SOURCE), accepted).1, Ipv4Addr::new(127, 0, 1, 2));
    }
}
