//! Connections are opened, throttled and closed in the ring, and what goes wrong is said in words: against servers of
//! this test on loopback, most of them odd. No test waits longer than a minute.

#![forbid(unsafe_code)]

mod closing;
mod opening;
mod traffic;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use ringload::clients::{Clients, ClientsOptions, Door, End, Message, Outbox, Workload};
use ringload::target::Target;
use ringwire_codec::handshake::{Policy, accept};
use ringwire_codec::http::Request;
use ringwire_codec::{Decoder, DecoderLimits, Event, MaskKey, Opcode, Role, encode_frame};
use ringwire_ring::{Clock, Instant, Wait};

/// What a test has heard of its connections, by their numbers.
#[derive(Default)]
struct Ear {
    open: Vec<usize>,
    /// Messages, each with when it came.
    heard: Vec<(usize, Vec<u8>, Instant)>,
    heard_bytes: usize,
    ends: BTreeMap<usize, End>,
}

impl Workload for Ear {
    fn on_open(&mut self, _: &mut Outbox<'_>, link: usize, _: Instant) {
        self.open.push(link);
        self.ends.remove(&link);
    }

    fn on_message(&mut self, _: &mut Outbox<'_>, link: usize, message: Message<'_>, at: Instant) {
        self.heard_bytes += message.bytes.len();
        self.heard.push((link, message.bytes.to_vec(), at));
    }

    fn on_ended(&mut self, _: &mut Outbox<'_>, link: usize, end: &End) {
        assert!(self.ends.insert(link, end.clone()).is_none(), "connection {link} ends once");
    }
}

fn clients(connections: usize) -> Clients {
    Clients::new(ClientsOptions::new(connections, Clock::start())).expect("io_uring")
}

/// Takes turns until `done`, and no longer than a minute.
fn until<W: Workload>(clients: &mut Clients, ear: &mut W, mut done: impl FnMut(&W) -> bool) {
    let deadline = clients.now() + Duration::from_secs(60);
    while !done(ear) {
        if clients.now() >= deadline {
            // A panic would wait for the server's thread, which waits for a client.
            eprintln!("nothing came for a minute");
            std::process::exit(101);
        }
        clients.turn(Wait::Until(deadline), ear).expect("the kernel goes on");
    }
}

/// A listener and the door to it.
fn listen(scheme: &str) -> (TcpListener, Door) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("{scheme}://{}", listener.local_addr().expect("its address"));
    let url = if scheme == "ws" { url + "/x" } else { url };
    (listener, Door::new(Target::parse(&url).expect("a URL")))
}

/// Reads a request and answers the handshake.
fn shake_hands(stream: &mut TcpStream) {
    let (mut head, mut len) = (vec![0; 4096], 0);
    let response = loop {
        let read = stream.read(&mut head[len..]).expect("a request");
        assert!(read > 0, "a whole request");
        len += read;
        if let Some((request, _)) = Request::parse(&head[..len]).expect("a good request") {
            break accept(&request, &Policy::default()).expect("a good handshake").response(&[]);
        }
    };
    stream.write_all(&response).expect("the answer is taken");
}

fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(&mut frame, opcode, payload, None);
    frame
}

fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(&mut frame, opcode, payload, Some(MaskKey::new([1, 2, 3, 4])));
    frame
}

/// Echoes messages and answers a close, until the client ends the connection. Returns the code of its close.
fn echo(stream: &mut TcpStream) -> Option<u16> {
    let mut decoder = Decoder::new(Role::Server, DecoderLimits::default());
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let len = stream.read(&mut bytes).ok().filter(|len| *len > 0)?;
        let (mut at, mut answers, mut code) = (0, Vec::new(), None);
        while at < len {
            let step = decoder.decode(&mut bytes[at..len]).expect("good frames");
            at += step.consumed;
            match step.event {
                Some(Event::Message(message)) => encode_frame(&mut answers, Opcode::Binary, message.bytes(), None),
                Some(Event::Close(said)) => {
                    code = said.map(|said| said.code.value());
                    encode_frame(&mut answers, Opcode::Close, &1000u16.to_be_bytes(), None);
                }
                _ => {}
            }
        }
        decoder.release();
        stream.write_all(&answers).ok()?;
        if code.is_some() {
            return code;
        }
    }
}
