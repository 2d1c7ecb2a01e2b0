//! The op table: what the kernel can see of each operation in flight, and whose it is.
//!
//! A slot is named by a token with a generation, so that a late completion of an operation that has ended can
//! never be taken for one of the operation that has the slot now.

use crate::data::Data;
use crate::op::OpToken;

/// What a completion is about: the top 8 bits of `user_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Accept = 1,
    Receive = 2,
    Transmit = 3,
    Send = 4,
    Writable = 5,
    Close = 6,
    /// A cancel, or a close of a socket that nobody knows: only failures complete, and nobody waits for those.
    Quiet = 7,
    /// Another ring's message, or the poll of the wake eventfd.
    Woken = 8,
    WakePoll = 9,
    Shutdown = 10,
    /// A message to another ring, which completes only if it failed.
    Wake = 11,
    PeerAddress = 12,
    Fill = 13,
}

const GENERATION_BITS: u32 = 24;
const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;

/// `user_data` of an operation without a slot.
pub(super) const fn untracked(kind: Kind) -> u64 {
    (kind as u64) << 56
}

/// The parts of a `user_data`.
#[derive(Clone, Copy, Debug)]
pub(super) struct UserData {
    pub(super) kind: Kind,
    generation: u32,
    pub(super) slot: u32,
}

impl UserData {
    /// Takes `user_data` apart. `None` if this driver never wrote it.
    pub(super) fn parse(user_data: u64) -> Option<Self> {
        let kind = match (user_data >> 56) as u8 {
            1 => Kind::Accept,
            2 => Kind::Receive,
            3 => Kind::Transmit,
            4 => Kind::Send,
            5 => Kind::Writable,
            6 => Kind::Close,
            7 => Kind::Quiet,
            8 => Kind::Woken,
            9 => Kind::WakePoll,
            10 => Kind::Shutdown,
            11 => Kind::Wake,
            12 => Kind::PeerAddress,
            13 => Kind::Fill,
            _ => return None,
        };
        let generation = (user_data >> 32) as u32 & GENERATION_MASK;
        Some(Self { kind, generation, slot: (user_data & u64::from(u32::MAX)) as u32 })
    }
}

/// An operation in flight, or a place for one. Most operations in flight are receives of idle connections, so what those
/// have none of, data, is elsewhere.
#[derive(Debug)]
struct Slot {
    generation: u32,
    context: u32,
    /// Index of its data, if it has some. Of a close: the descriptor.
    number: u32,
    /// What the operation is; none if the slot is free.
    kind: Option<Kind>,
    has_data: bool,
}

impl Slot {
    fn data(&self) -> Option<usize> {
        self.has_data.then_some(self.number as usize)
    }
}

/// Operations in flight.
#[derive(Debug)]
pub(super) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    data: Vec<Option<Data>>,
    data_free: Vec<u32>,
}

impl Table {
    /// Room for so many operations. Address space only, until they come.
    pub(super) fn new(operations: usize) -> Self {
        Self { slots: Vec::with_capacity(operations), free: Vec::new(), data: Vec::new(), data_free: Vec::new() }
    }

    /// Operations in flight.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes in an operation with what the kernel will see of it.
    pub(super) fn insert(&mut self, kind: Kind, context: u32, data: Option<Data>) -> (OpToken, u32) {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(Slot { generation: 0, context: 0, number: 0, kind: None, has_data: false });
                u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 operations in flight")
            }
        };
        let index = data.map(|data| self.keep(data));
        let entry = &mut self.slots[slot as usize];
        debug_assert!(entry.kind.is_none(), "a free slot is free");
        entry.kind = Some(kind);
        entry.context = context;
        entry.has_data = index.is_some();
        entry.number = index.unwrap_or(0);
        (name(kind, entry.generation, slot), slot)
    }

    /// Keeps data of an operation; says where.
    fn keep(&mut self, data: Data) -> u32 {
        if let Some(index) = self.data_free.pop() {
            self.data[index as usize] = Some(data);
            return index;
        }
        self.data.push(Some(data));
        u32::try_from(self.data.len() - 1).expect("fewer than 2^32 operations in flight")
    }

    /// The operations in flight.
    pub(super) fn tokens(&self) -> Vec<OpToken> {
        let slots = self.slots.iter().zip(0..);
        slots.filter_map(|(entry, slot)| Some(name(entry.kind?, entry.generation, slot))).collect()
    }

    /// The data of the operation in `slot`.
    pub(super) fn data(&self, slot: u32) -> Option<&Data> {
        self.data[self.slots[slot as usize].data()?].as_ref()
    }

    /// Keeps a number with the operation in `slot`, which has no data, until the next one has that place.
    pub(super) fn set_number(&mut self, slot: u32, number: u32) {
        let entry = &mut self.slots[slot as usize];
        debug_assert!(!entry.has_data, "what has data has no other number");
        entry.number = number;
    }

    /// The number that was kept with the latest operation in `slot`.
    pub(super) fn number(&self, slot: u32) -> u32 {
        self.slots[slot as usize].number
    }

    /// Where the operation in `slot` may write, and how much.
    pub(super) fn room(&mut self, slot: u32) -> (*mut u8, u32) {
        match self.slots[slot as usize].data().and_then(|index| self.data[index].as_mut()) {
            Some(Data::Owned { bytes, .. }) => (bytes.as_mut_ptr(), bytes.len() as u32),
            _ => unreachable!("an operation that writes has bytes of its own to write to"),
        }
    }

    /// Where the operation in `slot` may receive behind the bytes it has, and how much.
    pub(super) fn spare(&mut self, slot: u32) -> (*mut u8, usize) {
        match self.slots[slot as usize].data().and_then(|index| self.data[index].as_mut()) {
            Some(Data::Owned { bytes, .. }) => {
                let spare = bytes.spare_capacity_mut();
                (spare.as_mut_ptr().cast(), spare.len())
            }
            _ => unreachable!("an operation that receives has memory of its own to receive in"),
        }
    }

    /// Context of the operation that `name` names, if it is still in flight.
    pub(super) fn context(&self, name: UserData) -> Option<u32> {
        let entry = self.slots.get(name.slot as usize)?;
        (entry.kind.is_some() && entry.generation == name.generation).then_some(entry.context)
    }

    /// Ends the operation in `slot` and gives back its data.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Data> {
        let entry = &mut self.slots[slot as usize];
        assert!(entry.kind.take().is_some(), "an operation ends once");
        entry.generation = (entry.generation + 1) & GENERATION_MASK;
        self.free.push(slot);
        let index = entry.data()?;
        self.data_free.push(index as u32);
        self.data[index].take()
    }

    /// Ends the operation that `token` names, if it is still in flight.
    pub(super) fn end(&mut self, token: OpToken) {
        let slot = (token.bits() & u64::from(u32::MAX)) as u32;
        let entry = &self.slots[slot as usize];
        if entry.kind.is_some() && entry.generation == (token.bits() >> 32) as u32 & GENERATION_MASK {
            self.remove(slot);
        }
    }
}

fn name(kind: Kind, generation: u32, slot: u32) -> OpToken {
    OpToken::new((kind as u64) << 56 | u64::from(generation) << 32 | u64::from(slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_an_ended_operation_names_nothing() {
        let mut table = Table::new(8);
        let (old, slot) = table.insert(Kind::Receive, 7, None);
        let name = UserData::parse(old.bits()).expect("own user_data");
        assert_eq!(name.kind, Kind::Receive);
        assert_eq!(table.context(name), Some(7));
        table.remove(slot);
        assert_eq!(table.context(name), None);
        let (new, _) = table.insert(Kind::Receive, 8, None);
        assert_ne!(old, new);
        assert_eq!(table.context(name), None);
        table.end(old);
        assert_eq!(table.tokens(), [new]);
        table.end(new);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn an_operation_without_data_takes_sixteen_bytes() {
        assert_eq!(size_of::<Slot>(), 16);
    }

    #[test]
    fn data_comes_back_with_its_operation_and_its_place_is_used_again() {
        let mut table = Table::new(8);
        let owned = |byte| Some(Data::Owned { bytes: vec![byte; 3], start: 0 });
        let byte = |data: Option<Data>| match data {
            Some(Data::Owned { bytes, .. }) => bytes[0],
            other => panic!("owned data, not {other:?}"),
        };
        for _ in 0..3 {
            let slots: Vec<u32> = (0..5).map(|nth| table.insert(Kind::Send, 0, owned(nth)).1).collect();
            let (_, receive) = table.insert(Kind::Receive, 0, None);
            assert!(table.data(receive).is_none());
            for (nth, &slot) in slots.iter().enumerate().rev() {
                assert!(matches!(table.data(slot), Some(Data::Owned { bytes, .. }) if bytes[0] == nth as u8));
                assert_eq!(byte(table.remove(slot)), nth as u8);
            }
            assert!(table.remove(receive).is_none());
        }
        assert_eq!((table.data.len(), table.data_free.len()), (5, 5));
    }

    #[test]
    fn generations_wrap_within_their_bits() {
        let mut table = Table::new(8);
        let (_, slot) = table.insert(Kind::Send, 0, None);
        table.slots[slot as usize].generation = GENERATION_MASK;
        table.remove(slot);
        let (token, _) = table.insert(Kind::Send, 0, None);
        assert_eq!(token.bits(), untracked(Kind::Send));
    }
}
