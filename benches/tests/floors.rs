//! Each floor is an echo: what comes back is what was sent, also when the client reads more slowly than it writes.

#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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

#[test]
fn an_unknown_floor_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_floor")).arg("cellar").output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cellar"));
}
