//! Bytes on their way to the kernel.
//!
//! Three kinds, by who else needs them: [`Staged`] bytes live in the driver's [arena](crate::Arena) for one turn, which is
//! where replies are encoded; [`Shared`] bytes live in a log segment that many connections and shards read;
//! owned bytes belong to one connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::arena::Staged;

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
}
