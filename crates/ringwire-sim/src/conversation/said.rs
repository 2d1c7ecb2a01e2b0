//! Reads what a server sent: HTTP responses, and behind a 101 the frames of a WebSocket.

use ringwire_codec::deflate::{Deflate, DeflateOptions, InflationLimit};
use ringwire_codec::extension::{Extension, ExtensionParams, Negotiator};
use ringwire_codec::http::Response;
use ringwire_codec::{Decoder, DecoderLimits, Event, Role};

use super::End;
use super::parrot::HEAD_ONLY;

/// One thing that the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// An HTTP response that is an answer: not the `100 Continue` before one.
    Response {
        /// Its status.
        status: u16,
        /// Its header fields but for the date, which is no answer to anything.
        headers: Vec<(String, String)>,
        /// Its body.
        body: Vec<u8>,
    },
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// The close frame.
    Close(Option<u16>, String),
}

/// Reads all of a stream that has ended.
///
/// # Panics
/// If it is not well formed, or ended well in the middle of something.
pub(super) fn read(mut bytes: &[u8], end: End) -> Vec<Said> {
    let mut said = Vec::new();
    let ended_well = end != End::Reset;
    while !bytes.is_empty() {
        let parsed = Response::parse(bytes).expect("the server answers in HTTP");
        let Some((response, head_bytes)) = parsed else {
            // A peer that leaves while it is being answered with a 101 may miss the rest.
            let cut = end == End::Hasty && b"HTTP/1.1 101".starts_with(&bytes[..bytes.len().min(12)]);
            assert!(!ended_well || cut, "the stream ends within a head: {}", bytes.escape_ascii());
            return said;
        };
        let rest = &bytes[head_bytes..];
        let status = response.status();
        assert!(ANSWERS.contains(&status), "status {status}");
        let has_body = status >= 200 && response.header(HEAD_ONLY).is_none();
        let body_bytes = response.content_length().filter(|_| has_body).unwrap_or(0) as usize;
        assert!(!has_body || response.content_length().is_some(), "an answer says how long its body is");
        if rest.len() < body_bytes {
            assert!(!ended_well, "the stream ends within a body");
            return said;
        }
        let is_last = response.headers().has_token("connection", "close");
        let (body, rest) = rest.split_at(body_bytes);
        bytes = rest;
        if status == 100 {
            continue;
        }
        let fields = response.headers().iter().filter(|(name, _)| *name != "Date");
        let headers = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        said.push(Said::Response { status, headers, body: body.to_vec() });
        if status == 101 {
            let extension = response.header("sec-websocket-extensions").map(agreed);
            read_frames(&mut bytes.to_vec(), extension, end == End::Well, &mut said);
            return said;
        }
        assert!(!is_last || bytes.is_empty(), "something follows the answer that said it was the last");
    }
    said
}

/// What the engine and the handler of these conversations may answer.
const ANSWERS: [u16; 12] = [100, 101, 200, 400, 403, 411, 413, 417, 426, 431, 501, 505];

/// What a server's answer about extensions says, to a client that would take any.
fn agreed(answer: &str) -> Box<dyn Extension> {
    let client = Deflate::new(DeflateOptions {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        inflation: InflationLimit::NONE,
        ..DeflateOptions::DEFAULT
    });
    let answers: Vec<_> = ExtensionParams::parse_list(answer).collect();
    let [answer] = &answers[..] else { panic!("one extension is agreed on: {answer}") };
    client.confirm(answer).expect("the answer is well formed")
}

fn read_frames(bytes: &mut [u8], mut extension: Option<Box<dyn Extension>>, ended_well: bool, said: &mut Vec<Said>) {
    let mut decoder = Decoder::new(Role::Client, DecoderLimits::default());
    let mut at = 0;
    let mut closed = false;
    while at < bytes.len() {
        assert!(!closed, "nothing follows a close frame");
        let step = decoder.decode_with(&mut bytes[at..], extension.as_deref_mut());
        let step = step.expect("the server keeps to the protocol");
        at += step.consumed;
        said.extend(step.event.map(owned));
        closed = matches!(said.last(), Some(Said::Close(..)));
    }
    decoder.release();
    assert!(!ended_well || decoder.assembly_bytes() == 0, "the stream ends within a message");
}

fn owned(event: Event<'_>) -> Said {
    match event {
        Event::Message(message) if message.is_text() => {
            Said::Text(String::from_utf8(message.bytes().to_vec()).expect("text is UTF-8"))
        }
        Event::Message(message) => Said::Binary(message.bytes().to_vec()),
        Event::Ping(payload) => Said::Ping(payload.to_vec()),
        Event::Pong(payload) => Said::Pong(payload.to_vec()),
        Event::Close(None) => Said::Close(None, String::new()),
        Event::Close(Some(frame)) => Said::Close(Some(frame.code.value()), frame.reason.to_owned()),
    }
}
