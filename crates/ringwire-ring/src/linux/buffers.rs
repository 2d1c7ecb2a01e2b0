//! The shard's provided buffer ring (io_uring_register_buf_ring(3)).
//!
//! A buffer is in one of two places: here, where the kernel may fill it, or out as a [`Lease`], whose holder owns
//! it. It moves by value, so nobody can read a buffer that the kernel may write.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

use crate::buffer::{Buffer, Mapping};
use crate::op::Lease;

/// The group all receives select from.
pub(super) const GROUP: u16 = 0;

#[derive(Debug)]
pub(super) struct BufferRing {
    /// Holds `entries`.
    _mapping: Mapping,
    entries: NonNull<BufRingEntry>,
    mask: u16,
    tail: u16,
    buffers: Vec<Option<Buffer>>,
    leased: usize,
}

impl BufferRing {
    /// Makes `count` buffers (a power of two) of `buffer_bytes` each. Not registered yet.
    pub(super) fn new(count: u16, buffer_bytes: u32) -> io::Result<Self> {
        assert!(count.is_power_of_two(), "a buffer ring's size is a power of two");
        let mapping = Mapping::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let entries = mapping.start().cast();
        let buffer_bytes = buffer_bytes as usize;
        let buffers = Mapping::new(usize::from(count) * buffer_bytes)?.split(buffer_bytes).map(Some).collect();
        let mut ring = Self { _mapping: mapping, entries, mask: count - 1, tail: 0, buffers, leased: 0 };
        for id in 0..count {
            ring.publish(id);
        }
        Ok(ring)
    }

    /// Registers the ring as [`GROUP`].
    pub(super) fn register(&self, submitter: &Submitter<'_>) -> io::Result<()> {
        let address = self.entries.as_ptr() as u64;
        // SAFETY: `entries` is a page-aligned mapping of mask + 1 entries, unmapped with this value, which the owner
        // drops after the ring has ended (see `Ring`'s Drop).
        unsafe { submitter.register_buf_ring_with_flags(address, self.mask + 1, GROUP, 0) }
    }

    /// Takes out the buffer `id`, which the kernel has filled with `len` bytes and thereby given up.
    pub(super) fn take(&mut self, id: u16, len: usize) -> Lease {
        let buffer = self.buffers[usize::from(id)].take().expect("the kernel fills only buffers that it was given");
        self.leased += 1;
        debug_assert!(len <= buffer.len(), "the kernel stays inside the buffer");
        Lease { id, buffer, len }
    }

    /// Gives the kernel the leased buffer back.
    pub(super) fn give_back(&mut self, lease: Lease) {
        let place = &mut self.buffers[usize::from(lease.id)];
        assert!(place.is_none(), "a buffer is released once");
        *place = Some(lease.buffer);
        self.leased -= 1;
        self.publish(lease.id);
    }

    /// Gives the kernel a buffer back that it selected but did not fill.
    pub(super) fn put_back(&mut self, id: u16) {
        assert!(self.buffers[usize::from(id)].is_some(), "an unfilled buffer was never taken out");
        self.publish(id);
    }

    /// Buffers now out.
    pub(super) fn leased(&self) -> usize {
        self.leased
    }

    /// Writes the next entry of the ring and moves the tail over it.
    fn publish(&mut self, id: u16) {
        let buffer = self.buffers[usize::from(id)].as_mut().expect("only a buffer that is here is published");
        let address = buffer.as_mut_ptr() as u64;
        let len = u32::try_from(buffer.len()).expect("buffer_bytes is a u32");
        let index = usize::from(self.tail & self.mask);
        // SAFETY: index <= mask, so the entry lies inside the mapping of mask + 1 entries.
        let entry = unsafe { self.entries.add(index) };
        // SAFETY: the mapping is aligned, zeroed and writable; the kernel does not read entries at or past the tail,
        // and there are no more buffers than entries, so this one is past it.
        let entry = unsafe { &mut *entry.as_ptr() };
        entry.set_addr(address);
        entry.set_len(len);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `entries` is the base of the ring, whose first entry holds the tail in its reserved field.
        let tail = unsafe { BufRingEntry::tail(self.entries.as_ptr()) };
        // SAFETY: the tail is an aligned u16 inside the mapping; both sides access it atomically.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}
