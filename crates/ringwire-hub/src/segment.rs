//! A piece of a log: bytes of consecutive entries, and the index that finds them.
//!
//! ```text
//! words:  [entry 7][entry 8][entry 9]....free....[9][8][7]
//!          bytes, growing up              one or two words each, growing down
//! ```
//!
//! An index word holds where its entry ends and when it was published. Where entries have keys, a second word holds an
//! entry's successor: the next entry of its key, once there is one. A segment is full when the two sides meet, so no
//! memory waits for more entries, or longer ones, than come.
//!
//! One thread at a time writes (it has the topic's lock), and stores whole words, Relaxed: the word in which one
//! entry ends and the next begins is stored again with the bytes of both, so what has been written never changes; but
//! for a successor, which is written once, later. Who reads it too early takes an entry for the last of its key.
//! Readers may load every word that a [`Span`], taken under the same lock, covers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Heap bytes of an `Arc` slice beyond its elements: the two counts.
const ARC_BYTES: usize = 16;

/// What the index holds of each entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Index {
    /// Where it ends and when it was published.
    Ends,
    /// Also its successor.
    Successors,
}

impl Index {
    /// Words of an entry.
    pub(crate) const fn words(self) -> usize {
        match self {
            Self::Ends => 1,
            Self::Successors => 2,
        }
    }
}

/// Where a segment lies in its log. Cloning it clones the reference, not the bytes.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    words: Arc<[AtomicU64]>,
    /// Sequence number of the first entry.
    pub(crate) first_seq: u64,
    /// Bytes of the log before the first entry, counted from the beginning of the lane.
    pub(crate) base: u64,
    /// When the segment was opened; times in the index count from here.
    opened_us: u64,
    index: Index,
}

impl Segment {
    /// A segment of `bytes` bytes on the heap, all of them free.
    pub(crate) fn new(bytes: usize, first_seq: u64, base: u64, opened_us: u64, index: Index) -> Self {
        let words = bytes.saturating_sub(ARC_BYTES) / 8;
        let words = (0..words).map(|_| AtomicU64::new(0)).collect();
        Self { words, first_seq, base, opened_us, index }
    }

    /// Bytes on the heap that a segment needs for `count` entries of `entry_bytes` each.
    pub(crate) fn bytes_for(count: usize, entry_bytes: usize, index: Index) -> usize {
        (count * entry_bytes).next_multiple_of(8) + count * index.words() * 8 + ARC_BYTES
    }

    /// Bytes it takes on the heap.
    pub(crate) fn allocated_bytes(&self) -> usize {
        self.words.len() * 8 + ARC_BYTES
    }

    pub(crate) fn words(&self) -> &Arc<[AtomicU64]> {
        &self.words
    }

    /// Where entry `seq` begins, in bytes from the beginning of the segment.
    pub(crate) fn start_of(&self, seq: u64) -> u32 {
        if seq == self.first_seq { 0 } else { self.end_of(seq - 1) }
    }

    /// Where entry `seq` ends.
    pub(crate) fn end_of(&self, seq: u64) -> u32 {
        self.index(seq).load(Ordering::Relaxed) as u32
    }

    /// When entry `seq` was published, to 1,024 microseconds.
    pub(crate) fn published_us(&self, seq: u64) -> u64 {
        self.opened_us + ((self.index(seq).load(Ordering::Relaxed) >> 32) << 10)
    }

    /// The next entry of the same key; 0 while there is none, and where no successors are kept.
    pub(crate) fn successor(&self, seq: u64) -> u64 {
        match self.index {
            Index::Ends => 0,
            Index::Successors => self.words[self.nth_index(seq) - 1].load(Ordering::Relaxed),
        }
    }

    /// Entry `by` is the next one of the key of entry `seq`.
    pub(crate) fn set_successor(&self, seq: u64, by: u64) {
        debug_assert_eq!(self.index, Index::Successors);
        self.words[self.nth_index(seq) - 1].store(by, Ordering::Relaxed);
    }

    fn index(&self, seq: u64) -> &AtomicU64 {
        &self.words[self.nth_index(seq)]
    }

    fn nth_index(&self, seq: u64) -> usize {
        let nth = (seq - self.first_seq) as usize;
        self.words.len() - 1 - nth * self.index.words()
    }
}

/// The end of a segment that is being written.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// Bytes written.
    pub(crate) used: u32,
    /// The word that is written in part, as bytes; those beyond `used` are zero.
    partial: [u8; 8],
}

impl Tail {
    /// Whether `segment`, which holds `count` entries, has room for one of `len` bytes more.
    pub(crate) fn fits(&self, segment: &Segment, count: u64, len: usize) -> bool {
        (self.used as usize + len).div_ceil(8) + (count as usize + 1) * segment.index.words() <= segment.words.len()
    }

    /// Appends entry `seq`, published at `now_us`. There is room for it.
    pub(crate) fn append(&mut self, segment: &Segment, seq: u64, now_us: u64, bytes: &[u8]) {
        let (mut word, filled) = (self.used as usize / 8, self.used as usize % 8);
        let (head, rest) = bytes.split_at(bytes.len().min((8 - filled) % 8));
        if !head.is_empty() {
            self.partial[filled..filled + head.len()].copy_from_slice(head);
            segment.words[word].store(u64::from_ne_bytes(self.partial), Ordering::Relaxed);
            word += 1;
        }
        let (whole, rest) = rest.as_chunks::<8>();
        for (slot, bytes) in segment.words[word..].iter().zip(whole) {
            slot.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
        if !rest.is_empty() {
            self.partial = [0; 8];
            self.partial[..rest.len()].copy_from_slice(rest);
            segment.words[word + whole.len()].store(u64::from_ne_bytes(self.partial), Ordering::Relaxed);
        }
        self.used += u32::try_from(bytes.len()).expect("an entry is shorter than 4 GiB");
        let after_us = (now_us.saturating_sub(segment.opened_us) >> 10).min(u64::from(u32::MAX));
        segment.index(seq).store(after_us << 32 | u64::from(self.used), Ordering::Relaxed);
    }
}

/// The entries of a segment that a reader may load: all before `end_seq`.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) segment: Segment,
    /// One past the last entry's number.
    pub(crate) end_seq: u64,
    /// Where that last entry ends.
    pub(crate) end_bytes: u32,
}

impl Span {
    pub(crate) fn contains(&self, seq: u64) -> bool {
        self.segment.first_seq <= seq && seq < self.end_seq
    }

    /// One past the last entry, from `from` on, that ends at byte `limit` or before; with where that entry ends.
    pub(crate) fn fit(&self, from: u64, limit: u64) -> (u64, u32) {
        if u64::from(self.end_bytes) <= limit {
            return (self.end_seq, self.end_bytes);
        }
        let (mut low, mut high) = (from, self.end_seq);
        while low < high {
            let middle = low + (high - low) / 2;
            if u64::from(self.segment.end_of(middle)) <= limit {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (low, self.segment.start_of(low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Run;

    fn bytes(segment: &Segment, start: u32, end: u32) -> Vec<u8> {
        let mut out = Vec::new();
        Run { words: segment.words(), start, end }.copy_to(&mut out);
        out
    }

    #[test]
    fn entries_of_every_length_at_every_offset_keep_their_bytes() {
        let segment = Segment::new(64 * 1024, 1, 0, 0, Index::Ends);
        let mut tail = Tail::default();
        let mut written = Vec::new();
        let entry = |seq: u64| vec![seq as u8 | 1; (seq % 37) as usize];
        for seq in 1..=300 {
            assert!(tail.fits(&segment, seq - 1, entry(seq).len()));
            tail.append(&segment, seq, 0, &entry(seq));
            written.extend(entry(seq));
        }
        assert_eq!(bytes(&segment, 0, tail.used), written);
        for seq in 1..=300 {
            assert_eq!(bytes(&segment, segment.start_of(seq), segment.end_of(seq)), entry(seq));
        }
    }

    #[test]
    fn a_segment_is_full_when_bytes_and_index_meet() {
        let segment = Segment::new(Segment::bytes_for(3, 13, Index::Ends), 1, 0, 0, Index::Ends);
        let mut tail = Tail::default();
        for seq in 1..=3 {
            assert!(tail.fits(&segment, seq - 1, 13));
            tail.append(&segment, seq, 0, &[seq as u8; 13]);
        }
        assert!(!tail.fits(&segment, 3, 0));
        for seq in 1..=3 {
            assert_eq!(bytes(&segment, segment.start_of(seq), segment.end_of(seq)), [seq as u8; 13]);
        }
    }

    #[test]
    fn fit_finds_the_last_whole_entry_within_the_limit() {
        let segment = Segment::new(4096, 10, 0, 0, Index::Ends);
        let mut tail = Tail::default();
        let ends: Vec<u32> =
            [5u32, 0, 7, 1, 20, 0, 3].iter().scan(0, |end, len| Some(*end + len).inspect(|e| *end = *e)).collect();
        for (nth, pair) in std::iter::once(&0).chain(&ends).zip(&ends).enumerate() {
            tail.append(&segment, 10 + nth as u64, 0, &vec![1; (pair.1 - pair.0) as usize]);
        }
        for entries in 1..=ends.len() {
            let end_seq = 10 + entries as u64;
            let span = Span { segment: segment.clone(), end_seq, end_bytes: ends[entries - 1] };
            for limit in 0..40 {
                let naive = ends[..entries].iter().take_while(|end| u64::from(**end) <= limit).count();
                let end = if naive == 0 { 0 } else { ends[naive - 1] };
                assert_eq!(span.fit(10, limit), (10 + naive as u64, end), "{entries} entries, limit {limit}");
            }
        }
    }

    #[test]
    fn an_entry_keeps_its_time_to_a_millisecond() {
        let segment = Segment::new(1024, 1, 0, 5_000_000, Index::Ends);
        let mut tail = Tail::default();
        for (seq, now_us) in [(1, 5_000_000), (2, 5_777_777), (3, 4_000_000), (4, 86_400_000_000)] {
            tail.append(&segment, seq, now_us, b"x");
            assert!(segment.published_us(seq).abs_diff(now_us.max(5_000_000)) < 1024);
        }
    }

    #[test]
    fn a_successor_is_told_beside_what_an_entry_is() {
        let segment = Segment::new(Segment::bytes_for(3, 13, Index::Successors), 5, 0, 0, Index::Successors);
        let mut tail = Tail::default();
        for seq in 5..=7 {
            assert!(tail.fits(&segment, seq - 5, 13));
            tail.append(&segment, seq, 2_048, &[seq as u8; 13]);
        }
        assert!(!tail.fits(&segment, 3, 0));
        segment.set_successor(5, 7);
        assert_eq!([5, 6, 7].map(|seq| segment.successor(seq)), [7, 0, 0]);
        assert_eq!(
            [5, 6, 7].map(|seq| (segment.end_of(seq), segment.published_us(seq))),
            [13, 26, 39].map(|end| (end, 2_048))
        );
        assert_eq!(bytes(&segment, 0, 39), [[5; 13], [6; 13], [7; 13]].concat());
    }
}
