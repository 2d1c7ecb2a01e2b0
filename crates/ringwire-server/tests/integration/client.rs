//! The command line's clients, as processes against a real server.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::{Process, Server, ringwire};

fn subscribe(server: &Server, target: &str, flags: &[&str]) -> Command {
    let mut command = ringwire();
    command.arg("subscribe").arg(format!("ws://{}{target}", server.address)).args(flags).stdin(Stdio::null());
    command
}

/// Runs `ringwire publish` with this input; what it says, and its exit code.
fn publish(server: &Server, target: &str, flags: &[&str], input: &[u8]) -> (Vec<String>, Option<i32>) {
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
    for (url, words, code) in [
        ("ws://127.0.0.1:1/ws/a", "cannot connect", 1),
        ("wss://127.0.0.1:1/ws/a", "wss:// is not supported yet", 2),
        ("http://127.0.0.1:1/", "ws://", 2),
    ] {
        let mut command = ringwire();
        command.args(["subscribe", url]);
        let (lines, status) = Process::start(command).end();
        assert_eq!(status.code(), Some(code), "{url}");
        assert!(lines[0].contains(words), "{lines:?}");
    }
}
