//! A client's connection to the server: its handshake, its frames in, and its bytes out.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use ringwire_codec::handshake::{Policy, accept};
use ringwire_codec::http::Request;
use ringwire_codec::{Decoder, DecoderLimits, Event, Opcode, Role, encode_frame};
use ringwire_ring::Instant;

use super::behavior::Greeting;

/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    stage: Stage,
    /// What the socket has not taken.
    backlog: Vec<u8>,
    /// Messages that were to go to it, dropped ones too.
    pub(crate) deliveries: u64,
    /// A frame that goes out behind the next, and when its message came.
    pub(crate) kept: Option<(Vec<u8>, Instant)>,
    /// When the last message that came from it is to go on: those behind it do not overtake it.
    pub(crate) last_due: Instant,
}

#[derive(Debug)]
enum Stage {
    /// So much of its request has come.
    Greeting(Vec<u8>),
    Open(Decoder, Place),
    /// Nothing that comes matters.
    Deaf,
}

/// What a connection is for: its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `/echo`, or `/`: each message goes back.
    Echo,
    /// `/ws/<topic>`: gets what is published.
    Subscriber(String),
    /// `/pub/<topic>`: each message is published.
    Publisher(String),
}

impl Place {
    fn at(path: &str) -> Option<Self> {
        match path {
            "/" | "/echo" => Some(Place::Echo),
            _ => {
                let (kind, topic) = path.strip_prefix('/')?.split_once('/')?;
                let place = match kind {
                    "ws" => Place::Subscriber,
                    "pub" => Place::Publisher,
                    _ => return None,
                };
                (!topic.is_empty()).then(|| place(topic.to_owned()))
            }
        }
    }
}

/// A connection that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Over;

/// A message that came in: its opcode and its payload.
pub(crate) type Incoming = (Opcode, Vec<u8>);

impl Connection {
    /// Takes over a connection that was accepted.
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nonblocking(true).expect("a socket can be non-blocking");
        stream.set_nodelay(true).expect("a TCP socket");
        Self {
            stream,
            stage: Stage::Greeting(Vec::new()),
            backlog: Vec::new(),
            deliveries: 0,
            kept: None,
            last_due: Instant::default(),
        }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether bytes wait for the socket to take them.
    pub(crate) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// What it is for, once its handshake is done.
    pub(crate) fn place(&self) -> Option<&Place> {
        match &self.stage {
            Stage::Open(_, place) => Some(place),
            Stage::Greeting(_) | Stage::Deaf => None,
        }
    }

    /// Reads what has come, once. Messages are appended to `messages`.
    pub(crate) fn read(&mut self, greeting: Greeting, messages: &mut Vec<Incoming>) -> Result<(), Over> {
        let mut bytes = vec![0; READ_BYTES];
        let len = match self.stream.read(&mut bytes) {
            Ok(0) => return Err(Over),
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(_) => return Err(Over),
        };
        let bytes = &mut bytes[..len];
        match &mut self.stage {
            Stage::Greeting(head) => {
                head.extend_from_slice(bytes);
                self.greet(greeting, messages)
            }
            Stage::Open(..) => self.decode(bytes, messages),
            Stage::Deaf => Ok(()),
        }
    }

    /// Sends bytes, as many as the socket takes; the rest waits.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Over> {
        self.backlog.extend_from_slice(bytes);
        self.flush()
    }

    /// Sends what waits.
    pub(crate) fn flush(&mut self) -> Result<(), Over> {
        while !self.backlog.is_empty() {
            match self.stream.write(&self.backlog) {
                Ok(len) => drop(self.backlog.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(Over),
            }
        }
        Ok(())
    }

    /// Answers the request, once it is whole.
    fn greet(&mut self, greeting: Greeting, messages: &mut Vec<Incoming>) -> Result<(), Over> {
        let Stage::Greeting(head) = &mut self.stage else { unreachable!("greeted once") };
        let mut head = std::mem::take(head);
        let Some((request, head_bytes)) = Request::parse(&head).map_err(|_| Over)? else {
            self.stage = Stage::Greeting(head);
            return Ok(());
        };
        let Some(place) = Place::at(request.path()) else {
            return self.refuse("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        };
        let response = accept(&request, &Policy::default()).map_err(|_| Over)?.response(&[]);
        match greeting {
            Greeting::Refuses => {
                self.refuse("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            }
            Greeting::Foreign => self.refuse("220 mail.example.com ESMTP\r\n"),
            Greeting::HangsUp => Err(Over),
            Greeting::Silent => {
                self.stage = Stage::Deaf;
                Ok(())
            }
            Greeting::WrongKey => {
                let response = String::from_utf8(response).expect("heads are ASCII");
                let (before, key) = response.split_once("Sec-WebSocket-Accept: ").expect("the answer to the key");
                self.refuse(&format!("{before}Sec-WebSocket-Accept: {}{}", "A".repeat(27), &key[27..]))
            }
            Greeting::Right => {
                self.write(&response)?;
                self.stage = Stage::Open(Decoder::new(Role::Server, DecoderLimits::default()), place);
                self.decode(&mut head[head_bytes..], messages)
            }
        }
    }

    /// Says why not. The client is to close.
    fn refuse(&mut self, answer: &str) -> Result<(), Over> {
        self.stage = Stage::Deaf;
        self.write(answer.as_bytes())
    }

    fn decode(&mut self, bytes: &mut [u8], messages: &mut Vec<Incoming>) -> Result<(), Over> {
        let Stage::Open(decoder, _) = &mut self.stage else { unreachable!("only an open WebSocket has frames") };
        let mut answers = Vec::new();
        let (mut read, mut is_over) = (0, false);
        while read < bytes.len() && !is_over {
            let step = decoder.decode(&mut bytes[read..]).expect("a generator's frames are right");
            read += step.consumed;
            match step.event {
                None | Some(Event::Pong(_)) => {}
                Some(Event::Message(message)) => {
                    messages.push((message.opcode(), message.bytes().to_vec()));
                }
                Some(Event::Ping(payload)) => encode_frame(&mut answers, Opcode::Pong, payload, None),
                Some(Event::Close(_)) => {
                    encode_frame(&mut answers, Opcode::Close, &1000u16.to_be_bytes(), None);
                    is_over = true;
                }
            }
        }
        decoder.release();
        self.write(&answers)?;
        if is_over { Err(Over) } else { Ok(()) }
    }
}
