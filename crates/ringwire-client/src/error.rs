//! How things fail.

use std::fmt;
use std::time::Duration;

use ringwire_codec::handshake::UrlError;

/// What the server says when it refuses a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 400 to 599, as docs/protocol.md lists them.
    pub code: u16,
    /// What was wrong and what to do.
    pub message: String,
    /// Whether the same may succeed later,
    pub retry: bool,
    /// and how much later.
    pub after: Option<Duration>,
}

/// Why something did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The URL is not one of WebSocket.
    Url(UrlError),
    /// The URL is `wss://`, and there is no [`Options::connector`](crate::Options::connector).
    NoTls,
    /// The server refuses it.
    Refused(Refusal),
    /// There was no answer in time.
    Timeout,
    /// The topic or pattern has a subscription of this client.
    Subscribed(String),
    /// The client has ended; why.
    Closed(String),
    /// The answer is not what the protocol says.
    Protocol(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.message, self.code)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => write!(f, "{error}"),
            Self::NoTls => f.write_str("a wss:// URL needs Options::connector, which makes the encrypted stream"),
            Self::Refused(refusal) => write!(f, "refused: {refusal}"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Subscribed(name) => write!(f, "{name} has a subscription already: one for each"),
            Self::Closed(why) => write!(f, "the client is closed: {why}"),
            Self::Protocol(what) => write!(f, "the server does not keep to the protocol: {what}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<UrlError> for Error {
    fn from(error: UrlError) -> Self {
        Self::Url(error)
    }
}
