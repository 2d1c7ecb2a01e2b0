//! Any bytes as a request and as a body in chunks: nothing panics, answers are well formed, and what was decided on a
//! whole head was not decided otherwise on its front.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringwire_codec::handshake::{OriginPolicy, Policy, accept, wants_upgrade};
use ringwire_codec::http::{BodyError, ChunkedDecoder, Request, Response, decode_percent, query_pairs};

fuzz_target!(|data: &[u8]| {
    request(data);
    chunked(data);
    if let Ok(text) = std::str::from_utf8(data) {
        percent(text);
        query_pairs(text).for_each(drop);
    }
});

/// What is decoded and encoded again is the same.
fn percent(text: &str) {
    let Some(decoded) = decode_percent(text) else { return };
    let encoded: String = decoded.bytes().map(|byte| format!("%{byte:02x}")).collect();
    assert_eq!(decode_percent(&encoded), Some(decoded));
}

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
