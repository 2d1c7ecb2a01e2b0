//! Bytes on their way to the kernel.
//!
//! Three kinds, by who else needs them: [`Staged`] bytes live in the driver's [`Arena`] for one turn, which is
//! where replies are encoded; [`Shared`] bytes live in a log segment that many connections and shards read;
//! owned bytes belong to one connection.

use std::cell::Cell;
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
/// of its range are written; they never change afterwards, and a word that has bytes of the range only is not stored again.
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

    /// The first `len` bytes of the range.
    ///
    /// # Panics
    /// If the range is shorter.
    pub fn head(self, len: usize) -> Self {
        assert!(len <= self.len(), "a head is no longer than its range");
        let end = self.start + u32::try_from(len).expect("a range's length fits u32");
        Self { end, ..self }
    }

    /// Appends a copy of the bytes to `out`.
    pub fn copy_to(&self, out: &mut Vec<u8>) {
        let (mut word, skip) = (self.start as usize / 8, self.start as usize % 8);
        let from = out.len();
        out.resize(from + self.len(), 0);
        let mut left = &mut out[from..];
        let load = |word: usize| self.words[word].load(Ordering::Relaxed).to_ne_bytes();
        if skip > 0 {
            let (head, rest) = left.split_at_mut(left.len().min(8 - skip));
            head.copy_from_slice(&load(word)[skip..skip + head.len()]);
            (left, word) = (rest, word + 1);
        }
        let (whole, rest) = left.as_chunks_mut::<8>();
        for (bytes, word) in whole.iter_mut().zip(&self.words[word..]) {
            *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        if !rest.is_empty() {
            rest.copy_from_slice(&load(word + whole.len())[..rest.len()]);
        }
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

    /// The bytes of `staged`, a range of this turn.
    ///
    /// # Panics
    /// If it is one of another turn.
    pub fn bytes(&self, staged: &Staged) -> &[u8] {
        self.arena.bytes(staged)
    }

    /// Bytes that were staged this turn, by all.
    pub fn staged_bytes(&self) -> usize {
        self.arena.staged_bytes
    }
}

/// Memory for what one turn of the loop transmits.
///
/// What has been [lent](Self::bytes) stays where it is until the arena is reset, so the kernel may read it until the
/// turn's `enter` returns. A driver has two arenas and alternates: the one before stays readable until the next `enter`,
/// for the tails of transmissions that went out in part.
///
/// Ordinary blocks, which many ranges share, are never moved or freed before that. A long range, and one that grows
/// while others do, has a block of its own, which grows with it by doubling as long as nobody was lent a part of it. So a
/// turn takes at most a few times the memory of what is staged in it, however it is put together.
#[derive(Debug, Default)]
pub struct Arena {
    blocks: Vec<Block>,
    current: usize,
    turn: u32,
    /// Bytes appended since the turn began.
    staged_bytes: usize,
}

#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    /// One range lives here, and no other will.
    is_own: bool,
    /// A reference into it was given away, so it stays as it is and grows only in place.
    is_lent: Cell<bool>,
}

/// Size of an ordinary block; a longer message gets a block of its own, which is freed at the end of its turn.
const BLOCK_BYTES: usize = 256 * 1024;
/// A range that must be moved because others were staged behind it gets a block of its own from this length on: moving
/// it again and again would cost the square of its length.
const MOVED_BYTES_MAX: usize = 8 * 1024;
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
        let block = &mut self.blocks[staged.block as usize].bytes;
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
        let block = &mut self.blocks[staged.block as usize].bytes;
        shared.copy_to(block);
        staged.end = block.len() as u32;
    }

    /// The bytes of `staged`. They stay where they are, even when the reference is gone, until the next
    /// [`reset`](Self::reset). Of a range that has grown, only the latest value is to be used.
    ///
    /// # Panics
    /// If `staged` is a range of another turn.
    pub fn bytes(&self, staged: &Staged) -> &[u8] {
        if staged.is_empty() {
            return &[];
        }
        assert_eq!(staged.turn, self.turn, "a staged range is read in its own turn");
        let block = &self.blocks[staged.block as usize];
        block.is_lent.set(true);
        &block.bytes[staged.start as usize..staged.end as usize]
    }

    /// Forgets everything staged and starts turn `turn`.
    pub fn reset(&mut self, turn: u32) {
        self.blocks.retain(|block| !block.is_own);
        self.blocks.truncate(BLOCKS_KEPT);
        for block in &mut self.blocks {
            block.bytes.clear();
            block.is_lent.set(false);
        }
        self.current = 0;
        self.turn = turn;
        self.staged_bytes = 0;
    }

    /// Memory that it takes.
    pub fn memory_bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.bytes.capacity()).sum()
    }

    /// Makes `staged` the last range of a block with room for `added` bytes more.
    fn make_room(&mut self, staged: &mut Staged, added: usize) {
        let len = staged.len() + added;
        assert!(u32::try_from(len).is_ok(), "one connection stages less than 4 GiB in a turn");
        self.staged_bytes += added;
        if staged.is_empty() {
            let target = self.block_with_room(len, len > BLOCK_BYTES);
            let start = self.blocks[target].bytes.len() as u32;
            *staged = Staged { block: target as u32, start, end: start, turn: self.turn };
            return;
        }
        assert_eq!(staged.turn, self.turn, "a staged range grows in its own turn");
        let source = staged.block as usize;
        let range = staged.start as usize..staged.end as usize;
        let block = &mut self.blocks[source];
        let is_last = range.end == block.bytes.len();
        if is_last && block.is_own && !block.is_lent.get() {
            // Nobody knows where its bytes are: it may move as a whole.
            block.bytes.reserve(added);
        }
        if is_last && block.bytes.len() + added <= block.bytes.capacity() {
            return;
        }
        let target = self.block_with_room(len, len > BLOCK_BYTES || range.len() > MOVED_BYTES_MAX);
        let start = self.blocks[target].bytes.len() as u32;
        if source == target {
            self.blocks[target].bytes.extend_from_within(range);
        } else {
            let [from, to] = self.blocks.get_disjoint_mut([source, target]).expect("two different blocks");
            to.bytes.extend_from_slice(&from.bytes[range.clone()]);
            if is_last && !from.is_lent.get() {
                // The room that it leaves behind is the next one's.
                from.bytes.truncate(range.start);
                self.current = self.current.min(source);
            }
        }
        let end = self.blocks[target].bytes.len() as u32;
        *staged = Staged { block: target as u32, start, end, turn: self.turn };
    }

    /// Index of a block that takes `len` bytes without moving: of an ordinary one, or of one for this range alone.
    fn block_with_room(&mut self, len: usize, is_own: bool) -> usize {
        if is_own {
            // As much again, so that a range that goes on growing is not moved each time.
            return self.push_block(len.saturating_mul(2), true);
        }
        let fits = |block: &Block| !block.is_own && block.bytes.len() + len <= block.bytes.capacity();
        while self.current < self.blocks.len() {
            if fits(&self.blocks[self.current]) {
                return self.current;
            }
            self.current += 1;
        }
        self.current = self.push_block(BLOCK_BYTES, false);
        self.current
    }

    fn push_block(&mut self, capacity: usize, is_own: bool) -> usize {
        self.blocks.push(Block { bytes: Vec::with_capacity(capacity), is_own, is_lent: Cell::new(false) });
        self.blocks.len() - 1
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
        assert!(arena.blocks.iter().all(|block| block.bytes.capacity() == BLOCK_BYTES));
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
}
