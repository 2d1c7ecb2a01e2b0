//! Memory of provided buffers.
//!
//! A shard's buffers are one mapping, so that what traffic never reaches costs address space only. What was received is
//! a value that owns its part: whoever has it may read and write it, and the mapping goes with the last of them.

use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

/// A provided buffer, or a part of one.
#[derive(Debug)]
pub struct Buffer {
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    Boxed(Box<[u8]>),
    /// A part of the mapping that no other value has.
    Part {
        part: NonNull<[u8]>,
        /// Keeps the memory mapped.
        mapping: Arc<Mapping>,
    },
}

// SAFETY: a part is memory that this value alone has, like a box's.
unsafe impl Send for Bytes {}

impl From<Box<[u8]>> for Buffer {
    fn from(bytes: Box<[u8]>) -> Self {
        Self { bytes: Bytes::Boxed(bytes) }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Boxed(bytes) => bytes,
            // SAFETY: whoever made the part vouches that nobody else accesses it; the mapping lives as long as it.
            Bytes::Part { part, .. } => unsafe { part.as_ref() },
        }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.bytes {
            Bytes::Boxed(bytes) => bytes,
            // SAFETY: as above, and this value is borrowed for as long as the slice lives.
            Bytes::Part { part, .. } => unsafe { part.as_mut() },
        }
    }
}

/// Anonymous private memory, zeroed; physical once touched.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: it only says where the memory is, and unmaps it, which any thread may do.
unsafe impl Send for Mapping {}
// SAFETY: a shared `Mapping` gives no access to the memory.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `bytes` bytes.
    pub(crate) fn new(bytes: usize) -> io::Result<Self> {
        // SAFETY: an anonymous private mapping touches no memory of this process.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("a mapping that did not fail is not null");
        Ok(Self { start, bytes })
    }

    /// Address of the first byte; page-aligned.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// The bytes `start..start + len` of the mapping, as a value that owns them.
    ///
    /// # Safety
    /// Nobody else, the kernel included, accesses these bytes before the value is gone or has
    /// [come back](Self::place_of).
    ///
    /// # Panics
    /// If they do not lie inside the mapping.
    pub(crate) unsafe fn part(self: &Arc<Self>, start: usize, len: usize) -> Buffer {
        assert!(start <= self.bytes && len <= self.bytes - start, "a part lies inside its mapping");
        // SAFETY: asserted above.
        let first = unsafe { self.start.add(start) };
        let part = NonNull::slice_from_raw_parts(first, len);
        Buffer { bytes: Bytes::Part { part, mapping: Arc::clone(self) } }
    }

    /// Where in this mapping `buffer` begins, which ends with this. `None` if it is no part of it.
    pub(crate) fn place_of(self: &Arc<Self>, buffer: Buffer) -> Option<usize> {
        match &buffer.bytes {
            Bytes::Part { part, mapping } if Arc::ptr_eq(mapping, self) => {
                Some(part.as_ptr().addr() - self.start.as_ptr().addr())
            }
            Bytes::Part { .. } | Bytes::Boxed(_) => None,
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, of this length, unmapped only here; each part holds a count of it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_zeroed_apart_and_outlive_their_mapping() {
        let mapping = Arc::new(Mapping::new(64 * 1024).expect("memory"));
        // SAFETY: sixteen parts that do not overlap, each made once.
        let mut parts: Vec<Buffer> = (0..16).map(|nth| unsafe { mapping.part(nth * 4096, 4096) }).collect();
        for (nth, part) in parts.iter_mut().enumerate() {
            assert!(part.iter().all(|byte| *byte == 0) && part.len() == 4096);
            part.fill(nth as u8);
        }
        let last = parts.pop().expect("sixteen");
        assert!(parts.iter().enumerate().all(|(nth, part)| part.iter().all(|byte| usize::from(*byte) == nth)));
        drop((parts, mapping));
        assert!(last.iter().all(|byte| *byte == 15));
    }

    #[test]
    fn a_part_is_known_by_its_mapping_and_no_other() {
        let [one, other] = [4096, 8192].map(|bytes| Arc::new(Mapping::new(bytes).expect("memory")));
        // SAFETY: the only part of these bytes.
        let part = unsafe { one.part(1000, 96) };
        // SAFETY: the only part of these bytes.
        let foreign = unsafe { other.part(0, 10) };
        assert_eq!(one.place_of(part), Some(1000));
        assert_eq!(one.place_of(foreign), None);
        assert_eq!(one.place_of(Buffer::from(vec![0; 4].into_boxed_slice())), None);
    }
}
