//! Any bytes as a stream of frames, to our decoder and to tungstenite's, in both roles.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringwire_codec::Role;
use ringwire_fuzz::differential::check;

fuzz_target!(|stream: &[u8]| {
    check(Role::Server, stream);
    check(Role::Client, stream);
});
