//! As much of HTTP/1.1 (RFC 9110, RFC 9112) as one port shared with WebSocket needs: heads of requests and
//! responses, targets, and bodies with a length or in chunks.
//!
//! Heads are parsed by `httparse` and borrow from the input. A request whose end could be read in two ways is
//! refused, so that no proxy in front can be made to disagree with this server (RFC 9112 §11.2).

mod body;
mod request;
mod response;
mod target;

pub use body::{BodyError, ChunkedDecoder, ChunkedStep, SKIPPED_BYTES_MAX};
pub use request::{BodyLength, Request, RequestError};
pub use response::{Response, ResponseError};
pub use target::{decode_percent, query_pairs};

/// Most header fields that a head may have.
pub const HEADERS_MAX: usize = 64;

/// Version of a request or response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0: a connection carries one exchange, unless agreed otherwise.
    Http10,
    /// HTTP/1.1: a connection carries many, unless agreed otherwise.
    Http11,
}

/// The header fields of a head, in order. Names are compared without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    fields: Vec<(&'a str, &'a str)>,
}

impl<'a> Headers<'a> {
    /// `None` if a value is not UTF-8.
    fn collect(parsed: &[httparse::Header<'a>]) -> Option<Self> {
        let field = |header: &httparse::Header<'a>| {
            let value = std::str::from_utf8(header.value).ok()?;
            Some((header.name, value.trim_matches([' ', '\t'])))
        };
        Some(Self { fields: parsed.iter().map(field).collect::<Option<_>>()? })
    }

    /// The value of the first field of this name.
    pub fn first(&self, name: &str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// The value of the only field of this name; `None` if there is no such field, or more than one.
    pub fn only(&self, name: &str) -> Option<&'a str> {
        let mut values = self.all(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// The values of all fields of this name.
    pub fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n, '_> {
        self.fields.iter().filter(move |(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// The elements of a field that is a comma-separated list, over all fields of this name (RFC 9110 §5.6.1).
    pub fn list<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n, '_> {
        self.all(name).flat_map(|value| value.split(',')).map(str::trim).filter(|element| !element.is_empty())
    }

    /// Whether a list field has this token, without regard to case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.list(name).any(|element| element.eq_ignore_ascii_case(token))
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.fields.iter().copied()
    }
}

/// Whether the name is a token and the value one line, as a header field must be (RFC 9110 §5).
pub fn is_header(name: &str, value: &str) -> bool {
    crate::extension::is_token(name) && !value.chars().any(|c| c.is_control() && c != '\t')
}

/// Appends a header line to `out`.
///
/// # Panics
/// If the name is not a token or the value has a control character: they would make another head of it.
pub(crate) fn push_header(out: &mut Vec<u8>, name: &str, value: &str) {
    assert!(crate::extension::is_token(name), "{name:?} is not a header name");
    assert!(!value.chars().any(|c| c.is_control() && c != '\t'), "{value:?} is not a header value");
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}
