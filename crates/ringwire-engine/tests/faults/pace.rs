//! How much a turn reads and answers, whatever has come in for it.

use ringwire_engine::codec::deflate::{Compressor, Deflate, DeflateOptions, Level, MemoryLevel, WindowBits};

use crate::support::client::{Client, Heard};
use crate::support::server::{Ask, FILLING_BYTES, NO_ECHO, Server, options};

const HIGH_BYTES: usize = 64 * 1024;
const MIB: usize = 1 << 20;

fn packed(message: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut compressor = Compressor::new(Level::new(9).unwrap(), MemoryLevel::DEFAULT, WindowBits::MAX);
    assert!(compressor.compress_alone(message, &mut packed));
    packed
}

#[test]
fn a_handler_that_sends_without_end_is_stopped_and_told_when_there_is_room() {
    let mut options = options();
    options.limits.backlog_high_bytes = HIGH_BYTES;
    options.limits.backlog_bytes_max = MIB;
    let server = Server::start(options);
    let mut client = server.open();
    server.post_all(|| Ask::Fill);
    let filled = server.wait(|seen| seen.filled > 0, |seen| seen.filled);
    assert!(filled * FILLING_BYTES <= MIB + 2 * FILLING_BYTES, "{filled} messages");
    for _ in 0..filled {
        assert_eq!(client.hear(), Heard::Binary(vec![4; FILLING_BYTES]));
    }
    server.wait(|seen| seen.drained > 0, |_| ());
    client.echo("and on");
    client.leave();
    server.finish();
}

#[test]
fn messages_that_grow_are_answered_as_the_backlog_allows_and_all_of_them() {
    const MESSAGES: usize = 20_000;
    let mut options = options();
    options.limits.backlog_high_bytes = HIGH_BYTES;
    let server = Server::start(options);
    let mut client = Client::open_deflate(server.address(), "/deflate", &Deflate::new(DeflateOptions::default()));
    let bomb = packed(&[b'a'; 125]);
    server.at_once(|| (0..MESSAGES).for_each(|_| client.send_marked(&bomb)));
    for _ in 0..MESSAGES {
        assert_eq!(client.hear(), Heard::Binary(vec![b'a'; 125]));
    }
    let most = server.seen(|seen| seen.turn_bytes_max);
    // What is sent within a turn makes room for as much again.
    assert!(most <= 3 * HIGH_BYTES, "{most} bytes in a turn");
    client.leave();
    server.finish();
}

#[test]
fn inflating_is_shared_among_turns() {
    let server = Server::start(options());
    let mut client = Client::open_deflate(server.address(), "/deflate", &Deflate::new(DeflateOptions::default()));
    let mut message = NO_ECHO.to_vec();
    message.resize(MIB, 0);
    let bomb = packed(&message);
    server.at_once(|| (0..30).for_each(|_| client.send_marked(&bomb)));
    let mut other = server.open();
    other.echo("in between");
    server.wait(|seen| seen.message_bytes > 30 * MIB, |_| ());
    let most = server.seen(|seen| seen.turn_bytes_max);
    assert!(most <= 2 * MIB + 100, "{most} bytes in a turn");
    client.echo("all read");
    client.leave();
    other.leave();
    server.finish();
}

#[test]
fn small_inflated_messages_are_shared_among_turns_too() {
    const MESSAGES: usize = 20_000;
    let server = Server::start(options());
    let mut client = Client::open_deflate(server.address(), "/deflate", &Deflate::new(DeflateOptions::default()));
    let message = [NO_ECHO, &[0; 30]].concat();
    let small = packed(&message);
    server.at_once(|| (0..MESSAGES).for_each(|_| client.send_marked(&small)));
    server.wait(|seen| seen.message_bytes == MESSAGES * message.len(), |_| ());
    let most = server.seen(|seen| seen.turn_bytes_max);
    assert!(most <= 1024 * message.len(), "{most} bytes in a turn");
    client.leave();
    server.finish();
}
