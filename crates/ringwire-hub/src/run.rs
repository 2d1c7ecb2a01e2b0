//! What a pull hands out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Consecutive whole entries of one lane: the bytes `start..end` of a segment, ready to be sent.
///
/// The segment is lent: a copy of the bytes needs no reference count, which all shards would contend for; a send that
/// reads the segment itself clones `words`, and thereby holds the segment until it is done. The bytes never change.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The segment; bytes lie in it in memory order (`u64::from_ne_bytes`).
    pub words: &'a Arc<[AtomicU64]>,
    /// First byte of the run.
    pub start: u32,
    /// One past its last byte; the run is not empty.
    pub end: u32,
}

impl Run<'_> {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether the run has no bytes, which no run that a pull hands out is.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
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
}
