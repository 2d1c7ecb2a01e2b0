//! Long messages that go back from where they were put together: in order, whole, and none in the place of another.

use std::io::Write;

use ringwire_engine::codec::{CloseCode, Opcode};

use crate::support::client::{Client, Heard, PATIENCE};
use crate::support::server::{AMONG, NO_ECHO, PULL, Server, options};

/// A message that is longer than what a handler may be behind, that begins so, and how to tell it from others.
fn message(how: u8, bytes: usize) -> Vec<u8> {
    let mut message = [AMONG, &[how]].concat();
    message.extend((message.len()..bytes).map(|at| (at * 7 % 251) as u8));
    message
}

/// Sends a message in two fragments, so that it must be put together.
fn send_in_two(client: &mut Client, message: &[u8]) {
    let (first, rest) = message.split_at(message.len() / 3);
    client.send_frame(false, Opcode::Binary, first);
    client.send_frame(true, Opcode::Continuation, rest);
}

#[test]
fn a_long_message_goes_back_in_order_with_what_is_sent_around_it() {
    let server = Server::start(options());
    let mut client = server.open();
    let other = || Heard::Text("other".to_owned());
    for bytes in [100, 5_000, 70_000, 300_000] {
        let all = |how| Heard::Binary(message(how, bytes));
        let wanted = [
            (b'=', vec![all(b'=')]),
            (b'>', vec![other(), all(b'>')]),
            (b'<', vec![all(b'<'), other()]),
            (b'2', vec![all(b'2'), all(b'2')]),
            (b'm', vec![all(b'm'), Heard::Binary(vec![b'm'; 300_000])]),
            (b'!', vec![Heard::Binary(vec![b'!'; bytes])]),
            (b'c', vec![all(b'c')]),
        ];
        for (how, wanted) in wanted {
            send_in_two(&mut client, &message(how, bytes));
            client.send_frame(true, Opcode::Binary, &message(how, bytes));
            for heard in [wanted.clone(), wanted].into_iter().flatten() {
                assert!(client.hear() == heard, "{bytes} bytes, {}", how as char);
            }
        }
    }
    send_in_two(&mut client, &message(b'.', 70_000));
    assert!(client.hear() == Heard::Binary(message(b'.', 70_000)));
    assert_eq!(client.hear(), Heard::Close(Some(1000), String::new()), "behind the message");
    drop(client);
    server.finish();
}

#[test]
fn long_messages_and_short_ones_come_back_in_their_order() {
    let server = Server::start(options());
    let mut client = server.open();
    let lengths = [70_000, 300_000, 10, 300_000, 300_001, 65_536, 0, 1_000_000, 130_000, 5, 6, 600_000, 64_000];
    let text = |nth: usize| char::from(b'a' + nth as u8).to_string().repeat(lengths[nth]);
    let mut frames = Vec::new();
    for nth in 0..lengths.len() {
        let (opcode, fin) = if nth % 2 == 0 { (Opcode::Text, true) } else { (Opcode::Binary, nth % 3 != 0) };
        frames.extend(client.frame(fin, opcode, text(nth).as_bytes()));
        frames.extend(client.frame(true, Opcode::Ping, &[nth as u8]));
        if !fin {
            frames.extend(client.frame(true, Opcode::Continuation, text(nth).as_bytes()));
        }
    }
    let mut writer = client.writer();
    std::thread::scope(|scope| {
        // In pieces whose ends fall into headers as well as anywhere else.
        scope.spawn(|| frames.chunks(99_991).for_each(|piece| writer.write_all(piece).expect("the server reads")));
        for nth in 0..lengths.len() {
            let ping = Heard::Pong(vec![nth as u8]);
            let message = match nth % 6 {
                3 => Heard::Binary(text(nth).repeat(2).into_bytes()),
                1 | 5 => Heard::Binary(text(nth).into_bytes()),
                _ => Heard::Text(text(nth)),
            };
            let wanted = if nth % 6 == 3 { [ping, message] } else { [message, ping] };
            for heard in wanted {
                assert!(client.hear() == heard, "message {nth}");
            }
        }
    });
    client.leave();
    server.finish();
}

#[test]
fn a_peer_that_goes_in_the_middle_of_a_long_message_is_let_go_and_so_is_one_that_a_drain_meets_there() {
    let server = Server::start(options());
    let long = message(b'=', 500_000);
    let begun = |begun_bytes: usize| {
        let mut client = server.open();
        let frame = client.frame(true, Opcode::Binary, &long);
        client.write(&frame[..begun_bytes]);
        (client, frame)
    };
    let (mut ends, _) = begun(200_000);
    ends.finish_sending();
    assert!(matches!(ends.hear(), Heard::End(_)));
    drop(begun(300_000));
    server.ended(2);
    let (mut drained, frame) = begun(100_000);
    // What it has sent is read before the drain comes.
    server.connections();
    server.drain(PATIENCE);
    assert!(matches!(drained.hear(), Heard::Close(Some(1001), _)));
    drained.write(&frame[100_000..]);
    drained.send_close(CloseCode::GOING_AWAY);
    assert!(matches!(drained.hear(), Heard::End(_)));
    server.join();
}

#[test]
fn a_subscriber_that_does_not_read_is_read_from_however_long_its_messages() {
    if crate::SECURE {
        // What was encrypted cannot be taken back: all of it waits, and is more than a peer may be behind.
        return;
    }
    let server = Server::start(options());
    let mut client = server.open();
    client.send(Opcode::Binary, PULL);
    server.wait(|seen| seen.shorts > 0, |_| ());
    let long = [NO_ECHO, &[b'n'; 300_000]].concat();
    for sent in 1..=10 {
        client.send(Opcode::Binary, &long);
        server.wait(|seen| seen.message_bytes == PULL.len() + sent * long.len(), |_| ());
    }
    drop(client);
    server.finish();
}

#[test]
fn messages_that_are_put_together_at_the_same_time_do_not_meet() {
    let server = Server::start(options());
    let mut clients: Vec<Client> = (0..8).map(|_| server.open()).collect();
    for round in 0..4 {
        let of = |nth: usize| message(b'0' + nth as u8, 40_000 + 30_000 * ((nth + round) % 5));
        for (nth, client) in clients.iter_mut().enumerate() {
            client.send_frame(false, Opcode::Binary, &of(nth)[..9_000]);
        }
        for (nth, client) in clients.iter_mut().enumerate().rev() {
            client.send_frame(true, Opcode::Continuation, &of(nth)[9_000..]);
        }
        for (nth, client) in clients.iter_mut().enumerate() {
            // The handler's answer to '2' is the message twice.
            for _ in 0..if nth == 2 { 2 } else { 1 } {
                assert!(client.hear() == Heard::Binary(of(nth)), "client {nth}, round {round}");
            }
        }
    }
    drop(clients);
    server.finish();
}

#[test]
fn a_peer_that_does_not_read_long_messages_gets_all_of_them_once_it_does() {
    let server = Server::start(options());
    let mut client = server.open();
    let long = message(b'=', 900_000);
    let mut writer = client.writer();
    let frames: Vec<u8> = (0..12).flat_map(|_| client.frame(true, Opcode::Binary, &long)).collect();
    std::thread::scope(|scope| {
        // It does not end before the client reads: the server stops reading from it.
        scope.spawn(move || writer.write_all(&frames));
        server.wait(|seen| seen.message_bytes >= long.len(), |_| ());
        for nth in 0..12 {
            assert!(client.hear() == Heard::Binary(long.clone()), "message {nth}");
        }
    });
    drop(client);
    server.finish();
}
