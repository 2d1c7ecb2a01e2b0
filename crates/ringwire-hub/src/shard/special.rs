//! What only some subscriptions need: who is served in rounds, comes from the past, or is receiving a snapshot.

use super::framer::SkipReason;
use super::wanted::{Mode, Wanted};
use crate::topic::TopicOptions;

/// How a subscription is served otherwise than with each entry at once. Most have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Special {
    /// It asked for the latest only.
    pub(super) is_latest: bool,
    /// Its topic ticks.
    ticks: bool,
    /// From the beginning of one round to that of the next, at least; 0 for at once.
    pub(super) interval_us: u64,
    /// Entries that are older are conflated.
    pub(super) max_age_us: u64,
    /// It is conflated, as it lags beyond the topic's backlog, until it has caught up.
    pub(super) is_lagging: bool,
    /// It began in the past, which is no lag of its own, and has not come as far as the topic's backlog yet.
    pub(super) is_catching_up: bool,
    /// The round that is under way is of the entries before this one.
    pub(super) round_end: u64,
    /// Why entries are skipped in that round.
    pub(super) why: SkipReason,
    /// The next round may begin then.
    pub(super) round_at_us: u64,
    /// When it is due, if it waits for its next round; else 0.
    pub(super) waits_until: u64,
    /// What is skipped of the entries up to this one was told.
    pub(super) told: u64,
    /// How many of these, from the cursor on, are skipped; the others are promised.
    pub(super) told_left: u64,
    /// The snapshot that it is receiving, and which part of it comes next.
    pub(super) snapshot: Option<Receiving>,
}

/// A snapshot, and which part of it comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Receiving {
    pub(super) snapshot: u64,
    pub(super) part: u32,
}

impl Special {
    /// What is special of the beginning if nothing was asked for.
    pub(super) const NONE: Self = Self {
        is_latest: false,
        ticks: false,
        interval_us: 0,
        max_age_us: u64::MAX,
        is_lagging: false,
        is_catching_up: false,
        round_end: 0,
        why: SkipReason::Conflated,
        round_at_us: 0,
        waits_until: 0,
        told: 0,
        told_left: 0,
        snapshot: None,
    };

    pub(super) fn new(wanted: &Wanted, topic: &TopicOptions) -> Self {
        Self {
            is_latest: wanted.mode == Mode::Latest,
            ticks: topic.tick_us > 0,
            interval_us: wanted.interval_us,
            max_age_us: wanted.max_age_us,
            ..Self::NONE
        }
    }

    /// Whether it says anything.
    pub(super) fn is_needed(&self) -> bool {
        let asked = self.is_always_conflated() || self.max_age_us != u64::MAX;
        asked || self.is_lagging || self.is_catching_up || self.snapshot.is_some() || self.waits_until > 0
    }

    /// Whether it is served in rounds, however prompt it is.
    pub(super) fn is_always_conflated(&self) -> bool {
        self.is_latest || self.ticks || self.interval_us > 0
    }

    /// Why entries are skipped, other than for their age.
    pub(super) fn reason(&self) -> SkipReason {
        if self.ticks || self.interval_us > 0 { SkipReason::Rate } else { SkipReason::Conflated }
    }
}
