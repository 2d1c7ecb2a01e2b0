//! Slots in the order in which they came, each at most once.
//!
//! Whether a slot is queued is kept by slot, not by connection: a slot that is used again meanwhile is still there once, so
//! a queue is never longer than the shard has slots.

use std::collections::VecDeque;

/// A queue of a shard's slots.
#[derive(Debug)]
pub(crate) struct SlotQueue {
    slots: VecDeque<u32>,
    /// A bit for each slot that there may be: whether it is queued.
    queued: Box<[u64]>,
}

impl SlotQueue {
    /// For slots below `limit`.
    pub(crate) fn new(limit: usize) -> Self {
        Self { slots: VecDeque::new(), queued: vec![0; limit.div_ceil(64)].into() }
    }

    /// Puts `slot` at the end, unless it is queued.
    pub(crate) fn push(&mut self, slot: u32) {
        let (word, bit) = place(slot);
        if self.queued[word] & bit == 0 {
            self.queued[word] |= bit;
            self.slots.push_back(slot);
        }
    }

    /// Takes the slot that has been here longest.
    pub(crate) fn pop(&mut self) -> Option<u32> {
        let slot = self.slots.pop_front()?;
        let (word, bit) = place(slot);
        self.queued[word] &= !bit;
        Some(slot)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

/// The word that has a slot's bit, and the bit.
fn place(slot: u32) -> (usize, u64) {
    (slot as usize / 64, 1 << (slot % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_queued_once_and_again_after_its_turn() {
        let mut queue = SlotQueue::new(130);
        for slot in [129, 0, 129, 64, 0] {
            queue.push(slot);
        }
        assert_eq!((queue.len(), queue.pop()), (3, Some(129)));
        queue.push(129);
        assert_eq!([queue.pop(), queue.pop(), queue.pop(), queue.pop()], [Some(0), Some(64), Some(129), None]);
        assert!(queue.is_empty());
    }
}
