//! UTF-8 validation with AVX2, 32 bytes at a time, after Keiser and Lemire, "Validating UTF-8 In Less Than One
//! Instruction Per Byte" (2020).
//!
//! Whether a byte is wrong depends on itself and the three before it. Three table lookups, on both halves of the
//! byte before and on the upper half of the byte, give the sets of errors that each alone allows; an error is one
//! that all three name. Where a third or fourth byte of a sequence must stand is found by comparing the bytes two
//! and three before. A block reads its predecessors from memory rather than from registers, so any block can be
//! checked by itself and the last one may overlap the one before.

use std::arch::x86_64::*;

/// The last block overlaps the first by at most its width less the three bytes before it.
pub(super) const INPUT_BYTES_MIN: usize = BLOCK + 3;

const BLOCK: usize = 32;
/// Two blocks and the three bytes before them.
const STEP_WINDOW: usize = 2 * BLOCK + 3;

// What two bytes in a row can have wrong. A bit is set in an entry of a table if the entry's half byte allows it.
const TOO_SHORT: u8 = 1 << 0; // a lead, then a lead or ASCII
const TOO_LONG: u8 = 1 << 1; // ASCII, then a continuation
const OVERLONG_3: u8 = 1 << 2; // E0, then 80..=9F
const TOO_LARGE: u8 = 1 << 3; // F4, then 90..=BF; F5..=FF
const SURROGATE: u8 = 1 << 4; // ED, then A0..=BF
const OVERLONG_2: u8 = 1 << 5; // C0 or C1
const TOO_LARGE_1000: u8 = 1 << 6; // F5..=FF, then 80..=8F
const OVERLONG_4: u8 = 1 << 6; // F0, then 80..=8F
const TWO_CONTINUATIONS: u8 = 1 << 7; // right only where a third or fourth byte must stand
const CARRY: u8 = TOO_SHORT | TOO_LONG | TWO_CONTINUATIONS;

const BEFORE_HIGH: [u8; 16] = [
    TOO_LONG,
    TOO_LONG,
    TOO_LONG,
    TOO_LONG,
    TOO_LONG,
    TOO_LONG,
    TOO_LONG,
    TOO_LONG,
    TWO_CONTINUATIONS,
    TWO_CONTINUATIONS,
    TWO_CONTINUATIONS,
    TWO_CONTINUATIONS,
    TOO_SHORT | OVERLONG_2,
    TOO_SHORT,
    TOO_SHORT | OVERLONG_3 | SURROGATE,
    TOO_SHORT | TOO_LARGE | TOO_LARGE_1000 | OVERLONG_4,
];

const LARGE: u8 = CARRY | TOO_LARGE | TOO_LARGE_1000;

const BEFORE_LOW: [u8; 16] = [
    CARRY | OVERLONG_3 | OVERLONG_2 | OVERLONG_4,
    CARRY | OVERLONG_2,
    CARRY,
    CARRY,
    CARRY | TOO_LARGE,
    LARGE,
    LARGE,
    LARGE,
    LARGE,
    LARGE,
    LARGE,
    LARGE,
    LARGE,
    LARGE | SURROGATE,
    LARGE,
    LARGE,
];

const CONTINUATION: u8 = TOO_LONG | OVERLONG_2 | TWO_CONTINUATIONS;

const HIGH: [u8; 16] = [
    TOO_SHORT,
    TOO_SHORT,
    TOO_SHORT,
    TOO_SHORT,
    TOO_SHORT,
    TOO_SHORT,
    TOO_SHORT,
    TOO_SHORT,
    CONTINUATION | OVERLONG_3 | TOO_LARGE_1000 | OVERLONG_4,
    CONTINUATION | OVERLONG_3 | TOO_LARGE,
    CONTINUATION | SURROGATE | TOO_LARGE,
    CONTINUATION | SURROGATE | TOO_LARGE,
    TOO_SHORT,
    TOO_SHORT,
    TOO_SHORT,
    TOO_SHORT,
];

/// Whether `bytes`, at least [`INPUT_BYTES_MIN`] of them, are UTF-8.
#[target_feature(enable = "avx2")]
pub(super) fn is_valid(bytes: &[u8]) -> bool {
    let (Some(first), Some(last)) = (bytes.first_chunk::<BLOCK>(), bytes.last_chunk::<INPUT_BYTES_MIN>()) else {
        unreachable!("the caller passes at least {INPUT_BYTES_MIN} bytes");
    };
    let mut found = first_block_errors(first);

    let mut start = BLOCK - 3;
    while let Some(window) = bytes[start..].first_chunk::<STEP_WINDOW>() {
        let (low, high) = halves(window);
        if !(is_ascii(low) && is_ascii(high)) {
            found = _mm256_or_si256(found, _mm256_or_si256(block_errors(low), block_errors(high)));
        }
        start += 2 * BLOCK;
    }
    if let Some(window) = bytes[start..].first_chunk::<INPUT_BYTES_MIN>() {
        found = _mm256_or_si256(found, block_errors(window));
    }
    found = _mm256_or_si256(found, block_errors(last));
    _mm256_testz_si256(found, found) == 1 && !ends_within_sequence(bytes)
}

/// The windows of the two blocks of a step.
#[inline(always)]
fn halves(window: &[u8; STEP_WINDOW]) -> (&[u8; INPUT_BYTES_MIN], &[u8; INPUT_BYTES_MIN]) {
    let (Some(low), Some(high)) = (window.first_chunk(), window.last_chunk()) else {
        unreachable!("a step holds two blocks");
    };
    (low, high)
}

/// Whether a block and the three bytes before it are ASCII, so that nothing in it can be wrong.
#[inline]
#[target_feature(enable = "avx2")]
fn is_ascii(window: &[u8; INPUT_BYTES_MIN]) -> bool {
    _mm256_movemask_epi8(_mm256_or_si256(load::<0>(window), load::<3>(window))) == 0
}

/// The errors in the first block, which has nothing before it: as if it stood after ASCII.
#[inline]
#[target_feature(enable = "avx2")]
fn first_block_errors(block: &[u8; BLOCK]) -> __m256i {
    // SAFETY: the pointer is to 32 readable bytes, and the load asks for no alignment.
    let block = unsafe { _mm256_loadu_si256(block.as_ptr().cast()) };
    // Zeros below, the lower half above: what stands before each half of the block.
    let before = _mm256_permute2x128_si256::<0x08>(block, block);
    errors(
        _mm256_alignr_epi8::<13>(block, before),
        _mm256_alignr_epi8::<14>(block, before),
        _mm256_alignr_epi8::<15>(block, before),
        block,
    )
}

/// The errors in the last 32 bytes of `window`; its first three bytes are context.
#[inline]
#[target_feature(enable = "avx2")]
fn block_errors(window: &[u8; INPUT_BYTES_MIN]) -> __m256i {
    errors(load::<0>(window), load::<1>(window), load::<2>(window), load::<3>(window))
}

/// The errors in `block`, given the bytes three, two and one before each of its own. Zero where there is none.
#[inline]
#[target_feature(enable = "avx2")]
fn errors(before_3: __m256i, before_2: __m256i, before_1: __m256i, block: __m256i) -> __m256i {
    let pair_errors = _mm256_and_si256(
        _mm256_and_si256(
            lookup(&BEFORE_HIGH, high_halves(before_1)),
            lookup(&BEFORE_LOW, _mm256_and_si256(before_1, _mm256_set1_epi8(0x0F))),
        ),
        lookup(&HIGH, high_halves(block)),
    );
    // The top bit is set where a byte two before starts three or more, or a byte three before starts four.
    let third = _mm256_subs_epu8(before_2, _mm256_set1_epi8(0xE0_u8.wrapping_sub(0x80).cast_signed()));
    let fourth = _mm256_subs_epu8(before_3, _mm256_set1_epi8(0xF0_u8.wrapping_sub(0x80).cast_signed()));
    let must_continue = _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8(i8::MIN));
    // TWO_CONTINUATIONS is that same bit: an error where it stands and must not, or must and does not.
    _mm256_xor_si256(must_continue, pair_errors)
}

/// Whether the last sequence lacks bytes that would have to follow.
fn ends_within_sequence(bytes: &[u8]) -> bool {
    let [.., c, b, a] = bytes else {
        unreachable!("inputs are longer than three bytes");
    };
    *a >= 0xC0 || *b >= 0xE0 || *c >= 0xF0
}

#[inline]
#[target_feature(enable = "avx2")]
fn high_halves(bytes: __m256i) -> __m256i {
    _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), _mm256_set1_epi8(0x0F))
}

#[inline]
#[target_feature(enable = "avx2")]
fn lookup(table: &[u8; 16], indices: __m256i) -> __m256i {
    // SAFETY: the pointer is to 16 readable bytes, and the load asks for no alignment.
    let table = unsafe { _mm_loadu_si128(table.as_ptr().cast()) };
    _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), indices)
}

/// The 32 bytes of `window` from `OFFSET`, which is at most 3.
#[inline]
#[target_feature(enable = "avx2")]
fn load<const OFFSET: usize>(window: &[u8; INPUT_BYTES_MIN]) -> __m256i {
    const { assert!(OFFSET + BLOCK <= INPUT_BYTES_MIN) };
    let start = window.as_ptr().wrapping_add(OFFSET);
    // SAFETY: the assertion above proves that 32 bytes from `start` lie in the window; no alignment is asked for.
    unsafe { _mm256_loadu_si256(start.cast()) }
}
