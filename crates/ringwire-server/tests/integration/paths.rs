//! Every path of the server, over real sockets: what it answers, and with which words it refuses.

use std::time::Duration;

use crate::support::{Received, Server, Socket};
use ringwire_codec::Opcode;

#[test]
fn unknown_paths_get_a_hint() {
    let server = Server::start(&[]);
    let answer = server.get("/nothing");
    assert_eq!(answer.status, 404);
    for path in ["/ws/<topic>", "/stream?streams=a/b", "POST /publish/<topic>", "/topics", "/health"] {
        assert!(answer.body.contains(path), "{path} is not in: {}", answer.body);
    }
    assert_eq!(Socket::try_open(server.address, "/nothing", &[]).err().expect("refused").status, 404);
}

#[test]
fn wrong_methods_are_told_the_right_ones() {
    let server = Server::start(&[]);
    for (method, target, allow) in [
        ("DELETE", "/health", "GET, HEAD, OPTIONS"),
        ("POST", "/topics", "GET, HEAD, OPTIONS"),
        ("GET", "/publish/a", "POST, OPTIONS"),
    ] {
        let answer = server.request(method, target, &[], b"");
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {target}");
    }
}

#[test]
fn websocket_paths_without_an_upgrade_get_426() {
    let server = Server::start(&[]);
    for target in ["/ws/a", "/stream?streams=a", "/pub/a", "/echo"] {
        let answer = server.get(target);
        assert_eq!((answer.status, answer.header("upgrade")), (426, Some("websocket")), "{target}");
        assert!(answer.body.contains("ringwire subscribe"), "{}", answer.body);
    }
}

#[test]
fn the_page_is_served_once() {
    let server = Server::start(&[]);
    let page = server.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'")));
    assert_eq!(page.body, include_str!("../../page/index.html"));
    let tag = page.header("etag").expect("a tag");
    let again = server.request("GET", "/", &[("If-None-Match", tag)], b"");
    assert_eq!((again.status, again.body.as_str()), (304, ""));
}

#[test]
fn head_is_get_without_the_body() {
    let server = Server::start(&[]);
    let (get, head) = (server.get("/"), server.request("HEAD", "/", &[], b""));
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), get.header("content-length"));
}

#[test]
fn health_and_topics_tell_how_things_stand() {
    let server = Server::start(&[]);
    assert_eq!(server.get("/topics").body, "{\"topics\":[]}\n");
    server.publish("b", "1");
    server.publish("b", "2");
    let mut subscriber = server.socket("/ws/a");
    server.publish("a", "x");
    assert_eq!(subscriber.text(), "x");
    let want = "{\"topics\":[{\"name\":\"a\",\"seq\":1,\"subscribers\":1,\"gap\":0},\
                {\"name\":\"b\",\"seq\":2,\"subscribers\":0,\"gap\":0}]}\n";
    assert_eq!(server.get("/topics").body, want);
    let health = server.get("/health");
    assert_eq!((health.status, health.header("content-type")), (200, Some("application/json")));
    for part in ["\"status\":\"ok\"", "\"shards\":2", "\"topics\":2", "\"subscriptions\":1", "\"state\":\"none\""] {
        assert!(health.body.contains(part), "{part} is not in {}", health.body);
    }
    drop(subscriber);
    server.await_topic("a", "\"subscribers\":0");
}

#[test]
fn echo_sends_text_and_bytes_back() {
    let server = Server::start(&[]);
    let mut socket = server.socket("/echo");
    socket.send_text("grüße");
    assert_eq!(socket.receive(), Received::Text("grüße".into()));
    let bytes: Vec<u8> = (0..200_000u32).map(|index| index.to_le_bytes()[0]).collect();
    socket.send(Opcode::Binary, &bytes);
    assert_eq!(socket.receive(), Received::Binary(bytes));
    assert_eq!(socket.close(), 1000);
}

#[test]
fn a_subscriber_that_sends_is_closed_with_words() {
    let server = Server::start(&[]);
    for target in ["/ws/a", "/stream?streams=a/b"] {
        let mut socket = server.socket(target);
        socket.send_text("hello");
        let Received::Close(code, reason) = socket.receive() else { panic!("not closed") };
        assert_eq!(code, 1008);
        assert!(reason.contains("/pub/<topic>"), "{reason}");
    }
}

#[test]
fn faulty_streams_and_topics_are_refused_with_words() {
    let server = Server::start(&[]);
    for (target, words) in [
        ("/stream", "name the streams"),
        ("/stream?streams=a/a", "named twice"),
        ("/ws/", "empty"),
        ("/pub/a%20b", "byte 1"),
    ] {
        let answer = Socket::try_open(server.address, target, &[]).err().expect("refused");
        assert_eq!(answer.status, 400, "{target}");
        assert!(answer.body.contains(words), "{target}: {}", answer.body);
    }
    assert_eq!(server.publish("a*", "x").status, 400);
}

#[test]
fn a_body_that_is_no_text_is_published_only_as_bytes() {
    let server = Server::start(&[]);
    let mut raw = server.socket("/ws/a");
    let mut combined = server.socket("/stream?streams=a");
    assert_eq!(server.request("POST", "/publish/a", &[], b"\xff").status, 400);
    let bytes = [("Content-Type", "application/octet-stream")];
    let answer = server.request("POST", "/publish/a", &bytes, b"\xff\x00");
    assert_eq!((answer.status, answer.body.as_str()), (200, "{\"topic\":\"a\",\"seq\":1}\n"));
    assert_eq!(raw.receive(), Received::Binary(vec![0xFF, 0]));
    assert_eq!(combined.text(), "{\"stream\":\"a\",\"data\":\"/wA=\",\"base64\":true}");
}

#[test]
fn too_long_a_message_is_refused_and_others_go_on() {
    let server = Server::start(&[]);
    let mut subscriber = server.socket("/ws/a");
    let mut publisher = server.socket("/pub/a");
    publisher.send(Opcode::Binary, &vec![0; (1 << 20) + 1]);
    let Received::Close(code, reason) = publisher.receive() else { panic!("not closed") };
    assert_eq!(code, 1009);
    assert!(reason.contains("1048576"), "{reason}");
    assert_eq!(server.request("POST", "/publish/a", &[], &vec![b'x'; (1 << 20) + 1]).status, 413);
    assert!(!subscriber.has_more(Duration::from_millis(100)));
    server.publish("a", "next");
    assert_eq!(subscriber.text(), "next");
}

#[test]
fn pages_of_other_origins_do_not_publish() {
    let server = Server::start(&[]);
    let own = format!("http://{}", server.address);
    for (origin, is_open) in [(own.as_str(), true), ("http://evil.example", false), ("null", false)] {
        let headers = [("Origin", origin)];
        let socket = Socket::try_open(server.address, "/pub/a", &headers);
        assert_eq!(
            socket.map(drop).map_err(|answer| answer.status),
            if is_open { Ok(()) } else { Err(403) },
            "{origin}"
        );
        let answer = server.request("POST", "/publish/a", &headers, b"x");
        assert_eq!(answer.status, if is_open { 200 } else { 403 }, "{origin}");
        assert!(Socket::try_open(server.address, "/ws/a", &headers).is_ok(), "reading is open to {origin}");
    }
}

#[test]
fn with_a_token_only_who_presents_it_publishes() {
    let server = Server::start(&["--publish-token", "s3cret"]);
    let none = server.publish("a", "x");
    assert_eq!((none.status, none.header("www-authenticate")), (401, Some("Bearer realm=\"ringwire\"")));
    for (authorization, status) in [("Bearer s3cret", 200), ("Bearer other", 401)] {
        let headers = [("Authorization", authorization)];
        assert_eq!(server.request("POST", "/publish/a", &headers, b"x").status, status);
        let socket = Socket::try_open(server.address, "/pub/a", &headers);
        assert_eq!(socket.is_ok(), status == 200);
    }
    assert!(Socket::try_open(server.address, "/pub/a?token=s3cret", &[]).is_ok());
    assert!(Socket::try_open(server.address, "/pub/a?token=other", &[]).is_err());
}
