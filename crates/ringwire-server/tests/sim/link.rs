//! A WebSocket connection of a simulated client: the opening handshake, text messages both ways, and its end.

use std::net::SocketAddr;

use fastrand::Rng;
use ringwire_codec::handshake::{ClientHandshake, Url};
use ringwire_codec::http::Response;
use ringwire_codec::{Decoder, DecoderLimits, Event, MaskKey, Message, Opcode, Role, encode_frame};
use ringwire_sim::{Read, Wire};

/// The subprotocol that is spoken.
const JSON: &str = "ringwire.json.1";

/// What a connection heard.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The WebSocket is open.
    Open,
    /// A text message.
    Text(String),
    /// The server closes, with this code.
    Close(Option<u16>),
    /// The connection has ended; it may be opened again.
    End,
}

/// A connection to `/connect`.
#[derive(Debug)]
pub(crate) struct Link {
    address: SocketAddr,
    nonce: [u8; 16],
    out: Vec<u8>,
    input: Vec<u8>,
    decoder: Option<Decoder>,
    /// A close frame came and was answered.
    closed: bool,
    /// The last read took something: only the next one tells whether that was all, and whether the connection has ended.
    may_have_more: bool,
}

impl Link {
    pub(crate) fn new(address: SocketAddr, rng: &mut Rng) -> Self {
        let nonce = rng.u128(..).to_ne_bytes();
        Self { address, nonce, out: Vec::new(), input: Vec::new(), decoder: None, closed: false, may_have_more: false }
    }

    fn url(&self) -> Url {
        Url::parse(&format!("ws://{}/connect", self.address)).expect("a URL")
    }

    /// Connects, with nothing left of the connection before.
    pub(crate) fn connect(&mut self, wire: &mut Wire<'_>) {
        wire.connect(self.address);
        (self.decoder, self.closed) = (None, false);
        self.input.clear();
        let url = self.url();
        self.out = ClientHandshake { subprotocols: &[JSON], ..ClientHandshake::new(&url, self.nonce) }.request();
    }

    pub(crate) fn is_open(&self) -> bool {
        self.decoder.is_some() && !self.closed
    }

    /// Sends a text message.
    pub(crate) fn send(&mut self, text: &str) {
        assert!(self.is_open());
        encode_frame(&mut self.out, Opcode::Text, text.as_bytes(), Some(MaskKey::new([1, 2, 3, 4])));
    }

    /// Whether there may be more to read, of which nothing else will tell.
    pub(crate) fn may_have_more(&self) -> bool {
        self.may_have_more
    }

    /// Bytes that wait for room.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.out.len()
    }

    /// Writes what there is room for.
    pub(crate) fn flush(&mut self, wire: &mut Wire<'_>) {
        let written = wire.write(&self.out);
        self.out.drain(..written);
    }

    /// Writes what there is room for, and reads at most `most` bytes.
    pub(crate) fn act(&mut self, wire: &mut Wire<'_>, most: usize) -> Vec<Heard> {
        let mut heard = Vec::new();
        self.flush(wire);
        let read = wire.read(&mut self.input, most);
        self.may_have_more = matches!(read, Read::Bytes(1..));
        self.digest(&mut heard);
        if matches!(read, Read::End | Read::Refused | Read::Reset { .. }) {
            wire.close();
            heard.push(Heard::End);
        }
        heard
    }

    fn digest(&mut self, heard: &mut Vec<Heard>) {
        if self.decoder.is_none() {
            let Some((response, head_bytes)) = Response::parse(&self.input).expect("the server answers in HTTP") else {
                return;
            };
            let url = self.url();
            let handshake = ClientHandshake { subprotocols: &[JSON], ..ClientHandshake::new(&url, self.nonce) };
            let established = handshake.verify(&response).expect("the server accepts");
            assert_eq!(established.subprotocol.as_deref(), Some(JSON));
            self.input.drain(..head_bytes);
            self.decoder = Some(Decoder::new(Role::Client, DecoderLimits::default()));
            heard.push(Heard::Open);
        }
        let decoder = self.decoder.as_mut().expect("it was made");
        let mut at = 0;
        while at < self.input.len() {
            let step = decoder.decode(&mut self.input[at..]).expect("the server's frames are right");
            at += step.consumed;
            match step.event {
                Some(Event::Message(Message::Text(text))) => heard.push(Heard::Text(text.as_str().to_owned())),
                Some(Event::Message(Message::Binary(_))) => panic!("JSON comes as text"),
                Some(Event::Ping(payload)) => {
                    encode_frame(&mut self.out, Opcode::Pong, payload, Some(MaskKey::new([5, 6, 7, 8])));
                }
                Some(Event::Close(frame)) => {
                    self.closed = true;
                    encode_frame(&mut self.out, Opcode::Close, &1000u16.to_be_bytes(), Some(MaskKey::new([1; 4])));
                    heard.push(Heard::Close(frame.map(|frame| frame.code.value())));
                }
                Some(Event::Pong(_)) | None => {}
            }
        }
        decoder.release();
        self.input.clear();
    }
}
