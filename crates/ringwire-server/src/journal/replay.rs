//! What a journal's records come to: each topic as it was when the last of them was written.
//!
//! A topic's entries stand in the order of their numbers, with two exceptions. When the journal writes again what a
//! topic holds ([`Record::Begin`] to [`Record::Holds`]), older entries stand behind newer ones. And while the journal
//! could not write, entries are missing; those after them were acknowledged to nobody until `Holds` closed the hole. So
//! entries are collected by number, and the log is what follows its first entry without a hole.
//!
//! What this file must never do: touch a file; hand out an entry behind a hole.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;

use super::record::{self, Entry, Opened, Record};
use super::segment::Placed;

/// Collects records in the order of a journal.
#[derive(Debug, Default)]
pub struct Replay {
    topics: BTreeMap<u32, Collected>,
    by_name: BTreeMap<String, u32>,
    next_topic: u32,
    is_closed: bool,
}

/// A topic as it is put back.
#[derive(Debug)]
pub struct ReplayedTopic {
    /// Its number in the journal.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Names its log.
    pub epoch: u64,
    /// Whether it kept the last entry of each key.
    pub keyed: bool,
    /// The last entries of keys that are older than the log, in the order of their numbers.
    pub states: Vec<Stored>,
    /// The log, without a hole.
    pub log: Vec<Stored>,
    /// Number of the last entry; that of the log's, if it has any.
    pub last_seq: u64,
    /// Whether there were entries behind a hole: before anything is published, a [`Record::Cut`] must be written.
    pub has_hole: bool,
    /// Idempotency keys with the numbers of their entries, in the order of these.
    pub remembered: Vec<(u64, Vec<u8>)>,
}

/// An entry's record, where it was read.
#[derive(Clone, Debug)]
pub struct Stored(Bytes);

impl Stored {
    /// The entry.
    pub fn entry(&self) -> Entry<'_> {
        match record::read(&self.0) {
            Ok((Record::Entry(entry), _)) => entry,
            other => unreachable!("an entry was stored: {other:?}"),
        }
    }

    /// Bytes of its record.
    pub fn record_bytes(&self) -> usize {
        self.0.len()
    }
}

#[derive(Debug)]
struct Collected {
    name: String,
    epoch: u64,
    keyed: bool,
    known: Known,
    /// Collected since `Begin`, until `Holds` puts it in the place of `known`.
    fresh: Option<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Each entry by its number; whether it counts for its key if the log begins behind it.
    entries: BTreeMap<u64, (Stored, bool)>,
    remembered: BTreeMap<u64, Vec<u8>>,
    /// First number of the log and last number that there was, as of the last `Holds`.
    holds: Option<(u64, u64)>,
}

impl Replay {
    /// Takes the next record, which stands in `file`.
    pub fn apply(&mut self, file: &Bytes, placed: &Placed<'_>) {
        self.is_closed = false;
        match placed.record {
            Record::Opened(opened) => self.open(&opened),
            Record::Entry(entry) => {
                let stored = Stored(file.slice(Range { start: placed.at, end: placed.end }));
                self.collect(entry.topic, |known| known.insert(&entry, &stored));
            }
            Record::Remembered { topic, seq, key } => {
                self.collect(topic, |known| drop(known.remembered.insert(seq, key.to_vec())));
            }
            Record::LetGo { topic } => self.let_go(topic),
            Record::Begin { topic } => {
                if let Some(topic) = self.topics.get_mut(&topic) {
                    topic.fresh = Some(Known::default());
                }
            }
            Record::Holds { topic, first_seq, last_seq } => {
                if let Some(topic) = self.topics.get_mut(&topic)
                    && let Some(fresh) = topic.fresh.take()
                {
                    topic.known = Known { holds: Some((first_seq, last_seq)), ..fresh };
                }
            }
            Record::Cut { topic, last_seq } => {
                self.collect(topic, |known| drop(known.entries.split_off(&last_seq.saturating_add(1))));
            }
            Record::Checkpoint { .. } => {}
            Record::End => self.is_closed = true,
        }
    }

    /// Whether the journal was closed in good order.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The number for the next topic.
    pub fn next_topic(&self) -> u32 {
        self.next_topic
    }

    /// All topics, in the order of their names.
    pub fn finish(mut self) -> Vec<ReplayedTopic> {
        let topics = self.by_name.values().filter_map(|id| Some((*id, self.topics.remove(id)?)));
        topics.map(|(id, topic)| topic.finish(id)).collect()
    }

    fn open(&mut self, opened: &Opened<'_>) {
        self.next_topic = self.next_topic.max(opened.topic.saturating_add(1));
        if let Some(topic) = self.topics.get_mut(&opened.topic) {
            topic.epoch = opened.epoch;
            return;
        }
        // A topic of this name that was let go while the journal could not write is not to come back.
        if let Some(before) = self.by_name.insert(opened.name.to_owned(), opened.topic) {
            self.topics.remove(&before);
        }
        let Opened { epoch, keyed, .. } = *opened;
        let collected = Collected { name: opened.name.to_owned(), epoch, keyed, known: Known::default(), fresh: None };
        self.topics.insert(opened.topic, collected);
    }

    fn let_go(&mut self, topic: u32) {
        if let Some(topic) = self.topics.remove(&topic) {
            self.by_name.remove(&topic.name);
        }
    }

    fn collect(&mut self, topic: u32, mut put: impl FnMut(&mut Known)) {
        let Some(topic) = self.topics.get_mut(&topic) else { return };
        put(&mut topic.known);
        topic.fresh.iter_mut().for_each(put);
    }
}

impl Known {
    fn insert(&mut self, entry: &Entry<'_>, stored: &Stored) {
        if !entry.idempotency_key.is_empty() {
            self.remembered.insert(entry.seq, entry.idempotency_key.to_vec());
        }
        match self.entries.get_mut(&entry.seq) {
            // The same entry again, as a part of the log and as the last of its key, which knows whose that is.
            Some((there, is_state)) if entry.state => {
                *is_state = true;
                *there = stored.clone();
            }
            Some(_) => {}
            None => drop(self.entries.insert(entry.seq, (stored.clone(), entry.state))),
        }
    }
}

impl Collected {
    fn finish(self, id: u32) -> ReplayedTopic {
        let Self { name, epoch, keyed, known, .. } = self;
        let Known { mut entries, remembered, holds } = known;
        let (first_seq, held_seq) = holds.unwrap_or((1, 0));
        let after = entries.split_off(&first_seq);
        let count = after.len();
        let mut log = Vec::with_capacity(count);
        for (nth, (seq, (stored, _))) in after.into_iter().enumerate() {
            if seq - first_seq != nth as u64 {
                break;
            }
            log.push(stored);
        }
        let has_hole = log.len() < count;
        // Numbers come from a file: none of them is taken to be possible.
        let last_seq = held_seq.max(first_seq.saturating_add(log.len() as u64).saturating_sub(1));
        let states = entries.into_values().filter(|(_, is_state)| keyed && *is_state).map(|(stored, _)| stored);
        let remembered = remembered.into_iter().filter(|(seq, _)| *seq <= last_seq).collect();
        ReplayedTopic { id, name, epoch, keyed, states: states.collect(), log, last_seq, has_hole, remembered }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::record::EntryKind;
    use crate::journal::segment::Records;

    /// The topics that a journal of these records has: names, what keys had, the log, the last number.
    fn replayed(records: &[Record<'_>]) -> Vec<(String, Vec<u64>, Vec<u64>, u64)> {
        let topics = replay(records).finish();
        let seqs = |entries: &[Stored]| entries.iter().map(|entry| entry.entry().seq).collect();
        topics.into_iter().map(|t| (t.name, seqs(&t.states), seqs(&t.log), t.last_seq)).collect()
    }

    fn replay(records: &[Record<'_>]) -> Replay {
        let mut file = vec![0; crate::journal::segment::HEADER_BYTES];
        records.iter().for_each(|record| record.write(&mut file));
        let file = Bytes::from(file);
        let mut replay = Replay::default();
        let mut records = Records::new(&file);
        while let Some(placed) = records.next_record().unwrap() {
            replay.apply(&file, &placed);
        }
        replay
    }

    const fn opened(topic: u32, name: &str) -> Record<'_> {
        Record::Opened(Opened { topic, epoch: 9, keyed: true, name })
    }

    fn entry(topic: u32, seq: u64) -> Entry<'static> {
        Entry {
            topic,
            seq,
            time_us: 0,
            kind: EntryKind::Update,
            bound: false,
            state: false,
            key: b"k",
            idempotency_key: b"",
            bytes: b"x",
        }
    }

    fn log(topic: u32, seqs: std::ops::RangeInclusive<u64>) -> impl Iterator<Item = Record<'static>> {
        seqs.map(move |seq| Record::Entry(entry(topic, seq)))
    }

    fn state(topic: u32, seq: u64) -> Record<'static> {
        Record::Entry(Entry { state: true, ..entry(topic, seq) })
    }

    #[test]
    fn entries_come_back_in_the_order_of_their_numbers() {
        let mut records = vec![opened(1, "b"), opened(2, "a")];
        records.extend(log(1, 1..=2));
        records.extend(log(2, 1..=1));
        records.extend(log(1, 3..=3));
        let expected = [("a".to_owned(), vec![], vec![1], 1), ("b".to_owned(), vec![], vec![1, 2, 3], 3)];
        assert_eq!(replayed(&records), expected);
    }

    #[test]
    fn what_a_topic_holds_takes_the_place_of_what_was_written_before() {
        let mut records = vec![opened(1, "a")];
        records.extend(log(1, 1..=6));
        let begun = [records.clone(), vec![Record::Begin { topic: 1 }, state(1, 2), state(1, 5)]].concat();
        let mut held = begun.clone();
        held.extend(log(1, 7..=7));
        held.extend(log(1, 5..=6));
        assert_eq!(replayed(&held)[0].2, [1, 2, 3, 4, 5, 6, 7], "without the end it is as if it had not begun");
        held.push(Record::Holds { topic: 1, first_seq: 5, last_seq: 6 });
        assert_eq!(replayed(&held), [("a".to_owned(), vec![2], vec![5, 6, 7], 7)]);
        held.extend(log(1, 8..=8));
        assert_eq!(replayed(&held)[0].2, [5, 6, 7, 8]);
    }

    #[test]
    fn an_entry_before_the_log_counts_for_its_key_only_if_it_is_its_state() {
        let mut records = vec![opened(1, "a"), Record::Begin { topic: 1 }];
        records.extend(log(1, 3..=4));
        records.extend([state(1, 2), state(1, 4), Record::Holds { topic: 1, first_seq: 8, last_seq: 7 }]);
        assert_eq!(replayed(&records), [("a".to_owned(), vec![2, 4], vec![], 7)], "in the log, and then passed by it");
    }

    #[test]
    fn nothing_behind_a_hole_comes_back_until_it_is_closed() {
        let mut records = vec![opened(1, "a")];
        records.extend(log(1, 1..=3));
        records.extend(log(1, 6..=7));
        assert_eq!(replayed(&records), [("a".to_owned(), vec![], vec![1, 2, 3], 3)]);
        records.push(Record::Begin { topic: 1 });
        records.extend(log(1, 2..=7));
        records.push(Record::Holds { topic: 1, first_seq: 2, last_seq: 7 });
        assert_eq!(replayed(&records), [("a".to_owned(), vec![], vec![2, 3, 4, 5, 6, 7], 7)]);
    }

    #[test]
    fn what_did_not_come_back_once_does_not_come_back_later() {
        let mut records = vec![opened(1, "a")];
        records.extend(log(1, 1..=3));
        records.extend(log(1, 6..=7));
        assert!(replay(&records).finish()[0].has_hole);
        records.push(Record::Cut { topic: 1, last_seq: 3 });
        records.extend(log(1, 4..=5));
        assert_eq!(replayed(&records), [("a".to_owned(), vec![], vec![1, 2, 3, 4, 5], 5)]);
        assert!(!replay(&records).finish()[0].has_hole);
    }

    #[test]
    fn a_topic_that_was_let_go_is_gone_and_its_name_may_come_again() {
        let mut records = vec![opened(1, "a")];
        records.extend(log(1, 1..=3));
        records.push(Record::LetGo { topic: 1 });
        assert_eq!(replayed(&records), []);
        records.push(opened(2, "a"));
        records.extend(log(2, 1..=1));
        assert_eq!(replayed(&records), [("a".to_owned(), vec![], vec![1], 1)]);
        records.extend([opened(3, "a")]);
        assert_eq!(replayed(&records), [("a".to_owned(), vec![], vec![], 0)], "also if that was not written");
        assert_eq!(replay(&records).next_topic(), 4);
    }

    #[test]
    fn a_log_has_the_epoch_that_was_said_last() {
        let renamed = Record::Opened(Opened { topic: 1, epoch: 10, keyed: false, name: "a" });
        let topics = replay(&[opened(1, "a"), Record::Entry(entry(1, 1)), renamed]).finish();
        assert_eq!((topics[0].epoch, topics[0].log.len()), (10, 1));
    }

    #[test]
    fn idempotency_keys_come_back_once_with_their_numbers() {
        let keyed = |seq, idempotency_key| Record::Entry(Entry { idempotency_key, ..entry(1, seq) });
        let records = [
            opened(1, "a"),
            keyed(1, b"x"),
            keyed(2, b"y"),
            Record::Begin { topic: 1 },
            Record::Remembered { topic: 1, seq: 1, key: b"x" },
            keyed(3, b"z"),
            Record::Holds { topic: 1, first_seq: 3, last_seq: 2 },
        ];
        let remembered = replay(&records).finish().remove(0).remembered;
        assert_eq!(remembered, [(1, b"x".to_vec()), (3, b"z".to_vec())]);
    }

    #[test]
    fn a_journal_is_closed_if_nothing_follows_its_end() {
        assert!(replay(&[opened(1, "a"), Record::End]).is_closed());
        assert!(!replay(&[opened(1, "a"), Record::End, opened(1, "a")]).is_closed());
        assert!(!replay(&[]).is_closed());
    }
}
