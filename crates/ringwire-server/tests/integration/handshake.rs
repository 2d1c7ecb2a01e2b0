//! The opening handshake and CORS, over real sockets: RFC 6455 §4.2.1 and §4.2.2 rule by rule, with the words.

use crate::support::{Answer, Received, Server, Socket};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A handshake for `/echo`, with `from` replaced by `to`.
fn handshake(server: &Server, from: &str, to: &str) -> Answer {
    let request = format!(
        "GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    assert!(request.contains(from), "{from}");
    server.exchange(request.replacen(from, to, 1).as_bytes())
}

#[test]
fn the_handshake_of_the_rfc_is_answered() {
    let server = Server::start(&[]);
    let answer = handshake(&server, "", "");
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!((answer.header("upgrade"), answer.header("connection")), (Some("websocket"), Some("Upgrade")));
    for unasked in ["sec-websocket-protocol", "sec-websocket-extensions"] {
        assert_eq!(answer.header(unasked), None, "nothing is agreed that was not offered");
    }
}

#[test]
fn each_fault_of_a_handshake_is_answered_with_words_that_help() {
    let server = Server::start(&[]);
    let key = format!("Sec-WebSocket-Key: {KEY}\r\n");
    let twice = format!("{key}{key}");
    for (from, to, words) in [
        ("GET", "POST", "GET request"),
        ("GET", "PUT", "GET request"),
        ("HTTP/1.1", "HTTP/1.0", "HTTP/1.1"),
        ("Host: a\r\n", "", "Host"),
        ("Host: a\r\n", "Host: a\r\nHost: a\r\n", "Host"),
        ("Host: a\r\n", "Host:\r\n", "Host"),
        ("Upgrade: websocket", "Upgrade: h2c", "Upgrade: websocket"),
        ("Upgrade: websocket\r\n", "", "Upgrade: websocket"),
        ("Connection: Upgrade", "Connection: keep-alive", "Connection: Upgrade"),
        ("Connection: Upgrade\r\n", "", "Connection: Upgrade"),
        (&key, "", "Sec-WebSocket-Key"),
        (&key, "Sec-WebSocket-Key:\r\n", "Sec-WebSocket-Key"),
        (&key, &twice, "one Sec-WebSocket-Key"),
        (KEY, "dGhlIHNhbXBsZSBub25j", "16 bytes"),
        (KEY, "dGhlIHNhbXBsZSBub25jZTEyMw==", "16 bytes"),
        (KEY, "!GhlIHNhbXBsZSBub25jZQ==", "base64"),
        ("\r\n\r\n", "\r\nContent-Length: 3\r\n\r\nabc", "no body"),
    ] {
        let answer = handshake(&server, from, to);
        assert_eq!(answer.status, 400, "{from} -> {to}: {answer:?}");
        assert!(answer.body.contains(words), "{from} -> {to}: {}", answer.body);
    }
}

#[test]
fn another_version_gets_426_and_the_version_spoken() {
    let server = Server::start(&[]);
    for version in ["0", "8", "12", "14", "013", "x", "13, 8", "13\r\nSec-WebSocket-Version: 13"] {
        let answer = handshake(&server, "Version: 13", &format!("Version: {version}"));
        assert_eq!((answer.status, answer.header("sec-websocket-version")), (426, Some("13")), "{version}");
        assert!(answer.body.contains("13"), "{}", answer.body);
    }
    assert_eq!(handshake(&server, "Sec-WebSocket-Version: 13\r\n", "").status, 426);
}

#[test]
fn fields_are_read_without_case_and_in_lists() {
    let server = Server::start(&[]);
    for (from, to) in [
        ("Upgrade: websocket", "UPGRADE: WebSocket"),
        ("Upgrade: websocket", "Upgrade: h2c, websocket"),
        ("Connection: Upgrade", "connection: keep-alive, upgrade"),
        ("Connection: Upgrade", "Connection: keep-alive\r\nConnection: UPGRADE"),
        ("Host: a\r\n", "Host: a\r\nX-Unknown: x\r\nCookie: a=b\r\n"),
        ("Host: a\r\n", "Host: a\r\nSec-WebSocket-Extensions: x-unknown; a=1\r\n"),
    ] {
        assert_eq!(handshake(&server, from, to).status, 101, "{to}");
    }
}

/// Status of a handshake of a page of this origin.
fn from_page(server: &Server, origin: &str) -> u16 {
    let socket = Socket::try_open(server.address, "/echo", &[("Origin", origin)]);
    socket.map_or_else(|answer| answer.status, |_| 101)
}

#[test]
fn pages_are_let_in_by_the_origin_policy() {
    let any = Server::start(&[]);
    assert_eq!(from_page(&any, "http://evil.example"), 101);
    let same = Server::start(&["--origin", "same"]);
    assert_eq!(from_page(&same, &format!("http://{}", same.address)), 101);
    assert_eq!((from_page(&same, "http://evil.example"), from_page(&same, "null")), (403, 403));
    let list = Server::start(&["--origin", "https://desk.example", "--origin", "http://localhost:3000"]);
    assert_eq!((from_page(&list, "https://desk.example"), from_page(&list, "http://localhost:3000")), (101, 101));
    for foreign in ["http://desk.example", "https://desk.example:8443", "https://desk.example.evil.example"] {
        assert_eq!(from_page(&list, foreign), 403, "{foreign}");
    }
    assert!(Socket::try_open(list.address, "/echo", &[]).is_ok(), "programs send no Origin");
}

#[test]
fn the_subprotocol_chooses_the_service_in_the_servers_order() {
    let server = Server::start(&[]);
    let (raw, combined) = ("ringwire.raw.1", "ringwire.combined.1");
    let (payload, with_name) = ("1", "{\"stream\":\"a\",\"data\":1}");
    for (target, offered, agreed, message) in [
        ("/ws/a", None, None, payload),
        ("/ws/a", Some("chat, other"), None, payload),
        ("/ws/a", Some(raw), Some(raw), payload),
        ("/ws/a", Some(combined), Some(combined), with_name),
        ("/ws/a", Some("x, ringwire.combined.1, ringwire.raw.1"), Some(raw), payload),
        ("/stream?streams=a", Some("ringwire.raw.1, ringwire.combined.1"), Some(combined), with_name),
        ("/stream?streams=a", Some(raw), None, with_name),
    ] {
        let headers: Vec<_> = offered.iter().map(|offered| ("Sec-WebSocket-Protocol", *offered)).collect();
        let (mut socket, head) = Socket::open_with(server.address, target, &headers);
        assert_eq!(head.header("sec-websocket-protocol"), agreed, "{target} {offered:?}");
        server.await_topic("a", "\"subscribers\":1");
        server.publish("a", "1");
        assert_eq!(socket.receive(), Received::Text(message.into()), "{target} {offered:?}");
        socket.close();
        server.await_topic("a", "\"subscribers\":0");
    }
    assert!(
        Socket::open_with(server.address, "/echo", &[("Sec-WebSocket-Protocol", raw)])
            .1
            .header("sec-websocket-protocol")
            .is_none()
    );
}

#[test]
fn a_page_that_is_let_in_may_read_over_http() {
    let any = Server::start(&[]);
    let page = [("Origin", "https://desk.example")];
    let answer = any.request("GET", "/health", &page, b"");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some("*")));
    assert_eq!(any.get("/health").header("access-control-allow-origin"), None, "a program needs no leave");
    let list = Server::start(&["--origin", "https://desk.example"]);
    for target in ["/health", "/topics", "/nothing"] {
        let answer = list.request("GET", target, &page, b"");
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://desk.example"), "{target}");
        assert_eq!(answer.header("vary"), Some("Origin"), "{target}");
        let answer = list.request("GET", target, &[("Origin", "https://evil.example")], b"");
        assert_eq!((answer.header("access-control-allow-origin"), answer.header("vary")), (None, Some("Origin")));
    }
}

#[test]
fn a_page_asks_before_it_publishes() {
    let server = Server::start(&["--origin", "https://desk.example", "--publish-token", "t"]);
    let ask = |origin: &str, target: &str| {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "authorization"),
        ];
        server.request("OPTIONS", target, &headers, b"")
    };
    let answer = ask("https://desk.example", "/publish/a");
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    for (name, value) in [
        ("access-control-allow-origin", "https://desk.example"),
        ("access-control-allow-methods", "POST"),
        ("access-control-allow-headers", "Authorization, Content-Type, X-API-Key, Idempotency-Key, Source-Seq"),
        ("allow", "POST, OPTIONS"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert_eq!(ask("https://desk.example", "/health").header("access-control-allow-methods"), Some("GET, HEAD"));
    let refused = ask("https://evil.example", "/publish/a");
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (403, None));
    assert!(refused.body.contains("origin"), "{}", refused.body);
    for (origin, status) in [("https://desk.example", 200), ("https://evil.example", 403)] {
        let headers = [("Origin", origin), ("Authorization", "Bearer t")];
        assert_eq!(server.request("POST", "/publish/a", &headers, b"x").status, status, "{origin}");
    }
    assert_eq!(server.request("OPTIONS", "/health", &[], b"").header("allow"), Some("GET, HEAD, OPTIONS"));
}
