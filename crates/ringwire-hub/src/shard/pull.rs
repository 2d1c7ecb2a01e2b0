//! Pulling what is pending, and putting back what the kernel did not take.

use crate::ids::Subscriber;
use crate::run::Run;

use super::framer::Framer;
use super::journal::{Kind, Mark};
use super::serve::{Serving, Step};
use super::table::NONE;
use super::{ShardHub, special::Special};

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
    /// Something is still pending: pull again when the socket can take more, in another turn if nothing was handed out.
    /// If not, a note or the time will wake the subscriber.
    pub more: bool,
    /// The subscriber lags too far on a subscription whose policy is to disconnect it. Nothing more is handed out.
    pub slow: bool,
}

impl ShardHub {
    /// Hands out what is pending for `who`, at most `budget` bytes but at least one entry (or part of a snapshot) and the
    /// notice before it, in runs of whole frames, and takes it as delivered. Its subscriptions are served in turn. A
    /// subscriber that is not known has nothing. `framer` makes what no log holds.
    ///
    /// All runs of one pull are to be sent in the order in which they come.
    pub fn pull(
        &mut self,
        who: Subscriber,
        budget: usize,
        now_us: u64,
        framer: &mut impl Framer,
        mut emit: impl FnMut(Run<'_>),
    ) -> Pulled {
        let mut pulled = Pulled::default();
        if self.table.record(who).is_none() {
            return pulled;
        }
        let budget = budget.min(u32::MAX as usize / 4);
        let mut last = NONE;
        while let Some(id) = self.table.first_ready(who.slot) {
            let subscription = &mut self.table[id];
            let feed = self.feeds[subscription.feed as usize].as_ref().expect("a subscription's feed exists");
            let (from, mut step) = (subscription.next, None);
            if subscription.special.is_none() && from >= feed.floor {
                // A prompt one that wants each entry: a run of the log.
                let room = budget.saturating_sub(pulled.bytes);
                let taken = feed.take(from, feed.end, room, pulled.bytes == 0, &mut emit);
                if taken.next > from {
                    (subscription.next, subscription.has_news) = (taken.next, true);
                    pulled.bytes += taken.bytes;
                    pulled.entries += taken.next - from;
                    last = self.journal.push_log(last, id, taken.next - from, taken.bytes);
                }
                if !taken.is_lost || taken.next > from {
                    step = Some(if taken.next >= feed.end { Step::Done } else { Step::More(taken.next > from) });
                }
            }
            let step = step.unwrap_or_else(|| {
                let now_us = self.now_us.max(now_us);
                self.now_us = now_us;
                let serving = Serving::new(self, id, budget, &mut pulled, &mut last, framer, &mut emit);
                serving.serve()
            });
            match step {
                Step::Done => self.table.pop_ready(who.slot),
                Step::More(is_next) => {
                    if is_next {
                        // It has more, but the others come first.
                        self.table.pop_ready(who.slot);
                        self.table.push_ready(id);
                    }
                    break;
                }
                Step::Slow => {
                    (pulled.slow, self.table[id].is_reported) = (true, true);
                    break;
                }
            }
        }
        *self.table.pulled_last(who.slot) = last;
        pulled.more = self.table.first_ready(who.slot).is_some();
        pulled
    }

    /// The last `unsent` bytes of what the last pull of `who` handed out were not sent. Returns how many of them, the
    /// first, the caller must still send before anything else, and so keep a copy of: they finish an entry that has
    /// begun. The others go back, and are pending again without a wake.
    ///
    /// All are owed if the log no longer holds the entry that has begun, or the subscriber has been unsubscribed, or
    /// [`end_turn`](Self::end_turn) came between. A pull can be rewound once, and until the subscriber's next.
    pub fn rewind(&mut self, who: Subscriber, unsent: usize) -> usize {
        let mut unsent = unsent;
        if self.table.record(who).is_none() {
            return unsent;
        }
        let mut at = std::mem::replace(self.table.pulled_last(who.slot), NONE);
        while unsent > 0 {
            let Some((piece, kind)) = self.journal.piece(at) else { break };
            if piece.id == NONE {
                break;
            }
            at = piece.before;
            if piece.bytes as usize <= unsent {
                unsent -= piece.bytes as usize;
                match kind {
                    Kind::Log(entries) => self.table[piece.id].next -= u64::from(entries),
                    Kind::Marked(mark) => self.restore(piece.id, &mark),
                }
                self.table.push_ready_first(piece.id);
                continue;
            }
            let sent = piece.bytes - unsent as u32;
            let end = self.table[piece.id].next;
            match kind {
                Kind::Log(_) => {
                    let taken_back = self.feed(self.table[piece.id].feed).take_back(end, unsent);
                    if let Some((next, owed)) = taken_back {
                        (self.table[piece.id].next, unsent) = (next, owed);
                    }
                }
                Kind::Marked(mark) => {
                    if let Some(frame) = self.journal.last_begun(&mark, sent) {
                        let passed = u64::from(frame.skipped);
                        let (skipped, told_left) = (mark.skipped + passed, mark.told_left - passed);
                        self.restore(piece.id, &Mark { next: frame.seq + 1, skipped, told_left, ..mark });
                        unsent = (frame.end - sent) as usize;
                    }
                }
            }
            if self.table[piece.id].next < end {
                self.table.push_ready_first(piece.id);
            }
            break;
        }
        unsent
    }

    /// A subscription stands again as it did.
    fn restore(&mut self, id: u32, mark: &Mark) {
        let subscription = &mut self.table[id];
        let feed = self.feeds[subscription.feed as usize].as_ref().expect("a subscription's feed exists");
        feed.topic.uncount(subscription.skipped - mark.skipped, subscription.gap - mark.gap);
        (subscription.next, subscription.skipped, subscription.gap) = (mark.next, mark.skipped, mark.gap);
        let special = subscription.special.get_or_insert_with(|| Box::new(Special::NONE));
        if let Some(before) = special.snapshot {
            self.snapshots.leave(before.snapshot);
        }
        if let Some(again) = mark.snapshot {
            self.snapshots.enter(again.snapshot);
        }
        (special.told, special.told_left) = (mark.told, mark.told_left);
        (special.round_end, special.snapshot) = (mark.round_end, mark.snapshot);
    }
}
