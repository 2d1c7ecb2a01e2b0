//! Small names: which lane, which shard, which topic, which subscriber.

/// Lanes a topic can have.
pub const LANES_MAX: usize = 8;
/// Shards a hub can serve: one bit each in a [`ShardSet`].
pub const SHARDS_MAX: usize = 64;

/// A form in which a topic's entries are kept: each lane is a log of the same entries, with the same sequence
/// numbers, encoded differently. What a lane's form is, its user knows; the hub only keeps the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(u8);

impl LaneId {
    /// The one from which all others can be made. It is always active: it is the topic's history.
    pub const HISTORY: Self = Self(0);

    /// Lane number `index`.
    ///
    /// # Panics
    /// If `index` is not below [`LANES_MAX`].
    pub const fn new(index: u8) -> Self {
        assert!((index as usize) < LANES_MAX, "a lane's number is below LANES_MAX");
        Self(index)
    }

    /// The lane's number.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// All lanes, the history first.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..LANES_MAX as u8).map(Self)
    }
}

/// One of the server's shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(u8);

impl ShardId {
    /// Shard number `index`.
    ///
    /// # Panics
    /// If `index` is not below [`SHARDS_MAX`].
    pub const fn new(index: u8) -> Self {
        assert!((index as usize) < SHARDS_MAX, "a shard's number is below SHARDS_MAX");
        Self(index)
    }

    /// The shard's number.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A set of shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardSet(u64);

impl ShardSet {
    /// Whether no shard is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `shard` is in the set.
    pub const fn contains(self, shard: ShardId) -> bool {
        self.0 & (1 << shard.0) != 0
    }

    /// The shards of the set, in ascending order.
    pub fn iter(self) -> impl Iterator<Item = ShardId> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let index = u8::try_from(left.trailing_zeros()).ok().filter(|_| left != 0)?;
            left &= left - 1;
            Some(ShardId(index))
        })
    }

    pub(crate) fn insert(&mut self, shard: ShardId) {
        self.0 |= 1 << shard.0;
    }

    pub(crate) fn remove(&mut self, shard: ShardId) {
        self.0 &= !(1 << shard.0);
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// A topic's number in its hub: dense from 0, and used again once its topic was let go. This is what a note to a shard carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub(crate) u32);

impl TopicId {
    /// The topic's number.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A connection that subscribes: its slot in its shard, and the generation of the slot's use, so that a name kept too
/// long reaches nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subscriber {
    /// Index of the connection in its shard; dense, as tables are indexed by it.
    pub slot: u32,
    /// How many connections had the slot before.
    pub generation: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_set_lists_what_was_inserted_and_not_removed() {
        let mut set = ShardSet::default();
        for index in [63, 0, 17, 5] {
            set.insert(ShardId::new(index));
        }
        set.remove(ShardId::new(5));
        assert!(set.contains(ShardId::new(17)) && !set.contains(ShardId::new(5)));
        assert_eq!(set.iter().map(ShardId::index).collect::<Vec<_>>(), [0, 17, 63]);
    }
}
