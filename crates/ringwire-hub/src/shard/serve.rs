//! Serving whoever is not simply given each entry at once: snapshots, rounds, replay, and what is told of the rest.
//!
//! A step does the first of these that applies:
//!
//! 1. A snapshot under way goes on.
//! 2. The cursor is at the end: nothing is pending.
//! 3. The entries at the cursor are not held any more: it jumps, by a snapshot on a keyed topic, else to the end.
//! 4. It is to be conflated: a *round* fixes an end. Entries whose successor comes before that end are skipped, the
//!    others are sent in their order; the next round begins behind them. So no key starves, numbers ascend, and what is
//!    sent of a key is at most one round old.
//! 5. It lags beyond what the topic allows: its policy decides.
//! 6. The lane holds the entry: a run of the log. Or the history does: frames are made from it.
//!
//! What is scanned in one step is told in one notice, before the entries that are left of it. A step scans at most
//! [`SCAN_ENTRIES_MAX`] entries, so a pull takes bounded time whatever the log holds.

use std::collections::BTreeSet;

use crate::ids::LaneId;
use crate::lane::Lane;
use crate::run::Run;
use crate::segment::Span;

use super::feed::Feed;
use super::framer::{Framer, GapReason, Notice, SkipReason};
use super::journal::{Frame, Journal, Mark};
use super::made::Made;
use super::snapshot::Snapshots;
use super::special::{Receiving, Special};
use super::table::Subscription;
use super::wanted::SlowPolicy;
use super::{Pulled, Scratch, ShardHub};

/// Entries that one step looks at for their successors.
pub(super) const SCAN_ENTRIES_MAX: u64 = 4096;

/// What serving a subscription came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing more is pending, or it waits for its time.
    Done,
    /// More is pending; whether anything was handed out.
    More(bool),
    /// It is to be disconnected.
    Slow,
}

/// One subscription, in one pull.
pub(super) struct Serving<'a, F, E> {
    pub(super) id: u32,
    pub(super) subscription: &'a mut Subscription,
    /// Its cursor before.
    from: u64,
    /// Out of the subscription while it is served.
    pub(super) special: Box<Special>,
    pub(super) feed: &'a Feed,
    pub(super) snapshots: &'a mut Snapshots,
    pub(super) journal: &'a mut Journal,
    pub(super) made: &'a mut Made,
    pub(super) waiting: &'a mut BTreeSet<(u64, u32)>,
    pub(super) scratch: &'a mut Scratch,
    pub(super) now_us: u64,
    pub(super) budget: usize,
    /// Entries looked at.
    pub(super) scanned: u64,
    pub(super) pulled: &'a mut Pulled,
    /// The last piece of the pull.
    pub(super) last: &'a mut u32,
    pub(super) framer: &'a mut F,
    pub(super) emit: &'a mut E,
}

impl<'a, F: Framer, E: FnMut(Run<'_>)> Serving<'a, F, E> {
    pub(super) fn new(
        hub: &'a mut ShardHub,
        id: u32,
        budget: usize,
        pulled: &'a mut Pulled,
        last: &'a mut u32,
        framer: &'a mut F,
        emit: &'a mut E,
    ) -> Self {
        let ShardHub { table, feeds, snapshots, journal, made, waiting, scratch, now_us, .. } = hub;
        let subscription = &mut table[id];
        let feed = feeds[subscription.feed as usize].as_ref().expect("a subscription's feed exists");
        let mut special = subscription.special.take().unwrap_or_else(|| Box::new(Special::NONE));
        special.is_catching_up &= subscription.next < feed.floor;
        if special.waits_until > 0 {
            waiting.remove(&(special.waits_until, id));
            special.waits_until = 0;
        }
        let (now_us, from) = (*now_us, subscription.next);
        Self {
            id,
            from,
            subscription,
            special,
            feed,
            snapshots,
            journal,
            made,
            waiting,
            scratch,
            now_us,
            budget,
            scanned: 0,
            pulled,
            last,
            framer,
            emit,
        }
    }

    /// Serves it as far as the budget goes.
    pub(super) fn serve(mut self) -> Step {
        let mut has_begun = false;
        let step = loop {
            match self.step() {
                Step::More(true) => has_begun = true,
                Step::More(false) => break Step::More(has_begun),
                other => break other,
            }
        };
        self.made.flush(self.emit);
        self.subscription.has_news |= has_begun;
        // What was handed out may be taken back, to where it was promised.
        let is_over = self.special.round_end.max(self.special.told + 1) <= self.from;
        if self.special.is_needed() || !is_over {
            self.subscription.special = Some(self.special);
        }
        step
    }

    /// One step; see the module. `More(false)` if the pull has no room for it.
    fn step(&mut self) -> Step {
        if let Some(receiving) = self.special.snapshot {
            return self.receive(receiving);
        }
        let next = self.subscription.next;
        if next >= self.feed.end {
            self.special.is_lagging = false;
            return Step::Done;
        }
        if self.room() == 0 || self.scanned >= SCAN_ENTRIES_MAX {
            return Step::More(false);
        }
        let is_in_round = next < self.special.round_end;
        let is_always_conflated = self.special.is_always_conflated();
        if !is_in_round && is_always_conflated && self.now_us < self.special.round_at_us {
            self.special.waits_until = self.special.round_at_us;
            self.waiting.insert((self.special.waits_until, self.id));
            return Step::Done;
        }
        if next < self.feed.first {
            return self.jump();
        }
        if is_in_round || is_always_conflated || self.special.is_lagging {
            return self.conflate();
        }
        if self.special.max_age_us != u64::MAX
            && let Some(step) = self.skip_aged()
        {
            return step;
        }
        if next < self.feed.floor && !self.special.is_catching_up {
            self.special.is_lagging = self.subscription.policy == SlowPolicy::Latest;
            return if self.special.is_lagging { self.conflate() } else { self.jump() };
        }
        self.read(self.feed.end)
    }

    /// Bytes that may still be handed out; at least one if nothing has been.
    pub(super) fn room(&self) -> usize {
        let room = self.budget.saturating_sub(self.pulled.bytes);
        if self.pulled.bytes == 0 { room.max(1) } else { room }
    }

    pub(super) fn is_keyed(&self) -> bool {
        self.feed.topic.options().is_keyed()
    }

    pub(super) fn mark(&self) -> Mark {
        Mark::of(self.subscription, &self.special)
    }

    /// Hands out the next part of the snapshot.
    fn receive(&mut self, receiving: Receiving) -> Step {
        let Receiving { snapshot, part } = receiving;
        let Some(frames) = self.snapshots.part(snapshot, part, self.feed.lane, &self.feed.topic, self.framer) else {
            // It was too slow for it: the next one replaces what it has of this one.
            self.special.snapshot = None;
            return self.jump_to_snapshot();
        };
        let bytes = frames.bytes as usize;
        if bytes > self.room() && self.pulled.bytes > 0 {
            return Step::More(false);
        }
        self.made.flush(self.emit);
        let mark = self.mark();
        if bytes > 0 {
            (self.emit)(Run { words: &frames.words, start: 0, end: frames.bytes });
        }
        self.push(bytes, mark, &[]);
        self.special.snapshot = (!frames.is_last).then_some(Receiving { snapshot, part: part + 1 });
        if frames.is_last {
            self.snapshots.leave(snapshot);
        }
        Step::More(true)
    }

    /// The entries at the cursor do not come: on to where it can go on.
    pub(super) fn jump(&mut self) -> Step {
        if self.subscription.policy == SlowPolicy::Disconnect && !self.wants_latest() {
            return Step::Slow;
        }
        if self.is_keyed() {
            return self.jump_to_snapshot();
        }
        let last = self.feed.end - 1;
        if self.wants_latest() && self.subscription.next < last && self.history_span(last).is_some() {
            return self.skip(last, SkipReason::Conflated);
        }
        self.gap(last)
    }

    /// Goes on with a snapshot that is not older than the cursor. What is told of the entries before it is one piece, so
    /// that nobody is told of it and then goes on without the snapshot.
    fn jump_to_snapshot(&mut self) -> Step {
        let mark = self.mark();
        let mut bytes = self.give_up_promised();
        let from = self.subscription.next;
        let (id, seq) = {
            let log = self.feed.topic.log();
            self.snapshots.begin(self.subscription.feed, &log, from - 1, self.now_us)
        };
        if seq >= from {
            bytes += if self.wants_latest() {
                self.count_skipped(seq + 1 - from);
                self.write(Notice::Skip { from, to: seq, count: seq + 1 - from, why: SkipReason::Conflated })
            } else {
                self.count_gap(seq + 1 - from);
                self.write(Notice::Gap { from, to: seq, why: self.gap_reason() })
            };
            self.subscription.next = seq + 1;
        }
        self.push(bytes, mark, &[]);
        self.special.snapshot = Some(Receiving { snapshot: id, part: 0 });
        self.special.is_catching_up = seq + 1 < self.feed.floor;
        Step::More(true)
    }

    fn wants_latest(&self) -> bool {
        self.special.is_latest || self.subscription.policy == SlowPolicy::Latest
    }

    /// A skip was told of, and what it leaves does not come either: that is told as well, in so many bytes.
    fn give_up_promised(&mut self) -> usize {
        let (from, to) = (self.subscription.next, self.special.told);
        if from > to {
            return 0;
        }
        let (left, told_left) = (to + 1 - from, self.special.told_left);
        (self.subscription.next, self.special.told_left) = (to + 1, 0);
        self.count_skipped(left);
        if left == told_left {
            return 0;
        }
        self.write(Notice::Skip { from, to, count: left, why: SkipReason::Conflated })
    }

    /// Tells that the entries from the cursor to `to` are lost to it, and goes on behind them.
    fn gap(&mut self, to: u64) -> Step {
        let (mark, from) = (self.mark(), self.subscription.next);
        self.notice(Notice::Gap { from, to, why: self.gap_reason() }, mark);
        self.count_gap(to + 1 - from);
        self.subscription.next = to + 1;
        Step::More(true)
    }

    fn gap_reason(&self) -> GapReason {
        if self.special.is_catching_up { GapReason::Lost } else { GapReason::Slow }
    }

    fn count_gap(&mut self, count: u64) {
        self.subscription.gap += count;
        self.feed.topic.count_gap(count);
        self.pulled.gap += count;
    }

    /// Tells that all entries before `next` are skipped, and goes on there.
    pub(super) fn skip(&mut self, next: u64, why: SkipReason) -> Step {
        let (mark, from) = (self.mark(), self.subscription.next);
        debug_assert!(from > self.special.told, "what was promised is done with");
        self.notice(Notice::Skip { from, to: next - 1, count: next - from, why }, mark);
        self.count_skipped(next - from);
        self.subscription.next = next;
        Step::More(true)
    }

    pub(super) fn count_skipped(&mut self, count: u64) {
        self.subscription.skipped += count;
        self.feed.topic.count_skipped(count);
        self.pulled.skipped += count;
    }

    /// Makes the frames of a notice, before which it stood as `mark` says.
    pub(super) fn notice(&mut self, notice: Notice, mark: Mark) {
        let bytes = self.write(notice);
        self.push(bytes, mark, &[]);
    }

    /// Makes the frames of a notice, of so many bytes.
    fn write(&mut self, notice: Notice) -> usize {
        let before = self.made.out.len();
        self.framer.notice(self.feed.lane, &self.feed.topic, notice, &mut self.made.out);
        self.made.out.len() - before
    }

    /// Notes in the journal what was handed out.
    pub(super) fn push(&mut self, bytes: usize, mark: Mark, frames: &[Frame]) {
        *self.last = self.journal.push_marked(*self.last, self.id, bytes, mark, frames);
        self.pulled.bytes += bytes;
    }

    /// Hands out the entries from the cursor to `until`, as far as there is room.
    pub(super) fn read(&mut self, until: u64) -> Step {
        let next = self.subscription.next;
        let (room, must) = (self.budget.saturating_sub(self.pulled.bytes), self.pulled.bytes == 0);
        let (made, emit) = (&mut *self.made, &mut *self.emit);
        let taken = self.feed.take(next, until, room, must, &mut |run: Run<'_>| {
            made.flush(emit);
            emit(run);
        });
        let entries = taken.next - next;
        if entries > 0 {
            *self.last = self.journal.push_log(*self.last, self.id, entries, taken.bytes);
            self.pulled.bytes += taken.bytes;
            self.pulled.entries += entries;
            self.subscription.next = taken.next;
            return Step::More(true);
        }
        if taken.is_lost { self.replay(until) } else { Step::More(false) }
    }

    /// Hands out entries from the cursor to `until` that the history holds and the lane does not.
    fn replay(&mut self, until: u64) -> Step {
        let next = self.subscription.next;
        let Some(span) = self.history_span(next) else { return self.jump() };
        if self.made.is_full() {
            return Step::More(false);
        }
        let lane_first = self.feed.topic.log().lane(self.feed.lane).map_or(u64::MAX, Lane::first_seq);
        let lane_first = if lane_first > next { lane_first } else { u64::MAX };
        let until = until.min(span.end_seq).min(lane_first).min(next + SCAN_ENTRIES_MAX);
        let (mark, room, start) = (self.mark(), self.room(), self.made.out.len());
        let mut frames = std::mem::take(&mut self.scratch.frames);
        for seq in next..until {
            let before = self.made.out.len();
            self.scratch.entry.clear();
            copy(&span, seq, &mut self.scratch.entry);
            self.framer.replay(self.feed.lane, &self.feed.topic, &self.scratch.entry, &mut self.made.out);
            if self.made.out.len() - start > room && (self.pulled.bytes > 0 || !frames.is_empty()) {
                self.made.out.truncate(before);
                break;
            }
            frames.push(Frame { end: (self.made.out.len() - start) as u32, skipped: 0, seq });
        }
        let entries = frames.len() as u64;
        if entries > 0 {
            self.push(self.made.out.len() - start, mark, &frames);
            self.subscription.next = next + entries;
            self.pulled.entries += entries;
            self.scanned += entries;
        }
        frames.clear();
        self.scratch.frames = frames;
        Step::More(entries > 0)
    }

    /// The segment of the history with entry `seq`.
    pub(super) fn history_span(&mut self, seq: u64) -> Option<Span> {
        if self.feed.lane == LaneId::HISTORY {
            return self.feed.span(seq);
        }
        let id = self.feed.topic.id();
        if let Some((of, span)) = &self.scratch.history
            && *of == id
            && span.contains(seq)
        {
            return Some(span.clone());
        }
        let span = self.feed.topic.log().history().span_of(seq)?;
        self.scratch.history = Some((id, span.clone()));
        Some(span)
    }
}

/// Appends entry `seq` to `out`.
pub(super) fn copy(span: &Span, seq: u64, out: &mut Vec<u8>) {
    let (start, end) = (span.segment.start_of(seq), span.segment.end_of(seq));
    Run { words: span.segment.words(), start, end }.copy_to(out);
}
