//! What peers do to TLS itself.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use ringwire_engine::CloseReason;
use ringwire_engine::codec::{MaskKey, Opcode, encode_frame};
use ringwire_engine::tls::TlsError;

use crate::support::certificates::{connection, usual, usual_client};
use crate::support::client::{Client, Heard};
use crate::support::server::{Ask, Server, options, pause};

/// The first bytes that a client sends.
fn client_hello() -> Vec<u8> {
    let mut hello = Vec::new();
    usual_client().write_tls(&mut hello).expect("memory takes all");
    hello
}

#[test]
fn hands_are_shaken_one_byte_at_a_time() {
    let server = Server::start(options());
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut tls = connection(&usual().0.client_config(&[version], None));
        let mut stream = TcpStream::connect(server.address()).expect("the server takes connections");
        stream.set_nodelay(true).expect("no delay");
        while tls.is_handshaking() {
            let mut flight = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut flight).expect("memory takes all");
            }
            for byte in flight {
                stream.write_all(&[byte]).expect("the server reads");
            }
            if tls.is_handshaking() {
                tls.read_tls(&mut stream).expect("the server answers");
                tls.process_new_packets().expect("TLS");
            }
        }
        let mut client = Client::adopt(stream, Some(tls));
        client.write(&Client::upgrade(server.address(), "/"));
        client.opened();
        client.echo("at last");
        client.leave();
    }
    server.finish();
}

#[test]
fn peers_that_go_in_mid_handshake_leave_nothing() {
    let server = Server::start(options());
    let hello = client_hello();
    for (n, length) in (0..hello.len()).step_by(7).chain([hello.len()]).enumerate() {
        let mut stream = TcpStream::connect(server.address()).expect("the server takes connections");
        stream.write_all(&hello[..length]).expect("the server reads");
        if n % 2 == 0 {
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("linger");
        }
    }
    server.wait_empty();
    server.finish();
}

#[test]
fn a_handshake_that_stops_runs_out_of_time() {
    let mut options = options();
    options.listen[0].timeouts.handshake = Duration::from_millis(300);
    let server = Server::start(options);
    let hello = client_hello();
    let streams: Vec<TcpStream> = [1, hello.len() / 2, hello.len()]
        .into_iter()
        .map(|length| {
            let mut stream = TcpStream::connect(server.address()).expect("the server takes connections");
            stream.write_all(&hello[..length]).expect("the server reads");
            stream
        })
        .collect();
    server.wait_empty();
    drop(streams);
    server.finish();
}

#[test]
fn random_bytes_behind_a_records_first_byte_end_the_connection() {
    let server = Server::start(options());
    let mut random = fastrand::Rng::with_seed(22);
    for _ in 0..100 {
        let mut client = Client::connect_with(server.address(), None);
        let bytes: Vec<u8> = (0..random.usize(1..3000)).map(|_| random.u8(..)).collect();
        let _ = client.try_write(&[&[0x16, 3, 1][..], &bytes].concat());
        client.finish_sending();
        while !client.raw().is_empty() {}
    }
    server.finish();
}

#[test]
fn a_record_that_was_changed_ends_the_connection_with_an_alert() {
    let server = Server::start(options());
    let mut client = server.open();
    client.echo("well so far");
    // A record of application data that no key has made.
    (&mut client.stream()).write_all(&[&[0x17, 3, 3, 0, 30][..], &[9; 30]].concat()).expect("the server reads");
    let heard = client.hear();
    assert_eq!(heard, Heard::End(Some(std::io::ErrorKind::InvalidData)), "the client is told with an alert");
    drop(client);
    assert!(matches!(server.ended(1)[..], [CloseReason::Tls(TlsError::Protocol(_))]), "{:?}", server.ended(1));
    server.finish();
}

#[test]
fn a_stream_that_is_cut_is_told_from_one_that_ends_by_nobody() {
    // Whether it ends with a close_notify or without one, no close frame came: both are the end of the stream.
    let server = Server::start(options());
    let cut = server.open();
    cut.stream().shutdown(std::net::Shutdown::Write).expect("shutdown");
    assert_eq!(server.ended(1), [CloseReason::EndOfStream]);
    let mut ended = server.open();
    ended.finish_sending();
    assert_eq!(ended.hear(), Heard::End(None), "who says that it ends is answered so");
    assert_eq!(server.ended(2), [CloseReason::EndOfStream, CloseReason::EndOfStream]);
    drop(cut);
    server.finish();
}

#[test]
fn requests_before_the_end_of_a_stream_are_answered() {
    let server = Server::start(options());
    let mut client = server.connect();
    client.write(b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n");
    client.finish_sending();
    assert_eq!(client.answer().body, "GET /last ");
    assert_eq!(client.hear(), Heard::End(None));
    drop(client);
    server.finish();
}

#[test]
fn a_backlog_that_cannot_be_encrypted_any_more_holds_nothing_up() {
    let mut options = options();
    options.limits.backlog_high_bytes = 16 * 1024;
    options.listen[0].timeouts.close = Duration::from_secs(600);
    let server = Server::start(options);
    let mut tls = usual_client();
    let mut tcp = TcpStream::connect(server.address()).expect("the server takes connections");
    let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
    stream.write_all(&Client::upgrade(server.address(), "/")).expect("the server reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        answer.extend(byte);
    }
    // A message whose echo is too long for one turn, and right behind it an alert, which is not answered.
    let mut message = Vec::new();
    encode_frame(&mut message, Opcode::Binary, &[1; 40_000], Some(MaskKey::new([1, 2, 3, 4])));
    tls.writer().write_all(&message).expect("memory takes all");
    tls.read_tls(&mut &[&[0x17, 3, 3, 0, 30][..], &[9; 30]].concat()[..]).expect("memory");
    tls.process_new_packets().expect_err("nobody has encrypted this");
    let mut flight = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut flight).expect("memory takes all");
    }
    let (go, wait) = mpsc::channel();
    let wait = Mutex::new(Some(wait));
    server.post_all(|| Ask::Wait(wait.lock().unwrap().take().expect("one shard")));
    tcp.write_all(&flight).expect("the kernel takes it");
    drop(go);
    assert!(matches!(server.ended(1)[..], [CloseReason::Tls(_)]));
    drop(tcp);
    server.wait_empty();
    server.finish();
}

#[test]
fn what_is_held_for_a_slow_peer_is_answered_before_its_end() {
    const LARGE_BYTES: usize = 1 << 20;
    let mut options = options();
    options.notsent_lowat_bytes = Some(32 * 1024);
    options.limits.backlog_high_bytes = 256 * 1024;
    let server = Server::start(options);
    // How much the kernel takes is its own affair: some of these find the socket full and the backlog not yet high. Then
    // the echo of a large message fills that, and what comes behind, the end too, is held.
    for filling in (0..=15).map(|step| step * 128) {
        let mut client = server.open();
        let mut bytes = client.frame(true, Opcode::Binary, &[0; 1024]).repeat(filling);
        bytes.extend(client.frame(true, Opcode::Binary, &vec![1; LARGE_BYTES]));
        for n in 0..50 {
            bytes.extend(client.frame(true, Opcode::Text, format!("small {n}").as_bytes()));
        }
        let mut writer = client.writer();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                writer.write_all(&bytes).expect("the server reads");
                writer.notify();
            });
            pause(Duration::from_millis(30));
            for _ in 0..filling {
                assert_eq!(client.hear(), Heard::Binary(vec![0; 1024]));
            }
            assert_eq!(client.hear(), Heard::Binary(vec![1; LARGE_BYTES]));
            for n in 0..50 {
                assert_eq!(client.hear(), Heard::Text(format!("small {n}")));
            }
            assert_eq!(client.hear(), Heard::End(None));
        });
    }
    server.finish();
}
