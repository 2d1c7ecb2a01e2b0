//! Provided buffers. What a receive does not fill is poison, so that reading past the end shows.

use std::collections::VecDeque;

use ringwire_ring::{Buffer, Lease};

const POISON: u8 = 0xDB;

#[derive(Debug)]
pub(super) struct Buffers {
    here: Vec<Option<Buffer>>,
    free: VecDeque<u16>,
}

impl Buffers {
    pub(super) fn new(count: u16, bytes: usize) -> Self {
        let here = (0..count).map(|_| Some(vec![POISON; bytes].into_boxed_slice().into())).collect();
        Self { here, free: (0..count).collect() }
    }

    /// Takes the next buffer of the ring out.
    pub(super) fn take(&mut self) -> Option<(u16, Buffer)> {
        let id = self.free.pop_front()?;
        let buffer = self.here[usize::from(id)].take().expect("a free buffer is here");
        Some((id, buffer))
    }

    pub(super) fn give_back(&mut self, mut lease: Lease) {
        lease.buffer.fill(POISON);
        let place = &mut self.here[usize::from(lease.id)];
        assert!(place.is_none(), "a buffer is released once");
        *place = Some(lease.buffer);
        self.free.push_back(lease.id);
    }

    pub(super) fn leased(&self) -> usize {
        self.here.len() - self.free.len()
    }
}
