//! What was published, as the publishers were told: a list per topic, and who is still at work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Message(u64),
    Update(String, u64),
    Remove(String),
}

/// The state of a keyed topic.
pub(crate) type State = BTreeMap<String, u64>;

#[derive(Debug, Default)]
pub(crate) struct Known {
    topics: BTreeMap<String, BTreeMap<u64, Entry>>,
    /// Publishers that wait for answers.
    pub(crate) publishing: usize,
    /// Subscribers that have not got all.
    pub(crate) subscribing: usize,
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

/// Shared by all peers of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Oracle(Arc<Mutex<Known>>);

impl Oracle {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn count(&self, what: &'static str) {
        *self.lock().counts.entry(what).or_default() += 1;
    }
}

impl Known {
    /// A publish was answered.
    pub(crate) fn published(&mut self, topic: &str, seq: u64, entry: &Entry) {
        let before = self.topics.entry(topic.to_owned()).or_default().insert(seq, entry.clone());
        assert!(before.is_none_or(|before| before == *entry), "{topic} has two entries {seq}");
    }

    /// Names of all topics that something was published to.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().map(String::as_str)
    }

    /// Number of the last entry.
    pub(crate) fn head(&self, topic: &str) -> u64 {
        self.topics.get(topic).and_then(|entries| entries.keys().next_back().copied()).unwrap_or(0)
    }

    /// The entry with this number.
    pub(crate) fn entry(&self, topic: &str, seq: u64) -> &Entry {
        self.topics.get(topic).and_then(|entries| entries.get(&seq)).unwrap_or_else(|| panic!("{topic} has no {seq}"))
    }

    /// The state of a topic after entry `seq`.
    pub(crate) fn state(&self, topic: &str, seq: u64) -> State {
        let mut state = State::new();
        for (_, entry) in self.topics.get(topic).into_iter().flatten().take_while(|(nth, _)| **nth <= seq) {
            match entry {
                Entry::Message(_) => {}
                Entry::Update(key, value) => drop(state.insert(key.clone(), *value)),
                Entry::Remove(key) => drop(state.remove(key)),
            }
        }
        state
    }

    /// Every number from 1 on was given once.
    pub(crate) fn assert_whole(&self) {
        for (topic, entries) in &self.topics {
            let numbers: Vec<u64> = entries.keys().copied().collect();
            let want: Vec<u64> = (1..=entries.len() as u64).collect();
            assert_eq!(numbers, want, "{topic}: every acknowledged entry is there, once, in order");
        }
    }
}
