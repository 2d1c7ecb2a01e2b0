//! What a subscriber asks for, and what it is told at once.

use std::fmt;

use crate::ids::LaneId;

/// What happens to a subscriber that lags behind what its topic keeps or allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowPolicy {
    /// While it lags beyond the topic's `backlog_bytes_max` it gets only the latest of each key, until it has caught
    /// up; beyond what is kept, a snapshot.
    Latest,
    /// Its cursor jumps to the log's end; what it missed is counted as its gap. On a keyed topic a snapshot follows.
    Drop,
    /// It is to be disconnected: notes and pulls say so.
    Disconnect,
}

/// Which entries a subscriber wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Each, as long as it is fast enough.
    All,
    /// Of those that wait for it, the last of each key; on a plain topic, the last.
    Latest,
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what comes next.
    Head,
    /// With the first entry held. For a topic that was opened while a pattern waited for it: nothing is missed.
    First,
    /// With this many entries before the head, as far as they are held, and no snapshot.
    Back {
        /// How many.
        entries: u64,
    },
    /// Behind this entry, if it is of this log and those after it are held; else as from `Head`.
    After {
        /// The topic's epoch at that time.
        epoch: u64,
        /// The last entry that the subscriber has.
        seq: u64,
    },
}

/// How a subscription is to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The form.
    pub lane: LaneId,
    /// Which entries.
    pub mode: Mode,
    /// What happens if it lags too far.
    pub slow: SlowPolicy,
    /// Microseconds, at least, from the beginning of one round to that of the next; of each key, the latest in a round.
    /// 0 if it wants each entry at once.
    pub interval_us: u64,
    /// Entries that have waited longer than this, in microseconds, are conflated; on a plain topic they are skipped.
    /// `u64::MAX` if they may be of any age.
    pub max_age_us: u64,
    /// Where it begins.
    pub start: Start,
    /// A keyed topic begins with a snapshot, unless `start` finds its place in the log.
    pub snapshot: bool,
}

impl Wanted {
    /// Each entry from the head on, at once, in `lane`; `slow` says what happens to who is too slow.
    pub const fn all(lane: LaneId, slow: SlowPolicy) -> Self {
        Self { lane, mode: Mode::All, slow, interval_us: 0, max_age_us: u64::MAX, start: Start::Head, snapshot: true }
    }

    /// The latest of each key from the head on, in `lane`.
    pub const fn latest(lane: LaneId) -> Self {
        Self { mode: Mode::Latest, ..Self::all(lane, SlowPolicy::Latest) }
    }
}

/// How a subscription has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// It asked for no place in the log.
    New,
    /// At the place it asked for: nothing is missed.
    Resumed,
    /// The place it asked for is not held, or is of another epoch.
    Reset,
}

/// A subscription that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// Delivery begins behind this entry; a snapshot that it begins with is the state by this entry.
    pub seq: u64,
    /// The topic's last entry.
    pub head: u64,
    /// How it begins.
    pub begin: Begin,
    /// Something is pending at once, and no wake will say so: pull, as after [`Wake::Ready`](super::Wake::Ready).
    pub is_ready: bool,
}

/// Why a subscription was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeError {
    /// The subscriber has the topic's lane already.
    AlreadySubscribed,
    /// The shard has `subscriptions_max` subscriptions.
    TooManySubscriptions,
    /// The slot's number is not below `slots_max`.
    SlotOutOfRange,
    /// The topic was let go: who opens its name again gets another.
    Gone,
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlreadySubscribed => "it is subscribed to this topic already",
            Self::TooManySubscriptions => "the shard has as many subscriptions as it may have",
            Self::SlotOutOfRange => "the slot is beyond those of the shard's table",
            Self::Gone => "the topic was let go while it was idle: subscribe again",
        })
    }
}

impl std::error::Error for SubscribeError {}
