//! What only a connection has whose peer is behind, or has sent more than a turn takes.
//!
//! Most connections never have any of it, so it is in a box of its own, made when there is something to put in. Read where
//! there is none, it is empty. [`Core::count`](crate::context::Core::count), which follows each change of what a connection
//! holds, lets an empty box go.

use std::ops::{Deref, DerefMut};

use ringwire_ring::Data;

/// What waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// What a socket refused, and replies since: waits for the socket to have room.
    pub(crate) backlog: Rest,
    /// What came in after reading was to stop, to be decoded when it goes on. At most what the buffer ring held then:
    /// nothing more is read before all of it is decoded.
    pub(crate) held: Rest,
    /// What the send in flight holds.
    pub(crate) sending: Sending,
}

/// Bytes that wait, in memory where others may be before them that do not any more.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    bytes: Vec<u8>,
    start: usize,
}

/// A buffer that the kernel sends from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sending {
    pub(crate) bytes: u32,
    pub(crate) capacity: u32,
}

/// What waits is as much of its memory as one of so many parts, or it is moved.
const KEPT_SHARE_MIN: usize = 4;

/// Nothing waits.
static NOTHING: Waiting = Waiting { backlog: Rest::EMPTY, held: Rest::EMPTY, sending: Sending::NOTHING };

/// What waits, or that nothing does. To write to it makes the box.
#[derive(Debug, Default)]
pub(crate) struct Excess(Option<Box<Waiting>>);

impl Sending {
    const NOTHING: Self = Self { bytes: 0, capacity: 0 };

    pub(crate) fn new(backlog: &Rest) -> Self {
        let count = |bytes| u32::try_from(bytes).unwrap_or(u32::MAX);
        Self { bytes: count(backlog.len()), capacity: count(backlog.bytes.capacity()) }
    }
}

impl Rest {
    const EMPTY: Self = Self { bytes: Vec::new(), start: 0 };

    /// What is in this memory from `start` on.
    pub(crate) fn new(bytes: Vec<u8>, start: usize) -> Self {
        Self { bytes, start }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }

    /// The first `bytes` wait no more. Their memory goes once it is most of all.
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.start += bytes;
        if self.len() < self.bytes.capacity() / KEPT_SHARE_MIN {
            *self = Self::new(self.as_slice().to_vec(), 0);
        }
    }

    /// Makes room for so many bytes more, and no more than that.
    pub(crate) fn reserve_exact(&mut self, more: usize) {
        if self.bytes.capacity() - self.bytes.len() < more {
            // What is before them need not move with them.
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.reserve_exact(more);
    }

    pub(crate) fn extend_from_slice(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.reserve_exact(bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The bytes alone.
    pub(crate) fn into_vec(mut self) -> Vec<u8> {
        self.bytes.drain(..self.start);
        self.bytes
    }

    /// To be transmitted.
    pub(crate) fn into_data(self) -> Data {
        Data::Owned { bytes: self.bytes, start: self.start }
    }
}

impl Excess {
    /// Takes the backlog out.
    pub(crate) fn take_backlog(&mut self) -> Rest {
        self.0.as_mut().map(|waiting| std::mem::take(&mut waiting.backlog)).unwrap_or_default()
    }

    /// Takes what is held out.
    pub(crate) fn take_held(&mut self) -> Rest {
        self.0.as_mut().map(|waiting| std::mem::take(&mut waiting.held)).unwrap_or_default()
    }

    /// The send in flight holds nothing any more, or there is none.
    pub(crate) fn forget_sending(&mut self) {
        if let Some(waiting) = &mut self.0 {
            waiting.sending = Sending::NOTHING;
        }
    }

    /// Lets the box go if it is empty.
    pub(crate) fn tidy(&mut self) {
        if self.0.is_some() && self.buffers_bytes() == 0 {
            self.0 = None;
        }
    }

    /// Heap memory it takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        if self.0.is_some() { size_of::<Waiting>() + self.buffers_bytes() } else { 0 }
    }

    fn buffers_bytes(&self) -> usize {
        self.held.bytes.capacity() + self.backlog.bytes.capacity() + self.sending.capacity as usize
    }
}

impl Deref for Excess {
    type Target = Waiting;

    fn deref(&self) -> &Waiting {
        self.0.as_deref().unwrap_or(&NOTHING)
    }
}

impl DerefMut for Excess {
    fn deref_mut(&mut self) -> &mut Waiting {
        self.0.get_or_insert_with(|| {
            Box::new(Waiting { backlog: Rest::EMPTY, held: Rest::EMPTY, sending: Sending::NOTHING })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_has_none_pays_a_pointer() {
        let mut excess = Excess::default();
        assert_eq!(size_of::<Excess>(), 8);
        assert!(excess.backlog.is_empty() && excess.held.is_empty() && excess.sending.bytes == 0);
        assert!(excess.take_backlog().is_empty() && excess.take_held().is_empty());
        excess.forget_sending();
        assert!(excess.0.is_none(), "to look for it makes none");
        assert_eq!(excess.memory_bytes(), 0);
    }

    #[test]
    fn what_is_taken_in_by_parts_is_moved_only_when_little_is_left_of_it() {
        let mut rest = Rest::new((0..100).collect(), 0);
        let place = rest.as_slice().as_ptr();
        rest.skip(40);
        rest.skip(35);
        assert_eq!((rest.len(), rest.as_slice()[0], rest.as_slice().as_ptr()), (25, 75, place.wrapping_add(75)));
        rest.skip(1);
        assert_eq!((rest.len(), rest.bytes.capacity(), rest.as_mut_slice()[0]), (24, 24, 76));
        rest.skip(24);
        assert!(rest.is_empty() && rest.bytes.capacity() == 0);
    }

    #[test]
    fn its_box_lives_as_long_as_something_is_in_it() {
        let mut excess = Excess::default();
        excess.backlog.extend_from_slice(b"hello");
        excess.tidy();
        assert_eq!(excess.take_backlog().into_vec(), b"hello");
        excess.sending = Sending::new(&Rest::new(vec![0, 1, 2, 3], 1));
        excess.tidy();
        assert_eq!((excess.sending.bytes, excess.memory_bytes()), (3, size_of::<Waiting>() + 4));
        excess.forget_sending();
        excess.tidy();
        assert!(excess.0.is_none() && excess.memory_bytes() == 0);
    }
}
