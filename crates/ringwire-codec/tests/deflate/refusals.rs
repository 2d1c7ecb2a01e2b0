//! What no peer may send, and how much of it is looked at.

use ringwire_codec::deflate::{DeflateOptions, InflationLimit, Level};
use ringwire_codec::extension::{Extension, ExtensionError};

use crate::support::{ALL, decode, decode_up_to, encode, json, plain, server, takeover};

const HELLO: [u8; 7] = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];

/// Must be refused in every split into two.
fn assert_refused(compressed: &[u8], why: &str) {
    for at in 0..=compressed.len() {
        let (a, b) = compressed.split_at(at);
        assert_eq!(decode(&mut *plain(), &[a, b]), Err(ExtensionError::Malformed), "{why}, split at {at}");
    }
}

#[test]
fn what_is_no_deflate_is_refused() {
    assert_refused(&[0x07], "a reserved kind of block");
    assert_refused(&[0x00, 0x05, 0x00, 0x00, 0x00, 0x48], "a length that does not fit its inverse");
    assert_refused(&[0xF2, 0x00, 0x11, 0x00, 0x00], "a match with what was never sent");
    assert_refused(&[&HELLO[..], b"Hello"].concat(), "text behind the last block's end");
}

#[test]
fn more_than_sixteen_last_blocks_in_a_message_are_refused() {
    // Empty blocks of fixed codes that say they are the last, and at the end the empty one that does not.
    let blocks = |count: usize| [&[3, 0].repeat(count)[..], &[0]].concat();
    for mut extension in [plain(), takeover()] {
        assert_eq!(decode(&mut *extension, &[&blocks(15)]), Ok(vec![]), "the last one is the end's");
        assert_eq!(decode(&mut *extension, &[&blocks(15)]), Ok(vec![]), "each message counts anew");
        assert_eq!(decode(&mut *extension, &[&blocks(16)]), Err(ExtensionError::Malformed));
    }
    assert_refused(&blocks(40), "all the more");
}

#[test]
fn a_message_that_ends_within_a_block_is_refused() {
    assert_refused(&HELLO[..6], "the empty block begins in the last byte");
    assert_refused(&HELLO[..3], "in the middle of codes");
    assert_refused(&[0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48], "in the middle of bytes");
    let mut compressor = plain();
    let compressed = encode(&mut *compressor, &json(2000)).unwrap();
    for end in 1..compressed.len() {
        assert!(decode(&mut *plain(), &[&compressed[..end]]).is_err(), "cut to {end} of {}", compressed.len());
    }
}

#[test]
fn a_message_that_still_has_its_tail_is_refused() {
    assert_refused(&[&HELLO[..], &[0x00, 0xFF, 0xFF, 0x00]].concat(), "a block of 65,280 bytes that are not there");
}

#[test]
fn a_refused_message_leaves_the_next_connection_alone() {
    let deflate = ringwire_codec::deflate::Deflate::new(ALL);
    let negotiate = || {
        use ringwire_codec::extension::Negotiator;
        deflate.accept(&crate::support::element("permessage-deflate")).unwrap().extension
    };
    assert!(decode(&mut *negotiate(), &[&[0x07]]).is_err());
    assert_eq!(decode(&mut *negotiate(), &[&HELLO]).unwrap(), b"Hello", "with the context that the first one had");
}

fn bomb(len: usize) -> Vec<u8> {
    let mut compressor = server(DeflateOptions { level: Level::new(9).unwrap(), ..ALL }, "permessage-deflate");
    encode(&mut *compressor, &vec![0; len]).unwrap()
}

fn limited(inflation: InflationLimit) -> Box<dyn Extension> {
    server(DeflateOptions { inflation, ..ALL }, "permessage-deflate")
}

#[test]
fn no_more_than_the_message_limit_is_ever_inflated() {
    for len in [1 << 10, 1 << 16, 1 << 20, 64 << 20] {
        let bomb = bomb(len);
        for limit in [len - 1, len / 2, 1, 0] {
            let refused = (limit, Err(ExtensionError::TooBig));
            assert!(decode_up_to(limit, &mut *plain(), &[&bomb]) == refused, "{len} into {limit}");
        }
        assert_eq!(decode_up_to(len, &mut *plain(), &[&bomb]).0, len, "the limit itself is allowed");
    }
}

#[test]
fn a_ratio_that_no_honest_message_has_is_refused_while_inflating() {
    let limit = InflationLimit { ratio_max: 100, floor_bytes: 300_000 };
    let bomb = bomb(64 << 20);
    assert!(bomb.len() > 60_000, "{}", bomb.len());
    let refused = (300_000, Err(ExtensionError::TooBig));
    assert!(decode_up_to(usize::MAX, &mut *limited(limit), &[&bomb]) == refused);
    let pieces: Vec<&[u8]> = bomb.chunks(1).collect();
    assert!(decode_up_to(usize::MAX, &mut *limited(limit), &pieces) == refused, "the same byte by byte");
}

#[test]
fn up_to_the_floor_any_ratio_passes_and_honest_messages_of_any_size_do() {
    let limit = InflationLimit { ratio_max: 30, floor_bytes: 1 << 20 };
    assert_eq!(decode(&mut *limited(limit), &[&bomb(1 << 20)]).map(|bytes| bytes.len()), Ok(1 << 20));
    assert!(decode(&mut *limited(limit), &[&bomb((1 << 20) + 1)]) == Err(ExtensionError::TooBig));
    let honest = json(8 << 20);
    let compressed = encode(&mut *plain(), &honest).unwrap();
    assert!(decode(&mut *limited(limit), &[&compressed]).as_deref() == Ok(&honest[..]));
}

#[test]
fn the_default_limit_lets_four_mebibytes_of_one_byte_pass_and_no_sixteen() {
    let default = DeflateOptions::default().inflation;
    assert!(decode(&mut *limited(default), &[&bomb(4 << 20)]).is_ok());
    assert!(decode(&mut *limited(default), &[&bomb(16 << 20)]) == Err(ExtensionError::TooBig));
}

#[test]
fn a_window_holds_what_was_inflated_and_nothing_else() {
    let mut extension = takeover();
    // 8 bytes, then a match of 3 at distance 9: one byte before all.
    assert!(decode(&mut *extension, &[&[0x00, 0x08, 0x00, 0xF7, 0xFF, 1, 2, 3, 4, 5, 6, 7, 8, 0x00]]).is_ok());
    let at_distance = |symbol: u32| {
        // A fixed block: length 3 (0000001), a distance symbol of 5 bits, one extra bit, the end (0000000), stored.
        let reversed = symbol.reverse_bits() >> 27;
        let block: u32 = 0b010 | 0b100_0000 << 3 | reversed << 10;
        let bytes = block.to_le_bytes();
        [bytes[0], bytes[1], bytes[2], bytes[3]]
    };
    assert!(decode(&mut *extension, &[&at_distance(5)]).is_ok(), "7 or 8 back");
    assert_eq!(decode(&mut *takeover(), &[&at_distance(5)]), Err(ExtensionError::Malformed));
}
