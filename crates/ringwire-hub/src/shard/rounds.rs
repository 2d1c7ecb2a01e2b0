//! Rounds: who is behind gets the last entry of each key.
//!
//! A round has an end that is fixed when it begins. It goes through the entries up to there, as many in a step as the pull
//! has room for, and tells of those that it skips before it hands out the others. A step whose notice has been sent
//! while the rest was taken back is gone through again, with the same end and in silence: the successors that decide
//! were all written before the round began.

use crate::ids::LaneId;
use crate::run::Run;
use crate::segment::Span;

use super::feed::Feed;
use super::framer::{Framer, Notice, SkipReason};
use super::journal::Frame;
use super::serve::{SCAN_ENTRIES_MAX, Serving, Step, copy};

/// Working memory that is kept from pull to pull.
const SCRATCH_BYTES_KEPT: usize = 64 * 1024;

impl<F: Framer, E: FnMut(Run<'_>)> Serving<'_, F, E> {
    /// Skips what has waited too long. Nothing, if the entry at the cursor has not, or a step has.
    pub(super) fn skip_aged(&mut self) -> Option<Step> {
        let next = self.subscription.next;
        let oldest_us = self.now_us.saturating_sub(self.special.max_age_us);
        let span = self.history_span(next)?;
        if span.segment.published_us(next) >= oldest_us {
            return None;
        }
        if self.is_keyed() {
            self.begin_round(SkipReason::Age);
            return Some(self.conflate());
        }
        let young = self.feed.topic.log().history().first_since(oldest_us).min(self.feed.end);
        (young > next).then(|| self.skip(young, SkipReason::Age))
    }

    /// A step of a round, which begins here if none is under way.
    pub(super) fn conflate(&mut self) -> Step {
        let next = self.subscription.next;
        if self.special.round_end <= next {
            self.begin_round(self.special.reason());
        }
        let end = self.special.round_end;
        if end - next == 1 {
            return self.read(end);
        }
        if !self.is_keyed() {
            return self.skip(end - 1, self.special.why);
        }
        // What was told already is done with first, and in silence.
        let until = if next <= self.special.told { end.min(self.special.told + 1) } else { end };
        let until = until.min(next + SCAN_ENTRIES_MAX);
        match self.first_skipped(next, until) {
            None => self.jump(),
            Some(first) if first == until => self.read(until),
            Some(_) if self.made.is_full() => Step::More(false),
            Some(_) => self.thin_out(until),
        }
    }

    /// A round begins. What was handed out before is of another, so the journal must know.
    fn begin_round(&mut self, why: SkipReason) {
        let mark = self.mark();
        self.push(0, mark, &[]);
        (self.special.round_end, self.special.why) = (self.feed.end, why);
        self.special.round_at_us = self.now_us.saturating_add(self.special.interval_us);
    }

    /// The first entry from `from` on whose successor is in the round, or `until`. Nothing, if the history does not hold
    /// them.
    fn first_skipped(&mut self, from: u64, until: u64) -> Option<u64> {
        let end = self.special.round_end;
        let mut seq = from;
        while seq < until {
            let span = self.history_span(seq)?;
            let stop = span.end_seq.min(until);
            while seq < stop {
                if is_skipped(&span, seq, end) {
                    return Some(seq);
                }
                seq += 1;
            }
        }
        self.scanned += until - from;
        Some(until)
    }

    /// Hands out those of the entries from the cursor to `until` that have no successor in the round, behind a notice of
    /// the others.
    fn thin_out(&mut self, until: u64) -> Step {
        let (next, end, told) = (self.subscription.next, self.special.round_end, self.special.told);
        let (mark, room) = (self.mark(), self.room());
        let (mut seq, mut skipped) = (next, 0);
        let mut bytes = std::mem::take(&mut self.scratch.bytes);
        let mut frames = std::mem::take(&mut self.scratch.frames);
        let mut lane = LaneReader::default();
        'scan: while seq < until {
            let Some(span) = self.history_span(seq) else { break };
            let stop = span.end_seq.min(until);
            while seq < stop {
                if is_skipped(&span, seq, end) {
                    skipped += 1;
                } else {
                    let before = bytes.len();
                    self.frame(seq, &span, &mut lane, &mut bytes);
                    if bytes.len() > room && (self.pulled.bytes > 0 || !frames.is_empty()) {
                        bytes.truncate(before);
                        break 'scan;
                    }
                    frames.push(Frame { end: bytes.len() as u32, skipped, seq });
                }
                seq += 1;
            }
        }
        self.scanned += seq - next;
        let has_begun = seq > next;
        if has_begun {
            let count = u64::from(skipped);
            if count > 0 && next > told {
                let why = self.special.why;
                self.notice(Notice::Skip { from: next, to: seq - 1, count, why }, mark);
                (self.special.told, self.special.told_left) = (seq - 1, count);
            }
            let mark = self.mark();
            self.made.out.extend_from_slice(&bytes);
            self.push(bytes.len(), mark, &frames);
            self.subscription.next = seq;
            self.special.told_left = self.special.told_left.saturating_sub(count);
            self.count_skipped(count);
            self.pulled.entries += frames.len() as u64;
        }
        bytes.clear();
        frames.clear();
        bytes.shrink_to(SCRATCH_BYTES_KEPT);
        (self.scratch.bytes, self.scratch.frames) = (bytes, frames);
        Step::More(has_begun)
    }

    /// Appends entry `seq`, which `history` holds, as a frame of the lane: a copy, or one that is made.
    fn frame(&mut self, seq: u64, history: &Span, lane: &mut LaneReader, out: &mut Vec<u8>) {
        if self.feed.lane == LaneId::HISTORY {
            return copy(history, seq, out);
        }
        if let Some(span) = lane.span(self.feed, seq) {
            return copy(span, seq, out);
        }
        self.scratch.entry.clear();
        copy(history, seq, &mut self.scratch.entry);
        self.framer.replay(self.feed.lane, &self.feed.topic, &self.scratch.entry, out);
    }
}

/// Where the lane's own frames of a few entries are looked up.
#[derive(Default)]
struct LaneReader {
    span: Option<Span>,
    /// It holds no entry of this step.
    is_missing: bool,
}

impl LaneReader {
    /// The lane's segment with entry `seq`, if it holds it.
    fn span(&mut self, feed: &Feed, seq: u64) -> Option<&Span> {
        if !self.is_missing && self.span.as_ref().is_none_or(|span| !span.contains(seq)) {
            self.span = feed.span(seq);
            self.is_missing = self.span.is_none();
        }
        self.span.as_ref().filter(|_| !self.is_missing)
    }
}

/// Whether a later entry of the same round takes the place of entry `seq`.
fn is_skipped(history: &Span, seq: u64, round_end: u64) -> bool {
    let by = history.segment.successor(seq);
    by != 0 && by < round_end
}
