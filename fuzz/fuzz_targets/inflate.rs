//! Any bytes as compressed messages, in any pieces, beside another inflater; and any messages there and back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringwire_fuzz::deflate::{check_inflate, check_round_trip};

fuzz_target!(|data: &[u8]| {
    check_inflate(data);
    check_round_trip(data);
});
