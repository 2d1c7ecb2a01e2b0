//! Any bytes to a whole server, engine and all, on a simulated network: whatever the splits and delays, the answers are
//! the same and well formed, and nothing is left of the connection. What is checked is in `ringwire_sim::converse`.
//!
//! The input is a byte of options, a byte that seeds the network, then cuts and the stream. The options' lowest bit
//! asks for a handshake in front of the stream.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ringwire_codec::handshake::{ClientHandshake, Url};
use ringwire_sim::converse;

/// More makes each run slow and reaches nothing else: the limits of these conversations are some KiB.
const STREAM_BYTES_MAX: usize = 20_000;

static HANDSHAKE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let url = Url::parse("ws://host/").expect("a URL");
    ClientHandshake::new(&url, *b"the sample nonce").request()
});

fuzz_target!(|data: &[u8]| {
    let [options, seed, rest @ ..] = data else { return };
    let (mut pieces, stream) = ringwire_fuzz::cuts(rest);
    if stream.len() > STREAM_BYTES_MAX {
        return;
    }
    let whole = if options & 1 != 0 { [&HANDSHAKE[..], stream].concat() } else { stream.to_vec() };
    if options & 1 != 0 {
        pieces.insert(0, &HANDSHAKE);
    }
    converse(u64::from(*seed), &pieces).assert_agrees(&converse(0, &[&whole]));
});
