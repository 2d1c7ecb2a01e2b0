//! The Unix socket, with another program's end of it.

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use ringwire_server::native::record::{Flags, Record, RecordKind};

use super::wait;
use crate::support::{PATIENCE, Server};

/// A server with a socket of its own, and where that is.
fn server(keys: &str) -> (Server, PathBuf) {
    static SOCKETS: AtomicUsize = AtomicUsize::new(0);
    let number = SOCKETS.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("ringwire-test-{}-{number}.sock", std::process::id()));
    let server = Server::start_configured(&format!("[unix]\npath = {path:?}\n{keys}\n"));
    (server, path)
}

/// A program that publishes.
struct Program {
    stream: UnixStream,
    input: Vec<u8>,
}

impl Program {
    fn connect(path: &PathBuf) -> Self {
        let stream = UnixStream::connect(path).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        Self { stream, input: Vec::new() }
    }

    fn send(&mut self, records: &[Record<'_>]) {
        let mut bytes = Vec::new();
        records.iter().for_each(|record| record.append_to(&mut bytes));
        self.stream.write_all(&bytes).expect("the server reads");
    }

    /// The next answer: its request and what it says; nothing, at the end of the stream.
    fn answer(&mut self) -> Option<(u64, String)> {
        loop {
            if let Ok((record, bytes)) = Record::parse(&self.input) {
                let answer = match record.kind {
                    RecordKind::Ack => (record.seq, format!("{:?}", record.payload)),
                    RecordKind::Control => (0, String::from_utf8(record.payload.to_vec()).expect("JSON")),
                    other => panic!("an answer is no {other:?}"),
                };
                self.input.drain(..bytes);
                return Some(answer);
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk).expect("an answer comes in time") {
                0 => return None,
                count => self.input.extend_from_slice(&chunk[..count]),
            }
        }
    }
}

fn text(topic: u32, seq: u64, payload: &str) -> Record<'_> {
    Record { flags: Flags::TEXT, payload: payload.as_bytes(), ..Record::new(RecordKind::Message, topic, seq) }
}

fn ack(seq: u8) -> String {
    format!("{:?}", [seq, 0, 0, 0, 0, 0, 0, 0])
}

#[test]
fn records_are_published_to_the_topics_that_they_are_bound_to() {
    let (server, path) = server("[[topics]]\nmatch = \"book\"\nkind = \"keyed\"");
    assert_eq!(std::fs::metadata(&path).expect("the file is there").mode() & 0o777, 0o600);
    let mut trades = server.socket("/stream?streams=trades");
    let mut book = server.socket("/stream?streams=book");
    let mut program = Program::connect(&path);
    let update = Record { key: "b:1", source_seq: Some(9), ..text(8, 0, "{\"q\":\"1.50\"}") };
    program.send(&[
        Record::control(b"{\"type\":\"bind\",\"topic\":\"trades\",\"id\":7}"),
        Record { ts_us: Some(5), ..text(7, 41, "[1]") },
        Record::control(b"{\"type\":\"bind\",\"topic\":\"book\",\"id\":8,\"more\":1}"),
        Record { kind: RecordKind::Update, ..update },
        Record { kind: RecordKind::Remove, key: "b:1", ..Record::new(RecordKind::Remove, 8, 0) },
        Record { payload: &[0, 255], ..Record::new(RecordKind::Message, 7, 0) },
    ]);
    assert_eq!(trades.text(), "{\"stream\":\"trades\",\"data\":[1]}");
    assert_eq!(trades.text(), "{\"stream\":\"trades\",\"data\":\"AP8=\",\"base64\":true}");
    assert_eq!(book.text(), "{\"stream\":\"book\",\"data\":{\"q\":\"1.50\"},\"key\":\"b:1\"}");
    assert_eq!(book.text(), "{\"stream\":\"book\",\"remove\":true,\"key\":\"b:1\"}");
    let health = server.get("/health").body;
    assert!(health.contains("\"connections\":1,\"published\":4,\"dropped\":0"), "{health}");
    drop(program);
    wait("the connection is gone", || server.get("/health").body.contains("\"connections\":0"));
}

#[test]
fn who_asks_for_acks_gets_one_for_each_record_or_an_error() {
    let (server, path) = server("");
    let mut program = Program::connect(&path);
    program.send(&[
        Record::control(b"{\"type\":\"bind\",\"topic\":\"a\",\"id\":1,\"ack\":true}"),
        Record::control(b"{\"type\":\"bind\",\"topic\":\"b\",\"id\":2}"),
    ]);
    let long = "x".repeat((1 << 20) + 1);
    program.send(&[text(1, 11, "1"), text(1, 0, "not asked"), text(2, 12, "not asked"), text(1, 13, "3")]);
    assert_eq!([program.answer(), program.answer()], [Some((11, ack(1))), Some((13, ack(3)))]);
    let keyed = Record { kind: RecordKind::Update, key: "k", ..text(1, 14, "no keys here") };
    let no_text = Record { payload: &[255], flags: Flags::TEXT, ..Record::new(RecordKind::Message, 1, 15) };
    program.send(&[text(1, 9, "4"), keyed, no_text, text(1, 16, &long), text(1, 17, "5")]);
    assert_eq!(program.answer(), Some((9, ack(4))), "answers come in order");
    let mut errors = || program.answer().expect("an answer").1;
    assert!(errors().starts_with("{\"id\":14,\"error\":{\"code\":400,\"message\":\"the topic is plain"));
    assert!(errors().starts_with("{\"id\":15,\"error\":{\"code\":400,\"message\":\"the record publishes nothing"));
    assert!(errors().starts_with("{\"id\":16,\"error\":{\"code\":413,\"message\":\"1048577 bytes are too long"));
    assert_eq!(program.answer(), Some((17, ack(5))));
    assert!(server.get("/health").body.contains("\"published\":6,\"dropped\":3"));
}

#[test]
fn a_stream_that_is_none_ends_with_words() {
    let (_server, path) = server("");
    let mut torn = Vec::new();
    text(1, 0, "some more bytes").append_to(&mut torn);
    let mut long = torn.clone();
    long[..4].copy_from_slice(&(1u32 << 30).to_le_bytes());
    long[20..24].copy_from_slice(&((1u32 << 30) - 24).to_le_bytes());
    let control = |json: &'static str| {
        let mut bytes = Vec::new();
        Record::control(json.as_bytes()).append_to(&mut bytes);
        bytes
    };
    for (bytes, words) in [
        (b"GET / HTTP/1.1\r\nHost: a.b.c\r\n\r\n".to_vec(), "a record of type"),
        (long, "a record of 1073741824 bytes is too long"),
        (torn[..30].to_vec(), "the stream ends inside a record, 30 bytes after its beginning"),
        (torn.clone(), "no topic is bound to the id 1: send a bind first"),
        (control("{\"type\":\"bind\",\"topic\":\"a b\",\"id\":1}"), "\\\"a b\\\" is no topic"),
        (control("{\"type\":\"bond\",\"topic\":\"a\",\"id\":1}"), "there is no type \\\"bond\\\""),
        (control("hello"), "a control record is to be {\\\"type\\\":\\\"bind\\\""),
    ] {
        let mut program = Program::connect(&path);
        program.stream.write_all(&bytes).expect("the server reads");
        program.stream.shutdown(std::net::Shutdown::Write).expect("a stream has two sides");
        let (_, error) = program.answer().unwrap_or_else(|| panic!("{words}: no answer"));
        assert!(error.starts_with("{\"type\":\"error\",\"error\":{\"code\":400,") && error.contains(words), "{error}");
        assert_eq!(program.answer(), None, "it ends behind the error");
    }
}

#[test]
fn one_connection_too_many_is_told_so() {
    let (server, path) = server("connections_max = 1");
    let first = Program::connect(&path);
    wait("it is in", || server.get("/health").body.contains("\"connections\":1"));
    let mut second = Program::connect(&path);
    let (_, error) = second.answer().expect("an error");
    assert!(error.contains("\"code\":503") && error.contains("unix.connections_max"), "{error}");
    assert_eq!(second.answer(), None);
    drop(first);
}

#[test]
fn a_long_stream_comes_whole_and_in_order() {
    let (server, path) = server("");
    let mut subscriber = server.socket("/ws/a");
    let mut program = Program::connect(&path);
    program.send(&[Record::control(b"{\"type\":\"bind\",\"topic\":\"a\",\"id\":1,\"ack\":true}")]);
    for nth in (0..5000u32).step_by(500) {
        let payloads: Vec<String> = (nth..nth + 500).map(|nth| nth.to_string()).collect();
        let records: Vec<_> =
            payloads.iter().zip(nth..).map(|(payload, nth)| text(1, u64::from(nth) + 1, payload)).collect();
        program.send(&records);
        for record in &records {
            assert_eq!(program.answer().expect("an ack").0, record.seq);
        }
    }
    for nth in 0..5000 {
        assert_eq!(subscriber.text(), nth.to_string());
    }
    drop(server);
}

#[test]
fn the_socket_goes_with_the_server() {
    let (server, path) = server("");
    server.process.signal("TERM");
    let (_, status) = server.process.end();
    assert!(status.success() && !path.exists());
}

#[test]
fn an_ack_of_a_persistent_topic_outlives_the_server() {
    let folder = std::env::temp_dir().join(format!("ringwire-unix-journal-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let keys = format!("[[topics]]\nmatch = \"a\"\npersistent = true\n[journal]\ndirectory = {folder:?}");
    let (first, path) = server(&keys);
    let mut program = Program::connect(&path);
    program.send(&[Record::control(b"{\"type\":\"bind\",\"topic\":\"a\",\"id\":1,\"ack\":true}"), text(1, 7, "kept")]);
    assert_eq!(program.answer(), Some((7, ack(1))));
    first.process.signal("KILL");
    drop(first);
    assert!(path.exists(), "it had no time to remove it");
    let (second, _) = server(&keys);
    assert!(second.get("/topics").body.contains("\"name\":\"a\",\"seq\":1"));
    drop(second);
    let _ = std::fs::remove_dir_all(&folder);
    let _ = std::fs::remove_file(path);
}
