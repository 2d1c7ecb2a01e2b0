//! A WebSocket and HTTP client on a blocking socket: what a test says to a server, and what it hears.
//!
//! Frames are read by the codec's client role, so a masked or malformed frame of the server fails the test. Every wait
//! is bounded by [`PATIENCE`].

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use ringwire_engine::codec::deflate::Deflate;
use ringwire_engine::codec::extension::Extension;
use ringwire_engine::codec::handshake::{ClientHandshake, Url};
use ringwire_engine::codec::http::{ChunkedDecoder, Response};
use ringwire_engine::codec::{
    CloseCode, Decoder, DecoderLimits, Event, FrameHeader, MaskKey, Message, Opcode, Role, encode_close, encode_frame,
    encode_message, unmask,
};
use rustls::ClientConnection;

use super::certificates;
use super::wire::Wire;

/// Longest wait for anything that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A client.
pub(crate) struct Client {
    wire: Wire,
    decoder: Decoder,
    /// What was agreed on with the server.
    extension: Option<Box<dyn Extension>>,
    /// Bytes that came.
    received_bytes: usize,
    /// What came and is not yet decoded, from `start` on.
    input: Vec<u8>,
    start: usize,
    /// Where a body in chunks is.
    chunks: ChunkedDecoder,
    /// Bytes of a frame that the server did not take.
    unwritten: Vec<u8>,
    masks: fastrand::Rng,
}

/// What the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    /// The stream ended, well or with this error.
    End(Option<io::ErrorKind>),
}

/// An HTTP response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) date: Option<String>,
    pub(crate) body: String,
}

impl Client {
    /// A connection, before any handshake.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, crate::SECURE.then(certificates::usual_client))
    }

    /// A connection with this TLS, or none.
    pub(crate) fn connect_with(address: SocketAddr, tls: Option<ClientConnection>) -> Self {
        Self::adopt(TcpStream::connect_timeout(&address, PATIENCE).expect("the server takes connections"), tls)
    }

    /// A connection from this IP address of the machine, before any handshake.
    pub(crate) fn connect_from(from: IpAddr, address: SocketAddr) -> Self {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::new(from, 0).into()).expect("an address of this machine");
        socket.connect_timeout(&address.into(), PATIENCE).expect("the server takes connections");
        Self::adopt(socket.into(), crate::SECURE.then(certificates::usual_client))
    }

    /// A connection that was made elsewhere, with what its TLS knows.
    pub(crate) fn adopt(stream: TcpStream, tls: Option<ClientConnection>) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("timeout");
        stream.set_nodelay(true).expect("no delay");
        let limits = DecoderLimits { frame_bytes_max: 1 << 30, message_bytes_max: 1 << 30, ..DecoderLimits::default() };
        let decoder = Decoder::new(Role::Client, limits);
        Self {
            wire: Wire::new(stream, tls),
            decoder,
            extension: None,
            received_bytes: 0,
            input: Vec::new(),
            start: 0,
            chunks: ChunkedDecoder::default(),
            unwritten: Vec::new(),
            masks: fastrand::Rng::with_seed(7),
        }
    }

    /// An open WebSocket.
    pub(crate) fn open(address: SocketAddr, path: &str) -> Self {
        let mut client = Self::connect(address);
        client.write(&Self::upgrade(address, path));
        client.opened();
        client
    }

    /// An open WebSocket on which the server has agreed on what `deflate` offers.
    pub(crate) fn open_deflate(address: SocketAddr, path: &str, deflate: &Deflate) -> Self {
        let mut client = Self::connect(address);
        let url = Url::parse(&format!("ws://{address}{path}")).expect("a URL");
        let handshake = ClientHandshake { extension: Some(deflate), ..ClientHandshake::new(&url, NONCE) };
        client.write(&handshake.request());
        while Response::parse(&client.input).expect("an HTTP response").is_none() {
            assert!(client.fill().expect("an answer to the handshake") > 0, "the stream ended in the handshake");
        }
        let (response, head_bytes) = Response::parse(&client.input).expect("an HTTP response").expect("a whole one");
        client.extension = handshake.verify(&response).expect("the upgrade is accepted").extension;
        assert!(client.extension.is_some(), "the server agrees on compression");
        client.start = head_bytes;
        client
    }

    /// Sends a text message, compressed if it gets shorter.
    pub(crate) fn send_packed(&mut self, text: &str) {
        let mask = MaskKey::new(self.masks.u32(..).to_ne_bytes());
        let extension = self.extension.as_deref_mut().expect("an extension was agreed on");
        let (mut frame, mut scratch) = (Vec::new(), Vec::new());
        encode_message(&mut frame, Opcode::Text, text.as_bytes(), Some(mask), extension, &mut scratch);
        self.write(&frame);
    }

    /// Sends a binary frame that says it is compressed.
    pub(crate) fn send_marked(&mut self, payload: &[u8]) {
        let mask = MaskKey::new(self.masks.u32(..).to_ne_bytes());
        let payload_bytes = payload.len() as u64;
        let header = FrameHeader { fin: true, rsv1: true, opcode: Opcode::Binary, mask: Some(mask), payload_bytes };
        let mut frame = header.encode().to_vec();
        let start = frame.len();
        frame.extend_from_slice(payload);
        unmask(&mut frame[start..], mask);
        self.write(&frame);
    }

    /// Bytes that came up to now.
    pub(crate) fn received_bytes(&self) -> usize {
        self.received_bytes
    }

    /// The bytes of a request for a WebSocket.
    pub(crate) fn upgrade(address: SocketAddr, path: &str) -> Vec<u8> {
        Self::upgrade_with(address, path, &[])
    }

    /// The same with an offer of subprotocols.
    pub(crate) fn upgrade_with(address: SocketAddr, path: &str, subprotocols: &[&str]) -> Vec<u8> {
        let url = Url::parse(&format!("ws://{address}{path}")).expect("a URL");
        ClientHandshake { subprotocols, ..ClientHandshake::new(&url, NONCE) }.request()
    }

    /// Reads the answer to an upgrade, which must be a yes.
    pub(crate) fn opened(&mut self) {
        self.accepted(&[]);
    }

    /// Reads the answer to an upgrade that offered `subprotocols`; the one agreed on, and what the handler says of it.
    pub(crate) fn accepted(&mut self, subprotocols: &[&str]) -> (Option<String>, Option<String>) {
        loop {
            if let Some((response, head_bytes)) = Response::parse(&self.input).expect("an HTTP response") {
                let url = Url::parse("ws://any/").expect("a URL");
                let handshake = ClientHandshake { subprotocols, ..ClientHandshake::new(&url, NONCE) };
                let established = handshake.verify(&response).expect("the upgrade is accepted");
                let service = response.header("x-service").map(str::to_owned);
                self.start = head_bytes;
                return (established.subprotocol, service);
            }
            assert!(self.fill().expect("an answer to the handshake") > 0, "the stream ended in the handshake");
        }
    }

    /// Status of the HTTP response that has come or will come, which is left where it is; none if the stream ends.
    pub(crate) fn status(&mut self) -> Option<u16> {
        loop {
            if let Some((response, _)) = Response::parse(&self.input[self.start..]).expect("an HTTP response") {
                return Some(response.status());
            }
            if !matches!(self.fill(), Ok(1..)) {
                return None;
            }
        }
    }

    /// Reads an HTTP response with its body.
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer().expect("an answer")
    }

    /// The same of a server that may have had enough.
    pub(crate) fn try_answer(&mut self) -> io::Result<Answer> {
        loop {
            let input = &self.input[self.start..];
            if let Some((response, head_bytes)) = Response::parse(input).expect("an HTTP response") {
                let end = head_bytes + response.content_length().expect("a length") as usize;
                if input.len() >= end {
                    let answer = Answer {
                        status: response.status(),
                        retry_after: response.header("retry-after").map(str::to_owned),
                        date: response.header("date").map(str::to_owned),
                        body: String::from_utf8(input[head_bytes..end].to_vec()).expect("text"),
                    };
                    self.start += end;
                    return Ok(answer);
                }
            }
            assert!(self.fill()? > 0, "the stream ended before the answer was whole");
        }
    }

    /// Reads the head of an HTTP response, as its lines.
    pub(crate) fn head(&mut self) -> String {
        loop {
            let input = &self.input[self.start..];
            if let Some((_, head_bytes)) = Response::parse(input).expect("an HTTP response") {
                let head = String::from_utf8(input[..head_bytes].to_vec()).expect("text");
                self.start += head_bytes;
                return head;
            }
            assert!(self.fill().expect("an answer") > 0, "the stream ended in a response's head");
        }
    }

    /// Reads so many bytes of a body that comes in chunks; all to its end for `None`, behind which nothing comes.
    pub(crate) fn body(&mut self, bytes: Option<usize>) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            while self.start < self.input.len() {
                let step = self.chunks.decode(&self.input[self.start..]).expect("the server keeps the protocol");
                self.start += step.consumed;
                body.extend_from_slice(step.data);
                if step.done {
                    assert_eq!(bytes, None, "the body ends early: {}", body.escape_ascii());
                    assert_eq!(self.hear(), Heard::End(None), "nothing follows the last chunk");
                    return body;
                }
            }
            if bytes.is_some_and(|bytes| body.len() >= bytes) {
                assert_eq!(Some(body.len()), bytes, "{}", body.escape_ascii());
                return body;
            }
            assert!(self.fill().expect("more of the body") > 0, "the stream ended before the body did");
        }
    }

    /// The next event; control frames count.
    pub(crate) fn hear(&mut self) -> Heard {
        loop {
            while self.start < self.input.len() {
                let (input, extension) = (&mut self.input[self.start..], self.extension.as_deref_mut());
                let step = self.decoder.decode_with(input, extension).expect("the server keeps the protocol");
                self.start += step.consumed;
                if let Some(event) = step.event {
                    return heard(event);
                }
            }
            self.decoder.release();
            self.input.clear();
            self.start = 0;
            match self.fill() {
                Ok(0) => return Heard::End(None),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("nothing came for {PATIENCE:?}"),
                Err(error) => return Heard::End(Some(error.kind())),
            }
        }
    }

    /// Bytes as they come; none at the end of the stream, good or bad.
    pub(crate) fn raw(&mut self) -> Vec<u8> {
        self.input.clear();
        self.start = 0;
        match self.fill() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("nothing came for {PATIENCE:?}"),
            Ok(_) | Err(_) => std::mem::take(&mut self.input),
        }
    }

    /// Sends a whole message.
    pub(crate) fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut out = Vec::new();
        encode_frame(&mut out, opcode, payload, Some(self.mask()));
        self.write(&out);
    }

    /// Sends a text message.
    pub(crate) fn send_text(&mut self, text: &str) {
        self.send(Opcode::Text, text.as_bytes());
    }

    /// Sends one frame that may be a fragment.
    pub(crate) fn send_frame(&mut self, fin: bool, opcode: Opcode, payload: &[u8]) {
        let frame = self.frame(fin, opcode, payload);
        self.write(&frame);
    }

    /// The bytes of one masked frame.
    pub(crate) fn frame(&mut self, fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mask = self.mask();
        let payload_bytes = payload.len() as u64;
        let header = FrameHeader { fin, rsv1: false, opcode, mask: Some(mask), payload_bytes };
        let mut out = header.encode().to_vec();
        let start = out.len();
        out.extend_from_slice(payload);
        unmask(&mut out[start..], mask);
        out
    }

    /// Sends a close frame.
    pub(crate) fn send_close(&mut self, code: CloseCode) {
        self.send(Opcode::Close, &encode_close(Some(code), ""));
    }

    /// Sends a text and hears it back.
    pub(crate) fn echo(&mut self, text: &str) {
        self.send_text(text);
        assert_eq!(self.hear(), Heard::Text(text.to_owned()));
    }

    /// Closes well: close frame out, close frame in, end of stream.
    pub(crate) fn leave(mut self) {
        self.send_close(CloseCode::NORMAL);
        while !matches!(self.hear(), Heard::Close(Some(1000), _)) {}
        assert_eq!(self.hear(), Heard::End(None));
    }

    /// Closes well, whatever else the server says meanwhile.
    pub(crate) fn leave_unheard(mut self) {
        self.send_close(CloseCode::NORMAL);
        while !matches!(self.hear(), Heard::End(_)) {}
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(self.wire.tcp()).set_linger(Some(Duration::ZERO)).expect("linger");
    }

    /// Sends bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.wire.write_all(bytes).expect("the server reads");
    }

    /// Sends bytes as they are, to a server that may have had enough.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.write_all(bytes)
    }

    /// Sends bytes until the server takes no more within the socket's write timeout. `false`: it did not take all, and
    /// the rest is kept for [`take_unwritten`](Self::take_unwritten).
    pub(crate) fn write_part(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            match self.wire.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.unwritten = bytes.to_vec();
                    return false;
                }
                Err(error) => panic!("the connection breaks: {error}"),
            }
        }
        true
    }

    /// What [`write_part`](Self::write_part) could not send.
    pub(crate) fn take_unwritten(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.unwritten)
    }

    /// Ends the stream from this side only.
    pub(crate) fn finish_sending(&self) {
        self.wire.finish();
    }

    /// Another handle, for a thread that writes meanwhile.
    pub(crate) fn writer(&self) -> Wire {
        self.wire.clone()
    }

    /// The socket.
    pub(crate) fn stream(&self) -> &TcpStream {
        self.wire.tcp()
    }

    /// A fresh mask key.
    fn mask(&mut self) -> MaskKey {
        MaskKey::new(self.masks.u32(..).to_le_bytes())
    }

    /// Reads once more from the socket.
    fn fill(&mut self) -> io::Result<usize> {
        let before = self.input.len();
        self.input.resize(before + READ_BYTES, 0);
        let read = self.wire.read(&mut self.input[before..]);
        let read_bytes = read.as_ref().map_or(0, |&bytes| bytes);
        self.input.truncate(before + read_bytes);
        self.received_bytes += read_bytes;
        read
    }
}

const NONCE: [u8; 16] = *b"the sample nonce";
const READ_BYTES: usize = 256 * 1024;

fn heard(event: Event<'_>) -> Heard {
    match event {
        Event::Message(Message::Text(text)) => Heard::Text(text.as_str().to_owned()),
        Event::Message(Message::Binary(bytes)) => Heard::Binary(bytes.to_vec()),
        Event::Ping(payload) => Heard::Ping(payload.to_vec()),
        Event::Pong(payload) => Heard::Pong(payload.to_vec()),
        Event::Close(Some(close)) => Heard::Close(Some(close.code.value()), close.reason.to_owned()),
        Event::Close(None) => Heard::Close(None, String::new()),
    }
}
