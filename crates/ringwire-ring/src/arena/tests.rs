//! Ranges stay whole, in their order and where they are, and memory is bounded by what is staged.

use super::*;

#[test]
fn interleaved_appends_stay_one_range_each() {
    let mut arena = Arena::new(7);
    let (mut a, mut b) = (Staged::default(), Staged::default());
    for round in 0..200u8 {
        arena.append(&mut a, &[&[b'a', round], &[round; 3]]);
        arena.append(&mut b, &[&[b'b', round]]);
    }
    let want_a: Vec<u8> = (0..200u8).flat_map(|r| [b'a', r, r, r, r]).collect();
    let want_b: Vec<u8> = (0..200u8).flat_map(|r| [b'b', r]).collect();
    assert_eq!(arena.bytes(&a), want_a);
    assert_eq!(arena.bytes(&b), want_b);
}

#[test]
fn a_long_message_gets_a_block_that_goes_with_its_turn() {
    let mut arena = Arena::new(0);
    let mut staged = Staged::default();
    arena.append(&mut staged, &[b"head"]);
    let long = vec![7; 3 * BLOCK_BYTES];
    arena.append(&mut staged, &[&long]);
    assert_eq!(arena.bytes(&staged).len(), 4 + long.len());
    assert_eq!(&arena.bytes(&staged)[..5], b"head\x07");
    arena.reset(1);
    assert!(arena.blocks.iter().all(|block| block.bytes.capacity() == BLOCK_BYTES));
}

#[test]
fn a_header_and_its_payload_are_appended_as_one() {
    let mut arena = Arena::new(0);
    let mut staged = Staged::default();
    arena.append_framed(&mut staged, b"abcdefghijklmnop", 2, b"one");
    arena.append_framed(&mut Staged::default(), &[0; 16], 0, b"between");
    arena.append_framed(&mut staged, b"ABCDEFGHIJKLMNOP", 16, b"two");
    assert_eq!(arena.bytes(&staged), b"aboneABCDEFGHIJKLMNOPtwo");
    assert_eq!(arena.staged_bytes, 2 + 3 + 7 + 16 + 3);
}

#[test]
fn adopted_bytes_go_out_from_where_they_are_and_grow() {
    let mut arena = Arena::new(0);
    let bytes = b"--message".to_vec();
    let place = bytes.as_ptr();
    let mut staged = arena.adopt(bytes, 2);
    assert_eq!((arena.bytes(&staged), arena.staged_bytes), (&b"message"[..], 7));
    assert_eq!(arena.bytes(&staged).as_ptr(), place.wrapping_add(2));
    arena.append(&mut Staged::default(), &[b"other"]);
    arena.append(&mut staged, &[b" and more"]);
    assert_eq!(arena.bytes(&staged), b"message and more");
}

#[test]
fn memory_of_long_ranges_is_kept_for_the_next_but_not_more_than_a_mebibyte() {
    let mut arena = Arena::new(0);
    for capacity in [300_000, SPARE_BYTES_MAX, SPARE_BYTES_MAX + 1, 500_000] {
        let staged = arena.adopt(Vec::with_capacity(capacity), 0);
        assert!(arena.bytes(&staged).is_empty());
    }
    arena.reset(1);
    assert_eq!(arena.memory_bytes(), SPARE_BYTES_MAX);
    let mut long = Staged::default();
    arena.append(&mut long, &[&[1; BLOCK_BYTES + 1]]);
    assert_eq!((arena.memory_bytes(), arena.take_spare().capacity()), (SPARE_BYTES_MAX, 0), "it is in use");
    arena.reset(2);
    assert_eq!(arena.take_spare().capacity(), SPARE_BYTES_MAX);
    assert_eq!(arena.memory_bytes(), 0);
}

#[test]
fn memory_that_no_turn_uses_is_freed_and_turns_that_stage_nothing_do_not_count() {
    let mut arena = Arena::new(0);
    arena.adopt(Vec::with_capacity(300_000), 0);
    arena.reset(1);
    for turn in 2..3 * SPARE_TURNS {
        arena.reset(turn);
    }
    let live = |arena: &mut Arena, turns| {
        for turn in 0..turns {
            arena.append(&mut Staged::default(), &[b"short"]);
            arena.reset(turn);
        }
        arena.memory_bytes() - BLOCK_BYTES
    };
    assert_eq!(live(&mut arena, SPARE_TURNS - 1), 300_000);
    let used = arena.take_spare();
    arena.adopt(used, 0);
    assert_eq!(live(&mut arena, SPARE_TURNS), 300_000, "one of them has used it");
    assert_eq!(live(&mut arena, 1), 0);
}

#[test]
fn no_block_holds_what_a_range_cannot_name() {
    let most = u32::MAX as usize;
    assert!(fits(most - 1, 2 * most, 1) && !fits(most - 1, 2 * most, 2));
    assert!(fits(5, 10, 5) && !fits(5, 10, 6) && !fits(most, most, 1));
}

#[test]
fn a_range_that_grows_piece_by_piece_takes_memory_by_its_length() {
    let mut arena = Arena::new(0);
    let mut staged = Staged::default();
    for _ in 0..80_000 {
        arena.append(&mut staged, &[&[9; 100]]);
    }
    assert_eq!(arena.bytes(&staged).len(), 8_000_000);
    assert!(arena.memory_bytes() <= 3 * 8_000_000, "{} bytes", arena.memory_bytes());
}

#[test]
fn ranges_that_grow_in_turns_take_memory_by_their_length() {
    let mut arena = Arena::new(0);
    let mut ranges = [Staged::default(); 3];
    for _ in 0..20_000 {
        ranges.iter_mut().for_each(|range| arena.append(range, &[&[9; 100]]));
    }
    assert!(ranges.iter().all(|range| arena.bytes(range).len() == 2_000_000));
    assert!(arena.memory_bytes() <= 4 * 6_000_000, "{} bytes", arena.memory_bytes());
}

#[test]
fn what_was_lent_stays_where_it_is() {
    let mut arena = Arena::new(0);
    let (mut long, mut short) = (Staged::default(), Staged::default());
    arena.append(&mut short, &[b"short"]);
    arena.append(&mut long, &[&vec![7; BLOCK_BYTES + 1]]);
    let lent = [short, long].map(|range| (range, arena.bytes(&range).as_ptr()));
    for _ in 0..10 {
        arena.append(&mut short, &[&[1; BLOCK_BYTES / 8]]);
        arena.append(&mut long, &[&[2; BLOCK_BYTES]]);
        arena.append(&mut Staged::default(), &[&[3; 1000]]);
    }
    for (range, place) in lent {
        assert_eq!(arena.bytes(&range).as_ptr(), place);
    }
    assert_eq!(arena.bytes(&lent[0].0), b"short");
    assert!(arena.bytes(&lent[1].0).iter().all(|&byte| byte == 7));
}

#[test]
#[should_panic(expected = "its own turn")]
fn a_range_of_another_turn_is_refused() {
    let mut arena = Arena::new(0);
    let mut staged = Staged::default();
    arena.append(&mut staged, &[b"old"]);
    arena.reset(1);
    arena.bytes(&staged);
}

#[test]
fn what_fills_its_own_block_is_taken_out_with_it_and_the_rest_is_copied() {
    let mut arena = Arena::new(0);
    let bytes = b"--message".to_vec();
    let place = bytes.as_ptr();
    let adopted = arena.adopt(bytes, 2);
    let (taken, start) = arena.take(&adopted, 1, 5);
    assert_eq!((&taken[start..], taken.as_ptr()), (&b"essag"[..], place));
    let mut spacious = Vec::with_capacity(100);
    spacious.extend_from_slice(b"little in much");
    let spacious = arena.adopt(spacious, 0);
    assert_eq!(arena.take(&spacious, 10, 4), (b"much".to_vec(), 0));
    let mut shared = Staged::default();
    arena.append(&mut shared, &[b"beside others"]);
    assert_eq!(arena.take(&shared, 7, 6), (b"others".to_vec(), 0));
    assert_eq!(arena.bytes(&shared), b"beside others", "it is still there");
    assert_eq!(arena.take(&Staged::default(), 0, 0), (Vec::new(), 0));
    arena.reset(1);
    assert_eq!(arena.take_spare().capacity(), 100, "what was taken leaves nothing behind");
}
