//! More bytes than there is room for at once.

use std::io::Write;
use std::sync::mpsc;
use std::time::Duration;

use ringwire_engine::EngineOptions;
use ringwire_engine::codec::Opcode;
use ringwire_engine::ring::Clock;

use crate::support::census::resident_bytes;
use crate::support::client::{Client, Heard, PATIENCE};
use crate::support::server::{Ask, Server, options, pause};

#[test]
fn eight_small_buffers_serve_many_connections() {
    const CONNECTIONS: usize = 100;
    const ROUNDS: usize = 5;
    let mut options = EngineOptions { receive_buffers: 8, receive_buffer_bytes: 512, ..options() };
    options.shards = Some(2);
    let server = Server::start(options);
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| server.open()).collect();
    // All speak before any listens, and each message takes more than the buffers of a shard.
    let message = |client: usize, round: usize| -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed((client * ROUNDS + round) as u64);
        (0..5000 + 131 * client).map(|_| random.u8(..)).collect()
    };
    for round in 0..ROUNDS {
        for (n, client) in clients.iter_mut().enumerate() {
            client.send(Opcode::Binary, &message(n, round));
        }
    }
    for round in 0..ROUNDS {
        for (n, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.hear(), Heard::Binary(message(n, round)), "client {n}, round {round}");
        }
    }
    clients.into_iter().for_each(Client::leave);
    server.finish();
}

#[test]
fn messages_of_16_mib_go_both_ways() {
    let server = Server::start(options());
    let mut client = server.open();
    let mut random = fastrand::Rng::with_seed(16);
    let message: Vec<u8> = std::iter::repeat_with(|| random.u64(..).to_le_bytes()).take(2 << 20).flatten().collect();
    assert_eq!(message.len(), 16 << 20);
    for fragments in [1, 64] {
        send_in_fragments(&mut client, &message, fragments);
        match client.hear() {
            Heard::Binary(bytes) => assert!(bytes == message, "the message is the same"),
            other => panic!("{other:?}"),
        }
    }
    client.leave();
    server.finish();
}

fn send_in_fragments(client: &mut Client, message: &[u8], fragments: usize) {
    let mut pieces = message.chunks(message.len() / fragments).enumerate().peekable();
    while let Some((n, piece)) = pieces.next() {
        let opcode = if n == 0 { Opcode::Binary } else { Opcode::Continuation };
        client.send_frame(pieces.peek().is_none(), opcode, piece);
    }
}

#[test]
fn messages_behind_one_that_fills_the_backlog_are_echoed_too() {
    const LARGE_BYTES: usize = 1 << 20;
    let mut options = options();
    options.notsent_lowat_bytes = Some(32 * 1024);
    options.limits.backlog_high_bytes = 256 * 1024;
    options.limits.backlog_bytes_max = 512 * 1024;
    let server = Server::start(options);
    // How much the kernel takes is its own affair: some of these find the socket full and the backlog not yet high.
    for filling_bytes in (0..=15).map(|step| step * 128 * 1024) {
        let mut client = server.open();
        let mut bytes = Vec::new();
        for _ in 0..filling_bytes / 1024 {
            bytes.extend(client.frame(true, Opcode::Binary, &[0; 1024]));
        }
        client.write(&bytes);
        let mut bytes = client.frame(true, Opcode::Binary, &vec![1; LARGE_BYTES]);
        for n in 0..200 {
            bytes.extend(client.frame(true, Opcode::Text, format!("small {n}").as_bytes()));
        }
        let mut writer = client.writer();
        std::thread::scope(|scope| {
            scope.spawn(move || writer.write_all(&bytes).expect("the server reads"));
            pause(Duration::from_millis(30));
            for _ in 0..filling_bytes / 1024 {
                assert_eq!(client.hear(), Heard::Binary(vec![0; 1024]));
            }
            assert_eq!(client.hear(), Heard::Binary(vec![1; LARGE_BYTES]));
            for n in 0..200 {
                assert_eq!(client.hear(), Heard::Text(format!("small {n}")), "behind {filling_bytes} bytes");
            }
        });
        client.leave();
    }
    server.finish();
}

#[test]
fn a_peer_that_stops_reading_is_not_read_from() {
    const DEAF: usize = 4;
    const MESSAGE_BYTES: usize = 64 * 1024;
    let mut options = options();
    options.notsent_lowat_bytes = Some(32 * 1024);
    options.limits.backlog_high_bytes = 64 * 1024;
    options.limits.backlog_bytes_max = 4 << 20;
    let server = Server::start(options);
    let before = resident_bytes();
    let mut deaf: Vec<_> = (0..DEAF).map(|_| server.open()).collect();
    let sent: Vec<usize> = deaf.iter_mut().map(|client| send_until_stuck(client, MESSAGE_BYTES)).collect();
    let echoed = server.seen(|seen| seen.message_bytes);
    pause(Duration::from_millis(300));
    assert_eq!(server.seen(|seen| seen.message_bytes), echoed, "nothing more is read from them");
    let grown = resident_bytes().saturating_sub(before);
    // The shard's own buffers and arenas, touched for the first time, are 4 MiB.
    assert!(grown < (4 + DEAF) << 20, "{DEAF} peers that do not read cost {grown} bytes");

    let clock = Clock::start();
    let mut other = server.open();
    for _ in 0..100 {
        other.echo("on time");
    }
    let took = clock.now().since(Default::default());
    assert!(took < Duration::from_secs(2), "100 echoes beside them took {took:?}");
    other.leave();

    // They think better of it: everything that they sent comes back.
    for (mut client, bytes) in deaf.into_iter().zip(sent) {
        let mut writer = client.writer();
        let rest = client.take_unwritten();
        std::thread::scope(|scope| {
            scope.spawn(move || writer.write_all(&rest).expect("the server reads again"));
            for _ in 0..bytes / MESSAGE_BYTES {
                let Heard::Binary(echo) = client.hear() else { panic!("an echo comes") };
                assert!(echo.len() == MESSAGE_BYTES && echo.iter().all(|&byte| byte == 3));
            }
        });
        client.leave();
    }
    server.finish();
}

/// Sends messages until the server takes no more for a while. Gives the payload bytes of all, the last one included,
/// of which the client keeps what was not taken.
fn send_until_stuck(client: &mut Client, message_bytes: usize) -> usize {
    client.stream().set_write_timeout(Some(Duration::from_millis(150))).expect("timeout");
    let mut sent = 0;
    loop {
        let frame = client.frame(true, Opcode::Binary, &vec![3; message_bytes]);
        sent += message_bytes;
        assert!(sent < 256 << 20, "a server that takes {sent} bytes from a peer that does not read takes any");
        if !client.write_part(&frame) {
            client.stream().set_write_timeout(Some(PATIENCE)).expect("timeout");
            return sent;
        }
    }
}

#[test]
fn a_flood_of_pings_is_answered_and_holds_no_memory() {
    const PINGS: usize = 50_000;
    let mut options = options();
    options.limits.control_frames_per_second_max = u16::MAX;
    let server = Server::start(options);
    let before = resident_bytes();
    let mut client = server.open();
    // The pongs soon fill this.
    socket2::SockRef::from(client.stream()).set_recv_buffer_size(32 * 1024).expect("buffer size");
    let ping = client.frame(true, Opcode::Ping, &[b'p'; 125]);
    let flood = ping.repeat(100);
    let mut writer = client.writer();
    let (go, gone) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..PINGS / 100 {
                writer.write_all(&flood).expect("the server reads again");
            }
            drop(go);
        });
        // The flood piles up before anyone reads the pongs.
        let _ = gone.recv_timeout(Duration::from_secs(1));
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < 8 << 20, "the flood costs {grown} bytes");
        for _ in 0..PINGS {
            assert_eq!(client.hear(), Heard::Pong(vec![b'p'; 125]));
        }
    });
    client.echo("and then");
    client.leave();
    server.finish();
}

#[test]
fn what_a_turn_takes_in_is_bounded_and_nothing_is_lost_or_late() {
    const TURN_BYTES: usize = 64 * 1024;
    const MESSAGES: usize = 5000;
    const CLIENTS: usize = 4;
    let mut options = options();
    options.turn_bytes_max = TURN_BYTES;
    let server = Server::start(options);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.open()).collect();
    std::thread::scope(|scope| {
        for client in &mut clients {
            let frames: Vec<u8> =
                (0..MESSAGES).flat_map(|n| client.frame(true, Opcode::Text, format!("{n:0>500}").as_bytes())).collect();
            let mut writer = client.writer();
            scope.spawn(move || writer.write_all(&frames).expect("the server reads"));
            scope.spawn(move || {
                for n in 0..MESSAGES {
                    assert_eq!(client.hear(), Heard::Text(format!("{n:0>500}")));
                }
            });
        }
    });
    let most = server.seen(|seen| seen.turn_bytes_max);
    // The buffer that passes the bound still counts, with what inside TLS it makes whole.
    assert!(most <= TURN_BYTES + 2 * 32 * 1024, "{most} bytes in one turn");
    clients.into_iter().for_each(Client::leave);
    server.finish();
}

#[test]
fn what_was_held_is_read_turn_by_turn_as_well() {
    const TURN_BYTES: usize = 16 * 1024;
    const CLIENTS: usize = 16;
    const BODIES: usize = 50;
    let mut options = EngineOptions { receive_buffers: 512, receive_buffer_bytes: 4096, ..options() };
    options.turn_bytes_max = TURN_BYTES;
    let server = Server::start(options);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    let body = "b".repeat(1000);
    let post = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let requests = ["GET /later/a HTTP/1.1\r\nHost: a\r\n\r\n", &post.repeat(BODIES)].concat();
    clients.iter_mut().for_each(|client| client.write(requests.as_bytes()));
    // What else has come is held until the first is answered: for all of them in the same turn.
    server.wait(|seen| seen.awaited == CLIENTS, |_| ());
    server.post_all(|| Ask::Answer);
    for client in &mut clients {
        assert_eq!(client.answer().body, "GET /later/a ");
        for _ in 0..BODIES {
            assert_eq!(client.answer().body, format!("POST / {body}"));
        }
    }
    let most = server.seen(|seen| seen.turn_bytes_max);
    // The buffer that passes the bound still counts, with what inside TLS it makes whole.
    assert!(most <= TURN_BYTES + 2 * 16 * 1024, "{most} bytes in one turn");
    drop(clients);
    server.finish();
}
