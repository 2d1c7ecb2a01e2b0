//! What open connections read and write: slowly, in order, inside TLS, and not without bound.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use ringload::clients::{Door, End};
use ringload::target::{Target, Wire};
use ringwire_codec::Opcode;
use ringwire_codec::handshake::{Policy, accept};
use ringwire_codec::http::Request;
use ringwire_engine::tls::{Acceptor, Connector, Roots, ServerTls, Session};
use ringwire_ring::Wait;

use super::{Ear, clients, echo, frame, listen, masked, shake_hands, until};

/// Bytes a second that come of a server that sends as fast as it can, once the receive buffer no longer matters.
fn rate_at(bytes_per_second: u64, right_after_opening: bool) -> f64 {
    let (listener, door) = listen("ws");
    let mut clients = clients(1);
    let mut ear = Ear::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = listener.accept().expect("a client").0;
            shake_hands(&mut stream);
            while stream.write_all(&frame(Opcode::Binary, &[7; 100])).is_ok() {}
        });
        let link = clients.outbox().open(&Arc::new(door));
        if right_after_opening {
            clients.outbox().throttle(link, bytes_per_second);
        }
        until(&mut clients, &mut ear, |ear| !ear.open.is_empty());
        clients.outbox().throttle(link, bytes_per_second);
        let warm = clients.now() + Duration::from_millis(300);
        clients.turns_until(warm, &mut ear).expect("the kernel goes on");
        let (before, start) = (ear.heard_bytes, clients.now());
        clients.turns_until(start + Duration::from_secs(2), &mut ear).expect("the kernel goes on");
        let rate = (ear.heard_bytes - before) as f64 / clients.now().since(start).as_secs_f64();
        assert!(ear.ends.is_empty(), "{:?}", ear.ends);
        drop(clients);
        rate
    })
}

#[test]
fn a_throttled_connection_reads_at_its_rate() {
    for (rate, early) in [(10_000, true), (10_000, false), (200_000, true)] {
        let read = rate_at(rate, early);
        // Frames have a header of two bytes that are no message's.
        assert!((read / (rate as f64 * 100.0 / 102.0) - 1.0).abs() < 0.2, "{read} bytes a second at {rate}");
    }
    assert_eq!(rate_at(0, true), 0.0);
    assert!(rate_at(u64::MAX, true) > 1e6, "as fast as it comes");
}

#[test]
fn what_the_socket_does_not_take_is_told_and_arrives_in_order() {
    const MESSAGES: usize = 3_000;
    const BYTES: usize = 4_000;
    let (listener, door) = listen("ws");
    let mut clients = clients(1);
    let mut ear = Ear::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = listener.accept().expect("a client").0;
            shake_hands(&mut stream);
            echo(&mut stream)
        });
        let link = clients.outbox().open(&Arc::new(door));
        until(&mut clients, &mut ear, |ear| !ear.open.is_empty());
        for number in 0..MESSAGES {
            let mut payload = vec![0; BYTES];
            payload[..8].copy_from_slice(&number.to_be_bytes());
            clients.outbox().send(link, &masked(Opcode::Binary, &payload));
        }
        assert!(clients.outbox().backlog_bytes(link) > MESSAGES * BYTES);
        clients.turn(Wait::No, &mut ear).expect("the kernel goes on");
        let waits = clients.outbox().backlog_bytes(link);
        assert!(waits > MESSAGES * BYTES / 4, "a socket takes no 12 MB");
        // What is sent behind a backlog waits behind it.
        for number in MESSAGES..MESSAGES + 10 {
            clients.outbox().send(link, &masked(Opcode::Binary, &number.to_be_bytes()));
        }
        assert_eq!(clients.outbox().backlog_bytes(link), waits + 10 * 14);
        until(&mut clients, &mut ear, |ear| ear.heard.len() == MESSAGES + 10);
        assert_eq!(clients.outbox().backlog_bytes(link), 0);
        let numbers = ear.heard.iter().map(|(_, bytes, _)| usize::from_be_bytes(*bytes.first_chunk().expect("eight")));
        assert!(numbers.eq(0..MESSAGES + 10));
        drop(clients);
    });
}

#[test]
fn a_server_that_takes_nothing_ends_its_connection_when_too_much_waits_for_it() {
    let (listener, door) = listen("ws");
    let mut clients = clients(1);
    let mut ear = Ear::default();
    std::thread::scope(|scope| {
        let (done, ends) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            let mut stream = listener.accept().expect("a client").0;
            shake_hands(&mut stream);
            assert!(ends.recv().is_err(), "it reads no more until the test is over");
        });
        let link = clients.outbox().open(&Arc::new(door));
        until(&mut clients, &mut ear, |ear| !ear.open.is_empty());
        let frame = masked(Opcode::Binary, &vec![0; 1 << 20]);
        for _ in 0..100 {
            clients.outbox().send(link, &frame);
            clients.turn(Wait::No, &mut ear).expect("the kernel goes on");
        }
        let Some(End::Broken(reason)) = ear.ends.get(&link) else { panic!("{:?}", ear.ends) };
        assert!(reason.contains("does not read"), "{reason}");
        drop(done);
    });
}

/// Speaks TLS on a blocking socket: what comes, decrypted.
fn read_secure(stream: &mut TcpStream, session: &mut Session, plain: &mut Vec<u8>) {
    let mut bytes = [0; 4096];
    let mut out = Vec::new();
    session.transmit(&[], &mut out).expect("nothing went wrong");
    stream.write_all(&out).expect("it is taken");
    let len = stream.read(&mut bytes).expect("bytes");
    session.receive(&mut bytes[..len], plain).expect("good TLS");
}

#[test]
fn a_connection_opens_and_echoes_inside_tls() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (certificate_pem, key_pem) = (made.cert.pem().into_bytes(), made.signing_key.serialize_pem().into_bytes());
    let connector = Connector::new(&Roots::Pem(certificate_pem.clone())).expect("an authority");
    let acceptor = Acceptor::new(&ServerTls { certificate_pem, key_pem, ..ServerTls::default() }).expect("a key");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("wss://localhost:{}/x", listener.local_addr().expect("its address").port());
    let wire = Wire { tls: Some(connector), ..Wire::default() };
    let mut target = Target::parse_with(&url, wire).expect("a URL");
    target.address = listener.local_addr().expect("its address");
    let mut clients = clients(1);
    let mut ear = Ear::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = listener.accept().expect("a client").0;
            let (mut session, mut plain) = (acceptor.session(), Vec::new());
            let response = loop {
                read_secure(&mut stream, &mut session, &mut plain);
                if let Some((request, _)) = Request::parse(&plain).expect("a good request") {
                    break accept(&request, &Policy::default()).expect("a good handshake").response(&[]);
                }
            };
            plain.clear();
            // The answer and a first message are one record.
            let mut out = Vec::new();
            let first = [response, frame(Opcode::Text, b"hello")].concat();
            session.transmit(&first, &mut out).expect("good TLS");
            stream.write_all(&out).expect("it is taken");
            let asked: usize = (0..3).map(|number: usize| masked(Opcode::Text, &[number as u8; 100]).len()).sum();
            while plain.len() < asked {
                read_secure(&mut stream, &mut session, &mut plain);
            }
            let mut out = Vec::new();
            session.transmit(&frame(Opcode::Text, &plain.len().to_be_bytes()), &mut out).expect("good TLS");
            stream.write_all(&out).expect("it is taken");
        });
        let link = clients.outbox().open(&Arc::new(Door::new(target)));
        until(&mut clients, &mut ear, |ear| ear.heard.len() == 1);
        for number in 0..3u8 {
            clients.outbox().send(link, &masked(Opcode::Text, &[number; 100]));
        }
        until(&mut clients, &mut ear, |ear| ear.heard.len() == 2);
        assert_eq!(ear.heard[0].1, b"hello");
        assert_eq!(ear.heard[1].1, (3 * 106usize).to_be_bytes());
    });
}
