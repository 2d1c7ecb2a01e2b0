//! A client's connection: bytes of a socket become messages, and the other way round.
//!
//! [`Wire::progress`] waits for whatever the socket can do next, receive or send; it may be dropped at any moment
//! without losing a byte, so a client waits for it beside signals, timers and standard input. Pings and the peer's
//! close are answered here.

use std::fmt;
use std::io;

use ringwire_codec::{CloseCode, Decoder, DecoderLimits, Event, MaskKey, Message, Opcode, Role, Violation};
use ringwire_codec::{encode_close, encode_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::failure::Failure;

/// Bytes of one read.
const INPUT_BYTES: usize = 256 * 1024;
/// Longest message that is taken: twice what the server lets be published leaves room for the combined form.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// An open WebSocket, client's side.
pub(super) struct Wire {
    stream: TcpStream,
    decoder: Decoder,
    input: Box<[u8]>,
    /// Bytes of `input` that were received and not decoded.
    received: usize,
    output: Vec<u8>,
    /// Bytes of `output` that have gone out.
    sent: usize,
    masks: fastrand::Rng,
    close_sent: bool,
}

/// What the socket did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Bytes came: [`Wire::messages`] has them.
    Received,
    /// Some of the output went out.
    Sent,
    /// The peer will send nothing more.
    EndOfStream,
}

/// How the peer closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PeerClose {
    pub(super) code: Option<CloseCode>,
    pub(super) reason: String,
}

impl PeerClose {
    /// What it means for a command's exit code: all is well only if the server says so, or nothing.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        match self.code {
            None | Some(CloseCode::NORMAL) => Ok(()),
            Some(_) => Err(Failure::new(self.to_string())),
        }
    }
}

impl fmt::Display for PeerClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server closed the connection")?;
        if let Some(code) = self.code {
            write!(f, ": {code}")?;
        }
        if !self.reason.is_empty() {
            write!(f, " ({})", self.reason)?;
        }
        Ok(())
    }
}

impl Wire {
    /// A connection whose opening handshake is done; `early` came behind the server's response.
    pub(super) fn new(stream: TcpStream, early: &[u8], masks: fastrand::Rng) -> Self {
        let limits = DecoderLimits {
            frame_bytes_max: MESSAGE_BYTES_MAX as u64,
            message_bytes_max: MESSAGE_BYTES_MAX,
            ..DecoderLimits::default()
        };
        let mut input = vec![0; INPUT_BYTES.max(early.len())].into_boxed_slice();
        input[..early.len()].copy_from_slice(early);
        Self {
            stream,
            decoder: Decoder::new(Role::Client, limits),
            input,
            received: early.len(),
            output: Vec::new(),
            sent: 0,
            masks,
            close_sent: false,
        }
    }

    /// Waits for the socket to receive, or to take some of the output. Cancel safe.
    pub(super) async fn progress(&mut self) -> io::Result<Progress> {
        if self.received > 0 {
            return Ok(Progress::Received);
        }
        let (mut read, mut write) = self.stream.split();
        tokio::select! {
            count = read.read(&mut self.input) => {
                self.received = count?;
                Ok(if self.received == 0 { Progress::EndOfStream } else { Progress::Received })
            }
            count = write.write(&self.output[self.sent..]), if self.sent < self.output.len() => {
                self.sent += count?;
                if self.sent == self.output.len() {
                    self.output.clear();
                    self.sent = 0;
                }
                Ok(Progress::Sent)
            }
        }
    }

    /// Decodes what was received and calls `each` with each message. Returns how the peer closed, once it has.
    pub(super) fn messages(&mut self, mut each: impl FnMut(&Message<'_>)) -> Result<Option<PeerClose>, Violation> {
        let Self { decoder, input, received, output, masks, close_sent, .. } = self;
        let mut rest = &mut input[..std::mem::take(received)];
        while !rest.is_empty() {
            let step = decoder.decode(rest)?;
            let consumed = step.consumed;
            match step.event {
                Some(Event::Message(message)) => each(&message),
                Some(Event::Ping(payload)) => encode_frame(output, Opcode::Pong, payload, Some(mask(masks))),
                Some(Event::Close(frame)) => {
                    let code = frame.as_ref().map(|frame| frame.code);
                    if !std::mem::replace(close_sent, true) {
                        encode_frame(output, Opcode::Close, &encode_close(code, ""), Some(mask(masks)));
                    }
                    let reason = frame.map(|frame| frame.reason.to_owned()).unwrap_or_default();
                    return Ok(Some(PeerClose { code, reason }));
                }
                Some(Event::Pong(_)) | None => {}
            }
            rest = &mut rest[consumed..];
        }
        decoder.release();
        Ok(None)
    }

    /// Puts a message behind the output.
    pub(super) fn send(&mut self, payload: &[u8]) {
        debug_assert!(!self.close_sent, "no message follows a close");
        let opcode = if ringwire_codec::utf8::validate(payload) { Opcode::Text } else { Opcode::Binary };
        encode_frame(&mut self.output, opcode, payload, Some(mask(&mut self.masks)));
    }

    /// Starts the closing handshake, once.
    pub(super) fn close(&mut self) {
        if !std::mem::replace(&mut self.close_sent, true) {
            let payload = encode_close(Some(CloseCode::NORMAL), "");
            encode_frame(&mut self.output, Opcode::Close, &payload, Some(mask(&mut self.masks)));
        }
    }

    /// Bytes that wait to be sent.
    pub(super) fn output_bytes(&self) -> usize {
        self.output.len() - self.sent
    }
}

/// A fresh mask key (RFC 6455 §5.3).
fn mask(masks: &mut fastrand::Rng) -> MaskKey {
    MaskKey::new(masks.u32(..).to_ne_bytes())
}
