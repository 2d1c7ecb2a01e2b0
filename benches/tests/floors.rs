//! Each floor is an echo, what comes back is what was sent; or a fanout, what is published is what each subscriber gets.
//! Also when a client reads more slowly than is written.

#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ringwire_benches::floor::fanout::{LOG_BYTES_MAX, READY};

/// A floor that runs, and where.
struct Floor {
    child: Child,
    address: SocketAddr,
}

impl Floor {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_floor"));
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().expect("the floor starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
        let line = lines.next().expect("a line");
        assert_eq!(lines.next().as_deref(), Some("ready"));
        let address = line.split(' ').nth(3).expect("floor: KIND on ADDRESS").parse().expect("an address");
        Self { child, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        stream.set_write_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        stream
    }

    /// A connection to a fanout, which has said who it is and been answered.
    fn join(&self, line: &str) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(line.as_bytes()).expect("written");
        let mut answer = [0; READY.len()];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(answer, READY);
        stream
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ended");
    }
}

/// Sends 16 MB as fast as it goes and reads them back in small pieces.
fn a_slow_reader_gets_all(floor: &Floor) {
    const BYTES: usize = 16_000_000;
    let mut stream = floor.connect();
    let mut writer = stream.try_clone().expect("a second handle");
    let byte = |at: usize| (at % 251) as u8;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let sent: Vec<u8> = (0..BYTES).map(byte).collect();
            writer.write_all(&sent).expect("all written");
        });
        let (mut piece, mut at) = ([0; 1500], 0);
        while at < BYTES {
            let read = stream.read(&mut piece).expect("more comes");
            assert!(read > 0, "the connection ended at {at}");
            assert!(piece[..read].iter().enumerate().all(|(index, got)| *got == byte(at + index)), "near {at}");
            at += read;
        }
    });
}

fn is_an_echo(arguments: &[&str]) {
    let floor = Floor::start(arguments);
    let mut clients: Vec<TcpStream> = (0..20).map(|_| floor.connect()).collect();
    for round in 0..50u8 {
        for (index, client) in clients.iter_mut().enumerate() {
            client.write_all(&[round, index as u8, 7]).expect("written");
        }
        for (index, client) in clients.iter_mut().enumerate() {
            let mut echo = [0; 3];
            client.read_exact(&mut echo).expect("an echo");
            assert_eq!(echo, [round, index as u8, 7]);
        }
    }
    drop(clients);
    a_slow_reader_gets_all(&floor);
}

#[test]
fn the_ring_floor_is_an_echo_on_both_send_paths() {
    is_an_echo(&["tcp-echo"]);
    is_an_echo(&["tcp-echo", "--send", "ordinary"]);
}

#[test]
fn the_epoll_floor_is_an_echo() {
    is_an_echo(&["epoll-echo"]);
}

#[test]
fn the_tokio_uring_floor_is_an_echo() {
    is_an_echo(&["tokio-uring-echo"]);
}

/// The byte that is published at a position.
fn published(at: usize) -> u8 {
    (at % 251) as u8
}

/// Publishes so many bytes, in pieces of many lengths.
fn publish(publisher: &mut TcpStream, bytes: usize) {
    let all: Vec<u8> = (0..bytes).map(published).collect();
    let mut rest = &all[..];
    for piece_bytes in (1..=70_000).step_by(611).cycle() {
        let (piece, behind) = rest.split_at(rest.len().min(piece_bytes));
        publisher.write_all(piece).expect("the floor takes what is published");
        if behind.is_empty() {
            return;
        }
        rest = behind;
    }
}

/// Reads what was published from the beginning on, so many bytes of it at most, a piece at a time. Says how far it came
/// and whether the connection has ended there.
fn hear(subscriber: &mut TcpStream, bytes: usize, piece_bytes: usize) -> (usize, bool) {
    let (mut piece, mut at) = (vec![0; piece_bytes], 0);
    while at < bytes {
        let most = piece_bytes.min(bytes - at);
        match subscriber.read(&mut piece[..most]) {
            Ok(0) => return (at, true),
            Ok(read) => {
                assert!(piece[..read].iter().zip(at..).all(|(got, at)| *got == published(at)), "near {at}");
                at += read;
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return (at, true),
            Err(error) => panic!("{error} at {at}"),
        }
    }
    (at, false)
}

const FANOUTS: [&str; 2] = ["tcp-fanout", "epoll-fanout"];

#[test]
fn every_subscriber_of_a_fanout_gets_all_in_order_slow_readers_too() {
    const BYTES: usize = 12_000_000;
    for kind in FANOUTS {
        let floor = Floor::start(&[kind]);
        let mut publisher = floor.join("PUB\n");
        let mut subscribers: Vec<TcpStream> = (0..6).map(|_| floor.join("SUB\n")).collect();
        // Two read nothing before all is published and the others have it.
        let (slow, others) = subscribers.split_at_mut(2);
        std::thread::scope(|scope| {
            for (subscriber, piece_bytes) in others.iter_mut().zip([65_536, 16_384, 1500, 700]) {
                scope.spawn(move || assert_eq!(hear(subscriber, BYTES, piece_bytes), (BYTES, false), "{kind}"));
            }
            publish(&mut publisher, BYTES);
        });
        for subscriber in slow {
            assert_eq!(hear(subscriber, BYTES, 65_536), (BYTES, false), "{kind}");
        }
        // Who comes later hears what follows, and so does who was slow.
        subscribers.push(floor.join("SUB\n"));
        publish(&mut publisher, 1000);
        for subscriber in &mut subscribers {
            assert_eq!(hear(subscriber, 1000, 1000), (1000, false), "{kind}");
        }
    }
}

#[test]
fn a_subscriber_that_is_too_far_behind_is_ended_and_the_others_are_not() {
    // A multiple of the period of what is published, so that each piece begins as the first.
    const PIECE_BYTES: usize = 251 * 4000;
    // More than the log and the buffers of both sockets, which Linux lets grow to 10 MB together.
    const PIECES: usize = (LOG_BYTES_MAX + 40_000_000) / PIECE_BYTES;
    for kind in FANOUTS {
        let floor = Floor::start(&[kind]);
        let (mut idle, mut busy) = (floor.join("SUB\n"), floor.join("SUB\n"));
        let mut publisher = floor.join("PUB\n");
        for _ in 0..PIECES {
            publish(&mut publisher, PIECE_BYTES);
            assert_eq!(hear(&mut busy, PIECE_BYTES, 65_536), (PIECE_BYTES, false), "{kind}");
        }
        let (at, has_ended) = hear(&mut idle, PIECES * PIECE_BYTES, 65_536);
        assert!(has_ended && at < PIECES * PIECE_BYTES, "{kind}: {at} bytes");
    }
}

#[test]
fn who_says_nothing_known_and_a_second_publisher_are_ended() {
    for kind in FANOUTS {
        let floor = Floor::start(&[kind]);
        let publisher = floor.join("PUB\n");
        for line in ["PUB\n", "GET / HTTP/1.1\r\n\r\n"] {
            let mut stranger = floor.connect();
            stranger.write_all(line.as_bytes()).expect("written");
            assert_eq!(hear(&mut stranger, 1, 1), (0, true), "{kind}: {line}");
        }
        // What comes right behind the line is published, and the place of who has gone is free.
        drop(publisher);
        let mut subscriber = floor.join("SUB\n");
        let taken = (0..1000).find_map(|_| {
            let mut next = floor.connect();
            next.write_all(&[b"PUB\n", &[published(0), published(1)][..]].concat()).ok()?;
            next.read_exact(&mut [0; READY.len()]).ok()?;
            Some(next)
        });
        assert!(taken.is_some(), "{kind}: the place stays taken");
        assert_eq!(hear(&mut subscriber, 2, 2), (2, false), "{kind}");
    }
}

#[test]
fn an_unknown_floor_and_a_flag_that_it_has_no_use_for_are_refused() {
    for kind in ["cellar", "fanout", "tokio-uring-fanout", "tcp-fanout --send ordinary"] {
        let words = kind.split(' ');
        let output = Command::new(env!("CARGO_BIN_EXE_floor")).args(words.clone()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(words.take(2).all(|word| said.contains(word)), "{said}");
    }
}
