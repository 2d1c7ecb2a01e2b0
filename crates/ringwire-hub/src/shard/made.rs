//! Frames that are made for one subscriber, until they have been sent.
//!
//! They are collected in `out` while a pull goes on, and go into shared memory when they are handed out, so that they
//! leave in the same way as a log's. That memory is used again as soon as nobody holds it, at the earliest a turn later.
//! A turn makes at most [`MADE_BYTES_MAX`]; who comes then waits for the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::run::Run;

/// Bytes that are made in a turn; the last pull may go over it by its budget.
pub(super) const MADE_BYTES_MAX: usize = 4 << 20;
/// Size of a piece of shared memory, unless one pull needs more.
const PIECE_WORDS: usize = 8 * 1024;
/// Pieces that are kept for the next turns.
const PIECES_KEPT: usize = 4;

/// What is made in a turn.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// What the pull has made and not handed out yet.
    pub(super) out: Vec<u8>,
    /// In use in this turn; the last one has room.
    used: Vec<Arc<[AtomicU64]>>,
    kept: Vec<Arc<[AtomicU64]>>,
    /// Words of the last piece that are taken.
    taken: usize,
    turn_bytes: usize,
}

impl Made {
    /// Whether this turn has made as much as it may.
    pub(super) fn is_full(&self) -> bool {
        self.turn_bytes + self.out.len() >= MADE_BYTES_MAX
    }

    /// Hands out what has been made.
    pub(super) fn flush(&mut self, emit: &mut impl FnMut(Run<'_>)) {
        if self.out.is_empty() {
            return;
        }
        let words = self.out.len().div_ceil(8);
        if self.used.last().is_none_or(|last| self.taken + words > last.len()) {
            let kept = self.kept.iter().position(|piece| piece.len() >= words);
            let piece = kept.map_or_else(|| piece(words.max(PIECE_WORDS)), |nth| self.kept.swap_remove(nth));
            self.used.push(piece);
            self.taken = 0;
        }
        let piece = self.used.last().expect("a piece with room was found or made");
        copy_in(&self.out, &piece[self.taken..]);
        let start = self.taken * 8;
        let end = start + self.out.len();
        emit(Run { words: piece, start: start as u32, end: end as u32 });
        self.taken += words;
        self.turn_bytes += self.out.len();
        self.out.clear();
        self.out.shrink_to(PIECE_WORDS * 8);
    }

    /// What was handed out so far has been sent.
    pub(super) fn end_turn(&mut self) {
        if self.turn_bytes == 0 {
            return;
        }
        self.kept.append(&mut self.used);
        // What a transmission still reads is its own from here on.
        self.kept.retain_mut(|piece| Arc::get_mut(piece).is_some() && piece.len() == PIECE_WORDS);
        self.kept.truncate(PIECES_KEPT);
        (self.taken, self.turn_bytes) = (0, 0);
    }
}

/// Shared memory of so many words.
pub(super) fn piece(words: usize) -> Arc<[AtomicU64]> {
    (0..words).map(|_| AtomicU64::new(0)).collect()
}

/// Copies `bytes` to the beginning of `words`.
pub(super) fn copy_in(bytes: &[u8], words: &[AtomicU64]) {
    let (whole, rest) = bytes.as_chunks::<8>();
    for (word, bytes) in words.iter().zip(whole) {
        word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        words[whole.len()].store(u64::from_ne_bytes(last), Ordering::Relaxed);
    }
}
