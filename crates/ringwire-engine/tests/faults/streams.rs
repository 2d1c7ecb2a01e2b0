//! Responses without end: what goes out on them, and how they end all the same.

use std::time::Duration;

use ringwire_engine::codec::CloseCode;
use ringwire_engine::{CloseReason, Side};

use crate::support::answers::{EVENT_BYTES, EVENTS_MAX, event};
use crate::support::client::{Client, Heard};
use crate::support::server::{Ask, Server, options, pause};

const CLEAN: CloseReason = CloseReason::Clean { by: Side::Local, code: None };

/// A stream whose head has come.
fn open(server: &Server) -> Client {
    let mut client = server.connect();
    client.write(b"GET /stream/ HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 200 OK\r\n"));
    client
}

#[test]
fn a_stream_begins_at_once_and_ends_when_the_handler_says() {
    let server = Server::start(options());
    let mut client = server.connect();
    client.write(b"GET /stream/hello HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.head();
    for line in ["Content-Type: text/event-stream", "Transfer-Encoding: chunked", "Connection: close"] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
    }
    assert!(!head.contains("Content-Length"), "{head}");
    assert_eq!(client.body(Some(5)), b"hello", "the response's body is the first chunk");
    server.post_all(|| Ask::Publish(2));
    assert_eq!(client.body(Some(2 * EVENT_BYTES)), [event(0), event(1)].concat());
    server.post_all(|| Ask::SendChunk(b"between"));
    assert_eq!(client.body(Some(7)), b"between");
    server.post_all(|| Ask::SendChunk(b"last"));
    server.post_all(|| Ask::EndStreams);
    assert_eq!(client.body(None), b"last", "what was sent before the end comes too");
    assert_eq!(server.ended(1), [CLEAN]);
    drop(client);
    server.finish();
}

#[test]
fn a_reader_that_is_slow_gets_every_event_whole() {
    let mut options = options();
    options.notsent_lowat_bytes = Some(16 * 1024);
    let server = Server::start(options);
    let mut client = server.connect();
    socket2::SockRef::from(client.stream()).set_recv_buffer_size(16 * 1024).expect("buffer size");
    client.write(b"GET /stream/ HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head();
    let mut expected = Vec::new();
    for round in 0..4 {
        server.post_all(|| Ask::Publish(EVENTS_MAX / 4));
        server.post_all(|| Ask::SendChunk(b"chunk"));
        pause(Duration::from_millis(20));
        expected.extend((round * EVENTS_MAX / 4..(round + 1) * EVENTS_MAX / 4).flat_map(event));
    }
    let all = client.body(Some(expected.len() + 20));
    // Chunks that are sent come in front of what is pulled, wherever that is.
    let mut rest = &all[..];
    let mut events = Vec::new();
    while !rest.is_empty() {
        let is_sent = rest.starts_with(b"chunk");
        let (piece, behind) = rest.split_at(if is_sent { 5 } else { EVENT_BYTES });
        if !is_sent {
            events.extend_from_slice(piece);
        }
        rest = behind;
    }
    assert!(events == expected, "every event, whole and in order");
    // What TLS has encrypted is not given back.
    let shorts = server.seen(|seen| seen.shorts);
    assert!(crate::SECURE || shorts > 0, "the socket was never full");
    server.post_all(|| Ask::EndStreams);
    assert_eq!(client.body(None), b"");
    drop(client);
    server.finish();
}

#[test]
fn a_reader_that_is_slow_holds_the_rest_of_one_event() {
    const READERS: usize = 32;
    const EVENTS: usize = 1000;
    let mut options = options();
    options.notsent_lowat_bytes = Some(16 * 1024);
    // What TLS has encrypted is kept whole.
    if !crate::SECURE {
        options.limits.memory_bytes_max = READERS * 4 * EVENT_BYTES;
    }
    let server = Server::start(options);
    let mut readers: Vec<_> = (0..READERS).map(|_| open(&server)).collect();
    server.post_all(|| Ask::Publish(EVENTS));
    if !crate::SECURE {
        server.wait(|seen| seen.shorts >= READERS, |_| ());
    }
    for reader in &mut readers {
        let all = reader.body(Some(EVENTS * EVENT_BYTES));
        assert!(all.ends_with(&event(EVENTS - 1)));
    }
    assert_eq!(server.seen(|seen| seen.reasons.clone()), [], "nobody is shed");
    drop(readers);
    server.finish();
}

#[test]
fn what_a_peer_sends_on_a_stream_is_dropped_and_its_end_is_the_end() {
    let server = Server::start(options());
    let mut client = open(&server);
    client.write(&b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10_000));
    server.post_all(|| Ask::Publish(1));
    assert_eq!(client.body(Some(EVENT_BYTES)), event(0));
    assert_eq!(server.seen(|seen| seen.requests), 1, "no request is seen behind that of the stream");
    client.finish_sending();
    assert_eq!(client.body(None), b"");
    assert_eq!(server.ended(1), [CloseReason::EndOfStream]);
    drop(client);
    server.finish();
}

#[test]
fn a_stream_that_its_reader_resets_is_over() {
    let server = Server::start(options());
    let client = open(&server);
    client.reset();
    let reasons = server.ended(1);
    assert!(matches!(reasons[..], [CloseReason::Broken(_)]), "{reasons:?}");
    server.post_all(|| Ask::Publish(1));
    server.finish();
}

#[test]
fn a_stream_is_not_for_http_1_0() {
    let server = Server::start(options());
    let mut client = server.connect();
    client.write(b"GET /stream/ HTTP/1.0\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.body.contains("use HTTP/1.1")), (505, true), "{answer:?}");
    assert_eq!(client.hear(), Heard::End(None));
    server.wait(|seen| seen.reasons.len() == 1, |seen| assert_eq!(seen.opened, 0));
    drop(client);
    server.finish();
}

#[test]
fn head_gets_the_head_of_a_stream() {
    let server = Server::start(options());
    let mut client = server.connect();
    client.write(b"HEAD /stream/hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.head().contains("\r\nTransfer-Encoding: chunked\r\n"));
    assert_eq!(client.hear(), Heard::End(None));
    server.wait(|seen| seen.reasons == [CLEAN], |seen| assert_eq!(seen.opened, 0));
    drop(client);
    server.finish();
}

#[test]
fn a_stream_is_not_pinged_and_ends_when_it_is_idle() {
    let mut options = options();
    options.listen[0].timeouts.ping = Some(Duration::from_millis(100));
    options.listen[0].timeouts.pong = Duration::from_millis(100);
    options.listen[0].timeouts.idle = Some(Duration::from_millis(1000));
    let server = Server::start(options);
    let mut client = open(&server);
    for number in 0..4 {
        pause(Duration::from_millis(400));
        server.post_all(|| Ask::Publish(1));
        assert_eq!(client.body(Some(EVENT_BYTES)), event(number), "what goes out is no idleness");
    }
    assert_eq!(client.body(None), b"");
    assert_eq!(server.ended(1), [CLEAN]);
    drop(client);
    server.finish();
}

#[test]
fn a_lifetime_a_close_and_a_drain_end_a_stream_with_its_last_chunk() {
    let mut mortal = options();
    mortal.listen[0].timeouts.lifetime = Some(Duration::from_millis(300));
    let server = Server::start(mortal);
    let mut client = open(&server);
    assert_eq!(client.body(None), b"");
    assert_eq!(server.ended(1), [CLEAN]);
    server.finish();

    let server = Server::start(options());
    let mut client = open(&server);
    server.post_all(|| Ask::CloseAll(CloseCode::NORMAL));
    assert_eq!(client.body(None), b"", "a stream has no close frame");
    assert_eq!(server.ended(1), [CLEAN]);

    let mut client = open(&server);
    server.drain(Duration::from_secs(10));
    assert_eq!(client.body(None), b"");
    server.join();
}

#[test]
fn what_was_published_before_a_drain_reaches_everyone_though_a_turn_pulls_for_one() {
    let mut options = options();
    options.limits.pulled_connections_max = 1;
    let server = Server::start(options);
    let clients: Vec<_> = (0..100).map(|_| open(&server)).collect();
    server.at_once(|| {
        server.post_all(|| Ask::Publish(2));
        server.drain(Duration::from_secs(10));
    });
    for mut client in clients {
        assert_eq!(client.body(None), [event(0), event(1)].concat());
    }
    server.join();
}
