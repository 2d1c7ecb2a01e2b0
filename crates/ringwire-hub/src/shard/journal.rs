//! What the pulls of a turn handed out, so that what the kernel did not take can be put back.
//!
//! A pull is a chain of pieces, last first. A piece of a log needs no more than its length: its entries' ends are in the
//! log. What else changes a subscription (notices, frames made for it, parts of snapshots) keeps a mark of how the
//! subscription stood before, and where each frame ends. The journal is the shard's, not the subscriptions', and is
//! forgotten when the turn's transmissions are over; a pull that it does not know is owed in full.

use super::special::{Receiving, Special};
use super::table::{NONE, Subscription};

/// Most pieces of a turn; what is pulled beyond is owed when it is rewound.
const PIECES_MAX: usize = 1 << 20;

/// Consecutive bytes of a pull, of one subscription.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    /// Whose it is; [`NONE`] if that has ended.
    pub(super) id: u32,
    /// The piece of the same pull before it, or [`NONE`].
    pub(super) before: u32,
    pub(super) bytes: u32,
    /// For a piece of a log, how many entries; else which mark, with the highest bit.
    kind: u32,
}

/// What a piece is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// So many entries of the lane's log.
    Log(u32),
    /// Anything else.
    Marked(Mark),
}

/// How a subscription stood before a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) next: u64,
    pub(super) skipped: u64,
    pub(super) gap: u64,
    pub(super) told: u64,
    pub(super) told_left: u64,
    pub(super) round_end: u64,
    pub(super) snapshot: Option<Receiving>,
    /// The frames of the piece that can be taken back one by one.
    pub(super) frames: (u32, u32),
}

/// A frame of a piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// Where it ends, from the beginning of the piece.
    pub(super) end: u32,
    /// Entries skipped before it, from the beginning of the piece.
    pub(super) skipped: u32,
    /// Its entry.
    pub(super) seq: u64,
}

/// What was handed out this turn.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pieces: Vec<Piece>,
    /// Pieces of earlier turns: a number below it means none of these.
    base: u32,
    marks: Vec<Mark>,
    frames: Vec<Frame>,
}

const MARKED: u32 = 1 << 31;

impl Mark {
    /// How a subscription stands, apart from its box, which is `special`.
    pub(super) fn of(subscription: &Subscription, special: &Special) -> Self {
        let Subscription { next, skipped, gap, .. } = *subscription;
        let Special { told, told_left, round_end, snapshot, .. } = *special;
        Self { next, skipped, gap, told, told_left, round_end, snapshot, frames: (0, 0) }
    }
}

impl Journal {
    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.base += self.pieces.len() as u32;
        if self.base > u32::MAX - 2 * PIECES_MAX as u32 {
            self.base = 0;
        }
        self.pieces.clear();
        self.marks.clear();
        self.frames.clear();
        self.frames.shrink_to(64 * 1024);
        self.marks.shrink_to(16 * 1024);
    }

    /// Adds `entries` entries of a log to the pull whose last piece is `last`. Returns which piece it is.
    pub(super) fn push_log(&mut self, last: u32, id: u32, entries: u64, bytes: usize) -> u32 {
        let entries = u32::try_from(entries).ok().filter(|entries| entries & MARKED == 0);
        self.push(last, id, bytes, entries.expect("a pull takes less than 2 Gi entries"))
    }

    /// Adds a piece before which the subscription stood as `mark` says, of these frames.
    pub(super) fn push_marked(&mut self, last: u32, id: u32, bytes: usize, mark: Mark, frames: &[Frame]) -> u32 {
        if self.pieces.len() >= PIECES_MAX {
            return NONE;
        }
        let first = self.frames.len() as u32;
        self.frames.extend_from_slice(frames);
        self.marks.push(Mark { frames: (first, self.frames.len() as u32), ..mark });
        self.push(last, id, bytes, MARKED | (self.marks.len() as u32 - 1))
    }

    fn push(&mut self, last: u32, id: u32, bytes: usize, kind: u32) -> u32 {
        if self.pieces.len() >= PIECES_MAX {
            return NONE;
        }
        let bytes = u32::try_from(bytes).expect("a pull takes less than 4 GiB");
        self.pieces.push(Piece { id, before: last, bytes, kind });
        self.base + self.pieces.len() as u32 - 1
    }

    /// Piece `nth` and what it is.
    pub(super) fn piece(&self, nth: u32) -> Option<(Piece, Kind)> {
        let piece = *self.pieces.get(nth.checked_sub(self.base)? as usize)?;
        let kind = match piece.kind & MARKED {
            0 => Kind::Log(piece.kind),
            _ => Kind::Marked(self.marks[(piece.kind & !MARKED) as usize]),
        };
        Some((piece, kind))
    }

    /// Of a piece of which `sent` bytes have been sent, more than none: the last frame that has begun, if another follows
    /// it.
    pub(super) fn last_begun(&self, mark: &Mark, sent: u32) -> Option<Frame> {
        let frames = &self.frames[mark.frames.0 as usize..mark.frames.1 as usize];
        let nth = frames.partition_point(|frame| frame.end < sent);
        (nth + 1 < frames.len()).then(|| frames[nth])
    }

    /// Subscription `id` has ended: its pieces in the chain that ends with `last` cannot be taken back.
    pub(super) fn forget(&mut self, last: u32, id: u32) {
        let mut at = last;
        while let Some(nth) = at.checked_sub(self.base)
            && let Some(piece) = self.pieces.get_mut(nth as usize)
        {
            if piece.id == id {
                piece.id = NONE;
            }
            at = piece.before;
        }
    }
}
