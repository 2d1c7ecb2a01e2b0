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
        out.reserve(self.len());
        let mut at = self.start as usize;
        let end = self.end as usize;
        while at < end {
            let word = self.words[at / 8].load(Ordering::Relaxed).to_ne_bytes();
            let first = at % 8;
            let last = (end - (at - first)).min(8);
            out.extend_from_slice(&word[first..last]);
            at += last - first;
        }
    }
}
