//! What a path means.
//!
//! One table: [`Route::parse`] reads path and query, and each route says how it is spoken to. Who answers is none
//! of this module's business.

use std::fmt;

use ringwire_codec::http::{decode_percent, query_pairs};
use ringwire_hub::{NameError, TopicName};

/// Most streams of one combined subscription, as large exchanges have it.
pub const STREAMS_MAX: usize = 1024;

/// A path that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/`: the page.
    Page,
    /// `/ringwire.js`: the client that the page uses.
    Script,
    /// `/health`: how the server is, as JSON.
    Health,
    /// `/metrics`: how the server is, for Prometheus.
    Metrics,
    /// `/topics`: the topics, as JSON.
    Topics,
    /// `/connect`: the native protocol.
    Connect,
    /// `/echo`: each message comes back.
    Echo,
    /// `/ws/<topic>`: the payloads of one topic.
    Subscribe(TopicName),
    /// `/stream?streams=a/b`: several topics, each message with its topic's name.
    Combined(Vec<TopicName>),
    /// `/sse/<topic>`: the entries of one topic, as Server-Sent Events.
    Events(TopicName),
    /// `/pub/<topic>`: each message received is published.
    PublishSocket(TopicName),
    /// `/publish/<topic>`: the body is published.
    PublishOnce(TopicName),
    /// `/publish`: each line of the body is published.
    PublishBatch,
}

/// How a route is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// HTTP, with the methods GET and HEAD.
    Get,
    /// HTTP, with the method POST.
    Post,
    /// WebSocket.
    Socket,
}

/// Why a path is not served. Its text is for who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteFault {
    /// There is no such path.
    Unknown,
    /// The path's percent-encoding is broken.
    Encoding,
    /// The topic's name is not valid.
    Topic(NameError),
    /// A combined subscription that names no streams.
    NoStreams,
    /// A combined subscription of more than [`STREAMS_MAX`] streams.
    TooManyStreams(usize),
    /// A combined subscription that names a stream twice.
    StreamTwice(TopicName),
}

impl Route {
    /// Reads the path and the query of a request, both as they stand in its first line, percent-encoded.
    ///
    /// # Errors
    /// Why they are not served.
    pub fn parse(path: &str, query: Option<&str>) -> Result<Self, RouteFault> {
        match path {
            "/" | "/index.html" => return Ok(Route::Page),
            "/ringwire.js" => return Ok(Route::Script),
            "/health" => return Ok(Route::Health),
            "/metrics" => return Ok(Route::Metrics),
            "/topics" => return Ok(Route::Topics),
            "/publish" => return Ok(Route::PublishBatch),
            "/connect" => return Ok(Route::Connect),
            "/echo" => return Ok(Route::Echo),
            "/stream" => return streams(query).map(Route::Combined),
            _ => {}
        }
        let topic = |name: &str| {
            let decoded = decode_percent(name).ok_or(RouteFault::Encoding)?;
            TopicName::new(&decoded).map_err(RouteFault::Topic)
        };
        if let Some(name) = path.strip_prefix("/ws/") {
            topic(name).map(Route::Subscribe)
        } else if let Some(name) = path.strip_prefix("/sse/") {
            topic(name).map(Route::Events)
        } else if let Some(name) = path.strip_prefix("/pub/") {
            topic(name).map(Route::PublishSocket)
        } else if let Some(name) = path.strip_prefix("/publish/") {
            topic(name).map(Route::PublishOnce)
        } else {
            Err(RouteFault::Unknown)
        }
    }

    /// How this route is spoken to.
    pub fn speech(&self) -> Speech {
        match self {
            Route::Page | Route::Script | Route::Health | Route::Metrics | Route::Topics | Route::Events(_) => {
                Speech::Get
            }
            Route::PublishOnce(_) | Route::PublishBatch => Speech::Post,
            Route::Connect | Route::Echo | Route::Subscribe(_) | Route::Combined(_) | Route::PublishSocket(_) => {
                Speech::Socket
            }
        }
    }
}

impl RouteFault {
    /// The HTTP status that says it.
    pub fn status(&self) -> u16 {
        match self {
            RouteFault::Unknown => 404,
            RouteFault::Encoding
            | RouteFault::Topic(_)
            | RouteFault::NoStreams
            | RouteFault::TooManyStreams(_)
            | RouteFault::StreamTwice(_) => 400,
        }
    }
}

impl fmt::Display for RouteFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RouteFault::Unknown => f.write_str(
                "no such path. Served here:\n\
                 \x20 /                        the page\n\
                 \x20 /ringwire.js             the client for browsers and Node, an ES module\n\
                 \x20 /connect                 WebSocket: subscribe, publish and more (docs/protocol.md)\n\
                 \x20 /ws/<topic>              WebSocket: payloads of one topic\n\
                 \x20 /stream?streams=a/b      WebSocket: several topics, {\"stream\":..,\"data\":..}\n\
                 \x20 /sse/<topic>             Server-Sent Events: one topic, for EventSource and curl\n\
                 \x20 /pub/<topic>             WebSocket: publishes each message\n\
                 \x20 /echo                    WebSocket: sends each message back\n\
                 \x20 POST /publish/<topic>    publishes the body, answers with its seq\n\
                 \x20 POST /publish            publishes each line, {\"topic\":..,\"data\":..}\n\
                 \x20 /topics                  topics, as JSON\n\
                 \x20 /health                  how the server is, as JSON\n\
                 \x20 /metrics                 how the server is, for Prometheus",
            ),
            RouteFault::Encoding => {
                f.write_str("a % in the path is not followed by two hex digits, or the path is not UTF-8")
            }
            RouteFault::Topic(fault) => write!(f, "{fault}"),
            RouteFault::NoStreams => f.write_str("name the streams, as in /stream?streams=trades.BTC/quotes.BTC"),
            RouteFault::TooManyStreams(count) => {
                write!(f, "{count} streams are too many: a connection takes at most {STREAMS_MAX}; open another")
            }
            RouteFault::StreamTwice(topic) => write!(f, "the stream {topic} is named twice"),
        }
    }
}

impl std::error::Error for RouteFault {}

/// The topics of `streams=a/b`.
fn streams(query: Option<&str>) -> Result<Vec<TopicName>, RouteFault> {
    let mut pairs = query_pairs(query.unwrap_or_default());
    let found = pairs.find(|(name, value)| name == "streams" && !value.is_empty());
    let (_, list) = found.ok_or(RouteFault::NoStreams)?;
    let count = list.split('/').count();
    if count > STREAMS_MAX {
        return Err(RouteFault::TooManyStreams(count));
    }
    let topics: Vec<TopicName> =
        list.split('/').map(TopicName::new).collect::<Result<_, _>>().map_err(RouteFault::Topic)?;
    let mut sorted: Vec<&TopicName> = topics.iter().collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(RouteFault::StreamTwice(pair[0].clone())),
        None => Ok(topics),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TopicName {
        TopicName::new(text).unwrap()
    }

    #[test]
    fn each_path_has_its_route() {
        for (path, route) in [
            ("/", Route::Page),
            ("/ringwire.js", Route::Script),
            ("/health", Route::Health),
            ("/metrics", Route::Metrics),
            ("/topics", Route::Topics),
            ("/connect", Route::Connect),
            ("/echo", Route::Echo),
            ("/ws/trades.BTCUSDT", Route::Subscribe(name("trades.BTCUSDT"))),
            ("/sse/chat", Route::Events(name("chat"))),
            ("/pub/chat", Route::PublishSocket(name("chat"))),
            ("/publish", Route::PublishBatch),
            ("/publish/chat", Route::PublishOnce(name("chat"))),
        ] {
            assert_eq!(Route::parse(path, None), Ok(route));
        }
    }

    #[test]
    fn other_paths_are_unknown() {
        for path in ["/ws", "/nothing", "/Health", "", "/echo/", "//", "/publishes"] {
            assert_eq!(Route::parse(path, None), Err(RouteFault::Unknown), "{path}");
        }
    }

    #[test]
    fn the_hint_lists_every_path() {
        let hint = RouteFault::Unknown.to_string();
        for path in
            ["/connect", "/ws/", "/stream?streams=", "/sse/", "/pub/", "/publish/", "/echo", "/topics", "/health"]
        {
            assert!(hint.contains(path), "{path}");
        }
    }

    #[test]
    fn streams_are_read_as_written_by_hand_and_by_a_browser() {
        let want = Ok(Route::Combined(vec![name("a@b"), name("c!d")]));
        assert_eq!(Route::parse("/stream", Some("streams=a@b/c!d")), want);
        assert_eq!(Route::parse("/stream", Some("x=1&streams=a%40b%2Fc%21d&token=t")), want);
    }

    #[test]
    fn faulty_lists_of_streams_say_what_is_wrong() {
        for query in [None, Some(""), Some("streams="), Some("stream=a")] {
            assert_eq!(Route::parse("/stream", query), Err(RouteFault::NoStreams));
        }
        assert_eq!(Route::parse("/stream", Some("streams=a//b")), Err(RouteFault::Topic(NameError::Empty)));
        assert_eq!(Route::parse("/stream", Some("streams=a/b/a")), Err(RouteFault::StreamTwice(name("a"))));
        let many: Vec<String> = (0..1025).map(|index| format!("t{index}")).collect();
        let fault = Route::parse("/stream", Some(&format!("streams={}", many.join("/"))));
        assert_eq!(fault, Err(RouteFault::TooManyStreams(1025)));
        assert!(Route::parse("/stream", Some(&format!("streams={}", many[1..].join("/")))).is_ok());
    }

    #[test]
    fn topics_in_paths_are_decoded_and_checked() {
        assert_eq!(Route::parse("/ws/btc%40trade", None), Ok(Route::Subscribe(name("btc@trade"))));
        assert_eq!(Route::parse("/ws/", None), Err(RouteFault::Topic(NameError::Empty)));
        assert_eq!(Route::parse("/ws/a/b", None), Err(RouteFault::Topic(NameError::Byte { at: 1 })));
        assert_eq!(Route::parse("/pub/a%2Fb", None), Err(RouteFault::Topic(NameError::Byte { at: 1 })));
        assert_eq!(Route::parse("/ws/%zz", None), Err(RouteFault::Encoding));
        assert_eq!(Route::parse("/ws/%ff", None), Err(RouteFault::Encoding));
    }
}
