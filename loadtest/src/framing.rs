//! How the bytes of a connection become messages.

use ringwire_codec::extension::Extension;
use ringwire_codec::{self as codec, Decoder, DecoderLimits, Event, Role};

use crate::clients::{Message, TcpMessages};
use crate::target::{Protocol, Target};

/// How the bytes of a connection become messages, with what is left of the last ones.
#[derive(Debug)]
pub(crate) enum Framing {
    /// Frames of a server.
    WebSocket { decoder: Decoder, extension: Option<Box<dyn Extension>> },
    /// Messages of so many bytes; `partial` are the first of one.
    Fixed { bytes: usize, partial: Vec<u8> },
}

impl Default for Framing {
    /// That of a connection that nothing comes in on.
    fn default() -> Self {
        Self::fixed(1)
    }
}

/// Why nothing more comes in.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The server has closed the WebSocket, and said this.
    Closed(String),
    /// It broke this rule.
    Violation(String),
}

/// What came in.
pub(crate) enum Incoming<'a> {
    /// A whole message.
    Message(Message<'a>),
    /// A ping, to be answered.
    Ping(&'a [u8]),
}

impl Framing {
    pub(crate) fn websocket(extension: Option<Box<dyn Extension>>) -> Self {
        Framing::WebSocket { decoder: Decoder::new(Role::Client, DecoderLimits::default()), extension }
    }

    /// That of a raw connection.
    pub(crate) fn raw(messages: TcpMessages) -> Self {
        match messages {
            TcpMessages::Bytes(bytes) => Self::fixed(bytes),
            TcpMessages::Frames => Self::websocket(None),
        }
    }

    /// Messages of `bytes` each, at least one.
    pub(crate) fn fixed(bytes: usize) -> Self {
        Framing::Fixed { bytes: bytes.max(1), partial: Vec::new() }
    }

    /// Hands out what `bytes` bring, in order.
    ///
    /// # Errors
    /// Why the connection has ended: the server closed it, or broke a rule.
    pub(crate) fn take(&mut self, bytes: &mut [u8], mut each: impl FnMut(Incoming<'_>)) -> Result<(), Stop> {
        let (decoder, extension) = match self {
            Framing::WebSocket { decoder, extension } => (decoder, extension),
            Framing::Fixed { bytes: message_bytes, partial } => {
                cut(bytes, *message_bytes, partial, |bytes| each(Incoming::Message(Message { bytes, is_text: false })));
                return Ok(());
            }
        };
        let mut read = 0;
        while read < bytes.len() {
            let step = decoder.decode_with(&mut bytes[read..], extension.as_deref_mut());
            let step = step.map_err(|violation| Stop::Violation(violation.to_string()))?;
            read += step.consumed;
            match step.event {
                None | Some(Event::Pong(_)) => {}
                Some(Event::Message(message)) => {
                    let is_text = matches!(message, codec::Message::Text(_));
                    each(Incoming::Message(Message { bytes: message.bytes(), is_text }));
                }
                Some(Event::Ping(payload)) => each(Incoming::Ping(payload)),
                Some(Event::Close(frame)) => {
                    let said = frame.map_or("no code".to_owned(), |frame| format!("{} {}", frame.code, frame.reason));
                    return Err(Stop::Closed(said.trim_end().to_owned()));
                }
            }
        }
        decoder.release();
        Ok(())
    }
}

/// Whether a message of so many bytes comes back whole from this target: what is taken of a WebSocket is bounded.
///
/// # Errors
/// If it is too long.
pub(crate) fn check_message_bytes(target: &Target, bytes: usize) -> Result<(), String> {
    let most = DecoderLimits::DEFAULT.message_bytes_max;
    if target.protocol != Protocol::Tcp && bytes > most {
        return Err(format!("--bytes {bytes}: messages of at most {most} bytes are taken; send more of them instead"));
    }
    Ok(())
}

/// Cuts a stream into messages of `message_bytes`. `partial` holds the first bytes of one between calls.
fn cut(mut bytes: &[u8], message_bytes: usize, partial: &mut Vec<u8>, mut each: impl FnMut(&[u8])) {
    if !partial.is_empty() {
        let (missing, rest) = bytes.split_at(bytes.len().min(message_bytes - partial.len()));
        partial.extend_from_slice(missing);
        bytes = rest;
        if partial.len() == message_bytes {
            each(partial);
            partial.clear();
        }
    }
    let mut messages = bytes.chunks_exact(message_bytes);
    messages.by_ref().for_each(each);
    partial.extend_from_slice(messages.remainder());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_split_of_a_raw_stream_gives_the_same_messages() {
        let stream: Vec<u8> = (0..20).collect();
        for first in 0..=20 {
            for second in first..=20 {
                let (mut partial, mut messages) = (Vec::new(), Vec::new());
                for piece in [&stream[..first], &stream[first..second], &stream[second..]] {
                    cut(piece, 6, &mut partial, |message| messages.push(message.to_vec()));
                }
                assert_eq!(messages.concat(), stream[..18]);
                assert!(messages.iter().all(|message| message.len() == 6));
                assert_eq!(partial, stream[18..]);
            }
        }
    }
}
