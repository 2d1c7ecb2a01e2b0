//! Server-Sent Events, read as any client of them reads lines.

use std::io::{Read, Write};
use std::net::TcpStream;

use ringwire_codec::http::{ChunkedDecoder, Response};
use ringwire_ring::wall_clock_us;
use simd_json::prelude::*;

use crate::access;
use crate::support::{PATIENCE, Server};

/// A stream of events.
struct Events {
    stream: TcpStream,
    head: String,
    chunks: ChunkedDecoder,
    raw: Vec<u8>,
    text: String,
}

/// An event, or what there is of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    id: Option<String>,
    name: String,
    data: String,
}

impl Events {
    fn open(server: &Server, target: &str, headers: &[(&str, &str)]) -> Self {
        let mut stream = TcpStream::connect(server.address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).expect("the request goes out");
        let (chunks, text) = (ChunkedDecoder::default(), String::new());
        let mut events = Self { stream, head: String::new(), chunks, raw: Vec::new(), text };
        while Response::parse(&events.raw).expect("HTTP").is_none() {
            assert!(events.fill(), "no head: {}", events.raw.escape_ascii());
        }
        let head_bytes = Response::parse(&events.raw).expect("HTTP").expect("a head").1;
        events.head = String::from_utf8(events.raw.drain(..head_bytes).collect()).expect("text");
        assert!(events.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", events.head);
        events
    }

    /// Waits for more. `false`: there is no more.
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let bytes = self.stream.read(&mut buffer).expect("something comes in time");
        self.raw.extend_from_slice(&buffer[..bytes]);
        bytes > 0
    }

    /// The next event, or none at the body's end.
    fn try_next(&mut self) -> Option<Event> {
        loop {
            if let Some((lines, _)) = self.text.split_once("\n\n") {
                let mut event = Event { name: "message".to_owned(), ..Event::default() };
                for line in lines.lines() {
                    match line.split_once(": ").expect("a field") {
                        ("id", id) => event.id = Some(id.to_owned()),
                        ("event", name) => event.name = name.to_owned(),
                        ("data", data) => event.data.push_str(data),
                        other => panic!("{other:?}"),
                    }
                }
                self.text.drain(..lines.len() + 2);
                return Some(event);
            }
            while !self.raw.is_empty() {
                let step = self.chunks.decode(&self.raw).expect("chunks");
                self.text.push_str(std::str::from_utf8(step.data).expect("an event is not cut"));
                let (consumed, done) = (step.consumed, step.done);
                self.raw.drain(..consumed);
                if done {
                    return None;
                }
            }
            if !self.text.contains("\n\n") {
                assert!(self.fill(), "the stream ends without its last chunk");
            }
        }
    }

    fn next(&mut self) -> Event {
        self.try_next().expect("the stream goes on")
    }

    /// Waits for a comment, in front of which no event may come.
    fn comment(&mut self) {
        while !self.raw.ends_with(b"3\r\n:\n\n\r\n") {
            assert!(self.fill(), "the stream goes on");
        }
        assert_eq!((self.raw.len(), &*self.text), (8, ""), "{}", self.raw.escape_ascii());
        self.raw.clear();
    }

    /// The first event: what it says of its beginning.
    fn begun(&mut self) -> Event {
        let event = self.next();
        assert_eq!(event.name, "subscribed");
        event
    }
}

/// The epoch in an id.
fn epoch(id: &str) -> &str {
    id.rsplit_once('-').expect("epoch and seq").0
}

#[test]
fn each_entry_is_an_event_with_the_json_message() {
    let server = Server::start(&[]);
    let mut events = Events::open(&server, "/sse/a.b", &[]);
    for line in ["Content-Type: text/event-stream", "Cache-Control: no-store", "X-Accel-Buffering: no"] {
        assert!(events.head.contains(&format!("\r\n{line}\r\n")), "{}", events.head);
    }
    let begun = events.begun();
    let id = begun.id.expect("a place");
    let epoch = epoch(&id);
    assert_eq!(id, format!("{epoch}-0"));
    assert!(begun.data.starts_with("{\"type\":\"subscribed\",\"topic\":\"a.b\","), "{}", begun.data);
    assert!(begun.data.contains(&format!("\"epoch\":\"{epoch}\",\"seq\":0,\"head\":0")), "{}", begun.data);
    assert!(begun.data.ends_with("\"state\":\"new\"}"), "{}", begun.data);
    server.publish("a.b", "{\"x\":\n1}");
    server.publish("a.b", "two\nlines");
    for (seq, data) in [(1, "{\"x\": 1}"), (2, "\"two\\nlines\"")] {
        let event = events.next();
        assert_eq!((event.id, &*event.name), (Some(format!("{epoch}-{seq}")), "message"));
        assert!(event.data.starts_with(&format!("{{\"topic\":\"a.b\",\"type\":\"message\",\"seq\":{seq},\"ts\":")));
        assert!(event.data.ends_with(&format!("\"data\":{data}}}")), "{}", event.data);
    }
}

#[test]
fn who_comes_again_with_the_last_id_misses_nothing() {
    let server = Server::start(&[]);
    let mut first = Events::open(&server, "/sse/a", &[]);
    first.begun();
    server.publish("a", "1");
    let last = first.next().id.expect("a place");
    server.publish("a", "2");
    server.publish("a", "3");
    let since = format!("/sse/a?since={last}");
    // A header counts before the address: a browser that comes again has the old one.
    for (target, headers) in [(&*since, &[][..]), ("/sse/a?since=zzz-0", &[("Last-Event-ID", &*last)])] {
        let mut again = Events::open(&server, target, headers);
        let begun = again.begun();
        assert_eq!(begun.id.as_deref(), Some(&*last));
        assert!(begun.data.ends_with("\"state\":\"resumed\"}"), "{}", begun.data);
        assert_eq!([again.next().id, again.next().id], [2, 3].map(|seq| Some(format!("{}-{seq}", epoch(&last)))));
    }
}

#[test]
fn what_came_while_nobody_listened_is_made_from_the_history() {
    let server = Server::start(&[]);
    let last = Events::open(&server, "/sse/a", &[]).begun().id.expect("a place");
    server.await_topic("a", "\"subscribers\":0");
    for data in ["1", "{\"x\":\n2}", "two\nlines"] {
        server.publish("a", data);
    }
    let mut again = Events::open(&server, "/sse/a", &[("Last-Event-ID", &last)]);
    let begun = again.begun();
    assert!(begun.id == Some(last.clone()) && begun.data.ends_with("\"state\":\"resumed\"}"), "{begun:?}");
    server.publish("a", "live");
    for (seq, data) in [(1, "1"), (2, "{\"x\": 2}"), (3, "\"two\\nlines\""), (4, "\"live\"")] {
        let event = again.next();
        assert_eq!((event.id, &*event.name), (Some(format!("{}-{seq}", epoch(&last))), "message"));
        assert!(event.data.starts_with(&format!("{{\"topic\":\"a\",\"type\":\"message\",\"seq\":{seq},\"ts\":")));
        assert!(event.data.ends_with(&format!("\"data\":{data}}}")), "{}", event.data);
    }
}

#[test]
fn a_keyed_topic_begins_with_its_state_and_only_behind_it_is_a_place() {
    const KEYS: usize = 200;
    let server = Server::start_configured("[[topics]]\nmatch = \"book.>\"\nkind = \"keyed\"\n");
    let line = |n| format!("{{\"topic\":\"book.x\",\"key\":\"k{n:03}\",\"data\":\"{n:0100}\"}}\n");
    let lines: String = (0..KEYS).rev().map(line).collect();
    assert_eq!(server.request("POST", "/publish", &[], lines.as_bytes()).status, 200);
    let mut events = Events::open(&server, "/sse/book.x", &[]);
    assert_eq!(events.begun().id, None, "who loses it now has no state");
    let (mut keys, mut parts) = (Vec::new(), 0);
    let place = loop {
        let event = events.next();
        assert_eq!(event.name, "snapshot");
        let part = simd_json::to_owned_value(&mut event.data.clone().into_bytes()).expect("JSON");
        assert_eq!(part.get_bool("first"), Some(parts == 0));
        let items = part.get_array("data").expect("items");
        keys.extend(items.iter().map(|item| item.get_str("key").expect("a key").to_owned()));
        parts += 1;
        assert_eq!(part.get_bool("last"), Some(event.id.is_some()));
        if let Some(id) = event.id {
            break id;
        }
    };
    assert!(parts > 1 && keys == (0..KEYS).map(|n| format!("k{n:03}")).collect::<Vec<_>>(), "{parts} parts: {keys:?}");
    assert_eq!(place, format!("{}-{KEYS}", epoch(&place)));
    server.publish("book.x?key=k007", "7");
    let update = events.next();
    assert_eq!((&*update.name, update.id.as_deref()), ("update", Some(&*format!("{}-{}", epoch(&place), KEYS + 1))));
    let mut again = Events::open(&server, "/sse/book.x", &[("Last-Event-ID", &place)]);
    assert_eq!(again.begun().id, Some(place), "it has the state");
    assert_eq!(again.next(), update);
}

#[test]
fn a_place_that_is_lost_is_said_to_be() {
    let server = Server::start(&[]);
    server.publish("a", "1");
    for id in ["zzz-1", "what another server gave"] {
        let mut events = Events::open(&server, "/sse/a", &[("Last-Event-ID", id)]);
        let begun = events.begun();
        assert!(begun.data.ends_with("\"state\":\"reset\"}"), "{id}: {}", begun.data);
        server.publish("a", "next");
        assert!(events.next().data.ends_with("\"data\":\"next\"}"), "{id}");
    }
}

#[test]
fn faulty_requests_are_answered_with_words() {
    let server = Server::start(&[]);
    let words = server.get("/sse/a?since=x");
    assert_eq!((words.status, words.body.contains("since is the id of an event")), (400, true), "{words:?}");
    let name = server.get("/sse/a/b");
    assert_eq!(name.status, 400, "{name:?}");
    let method = server.request("POST", "/sse/a", &[], b"x");
    assert_eq!((method.status, method.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    let old = server.exchange(b"GET /sse/a HTTP/1.0\r\n\r\n");
    assert_eq!((old.status, old.body.contains("HTTP/1.1")), (505, true), "{old:?}");
    server.await_topic("a", "\"subscribers\":0");
}

#[test]
fn a_page_of_another_origin_may_read_the_events_if_it_is_let_in() {
    let server = Server::start(&["--origin", "https://a.example"]);
    let events = Events::open(&server, "/sse/a", &[("Origin", "https://a.example")]);
    assert!(events.head.contains("\r\nAccess-Control-Allow-Origin: https://a.example\r\n"), "{}", events.head);
    let events = Events::open(&server, "/sse/a", &[("Origin", "https://b.example")]);
    assert!(!events.head.contains("Access-Control-Allow-Origin"), "{}", events.head);
}

#[test]
fn a_token_decides_who_may_read_the_events_and_for_how_long() {
    let server = access::server("[[topics]]\nmatch = \"open.>\"\nsubscribe = \"anyone\"\n");
    let denied = server.get("/sse/a");
    assert_eq!((denied.status, denied.header("www-authenticate").is_some()), (401, true), "{denied:?}");
    Events::open(&server, "/sse/open.a", &[]).begun();
    let expires = (wall_clock_us() + 700_000) as f64 / 1e6;
    let token = access::hs256(&format!(r#""exp":{expires}"#));
    let mut events = Events::open(&server, &format!("/sse/a?token={token}"), &[]);
    events.begun();
    assert_eq!(events.try_next(), None);
    assert!(wall_clock_us() as f64 / 1e6 >= expires, "not before");
}

#[test]
fn head_gets_the_head_of_a_stream() {
    let server = Server::start(&[]);
    let head = server.request("HEAD", "/sse/a", &[], b"");
    assert_eq!((head.status, &*head.body), (200, ""));
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    server.await_topic("a", "\"subscribers\":0");
}

#[test]
fn a_stream_that_is_silent_gets_a_comment() {
    let server = Server::start(&[]);
    let mut events = Events::open(&server, "/sse/a", &[]);
    events.begun();
    // After 15 seconds.
    events.comment();
    server.publish("a", "1");
    assert!(events.next().data.ends_with("\"data\":1}"));
}

#[test]
fn a_drain_ends_the_stream_with_its_last_chunk() {
    let server = Server::start(&[]);
    let mut events = Events::open(&server, "/sse/a", &[]);
    events.begun();
    server.await_topic("a", "\"subscribers\":1");
    server.process.signal("TERM");
    assert_eq!(events.try_next(), None);
}
