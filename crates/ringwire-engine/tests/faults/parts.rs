//! Receives that are longer than what a turn still reads: they are taken in by parts.

use ringwire_engine::EngineOptions;
use ringwire_engine::codec::Opcode;

use crate::support::client::Heard;
use crate::support::server::{NO_ECHO, Server, options};

/// What a turn reads, in parts of at least a buffer.
const TURN_BYTES: usize = 8 * 1024;
const BUFFER_BYTES: usize = 4096;
/// The kernel fills this in chunks of 128 KiB, if it can.
const BUFFERS: u16 = 256;
/// So much comes at once: some 100 KB.
const MESSAGES: usize = 350;

fn start() -> Server {
    let (receive_buffers, receive_buffer_bytes) = (BUFFERS, BUFFER_BYTES as u32);
    Server::start(EngineOptions { turn_bytes_max: TURN_BYTES, receive_buffers, receive_buffer_bytes, ..options() })
}

#[test]
fn a_long_receive_is_taken_in_by_parts_whole_and_in_order() {
    let server = start();
    let mut client = server.open();
    let frames: Vec<u8> =
        (0..MESSAGES).flat_map(|n| client.frame(true, Opcode::Text, format!("{n:0>300}").as_bytes())).collect();
    server.at_once(|| client.write(&frames));
    for n in 0..MESSAGES {
        assert_eq!(client.hear(), Heard::Text(format!("{n:0>300}")));
    }
    let most = server.seen(|seen| seen.turn_bytes_max);
    // Inside TLS the bytes that pass the bound may make two records whole.
    assert!(most <= TURN_BYTES + 2 * 16 * 1024, "{most} bytes in one turn");
    client.leave();
    server.finish();
}

#[test]
fn the_end_of_a_stream_waits_for_what_came_before_it() {
    let server = start();
    let mut client = server.open();
    let message = [NO_ECHO, &[b'n'; 300]].concat();
    let frames: Vec<u8> = (0..MESSAGES).flat_map(|_| client.frame(true, Opcode::Binary, &message)).collect();
    server.at_once(|| {
        client.write(&frames);
        client.finish_sending();
    });
    server.wait(|seen| seen.message_bytes == MESSAGES * message.len(), |_| ());
    drop(client);
    server.finish();
}

#[test]
fn what_is_left_of_a_receive_goes_back_when_its_connection_has_ended() {
    let server = start();
    // More often than there are chunks to be held.
    for _ in 0..20 {
        let mut client = server.open();
        // No client's frame is unmasked.
        let bytes = [&[0x82, 0x01][..], &[0; 100_000]].concat();
        server.at_once(|| {
            // What it has not read when it closes, the server's kernel answers with a reset.
            let _ = client.try_write(&bytes);
        });
        let heard = client.hear();
        assert!(matches!(heard, Heard::Close(Some(1002), _)), "{heard:?}");
    }
    server.open().echo("there is room");
    server.finish();
}
