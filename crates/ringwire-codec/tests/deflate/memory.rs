//! What a connection owns, idle and in use.

use ringwire_codec::deflate::{Compressor, Deflate, DeflateOptions};
use ringwire_codec::extension::Negotiator;

use crate::support::{ALL, bits, decode, element, encode, json, plain, server};

#[test]
fn without_takeover_an_idle_connection_owns_a_few_words() {
    let mut extension = plain();
    assert!(extension.memory_bytes() <= 64, "{}", extension.memory_bytes());
    let idle = extension.memory_bytes();
    let compressed = encode(&mut *extension, &json(5000)).unwrap();
    decode(&mut *extension, &[&compressed]).unwrap();
    assert_eq!(extension.memory_bytes(), idle, "contexts go back to the pool");
}

#[test]
fn a_message_under_way_holds_a_context_that_is_counted() {
    let mut extension = plain();
    let compressed = encode(&mut *extension, &json(5000)).unwrap();
    let mut message = Vec::new();
    let mut out = ringwire_codec::extension::Output::new(&mut message, 10_000);
    extension.decode(&compressed[..100], false, &mut out).unwrap();
    assert!(extension.memory_bytes() > 40_000);
    extension.decode(&compressed[100..], true, &mut out).unwrap();
    assert!(extension.memory_bytes() <= 64);
}

#[test]
fn a_pool_keeps_a_few_contexts_however_many_connections_there_are() {
    let deflate = Deflate::new(ALL);
    let mut connections: Vec<_> =
        (0..100).map(|_| deflate.accept(&element("permessage-deflate")).unwrap().extension).collect();
    assert_eq!(deflate.pooled_bytes(), 0, "nothing is made before it is needed");
    let compressed = encode(&mut *connections[0], &json(5000)).unwrap();
    let mut messages = vec![Vec::new(); 100];
    for (connection, message) in connections.iter_mut().zip(&mut messages) {
        let mut out = ringwire_codec::extension::Output::new(message, 10_000);
        connection.decode(&compressed[..50], false, &mut out).unwrap();
    }
    for (connection, message) in connections.iter_mut().zip(&mut messages) {
        let mut out = ringwire_codec::extension::Output::new(message, 10_000);
        connection.decode(&compressed[50..], true, &mut out).unwrap();
    }
    assert!(messages.iter().all(|message| *message == json(5000)));
    assert!(deflate.pooled_bytes() < 1 << 20, "{}", deflate.pooled_bytes());
}

#[test]
fn with_takeover_a_connection_counts_what_it_keeps() {
    let options = DeflateOptions { server_no_context_takeover: false, client_no_context_takeover: false, ..ALL };
    let mut extension = server(options, "permessage-deflate; client_max_window_bits=9; server_max_window_bits=10");
    assert!(extension.memory_bytes() <= 64, "nothing is made before it is needed");
    let compressed = encode(&mut *plain(), &json(5000)).unwrap();
    decode(&mut *extension, &[&compressed]).unwrap();
    assert!((512..700).contains(&extension.memory_bytes()), "a window of 2^9: {}", extension.memory_bytes());
    encode(&mut *extension, &json(5000)).unwrap();
    let compressor = Compressor::new(options.level, options.memory_level, bits(10));
    assert!(extension.memory_bytes() > compressor.memory_bytes() + 512);
}

/// What zlib's manual says that it takes with its defaults, on both sides: 268 KB and 44 KB.
#[test]
fn with_takeover_a_connection_takes_no_more_than_zlib_would() {
    let options = DeflateOptions { server_no_context_takeover: false, client_no_context_takeover: false, ..ALL };
    let mut extension = server(options, "permessage-deflate");
    let compressed = encode(&mut *extension, &json(100_000)).unwrap();
    decode(&mut *extension, &[&compressed]).unwrap();
    assert!(extension.memory_bytes() < (268 + 44) * 1024 * 11 / 10, "{}", extension.memory_bytes());
}
