//! Feeds: what is recorded comes out byte for byte, in order, at its pace; a fault stops the feed and not the server.

use std::path::{Path, PathBuf};

use crate::support::{PATIENCE, Process, Server, Socket, ringwire};
use ringwire_ring::{Clock, Instant};

/// A file of the recorded market data.
fn fixture(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/data").join(name);
    assert!(path.exists(), "{} is missing", path.display());
    path
}

/// A file with these lines, in a place of its own.
fn recording(name: &str, lines: &[&str]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, lines.join("\n")).expect("a file can be written");
    path
}

/// The texts of `data` of a topic's lines, as they stand in the file: it has them last in each line.
fn recorded(path: &Path, topic: &str) -> Vec<String> {
    let file = std::fs::read_to_string(path).expect("a recording");
    let marks = format!("\"topic\":\"{topic}\",\"data\":");
    let of_topic = file.lines().filter_map(|line| line.split_once(marks.as_str()));
    of_topic.map(|(_, data)| data.strip_suffix('}').expect("data stands last").to_owned()).collect()
}

#[test]
fn a_recorded_feed_comes_byte_for_byte_to_all() {
    let path = fixture("btcusdt-2021-01-08.jsonl");
    let flags = ["--speed", "20", "--feed-start-subscribers", "200"];
    let server = Server::start_with(path.to_str().expect("a path in UTF-8"), &flags);
    assert!(server.get("/health").body.contains("\"state\":\"waiting\""));
    let mut subscribers: Vec<Socket> = (0..199).map(|_| server.socket("/ws/trades.BTCUSDT")).collect();
    let mut combined = server.socket("/stream?streams=trades.BTCUSDT");
    let trades = recorded(&path, "trades.BTCUSDT");
    assert_eq!(trades.len(), 2001);
    for trade in &trades {
        for subscriber in &mut subscribers {
            assert_eq!(subscriber.text(), *trade);
        }
        assert_eq!(combined.text(), format!("{{\"stream\":\"trades.BTCUSDT\",\"data\":{trade}}}"));
    }
    server.await_topic("trades.BTCUSDT", "\"seq\":2001");
}

#[test]
fn a_book_of_large_messages_comes_byte_for_byte() {
    let path = fixture("xrpusdt-orderbook-2024-12-01.jsonl");
    let flags = ["--speed", "50", "--feed-start-subscribers", "1"];
    let server = Server::start_with(path.to_str().expect("a path in UTF-8"), &flags);
    let mut subscriber = server.socket("/ws/book.XRPUSDT");
    for message in recorded(&path, "book.XRPUSDT") {
        assert_eq!(subscriber.text(), message);
    }
}

#[test]
fn a_feed_keeps_its_pace() {
    let lines = [0, 100, 200, 300u64]
        .map(|ms| format!(r#"{{"ts":{},"topic":"a","data":{ms}}}"#, 1_000_000_000 + ms * 1_000_000));
    let path = recording("pace.jsonl", &lines.each_ref().map(String::as_str));
    let flags = ["--speed", "0.5", "--feed-start-subscribers", "1"];
    let server = Server::start_with(path.to_str().expect("a path in UTF-8"), &flags);
    let mut subscriber = server.socket("/ws/a");
    assert_eq!(subscriber.text(), "0");
    let clock = Clock::start();
    assert_eq!([subscriber.text(), subscriber.text(), subscriber.text()], ["100", "200", "300"]);
    let took_ms = clock.now().since(Instant::default()).as_millis();
    assert!((550..5000).contains(&took_ms), "300 ms at half the pace took {took_ms} ms");
}

#[test]
fn a_feed_that_loops_begins_anew() {
    let path =
        recording("loop.jsonl", &[r#"{"ts":1,"topic":"a","data":"x"}"#, r#"{"ts":2000000,"topic":"a","data":"y"}"#]);
    let flags = ["--loop", "--feed-start-subscribers", "1"];
    let server = Server::start_with(path.to_str().expect("a path in UTF-8"), &flags);
    let mut subscriber = server.socket("/ws/a");
    for _ in 0..5 {
        assert_eq!([subscriber.text(), subscriber.text()], ["\"x\"", "\"y\""]);
    }
}

#[test]
fn a_bad_line_stops_the_feed_and_says_where() {
    let path = recording(
        "bad.jsonl",
        &[r#"{"ts":1,"topic":"a","data":1}"#, "", r#"{"ts":2,"topic":"a"}"#, r#"{"ts":3,"topic":"a","data":3}"#],
    );
    let mut server = Server::start_with(path.to_str().expect("a path in UTF-8"), &[]);
    let line = server.process.line().expect("words about the fault");
    assert!(line.contains("bad.jsonl:3: ") && line.contains("data"), "{line}");
    let health = server.get("/health").body;
    for part in ["\"status\":\"degraded\"", "\"state\":\"failed\"", "bad.jsonl:3: ", "\"events\":1"] {
        assert!(health.contains(part), "{part} is not in {health}");
    }
    let mut subscriber = server.socket("/ws/a");
    assert_eq!(server.publish("a", "on").body, "{\"topic\":\"a\",\"seq\":2}\n");
    assert_eq!(subscriber.text(), "on");
}

#[test]
fn the_demo_moves_trades_quotes_and_book() {
    let server = Server::start_with("demo", &["--speed", "20"]);
    for kind in ["trades", "quotes", "book"] {
        let text = server.socket(&format!("/ws/{kind}.BTCUSD")).text();
        assert!(text.contains("\"s\":\"BTCUSD\""), "{text}");
    }
    let clock = Clock::start();
    let events = || {
        let health = server.get("/health").body;
        let digits = health.split_once("\"events\":").expect("a count of events").1;
        digits.trim_end().trim_end_matches('}').parse::<u64>().expect("a number")
    };
    let before = events();
    while events() < before + 100 {
        assert!(clock.now().since(Instant::default()) < PATIENCE, "the market stands still");
    }
}

#[test]
fn what_is_recorded_is_played_the_same() {
    let rules = "[[topics]]\nmatch = \"book.>\"\nkind = \"keyed\"\n";
    let server = Server::start_configured(rules);
    server.publish("chat.before", "a topic that is there already");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("recorded-{}.rwr", std::process::id()));
    let _ = std::fs::remove_file(&file);
    let mut command = ringwire();
    command.args(["record", &format!("ws://{}/connect", server.address), "--count", "5", "--topics", ">", "--to"]);
    let recorder = Process::start({
        command.arg(&file);
        command
    });
    server.await_topic("chat.before", "\"subscribers\":1");
    let mut publisher = server.socket("/connect");
    for (topic, more) in [
        ("chat.a", "\"data\":\"one\""),
        ("book.x", "\"key\":\"b:1\",\"data\":{\"q\":\"0.7\"},\"source_seq\":9"),
        ("book.x", "\"key\":\"b:1\",\"remove\":true"),
        ("chat.before", "\"data\":2"),
        ("chat.a", "\"data\":\"AAEC\",\"base64\":true"),
    ] {
        publisher.send_text(&format!("{{\"method\":\"publish\",\"params\":{{\"topic\":\"{topic}\",{more}}}}}"));
    }
    let (said, status) = recorder.end();
    assert!(status.success(), "{said:?}");
    let config = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("recorded-{}.toml", std::process::id()));
    std::fs::write(&config, rules).expect("a file can be written");
    let config = config.to_str().expect("UTF-8");
    let flags = ["--speed", "max", "--feed-start-subscribers", "2", "--config", config];
    let player = Server::start_with(file.to_str().expect("UTF-8"), &flags);
    // Order is kept within a topic.
    let [mut chat, mut book] = ["chat.a", "book.x"].map(|topic| player.socket(&format!("/stream?streams={topic}")));
    assert_eq!(chat.text(), r#"{"stream":"chat.a","data":"one"}"#);
    assert_eq!(chat.text(), r#"{"stream":"chat.a","data":"AAEC","base64":true}"#);
    assert_eq!(book.text(), r#"{"stream":"book.x","data":{"q":"0.7"},"key":"b:1"}"#);
    assert_eq!(book.text(), r#"{"stream":"book.x","remove":true,"key":"b:1"}"#);
    player.await_topic("chat.before", "\"seq\":1");
    let words = Server::start_with(file.to_str().expect("UTF-8"), &[]).process.line().expect("words about the fault");
    assert!(words.contains("book.x") && words.contains("kind = \"keyed\""), "{words}");
}

#[test]
fn a_recording_is_never_written_over() {
    let file = recording("there.rwr", &["something"]);
    let mut command = ringwire();
    command.args(["record", "ws://127.0.0.1:1/connect", "--to"]).arg(&file);
    let (said, status) = Process::start(command).end();
    assert!(!status.success() && said.join("\n").contains("there.rwr"), "{said:?}");
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "something");
}
