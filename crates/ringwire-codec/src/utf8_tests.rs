//! UTF-8 against the standard library: every backend, every interesting sequence, every split.

use super::*;
use crate::simd::utf8_backends;
use proptest::prelude::*;

fn oracle(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
}

/// Bytes at every edge of the tables.
const EDGES: [u8; 28] = [
    0x00, 0x41, 0x7F, 0x80, 0x81, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xC3, 0xDF, 0xE0, 0xE1, 0xEC, 0xED,
    0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF8, 0xFF,
];

/// All sequences of up to three edge bytes, and all of four that start with a byte that needs them.
fn sequences() -> impl Iterator<Item = Vec<u8>> {
    let tails = |n: usize| {
        (0..EDGES.len().pow(n as u32)).map(move |mut code| {
            let byte = |_| {
                let byte = EDGES[code % EDGES.len()];
                code /= EDGES.len();
                byte
            };
            (0..n).map(byte).collect::<Vec<u8>>()
        })
    };
    let fours = tails(3).flat_map(|tail| [0xE0, 0xED, 0xF0, 0xF4].map(|lead| [&[lead], &tail[..]].concat()));
    tails(1).chain(tails(2)).chain(tails(3)).chain(fours)
}

#[test]
fn validate_agrees_with_the_oracle_on_every_edge_sequence() {
    for sequence in sequences() {
        assert_eq!(validate(&sequence), oracle(&sequence), "{sequence:02x?}");
    }
}

#[test]
fn every_backend_agrees_with_the_oracle_wherever_a_sequence_stands() {
    // At the start, across each block's end, at the end; among ASCII and among two-byte characters.
    let positions = [0, 1, 29, 30, 31, 32, 33, 61, 62, 63, 64, 93, 94, 95, 96, 97];
    for backend in utf8_backends() {
        for (n, sequence) in sequences().enumerate() {
            let position = positions[n % positions.len()];
            for (fill, total) in [("a", 100), ("ж", 101 + n % 7), ("a", position + sequence.len())] {
                let mut input = fill.repeat(position / fill.len()).into_bytes();
                input.extend_from_slice(&sequence);
                while input.len() < total {
                    input.extend_from_slice(fill.as_bytes());
                }
                if input.len() >= backend.input_bytes_min {
                    assert_eq!((backend.is_valid)(&input), oracle(&input), "{}: {input:02x?}", backend.name);
                }
            }
        }
    }
}

#[test]
fn one_wrong_byte_is_found_at_every_position_and_length() {
    for backend in utf8_backends() {
        for len in backend.input_bytes_min..200 {
            let text = "aжéあ😀".repeat(20).into_bytes();
            assert_eq!((backend.is_valid)(&text[..len]), oracle(&text[..len]), "{}: {len} bytes", backend.name);
            for wrong in 0..len {
                for byte in [0xFF, 0x80, 0xC3, 0x41] {
                    let mut input = text[..len].to_vec();
                    input[wrong] = byte;
                    assert_eq!((backend.is_valid)(&input), oracle(&input), "{}: {wrong} of {len}", backend.name);
                }
            }
        }
    }
}

#[test]
fn short_ascii_is_told_from_everything_else_at_every_length() {
    for len in 0..=SHORT_BYTES_MAX {
        let mut input = vec![b'z'; len];
        assert!(is_ascii_short(&input), "{len} bytes of ASCII");
        for i in 0..len {
            input[i] = 0x80;
            assert!(!is_ascii_short(&input), "byte {i} of {len}");
            input[i] = 0x7F;
        }
    }
}

/// Where a stream first refuses, or the answer of its end, must not depend on the split.
fn check_pieces(pieces: &[&[u8]]) {
    let whole = pieces.concat();
    let mut stream = Utf8Stream::new();
    let mut seen = 0;
    for piece in pieces {
        seen += piece.len();
        let possible = match std::str::from_utf8(&whole[..seen]) {
            Ok(_) => true,
            Err(error) => error.error_len().is_none(),
        };
        let pushed = stream.push(piece);
        assert_eq!(pushed.is_ok(), possible, "after {seen} bytes of {whole:02x?}");
        if pushed.is_err() {
            return;
        }
    }
    assert_eq!(stream.finish().is_ok(), oracle(&whole), "at the end of {whole:02x?}");
}

#[test]
fn a_stream_gives_the_oracles_answer_at_every_split() {
    for sequence in sequences() {
        for split in 0..=sequence.len() {
            let (a, b) = sequence.split_at(split);
            check_pieces(&[a, b]);
        }
        check_pieces(&sequence.chunks(1).collect::<Vec<_>>());
    }
}

#[test]
fn a_stream_refuses_a_character_that_nothing_can_complete() {
    for pieces in [[&[0xF4][..], &[0x90]], [&[0xED], &[0xA0]], [&[0xE0], &[0x9F]], [&[0xF0], &[0x8F]]] {
        let mut stream = Utf8Stream::new();
        stream.push(pieces[0]).expect("a lead byte may come alone");
        assert_eq!(stream.push(pieces[1]), Err(InvalidUtf8), "{pieces:02x?}");
    }
}

#[test]
fn a_stream_carries_four_bytes_of_state() {
    assert_eq!(size_of::<Utf8Stream>(), 4);
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces(text in "\\PC{0,200}", noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let mut bytes = text.into_bytes();
        for (at, byte) in noise {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        prop_assert_eq!(validate(&bytes), oracle(&bytes));
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
        check_pieces(&pieces);
    }
}
