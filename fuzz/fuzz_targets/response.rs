//! Any bytes as the answer to a client's handshake: nothing panics, and nothing is established but what was offered.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringwire_codec::handshake::{ClientHandshake, Url};
use ringwire_codec::http::Response;

fuzz_target!(|data: &[u8]| {
    let Ok(Some((response, head_bytes))) = Response::parse(data) else { return };
    for short in [head_bytes - 1, head_bytes / 2] {
        assert!(
            matches!(Response::parse(&data[..short]), Ok(None)),
            "the front of a good head is incomplete, not wrong"
        );
    }
    let _ = response.content_length();
    let url = Url::parse("ws://h/").expect("a URL");
    let plain = ClientHandshake { subprotocols: &["chat"], ..ClientHandshake::new(&url, *b"the sample nonce") };
    if let Ok(established) = plain.verify(&response) {
        assert_eq!(response.status(), 101);
        assert!(established.extension.is_none(), "none was offered");
        assert!(established.subprotocol.is_none_or(|chosen| chosen == "chat"));
    }
    let other = ClientHandshake { nonce: *b"the other  nonce", ..plain };
    assert!(other.verify(&response).is_err() || plain.verify(&response).is_err(), "one answer fits one key");
});
