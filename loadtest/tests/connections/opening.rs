//! How connections open, and what is said of those that do not.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ringload::clients::{Clients, ClientsOptions, Door, End};
use ringwire_codec::Opcode;
use ringwire_ring::Clock;

use super::{Ear, clients, echo, frame, listen, shake_hands, until};

/// How one connection ends that cannot be opened, against a server that does this with it.
fn not_opened(change: impl FnOnce(&mut Door, &mut Clients), serve: impl FnOnce(TcpStream) + Send) -> String {
    let (listener, mut door) = listen("ws");
    let mut clients = clients(1);
    change(&mut door, &mut clients);
    let mut ear = Ear::default();
    std::thread::scope(|scope| {
        scope.spawn(|| serve(listener.accept().expect("a client").0));
        let link = clients.outbox().open(&Arc::new(door));
        until(&mut clients, &mut ear, |ear| !ear.ends.is_empty());
        assert!(ear.open.is_empty(), "it never opened");
        drop(clients);
        match ear.ends.remove(&link) {
            Some(End::NotOpened(reason)) => reason,
            end => panic!("{end:?}"),
        }
    })
}

fn read_some(stream: &mut TcpStream) {
    let mut bytes = [0; 4096];
    let _ = stream.read(&mut bytes).expect("a request");
}

#[test]
fn five_hundred_connections_open_beside_each_other() {
    let (listener, door) = listen("ws");
    let mut options = ClientsOptions::new(500, Clock::start());
    options.connecting_max = 500;
    let mut clients = Clients::new(options).expect("io_uring");
    let mut ear = Ear::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Nobody is answered before all have connected.
            let mut streams: Vec<TcpStream> = (0..500).map(|_| listener.accept().expect("a client").0).collect();
            for stream in streams.iter_mut().rev() {
                shake_hands(stream);
                stream.write_all(&frame(Opcode::Text, b"hello")).expect("it is taken");
            }
            streams.iter_mut().for_each(|stream| assert_eq!(echo(stream), Some(1000)));
        });
        let door = Arc::new(door);
        let links: Vec<usize> = (0..500).map(|_| clients.outbox().open(&door)).collect();
        until(&mut clients, &mut ear, |ear| ear.heard.len() == 500);
        let mut open = ear.open.clone();
        open.sort_unstable();
        assert_eq!(open, links);
        clients.close(&mut ear).expect("the kernel goes on");
        assert!(ear.ends.len() == 500 && ear.ends.values().all(|end| *end == End::Closed));
    });
}

#[test]
fn no_more_open_at_a_time_than_may() {
    let (listener, door) = listen("ws");
    let mut options = ClientsOptions::new(8, Clock::start());
    options.connecting_max = 2;
    let mut clients = Clients::new(options).expect("io_uring");
    let mut ear = Ear::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut streams: Vec<TcpStream> = (0..2).map(|_| listener.accept().expect("a client").0).collect();
            listener.set_nonblocking(true).expect("a socket");
            streams.iter_mut().for_each(read_some);
            assert!(listener.accept().is_err(), "the third waits");
        });
        let door = Arc::new(door);
        let links = [(); 8].map(|()| clients.outbox().open(&door));
        // The two end when the server hangs up; so do the others, which nobody accepts any more.
        until(&mut clients, &mut ear, |ear| ear.ends.len() >= 2);
        assert!(ear.ends.contains_key(&links[0]) && ear.ends.contains_key(&links[1]), "in order");
    });
}

#[test]
fn a_wrong_path_says_its_status_and_where() {
    let reason = not_opened(
        |_, _| (),
        |mut stream| {
            read_some(&mut stream);
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").expect("it is taken");
        },
    );
    assert!(reason.starts_with("connection 1 of ws://127.0.0.1:"), "{reason}");
    assert!(reason.ends_with("/x: HTTP 404 Not Found: is the path right?"), "{reason}");
}

#[test]
fn a_refused_handshake_says_why() {
    let reason = not_opened(
        |_, _| (),
        |mut stream| {
            read_some(&mut stream);
            let answer =
                "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n";
            stream.write_all(answer.as_bytes()).expect("it is taken");
        },
    );
    assert!(reason.contains("Sec-WebSocket-Accept"), "{reason}");
}

#[test]
fn a_server_that_hangs_up_in_the_handshake_says_so() {
    let reason = not_opened(|_, _| (), |mut stream| read_some(&mut stream));
    assert!(reason.contains("ended the connection in the handshake"), "{reason}");
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let reason = not_opened(
        |_, clients| clients.set_patience(Duration::from_millis(200)),
        |mut stream| {
            read_some(&mut stream);
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
        },
    );
    assert!(reason.contains("no answer to the handshake within 0.2 s"), "{reason}");
}

#[test]
fn a_subprotocol_that_nobody_speaks_is_named() {
    let reason = not_opened(|door, _| door.subprotocols.push("chat".to_owned()), |mut stream| shake_hands(&mut stream));
    assert!(reason.contains("no subprotocol") && reason.contains("chat"), "{reason}");
}

#[test]
fn a_port_where_nobody_listens_is_refused() {
    let (listener, door) = listen("ws");
    drop(listener);
    let mut clients = clients(1);
    let mut ear = Ear::default();
    let link = clients.outbox().open(&Arc::new(door));
    until(&mut clients, &mut ear, |ear| !ear.ends.is_empty());
    let Some(End::NotOpened(reason)) = ear.ends.get(&link) else { panic!("{:?}", ear.ends) };
    assert!(reason.contains("refused") && reason.contains("does a server listen there?"), "{reason}");
}

/// Set in the process that this test starts with few descriptors.
const FEW: &str = "RINGLOAD_TEST_HAS_FEW_DESCRIPTORS";

#[test]
fn more_connections_than_descriptors_name_the_limit() {
    if std::env::var_os(FEW).is_some() {
        let fault = Clients::new(ClientsOptions::new(1_000, Clock::start())).expect_err("it needs 1000").to_string();
        assert!(fault.contains("RLIMIT_NOFILE is 100") && fault.contains("ulimit -n 1000"), "{fault}");
        return;
    }
    let again = "ulimit -n 100 && exec \"$0\" --exact more_connections_than_descriptors_name_the_limit";
    let mut shell = Command::new("sh");
    shell.args(["-c", again]).arg(std::env::current_exe().expect("a test knows its own file")).env(FEW, "1");
    let output = shell.output().expect("there is a shell");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn spread_connections_come_from_addresses_of_their_own() {
    let (listener, mut door) = listen("ws");
    door.spread = true;
    let mut clients = clients(1);
    let mut ear = Ear::default();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (mut stream, from) = listener.accept().expect("a client");
            shake_hands(&mut stream);
            from.ip()
        });
        clients.outbox().open(&Arc::new(door));
        until(&mut clients, &mut ear, |ear| !ear.open.is_empty());
        let from = server.join().expect("the server is well");
        assert!(from.is_loopback() && from != Ipv4Addr::LOCALHOST, "{from}");
    });
}

#[test]
fn one_that_cannot_be_opened_gives_way_to_the_next() {
    let (listener, door) = listen("ws");
    let mut options = ClientsOptions::new(4, Clock::start());
    options.connecting_max = 1;
    let mut clients = Clients::new(options).expect("io_uring");
    let mut ear = Ear::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..3).for_each(|_| read_some(&mut listener.accept().expect("a client").0));
            shake_hands(&mut listener.accept().expect("a client").0);
        });
        let door = Arc::new(door);
        let links = [(); 4].map(|()| clients.outbox().open(&door));
        until(&mut clients, &mut ear, |ear| ear.open == [links[3]]);
        assert!(links[..3].iter().all(|link| matches!(ear.ends.get(link), Some(End::NotOpened(_)))));
    });
}
