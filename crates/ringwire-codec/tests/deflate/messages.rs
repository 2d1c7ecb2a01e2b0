//! What goes over the wire, and what comes of it.

use ringwire_codec::deflate::{Compressor, DeflateOptions, Level, MemoryLevel, Parameters, WindowBits};
use ringwire_codec::{Decoder, DecoderLimits, Event, FrameHeader, MaskKey, Opcode, Role, encode_message};

use crate::reference::inflate;
use crate::support::{ALL, bits, decode, encode, json, noise, pair, plain, server, takeover};

const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
const HELLO: [u8; 7] = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];

/// A message must give the same in every split into two pieces, byte by byte, and with an empty piece at its end.
fn assert_reads(compressed: &[u8], want: &[u8]) {
    for at in 0..=compressed.len() {
        let (a, b) = compressed.split_at(at);
        assert_eq!(decode(&mut *plain(), &[a, b]).as_deref(), Ok(want), "{compressed:x?} split at {at}");
    }
    let mut bytes: Vec<&[u8]> = compressed.chunks(1).collect();
    bytes.push(&[]);
    assert_eq!(decode(&mut *plain(), &bytes).as_deref(), Ok(want));
}

/// RFC 7692 §7.2.3.1 and §7.2.3.3 to §7.2.3.6.
#[test]
fn the_rfcs_examples_are_read() {
    assert_reads(&HELLO, b"Hello");
    assert_reads(&[0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00], b"Hello");
    assert_reads(&[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00], b"Hello");
    assert_reads(&[0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00], b"Hello");
    assert_reads(&[0x00], b"");
}

/// RFC 7692 §7.2.3.2.
#[test]
fn with_takeover_a_message_may_refer_to_those_before() {
    let mut extension = takeover();
    let second = [0xF2, 0x00, 0x11, 0x00, 0x00];
    assert_eq!(decode(&mut *extension, &[&HELLO]).unwrap(), b"Hello");
    assert_eq!(decode(&mut *extension, &[&second[..2], &second[2..]]).unwrap(), b"Hello");
    let mut alone = plain();
    assert_eq!(decode(&mut *alone, &[&HELLO]).unwrap(), b"Hello");
    assert!(decode(&mut *alone, &[&second]).is_err(), "without takeover there is nothing to refer to");
}

#[test]
fn a_message_may_go_on_after_a_last_block_and_refer_across_it() {
    // "Hello" in a last block, then "Hello" again in one that refers to it, then once more across messages.
    let final_hello = [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
    let again = [0xF2, 0x00, 0x11, 0x00, 0x00];
    let twice = [&final_hello[..], &again].concat();
    assert_reads(&twice, b"HelloHello");
    let mut extension = takeover();
    assert_eq!(decode(&mut *extension, &[&[&final_hello[..], &[0]].concat()]).unwrap(), b"Hello");
    assert_eq!(decode(&mut *extension, &[&again]).unwrap(), b"Hello", "the window outlives a last block");
}

#[test]
fn a_last_block_may_also_end_the_message_itself() {
    assert_reads(&HELLO_FINAL, b"Hello");
}

const HELLO_FINAL: [u8; 7] = [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];

#[test]
fn what_is_sent_has_no_tail_and_is_read_by_another_decoder() {
    for message in [&b"x"[..], &json(100), &json(5000), &json(200_000), &[7; 100_000], &noise(70_000)] {
        let mut alone = plain();
        if let Some(compressed) = encode(&mut *alone, message) {
            assert!(compressed.len() < message.len(), "what does not get shorter goes as it is");
            assert_eq!(inflate(&[&compressed[..], &TAIL].concat(), b"").unwrap().bytes, message);
        }
        let mut with_takeover = takeover();
        let mut history = Vec::new();
        for _ in 0..3 {
            let compressed = encode(&mut *with_takeover, message).expect("with takeover, all is compressed");
            assert_eq!(inflate(&[&compressed[..], &TAIL].concat(), &history).unwrap().bytes, message);
            history.extend_from_slice(message);
        }
    }
    assert!(encode(&mut *plain(), &noise(70_000)).is_none());
    assert!(encode(&mut *plain(), &json(5000)).is_some());
}

#[test]
fn empty_and_short_messages_go_as_they_are() {
    let options = DeflateOptions { threshold_bytes: 600, takeover_threshold_bytes: 50, ..ALL };
    let mut alone = server(options, "permessage-deflate");
    assert!(encode(&mut *alone, &json(599)).is_none());
    assert!(encode(&mut *alone, &json(600)).is_some());
    let options = DeflateOptions { server_no_context_takeover: false, ..options };
    let mut with_takeover = server(options, "permessage-deflate");
    assert!(encode(&mut *with_takeover, &json(49)).is_none());
    assert!(encode(&mut *with_takeover, &json(50)).is_some());
    assert!(encode(&mut *plain(), b"").is_none());
    assert!(encode(&mut *takeover(), b"").is_none());
}

/// The library makes 512 bytes of a window of 256, and must not use them.
#[test]
fn no_match_reaches_beyond_the_window_agreed_on() {
    // A period just above each window and half of it would tempt a compressor with a larger one.
    for window in 8..=15 {
        let bytes = 1usize << window;
        for period in [bytes / 2, bytes - 262.min(bytes / 2), bytes - 6, bytes, bytes + 1, bytes + 20] {
            let message = noise(period).repeat((5 * bytes + 2000) / period);
            for level in [1, 2, 4, 6, 9] {
                for no_context_takeover in [true, false] {
                    let options = DeflateOptions {
                        server_no_context_takeover: no_context_takeover,
                        level: Level::new(level).unwrap(),
                        ..ALL
                    };
                    let offer = format!("permessage-deflate; server_max_window_bits={window}");
                    let mut extension = server(options, &offer);
                    let pieces = [&message[..]].into_iter().chain(message.chunks(bytes / 3));
                    let mut history = Vec::new();
                    for piece in pieces.take(8) {
                        if let Some(compressed) = encode(&mut *extension, piece) {
                            let before = if no_context_takeover { &[][..] } else { &history };
                            let inflated = inflate(&[&compressed[..], &TAIL].concat(), before).unwrap();
                            assert!(inflated.bytes == piece);
                            assert!(inflated.farthest <= bytes, "{} in 2^{window}", inflated.farthest);
                        }
                        history.extend_from_slice(piece);
                    }
                }
            }
        }
    }
}

#[test]
fn a_peer_with_a_window_of_exactly_the_size_can_read_all() {
    for window in 8..=15 {
        let agreed = Parameters {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: bits(window),
            client_max_window_bits: bits(window),
        };
        let (mut server, mut client) = pair(agreed, ALL);
        let text = json(100_000);
        for message in text.chunks(1777).chain([&text[..]]) {
            let compressed = encode(&mut *server, message).unwrap();
            assert!(decode(&mut *client, &[&compressed]).as_deref() == Ok(message), "2^{window}");
            let compressed = encode(&mut *client, message).unwrap();
            assert!(decode(&mut *server, &[&compressed]).as_deref() == Ok(message), "2^{window}");
        }
    }
}

#[test]
fn a_compressor_for_many_receivers_needs_no_connection() {
    let mut compressor = Compressor::new(Level::SHARED, MemoryLevel::default(), WindowBits::MAX);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    assert!(compressor.compress_alone(&json(3000), &mut first));
    assert!(!compressor.compress_alone(&noise(3000), &mut second) && second.is_empty());
    assert!(compressor.compress_alone(&json(3000), &mut second));
    assert_eq!(first, second, "what was before does not matter");
    assert_eq!(decode(&mut *takeover(), &[&first]).unwrap(), json(3000));
}

/// RFC 7692 §6, §7.2.1: a compressed message in fragments, with a ping between, in both roles.
#[test]
fn fragments_of_a_compressed_message_are_joined_and_control_frames_stay_as_they_are() {
    let key = Some(MaskKey::new([1, 2, 3, 4]));
    let mut stream = Vec::new();
    for (opcode, fin, rsv1, payload) in [
        (Opcode::Text, false, true, &HELLO[..3]),
        (Opcode::Ping, true, false, b"ping"),
        (Opcode::Continuation, true, false, &HELLO[3..]),
    ] {
        let header = FrameHeader { fin, rsv1, opcode, mask: None, payload_bytes: payload.len() as u64 };
        stream.extend_from_slice(&header.encode());
        stream.extend_from_slice(payload);
    }
    let mut decoder = Decoder::new(Role::Client, DecoderLimits::default());
    assert_eq!(events(&mut decoder, &mut *takeover(), stream), ["Ping 4", "Text Hello"]);

    let (mut out, mut scratch) = (Vec::new(), Vec::new());
    let text = String::from_utf8(json(900)).unwrap();
    encode_message(&mut out, Opcode::Text, text.as_bytes(), key, &mut *plain(), &mut scratch);
    encode_message(&mut out, Opcode::Text, b"short", key, &mut *plain(), &mut scratch);
    assert_eq!(out[0], 0xC1, "compressed: FIN, RSV1, text");
    let mut decoder = Decoder::new(Role::Server, DecoderLimits::default());
    assert_eq!(events(&mut decoder, &mut *plain(), out), [format!("Text {text}"), "Text short".into()]);
}

fn events(
    decoder: &mut Decoder,
    extension: &mut (dyn ringwire_codec::extension::Extension + 'static),
    mut stream: Vec<u8>,
) -> Vec<String> {
    let (mut rest, mut events) = (&mut stream[..], Vec::new());
    while !rest.is_empty() {
        let step = decoder.decode_with(rest, Some(extension)).unwrap();
        events.extend(step.event.map(|event| match event {
            Event::Message(message) => format!("Text {}", std::str::from_utf8(message.bytes()).unwrap()),
            Event::Ping(payload) => format!("Ping {}", payload.len()),
            other => panic!("{other:?}"),
        }));
        let consumed = step.consumed;
        rest = &mut rest[consumed..];
    }
    events
}
