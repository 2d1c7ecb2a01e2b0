//! What only a connection has whose peer is behind, or has sent more than a turn takes.
//!
//! Most connections never have any of it, so it is in a box of its own, made when there is something to put in. Read where
//! there is none, it is empty. [`Core::count`](crate::context::Core::count), which follows each change of what a connection
//! holds, lets an empty box go.

use std::ops::{Deref, DerefMut};

/// What waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// What a socket refused, and replies since: waits for the socket to have room.
    pub(crate) backlog: Vec<u8>,
    /// What came in after reading was to stop, to be decoded when it goes on. At most what the buffer ring held then:
    /// nothing more is read before all of it is decoded.
    pub(crate) held: Vec<u8>,
    /// What the send in flight holds.
    pub(crate) sending: Sending,
}

/// A buffer that the kernel sends from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sending {
    pub(crate) bytes: u32,
    pub(crate) capacity: u32,
}

/// Nothing waits.
static NOTHING: Waiting = Waiting { backlog: Vec::new(), held: Vec::new(), sending: Sending::NOTHING };

/// What waits, or that nothing does. To write to it makes the box.
#[derive(Debug, Default)]
pub(crate) struct Excess(Option<Box<Waiting>>);

impl Sending {
    const NOTHING: Self = Self { bytes: 0, capacity: 0 };

    pub(crate) fn new(buffer: &Vec<u8>) -> Self {
        let count = |bytes| u32::try_from(bytes).unwrap_or(u32::MAX);
        Self { bytes: count(buffer.len()), capacity: count(buffer.capacity()) }
    }
}

impl Excess {
    /// Takes the backlog out.
    pub(crate) fn take_backlog(&mut self) -> Vec<u8> {
        self.0.as_mut().map(|waiting| std::mem::take(&mut waiting.backlog)).unwrap_or_default()
    }

    /// Takes what is held out.
    pub(crate) fn take_held(&mut self) -> Vec<u8> {
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
        self.held.capacity() + self.backlog.capacity() + self.sending.capacity as usize
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
            Box::new(Waiting { backlog: Vec::new(), held: Vec::new(), sending: Sending::NOTHING })
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
    fn its_box_lives_as_long_as_something_is_in_it() {
        let mut excess = Excess::default();
        excess.backlog.extend_from_slice(b"hello");
        excess.tidy();
        assert_eq!(excess.take_backlog(), b"hello");
        excess.sending = Sending::new(&vec![1, 2, 3]);
        excess.tidy();
        assert_eq!((excess.sending.bytes, excess.memory_bytes()), (3, size_of::<Waiting>() + 3));
        excess.forget_sending();
        excess.tidy();
        assert!(excess.0.is_none() && excess.memory_bytes() == 0);
    }
}
