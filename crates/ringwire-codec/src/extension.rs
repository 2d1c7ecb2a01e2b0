//! Where extensions plug in (RFC 6455 §9): permessage-deflate, or one of your own that owns RSV1.
//!
//! An [`Extension`] transforms the payloads of messages, both ways, for one connection. The decoder keeps order,
//! limits and UTF-8 to itself: what an extension writes goes through [`Output`], which only appends and has an end.
//! A [`Negotiator`] agrees on one in the opening handshake.

use std::fmt;

use crate::{Violation, deflate};

/// Transforms messages marked with RSV1. One value per connection, for both directions: lent to
/// [`Decoder::decode_with`](crate::Decoder::decode_with) and to [`encode_message`](crate::encode_message).
pub trait Extension: Send + fmt::Debug {
    /// Takes the next piece of a marked message, unmasked, and writes what it stands for. Pieces follow the
    /// transport, not frames; `last` says that the message ends with this one, which may be empty.
    fn decode(&mut self, piece: &[u8], last: bool, out: &mut Output<'_>) -> Result<(), ExtensionError>;

    /// Appends the transformed `payload` of a message to `out` and returns true, or returns false to send the
    /// message as it is, without RSV1.
    fn encode(&mut self, payload: &[u8], out: &mut Vec<u8>) -> bool;

    /// Memory held, for budgets: the value itself and what it owns now.
    fn memory_bytes(&self) -> usize {
        0
    }

    /// What was agreed on, if this is permessage-deflate.
    fn deflate(&self) -> Option<deflate::Parameters> {
        None
    }
}

/// Why an extension could not read a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtensionError {
    /// The payload is not in the extension's form.
    Malformed,
    /// The message would pass its limit.
    TooBig,
}

impl From<ExtensionError> for Violation {
    fn from(error: ExtensionError) -> Self {
        match error {
            ExtensionError::Malformed => Violation::ExtensionData,
            ExtensionError::TooBig => Violation::MessageTooBig,
        }
    }
}

/// The message as far as it is decoded. Grows at its end only, up to the connection's limit.
#[derive(Debug)]
pub struct Output<'a> {
    message: &'a mut Vec<u8>,
    message_bytes_max: usize,
}

impl<'a> Output<'a> {
    /// Appends to `message`, up to a length of `message_bytes_max`.
    pub fn new(message: &'a mut Vec<u8>, message_bytes_max: usize) -> Self {
        Self { message, message_bytes_max }
    }

    /// What was written so far, in all pieces of the message.
    pub fn written(&self) -> &[u8] {
        self.message
    }

    /// How much more may be written.
    pub fn remaining(&self) -> usize {
        self.message_bytes_max.saturating_sub(self.message.len())
    }

    /// Appends `bytes`, or nothing if they pass the limit.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), ExtensionError> {
        if bytes.len() > self.remaining() {
            return Err(ExtensionError::TooBig);
        }
        self.message.extend_from_slice(bytes);
        Ok(())
    }

    /// Lets `write` fill up to `room_bytes` (zeroed, at most [`remaining`](Self::remaining)) and keeps as many as
    /// it says.
    ///
    /// # Panics
    /// If it says more than it was given.
    pub fn fill(&mut self, room_bytes: usize, write: impl FnOnce(&mut [u8]) -> usize) -> usize {
        let start = self.message.len();
        let room_bytes = room_bytes.min(self.remaining());
        self.message.resize(start + room_bytes, 0);
        let filled = write(&mut self.message[start..]);
        assert!(filled <= room_bytes, "an extension fills no more than its room");
        self.message.truncate(start + filled);
        filled
    }
}

/// One extension in a `Sec-WebSocket-Extensions` header (§9.1): a name and parameters with or without value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionParams<'a> {
    /// The extension's token, such as `permessage-deflate`.
    pub name: &'a str,
    /// Its parameters in order.
    pub params: Vec<(&'a str, Option<&'a str>)>,
}

impl<'a> ExtensionParams<'a> {
    /// Reads one header value: a list of extensions. Elements that are not well formed are left out, which declines
    /// them.
    pub fn parse_list(value: &'a str) -> impl Iterator<Item = Self> {
        split_unquoted(value, ',').filter_map(Self::parse)
    }

    fn parse(element: &'a str) -> Option<Self> {
        let mut parts = split_unquoted(element, ';').map(str::trim);
        let name = parts.next().filter(|name| is_token(name))?;
        let params = parts.map(parse_param).collect::<Option<_>>()?;
        Some(Self { name, params })
    }
}

fn parse_param(param: &str) -> Option<(&str, Option<&str>)> {
    let Some((name, value)) = param.split_once('=') else {
        return is_token(param).then_some((param, None));
    };
    let (name, value) = (name.trim(), value.trim());
    // A quoted value must be a token once the quotes are off (§9.1), so it holds no escapes.
    let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    (is_token(name) && is_token(value)).then_some((name, Some(value)))
}

/// Splits at `separator` outside of quotes.
fn split_unquoted(value: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    value.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

/// Whether `text` is an HTTP token (RFC 9110 §5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// What both sides agreed on.
#[derive(Debug)]
pub struct Agreed {
    /// The element for the server's `Sec-WebSocket-Extensions` header.
    pub header_value: String,
    /// The extension, for this connection.
    pub extension: Box<dyn Extension>,
}

/// Negotiates an extension in the opening handshake.
pub trait Negotiator: Send + Sync + fmt::Debug {
    /// The client's offer, as a header value.
    fn offer(&self) -> String;

    /// For a server: the answer to one element of a client's list, in the client's order of preference; `None`
    /// declines it.
    fn accept(&self, offer: &ExtensionParams<'_>) -> Option<Agreed>;

    /// For a client: the extension as the server's answer says, or `None` if that does not fit the offer.
    fn confirm(&self, answer: &ExtensionParams<'_>) -> Option<Box<dyn Extension>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_list_is_read_in_order() {
        let list: Vec<_> = ExtensionParams::parse_list(
            "permessage-deflate; client_max_window_bits; server_max_window_bits=\"10\", x-own;a=1 , bad name, ;;",
        )
        .collect();
        assert_eq!(
            list,
            [
                ExtensionParams {
                    name: "permessage-deflate",
                    params: vec![("client_max_window_bits", None), ("server_max_window_bits", Some("10"))],
                },
                ExtensionParams { name: "x-own", params: vec![("a", Some("1"))] },
            ]
        );
    }

    #[test]
    fn separators_within_quotes_separate_nothing() {
        let list: Vec<_> = ExtensionParams::parse_list("x; a=\"1,y,2\", z").map(|element| element.name).collect();
        assert_eq!(list, ["z"], "the first is declined as a whole, its value being no token");
    }

    #[test]
    fn output_stops_at_the_limit() {
        let mut message = b"ab".to_vec();
        let mut out = Output::new(&mut message, 5);
        assert_eq!(out.push(b"cdef"), Err(ExtensionError::TooBig));
        assert_eq!(out.fill(100, |room| room.len()), 3);
        assert_eq!((out.remaining(), out.written()), (0, &b"ab\0\0\0"[..]));
    }
}
