//! What a caller says: about the client, a subscription, a publish.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ringwire_codec::handshake::Url;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::event::Position;

/// A stream of bytes in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What a [`Connector`] gives.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send>>;

/// Opens the stream for a URL: TCP, with TLS on it for `wss://`. It is asked once per connection.
pub type Connector = Arc<dyn Fn(&Url) -> Connecting + Send + Sync>;

/// What gives a token.
pub type TokenFuture = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// Who the client is.
#[derive(Clone, Default)]
pub enum Token {
    /// Nobody in particular.
    #[default]
    None,
    /// A token that lasts.
    Fixed(String),
    /// Gives a token, now and whenever the last one has expired or is about to.
    Get(Arc<dyn Fn() -> TokenFuture + Send + Sync>),
}

/// How a [`Client`](crate::Client) connects, and how much it holds.
#[derive(Clone)]
pub struct Options {
    /// Who it is.
    pub token: Token,
    /// What the server shows it as, at most 64 bytes.
    pub name: Option<String>,
    /// The first wait before it comes back is up to this long, each further one up to twice as long: 250 ms.
    pub backoff_least: Duration,
    /// No wait is longer: 20 s.
    pub backoff_most: Duration,
    /// From the first packet to a session: 15 s.
    pub connect_timeout: Duration,
    /// How long a request other than a publish may take: 10 s.
    pub request_timeout: Duration,
    /// Publishes that may wait for their acknowledgement; [`Client::publish`](crate::Client::publish) waits for room: 10,000.
    pub pending_publishes_max: usize,
    /// Longest message that is taken from the server, in bytes: 17 MiB.
    pub message_bytes_max: usize,
    /// Speaks the binary form of the protocol, in which payloads come as they were published and cost no parsing; otherwise
    /// JSON.
    pub binary: bool,
    /// Opens streams instead of plain TCP; needed for `wss://`.
    pub connector: Option<Connector>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            token: Token::None,
            name: None,
            backoff_least: Duration::from_millis(250),
            backoff_most: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(15),
            request_timeout: Duration::from_secs(10),
            pending_publishes_max: 10_000,
            message_bytes_max: 17 << 20,
            binary: false,
            connector: None,
        }
    }
}

/// What to subscribe to, and how.
#[derive(Clone, Debug)]
pub struct Subscribe {
    pub(crate) topics: Vec<String>,
    pub(crate) latest: bool,
    pub(crate) rate: Option<u32>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) since: BTreeMap<String, Position>,
    pub(crate) history: Option<u32>,
    pub(crate) snapshot: bool,
    pub(crate) info: Option<String>,
    pub(crate) capacity: usize,
}

impl Subscribe {
    /// One topic, or a pattern (`*` is one segment, `>` at the end one or more).
    pub fn to(topic: impl Into<String>) -> Self {
        Self::to_all([topic])
    }

    /// Several of them.
    pub fn to_all(topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            topics: topics.into_iter().map(Into::into).collect(),
            latest: false,
            rate: None,
            max_age: None,
            since: BTreeMap::new(),
            history: None,
            snapshot: true,
            info: None,
            capacity: 1024,
        }
    }

    /// Entries that a later one of their key replaces may be skipped.
    pub fn latest(self) -> Self {
        Self { latest: true, ..self }
    }

    /// At most so many pushes a second for each key.
    pub fn rate(self, rounds_per_second: u32) -> Self {
        Self { rate: Some(rounds_per_second), ..self }
    }

    /// What is further behind than this is conflated (keyed) or skipped (plain).
    pub fn max_age(self, age: Duration) -> Self {
        Self { max_age: Some(age), ..self }
    }

    /// Begins a topic behind this place.
    pub fn since(mut self, topic: impl Into<String>, position: Position) -> Self {
        self.since.insert(topic.into(), position);
        self
    }

    /// Begins so many entries before the head, as far as they are held.
    pub fn history(self, entries: u32) -> Self {
        Self { history: Some(entries), ..self }
    }

    /// Begins keyed topics without their state.
    pub fn without_snapshot(self) -> Self {
        Self { snapshot: false, ..self }
    }

    /// What presence says of this subscriber: JSON of at most 1 KiB.
    pub fn info(self, json: impl Into<String>) -> Self {
        Self { info: Some(json.into()), ..self }
    }

    /// Events that may wait to be read before the connection is held back; 1,024 unless said.
    ///
    /// # Panics
    /// If it is 0.
    pub fn capacity(self, events: usize) -> Self {
        assert!(events > 0, "a subscription without room gets nothing");
        Self { capacity: events, ..self }
    }
}

/// A publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    pub(crate) topic: String,
    pub(crate) key: Option<String>,
    pub(crate) body: Body,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) source_seq: Option<u64>,
    pub(crate) bound: bool,
}

/// A payload as it goes into a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Json(String),
    /// In base64.
    Bytes(String),
    Remove,
}

impl Publish {
    /// JSON, as its text. What is no JSON the server refuses.
    pub fn json(topic: impl Into<String>, json: impl Into<String>) -> Self {
        Self::new(topic.into(), Body::Json(json.into()))
    }

    /// Any bytes.
    pub fn bytes(topic: impl Into<String>, bytes: &[u8]) -> Self {
        Self::new(topic.into(), Body::Bytes(STANDARD.encode(bytes)))
    }

    /// Removes a key of a keyed topic.
    pub fn remove(topic: impl Into<String>, key: impl Into<String>) -> Self {
        Self::new(topic.into(), Body::Remove).key(key)
    }

    fn new(topic: String, body: Body) -> Self {
        Self { topic, key: None, body, idempotency_key: None, source_seq: None, bound: false }
    }

    /// Sets this key, on a keyed topic.
    pub fn key(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// 1 to 64 bytes; made up if it is not said.
    pub fn idempotency_key(self, key: impl Into<String>) -> Self {
        Self { idempotency_key: Some(key.into()), ..self }
    }

    /// A number of the publisher's own, handed on to subscribers.
    pub fn source_seq(self, seq: u64) -> Self {
        Self { source_seq: Some(seq), ..self }
    }

    /// The key goes when this client goes; it comes back with the connection.
    pub fn bound(self) -> Self {
        Self { bound: true, ..self }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Fixed(_) => "Fixed(..)",
            Self::Get(_) => "Get(..)",
        })
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("token", &self.token).field("name", &self.name).finish_non_exhaustive()
    }
}
