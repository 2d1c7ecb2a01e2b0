//! Peers that send what they should not, or send it oddly.

use ringwire_engine::CloseReason;
use ringwire_engine::codec::{Opcode, Violation};

use crate::support::client::{Client, Heard};
use crate::support::server::{Server, options};

#[test]
fn clients_killed_in_mid_message_leave_nothing() {
    let server = Server::start(options());
    for round in 0..10 {
        let mut clients: Vec<_> = (0..100).map(|_| server.open()).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            let frame = client.frame(n % 3 > 0, Opcode::Binary, &vec![7; 40_000]);
            // Some die in the header, some in the payload, some between fragments.
            let cut = if n % 3 == 0 { frame.len() } else { 1 + n * 400 };
            client.write(&frame[..cut]);
        }
        clients.into_iter().for_each(Client::reset);
        assert!(server.ended((round + 1) * 100).iter().all(|reason| matches!(reason, CloseReason::Broken(_))));
    }
    assert_eq!(server.seen(|seen| seen.message_bytes), 0);
    server.finish();
}

#[test]
fn random_bytes_as_a_handshake_end_the_connection() {
    let mut options = options();
    options.listen[0].timeouts.handshake = std::time::Duration::from_millis(300);
    let server = Server::start(options);
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes: Vec<u8> = (0..random.usize(1..3000)).map(|_| random.u8(..)).collect();
        if random.bool() {
            // One that looks like a request at first.
            bytes.splice(..0, *b"GET / HTTP/1.1\r\nHost: a\r\n");
        }
        let mut client = server.connect();
        client.write(&bytes);
        client.finish_sending();
        let end = std::iter::repeat_with(|| client.raw()).find(|bytes| bytes.is_empty());
        assert!(end.is_some(), "seed {seed}");
    }
    assert_eq!(server.seen(|seen| seen.upgraded), 0);
    server.finish();
}

#[test]
fn random_bytes_as_frames_end_with_a_close() {
    let server = Server::start(options());
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut client = server.open();
        let bytes: Vec<u8> = (0..random.usize(1..5000)).map(|_| random.u8(..)).collect();
        // The server may have seen enough before all is written.
        let _ = client.try_write(&bytes);
        client.finish_sending();
        loop {
            match client.hear() {
                Heard::Close(code, _) => assert!(code.is_none_or(|code| code >= 1000), "seed {seed}"),
                Heard::End(_) => break,
                _ => {}
            }
        }
    }
    server.ended(200);
    server.finish();
}

#[test]
fn a_client_that_sends_one_byte_at_a_time_is_understood() {
    let server = Server::start(options());
    let mut client = server.connect();
    for byte in Client::upgrade(server.address(), "/") {
        client.write(&[byte]);
    }
    client.opened();
    let mut frames = client.frame(true, Opcode::Text, "Grüße".as_bytes());
    frames.extend(client.frame(false, Opcode::Binary, &[1; 200]));
    frames.extend(client.frame(true, Opcode::Ping, b"still there?"));
    frames.extend(client.frame(true, Opcode::Continuation, &[2; 200]));
    for byte in frames {
        client.write(&[byte]);
    }
    assert_eq!(client.hear(), Heard::Text("Grüße".to_owned()));
    assert_eq!(client.hear(), Heard::Pong(b"still there?".to_vec()));
    assert_eq!(client.hear(), Heard::Binary([[1; 200], [2; 200]].concat()));
    client.leave();
    server.finish();
}

#[test]
fn frames_right_behind_the_handshake_are_heard() {
    let server = Server::start(options());
    let mut client = server.connect();
    let mut bytes = Client::upgrade(server.address(), "/");
    bytes.extend(client.frame(true, Opcode::Text, b"first"));
    let second = client.frame(true, Opcode::Text, b"second");
    let (half, other_half) = second.split_at(5);
    bytes.extend(half);
    client.write(&bytes);
    client.opened();
    assert_eq!(client.hear(), Heard::Text("first".to_owned()));
    client.write(other_half);
    assert_eq!(client.hear(), Heard::Text("second".to_owned()));
    client.leave();
    server.finish();
}

#[test]
fn control_frames_stand_between_fragments() {
    let server = Server::start(options());
    let mut client = server.open();
    // A character is cut by a fragment's end.
    client.send_frame(false, Opcode::Text, b"caf\xC3");
    client.send_frame(true, Opcode::Ping, b"1");
    client.send_frame(false, Opcode::Continuation, b"\xA9 ");
    client.send_frame(true, Opcode::Pong, b"unasked");
    client.send_frame(false, Opcode::Continuation, b"");
    client.send_frame(true, Opcode::Ping, b"2");
    client.send_frame(true, Opcode::Continuation, b"noir");
    assert_eq!(client.hear(), Heard::Pong(b"1".to_vec()));
    assert_eq!(client.hear(), Heard::Pong(b"2".to_vec()));
    assert_eq!(client.hear(), Heard::Text("café noir".to_owned()));
    client.leave();
    server.finish();
}

#[test]
fn each_violation_is_told_its_code() {
    let server = Server::start(options());
    let cases: [(&[u8], u16, Violation); 4] = [
        (b"\x81\x02hi", 1002, Violation::UnmaskedFromClient),
        (b"\x83\x80\0\0\0\0", 1002, Violation::ReservedOpcode),
        (b"\x81\x81\0\0\0\0\xFF", 1007, Violation::TextNotUtf8),
        (b"\x82\xFF\0\0\0\0\x7F\0\0\0\0\0\0\0", 1009, Violation::FrameTooBig),
    ];
    for (n, (bytes, code, violation)) in cases.into_iter().enumerate() {
        let mut client = server.open();
        client.write(bytes);
        let Heard::Close(Some(told), words) = client.hear() else { panic!("{violation:?} gets a close") };
        assert_eq!((told, words.is_empty()), (code, false), "{violation:?}: {words}");
        assert_eq!(client.hear(), Heard::End(None));
        drop(client);
        assert_eq!(server.ended(n + 1)[n], CloseReason::Violation(violation));
    }
    server.finish();
}
