//! Pulling what is pending, and putting back what the kernel did not take.

use crate::ids::Subscriber;
use crate::run::Run;

use super::feed::Taken;
use super::{Framer, ShardHub, SlowPolicy};

/// What a pull came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulled {
    /// Bytes handed out.
    pub bytes: usize,
    /// Entries handed out.
    pub entries: u64,
    /// Entries that the subscriber does not get, as later ones took their place or they were too old.
    pub skipped: u64,
    /// Entries that the subscriber does not get, as it was too slow: its cursors jumped over them in this pull.
    pub gap: u64,
    /// Something is still pending: pull again when the socket can take more. If not, a note will wake the subscriber.
    pub more: bool,
    /// The subscriber lags too far on a subscription whose policy is to disconnect it. Nothing more is handed out.
    pub slow: bool,
}

impl ShardHub {
    /// Hands out what is pending for `who`, at most `budget` bytes but at least one entry, in runs of whole entries,
    /// and takes it as delivered. Its subscriptions are served in turn. A subscriber that is not known has nothing.
    ///
    /// All runs of one pull are to be sent in the order in which they come.
    pub fn pull(
        &mut self,
        who: Subscriber,
        budget: usize,
        _now_us: u64,
        _framer: &mut impl Framer,
        mut emit: impl FnMut(Run<'_>),
    ) -> Pulled {
        let mut pulled = Pulled::default();
        if self.table.record(who).is_none() {
            return pulled;
        }
        let budget = budget.min(u32::MAX as usize / 2);
        self.table.begin_pull(who.slot);
        while let Some(id) = self.table.first_ready(who.slot) {
            let subscription = &mut self.table[id];
            let feed = self.feeds[subscription.feed as usize].as_ref().expect("a subscription's feed exists");
            let from = subscription.next;
            let is_late = from < feed.floor;
            let mut taken = Taken { next: from, bytes: 0, is_lost: is_late };
            if !is_late {
                taken = feed.take(from, budget.saturating_sub(pulled.bytes), pulled.bytes == 0, &mut emit);
            }
            if taken.is_lost && taken.next == from {
                if subscription.policy == SlowPolicy::Disconnect {
                    (pulled.slow, subscription.is_reported) = (true, true);
                    break;
                }
                let gap = feed.end - from;
                (subscription.next, subscription.gap) = (feed.end, subscription.gap + gap);
                feed.topic.count_gap(gap);
                pulled.gap += gap;
                self.table.pop_ready(who.slot);
                continue;
            }
            subscription.next = taken.next;
            pulled.bytes += taken.bytes;
            pulled.entries += taken.next - from;
            let (took, is_done) = (taken.next > from, taken.next >= feed.end);
            if took {
                self.table.push_pulled(id, taken.next - from, taken.bytes);
            }
            if took || is_done {
                self.table.pop_ready(who.slot);
            }
            if !is_done {
                if took {
                    // It has more, but the others come first.
                    self.table.push_ready(id);
                }
                break;
            }
        }
        pulled.more = self.table.first_ready(who.slot).is_some();
        pulled
    }

    /// The last `unsent` bytes of what the last pull of `who` handed out were not sent. Returns how many of them, the
    /// first, the caller must still send before anything else, and so keep a copy of: they finish an entry that has
    /// begun. The others go back, and are pending again without a wake.
    ///
    /// All are owed if the log no longer holds the entry that has begun, or the subscriber has been unsubscribed. A pull
    /// can be rewound once, and until the subscriber's next.
    pub fn rewind(&mut self, who: Subscriber, unsent: usize) -> usize {
        let mut unsent = unsent;
        if self.table.record(who).is_none() {
            return unsent;
        }
        while unsent > 0 {
            let Some((id, entries, bytes)) = self.table.pop_pulled(who.slot) else { break };
            let subscription = &mut self.table[id];
            if bytes <= unsent {
                unsent -= bytes;
                subscription.next -= entries;
                self.table.push_ready_first(id);
                continue;
            }
            let feed = self.feeds[subscription.feed as usize].as_ref().expect("a subscription's feed exists");
            let (next, owed) = feed.take_back(subscription.next, unsent).unwrap_or((subscription.next, unsent));
            if next < subscription.next {
                subscription.next = next;
                self.table.push_ready_first(id);
            }
            unsent = owed;
            break;
        }
        self.table.begin_pull(who.slot);
        unsent
    }
}
