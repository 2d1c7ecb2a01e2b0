//! Ends that only one side works on.

use std::time::Duration;

use ringwire_engine::codec::CloseCode;
use ringwire_engine::ring::Clock;
use ringwire_engine::{CloseReason, Side, Timeout};

use crate::support::client::Heard;
use crate::support::server::{Ask, Server, options};

#[test]
fn a_peer_that_never_answers_the_close_is_ended() {
    let mut options = options();
    options.listen[0].timeouts.close = Duration::from_millis(300);
    let server = Server::start(options);
    let mut deaf = server.open();
    let mut polite = server.open();
    // Both are open for the server too once it has answered.
    deaf.echo("a");
    polite.echo("b");
    server.post_all(|| Ask::CloseAll(CloseCode::new(4001)));
    for client in [&mut deaf, &mut polite] {
        assert_eq!(client.hear(), Heard::Close(Some(4001), "as the test wants".to_owned()));
    }
    polite.send_close(CloseCode::new(4001));
    assert_eq!(polite.hear(), Heard::End(None));
    let clean = CloseReason::Clean { by: Side::Local, code: Some(CloseCode::new(4001)) };
    assert_eq!(server.ended(2), [clean, CloseReason::TimedOut(Timeout::Close)]);
    assert!(matches!(deaf.hear(), Heard::End(_)));
    drop((deaf, polite));
    server.finish();
}

#[test]
fn a_peer_that_answers_the_close_and_stays_is_ended() {
    let mut options = options();
    options.listen[0].timeouts.close = Duration::from_millis(300);
    let server = Server::start(options);
    let mut client = server.open();
    client.send_close(CloseCode::NORMAL);
    assert_eq!(client.hear(), Heard::Close(Some(1000), String::new()));
    assert_eq!(server.ended(1), [CloseReason::Clean { by: Side::Remote, code: Some(CloseCode::NORMAL) }]);
    // The client has closed as the protocol wants, but keeps its socket.
    server.wait_empty();
    server.finish();
}

#[test]
fn a_stream_that_ends_without_a_close_says_so() {
    let server = Server::start(options());
    let mut client = server.open();
    client.echo("here");
    client.finish_sending();
    assert!(matches!(client.hear(), Heard::End(_)));
    assert_eq!(server.ended(1), [CloseReason::EndOfStream]);
    drop(client);
    server.finish();
}

#[test]
fn a_drain_says_1001_and_waits_for_the_answers() {
    let server = Server::start(options());
    let mut clients: Vec<_> = (0..50).map(|_| server.open()).collect();
    let mut visitor = server.connect();
    visitor.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(visitor.answer().status, 200);
    clients[0].echo("before");
    server.drain(Duration::from_secs(10));
    for mut client in clients {
        assert_eq!(client.hear(), Heard::Close(Some(1001), "the server is going away".to_owned()));
        client.send_close(CloseCode::GOING_AWAY);
        assert_eq!(client.hear(), Heard::End(None));
    }
    assert_eq!(visitor.hear(), Heard::End(None));
    drop(visitor);
    let clean = CloseReason::Clean { by: Side::Local, code: Some(CloseCode::GOING_AWAY) };
    assert_eq!(server.ended(50), vec![clean; 50]);
    server.join();
}

#[test]
fn a_drain_ends_in_time_beside_peers_that_never_answer() {
    let server = Server::start(options());
    let clock = Clock::start();
    let deaf: Vec<_> = (0..20).map(|_| server.open()).collect();
    let strangers: Vec<_> = (0..20).map(|_| server.connect()).collect();
    let within = Duration::from_millis(500);
    let started = clock.now();
    server.drain(within);
    assert_eq!(server.ended(20), vec![CloseReason::TimedOut(Timeout::Drain); 20]);
    server.join();
    let took = clock.now().since(started);
    assert!(took >= within && took < within + Duration::from_secs(2), "the drain took {took:?}");
    drop((deaf, strangers));
}

#[test]
fn data_after_the_peers_close_is_ignored_and_nothing_follows_the_answer() {
    let server = Server::start(options());
    let mut client = server.open();
    // A close frame with 1000; behind it a ping, a text, and what breaks the rules.
    client.write(b"\x88\x82\0\0\0\0\x03\xE8\x89\x80\0\0\0\0\x81\x81\0\0\0\0x\xFF\xFF");
    assert_eq!(client.hear(), Heard::Close(Some(1000), String::new()));
    assert_eq!(client.hear(), Heard::End(None), "the server ends TCP at once");
    drop(client);
    assert_eq!(server.ended(1), [CloseReason::Clean { by: Side::Remote, code: Some(CloseCode::NORMAL) }]);
    assert_eq!(server.wait(|_| true, |seen| seen.message_bytes), 0);
    server.finish();
}
