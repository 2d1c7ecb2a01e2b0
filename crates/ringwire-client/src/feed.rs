//! The client's rule for one topic: which entry comes next, and the account of all of them.
//!
//! Entries come in ascending `seq` without a hole, unless the server has said `skip` or `gap` before. What is smaller than
//! expected is a duplicate and is ignored; what is larger breaks the rule, and the subscription begins again behind the
//! last entry that was in order. Each entry is counted once: delivered, skipped or lost in a gap. A snapshot may take the
//! topic back to an earlier entry; what then comes again is delivered, but not counted again.

use std::sync::Arc;

use crate::event::{Event, Gap, Position, Snapshot, Subscribed, TopicKind, TopicState};

/// What became of the entries of one epoch of a topic, since its subscription began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The topic.
    pub topic: Arc<str>,
    /// Its log.
    pub epoch: Arc<str>,
    /// The first entry that is counted.
    pub from: u64,
    /// Entries since then that are accounted for.
    pub published: u64,
    /// Entries handed on.
    pub delivered: u64,
    /// Entries that the server left out, and said so.
    pub skipped: u64,
    /// Entries that are lost to this subscriber.
    pub gap: u64,
    /// Entries that came again and were ignored.
    pub duplicates: u64,
    /// Times that the server broke the order and the subscription began again.
    pub breaks: u64,
    /// Times that the topic began anew, its entries behind the last one known being gone or of another epoch.
    pub resets: u64,
}

impl Account {
    /// Whether `delivered + skipped + gap = published`.
    pub fn is_balanced(&self) -> bool {
        self.delivered + self.skipped + self.gap == self.published
    }
}

/// What is to be done with a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Deliver,
    Ignore,
    /// The order is broken: subscribe again behind the last entry.
    Broken,
}

/// A topic of a subscription.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    topic: Arc<str>,
    epoch: Arc<str>,
    kind: TopicKind,
    wants_snapshot: bool,
    from: u64,
    /// The last entry in order.
    last: u64,
    /// The last entry that was counted: `last`, or more while entries come again behind a snapshot.
    counted: u64,
    delivered: u64,
    skipped: u64,
    gap: u64,
    duplicates: u64,
    breaks: u64,
    resets: u64,
    /// A skip under way: so many more entries come, up to the first number.
    range: Option<(u64, u64)>,
    /// A snapshot is to come, or has come in part: what is known is not whole until then.
    is_incomplete: bool,
}

impl Feed {
    pub(crate) fn new(topic: Arc<str>, wants_snapshot: bool) -> Self {
        Self {
            topic,
            epoch: "".into(),
            kind: TopicKind::Plain,
            wants_snapshot,
            from: 1,
            last: 0,
            counted: 0,
            delivered: 0,
            skipped: 0,
            gap: 0,
            duplicates: 0,
            breaks: 0,
            resets: 0,
            range: None,
            is_incomplete: false,
        }
    }

    /// Names the topic's log.
    pub(crate) fn epoch(&self) -> Arc<str> {
        self.epoch.clone()
    }

    /// Whether the server's word that all up to `seq` has been sent means that something is missing.
    pub(crate) fn lacks(&self, seq: u64) -> bool {
        !self.is_incomplete && seq > self.last
    }

    /// Where to resume; nothing if only a new beginning leads to a whole state.
    pub(crate) fn position(&self) -> Option<Position> {
        let is_known = !self.epoch.is_empty() && !self.is_incomplete;
        is_known.then(|| Position { epoch: self.epoch.clone(), seq: self.last })
    }

    /// Delivery begins, for the first time or again. Returns the entries that were lost in between, if any were.
    pub(crate) fn begin(&mut self, at: &Subscribed) -> Option<Gap> {
        self.kind = at.kind;
        self.range = None;
        self.is_incomplete = self.is_stateful() && at.state != TopicState::Resumed;
        let went_back = at.state != TopicState::Resumed && at.head < self.last;
        if at.epoch != self.epoch || went_back {
            self.resets += u64::from(!self.epoch.is_empty());
            self.epoch = at.epoch.clone();
            (self.delivered, self.skipped, self.gap) = (0, 0, 0);
            self.start_at(at.seq);
            return None;
        }
        if at.seq <= self.last {
            return None;
        }
        let gap = Gap { topic: self.topic.clone(), from: self.last + 1, to: at.seq, why: "lost".into() };
        self.lose(at.seq);
        Some(gap)
    }

    /// Takes what the server pushed.
    pub(crate) fn accept(&mut self, push: &Event) -> Verdict {
        let verdict = match push {
            Event::Entry(entry) => self.entry(entry.seq),
            Event::Skip(skip) => self.skip(skip.from, skip.to, skip.count),
            Event::Gap(gap) => self.told_gap(gap.from, gap.to),
            Event::Snapshot(snapshot) => self.snapshot(snapshot),
            Event::Subscribed(_) | Event::Refused { .. } => Verdict::Deliver,
        };
        self.duplicates += u64::from(verdict == Verdict::Ignore);
        self.breaks += u64::from(verdict == Verdict::Broken);
        verdict
    }

    pub(crate) fn account(&self) -> Account {
        Account {
            topic: self.topic.clone(),
            epoch: self.epoch.clone(),
            from: self.from,
            published: self.counted + 1 - self.from,
            delivered: self.delivered,
            skipped: self.skipped,
            gap: self.gap,
            duplicates: self.duplicates,
            breaks: self.breaks,
            resets: self.resets,
        }
    }

    fn is_stateful(&self) -> bool {
        self.kind == TopicKind::Keyed && self.wants_snapshot
    }

    fn entry(&mut self, seq: u64) -> Verdict {
        if seq <= self.last {
            return Verdict::Ignore;
        }
        let Some((to, others)) = self.range else {
            if seq != self.last + 1 {
                return Verdict::Broken;
            }
            self.deliver(seq);
            return Verdict::Deliver;
        };
        if seq > to {
            return Verdict::Broken;
        }
        self.pass_over(seq - 1);
        self.deliver(seq);
        self.range = (others > 1).then_some((to, others - 1));
        if self.range.is_none() {
            self.pass_over(to);
        }
        Verdict::Deliver
    }

    fn skip(&mut self, from: u64, to: u64, count: u64) -> Verdict {
        if to <= self.last {
            return Verdict::Ignore;
        }
        let Some(others) = (to + 1 - from.min(to)).checked_sub(count) else { return Verdict::Broken };
        // What a skip has left over may be lost before it was sent: then none of it comes, which another skip says.
        let is_next = self.range.is_none_or(|(until, _)| to == until && others == 0);
        if from != self.last + 1 || !is_next {
            return Verdict::Broken;
        }
        self.range = None;
        if others > 0 {
            self.range = Some((to, others));
        } else {
            self.pass_over(to);
            // What took the place of these entries is still to come: in later ones, or in a snapshot.
            self.is_incomplete |= self.is_stateful();
        }
        Verdict::Deliver
    }

    fn told_gap(&mut self, from: u64, to: u64) -> Verdict {
        if to <= self.last {
            return Verdict::Ignore;
        }
        if from != self.last + 1 || self.range.is_some() {
            return Verdict::Broken;
        }
        self.lose(to);
        self.is_incomplete |= self.is_stateful();
        Verdict::Deliver
    }

    fn snapshot(&mut self, snapshot: &Snapshot) -> Verdict {
        if snapshot.epoch != self.epoch {
            return Verdict::Broken;
        }
        self.is_incomplete |= snapshot.first;
        if !snapshot.last {
            return Verdict::Deliver;
        }
        self.is_incomplete = false;
        self.range = None;
        if self.counted < self.from {
            self.start_at(snapshot.seq);
        } else {
            self.pass_over(snapshot.seq);
        }
        self.last = snapshot.seq;
        Verdict::Deliver
    }

    fn start_at(&mut self, seq: u64) {
        (self.last, self.counted, self.from) = (seq, seq, seq + 1);
    }

    fn deliver(&mut self, seq: u64) {
        self.is_incomplete = false;
        self.last = seq;
        self.delivered += self.count(seq);
    }

    /// Everything behind the last entry, up to this one, does not come, and that was said.
    fn pass_over(&mut self, to: u64) {
        if to > self.last {
            self.last = to;
            self.skipped += self.count(to);
        }
    }

    fn lose(&mut self, to: u64) {
        self.last = to;
        self.gap += self.count(to);
    }

    /// How many entries up to this one were not counted before.
    fn count(&mut self, to: u64) -> u64 {
        let more = to.saturating_sub(self.counted);
        self.counted += more;
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Data, Entry, EntryKind, Skip};

    fn beginning(epoch: &str, seq: u64, head: u64, state: TopicState, kind: TopicKind) -> Subscribed {
        Subscribed { topic: "a".into(), pattern: None, epoch: epoch.into(), seq, head, state, kind, id: 0 }
    }

    /// A feed that has begun behind `seq`.
    fn feed(seq: u64, kind: TopicKind) -> Feed {
        let mut feed = Feed::new("a".into(), true);
        assert_eq!(feed.begin(&beginning("e1", seq, seq, TopicState::New, kind)), None);
        feed
    }

    fn entry(seq: u64) -> Event {
        let (topic, key, data) = ("a".into(), "".into(), Data::default());
        Event::Entry(Entry { topic, kind: EntryKind::Message, seq, ts_us: 0, source_seq: None, key, data })
    }

    fn skip(from: u64, to: u64, count: u64) -> Event {
        Event::Skip(Skip { topic: "a".into(), from, to, count, why: "rate".into() })
    }

    fn gap(from: u64, to: u64) -> Event {
        Event::Gap(Gap { topic: "a".into(), from, to, why: "slow".into() })
    }

    fn snapshot(epoch: &str, seq: u64, first: bool, last: bool) -> Event {
        Event::Snapshot(Snapshot { topic: "a".into(), epoch: epoch.into(), seq, first, last, entries: Vec::new() })
    }

    fn verdicts(feed: &mut Feed, pushes: &[Event]) -> String {
        let sign = |verdict| match verdict {
            Verdict::Deliver => 'd',
            Verdict::Ignore => 'i',
            Verdict::Broken => 'b',
        };
        pushes.iter().map(|push| sign(feed.accept(push))).collect()
    }

    /// From, published, delivered, skipped, gap.
    fn counts(feed: &Feed) -> [u64; 5] {
        let account = feed.account();
        assert!(account.is_balanced(), "{account:?}");
        [account.from, account.published, account.delivered, account.skipped, account.gap]
    }

    #[test]
    fn entries_in_order_are_delivered_smaller_ones_ignored_and_larger_ones_break_the_order() {
        let mut feed = feed(5, TopicKind::Plain);
        let pushes =
            [entry(5), entry(6), entry(6), entry(7), gap(2, 3), skip(1, 7, 7), entry(9), skip(9, 9, 1), gap(9, 9)];
        assert_eq!(verdicts(&mut feed, &pushes), "ididiibbb");
        assert_eq!(counts(&feed), [6, 2, 2, 0, 0]);
        let account = feed.account();
        assert_eq!((account.duplicates, account.breaks), (4, 3));
    }

    #[test]
    fn a_skip_lets_its_others_through_and_counts_the_rest() {
        let mut feed = feed(0, TopicKind::Plain);
        let pushes = [skip(1, 10, 10), entry(11), skip(12, 20, 7), entry(14), entry(19), entry(21)];
        assert_eq!(verdicts(&mut feed, &pushes), "dddddd");
        assert_eq!(counts(&feed), [1, 21, 4, 17, 0]);
    }

    #[test]
    fn what_a_skip_has_left_over_may_be_lost_as_another_skip_says() {
        let mut feed = feed(0, TopicKind::Plain);
        assert_eq!(verdicts(&mut feed, &[skip(1, 10, 7), entry(2), skip(3, 10, 8), entry(11)]), "dddd");
        assert_eq!(counts(&feed), [1, 11, 2, 9, 0]);
        assert_eq!(verdicts(&mut feed, &[skip(12, 20, 7), entry(13), skip(14, 20, 6)]), "ddb");
        assert_eq!(verdicts(&mut feed, &[skip(14, 21, 8)]), "b");
    }

    #[test]
    fn a_skip_that_does_not_add_up_breaks_the_order() {
        let mut fewer = feed(0, TopicKind::Plain);
        assert_eq!(verdicts(&mut fewer, &[skip(1, 10, 7), entry(2), entry(9), entry(11), gap(11, 11)]), "dddbb");
        let mut more = feed(0, TopicKind::Plain);
        assert_eq!(verdicts(&mut more, &[skip(1, 3, 4)]), "b");
    }

    #[test]
    fn a_gap_is_counted_and_a_keyed_topic_is_incomplete_until_its_snapshot() {
        let mut feed = feed(0, TopicKind::Keyed);
        assert_eq!(feed.position(), None);
        assert_eq!(verdicts(&mut feed, &[snapshot("e1", 0, true, true), entry(1)]), "dd");
        assert_eq!(feed.position().map(|position| position.seq), Some(1));
        assert_eq!(verdicts(&mut feed, &[gap(2, 9)]), "d");
        assert_eq!((feed.position(), feed.lacks(20)), (None, false));
        // The snapshot may be of before the gap's end: what comes again counts once.
        assert_eq!(
            verdicts(&mut feed, &[snapshot("e1", 7, true, false), snapshot("e1", 7, false, true), entry(8)]),
            "ddd"
        );
        assert_eq!(counts(&feed), [1, 9, 1, 0, 8]);
        assert_eq!(verdicts(&mut feed, &[entry(9), entry(10), snapshot("e2", 11, true, true)]), "ddb");
        assert_eq!(counts(&feed), [1, 10, 2, 0, 8]);
        assert!(feed.lacks(11) && !feed.lacks(10));
    }

    #[test]
    fn a_first_snapshot_gives_the_place_and_a_later_one_skips_what_it_holds() {
        let mut feed = feed(8, TopicKind::Keyed);
        assert_eq!(
            verdicts(&mut feed, &[snapshot("e1", 6, true, true), entry(7), snapshot("e1", 9, true, true)]),
            "ddd"
        );
        assert_eq!(counts(&feed), [7, 3, 1, 2, 0]);
    }

    #[test]
    fn what_was_let_go_meanwhile_is_a_gap_of_the_same_epoch_and_a_new_account_in_another() {
        let mut feed = feed(0, TopicKind::Plain);
        verdicts(&mut feed, &[entry(1), skip(2, 9, 6), entry(4)]);
        assert_eq!(feed.begin(&beginning("e1", 4, 9, TopicState::Resumed, TopicKind::Plain)), None);
        assert_eq!(counts(&feed), [1, 4, 2, 2, 0], "a skip that was cut off counts as far as it came");
        let gap = feed.begin(&beginning("e1", 9, 9, TopicState::Reset, TopicKind::Plain)).expect("a gap");
        assert_eq!((gap.from, gap.to, counts(&feed)), (5, 9, [1, 9, 2, 2, 5]));
        assert_eq!(feed.begin(&beginning("e2", 3, 3, TopicState::Reset, TopicKind::Plain)), None);
        assert_eq!((counts(&feed), feed.account().resets), ([4, 0, 0, 0, 0], 1));
    }

    #[test]
    fn a_server_that_has_lost_what_came_is_followed_back() {
        let mut feed = feed(10, TopicKind::Plain);
        verdicts(&mut feed, &[entry(11), entry(12)]);
        feed.begin(&beginning("e1", 11, 11, TopicState::Reset, TopicKind::Plain));
        assert_eq!((verdicts(&mut feed, &[entry(12)]), counts(&feed)), ("d".to_owned(), [12, 1, 1, 0, 0]));
    }
}
