//! One lane of a topic: its segments, oldest first, and what retention lets go.
//!
//! Segments grow with the lane: a new one takes an eighth of what the lane has, between [`SEGMENT_BYTES_MIN`] and
//! [`SEGMENT_BYTES_MAX`], so that a topic with little to keep costs little, and one with much is read in long runs.
//! Memory goes by whole segments. A lane's segments take at most `Retention::bytes` on the heap, or one segment that
//! its longest entry needs if that is more; within this, at least the last `Retention::entries` entries and all
//! younger than `Retention::age_us` are kept.

use std::collections::VecDeque;

use crate::segment::{Index, Segment, Span, Tail};
use crate::topic::Retention;

/// Smallest segment, in bytes on the heap.
const SEGMENT_BYTES_MIN: usize = 1024;
/// Largest segment, unless a single entry needs more.
const SEGMENT_BYTES_MAX: usize = 64 * 1024;
/// Segments which a lane that has reached its limit is made of, as long as they may be as small as this needs.
const SEGMENTS_PER_LANE: usize = 8;

/// The log of one lane.
#[derive(Debug)]
pub(crate) struct Lane {
    segments: VecDeque<Segment>,
    /// Where the last segment ends.
    tail: Tail,
    /// Number of the entry to come.
    next_seq: u64,
    allocated_bytes: usize,
    /// Offset of the entry to come, in bytes since the lane began.
    end_offset: u64,
    index: Index,
}

impl Lane {
    /// A lane whose first entry will be `next_seq`.
    pub(crate) fn new(next_seq: u64, index: Index) -> Self {
        Self { segments: VecDeque::new(), tail: Tail::default(), next_seq, allocated_bytes: 0, end_offset: 0, index }
    }

    /// Appends an entry. `now_us` never decreases.
    pub(crate) fn append(&mut self, now_us: u64, bytes: &[u8], retention: &Retention) {
        if !self.has_room(bytes.len()) {
            self.open_segment(now_us, bytes.len(), retention);
        }
        let segment = self.segments.back().expect("a segment with room was found or opened");
        self.tail.append(segment, self.next_seq, now_us, bytes);
        self.next_seq += 1;
        self.end_offset += bytes.len() as u64;
    }

    /// Lets go the segments in which `retention` wants no entry. Says whether there were any.
    pub(crate) fn retain(&mut self, now_us: u64, retention: &Retention) -> bool {
        let before = self.segments.len();
        while self.segments.front().is_some_and(|front| self.is_unwanted(front, now_us, retention)) {
            self.let_first_go();
        }
        self.segments.len() < before
    }

    /// Number of the entry to come.
    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Number of the first entry that is held; of the entry to come, if none is.
    pub(crate) fn first_seq(&self) -> u64 {
        self.segments.front().map_or(self.next_seq, |front| front.first_seq)
    }

    /// Bytes the segments take on the heap.
    pub(crate) fn allocated_bytes(&self) -> usize {
        self.allocated_bytes
    }

    /// The first entry from which on the lane has at most `backlog_bytes`; 0 if it has no more than that.
    pub(crate) fn floor(&self, backlog_bytes: u64) -> u64 {
        match self.end_offset.checked_sub(backlog_bytes) {
            Some(offset) if self.segments.front().is_some_and(|front| front.base < offset) => {
                self.first_from_offset(offset).0
            }
            _ => 0,
        }
    }

    /// The first entry held that was published at `time_us` or later, to a millisecond, or the entry to come.
    pub(crate) fn first_since(&self, time_us: u64) -> u64 {
        let next = self.segments.partition_point(|segment| segment.published_us(segment.first_seq) < time_us);
        let Some(nth) = next.checked_sub(1) else { return self.first_seq() };
        let span = self.span(nth);
        let (mut low, mut high) = (span.segment.first_seq, span.end_seq);
        while low < high {
            let middle = low + (high - low) / 2;
            if span.segment.published_us(middle) < time_us {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The first entry held that begins at `offset` or after it, or the entry to come; with the offset where it begins.
    pub(crate) fn first_from_offset(&self, offset: u64) -> (u64, u64) {
        let next = self.segments.partition_point(|segment| segment.base < offset);
        if let Some(nth) = next.checked_sub(1) {
            let span = self.span(nth);
            let (mut low, mut high) = (span.segment.first_seq, span.end_seq);
            while low < high {
                let middle = low + (high - low) / 2;
                if span.segment.base + u64::from(span.segment.start_of(middle)) < offset {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            if low < span.end_seq {
                return (low, span.segment.base + u64::from(span.segment.start_of(low)));
            }
        }
        self.segments.get(next).map_or((self.next_seq, self.end_offset), |segment| (segment.first_seq, segment.base))
    }

    /// Offset at which entry `seq` begins, if it is held or to come.
    pub(crate) fn offset_of(&self, seq: u64) -> Option<u64> {
        if seq == self.next_seq {
            return Some(self.end_offset);
        }
        let span = self.span_of(seq)?;
        Some(span.segment.base + u64::from(span.segment.start_of(seq)))
    }

    /// The segment of entry `seq`, if it is held.
    pub(crate) fn span_of(&self, seq: u64) -> Option<Span> {
        let nth = self.segments.partition_point(|segment| segment.first_seq <= seq).checked_sub(1)?;
        (seq < self.next_seq).then(|| self.span(nth))
    }

    /// Entry `by` is the next one of the key of entry `seq`, if that is held.
    pub(crate) fn set_successor(&self, seq: u64, by: u64) {
        if let Some(span) = self.span_of(seq) {
            span.segment.set_successor(seq, by);
        }
    }

    /// Forgets all entries: the next one is `next_seq`.
    pub(crate) fn begin_at(&mut self, next_seq: u64) {
        *self = Self::new(next_seq, self.index);
    }

    /// First entry of the last segment, and where its last entry ends.
    pub(crate) fn last(&self) -> Option<(u64, u32)> {
        self.segments.back().map(|last| (last.first_seq, self.tail.used))
    }

    /// The segments that hold entries from `seq` on, at most the last `count` of them.
    pub(crate) fn spans_from(&self, seq: u64, count: usize) -> impl Iterator<Item = Span> {
        let first = self.segments.partition_point(|segment| segment.first_seq <= seq).saturating_sub(1);
        (first.max(self.segments.len().saturating_sub(count))..self.segments.len()).map(|nth| self.span(nth))
    }

    fn span(&self, nth: usize) -> Span {
        let segment = self.segments[nth].clone();
        let (end_seq, end_bytes) = match self.segments.get(nth + 1) {
            Some(next) => (next.first_seq, u32::try_from(next.base - segment.base).expect("a segment is below 4 GiB")),
            None => (self.next_seq, self.tail.used),
        };
        Span { segment, end_seq, end_bytes }
    }

    fn has_room(&self, len: usize) -> bool {
        self.segments.back().is_some_and(|last| self.tail.fits(last, self.next_seq - last.first_seq, len))
    }

    fn open_segment(&mut self, now_us: u64, entry_bytes: usize, retention: &Retention) {
        self.retain(now_us, retention);
        let bytes = self.segment_bytes(entry_bytes, retention);
        while self.allocated_bytes + bytes > retention.bytes && !self.segments.is_empty() {
            self.let_first_go();
        }
        let segment = Segment::new(bytes, self.next_seq, self.end_offset, now_us, self.index);
        self.allocated_bytes += segment.allocated_bytes();
        self.segments.push_back(segment);
        self.tail = Tail::default();
    }

    /// Size of the next segment, whose first entry has `entry_bytes`.
    fn segment_bytes(&self, entry_bytes: usize, retention: &Retention) -> usize {
        let share = self.allocated_bytes.min(retention.bytes) / SEGMENTS_PER_LANE;
        let share = share.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        // Four sizes per doubling, as allocators have them: no memory is lost between sizes.
        let share = share - share % ((share + 1).next_power_of_two() / 8);
        // As many entries of this length as fit, with no rest that none of them would fill.
        let one = Segment::bytes_for(1, entry_bytes, self.index);
        let count = (share / one).max(1);
        if count < SEGMENTS_PER_LANE { Segment::bytes_for(count, entry_bytes, self.index) } else { share }
    }

    fn is_unwanted(&self, front: &Segment, now_us: u64, retention: &Retention) -> bool {
        let end_seq = self.segments.get(1).map_or(self.next_seq, |second| second.first_seq);
        let after = self.next_seq - end_seq;
        after >= retention.entries || now_us.saturating_sub(front.published_us(end_seq - 1)) > retention.age_us
    }

    fn let_first_go(&mut self) {
        if let Some(front) = self.segments.pop_front() {
            self.allocated_bytes -= front.allocated_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP_ALL: Retention = Retention { entries: u64::MAX, bytes: usize::MAX, age_us: u64::MAX };

    fn filled(entries: u64, len: usize, retention: &Retention) -> Lane {
        let mut lane = Lane::new(1, Index::Ends);
        for seq in 1..=entries {
            lane.append(seq, &vec![seq as u8; len], retention);
        }
        lane
    }

    #[test]
    fn segments_take_at_most_the_limit_of_bytes() {
        for len in [0, 1, 130, 500, 5_000] {
            let limit = Retention { bytes: 40_000, ..KEEP_ALL };
            let mut lane = Lane::new(1, Index::Ends);
            for seq in 1..=20_000 {
                lane.append(seq, &vec![7; len], &limit);
                assert!(lane.allocated_bytes() <= 40_000, "{len}");
            }
            assert!(lane.allocated_bytes() > 30_000, "the limit is used: {len}");
        }
    }

    #[test]
    fn an_entry_longer_than_the_limit_is_all_that_is_held() {
        let limit = Retention { bytes: 4_000, ..KEEP_ALL };
        let mut lane = filled(100, 50, &limit);
        lane.append(101, &[9; 10_000], &limit);
        assert_eq!(lane.first_seq(), 101);
        assert_eq!(lane.allocated_bytes(), Segment::bytes_for(1, 10_000, Index::Ends));
        lane.append(102, b"short", &limit);
        assert_eq!((lane.first_seq(), lane.allocated_bytes()), (102, SEGMENT_BYTES_MIN));
    }

    #[test]
    fn at_least_the_wanted_entries_are_kept_and_at_most_a_third_more_memory() {
        let limit = Retention { entries: 1_000, ..KEEP_ALL };
        let mut lane = filled(1_000, 128, &limit);
        let wanted_bytes = 1_000 * (128 + 8);
        for seq in 1_001..20_000 {
            lane.append(seq, &[1; 128], &limit);
            assert!(lane.next_seq() - lane.first_seq() >= 1_000);
            assert!(lane.allocated_bytes() <= wanted_bytes * 4 / 3, "{}", lane.allocated_bytes());
        }
        assert!(lane.first_seq() > 18_000);
    }

    #[test]
    fn age_lets_whole_segments_go_and_at_last_the_open_one() {
        let limit = Retention { age_us: 1_000_000, ..KEEP_ALL };
        let mut lane = Lane::new(1, Index::Ends);
        for seq in 1..=100 {
            lane.append(seq * 100_000, &[1; 128], &limit);
        }
        lane.retain(10_000_000, &limit);
        assert!((80..=91).contains(&lane.first_seq()), "{}", lane.first_seq());
        assert!(lane.retain(11_100_000, &limit));
        assert_eq!((lane.first_seq(), lane.next_seq(), lane.allocated_bytes()), (101, 101, 0));
        lane.append(11_200_000, b"next", &limit);
        assert_eq!((lane.first_seq(), lane.next_seq()), (101, 102));
        assert_eq!(lane.offset_of(101), Some(12_800));
    }

    #[test]
    fn offsets_and_entries_find_each_other_across_segments() {
        let mut lane = Lane::new(5, Index::Ends);
        let mut offsets = vec![0];
        for seq in 5..800u64 {
            let len = (seq * 7 % 50) as usize;
            lane.append(seq, &vec![1; len], &KEEP_ALL);
            offsets.push(offsets.last().unwrap() + len as u64);
        }
        assert!(lane.segments.len() > 5);
        for seq in 5..=800 {
            assert_eq!(lane.offset_of(seq), Some(offsets[seq as usize - 5]));
        }
        for offset in 0..=*offsets.last().unwrap() {
            let nth = offsets.partition_point(|start| *start < offset);
            assert_eq!(lane.first_from_offset(offset), (5 + nth as u64, offsets[nth]), "{offset}");
            assert_eq!(lane.floor(offsets.last().unwrap() - offset), if offset == 0 { 0 } else { 5 + nth as u64 });
        }
    }

    #[test]
    fn entries_are_found_by_their_time() {
        let mut lane = Lane::new(3, Index::Ends);
        let times: Vec<u64> = (0..500u64).map(|nth| nth / 7 * 10_240).collect();
        for time in &times {
            lane.append(*time, &[1; 40], &KEEP_ALL);
        }
        for time in (0..times[499] + 20_480).step_by(5_120) {
            assert_eq!(lane.first_since(time), 3 + times.partition_point(|each| *each < time) as u64, "{time}");
        }
    }

    #[test]
    fn a_lane_with_little_to_keep_costs_little() {
        assert_eq!(filled(1, 100, &KEEP_ALL).allocated_bytes(), SEGMENT_BYTES_MIN);
        for len in [40, 128, 300, 1_000] {
            let lane = filled(100, len, &KEEP_ALL);
            let kept = 100 * (len + 8);
            assert!(lane.allocated_bytes() <= (kept + SEGMENT_BYTES_MIN).max(kept * 5 / 4), "{len}");
        }
    }
}
