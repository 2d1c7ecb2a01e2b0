//! A client's connection: bytes of a socket become messages, and the other way round.
//!
//! [`Wire::progress`] waits for the socket, [`Wire::messages`] gives what came. Pings and the peer's close are answered
//! here, and a peer that breaks the protocol is told so.

use std::fmt;
use std::io;
use std::time::Duration;

use ringwire_codec::extension::Extension;
use ringwire_codec::{CloseCode, Decoder, DecoderLimits, Event, MaskKey, Message, Opcode, Role, Violation};
use ringwire_codec::{encode_close, encode_frame, encode_message};

use super::link::{Link, Progress};
use super::random::Random;
use crate::failure::Failure;

/// Longest message that is taken: twice what the server lets be published leaves room for the combined form.
const MESSAGE_BYTES_MAX: usize = 17 * 1024 * 1024;

/// An open WebSocket, client's side.
pub(crate) struct Wire {
    link: Link,
    decoder: Decoder,
    /// What was received and not decoded.
    input: Vec<u8>,
    outbox: Outbox,
}

/// Where messages go.
pub(crate) struct Outbox {
    /// Frames that the link has not been given.
    frames: Vec<u8>,
    /// A message as the extension has it.
    scratch: Vec<u8>,
    extension: Option<Box<dyn Extension>>,
    random: Random,
    close_sent: bool,
}

/// How the peer closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerClose {
    pub(crate) code: Option<CloseCode>,
    pub(crate) reason: String,
}

impl PeerClose {
    /// What it means for a command's exit code: all is well only if the server says so, or nothing.
    pub(crate) fn verdict(&self) -> Result<(), Failure> {
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
    pub(crate) fn new(link: Link, early: Vec<u8>, extension: Option<Box<dyn Extension>>, random: Random) -> Self {
        let limits = DecoderLimits {
            frame_bytes_max: MESSAGE_BYTES_MAX as u64,
            message_bytes_max: MESSAGE_BYTES_MAX,
            ..DecoderLimits::default()
        };
        let outbox = Outbox { frames: Vec::new(), scratch: Vec::new(), extension, random, close_sent: false };
        Self { link, decoder: Decoder::new(Role::Client, limits), input: early, outbox }
    }

    /// Waits for the socket to receive, or to take some of the output. Cancel safe.
    pub(crate) async fn progress(&mut self) -> io::Result<Progress> {
        self.link.send(&self.outbox.frames);
        self.outbox.frames.clear();
        if self.input.is_empty() { self.link.progress(&mut self.input).await } else { Ok(Progress::Received) }
    }

    /// Decodes what was received and calls `each` with each message. Returns how the peer closed, once it has.
    ///
    /// # Errors
    /// The rule that the peer broke; a close frame that says so is in the output.
    pub(crate) fn messages(
        &mut self,
        mut each: impl FnMut(&Message<'_>, &mut Outbox),
    ) -> Result<Option<PeerClose>, Violation> {
        let Self { decoder, input, outbox, .. } = self;
        let mut rest = &mut input[..];
        let mut closed = Ok(None);
        while !rest.is_empty() {
            let step = match decoder.decode_with(rest, outbox.extension.as_deref_mut()) {
                Ok(step) => step,
                Err(violation) => {
                    outbox.close(Some(violation.close_code()), violation.as_str());
                    closed = Err(violation);
                    break;
                }
            };
            let consumed = step.consumed;
            match step.event {
                Some(Event::Message(message)) => each(&message, outbox),
                Some(Event::Ping(payload)) => outbox.frame(Opcode::Pong, payload),
                Some(Event::Close(frame)) => {
                    let code = frame.as_ref().map(|frame| frame.code);
                    outbox.close(code, "");
                    let reason = frame.map(|frame| frame.reason.to_owned()).unwrap_or_default();
                    closed = Ok(Some(PeerClose { code, reason }));
                    break;
                }
                Some(Event::Pong(_)) | None => {}
            }
            rest = &mut rest[consumed..];
        }
        input.clear();
        decoder.release();
        closed
    }

    /// Where messages go.
    pub(crate) fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Bytes that wait to be sent.
    pub(crate) fn output_bytes(&self) -> usize {
        self.outbox.frames.len() + self.link.output_bytes()
    }

    /// Waits for the end of the closing handshake, for a bounded time. What still comes is dropped.
    pub(crate) async fn finish(&mut self, within: Duration) {
        let rest = async {
            loop {
                match self.progress().await {
                    // The answer to a close that the server began still has to go out.
                    Ok(Progress::Received) => match self.messages(|_, _| ()) {
                        Ok(Some(_)) if self.output_bytes() == 0 => return,
                        Ok(_) | Err(_) => {}
                    },
                    Ok(Progress::Sent) => {}
                    Ok(Progress::EndOfStream) | Err(_) => return,
                }
            }
        };
        let _ = tokio::time::timeout(within, rest).await;
    }
}

impl Outbox {
    /// Puts a message behind the output; text if it is UTF-8.
    pub(crate) fn send_line(&mut self, payload: &[u8]) {
        let opcode = if ringwire_codec::utf8::validate(payload) { Opcode::Text } else { Opcode::Binary };
        self.send(opcode, payload);
    }

    /// Puts a message behind the output. Once it is closed, nothing goes out any more.
    pub(crate) fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        if self.close_sent {
            return;
        }
        let mask = self.mask();
        match self.extension.as_deref_mut() {
            Some(extension) => {
                encode_message(&mut self.frames, opcode, payload, Some(mask), extension, &mut self.scratch);
            }
            None => encode_frame(&mut self.frames, opcode, payload, Some(mask)),
        }
    }

    /// Starts or answers the closing handshake, once.
    pub(crate) fn close(&mut self, code: Option<CloseCode>, reason: &str) {
        if !self.close_sent {
            self.frame(Opcode::Close, &encode_close(code, reason));
            self.close_sent = true;
        }
    }

    fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        if !self.close_sent {
            let mask = self.mask();
            encode_frame(&mut self.frames, opcode, payload, Some(mask));
        }
    }

    /// A fresh mask key (RFC 6455 §5.3).
    fn mask(&mut self) -> MaskKey {
        MaskKey::new(self.random.bytes())
    }
}
