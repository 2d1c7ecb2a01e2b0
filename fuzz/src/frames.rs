//! Any bytes as a stream of frames: every split gives the same events, and no event breaks a promise.

use ringwire_codec::extension::{Extension, ExtensionError, Output};
use ringwire_codec::{CONTROL_PAYLOAD_BYTES_MAX, Decoder, DecoderLimits, Event, Message, Role, Violation};

const LIMITS: DecoderLimits =
    DecoderLimits { frame_bytes_max: 3000, message_bytes_max: 4000, ..DecoderLimits::DEFAULT };

/// Decodes `data` as an endpoint of this role does, in three splits. It is a byte of options, whose two low bits choose
/// an extension ([`Twice`], permessage-deflate, or none), then [cuts and the stream](crate::cuts).
pub fn check(role: Role, data: &[u8]) {
    let [options, rest @ ..] = data else { return };
    let (pieces, stream) = crate::cuts(rest);
    let whole = events(role, *options, &[stream]);
    assert_eq!(events(role, *options, &pieces), whole);
    assert_eq!(events(role, *options, &stream.chunks(1).collect::<Vec<_>>()), whole);
}

/// An event that owns its bytes.
#[derive(Debug, PartialEq)]
enum Owned {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Violation(Violation),
}

fn events(role: Role, options: u8, pieces: &[&[u8]]) -> Vec<Owned> {
    let mut decoder = Decoder::new(role, LIMITS);
    let mut extension: Option<Box<dyn Extension>> = match options % 4 {
        1 => Some(Box::new(Twice)),
        2 => Some(crate::deflate::session(crate::deflate::options(options >> 2))),
        _ => None,
    };
    let mut events = Vec::new();
    for piece in pieces {
        let mut input = piece.to_vec();
        let mut rest = &mut input[..];
        while !rest.is_empty() {
            let step = match decoder.decode_with(rest, extension.as_deref_mut()) {
                Ok(step) => step,
                Err(violation) => {
                    assert!(violation.close_code().may_be_sent());
                    events.push(Owned::Violation(violation));
                    return events;
                }
            };
            assert!(step.consumed > 0, "every call makes progress");
            let consumed = step.consumed;
            events.extend(step.event.map(owned));
            rest = &mut rest[consumed..];
        }
        decoder.release();
        assert!(decoder.assembly_bytes() <= 2 * LIMITS.message_bytes_max + 1024, "memory stays within its bound");
    }
    events
}

fn owned(event: Event<'_>) -> Owned {
    match event {
        Event::Message(message) => {
            assert!(message.bytes().len() <= LIMITS.message_bytes_max);
            match message {
                Message::Text(text) => {
                    std::str::from_utf8(text.as_bytes()).expect("text is UTF-8");
                    Owned::Text(text.into_bytes().to_vec())
                }
                Message::Binary(bytes) => {
                    let copy = bytes.to_vec();
                    bytes.fill(0xFF);
                    Owned::Binary(copy)
                }
            }
        }
        Event::Ping(payload) => Owned::Ping(control(payload)),
        Event::Pong(payload) => Owned::Pong(control(payload)),
        Event::Close(frame) => Owned::Close(frame.map(|frame| {
            assert!(frame.code.may_be_sent());
            (frame.code.value(), frame.reason.to_owned())
        })),
    }
}

fn control(payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() <= CONTROL_PAYLOAD_BYTES_MAX);
    payload.to_vec()
}

/// Writes each byte twice; cannot read 0xEE.
#[derive(Debug)]
struct Twice;

impl Extension for Twice {
    fn decode(&mut self, piece: &[u8], _last: bool, out: &mut Output<'_>) -> Result<(), ExtensionError> {
        for byte in piece {
            if *byte == 0xEE {
                return Err(ExtensionError::Malformed);
            }
            out.push(&[*byte; 2])?;
        }
        Ok(())
    }

    fn encode(&mut self, _payload: &[u8], _out: &mut Vec<u8>) -> bool {
        false
    }
}
