//! Any text as a URL: what is read is written the same, and a handshake made of it is accepted.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringwire_codec::handshake::{ClientHandshake, Policy, Url, accept};
use ringwire_codec::http::Request;

fuzz_target!(|text: &str| {
    let Ok(url) = Url::parse(text) else { return };
    assert_eq!(Url::parse(&url.to_string()).as_ref(), Ok(&url), "a URL is read back as shown");
    assert!(url.port() > 0 && !url.host().is_empty());
    let request = ClientHandshake::new(&url, [0; 16]).request();
    let (parsed, head_bytes) = Request::parse(&request).expect("a request").expect("a whole head");
    assert_eq!((parsed.target(), head_bytes), (url.target(), request.len()));
    accept(&parsed, &Policy::default()).expect("one's own handshake is accepted");
});
