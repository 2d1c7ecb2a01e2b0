//! Memory of provided buffers.
//!
//! A shard's buffers are one mapping, so that those which traffic never reaches cost address space only. Each is a
//! value that owns its part: whoever has it may read and write it, and the mapping goes with the last of them.

use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

/// One provided buffer.
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
        /// Keeps the mapping.
        _mapping: Arc<Mapping>,
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
            // SAFETY: `Mapping::split` gives each part away once, inside the mapping, which lives as long as the part.
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

    /// Cuts the mapping into buffers of `bytes` each.
    pub(crate) fn split(self, bytes: usize) -> impl Iterator<Item = Buffer> {
        let (start, count) = (self.start, self.bytes / bytes);
        let mapping = Arc::new(self);
        (0..count).map(move |nth| {
            // SAFETY: nth < count, so the part ends inside the mapping.
            let first = unsafe { start.add(nth * bytes) };
            let part = NonNull::slice_from_raw_parts(first, bytes);
            Buffer { bytes: Bytes::Part { part, _mapping: Arc::clone(&mapping) } }
        })
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
    fn parts_are_zeroed_apart_and_outlive_each_other() {
        let mut parts: Vec<Buffer> = Mapping::new(64 * 1024).expect("memory").split(4096).collect();
        assert_eq!(parts.len(), 16);
        for (nth, part) in parts.iter_mut().enumerate() {
            assert!(part.iter().all(|byte| *byte == 0) && part.len() == 4096);
            part.fill(nth as u8);
        }
        let last = parts.pop().expect("sixteen");
        assert!(parts.iter().enumerate().all(|(nth, part)| part.iter().all(|byte| usize::from(*byte) == nth)));
        drop(parts);
        assert!(last.iter().all(|byte| *byte == 15));
    }
}
