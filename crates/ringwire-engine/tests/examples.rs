//! The examples do what they say, as processes of their own. Cargo builds them together with the tests.

mod support;

/// Whether clients speak TLS.
const SECURE: bool = false;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use ringwire_engine::codec::Opcode;
use ringwire_engine::ring::Clock;
use simd_json::OwnedValue;
use simd_json::prelude::*;
use support::client::{Client, Heard, PATIENCE};

/// A running example, ended at the end of its test.
struct Example {
    process: Child,
    address: SocketAddr,
    /// Lines that it prints.
    lines: mpsc::Receiver<String>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Example {
    fn start(name: &str) -> Self {
        let tests = std::env::current_exe().expect("this program's path");
        let built = tests.parent().and_then(|deps| deps.parent()).expect("a target directory").join("examples");
        let mut process = Command::new(built.join(name))
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("`cargo build --examples` makes {name}: {error}"));
        let (out, lines) = mpsc::channel();
        let stdout = BufReader::new(process.stdout.take().expect("piped"));
        let reader = std::thread::Builder::new().spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // A test that has ended reads no more.
                let _ = out.send(line);
            }
        });
        let first = lines.recv_timeout(PATIENCE).expect("it says where it listens");
        let address = first.split_once("://").and_then(|(_, rest)| rest.split('/').next()?.split(' ').next());
        let address = address.and_then(|address| address.parse().ok()).expect("an address");
        Self { process, address, lines, reader: reader.ok() }
    }

    /// Ends it as a person would, who presses Ctrl+C.
    fn interrupt(mut self) {
        let kill = Command::new("kill").args(["-INT", &self.process.id().to_string()]).status().expect("kill runs");
        assert!(kill.success());
        assert!(self.process.wait().expect("it ends").success(), "an interrupt is a good end");
        self.reader.take().map(std::thread::JoinHandle::join).transpose().expect("the reader ends with it");
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // After a failed test; after a good one it has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn greeting(number: u32) -> Heard {
    Heard::Text(format!(r#"{{"hello":"websocket","msg_id":"{number}"}}"#))
}

#[test]
fn echo_sends_every_message_back() {
    let example = Example::start("echo");
    let mut client = Client::open(example.address, "/");
    client.echo("hello");
    client.send(Opcode::Binary, &[0; 70_000]);
    assert_eq!(client.hear(), Heard::Binary(vec![0; 70_000]));
    client.leave();
    example.interrupt();
}

#[test]
fn hello_greets_each_client_every_second() {
    let example = Example::start("hello");
    let clock = Clock::start();
    let mut first = Client::open(example.address, "/ws");
    assert_eq!(first.hear(), greeting(1));
    assert_eq!(first.hear(), greeting(2));
    let mut second = Client::open(example.address, "/ws");
    assert_eq!(second.hear(), greeting(1), "each client has its own count");
    assert_eq!(first.hear(), greeting(3));
    let took = clock.now().since(Default::default()).as_millis();
    assert!((1900..8000).contains(&took), "three greetings take two seconds, not {took} ms");
    first.leave_unheard();
    second.leave_unheard();
    example.interrupt();
}

#[test]
fn hello_prints_objects_and_survives_what_is_no_json() {
    let example = Example::start("hello");
    let mut good = Client::open(example.address, "/ws");
    good.send_text(r#" {"symbol": "BTCUSDT", "price": [1.5, null]} "#);
    let printed = example.lines.recv_timeout(PATIENCE).expect("a line");
    let value: OwnedValue = simd_json::to_owned_value(&mut printed.clone().into_bytes()).expect("JSON");
    assert_eq!(value.get_str("symbol"), Some("BTCUSDT"), "{printed}");
    for (bad, code) in [("{\"a\":", 1007), ("nonsense", 1007), ("", 1007), ("[1,2]", 1003), ("7", 1003)] {
        let mut client = Client::open(example.address, "/ws");
        client.send_text(bad);
        let close = std::iter::repeat_with(|| client.hear()).find(|heard| !matches!(heard, Heard::Text(_)));
        let Some(Heard::Close(Some(told), words)) = close else { panic!("{bad:?} ends with a close: {close:?}") };
        assert_eq!((told, words.contains("JSON")), (code, true), "{bad:?}: {words}");
    }
    good.send(Opcode::Binary, br#"{"still":"here"}"#);
    let printed = example.lines.recv_timeout(PATIENCE).expect("a line");
    assert!(printed.contains("still"), "{printed}");
    let mut visitor = Client::connect(example.address);
    visitor.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /ws HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(visitor.answer().status, 404);
    assert_eq!(visitor.answer().status, 426);
    drop(visitor);
    let mut lost = Client::connect(example.address);
    lost.write(&Client::upgrade(example.address, "/elsewhere"));
    assert_eq!(lost.answer().status, 404);
    drop(lost);
    good.leave_unheard();
    example.interrupt();
}

/// A member of the meeting.
struct Member {
    client: Client,
    id: u64,
    /// Pieces that came while something else was waited for.
    pieces: Vec<Vec<u8>>,
}

impl Member {
    fn join(example: &Example, name: &str) -> Self {
        let mut client = Client::open(example.address, "/ws");
        client.send_text(&format!(r#"{{"type":"join","name":"{name}"}}"#));
        let mut member = Self { client, id: 0, pieces: Vec::new() };
        member.id = member.hear("welcome").get_u64("you").expect("an id");
        member
    }

    /// The next news of this type; other news is passed over.
    fn hear(&mut self, wanted: &str) -> OwnedValue {
        loop {
            match self.client.hear() {
                Heard::Text(text) => {
                    let news = simd_json::to_owned_value(&mut text.into_bytes()).expect("JSON");
                    if news.get_str("type") == Some(wanted) {
                        return news;
                    }
                }
                Heard::Binary(piece) => self.pieces.push(piece),
                other => panic!("{other:?} instead of {wanted}"),
            }
        }
    }

    /// Waits until so many are here.
    fn count(&mut self, wanted: u64) -> Vec<String> {
        loop {
            let news = self.hear("here");
            if news.get_u64("count") == Some(wanted) {
                let members = news.get_array("members").expect("members");
                return members.iter().map(|member| member.get_str("name").expect("a name").to_owned()).collect();
            }
        }
    }

    /// Sends a file as the page does, and gives its number. What it sends ahead of the others stays in the window.
    fn send_file(&mut self, name: &str, bytes: &[u8]) {
        self.client.send_text(&format!(r#"{{"type":"file","tag":1,"name":"{name}","size":{}}}"#, bytes.len()));
        let terms = self.hear("send");
        let number = |field| terms.get_u64(field).expect("a number") as usize;
        let (file, window, piece_bytes) = (number("file") as u32, number("window"), number("piece"));
        let (mut sent, mut taken) = (0, 0);
        for piece in bytes.chunks(piece_bytes) {
            while sent + piece.len() - taken > window {
                taken = self.hear("took").get_u64("bytes").expect("a number") as usize;
            }
            self.client.send(Opcode::Binary, &[&file.to_be_bytes(), piece].concat());
            sent += piece.len();
        }
        while taken < bytes.len() {
            taken = self.hear("took").get_u64("bytes").expect("a number") as usize;
        }
    }

    /// Receives the file that was announced.
    fn receive_file(&mut self, file: u64, size: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut pieces = std::mem::take(&mut self.pieces).into_iter();
        while bytes.len() < size {
            let piece = pieces.next().unwrap_or_else(|| match self.client.hear() {
                Heard::Binary(piece) => piece,
                Heard::Text(_) => Vec::new(),
                other => panic!("{other:?} within a file"),
            });
            if let Some((number, piece)) = piece.split_first_chunk::<4>() {
                assert_eq!(u64::from(u32::from_be_bytes(*number)), file);
                bytes.extend_from_slice(piece);
            }
        }
        bytes
    }
}

#[test]
fn meeting_knows_who_is_here_and_what_was_said() {
    let example = Example::start("meeting");
    let mut ann = Member::join(&example, "Ann");
    let mut ben = Member::join(&example, "Ben");
    let mut cleo = Member::join(&example, "Cleo");
    for member in [&mut ann, &mut ben, &mut cleo] {
        let mut names = member.count(3);
        names.sort();
        assert_eq!(names, ["Ann", "Ben", "Cleo"]);
    }
    // Everybody speaks at once, and all hear the same order, wherever their shards are.
    for round in 0..20 {
        for member in [&mut ann, &mut ben, &mut cleo] {
            member.client.send_text(&format!(r#"{{"type":"say","text":"round {round} <b>\"äöü\"</b>"}}"#));
        }
    }
    let [mut heard_ann, mut heard_ben, mut heard_cleo] = [Vec::new(), Vec::new(), Vec::new()];
    for (member, heard) in [(&mut ann, &mut heard_ann), (&mut ben, &mut heard_ben), (&mut cleo, &mut heard_cleo)] {
        for _ in 0..60 {
            let said = member.hear("said");
            assert!(said.get_str("text").is_some_and(|text| text.ends_with("<b>\"äöü\"</b>")));
            heard.push(said.encode());
        }
    }
    assert!(heard_ann == heard_ben && heard_ben == heard_cleo);
    ben.client.leave_unheard();
    cleo.client.reset();
    assert_eq!(ann.count(1), ["Ann"]);
    ann.client.leave_unheard();
    example.interrupt();
}

#[test]
fn meeting_carries_a_file_whole_past_a_slow_reader_while_chat_stays_quick() {
    let example = Example::start("meeting");
    let mut ann = Member::join(&example, "Ann");
    let mut ben = Member::join(&example, "Ben");
    let mut cleo = Member::join(&example, "Cleo");
    ann.count(3);
    ben.count(3);
    cleo.count(3);
    let mut random = fastrand::Rng::with_seed(3);
    let bytes: Vec<u8> = (0..6_000_001).map(|_| random.u8(..)).collect();
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| ann.send_file("notes.bin", &bytes));
        // Cleo does not read for now, so the file cannot be done; chat between the others goes on.
        let offer = ben.hear("file");
        assert_eq!((offer.get_str("name"), offer.get_u64("size")), (Some("notes.bin"), Some(bytes.len() as u64)));
        let file = offer.get_u64("file").expect("a number");
        for _ in 0..20 {
            ben.client.send_text(r#"{"type":"say","text":"got it?"}"#);
            assert_eq!(ben.hear("said").get_u64("from"), Some(ben.id));
        }
        assert!(!sender.is_finished(), "the sender waits for the slowest");
        assert_eq!(cleo.hear("file").get_u64("file"), Some(file));
        let (slow, size) = (&mut cleo, bytes.len());
        let at_cleo = scope.spawn(move || slow.receive_file(file, size));
        assert!(ben.receive_file(file, bytes.len()) == bytes);
        assert!(at_cleo.join().expect("Cleo") == bytes);
        sender.join().expect("Ann");
    });
    for member in [ann, ben, cleo] {
        member.client.leave_unheard();
    }
    example.interrupt();
}

#[test]
fn meeting_says_when_a_file_is_lost_and_refuses_who_breaks_its_rules() {
    let example = Example::start("meeting");
    let mut ann = Member::join(&example, "Ann");
    let mut ben = Member::join(&example, "Ben");
    ann.count(2);
    ben.client.send_text(r#"{"type":"file","tag":1,"name":"half.bin","size":100000}"#);
    let file = ben.hear("send").get_u64("file").expect("a number") as u32;
    ben.client.send(Opcode::Binary, &[&file.to_be_bytes()[..], &[1; 1000]].concat());
    assert_eq!(ann.hear("file").get_u64("size"), Some(100_000));
    ben.client.reset();
    assert_eq!(ann.hear("lost").get_u64("file"), Some(u64::from(file)));
    assert_eq!(ann.count(1), ["Ann"]);

    let rude: [&[u8]; 5] = [
        b"no JSON",
        br#"{"type":"say","text":"before joining"}"#,
        br#"{"type":"join","name":"   "}"#,
        br#"{"type":"join"}"#,
        b"[]",
    ];
    for message in rude {
        let mut client = Client::open(example.address, "/ws");
        client.send(Opcode::Text, message);
        assert!(matches!(client.hear(), Heard::Close(Some(1008), words) if !words.is_empty()));
    }
    // Nobody may send what is another's.
    let mut client = Client::open(example.address, "/ws");
    client.send(Opcode::Binary, &[0, 0, 0, 1, 7]);
    assert!(matches!(client.hear(), Heard::Close(Some(1008), _)));
    ann.client.send_text(r#"{"type":"say","text":"still here"}"#);
    assert_eq!(ann.hear("said").get_str("text"), Some("still here"));
    ann.client.leave_unheard();
    drop(client);
    example.interrupt();
}

#[test]
fn meeting_serves_its_page() {
    let example = Example::start("meeting");
    let mut visitor = Client::connect(example.address);
    visitor.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n");
    let page = visitor.answer();
    assert_eq!((page.status, page.body.starts_with("<!doctype html>")), (200, true));
    assert!(!page.body.contains("src=") && !page.body.contains("https://"), "the page needs nothing else");
    assert_eq!(visitor.answer().status, 404);
    drop(visitor);
    example.interrupt();
}
