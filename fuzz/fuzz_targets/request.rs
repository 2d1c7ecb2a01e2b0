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
    match whole {
        Ok((body, taken, true)) => assert_eq!(reference(data), Some((body, taken))),
        Err(BodyError::TooMuchSkipped) => {}
        Ok((_, _, false)) | Err(_) => assert_eq!(reference(data), None),
    }
}

/// A body in chunks and its length, read from a whole input as RFC 9112 §7.1 has it.
fn reference(data: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let line = line(data, &mut at)?;
        let digits = line.split(|byte| b"; \t".contains(byte)).next()?;
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let bytes = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if bytes == 0 {
            break;
        }
        let end = at.checked_add(usize::try_from(bytes).ok()?)?;
        body.extend_from_slice(data.get(at..end)?);
        at = end;
        if data.get(at..at + 2)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
    while !line(data, &mut at)?.is_empty() {}
    Some((body, at))
}

/// The line that begins at `at`, which moves behind its CRLF; a CR or LF by itself ends none.
fn line<'a>(data: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let rest = &data[*at..];
    let end = rest.iter().position(|byte| b"\r\n".contains(byte))?;
    *at += end + 2;
    rest[end..].starts_with(b"\r\n").then_some(&rest[..end])
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
