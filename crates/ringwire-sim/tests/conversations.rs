//! Splits change nothing: the same bytes, in other pieces and over another network, bring the same answers.
//!
//! The conversations are the seeds of the fuzz target `connection`, which goes on from here.

use ringwire_codec::deflate::{Deflate, DeflateOptions};
use ringwire_codec::extension::{ExtensionParams, Negotiator};
use ringwire_codec::handshake::{ClientHandshake, Url};
use ringwire_codec::{CloseCode, FrameHeader, MaskKey, Opcode, encode_close, encode_frame, unmask};
use ringwire_sim::{MESSAGE_BYTES_MAX, Said, converse};

const SEEDS: u64 = 100;

fn handshake(target: &str) -> Vec<u8> {
    let url = Url::parse(&format!("ws://host{target}")).expect("a URL");
    ClientHandshake { subprotocols: &["a", "b"], ..ClientHandshake::new(&url, *b"the sample nonce") }.request()
}

/// A masked frame.
fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let key = MaskKey::new([7, 1, 255, 0]);
    let header = FrameHeader { fin, rsv1: false, opcode, mask: Some(key), payload_bytes: payload.len() as u64 };
    let mut bytes = header.encode().to_vec();
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    unmask(&mut bytes[start..], key);
    bytes
}

/// A handshake and these frames behind it.
fn session(frames: &[Vec<u8>]) -> Vec<u8> {
    [handshake("/?say=x%0D%0AY"), frames.concat()].concat()
}

/// What the server says to these bytes, after it was asked in many ways.
fn answers(bytes: &[u8]) -> Vec<Said> {
    let whole = converse(0, &[bytes]);
    let mut longest = whole.clone();
    for seed in 0..SEEDS {
        let mut rng = fastrand::Rng::with_seed(seed);
        let piece_bytes = if seed == 0 { 1 } else { rng.usize(1..bytes.len().max(2)) };
        let pieces: Vec<&[u8]> = bytes.chunks(piece_bytes).collect();
        let split = converse(seed, &pieces);
        split.assert_agrees(&whole);
        split.assert_agrees(&longest);
        if split.said.len() > longest.said.len() {
            longest = split;
        }
    }
    longest.said
}

fn statuses(said: &[Said]) -> Vec<u16> {
    let status = |said: &Said| if let Said::Response { status, .. } = said { Some(*status) } else { None };
    said.iter().filter_map(status).collect()
}

#[test]
fn splits_change_nothing_about_a_session() {
    let said = answers(&session(&[
        frame(true, Opcode::Text, "Grüße".as_bytes()),
        frame(false, Opcode::Text, b"caf\xC3"),
        frame(true, Opcode::Ping, b"between"),
        frame(true, Opcode::Continuation, b"\xA9"),
        frame(true, Opcode::Pong, b"unasked"),
        frame(true, Opcode::Text, b"!p"),
        frame(true, Opcode::Binary, &vec![9; MESSAGE_BYTES_MAX]),
        frame(true, Opcode::Text, b"!b many"),
        frame(true, Opcode::Close, &encode_close(Some(CloseCode::NORMAL), "enough")),
    ]));
    assert_eq!(statuses(&said), [101]);
    let mut want = vec![
        Said::Text("hello".to_owned()),
        Said::Text("Grüße".to_owned()),
        Said::Pong(b"between".to_vec()),
        Said::Text("café".to_owned()),
        Said::Binary(b"unasked".to_vec()),
        Said::Ping(b"!p".to_vec()),
        Said::Binary(vec![9; MESSAGE_BYTES_MAX]),
    ];
    want.extend(std::iter::repeat_n(Said::Text("!b many".to_owned()), 20));
    want.push(Said::Close(Some(1000), String::new()));
    assert_eq!(said[1..], want);
}

/// A handshake that offers permessage-deflate, and these messages behind it, compressed as the answer says.
fn compressed_session(messages: &[&[u8]]) -> Vec<u8> {
    let client = Deflate::new(DeflateOptions {
        client_no_context_takeover: false,
        server_no_context_takeover: false,
        ..DeflateOptions::DEFAULT
    });
    let url = Url::parse("ws://host/").expect("a URL");
    let handshake = ClientHandshake { extension: Some(&client), ..ClientHandshake::new(&url, *b"the sample nonce") };
    let mut bytes = handshake.request();
    let Said::Response { headers, .. } = &converse(0, &[&bytes]).said[0] else { panic!("an answer") };
    let (_, answer) = headers.iter().find(|(name, _)| name == "Sec-WebSocket-Extensions").expect("an agreement");
    let answer = ExtensionParams::parse_list(answer).next().expect("an agreement");
    let mut extension = client.confirm(&answer).expect("it answers the offer");
    for message in messages {
        let mut packed = Vec::new();
        assert!(extension.encode(message, &mut packed), "they are worth compressing");
        let mask = Some(MaskKey::new([0; 4]));
        let header =
            FrameHeader { fin: true, rsv1: true, opcode: Opcode::Text, mask, payload_bytes: packed.len() as u64 };
        bytes.extend_from_slice(&header.encode());
        bytes.extend_from_slice(&packed);
    }
    bytes
}

#[test]
fn splits_change_nothing_about_compressed_messages() {
    let message = br#"{"price":"100.25","size":3,"side":"buy"}"#.repeat(5);
    let bytes = compressed_session(&[&message, &message, &message]);
    assert!(bytes.len() < 500, "the later ones refer to the first: {} bytes", bytes.len());
    let said = answers(&bytes);
    let text = Said::Text(String::from_utf8(message).expect("text"));
    assert_eq!(said[1..], [Said::Text("hello".to_owned()), text.clone(), text.clone(), text]);
}

#[test]
fn splits_change_nothing_about_a_bomb() {
    // Of the first, more would come of it than its ratio allows; of the second, more than any message may have.
    for message in [vec![b' '; MESSAGE_BYTES_MAX], vec![b' '; 100 * MESSAGE_BYTES_MAX]] {
        let said = answers(&compressed_session(&[&message]));
        assert!(matches!(said.last(), Some(Said::Close(Some(1009), _))), "{said:?}");
    }
}

#[test]
fn splits_change_nothing_about_a_violation() {
    let cases: [(Vec<u8>, u16); 6] = [
        (frame(true, Opcode::Text, b"\xFF"), 1007),
        (frame(true, Opcode::Continuation, b"x"), 1002),
        (frame(true, Opcode::Binary, &vec![0; MESSAGE_BYTES_MAX + 1]), 1009),
        (b"\x81\x02hi".to_vec(), 1002),
        (b"\x91\x80\0\0\0\0".to_vec(), 1002),
        (frame(true, Opcode::Close, &[0x03]), 1002),
    ];
    for (wrong, code) in cases {
        let said = answers(&session(&[frame(true, Opcode::Text, b"fine"), wrong, vec![b'?'; 300]]));
        assert!(matches!(said.last(), Some(Said::Close(Some(told), _)) if *told == code), "{code}: {said:?}");
        assert_eq!(said[2], Said::Text("fine".to_owned()));
    }
}

#[test]
fn splits_change_nothing_about_a_close_of_the_servers_own() {
    let mut frames = vec![frame(true, Opcode::Text, b"!c"), frame(true, Opcode::Text, b"too late")];
    let mut close = Vec::new();
    encode_frame(&mut close, Opcode::Close, &encode_close(Some(CloseCode::new(4000)), ""), Some(MaskKey::new([1; 4])));
    frames.push(close);
    let said = answers(&session(&frames));
    assert_eq!(said[1..], [Said::Text("hello".to_owned()), Said::Close(Some(4000), "as you wish".to_owned())]);
}

#[test]
fn splits_change_nothing_about_requests() {
    let requests = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n\r\nHEAD /b HTTP/1.1\nHost: h\n\n\
        POST /c HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello\
        POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nhel\r\n2\r\nlo\r\n0\r\nA: b\r\n\r\n\
        GET /d HTTP/1.0\r\n\r\nGET /never HTTP/1.1\r\n";
    let said = answers(requests);
    assert_eq!(statuses(&said), [200; 5]);
    let Said::Response { body, .. } = &said[3] else { panic!("an answer") };
    assert_eq!(body.escape_ascii().to_string(), "POST /c hello");
}

#[test]
fn splits_change_nothing_about_a_proxy_header() {
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\xCB\0\x71\x07\xCB\0\x71\x08\x01\xBB\x1F\x90";
    let request = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n";
    let said = answers(&[&header[..], request].concat());
    let bodies: Vec<_> = said
        .iter()
        .filter_map(|said| if let Said::Response { body, .. } = said { Some(&body[..]) } else { None })
        .collect();
    assert_eq!(bodies, [&b"203.0.113.7:443 GET /a "[..], b"192.0.2.1:0 GET /b "]);
    // A front of the signature that is none is of the request: empty lines.
    assert_eq!(statuses(&answers(&[&header[..4], request].concat())), [200, 200]);
    assert_eq!(statuses(&answers(&[&header[..12], &b"\x31"[..], request].concat())), [400]);
}

#[test]
fn splits_change_nothing_about_a_refusal() {
    let long = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(3000));
    let body = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n";
    let chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n";
    let version = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    for (request, status) in [(long.as_str(), 431), (body, 413), (chunked, 400), (version, 426), ("?", 400)] {
        assert_eq!(statuses(&answers(request.as_bytes())), [status]);
    }
    assert_eq!(statuses(&answers(&handshake("/refused"))), [403]);
}
