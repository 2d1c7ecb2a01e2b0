//! The command line's clients, as processes against a real server.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use ringwire_codec::handshake::{Policy, accept};
use ringwire_codec::http::Request;

use crate::support::{PATIENCE, Process, Server, ringwire};

fn subscribe(server: &Server, target: &str, flags: &[&str]) -> Command {
    let mut command = ringwire();
    command.arg("subscribe").arg(format!("ws://{}{target}", server.address)).args(flags).stdin(Stdio::null());
    command
}

/// Runs `ringwire publish` with this input; what it says, and its exit code.
pub(crate) fn publish(server: &Server, target: &str, flags: &[&str], input: &[u8]) -> (Vec<String>, Option<i32>) {
    let (theirs, mut ours) = std::io::pipe().expect("a pipe");
    let mut command = ringwire();
    command.arg("publish").arg(format!("ws://{}{target}", server.address)).args(flags).stdin(theirs);
    let process = Process::start(command);
    // Who is refused does not read it.
    let _ = ours.write_all(input);
    drop(ours);
    let (lines, status) = process.end();
    (lines, status.code())
}

#[test]
fn messages_are_lines() {
    let server = Server::start(&[]);
    let process = Process::start(subscribe(&server, "/ws/a", &["--count", "3"]));
    server.await_topic("a", "\"subscribers\":1");
    for message in ["one", "{\"two\":2}", "drei – 3", "four"] {
        server.publish("a", message);
    }
    let (lines, status) = process.end();
    assert_eq!((lines, status.code()), (vec!["one".into(), "{\"two\":2}".into(), "drei – 3".into()], Some(0)));
    server.await_topic("a", "\"subscribers\":0");
}

#[test]
fn lines_are_messages_and_all_of_them_arrive() {
    let server = Server::start(&[]);
    let count = 20_000;
    let mut subscriber = server.socket("/stream?streams=a");
    let input: String = (0..count).map(|number| format!("{number}\n")).collect();
    let (lines, code) = publish(&server, "/pub/a", &[], input.trim_end().as_bytes());
    assert_eq!((lines, code), (vec![format!("ringwire: published {count} messages")], Some(0)));
    server.await_topic("a", &format!("\"seq\":{count}"));
    assert_eq!(subscriber.text(), "{\"stream\":\"a\",\"data\":0}");
}

#[test]
fn a_signal_ends_a_subscriber_well() {
    let server = Server::start(&[]);
    let mut process = Process::start(subscribe(&server, "/ws/a", &[]));
    server.await_topic("a", "\"subscribers\":1");
    server.publish("a", "x");
    assert_eq!(process.line().as_deref(), Some("x"));
    process.signal("INT");
    let (lines, status) = process.end();
    assert_eq!((lines, status.code()), (Vec::new(), Some(0)));
}

#[test]
fn quiet_prints_rates_only() {
    let server = Server::start(&[]);
    let process = Process::start(subscribe(&server, "/ws/a", &["--quiet", "--rate", "--count", "1"]));
    server.await_topic("a", "\"subscribers\":1");
    server.publish("a", "not to be seen");
    let (lines, status) = process.end();
    assert!(lines.iter().all(|line| line.contains("msg/s")), "{lines:?}");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_reader_of_the_pipe_that_goes_ends_it_quietly() {
    let server = Server::start_with("demo", &["--speed", "20"]);
    let mut command = Command::new("sh");
    let url = format!("ws://{}/ws/trades.BTCUSD", server.address);
    command.args(["-c", "\"$0\" subscribe \"$1\" | head -n 1; echo end", env!("CARGO_BIN_EXE_ringwire"), &url]);
    let (lines, _) = Process::start(command).end();
    assert_eq!(lines.len(), 2, "{lines:?}");
    server.await_topic("trades.BTCUSD", "\"subscribers\":0");
}

#[test]
fn refusals_are_printed_with_the_servers_words() {
    let server = Server::start(&["--publish-token", "s3cret"]);
    let (lines, status) = Process::start(subscribe(&server, "/nothing", &[])).end();
    assert_eq!(status.code(), Some(1));
    assert!(
        lines[0].contains("refused with 404") && lines.iter().any(|line| line.contains("/ws/<topic>")),
        "{lines:?}"
    );
    let (lines, code) = publish(&server, "/pub/a", &[], b"x\n");
    assert_eq!(code, Some(1));
    assert!(lines.iter().any(|line| line.contains("token")), "{lines:?}");
    assert_eq!(publish(&server, "/pub/a", &["--token", "s3cret"], b"x\n").1, Some(0));
    let (lines, code) = publish(&server, "/ws/a", &[], b"x\n");
    assert_eq!(code, Some(1));
    assert!(lines[0].contains("1008"), "{lines:?}");
}

#[test]
fn a_server_that_drains_is_told_of() {
    let server = Server::start(&[]);
    let process = Process::start(subscribe(&server, "/ws/a", &[]));
    server.await_topic("a", "\"subscribers\":1");
    server.process.signal("TERM");
    let (lines, status) = process.end();
    assert_eq!(status.code(), Some(1));
    assert!(lines[0].contains("1001"), "{lines:?}");
    assert!(server.process.end().1.success());
}

#[test]
fn nobody_there_and_urls_of_another_kind_are_told_apart() {
    for (url, words, code) in [("ws://127.0.0.1:1/ws/a", "cannot connect", 1), ("http://127.0.0.1:1/", "ws://", 2)] {
        let mut command = ringwire();
        command.args(["subscribe", url]);
        let (lines, status) = Process::start(command).end();
        assert_eq!(status.code(), Some(code), "{url}");
        assert!(lines[0].contains(words), "{lines:?}");
    }
}

/// A server that a test plays: it listens, and `command` has been started against it.
struct Played {
    stream: TcpStream,
    process: Process,
    /// The head of the request.
    request: String,
}

impl Played {
    /// Starts `ringwire COMMAND URL FLAGS`, takes its connection and reads its request. `host` is of this machine.
    fn start(host: &str, command: &str, target: &str, flags: &[&str]) -> Self {
        let listener = TcpListener::bind((host, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut ringwire = ringwire();
        ringwire.arg(command).arg(format!("ws://{address}{target}")).args(flags).stdin(Stdio::null());
        let process = Process::start(ringwire);
        let (mut stream, _) = listener.accept().expect("it connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a request comes");
            head.push(byte[0]);
        }
        Self { stream, process, request: String::from_utf8(head).expect("ASCII") }
    }

    /// Accepts the connection, and sends `frames` behind the answer.
    fn accept(&mut self, frames: &[u8]) {
        let (request, _) = Request::parse(self.request.as_bytes()).expect("a request").expect("it is whole");
        let answer = accept(&request, &Policy::default()).expect("a handshake to accept").response(&[]);
        self.stream.write_all(&[&answer, frames].concat()).expect("the answer goes out");
    }

    /// The code of the close frame that comes, which must be the only frame; then the end of the stream.
    fn close_code(&mut self) -> u16 {
        let mut frame = [0; 8];
        self.stream.read_exact(&mut frame).expect("a close frame comes");
        assert_eq!(frame[0], 0x88, "{frame:?}");
        assert_eq!(frame[1] & 0x80, 0x80, "a client masks");
        let code = u16::from_be_bytes([frame[6] ^ frame[2], frame[7] ^ frame[3]]);
        let mut reason = vec![0; usize::from(frame[1] & 0x7F) - 2];
        self.stream.read_exact(&mut reason).expect("its reason");
        self.stream.shutdown(std::net::Shutdown::Write).expect("our side ends");
        assert_eq!(self.stream.read(&mut [0]).expect("it ends too"), 0);
        code
    }
}

#[test]
fn a_request_has_what_url_and_flags_say() {
    let flags = [
        "--header",
        "X-Team: a b",
        "--header",
        "Authorization:Basic YTpi",
        "--subprotocol",
        "v2",
        "--subprotocol",
        "v1",
    ];
    let mut played = Played::start("127.0.0.1", "subscribe", "/a%20b?x=1&y=/", &flags);
    for line in [
        "GET /a%20b?x=1&y=/ HTTP/1.1\r\n",
        "\r\nX-Team: a b\r\n",
        "\r\nAuthorization: Basic YTpi\r\n",
        "\r\nSec-WebSocket-Protocol: v2, v1\r\n",
        "\r\nSec-WebSocket-Extensions: permessage-deflate",
        &format!("\r\nHost: {}\r\n", played.stream.local_addr().expect("an address")),
    ] {
        assert!(played.request.contains(line), "{line:?} is not in {}", played.request);
    }
    played.accept(&[0x81, 2, b'h', b'i', 0x88, 2, 0x03, 0xE8]);
    assert_eq!(played.close_code(), 1000);
    let (lines, status) = played.process.end();
    assert_eq!((lines, status.code()), (vec!["hi".to_owned()], Some(0)));
    let played = Played::start("127.0.0.1", "subscribe", "", &["--no-deflate"]);
    assert!(played.request.starts_with("GET / HTTP/1.1\r\n"), "{}", played.request);
    assert!(!played.request.contains("Sec-WebSocket-Extensions"), "{}", played.request);
}

#[test]
fn an_ipv6_literal_is_connected_to() {
    let mut played = Played::start("::1", "subscribe", "/x", &[]);
    let address = played.stream.local_addr().expect("an address");
    assert!(address.is_ipv6() && played.request.contains(&format!("\r\nHost: {address}\r\n")), "{}", played.request);
    played.accept(&[0x88, 0]);
    drop(played.stream);
    assert_eq!(played.process.end().1.code(), Some(0));
}

#[test]
fn a_server_that_breaks_the_protocol_is_told_which_rule() {
    for (frames, code, words) in [
        (&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i'][..], 1002, "mask"),
        (&[0xC1, 2, b'h', b'i'], 1002, "RSV1"),
        (&[0x83, 0], 1002, "opcode"),
        (&[0x81, 1, 0xFF], 1007, "UTF-8"),
        (&[0x80, 0], 1002, "continu"),
        (&[0x09, 0], 1002, "fragment"),
        (&[0x89, 126, 0, 126], 1002, "125"),
        (&[0x88, 1, 3], 1002, "close"),
        (&[0x82, 127, 0, 0, 0, 0, 0x7F, 0, 0, 0], 1009, "frame"),
    ] {
        let mut played = Played::start("127.0.0.1", "echo", "/", &["--no-deflate"]);
        played.accept(frames);
        assert_eq!(played.close_code(), code, "{frames:?}");
        let (lines, status) = played.process.end();
        assert_eq!(status.code(), Some(1), "{frames:?}");
        assert!(
            lines[0].contains("breaks the protocol") && lines[0].to_lowercase().contains(&words.to_lowercase()),
            "{frames:?}: {lines:?}"
        );
    }
}

#[test]
fn an_answer_that_opens_nothing_is_refused() {
    for (from, to, words) in [
        ("101 Switching", "200 Fine", "refused with 200"),
        ("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: x", "does not answer this handshake"),
        ("Upgrade: websocket\r\n", "", "Upgrade"),
        ("Connection: Upgrade\r\n", "", "Connection"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Protocol: x\r\n\r\n", "not offered"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "not offered"),
    ] {
        let mut played = Played::start("127.0.0.1", "echo", "/", &["--no-deflate"]);
        let answer = {
            let (request, _) = Request::parse(played.request.as_bytes()).expect("a request").expect("it is whole");
            String::from_utf8(accept(&request, &Policy::default()).expect("a handshake").response(&[])).expect("ASCII")
        };
        played.stream.write_all(answer.replacen(from, to, 1).as_bytes()).expect("the answer goes out");
        drop(played.stream);
        let (lines, status) = played.process.end();
        assert_eq!(status.code(), Some(1), "{to}");
        assert!(lines.join("\n").contains(words), "{to}: {lines:?}");
    }
}

#[test]
fn headers_and_urls_that_cannot_be_sent_are_refused_in_words() {
    let url = "ws://127.0.0.1:1/";
    for (arguments, words) in [
        (&[url, "--header", "no colon"][..], "a colon"),
        (&[url, "--header", "a b: c"], "no header field"),
        (&[url, "--header", "Host: x"], "writes this field itself"),
        (&[url, "--header", "Sec-WebSocket-Key: x"], "writes this field itself"),
        (&[url, "--subprotocol", "a b"], "a token is needed"),
        (&[url, "--subprotocol", "a", "--subprotocol", "a"], "twice"),
        (&["ws://user:secret@127.0.0.1:1/"], "--header"),
        (&["ws://127.0.0.1:1/#x"], "fragment"),
        (&["ws://[::1/"], "IPv6 in brackets"),
    ] {
        let mut command = ringwire();
        command.arg("subscribe").args(arguments);
        let (lines, status) = Process::start(command).end();
        assert_eq!(status.code(), Some(2), "{arguments:?}");
        assert!(lines[0].contains(words), "{arguments:?}: {lines:?}");
    }
}

#[test]
fn topics_are_subscribed_to_in_the_native_protocol() {
    let server = Server::start(&[]);
    server.publish("book.a", "1");
    let mut command = ringwire();
    let url = format!("ws://{}/connect", server.address);
    command.args(["subscribe", &url, "--topic", "book.>", "--topic", "x y", "--history", "1", "--count", "2"]);
    let mut client = Process::start(command);
    let line = client.line().expect("a complaint");
    assert!(line.contains("the server refuses: \"x y\" is no topic"), "{line}");
    let announced = client.line().expect("a topic");
    assert!(announced.starts_with("{\"type\":\"subscribed\",\"topic\":\"book.a\""), "{announced}");
    server.publish("book.a", "2");
    let entry = client.line().expect("an entry");
    assert!(entry.starts_with("{\"topic\":\"book.a\",\"type\":\"message\",\"seq\":"), "{entry}");
}

#[test]
fn who_may_subscribe_to_nothing_is_told_why() {
    let server = Server::start(&[]);
    let mut command = ringwire();
    command.args(["subscribe", &format!("ws://{}/connect", server.address), "--topic", "a/b"]);
    let (lines, status) = Process::start(command).end();
    assert!(!status.success());
    assert!(lines.iter().any(|line| line.contains("the server refuses: \"a/b\" is no topic")), "{lines:?}");
}
