//! The shard's provided buffer ring (io_uring_register_buf_ring(3)).
//!
//! All memory is one mapping, cut into chunks. Where the kernel can (6.12), receives fill a chunk one behind the other
//! (`IOU_PBUF_RING_INC`); otherwise each takes a chunk of its own, and chunks are smaller. What a receive has filled is
//! out as a [`Lease`], whose holder owns it, until it comes back. So nobody can read bytes that the kernel may write.
//!
//! Memory that was just used is in the caches, and what was not is not; so the kernel is offered little of it:
//! - A chunk of which everything has come back is offered again from its beginning, once a turn. A turn that receives
//!   less than a chunk always uses the same bytes.
//! - Only so many chunks are offered as recent turns have used, and at least [`OFFERED_BYTES_MIN`]. When they run out
//!   there are twice as many for the next turn; when turns use less for long, fewer.
//!
//! The first rests on what io_uring promises with `DEFER_TASKRUN`: receives run only inside this thread's system calls.
//! Between them nobody looks at the ring's entries.

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

use crate::buffer::Mapping;
use crate::op::Lease;

/// The group all receives select from.
pub(super) const GROUP: u16 = 0;

/// `IOU_PBUF_RING_INC`, from linux/io_uring.h; the `io-uring` crate keeps it to itself.
const INCREMENTAL: u16 = 2;
/// A chunk that several receives fill: a long message often fits, and little memory is begun at a time.
const CHUNK_BYTES_MAX: usize = 512 * 1024;
/// Fewest chunks that the memory is cut into for the sake of larger ones.
const CHUNKS_MIN: u16 = 8;
/// What the kernel is offered at least: about what a second-level cache holds.
const OFFERED_BYTES_MIN: usize = 1024 * 1024;
/// Turns after which what they have used decides how much is offered. Those that receive nothing do not count: a shard
/// that spins makes a million of them in a second, and they say nothing of what a burst needs.
const TURNS_OBSERVED: u32 = 4096;

#[derive(Debug)]
pub(super) struct BufferRing {
    /// Holds `entries`.
    _entries: Mapping,
    entries: NonNull<BufRingEntry>,
    memory: Arc<Mapping>,
    chunk_bytes: usize,
    chunks: Vec<Chunk>,
    mask: u16,
    tail: u16,
    /// Chunks that are not offered: the last one back goes out first.
    kept: Vec<u16>,
    /// Chunks that the kernel has now, and how many it is to have.
    offered: usize,
    wanted: usize,
    /// The chunk that the kernel is filling, if it has begun one.
    current: Option<u16>,
    leased: usize,
    usage: Usage,
    /// Several receives fill a chunk.
    is_incremental: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Chunk {
    /// Bytes from its beginning that the kernel has filled since it was offered.
    filled: u32,
    /// Leases out.
    leases: u32,
    /// Which of the ring's entries offers it.
    entry: u16,
    /// The kernel is done with it.
    is_full: bool,
}

/// How many chunks turns have used lately.
#[derive(Debug, Default)]
struct Usage {
    turns: u32,
    /// This turn has received something.
    has_received: bool,
    /// Chunks that became full in this turn, and most in a turn since `turns` began.
    full: usize,
    full_max: usize,
    /// They have run out in this turn.
    ran_out: bool,
}

impl BufferRing {
    /// Makes memory of `count` (a power of two) times `buffer_bytes`, and registers it as [`GROUP`]: in chunks that
    /// several receives fill, or, if that is not wanted or the kernel knows no such thing, in these very buffers.
    pub(super) fn register(
        submitter: &Submitter<'_>,
        count: u16,
        buffer_bytes: u32,
        is_incremental: bool,
    ) -> io::Result<Self> {
        let buffer_bytes = buffer_bytes as usize;
        if is_incremental {
            let mut chunks = (count, buffer_bytes);
            while chunks.0 / 2 >= CHUNKS_MIN && chunks.1 * 2 <= CHUNK_BYTES_MAX {
                chunks = (chunks.0 / 2, chunks.1 * 2);
            }
            let registered = Self::new(chunks.0, chunks.1)?.registered(submitter, INCREMENTAL);
            if !registered.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::InvalidInput) {
                return registered;
            }
        }
        Self::new(count, buffer_bytes)?.registered(submitter, 0)
    }

    fn new(count: u16, chunk_bytes: usize) -> io::Result<Self> {
        assert!(count.is_power_of_two(), "a buffer ring's size is a power of two");
        let mapping = Mapping::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let entries = mapping.start().cast();
        let memory = Arc::new(Mapping::new(usize::from(count) * chunk_bytes)?);
        let mut ring = Self {
            _entries: mapping,
            entries,
            memory,
            chunk_bytes,
            chunks: vec![Chunk::default(); usize::from(count)],
            mask: count - 1,
            tail: 0,
            kept: (0..count).rev().collect(),
            offered: 0,
            wanted: 0,
            current: None,
            leased: 0,
            usage: Usage::default(),
            is_incremental: false,
        };
        ring.want(0);
        Ok(ring)
    }

    fn registered(mut self, submitter: &Submitter<'_>, flags: u16) -> io::Result<Self> {
        let address = self.entries.as_ptr() as u64;
        // SAFETY: `entries` is a page-aligned mapping of mask + 1 entries, unmapped with this value, which the owner
        // drops after the ring has ended (see `Ring`'s Drop).
        unsafe { submitter.register_buf_ring_with_flags(address, self.mask + 1, GROUP, flags)? };
        self.is_incremental = flags & INCREMENTAL != 0;
        Ok(self)
    }

    /// Whether several receives fill a chunk.
    pub(super) fn is_incremental(&self) -> bool {
        self.is_incremental
    }

    /// Takes out the `len` bytes that the kernel has filled next in the chunk `id`. `more`: it goes on in that chunk.
    pub(super) fn take(&mut self, id: u16, len: usize, more: bool) -> Lease {
        let chunk = &mut self.chunks[usize::from(id)];
        let filled = chunk.filled as usize;
        assert!(!chunk.is_full && len <= self.chunk_bytes - filled, "the kernel fills only what it was offered");
        chunk.filled += len as u32;
        chunk.leases += 1;
        self.leased += 1;
        self.usage.has_received = true;
        let start = usize::from(id) * self.chunk_bytes + filled;
        // SAFETY: completions come in the order in which the kernel fills a chunk, so these bytes are those of this
        // receive alone: behind what was filled before and before all that comes. The chunk is not offered anew before
        // its leases have come back.
        let buffer = unsafe { self.memory.part(start, len) };
        self.move_on(id, more);
        Lease { id, buffer, len, start: 0 }
    }

    /// The kernel has named the chunk `id` and put nothing there. Of a chunk that several receives fill nothing is used up
    /// then, whatever else the completion says; a buffer that is for one receive is.
    pub(super) fn skip(&mut self, id: u16) {
        if !self.is_incremental {
            self.move_on(id, false);
            self.offer_if_free(id);
        }
    }

    /// Takes back what was out.
    ///
    /// # Panics
    /// If it is not of this ring.
    pub(super) fn give_back(&mut self, lease: Lease) {
        let place = self.memory.place_of(lease.buffer).expect("a lease comes back to the ring that it is from");
        // By where the bytes are, whatever the lease says: nobody may be left who can see them.
        let id = (place / self.chunk_bytes) as u16;
        let chunk = &mut self.chunks[usize::from(id)];
        assert!(chunk.leases > 0, "a lease comes back once");
        chunk.leases -= 1;
        self.leased -= 1;
        self.offer_if_free(id);
    }

    /// The kernel has found nothing to fill. Offers as much again, once a turn, if there is more.
    pub(super) fn ran_out(&mut self) {
        if !std::mem::replace(&mut self.usage.ran_out, true) {
            self.want(2 * self.wanted);
        }
    }

    /// All completions have been read, and nothing runs: offers the chunk that the kernel is in from its beginning, if
    /// nothing of it is out.
    ///
    /// # Panics
    /// If the kernel is not where the completions have said.
    pub(super) fn end_turn(&mut self) {
        if let Some(id) = self.current {
            self.begin_anew(id);
        }
        let Usage { turns, has_received, full, full_max, ran_out } = &mut self.usage;
        *ran_out = false;
        if !std::mem::take(has_received) {
            return;
        }
        *full_max = (*full_max).max(std::mem::take(full));
        *turns += 1;
        if *turns == TURNS_OBSERVED {
            let used = std::mem::take(full_max) + 1;
            *turns = 0;
            self.want(used.min(self.wanted));
        }
    }

    /// Offers the rest of a chunk and what is before it, if nothing of it is out.
    fn begin_anew(&mut self, id: u16) {
        let Chunk { filled, leases, entry, .. } = self.chunks[usize::from(id)];
        if leases > 0 || filled == 0 {
            return;
        }
        // SAFETY: the mapping is aligned and was written. The kernel writes entries inside this thread's system calls only,
        // and this is none.
        let found = unsafe { self.entry(entry).as_ref() };
        let found = (found.bid(), found.addr(), found.len());
        let wanted = (id, self.address_of(id) + u64::from(filled), self.chunk_bytes as u32 - filled);
        if found != wanted {
            // Were the kernel elsewhere, it would write next into what somebody has. A ring that is being dropped for
            // that very reason leaves everything as it is.
            assert!(
                std::thread::panicking(),
                "the kernel offers (buffer, address, bytes) {found:x?} where its completions have led to {wanted:x?}"
            );
            return;
        }
        self.chunks[usize::from(id)].filled = 0;
        self.write(entry, id);
    }

    /// Leases now out.
    pub(super) fn leased(&self) -> usize {
        self.leased
    }

    fn move_on(&mut self, id: u16, more: bool) {
        self.current = Some(id);
        if !more {
            self.current = None;
            self.chunks[usize::from(id)].is_full = true;
            self.offered -= 1;
            self.usage.full += 1;
        }
    }

    fn offer_if_free(&mut self, id: u16) {
        let chunk = &mut self.chunks[usize::from(id)];
        if chunk.is_full && chunk.leases == 0 {
            (chunk.is_full, chunk.filled) = (false, 0);
            self.kept.push(id);
            self.offer();
        }
    }

    /// Sets how many chunks the kernel is to have.
    fn want(&mut self, wanted: usize) {
        self.wanted = wanted.max(OFFERED_BYTES_MIN.div_ceil(self.chunk_bytes)).max(2).min(self.chunks.len());
        self.offer();
    }

    /// Offers chunks until the kernel has as many as it is to have.
    fn offer(&mut self) {
        while self.offered < self.wanted
            && let Some(id) = self.kept.pop()
        {
            self.offered += 1;
            let entry = self.tail & self.mask;
            self.chunks[usize::from(id)].entry = entry;
            self.write(entry, id);
            self.tail = self.tail.wrapping_add(1);
            // SAFETY: `entries` is the base of the ring, whose first entry holds the tail in its reserved field.
            let tail = unsafe { BufRingEntry::tail(self.entries.as_ptr()) };
            // SAFETY: the tail is an aligned u16 inside the mapping; both sides access it atomically.
            let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
            tail.store(self.tail, Ordering::Release);
        }
    }

    fn entry(&self, entry: u16) -> NonNull<BufRingEntry> {
        // SAFETY: it is at most the mask, so it lies inside the mapping of mask + 1 entries.
        unsafe { self.entries.add(usize::from(entry & self.mask)) }
    }

    /// Where a chunk begins.
    fn address_of(&self, id: u16) -> u64 {
        self.memory.start().as_ptr() as u64 + u64::from(id) * self.chunk_bytes as u64
    }

    /// Writes an entry that offers the whole chunk.
    fn write(&mut self, entry: u16, id: u16) {
        debug_assert!(self.chunks[usize::from(id)].leases == 0, "what is out is not offered");
        let address = self.address_of(id);
        // SAFETY: the mapping is aligned, zeroed and writable. The kernel reads entries inside this thread's system
        // calls only, and this is none.
        let place = unsafe { self.entry(entry).as_mut() };
        place.set_addr(address);
        place.set_len(u32::try_from(self.chunk_bytes).expect("chunks are no larger than a u32 says"));
        place.set_bid(id);
    }
}

#[cfg(test)]
mod tests;
