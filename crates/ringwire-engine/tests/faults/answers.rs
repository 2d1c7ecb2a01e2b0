//! Requests that are answered later: what waits meanwhile, and what ends the wait.

use std::time::Duration;

use ringwire_engine::{CloseReason, EngineOptions, Timeout};

use crate::support::census::resident_bytes;
use crate::support::client::Heard;
use crate::support::server::{Ask, Server, options};

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

fn impatient() -> EngineOptions {
    let mut options = options();
    options.listen[0].timeouts.answer = Duration::from_millis(300);
    options
}

#[test]
fn what_comes_behind_a_request_waits_for_its_answer() {
    let server = Server::start(options());
    let mut client = server.connect();
    client.write(&[get("/later/a"), get("/b"), get("/later/c"), get("/d")].concat());
    for (awaited, paths) in [(1, ["/later/a", "/b"]), (2, ["/later/c", "/d"])] {
        server.wait(|seen| seen.awaited == awaited, |seen| assert_eq!(seen.requests, 2 * awaited - 1));
        server.post_all(|| Ask::Answer);
        for path in paths {
            assert_eq!(client.answer().body, format!("GET {path} "));
        }
    }
    client.write(&get("/e"));
    assert_eq!(client.answer().body, "GET /e ", "and it is read from again");
    drop(client);
    server.finish();
}

/// Has the shard look at all that has come in: it answers another connection.
fn let_turn(server: &Server) {
    let mut other = server.connect();
    other.write(&get("/other"));
    assert_eq!(other.answer().body, "GET /other ");
}

#[test]
fn what_comes_while_a_request_waits_waits_too() {
    let server = Server::start(options());
    let mut client = server.connect();
    client.write(&get("/later/a"));
    server.wait(|seen| seen.awaited == 1, |_| ());
    for path in ["/b", "/c"] {
        client.write(&get(path));
        let_turn(&server);
    }
    assert_eq!(server.seen(|seen| seen.requests), 3, "the one that waits, and the other connection's two");
    server.post_all(|| Ask::Answer);
    for path in ["/later/a", "/b", "/c"] {
        assert_eq!(client.answer().body, format!("GET {path} "));
    }
    drop(client);
    server.finish();
}

#[test]
fn a_peer_that_has_caught_up_still_waits_for_its_answer() {
    let mut options = options();
    options.notsent_lowat_bytes = Some(16 * 1024);
    let server = Server::start(options);
    let mut client = server.connect();
    // The answer to this is more than a peer may be behind.
    let large = "x".repeat(1000 * 1000);
    let post = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{large}", large.len());
    client.write(&[post.into_bytes(), get("/later/a"), get("/b")].concat());
    server.wait(|seen| seen.awaited == 1, |_| ());
    assert_eq!(client.answer().body, format!("POST / {large}"));
    let_turn(&server);
    assert_eq!(server.seen(|seen| seen.requests), 3, "two of this connection and one of the other");
    server.post_all(|| Ask::Answer);
    assert_eq!(client.answer().body, "GET /later/a ");
    assert_eq!(client.answer().body, "GET /b ");
    drop(client);
    server.finish();
}

#[test]
fn nobody_waits_for_the_answer_of_another() {
    let server = Server::start(options());
    let mut first = server.connect();
    first.write(&get("/later/first"));
    server.wait(|seen| seen.awaited == 1, |_| ());
    let mut second = server.connect();
    second.write(&get("/second"));
    assert_eq!(second.answer().body, "GET /second ");
    server.post_all(|| Ask::Answer);
    assert_eq!(first.answer().body, "GET /later/first ");
    drop((first, second));
    server.finish();
}

#[test]
fn an_answer_that_does_not_come_in_time_is_a_504() {
    let server = Server::start(impatient());
    let mut client = server.connect();
    client.write(&[get("/later/a"), get("/never")].concat());
    let answer = client.answer();
    assert_eq!((answer.status, answer.body.contains("too long to answer")), (504, true), "{answer:?}");
    client.finish_sending();
    assert_eq!(client.hear(), Heard::End(None), "what came behind it is not answered");
    assert_eq!(server.ended(1), [CloseReason::TimedOut(Timeout::Answer)]);
    // An answer that comes after all is for nobody.
    server.post_all(|| Ask::Answer);
    server.wait(|seen| seen.unwanted == 1, |seen| assert_eq!(seen.requests, 1));
    drop(client);
    server.finish();
}

#[test]
fn the_time_for_an_answer_begins_with_each_request() {
    let server = Server::start(impatient());
    let mut client = server.connect();
    for awaited in 1..=3 {
        client.write(&get("/later/a"));
        server.wait(|seen| seen.awaited == awaited, |_| ());
        crate::support::server::pause(Duration::from_millis(150));
        server.post_all(|| Ask::Answer);
        assert_eq!(client.answer().status, 200, "request {awaited}");
    }
    drop(client);
    server.finish();
}

#[test]
fn the_handler_hears_of_a_peer_that_does_not_wait() {
    let server = Server::start(options());
    let mut client = server.connect();
    client.write(&get("/later/a"));
    server.wait(|seen| seen.awaited == 1, |_| ());
    client.reset();
    let reasons = server.ended(1);
    assert!(matches!(reasons[..], [CloseReason::Broken(_)]), "{reasons:?}");
    server.post_all(|| Ask::Answer);
    server.wait(|seen| seen.unwanted == 1, |_| ());
    server.finish();
}

#[test]
fn a_peer_that_has_shut_its_side_still_gets_the_answer() {
    let server = Server::start(options());
    for (awaited, paths) in [(1, &["/later/a"][..]), (2, &["/later/a", "/b"])] {
        let mut client = server.connect();
        client.write(&paths.iter().flat_map(|path| get(path)).collect::<Vec<_>>());
        client.finish_sending();
        server.wait(|seen| seen.awaited == awaited, |_| ());
        let_turn(&server);
        server.post_all(|| Ask::Answer);
        for path in paths {
            assert_eq!(client.answer().body, format!("GET {path} "));
        }
        assert_eq!(client.hear(), Heard::End(None));
    }
    server.finish();
}

#[test]
fn what_is_sent_behind_a_request_that_waits_stays_with_its_sender() {
    const WRITE_TIMEOUT: Duration = Duration::from_millis(150);
    let server = Server::start(options());
    let mut client = server.connect();
    let before = resident_bytes();
    client.write(&get("/later/a"));
    server.wait(|seen| seen.awaited == 1, |_| ());
    client.stream().set_write_timeout(Some(WRITE_TIMEOUT)).expect("timeout");
    let requests = get("/b").repeat(1000);
    let mut sent = 0;
    while client.write_part(&requests) {
        sent += requests.len();
        assert!(sent < 64 << 20, "somebody takes it all");
    }
    let grown = resident_bytes().saturating_sub(before);
    // The buffer ring of a shard, touched for the first time, is 2 MiB.
    assert!(grown < 6 << 20, "{sent} bytes were taken, and cost {grown}");
    drop(client);
    server.post_all(|| Ask::Answer);
    server.finish();
}

#[test]
fn head_is_answered_later_without_a_body() {
    let server = Server::start(options());
    let mut client = server.connect();
    client.write(b"HEAD /later/a HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait(|seen| seen.awaited == 1, |_| ());
    server.post_all(|| Ask::Answer);
    assert!(client.head().contains("\r\nContent-Length: 14\r\n"));
    client.write(&get("/b"));
    assert_eq!(client.answer().body, "GET /b ", "no body came in between");
    drop(client);
    server.finish();
}

#[test]
fn a_drain_waits_for_answers() {
    let server = Server::start(options());
    let mut client = server.connect();
    client.write(&[get("/later/a"), get("/b")].concat());
    server.wait(|seen| seen.awaited == 1, |_| ());
    server.drain(Duration::from_secs(10));
    server.post_all(|| Ask::Answer);
    assert_eq!(client.answer().body, "GET /later/a ");
    client.finish_sending();
    assert_eq!(client.hear(), Heard::End(None));
    server.join();
}
