//! Our decoder and tungstenite's on the same bytes: the same messages, the same end, the same close code.
//!
//! Where the two may differ is written down in [`check`], each case with the condition that it needs.

use std::io::{self, Read, Write};

use ringwire_codec::{Decoder, DecoderLimits, Event, Role, Violation};
use tungstenite::protocol::{Role as TheirRole, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

const FRAME_BYTES_MAX: u64 = 3000;
const MESSAGE_BYTES_MAX: usize = 4000;

/// What was heard before the end, and the end.
#[derive(Debug, PartialEq)]
struct Heard {
    said: Vec<Said>,
    end: End,
}

#[derive(Debug, PartialEq)]
enum Said {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

/// How a stream ended.
#[derive(Debug, PartialEq)]
enum End {
    /// The bytes were used up.
    Open,
    /// With a close frame.
    Close(Option<(u16, String)>),
    /// With an error that this close code answers.
    Failed(u16),
}

/// Panics if the two differ on `stream`, with no limit on fragments, of which tungstenite has none, but for what is known and meant:
///
/// - A length in more bytes than it needs, or with its top bit set, is an error to us (RFC 6455 §5.2) and none to them;
///   so is any long form in a control frame.
/// - They judge a frame when it is whole, we as its bytes come: a stream that ends within a frame may have ended with
///   an error for us.
/// - They check a frame's length before its other bits; so a frame that is wrong in both ways gets 1009 from them.
/// - A close code that may not be sent is an error to us; they report a close with 1002 in its place. If its reason is
///   not UTF-8 either, they tell of that first.
/// - To them 1014 may not be sent. It has been registered since the RFC was written.
pub fn check(role: Role, stream: &[u8]) {
    let (ours, violation) = ours(role, stream);
    let theirs = theirs(role, stream);
    let Some((violation, frame)) = violation else {
        let is_bad_gateway = matches!(ours.end, End::Close(Some((1014, _))));
        let end = if is_bad_gateway { End::Close(Some((1002, "Protocol violation".to_owned()))) } else { ours.end };
        return assert_eq!(Heard { end, ..ours }, theirs);
    };
    let frame = Announced::read(frame);
    let is_short = frame.as_ref().is_some_and(|frame| frame.payload_bytes <= 125);
    if matches!(violation, Violation::LengthNotMinimal | Violation::LengthTopBit)
        || (violation == Violation::ControlTooLong && is_short)
    {
        return assert!(theirs.said.starts_with(&ours.said), "{ours:?}\n{theirs:?}");
    }
    assert_eq!(ours.said, theirs.said, "{violation:?}");
    let known = match (violation, &theirs.end) {
        (_, End::Open) => frame.is_none_or(|frame| !frame.is_whole),
        (Violation::CloseCodeInvalid, End::Close(Some((1002, _))) | End::Failed(1007)) => true,
        (_, End::Failed(1009)) if violation.close_code().value() == 1002 => {
            frame.is_some_and(|frame| frame.payload_bytes > FRAME_BYTES_MAX)
        }
        _ => false,
    };
    assert!(known || ours.end == theirs.end, "{violation:?}: ours {:?}, theirs {:?}", ours.end, theirs.end);
}

/// What a frame says of its length, read as simply as can be.
struct Announced {
    payload_bytes: u64,
    is_whole: bool,
}

impl Announced {
    fn read(bytes: &[u8]) -> Option<Self> {
        let length = bytes.get(1)? & 0x7F;
        let extra = match length {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let long = bytes.get(2..2 + extra)?.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        let payload_bytes = if extra == 0 { u64::from(length) } else { long };
        let mask = if bytes[1] & 0x80 != 0 { 4 } else { 0 };
        let header_bytes = (2 + extra + mask) as u64;
        let is_whole = payload_bytes.checked_add(header_bytes).is_some_and(|total| total <= bytes.len() as u64);
        Some(Self { payload_bytes, is_whole })
    }
}

/// What our decoder hears, and the rule that was broken, with the bytes from the frame on that broke it.
fn ours(role: Role, stream: &[u8]) -> (Heard, Option<(Violation, &[u8])>) {
    let limits = DecoderLimits {
        frame_bytes_max: FRAME_BYTES_MAX,
        message_bytes_max: MESSAGE_BYTES_MAX,
        fragments_max: u32::MAX,
    };
    let mut decoder = Decoder::new(role, limits);
    let mut input = stream.to_vec();
    let (mut said, mut at) = (Vec::new(), 0);
    while at < input.len() {
        let step = match decoder.decode(&mut input[at..]) {
            Ok(step) => step,
            Err(violation) => {
                let end = End::Failed(violation.close_code().value());
                return (Heard { said, end }, Some((violation, &stream[at..])));
            }
        };
        at += step.consumed;
        match step.event {
            None => {}
            Some(Event::Message(message)) if message.is_text() => said.push(Said::Text(message.bytes().to_vec())),
            Some(Event::Message(message)) => said.push(Said::Binary(message.bytes().to_vec())),
            Some(Event::Ping(payload)) => said.push(Said::Ping(payload.to_vec())),
            Some(Event::Pong(payload)) => said.push(Said::Pong(payload.to_vec())),
            Some(Event::Close(frame)) => {
                let end = End::Close(frame.map(|frame| (frame.code.value(), frame.reason.to_owned())));
                return (Heard { said, end }, None);
            }
        }
    }
    (Heard { said, end: End::Open }, None)
}

/// What tungstenite hears.
fn theirs(role: Role, stream: &[u8]) -> Heard {
    let role = match role {
        Role::Server => TheirRole::Server,
        Role::Client => TheirRole::Client,
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_frame_size(Some(FRAME_BYTES_MAX as usize))
        .max_message_size(Some(MESSAGE_BYTES_MAX));
    let mut socket = WebSocket::from_raw_socket(Wire(stream), role, Some(config));
    let mut said = Vec::new();
    let end = loop {
        match socket.read() {
            Ok(Message::Text(text)) => said.push(Said::Text(text.as_bytes().to_vec())),
            Ok(Message::Binary(bytes)) => said.push(Said::Binary(bytes.to_vec())),
            Ok(Message::Ping(payload)) => said.push(Said::Ping(payload.to_vec())),
            Ok(Message::Pong(payload)) => said.push(Said::Pong(payload.to_vec())),
            Ok(Message::Close(frame)) => {
                break End::Close(frame.map(|frame| (frame.code.into(), frame.reason.to_string())));
            }
            Ok(Message::Frame(_)) => unreachable!("reading gives no frames"),
            Err(Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => break End::Open,
            Err(Error::Protocol(_)) => break End::Failed(1002),
            Err(Error::Utf8(_)) => break End::Failed(1007),
            Err(Error::Capacity(_)) => break End::Failed(1009),
            Err(error) => panic!("{error}"),
        }
    };
    Heard { said, end }
}

/// A socket that has received these bytes and takes any.
struct Wire<'a>(&'a [u8]);

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
