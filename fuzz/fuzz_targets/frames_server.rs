//! Any bytes as the stream of frames that a server receives.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringwire_codec::Role;

fuzz_target!(|data: &[u8]| ringwire_fuzz::frames::check(Role::Server, data));
