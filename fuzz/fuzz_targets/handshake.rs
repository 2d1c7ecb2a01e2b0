//! Any bytes as a request, as a response, as a body in chunks and as a URL: nothing panics, answers are well formed,
//! and what was decided on a whole head was not decided otherwise on its front.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringwire_codec::extension::ExtensionParams;
use ringwire_codec::handshake::{ClientHandshake, OriginPolicy, Policy, Url, accept, wants_upgrade};
use ringwire_codec::http::{BodyError, ChunkedDecoder, Request, Response, decode_percent, query_pairs};

fuzz_target!(|data: &[u8]| {
    request(data);
    response(data);
    chunked(data);
    if let Ok(text) = std::str::from_utf8(data) {
        url(text);
        let _ = decode_percent(text);
        query_pairs(text).for_each(drop);
        ExtensionParams::parse_list(text).for_each(drop);
    }
});

fn request(data: &[u8]) {
    let Ok(Some((request, head_bytes))) = Request::parse(data) else { return };
    for short in [head_bytes - 1, head_bytes / 2] {
        assert!(
            matches!(Request::parse(&data[..short]), Ok(None)),
            "the front of a good head is incomplete, not wrong"
        );
    }
    let _ = (request.decoded_path(), request.keep_alive(), request.expects_continue(), wants_upgrade(&request));
    request.query_params().for_each(drop);
    for origin in [OriginPolicy::Any, OriginPolicy::SameOrigin, OriginPolicy::List(vec!["https://a".into()])] {
        let policy = Policy { subprotocols: vec!["v2".into(), "v1".into()], origin, extension: None };
        match accept(&request, &policy) {
            Ok(accepted) => {
                assert!(wants_upgrade(&request));
                let answer = accepted.response(&[("X-Extra", "1")]);
                let (response, answer_bytes) = Response::parse(&answer).expect("a response").expect("a whole head");
                assert_eq!((response.status(), answer_bytes), (101, answer.len()));
                assert_eq!(response.headers().iter().count(), 4 + usize::from(accepted.subprotocol.is_some()));
            }
            Err(refusal) => assert!(matches!(refusal.status, 400 | 403 | 426)),
        }
    }
}

fn response(data: &[u8]) {
    let Ok(Some((response, _))) = Response::parse(data) else { return };
    let url = Url::parse("ws://h/").expect("a URL");
    let handshake = ClientHandshake { subprotocols: &["chat"], ..ClientHandshake::new(&url, *b"the sample nonce") };
    if let Ok(established) = handshake.verify(&response) {
        assert!(established.extension.is_none(), "none was offered");
        assert!(established.subprotocol.is_none_or(|chosen| chosen == "chat"));
    }
}

fn chunked(data: &[u8]) {
    let whole = body(&[data]);
    assert_eq!(body(&data.chunks(1).collect::<Vec<_>>()), whole);
    let (a, b) = data.split_at(data.len() / 2);
    assert_eq!(body(&[a, b]), whole);
}

/// The body, how many bytes it took, and whether it came to its end.
fn body(pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), BodyError> {
    let (mut decoder, mut body, mut taken) = (ChunkedDecoder::default(), Vec::new(), 0);
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let step = decoder.decode(rest)?;
            body.extend_from_slice(step.data);
            taken += step.consumed;
            rest = &rest[step.consumed..];
            if step.done {
                return Ok((body, taken, true));
            }
        }
    }
    Ok((body, taken, false))
}

fn url(text: &str) {
    let Ok(url) = Url::parse(text) else { return };
    assert_eq!(Url::parse(&url.to_string()).as_ref(), Ok(&url), "a URL is read back as shown");
    let request = ClientHandshake::new(&url, [0; 16]).request();
    let (parsed, _) = Request::parse(&request).expect("a request").expect("a whole head");
    assert_eq!(parsed.target(), url.target());
    accept(&parsed, &Policy::default()).expect("one's own handshake is accepted");
}
