//! Memory for what one turn transmits.
//!
//! Replies are encoded into the driver's [`Arena`] through a [`Stage`]; a [`Staged`] names a range of it, for one turn.

use std::cell::Cell;

use crate::data::Shared;

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
    pub fn turn(&self) -> u32 {
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

    /// Appends a header and what is behind it to `staged`; see [`Arena::append_framed`].
    #[inline]
    pub fn append_framed(&mut self, staged: &mut Staged, header: &[u8; 16], header_bytes: usize, payload: &[u8]) {
        self.arena.append_framed(staged, header, header_bytes, payload);
    }

    /// Appends the bytes of `shared` to `staged`.
    pub fn append_shared(&mut self, staged: &mut Staged, shared: &Shared) {
        self.arena.append_shared(staged, shared);
    }

    /// Takes in `bytes` from `start` on; see [`Arena::adopt`].
    pub fn adopt(&mut self, bytes: Vec<u8>, start: usize) -> Staged {
        self.arena.adopt(bytes, start)
    }

    /// Memory that earlier turns have left; see [`Arena::take_spare`].
    pub fn take_spare(&mut self) -> Vec<u8> {
        self.arena.take_spare()
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
///
/// Of what long ranges leave behind, the largest that has at most 1 MiB is kept for the next: memory that comes anew from
/// the system costs more than what is written into it. It is freed when 4,096 turns have staged something and not used it.
#[derive(Debug, Default)]
pub struct Arena {
    blocks: Vec<Block>,
    /// What a range's own block left behind, empty.
    spare: Vec<u8>,
    /// Turns that have staged something since that was put by.
    spare_turns: u32,
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
/// Most memory of a range's own block that is kept for the next one.
const SPARE_BYTES_MAX: usize = 1024 * 1024;
/// What is taken out of the arena is as much of its block as one of so many parts, or it is copied.
const TAKEN_SHARE_MIN: usize = 4;
/// Turns after which it is freed if nothing has used it. Those that stage nothing do not count: a shard may spin.
const SPARE_TURNS: u32 = 4096;

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

    /// Appends the first `header_bytes` of `header`, at most 16, and `payload`, as [`append`](Self::append) does. A copy of fixed
    /// size, cut to length, costs less than one of the right length.
    ///
    /// # Panics
    /// If `staged` is a range of another turn.
    #[inline]
    pub fn append_framed(&mut self, staged: &mut Staged, header: &[u8; 16], header_bytes: usize, payload: &[u8]) {
        debug_assert!(header_bytes <= header.len());
        self.make_room(staged, header.len() + payload.len());
        self.staged_bytes -= header.len() - header_bytes;
        let block = &mut self.blocks[staged.block as usize].bytes;
        let start = block.len();
        block.extend_from_slice(header);
        block.truncate(start + header_bytes);
        block.extend_from_slice(payload);
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

    /// Takes in `bytes` as a block of its own, without copying them. Gives the range from `start` to its end.
    ///
    /// # Panics
    /// If `start` is behind the end, or there are 4 GiB.
    pub fn adopt(&mut self, bytes: Vec<u8>, start: usize) -> Staged {
        let end = u32::try_from(bytes.len()).expect("one connection stages less than 4 GiB in a turn");
        assert!(start <= bytes.len(), "a range begins before its end");
        self.staged_bytes += bytes.len() - start;
        self.blocks.push(Block { bytes, is_own: true, is_lent: Cell::new(false) });
        Staged { block: (self.blocks.len() - 1) as u32, start: start as u32, end, turn: self.turn }
    }

    /// Memory that earlier turns have left, empty, if there is any: to be filled and [adopted](Self::adopt).
    pub fn take_spare(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.spare)
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

    /// Takes the bytes of `staged` from `skip` on, `len` of them, out of the arena: they lie in the memory from the place that is
    /// given with it to its end. They are copied, unless they have a block of their own that they fill.
    ///
    /// # Panics
    /// If `staged` is a range of another turn, or not that long.
    pub fn take(&mut self, staged: &Staged, skip: usize, len: usize) -> (Vec<u8>, usize) {
        let bytes = &self.bytes(staged)[skip..skip + len];
        let fills_it = |block: &Block| block.is_own && len >= block.bytes.capacity() / TAKEN_SHARE_MIN;
        if staged.is_empty() || !fills_it(&self.blocks[staged.block as usize]) {
            return (bytes.to_vec(), 0);
        }
        let mut bytes = std::mem::take(&mut self.blocks[staged.block as usize].bytes);
        let start = staged.start as usize + skip;
        bytes.truncate(start + len);
        (bytes, start)
    }

    /// Forgets everything staged and starts turn `turn`.
    pub fn reset(&mut self, turn: u32) {
        self.spare_turns += u32::from(self.staged_bytes > 0);
        if self.spare_turns >= SPARE_TURNS {
            (self.spare, self.spare_turns) = (Vec::new(), 0);
        }
        for block in self.blocks.extract_if(.., |block| block.is_own) {
            if (self.spare.capacity() + 1..=SPARE_BYTES_MAX).contains(&block.bytes.capacity()) {
                self.spare = block.bytes;
                self.spare.clear();
                self.spare_turns = 0;
            }
        }
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
        self.spare.capacity() + self.blocks.iter().map(|block| block.bytes.capacity()).sum::<usize>()
    }

    /// Makes `staged` the last range of a block with room for `added` bytes more.
    #[inline]
    fn make_room(&mut self, staged: &mut Staged, added: usize) {
        // A range that grows as the last one, which is the rule.
        if let Some(block) = self.blocks.get(staged.block as usize)
            && !staged.is_empty()
            && staged.turn == self.turn
            && block.bytes.len() == staged.end as usize
            && fits(block.bytes.len(), block.bytes.capacity(), added)
        {
            self.staged_bytes += added;
            return;
        }
        self.find_room(staged, added);
    }

    fn find_room(&mut self, staged: &mut Staged, added: usize) {
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
        if is_last && fits(block.bytes.len(), block.bytes.capacity(), added) {
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
            if self.spare.capacity() >= len {
                let bytes = self.take_spare();
                self.blocks.push(Block { bytes, is_own: true, is_lent: Cell::new(false) });
                return self.blocks.len() - 1;
            }
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

/// Whether a block takes so many bytes more without moving, and a [`Staged`] can still say where they end.
fn fits(len: usize, capacity: usize, added: usize) -> bool {
    added <= capacity.min(u32::MAX as usize).saturating_sub(len)
}

#[cfg(test)]
mod tests;
