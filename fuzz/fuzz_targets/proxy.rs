//! Any bytes as the front of a connection that may be a PROXY header: it is decided as soon as it can be, the same for
//! every length, and what a header says is what it holds.

#![no_main]

use std::net::{IpAddr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use ringwire_codec::proxy::{HEADER_BYTES_MAX, SIGNATURE, Source, parse};

fuzz_target!(|data: &[u8]| {
    let data = &data[..data.len().min(2 * HEADER_BYTES_MAX)];
    let decided = parse(data);
    if decided == Ok(None) {
        assert!(data.len() < HEADER_BYTES_MAX, "nothing longer is waited for");
    }
    let mut first = None;
    for length in 0..=data.len() {
        let parsed = parse(&data[..length]);
        match first {
            None if parsed == Ok(None) => {}
            None => first = Some(parsed),
            Some(first) => assert_eq!(parsed, first, "what is decided stays so"),
        }
    }
    assert_eq!(first.unwrap_or(Ok(None)), decided);
    let Ok(Some(header)) = decided else { return };
    assert!(data.starts_with(&SIGNATURE));
    assert_eq!(header.header_bytes, 16 + usize::from(u16::from_be_bytes([data[14], data[15]])));
    if let Source::Client { client, destination } = header.source {
        assert_eq!((client, destination), addresses(data), "the addresses are those in the header");
    }
});

/// The addresses of a header, read as the format's table has them.
fn addresses(data: &[u8]) -> (SocketAddr, SocketAddr) {
    let address_bytes = if data[13] >> 4 == 1 { 4 } else { 16 };
    let address = |at: usize| -> IpAddr {
        let bytes = &data[at..at + address_bytes];
        match address_bytes {
            4 => IpAddr::from(<[u8; 4]>::try_from(bytes).expect("4 bytes")),
            _ => IpAddr::from(<[u8; 16]>::try_from(bytes).expect("16 bytes")).to_canonical(),
        }
    };
    let port = |at: usize| u16::from_be_bytes([data[at], data[at + 1]]);
    let ports = 16 + 2 * address_bytes;
    (SocketAddr::new(address(16), port(ports)), SocketAddr::new(address(16 + address_bytes), port(ports + 2)))
}
