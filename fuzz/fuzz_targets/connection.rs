//! Any bytes to a whole server, engine and all, on a simulated network: whatever the splits and delays, the answers are
//! the same and well formed, and nothing is left of the connection. What is checked is in `ringwire_sim::converse`.
//!
//! The input is a byte of options, a byte that seeds the network, then cuts and the stream. The options' two low bits
//! choose what stands in front of the stream: a handshake, one that offers permessage-deflate, or nothing.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ringwire_codec::deflate::{Deflate, DeflateOptions};
use ringwire_codec::handshake::{ClientHandshake, Url};
use ringwire_sim::converse;

/// More makes each run slow and reaches nothing else: the limits of these conversations are some KiB.
const STREAM_BYTES_MAX: usize = 20_000;

/// Without and with an offer.
static HANDSHAKES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let url = Url::parse("ws://host/").expect("a URL");
    let plain = ClientHandshake::new(&url, *b"the sample nonce");
    let deflate = Deflate::new(DeflateOptions { server_no_context_takeover: false, ..DeflateOptions::DEFAULT });
    let offering = ClientHandshake { extension: Some(&deflate), ..plain };
    [plain.request(), offering.request()]
});

fuzz_target!(|data: &[u8]| {
    let [options, seed, rest @ ..] = data else { return };
    let (mut pieces, stream) = ringwire_fuzz::cuts(rest);
    if stream.len() > STREAM_BYTES_MAX {
        return;
    }
    let front = match options % 4 {
        1 => &HANDSHAKES[0][..],
        2 => &HANDSHAKES[1][..],
        _ => &[],
    };
    pieces.insert(0, front);
    let whole = [front, stream].concat();
    converse(u64::from(*seed), &pieces).assert_agrees(&converse(0, &[&whole]));
});
