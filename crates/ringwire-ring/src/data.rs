//! Bytes on their way to the kernel.
//!
//! Three kinds, by who else needs them: [`Staged`] bytes live in the driver's [`Arena`] for one turn, which is
//! where replies are encoded; [`Shared`] bytes live in a log segment that many connections and shards read;
//! owned bytes belong to one connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What an operation transmits.
#[derive(Debug)]
pub enum Data {
    /// A range of the driver's arena, valid until the second [`Driver::enter`](crate::Driver::enter) from now.
    Staged(Staged),
    /// A range of a shared segment.
    Shared(Shared),
    /// Bytes of one connection. `start` bytes of it have gone out already.
    Owned {
        /// The buffer.
        bytes: Vec<u8>,
        /// How many of its bytes are no longer wanted.
        start: usize,
    },
}

impl Data {
    /// Bytes to transmit.
    pub fn len(&self) -> usize {
        match self {
            Data::Staged(staged) => staged.len(),
            Data::Shared(shared) => shared.len(),
            Data::Owned { bytes, start } => bytes.len() - start,
        }
    }

    /// Whether there is nothing to transmit.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A range of bytes in a segment that is shared between shards while it is still being appended to.
///
/// A segment is a slice of atomic words, so that one thread may append while the kernel and other threads read
/// what is before: no lock, and no `unsafe` in the crate that writes. Bytes lie in memory order
/// (`u64::from_ne_bytes`). Whoever makes a `Shared` has seen, through a lock or an acquire load, that the bytes
/// of its range are written; they never change afterwards.
#[derive(Clone, Debug)]
pub struct Shared {
    words: Arc<[AtomicU64]>,
    start: u32,
    end: u32,
}

impl Shared {
    /// The bytes `start..end` of `words`.
    ///
    /// # Panics
    /// If the range is not inside the segment.
    pub fn new(words: Arc<[AtomicU64]>, start: u32, end: u32) -> Self {
        assert!(start <= end && end as usize <= words.len() * 8, "a shared range lies inside its segment");
        Self { words, start, end }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether the range is empty.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The last `len` bytes of the range.
    ///
    /// # Panics
    /// If the range is shorter.
    pub fn tail(self, len: usize) -> Self {
        assert!(len <= self.len(), "a tail is no longer than its range");
        let start = self.end - u32::try_from(len).expect("a range's length fits u32");
        Self { start, ..self }
    }

    /// Calls `each` with the bytes of the range, in order, in pieces of at most eight.
    pub fn for_each_piece(&self, mut each: impl FnMut(&[u8])) {
        let mut at = self.start as usize;
        let end = self.end as usize;
        while at < end {
            let word = self.words[at / 8].load(Ordering::Relaxed).to_ne_bytes();
            let first = at % 8;
            let last = (end - (at - first)).min(8);
            each(&word[first..last]);
            at += last - first;
        }
    }

    /// Appends a copy of the bytes to `out`.
    pub fn copy_to(&self, out: &mut Vec<u8>) {
        out.reserve(self.len());
        self.for_each_piece(|piece| out.extend_from_slice(piece));
    }

    /// Address of the first byte, for the kernel to read [`len`](Self::len) bytes from.
    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.words.as_ptr().cast::<u8>().wrapping_add(self.start as usize)
    }
}

/// A range of the driver's arena. The default is empty and belongs to every turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Staged {
    block: u32,
    start: u32,
    end: u32,
    turn: u32,
}

impl Staged {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether the range is empty.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The turn whose arena holds it.
    pub(crate) fn turn(&self) -> u32 {
        self.turn
    }
}

/// The arena of the current turn, to append to. Not the arena itself: what is staged in it must stay where it is until
/// the kernel has read it.
#[derive(Debug)]
pub struct Stage<'a> {
    arena: &'a mut Arena,
}

impl<'a> Stage<'a> {
    /// Access to `arena`, for drivers.
    pub fn new(arena: &'a mut Arena) -> Self {
        Self { arena }
    }

    /// Appends `pieces` to `staged`; see [`Arena::append`].
    pub fn append(&mut self, staged: &mut Staged, pieces: &[&[u8]]) {
        self.arena.append(staged, pieces);
    }

    /// Appends the bytes of `shared` to `staged`.
    pub fn append_shared(&mut self, staged: &mut Staged, shared: &Shared) {
        self.arena.append_shared(staged, shared);
    }
}

/// Memory for what one turn of the loop transmits.
///
/// Blocks never move while a turn lasts, so the kernel may read them until the turn's `enter` returns. A driver
/// has two arenas and alternates: the one before stays readable until the next `enter`, for the tails of
/// transmissions that went out in part.
#[derive(Debug, Default)]
pub struct Arena {
    blocks: Vec<Vec<u8>>,
    current: usize,
    turn: u32,
}

/// Size of an ordinary block; a longer message gets a block of its own, which is freed at the end of its turn.
const BLOCK_BYTES: usize = 256 * 1024;
/// Ordinary blocks kept from turn to turn.
const BLOCKS_KEPT: usize = 4;

impl Arena {
    /// An empty arena, which answers for ranges of turn `turn`.
    pub fn new(turn: u32) -> Self {
        Self { turn, ..Self::default() }
    }

    /// Appends `pieces` to `staged`. A range that is no longer the last one of its block is moved first, so a
    /// connection's bytes of one turn are always one range.
    ///
    /// # Panics
    /// If `staged` is a range of another turn.
    pub fn append(&mut self, staged: &mut Staged, pieces: &[&[u8]]) {
        let added: usize = pieces.iter().map(|piece| piece.len()).sum();
        self.make_room(staged, added);
        let block = &mut self.blocks[staged.block as usize];
        for piece in pieces {
            block.extend_from_slice(piece);
        }
        staged.end = block.len() as u32;
    }

    /// Appends the bytes of `shared` to `staged`.
    ///
    /// # Panics
    /// If `staged` is a range of another turn.
    pub fn append_shared(&mut self, staged: &mut Staged, shared: &Shared) {
        self.make_room(staged, shared.len());
        let block = &mut self.blocks[staged.block as usize];
        shared.copy_to(block);
        staged.end = block.len() as u32;
    }

    /// The bytes of `staged`.
    ///
    /// # Panics
    /// If `staged` is a range of another turn.
    pub fn bytes(&self, staged: &Staged) -> &[u8] {
        if staged.is_empty() {
            return &[];
        }
        assert_eq!(staged.turn, self.turn, "a staged range is read in its own turn");
        &self.blocks[staged.block as usize][staged.start as usize..staged.end as usize]
    }

    /// Forgets everything staged and starts turn `turn`.
    pub fn reset(&mut self, turn: u32) {
        self.blocks.retain(|block| block.capacity() == BLOCK_BYTES);
        self.blocks.truncate(BLOCKS_KEPT);
        for block in &mut self.blocks {
            block.clear();
        }
        self.current = 0;
        self.turn = turn;
    }

    /// Makes `staged` the last range of a block with room for `added` bytes more.
    fn make_room(&mut self, staged: &mut Staged, added: usize) {
        if !staged.is_empty() {
            assert_eq!(staged.turn, self.turn, "a staged range grows in its own turn");
            let block = &self.blocks[staged.block as usize];
            if staged.end as usize == block.len() && block.len() + added <= block.capacity() {
                return;
            }
        }
        let target = self.block_with_room(staged.len() + added);
        let start = self.blocks[target].len() as u32;
        if !staged.is_empty() {
            let source = staged.block as usize;
            let range = staged.start as usize..staged.end as usize;
            if source == target {
                self.blocks[target].extend_from_within(range);
            } else {
                let [from, to] = self.blocks.get_disjoint_mut([source, target]).expect("two different blocks");
                to.extend_from_slice(&from[range]);
            }
        }
        let end = self.blocks[target].len() as u32;
        *staged = Staged { block: target as u32, start, end, turn: self.turn };
    }

    /// Index of a block that takes `len` bytes without moving.
    fn block_with_room(&mut self, len: usize) -> usize {
        assert!(u32::try_from(len).is_ok(), "one connection stages less than 4 GiB in a turn");
        let fits = |block: &Vec<u8>| block.len() + len <= block.capacity();
        if len > BLOCK_BYTES {
            self.blocks.push(Vec::with_capacity(len.next_multiple_of(BLOCK_BYTES) + 1));
            return self.blocks.len() - 1;
        }
        while self.current < self.blocks.len() {
            if fits(&self.blocks[self.current]) {
                return self.current;
            }
            self.current += 1;
        }
        self.blocks.push(Vec::with_capacity(BLOCK_BYTES));
        self.current = self.blocks.len() - 1;
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(bytes: &[u8]) -> Arc<[AtomicU64]> {
        bytes
            .chunks(8)
            .map(|chunk| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                AtomicU64::new(u64::from_ne_bytes(word))
            })
            .collect()
    }

    #[test]
    fn shared_range_gives_its_bytes_at_every_offset() {
        let bytes: Vec<u8> = (0..64).collect();
        let words = segment(&bytes);
        for start in 0..64 {
            for end in start..=64 {
                let mut out = Vec::new();
                Shared::new(Arc::clone(&words), start, end).copy_to(&mut out);
                assert_eq!(out, bytes[start as usize..end as usize]);
            }
        }
    }

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
        assert!(arena.blocks.iter().all(|block| block.capacity() == BLOCK_BYTES));
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
}
