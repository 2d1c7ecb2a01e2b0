//! What a ring of clients does beside the operations of all drivers: places for sockets, and receives by the piece.

#![forbid(unsafe_code)]

use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use ringwire_ring::linux::{Ring, RingOptions, is_cancelled};
use ringwire_ring::{Clock, Completion, Driver, Event, Op, Socket, Wait};

fn ring(sockets_max: u32) -> Ring {
    let options = RingOptions {
        submission_entries: 8,
        sockets_max,
        receive_buffers: 4,
        receive_buffer_bytes: 4096,
        incremental_buffers: true,
        clock: Clock::start(),
    };
    Ring::new(&options).expect("this machine has io_uring")
}

/// Two ends of a connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
    (client, listener.accept().expect("the other end").0)
}

/// The next completion; a test never waits longer than ten seconds.
fn next(ring: &mut Ring) -> Completion {
    let deadline = ring.now() + Duration::from_secs(10);
    loop {
        if let Some(completion) = ring.complete() {
            return completion;
        }
        assert!(ring.now() < deadline, "nothing came for ten seconds");
        ring.enter(Wait::Until(deadline)).expect("enter");
    }
}

/// Bytes of the next completion, which is a receive's last.
fn received(ring: &mut Ring) -> Vec<u8> {
    let completion = next(ring);
    assert!(!completion.more, "it receives once");
    let Event::Received(mut lease) = completion.event else { panic!("{:?}", completion.event) };
    let bytes = lease.bytes().to_vec();
    ring.release(lease);
    bytes
}

fn close(ring: &mut Ring, socket: Socket) {
    ring.submit(Op::Close(socket), 0).expect("room");
    let completion = next(ring);
    assert!(matches!(completion.event, Event::Closed), "{completion:?}");
}

#[test]
fn a_place_is_free_again_once_its_socket_is_closed() {
    let mut ring = ring(2);
    let streams = [(); 3].map(|()| pair().0);
    let first = ring.adopt(&streams[0]).expect("a place");
    let second = ring.adopt(&streams[1]).expect("a place");
    assert!(first != second && !ring.has_place());
    assert_eq!(ring.adopt(&streams[2]).expect_err("two places").kind(), ErrorKind::QuotaExceeded);
    ring.submit(Op::Close(first), 0).expect("room");
    assert!(!ring.has_place(), "the kernel has not closed it yet");
    assert!(matches!(next(&mut ring).event, Event::Closed));
    for _ in 0..100 {
        let again = ring.adopt(&streams[2]).expect("a place");
        assert_eq!(again, first);
        close(&mut ring, again);
    }
}

#[test]
fn a_socket_in_its_place_is_not_the_one_that_was_there() {
    let mut ring = ring(1);
    for number in 0..10u8 {
        let (client, mut server) = pair();
        let socket = ring.adopt(&client).expect("a place");
        drop(client);
        server.write_all(&[number]).expect("it is taken");
        ring.receive_once(socket, 100, 7).expect("room");
        assert_eq!(received(&mut ring), [number]);
        close(&mut ring, socket);
    }
}

#[test]
fn a_receive_by_the_piece_takes_no_more_and_comes_once() {
    let mut ring = ring(1);
    let (client, mut server) = pair();
    let socket = ring.adopt(client).expect("a place");
    server.write_all(b"eight and more bytes").expect("it is taken");
    ring.receive_once(socket, 5, 7).expect("room");
    assert_eq!(received(&mut ring), b"eight");
    assert!(ring.complete().is_none());
    ring.enter(Wait::No).expect("enter");
    assert!(ring.complete().is_none() && ring.in_flight() == 0 && ring.leased() == 0);
    ring.receive_once(socket, 100, 7).expect("room");
    assert_eq!(received(&mut ring), b" and more bytes");
}

#[test]
fn a_receive_by_the_piece_that_is_cancelled_says_so() {
    let mut ring = ring(1);
    let (client, _server) = pair();
    let socket = ring.adopt(client).expect("a place");
    let token = ring.receive_once(socket, 5, 7).expect("room");
    ring.submit(Op::Cancel(token), 0).expect("room");
    let Event::ReceiveFailed(error) = next(&mut ring).event else { panic!("nothing came in") };
    assert!(is_cancelled(&error), "{error}");
}

#[test]
fn a_small_receive_buffer_keeps_little() {
    static BYTES: i32 = 16 * 1024;
    let mut ring = ring(1);
    let (client, mut server) = pair();
    let again = client.try_clone().expect("a second handle");
    let socket = ring.adopt(client).expect("a place");
    ring.set_receive_buffer(socket, &BYTES);
    ring.enter(Wait::No).expect("enter");
    server.set_nonblocking(true).expect("a socket");
    let mut sent = 0;
    while let Ok(written) = server.write(&[0; 4096]) {
        sent += written;
    }
    // What it was when it connected is more than the option leaves, and the peer's own buffer is a part of what was sent.
    let mut kept = vec![0; 8 << 20];
    again.set_nonblocking(true).expect("a socket");
    let kept = again.peek(&mut kept).expect("bytes came");
    assert!(kept <= 4 * BYTES as usize && sent > kept, "{kept} bytes are kept of {sent}");
}
