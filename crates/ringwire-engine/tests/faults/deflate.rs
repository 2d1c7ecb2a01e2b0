//! Compressed messages through the engine: read, echoed, bounded and counted.

use ringwire_engine::CloseReason;
use ringwire_engine::codec::Violation;
use ringwire_engine::codec::deflate::{Compressor, Deflate, DeflateOptions, Level, MemoryLevel, WindowBits};

use crate::support::client::{Client, Heard};
use crate::support::server::{Server, options};

fn takeover() -> Deflate {
    Deflate::new(DeflateOptions {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        takeover_threshold_bytes: 0,
        ..DeflateOptions::default()
    })
}

/// Different text for each `n`, which compresses well.
fn quote(n: usize) -> String {
    (0..60).map(|level| format!("[\"{}.{:02}\",\"{}\"],", 39_000 + level, n % 100, level * 7 + n)).collect()
}

#[test]
fn messages_are_compressed_both_ways() {
    let server = Server::start(options());
    for (path, deflate) in [("/deflate", Deflate::new(DeflateOptions::default())), ("/takeover", takeover())] {
        let mut client = Client::open_deflate(server.address(), path, &deflate);
        let before = client.received_bytes();
        let mut text_bytes = 0;
        for n in 0..50 {
            client.send_packed(&quote(n));
            assert_eq!(client.hear(), Heard::Text(quote(n)));
            text_bytes += quote(n).len();
        }
        let wire_bytes = client.received_bytes() - before;
        assert!(wire_bytes < text_bytes / 2, "{path}: {wire_bytes} for {text_bytes}");
        client.send_packed("short");
        assert_eq!(client.hear(), Heard::Text("short".into()));
        client.leave();
    }
    server.finish();
}

/// All of it in one receive: the answers are encoded while what came is still being read.
#[test]
fn many_compressed_messages_at_once_are_answered_in_order() {
    let server = Server::start(options());
    let deflate = takeover();
    let mut client = Client::open_deflate(server.address(), "/takeover", &deflate);
    for n in 0..200 {
        client.send_packed(&quote(n));
    }
    for n in 0..200 {
        assert_eq!(client.hear(), Heard::Text(quote(n)));
    }
    client.leave();
    server.finish();
}

#[test]
fn a_bomb_is_refused_with_1009() {
    let mut options = options();
    options.limits.message.message_bytes_max = 100_000;
    let server = Server::start(options);
    let deflate = Deflate::new(DeflateOptions::default());
    let mut client = Client::open_deflate(server.address(), "/deflate", &deflate);
    let mut bomb = Vec::new();
    let mut compressor = Compressor::new(Level::new(9).unwrap(), MemoryLevel::DEFAULT, WindowBits::MAX);
    assert!(compressor.compress_alone(&vec![0; 50_000_000], &mut bomb));
    client.send_marked(&bomb);
    assert_eq!(client.hear(), Heard::Close(Some(1009), Violation::MessageTooBig.as_str().into()));
    assert_eq!(server.ended(1), [CloseReason::Violation(Violation::MessageTooBig)]);
    drop(client);
    server.finish();
}

#[test]
fn what_cannot_be_inflated_is_refused_with_1007() {
    let server = Server::start(options());
    let deflate = Deflate::new(DeflateOptions::default());
    let mut client = Client::open_deflate(server.address(), "/deflate", &deflate);
    client.send_marked(&[0xFF; 10]);
    assert_eq!(client.hear(), Heard::Close(Some(1007), Violation::ExtensionData.as_str().into()));
    drop(client);
    server.finish();
}

#[test]
fn contexts_that_stay_count_in_the_shards_memory() {
    let mut options = options();
    options.limits.memory_bytes_max = 2 << 20;
    let server = Server::start(options);
    let deflate = takeover();
    // Some 280 KiB each, once the first message has gone out.
    let mut clients: Vec<_> = (0..12).map(|_| Client::open_deflate(server.address(), "/takeover", &deflate)).collect();
    for client in &mut clients {
        client.send_packed(&quote(1));
    }
    let reasons = server.ended(5);
    assert!(reasons.iter().all(|reason| *reason == CloseReason::Shed), "{reasons:?}");
    let served = clients.iter_mut().filter_map(|client| match client.hear() {
        Heard::Text(text) => Some(text),
        _ => None,
    });
    assert!(served.filter(|text| *text == quote(1)).count() >= 5, "as many as there is memory for");
    drop(clients);
    server.finish();
}
