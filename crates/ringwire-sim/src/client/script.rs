//! What a WebSocket client does, and what must come of it.

use std::time::Duration;

use fastrand::Rng;
use ringwire_codec::{FrameHeader, MaskKey, Opcode, encode_close, unmask};

/// What must come back for something that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
}

/// What a client does while it is connected.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A message in so many fragments, perhaps with a ping between two of them.
    Message {
        text: bool,
        payload: Vec<u8>,
        fragments: usize,
        ping: Option<Vec<u8>>,
    },
    Ping(Vec<u8>),
    /// Nobody asked for it: nothing comes back.
    Pong(Vec<u8>),
    Pause(Duration),
}

/// How a client ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The closing handshake with this code, or without one.
    Close(Option<u16>),
    /// Asks the echo handler to close with this code.
    Ask(u16),
    /// The same, and then never answers the close frame.
    AskAndIgnore(u16),
    /// Breaks a rule.
    Violate(Wrong),
    /// Finishes its stream without a word.
    HalfClose,
    /// Resets, in the middle of a frame if there is one.
    Abort,
    /// Stops reading for ever while it sends on, and resets after minutes.
    Stall,
    /// Waits until the other side closes.
    Wait,
}

/// Ways to break the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    Unmasked,
    ReservedOpcode,
    ReservedBit,
    LongPing,
    NothingToContinue,
    NotUtf8,
    CloseCode,
    TooBig,
    Flood,
}

impl Wrong {
    const ALL: [Self; 9] = [
        Wrong::Unmasked,
        Wrong::ReservedOpcode,
        Wrong::ReservedBit,
        Wrong::LongPing,
        Wrong::NothingToContinue,
        Wrong::NotUtf8,
        Wrong::CloseCode,
        Wrong::TooBig,
        Wrong::Flood,
    ];

    /// The close code that answers it (RFC 6455 §7.4.1).
    pub(crate) fn close_code(self) -> u16 {
        match self {
            Wrong::NotUtf8 => 1007,
            Wrong::TooBig => 1009,
            Wrong::Flood => 1008,
            _ => 1002,
        }
    }

    /// The wrong bytes. `too_big` is a payload length over the other side's limit.
    fn write(self, out: &mut Vec<u8>, too_big: usize, rng: &mut Rng) {
        match self {
            Wrong::Unmasked => out.extend_from_slice(&[0x82, 0x01, 0x00]),
            Wrong::ReservedOpcode => out.extend_from_slice(&[0x83, 0x80, 0, 0, 0, 0]),
            Wrong::ReservedBit => out.extend_from_slice(&[0xA2, 0x80, 0, 0, 0, 0]),
            Wrong::LongPing => out.extend_from_slice(&[0x89, 0xFE, 0, 126]),
            Wrong::NothingToContinue => write_frame(out, true, Opcode::Continuation, b"x", rng),
            Wrong::NotUtf8 => write_frame(out, true, Opcode::Text, &[b'a', 0xC0, 0x80], rng),
            Wrong::CloseCode => write_frame(out, true, Opcode::Close, &1005u16.to_be_bytes(), rng),
            Wrong::TooBig => write_frame(out, true, Opcode::Binary, &vec![0; too_big], rng),
            Wrong::Flood => (0..400).for_each(|_| write_frame(out, true, Opcode::Pong, b"", rng)),
        }
    }
}

/// A client's whole life.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) steps: Vec<Step>,
    pub(crate) ending: Ending,
    /// Whether it sends frames before it has seen the answer to its handshake.
    pub(crate) eager: bool,
}

/// The message that asks the echo handler to close, followed by the code.
pub(crate) const ASK: &str = "close ";

impl Script {
    pub(crate) fn seeded(rng: &mut Rng) -> Self {
        let steps = (0..rng.usize(0..10)).map(|_| Step::seeded(rng)).collect();
        Self { steps, ending: Ending::seeded(rng), eager: rng.u32(0..4) == 0 }
    }

    /// A subscriber's: it sends pings at most, and waits for the end.
    pub(crate) fn subscriber(rng: &mut Rng) -> Self {
        let step = |rng: &mut Rng| match rng.u32(0..2) {
            0 => Step::Ping(bytes(rng.usize(0..126), rng)),
            _ => Step::Pause(Duration::from_micros(rng.u64(0..20_000))),
        };
        let steps = (0..rng.usize(0..6)).map(|_| step(rng)).collect();
        let ending = match rng.u32(0..8) {
            0 => Ending::Abort,
            1 => Ending::Stall,
            2 => Ending::Close(Some(1000)),
            _ => Ending::Wait,
        };
        Self { steps, ending, eager: false }
    }
}

impl Ending {
    fn seeded(rng: &mut Rng) -> Self {
        match rng.u32(0..16) {
            0..=3 => Ending::Close(Some([1000, 1001, 3000, 4999][rng.usize(0..4)])),
            4 => Ending::Close(None),
            5..=7 => Ending::Ask(rng.u16(4000..5000)),
            8 => Ending::AskAndIgnore(4000),
            9..=11 => Ending::Violate(Wrong::ALL[rng.usize(0..Wrong::ALL.len())]),
            12 => Ending::HalfClose,
            13 => Ending::Abort,
            14 => Ending::Stall,
            _ => Ending::Wait,
        }
    }

    /// The bytes that bring it about, if bytes do.
    pub(crate) fn write(self, out: &mut Vec<u8>, too_big: usize, rng: &mut Rng) {
        match self {
            Ending::Close(code) => {
                let payload = encode_close(code.map(ringwire_codec::CloseCode::new), "");
                write_frame(out, true, Opcode::Close, &payload, rng);
            }
            Ending::Ask(code) | Ending::AskAndIgnore(code) => {
                write_frame(out, true, Opcode::Text, format!("{ASK}{code}").as_bytes(), rng);
            }
            Ending::Violate(wrong) => wrong.write(out, too_big, rng),
            // Something for the reset to come into.
            Ending::Abort => out.extend_from_slice(&[0x82, 0xFE, 0xFF][..rng.usize(0..4)]),
            Ending::Stall => {
                for _ in 0..rng.usize(0..40) {
                    write_frame(out, true, Opcode::Binary, &bytes(500, rng), rng);
                }
            }
            Ending::HalfClose | Ending::Wait => {}
        }
    }
}

impl Step {
    fn seeded(rng: &mut Rng) -> Self {
        match rng.u32(0..10) {
            0 | 1 => Step::Ping(bytes(rng.usize(0..126), rng)),
            2 => Step::Pong(bytes(rng.usize(0..126), rng)),
            3 => Step::Pause(Duration::from_nanos(1 << rng.u32(0..27))),
            _ => {
                let text = rng.bool();
                let len = match rng.u32(0..10) {
                    0..=5 => rng.usize(0..126),
                    6..=8 => rng.usize(126..2000),
                    _ => rng.usize(2000..4000),
                };
                let payload = if text { text_of(len, rng) } else { bytes(len, rng) };
                let fragments = if rng.u32(0..3) == 0 { rng.usize(1..6) } else { 1 };
                let ping = (rng.u32(0..3) == 0).then(|| bytes(rng.usize(0..20), rng));
                Step::Message { text, payload, fragments, ping }
            }
        }
    }

    /// Appends the step's frames to `out`, and what must come back for them to `expected`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, expected: &mut impl Extend<Expected>, rng: &mut Rng) {
        match self {
            Step::Message { text, payload, fragments, ping } => {
                let mut opcode = if *text { Opcode::Text } else { Opcode::Binary };
                let mut rest = &payload[..];
                for fragment in 1..=*fragments {
                    let fin = fragment == *fragments;
                    let (piece, tail) = rest.split_at(if fin { rest.len() } else { rng.usize(0..=rest.len()) });
                    rest = tail;
                    write_frame(out, fin, opcode, piece, rng);
                    opcode = Opcode::Continuation;
                    if let (Some(ping), 1, false) = (ping, fragment, fin) {
                        write_frame(out, true, Opcode::Ping, ping, rng);
                        expected.extend([Expected::Pong(ping.clone())]);
                    }
                }
                let payload = payload.clone();
                expected.extend([if *text { Expected::Text(payload) } else { Expected::Binary(payload) }]);
            }
            Step::Ping(payload) => {
                write_frame(out, true, Opcode::Ping, payload, rng);
                expected.extend([Expected::Pong(payload.clone())]);
            }
            Step::Pong(payload) => write_frame(out, true, Opcode::Pong, payload, rng),
            Step::Pause(_) => {}
        }
    }
}

/// Appends a client's frame.
pub(crate) fn write_frame(out: &mut Vec<u8>, fin: bool, opcode: Opcode, payload: &[u8], rng: &mut Rng) {
    let key = MaskKey::new(rng.u32(..).to_le_bytes());
    let header = FrameHeader { fin, rsv1: false, opcode, mask: Some(key), payload_bytes: payload.len() as u64 };
    out.extend_from_slice(&header.encode());
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[start..], key);
}

fn bytes(len: usize, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng.fill(&mut bytes);
    bytes
}

/// Text of about `len` bytes, with characters of every length.
fn text_of(len: usize, rng: &mut Rng) -> Vec<u8> {
    let mut text = String::new();
    while text.len() < len {
        text.push(['a', '0', ' ', 'ж', 'é', '漢', '€', '🦀'][rng.usize(0..8)]);
    }
    text.into_bytes()
}
