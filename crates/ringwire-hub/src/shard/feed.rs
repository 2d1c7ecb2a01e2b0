//! A shard's view of one lane of one topic.

use std::sync::Arc;

use crate::ids::LaneId;
use crate::run::Run;
use crate::segment::Span;
use crate::topic::{Log, Topic};

/// Segments a feed keeps at hand: the last ones of what came with one note.
const SPANS_MAX: usize = 8;

/// The end of a lane's log as of the last note, and the shard's subscriptions to it.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) topic: Arc<Topic>,
    pub(super) lane: LaneId,
    /// Number of the entry to come.
    pub(super) end: u64,
    /// A cursor before this lags beyond the topic's backlog, or what is held.
    pub(super) floor: u64,
    /// First entry that this lane or the history holds.
    pub(super) first: u64,
    /// Segments that hold what came with the last note, as far as [`SPANS_MAX`] do; the last one is the log's last.
    spans: Vec<Span>,
    /// Subscriptions, by index into the shard's table.
    pub(super) subscriptions: Vec<u32>,
}

/// What [`Feed::take`] handed out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// Number of the next entry.
    pub(super) next: u64,
    pub(super) bytes: usize,
    /// Entry `next` is no longer held.
    pub(super) is_lost: bool,
}

impl Feed {
    pub(super) fn new(topic: &Arc<Topic>, lane: LaneId, log: &Log) -> Self {
        let (topic, spans, subscriptions) = (Arc::clone(topic), Vec::new(), Vec::new());
        let mut feed = Self { topic, lane, end: log.last_seq() + 1, floor: 0, first: 0, spans, subscriptions };
        feed.refresh(log);
        feed
    }

    /// Looks at the log's end.
    pub(super) fn refresh(&mut self, log: &Log) {
        let lane = log.lane(self.lane).expect("a lane with a feed is active");
        let before = std::mem::replace(&mut self.end, lane.next_seq());
        self.first = lane.first_seq().min(log.history().first_seq());
        let backlog_bytes = self.topic.options().backlog_bytes_max;
        let floor = match lane.floor(backlog_bytes) {
            // What the lane does not have of the backlog is in the history.
            0 => log.history().floor(backlog_bytes).min(lane.first_seq()),
            floor => floor,
        };
        self.floor = floor.max(self.first);
        match (self.spans.as_mut_slice(), lane.last()) {
            // As nearly always: what came is in the segment that was the last before.
            ([only], Some((first_seq, end_bytes))) if only.segment.first_seq == first_seq => {
                only.end_seq = self.end;
                only.end_bytes = end_bytes;
            }
            _ => {
                self.spans.clear();
                self.spans.extend(lane.spans_from(before, SPANS_MAX));
            }
        }
    }

    /// Hands out the entries `from..until` in runs of at most `budget` bytes together, but at least one entry if `must`.
    pub(super) fn take(
        &self,
        from: u64,
        until: u64,
        budget: usize,
        must: bool,
        emit: &mut impl FnMut(Run<'_>),
    ) -> Taken {
        let mut taken = Taken { next: from, bytes: 0, is_lost: false };
        while taken.next < until {
            let looked_up;
            let span = match self.spans.iter().rev().find(|span| span.contains(taken.next)) {
                Some(span) => span,
                // The spans end with the log's last segment, so one that is not among them gets no more entries.
                None => match self.look_up(taken.next) {
                    Some(span) => {
                        looked_up = span;
                        &looked_up
                    }
                    None => {
                        taken.is_lost = true;
                        break;
                    }
                },
            };
            let start = span.segment.start_of(taken.next);
            let limit = u64::from(start) + (budget - budget.min(taken.bytes)) as u64;
            let (mut next, mut end) = span.fit(taken.next, limit);
            if next == taken.next && must && taken.bytes == 0 {
                next += 1;
                end = span.segment.end_of(taken.next);
            }
            if next > until {
                next = until;
                end = span.segment.start_of(until);
            }
            if start < end {
                emit(Run { words: span.segment.words(), start, end });
            }
            taken.next = next;
            taken.bytes += (end - start) as usize;
            if next < span.end_seq {
                break;
            }
        }
        taken
    }

    /// The segment with entry `seq`, of this lane.
    pub(super) fn span(&self, seq: u64) -> Option<Span> {
        let at_hand = self.spans.iter().rev().find(|span| span.contains(seq));
        at_hand.cloned().or_else(|| self.look_up(seq))
    }

    fn look_up(&self, seq: u64) -> Option<Span> {
        self.topic.log().lane(self.lane)?.span_of(seq)
    }

    /// The last `bytes` bytes before entry `end` are to be taken back: the entry that then comes next, and how many of
    /// those bytes are before it, so that they cannot be. Nothing, if the log no longer tells.
    pub(super) fn take_back(&self, end: u64, bytes: usize) -> Option<(u64, usize)> {
        let log = self.topic.log();
        let lane = log.lane(self.lane)?;
        let offset = lane.offset_of(end)?.checked_sub(bytes as u64)?;
        let (next, next_offset) = lane.first_from_offset(offset);
        Some((next, (next_offset - offset) as usize))
    }
}
