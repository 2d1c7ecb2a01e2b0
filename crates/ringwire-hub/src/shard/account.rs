//! What became of what was published.

/// What became of the entries that were published since a subscriber subscribed:
/// `delivered + skipped + gap + pending = published`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Entries published.
    pub published: u64,
    /// Entries handed out by pulls and not taken back by rewinds.
    pub delivered: u64,
    /// Entries it does not get, as later ones took their place or they were too old.
    pub skipped: u64,
    /// Entries it does not get, as it was too slow.
    pub gap: u64,
    /// Entries it can still get.
    pub pending: u64,
}

impl std::ops::AddAssign for Account {
    fn add_assign(&mut self, other: Self) {
        self.published += other.published;
        self.delivered += other.delivered;
        self.skipped += other.skipped;
        self.gap += other.gap;
        self.pending += other.pending;
    }
}

/// How one subscription stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The last entry before the subscription: the account is of those after it.
    pub since: u64,
    /// The account.
    pub account: Account,
}
