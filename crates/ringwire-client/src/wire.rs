//! An open WebSocket, client's side: messages in, messages out, over any stream of bytes.
//!
//! [`Wire::progress`] waits for the stream to give or take; it may be dropped at any moment without losing a byte.

use std::io::{self, ErrorKind};

use ringwire_codec::handshake::{ClientHandshake, Url};
use ringwire_codec::http::Response;
use ringwire_codec::{CloseCode, Decoder, DecoderLimits, Event, MaskKey, Message, Opcode, Role};
use ringwire_codec::{encode_close, encode_frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};

use crate::options::Stream;
use crate::random::Random;

/// Room for one read.
const INPUT_BYTES: usize = 64 * 1024;
/// Longest head of a response.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The connection.
pub(crate) struct Wire {
    reader: ReadHalf<Box<dyn Stream>>,
    writer: WriteHalf<Box<dyn Stream>>,
    decoder: Decoder,
    /// What came and is not decoded.
    input: Vec<u8>,
    /// What is to go out; `sent` bytes of it have.
    output: Vec<u8>,
    sent: usize,
    random: Random,
}

/// What a peer's messages come to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Text(String),
    Binary(Vec<u8>),
    /// The peer closes, with this code and reason.
    Close(u16, String),
}

/// What was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Received,
    Sent,
    /// The peer will send nothing more.
    End,
}

impl Wire {
    /// Makes the opening handshake on a stream.
    ///
    /// # Errors
    /// That the stream broke, or of kind `Other` the server's refusal in words.
    pub(crate) async fn open(
        stream: Box<dyn Stream>,
        url: &Url,
        subprotocol: &str,
        message_bytes_max: usize,
    ) -> io::Result<Self> {
        let mut random = Random::new();
        let subprotocols = [subprotocol];
        let handshake = ClientHandshake { subprotocols: &subprotocols, ..ClientHandshake::new(url, random.bytes()) };
        let (mut reader, mut writer) = tokio::io::split(stream);
        writer.write_all(&handshake.request()).await?;
        writer.flush().await?;
        let mut input = Vec::new();
        loop {
            let other = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
            if reader.read_buf(&mut input).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let Some((response, head_bytes)) = Response::parse(&input).map_err(|error| other(&error))? else {
                if input.len() > HEAD_BYTES_MAX {
                    return Err(io::Error::other("the server did not answer the handshake"));
                }
                continue;
            };
            let established = handshake.verify(&response).map_err(|error| other(&error))?;
            if established.subprotocol.as_deref() != Some(subprotocol) {
                return Err(io::Error::other(format!("the server does not speak {subprotocol}")));
            }
            input.drain(..head_bytes);
            let limits = DecoderLimits {
                frame_bytes_max: message_bytes_max as u64,
                message_bytes_max,
                ..DecoderLimits::default()
            };
            let decoder = Decoder::new(Role::Client, limits);
            let (output, sent) = (Vec::new(), 0);
            return Ok(Self { reader, writer, decoder, input, output, sent, random });
        }
    }

    /// Puts a message behind the output.
    pub(crate) fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        self.frame(opcode, payload);
    }

    /// Begins or answers the closing handshake.
    pub(crate) fn close(&mut self, code: CloseCode) {
        self.frame(Opcode::Close, &encode_close(Some(code), ""));
    }

    /// Bytes that are still to go out. What went out and may wait in the stream counts as one.
    pub(crate) fn output_bytes(&self) -> usize {
        (self.output.len() - self.sent).max(usize::from(!self.output.is_empty()))
    }

    /// Waits until the stream has given something, if it is to be read from, or taken something. Cancel safe.
    pub(crate) async fn progress(&mut self, reads: bool) -> io::Result<Progress> {
        if reads && !self.input.is_empty() {
            return Ok(Progress::Received);
        }
        let Self { reader, writer, input, output, sent, .. } = self;
        let has_output = !output.is_empty();
        let write = async {
            if *sent < output.len() {
                let count = writer.write(&output[*sent..]).await?;
                *sent += count;
                if count == 0 {
                    return Err(ErrorKind::WriteZero.into());
                }
            } else {
                writer.flush().await?;
                output.clear();
                *sent = 0;
            }
            Ok(Progress::Sent)
        };
        input.reserve(if reads { INPUT_BYTES } else { 0 });
        tokio::select! {
            count = reader.read_buf(input), if reads => Ok(if count? == 0 { Progress::End } else { Progress::Received }),
            result = write, if has_output => result,
            else => std::future::pending().await,
        }
    }

    /// Decodes what came.
    ///
    /// # Errors
    /// Of kind `InvalidData`, which rule the server broke.
    pub(crate) fn messages(&mut self) -> io::Result<Vec<Received>> {
        let mut input = std::mem::take(&mut self.input);
        let (mut rest, mut received) = (&mut input[..], Vec::new());
        let mut pongs = Vec::new();
        while !rest.is_empty() {
            let invalid = |error: ringwire_codec::Violation| io::Error::new(ErrorKind::InvalidData, error.as_str());
            let step = self.decoder.decode(rest).map_err(invalid)?;
            let consumed = step.consumed;
            match step.event {
                Some(Event::Message(Message::Text(text))) => received.push(Received::Text(text.as_str().to_owned())),
                Some(Event::Message(Message::Binary(bytes))) => received.push(Received::Binary(bytes.to_vec())),
                Some(Event::Pong(_)) | None => {}
                Some(Event::Ping(payload)) => pongs.push(payload.to_vec()),
                Some(Event::Close(frame)) => {
                    let (code, reason) = frame.map_or((1005, ""), |frame| (frame.code.value(), frame.reason));
                    received.push(Received::Close(code, reason.to_owned()));
                    break;
                }
            }
            rest = &mut rest[consumed..];
        }
        for payload in pongs {
            self.frame(Opcode::Pong, &payload);
        }
        Ok(received)
    }

    fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let mask = MaskKey::new(self.random.bytes());
        encode_frame(&mut self.output, opcode, payload, Some(mask));
    }
}
