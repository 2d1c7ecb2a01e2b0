//! What is missing of a message is received where it is put together.

use super::*;
use crate::frame::FRAME_HEADER_BYTES_MAX;

/// The events of pieces, where what is missing of a message is received in place wherever it has so many bytes.
pub(super) fn feed(decoder: &mut Decoder, pieces: &[&[u8]], bytes_min: usize) -> Vec<Owned> {
    let mut events = Vec::new();
    for piece in pieces {
        let mut piece = *piece;
        while !piece.is_empty() {
            let mut input = piece.to_vec();
            let mut tail = [0; FRAME_HEADER_BYTES_MAX];
            match decoder.make_room(bytes_min) {
                Some(Room { mut bytes, most }) => {
                    let held = decoder.assembly_bytes();
                    assert!(held >= bytes.capacity(), "what is lent counts");
                    let added = most.min(piece.len());
                    assert!(bytes.capacity() - bytes.len() >= most);
                    bytes.extend_from_slice(&piece[..added]);
                    piece = &piece[added..];
                    let tail_bytes = decoder.fill(bytes, added, &mut tail);
                    assert!(decoder.is_filled());
                    input = tail[..tail_bytes].to_vec();
                }
                None => piece = &[],
            }
            if !decode_all(decoder, None, &mut input, &mut events) {
                return events;
            }
        }
    }
    events
}

#[test]
fn what_is_missing_of_a_message_is_received_where_it_is_put_together() {
    let long: Vec<u8> = (0..100_000).map(|at| at as u8).collect();
    let stream = [frame(Binary, true, &long), frame(Ping, true, b"p"), frame(Binary, true, &long)].concat();
    let pieces: Vec<&[u8]> = stream.chunks(30_000).collect();
    let want = [Owned::Binary(long.clone()), Owned::Ping(b"p".to_vec()), Owned::Binary(long.clone())];
    let new = || Decoder::new(Role::Server, DecoderLimits::default());
    assert!(feed(&mut new(), &pieces, 1) == want);

    let mut decoder = new();
    assert!(decoder.make_room(1).is_none(), "no message has begun");
    super::feed(&mut decoder, &[&stream[..10_000]]);
    let missing = FRAME_HEADER_BYTES_MAX + long.len() - 10_000;
    assert_eq!(decoder.header_bytes(), None);
    assert!(decoder.make_room(long.len() + 1).is_none());
    let Room { mut bytes, most } = decoder.make_room(long.len()).expect("the message has so many bytes");
    assert_eq!(most, missing + FRAME_HEADER_BYTES_MAX, "with a header behind it");
    let place = bytes.as_ptr();
    bytes.extend_from_slice(&stream[10_000..][..missing]);
    assert_eq!(decoder.fill(bytes, missing, &mut [0; FRAME_HEADER_BYTES_MAX]), 0);
    assert!(decoder.make_room(1).is_none(), "what came is to be looked at first");
    let step = decoder.decode(&mut []).expect("a message");
    assert!(matches!(step.event, Some(Event::Message(Message::Binary(bytes))) if bytes == long));
    let (bytes, front) = decoder.take_message().expect("it is with the decoder");
    assert!(bytes.as_ptr() == place && bytes[front..] == long);
}

#[test]
fn text_that_was_changed_while_it_was_lent_is_not_taken_for_text() {
    let stream = frame(TextOp, true, &[b'a'; 300]);
    let mut decoder = server();
    super::feed(&mut decoder, &[&stream[..200]]);
    let Room { mut bytes, .. } = decoder.make_room(1).expect("a part is missing");
    bytes[20] = 0xFF;
    bytes.extend_from_slice(&stream[200..]);
    decoder.fill(bytes, stream.len() - 200, &mut [0; FRAME_HEADER_BYTES_MAX]);
    assert_eq!(decoder.decode(&mut []).unwrap_err(), Violation::TextNotUtf8);
}

#[test]
fn fragments_are_received_in_place_only_if_each_is_long() {
    let mut decoder = server();
    super::feed(&mut decoder, &[&frame(Binary, false, &[1; 200])]);
    let fragment = frame(Continuation, false, &[2; 50]);
    super::feed(&mut decoder, &[&fragment[..10]]);
    assert!(decoder.make_room(100).is_none());
    super::feed(&mut decoder, &[&fragment[10..], &frame(Continuation, true, &[2; 50])[..10]]);
    assert!(decoder.make_room(100).is_some(), "the last one ends a long message");
}

#[test]
fn memory_to_receive_in_is_bounded_whatever_a_header_announces() {
    let mut decoder = Decoder::new(Role::Server, DecoderLimits::default());
    let header = FrameHeader { fin: true, rsv1: false, opcode: Binary, mask: Some(KEY), payload_bytes: 10 << 20 };
    super::feed(&mut decoder, &[&header.encode()]);
    let Room { bytes, most } = decoder.make_room(1000).expect("all is missing");
    assert_eq!((most, decoder.fill(bytes, 0, &mut [0; FRAME_HEADER_BYTES_MAX])), (4000 + FRAME_HEADER_BYTES_MAX, 0));
    let Room { bytes, most } = decoder.make_room(1 << 20).expect("all is missing");
    assert!((256 << 10..257 << 10).contains(&most), "{most} bytes");
    assert!(bytes.capacity() < 257 << 10, "{} bytes", bytes.capacity());
    // Nothing came, and it is taken back.
    assert_eq!(decoder.fill(bytes, 0, &mut [0; FRAME_HEADER_BYTES_MAX]), 0);
    assert!(!decoder.is_filled());
    assert!(decoder.make_room(10 << 20).is_some());
}
