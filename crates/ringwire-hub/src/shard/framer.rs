//! What the hub's user encodes for one subscriber, or for the few that begin together.

use crate::ids::LaneId;
use crate::topic::{Key, Topic};

/// Makes frames of what the hub knows. The hub knows no encoding.
///
/// Each call appends the ready frames of one lane to `out`, and may append nothing. What is made of one entry, one
/// notice or one part of a snapshot is sent as a whole or not at all. A call may be repeated, for another subscriber or
/// after a [`rewind`](super::ShardHub::rewind), with the same result.
pub trait Framer {
    /// An entry, as its lane would hold it. `history` is the entry in the history lane.
    fn replay(&mut self, lane: LaneId, topic: &Topic, history: &[u8], out: &mut Vec<u8>);

    /// Something that a subscriber must know before what follows.
    fn notice(&mut self, lane: LaneId, topic: &Topic, notice: Notice, out: &mut Vec<u8>);

    /// A part of the state by entry `seq`: `keys` in their order. If the topic has no key, there is one part without any.
    fn snapshot(&mut self, lane: LaneId, topic: &Topic, seq: u64, keys: &[Key], part: Part, out: &mut Vec<u8>);
}

/// Which part of a snapshot it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// None comes before: it replaces what the subscriber knows.
    pub first: bool,
    /// None follows.
    pub last: bool,
}

/// What a subscriber is told of entries that it does not get. Entries that a notice is about never come after it, but for
/// those that a skip leaves. Notices of one subscription never overlap, except that where what a skip has left is lost
/// before it was sent, another skip follows of all entries from there to the end of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// `count` of the entries `from..=to` do not come; the others follow at once, in ascending order.
    Skip {
        /// The first entry.
        from: u64,
        /// The last entry.
        to: u64,
        /// How many do not come.
        count: u64,
        /// Why not.
        why: SkipReason,
    },
    /// None of the entries `from..=to` comes. On a keyed topic a snapshot follows.
    Gap {
        /// The first entry.
        from: u64,
        /// The last entry.
        to: u64,
        /// Why not.
        why: GapReason,
    },
}

/// Why entries were skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// Later ones took their place, as the subscriber was behind.
    Conflated,
    /// Later ones took their place within an interval, or a tick of the topic.
    Rate,
    /// They had waited too long.
    Age,
}

/// Why there is a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// The subscriber was too slow.
    Slow,
    /// The log lost them while the subscriber was still coming from a place in the past.
    Lost,
}
