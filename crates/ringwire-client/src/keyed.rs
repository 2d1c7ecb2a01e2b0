//! The state of a keyed topic: a map that snapshots, updates and removes keep as it is on the server.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{Data, Entry, EntryKind, Event, Snapshot, SnapshotEntry, TopicState};

/// What an event did to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has a value.
    Set(Arc<str>),
    /// It is gone; with the value that it had.
    Removed(Arc<str>, Data),
}

/// A keyed topic's keys and their values. Feed it all events of a subscription to one topic.
#[derive(Clone, Debug, Default)]
pub struct KeyedState {
    entries: BTreeMap<Arc<str>, SnapshotEntry>,
    /// The parts of a snapshot that have come. The state stays as it is until the last one is here.
    arriving: Option<BTreeMap<Arc<str>, SnapshotEntry>>,
    is_whole: bool,
}

impl KeyedState {
    /// Without any key.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether this is the whole state: not before the first snapshot, nor from a gap to the next one.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// A key's value.
    pub fn get(&self, key: &str) -> Option<&Data> {
        self.entries.get(key).map(|entry| &entry.data)
    }

    /// A key's value with its place and time.
    pub fn entry(&self, key: &str) -> Option<&SnapshotEntry> {
        self.entries.get(key)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All keys in their order, with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Data)> {
        self.entries.iter().map(|(key, entry)| (&**key, &entry.data))
    }

    /// Takes an event. Returns what it changed: one key, or all that a whole snapshot makes different.
    pub fn apply(&mut self, event: &Event) -> Vec<Change> {
        match event {
            Event::Subscribed(subscribed) => {
                self.arriving = None;
                self.is_whole = subscribed.state == TopicState::Resumed;
            }
            Event::Gap(_) => self.is_whole = false,
            Event::Snapshot(snapshot) => return self.snapshot(snapshot),
            Event::Entry(entry) => return self.change(entry).into_iter().collect(),
            Event::Skip(_) | Event::Refused { .. } => {}
        }
        Vec::new()
    }

    fn change(&mut self, entry: &Entry) -> Option<Change> {
        let Entry { key, seq, ts_us, data, .. } = entry;
        if entry.kind == EntryKind::Remove {
            return self.entries.remove(key).map(|gone| Change::Removed(key.clone(), gone.data));
        }
        let value = SnapshotEntry { key: key.clone(), seq: *seq, ts_us: *ts_us, data: data.clone() };
        self.entries.insert(key.clone(), value);
        Some(Change::Set(key.clone()))
    }

    fn snapshot(&mut self, snapshot: &Snapshot) -> Vec<Change> {
        let mut arriving = self.arriving.take().filter(|_| !snapshot.first).unwrap_or_default();
        arriving.extend(snapshot.entries.iter().map(|entry| (entry.key.clone(), entry.clone())));
        if !snapshot.last {
            self.arriving = Some(arriving);
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.entries, arriving);
        self.is_whole = true;
        let is_new = |entry: &&SnapshotEntry| before.get(&entry.key).is_none_or(|known| known.seq != entry.seq);
        let set = self.entries.values().filter(is_new).map(|entry| Change::Set(entry.key.clone()));
        let is_gone = |(key, _): &(&Arc<str>, _)| !self.entries.contains_key(*key);
        let gone = before.iter().filter(is_gone).map(|(key, entry)| Change::Removed(key.clone(), entry.data.clone()));
        gone.chain(set).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Gap;

    fn item(key: &str, seq: u64) -> SnapshotEntry {
        SnapshotEntry { key: key.into(), seq, ts_us: 0, data: Data::json(&seq.to_string()) }
    }

    fn snapshot(first: bool, last: bool, entries: Vec<SnapshotEntry>) -> Event {
        Event::Snapshot(Snapshot { topic: "a".into(), epoch: "e".into(), seq: 9, first, last, entries })
    }

    fn entry(kind: EntryKind, key: &str, seq: u64) -> Event {
        let data = Data::json(&seq.to_string());
        Event::Entry(Entry { topic: "a".into(), kind, seq, ts_us: 0, source_seq: None, key: key.into(), data })
    }

    #[test]
    fn snapshots_updates_and_removes_keep_the_state() {
        let mut state = KeyedState::new();
        assert!(state.apply(&snapshot(true, false, vec![item("x", 1)])).is_empty() && state.is_empty());
        let changes = state.apply(&snapshot(false, true, vec![item("y", 3)]));
        assert_eq!((changes, state.is_whole()), (vec![Change::Set("x".into()), Change::Set("y".into())], true));
        assert_eq!(state.apply(&entry(EntryKind::Update, "x", 10)), [Change::Set("x".into())]);
        assert_eq!(state.apply(&entry(EntryKind::Remove, "y", 11)), [Change::Removed("y".into(), Data::json("3"))]);
        assert_eq!(state.apply(&entry(EntryKind::Remove, "nobody", 12)), []);
        assert_eq!(state.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["x"]);
        assert_eq!(state.get("x").and_then(Data::as_str), Some("10"));
    }

    #[test]
    fn a_snapshot_replaces_the_state_and_changes_only_what_differs() {
        let mut state = KeyedState::new();
        state.apply(&snapshot(true, true, vec![item("w", 1), item("x", 2)]));
        state.apply(&Event::Gap(Gap { topic: "a".into(), from: 1, to: 2, why: "slow".into() }));
        assert!(!state.is_whole());
        // A part of a snapshot that was cut off does not count.
        state.apply(&snapshot(true, false, vec![item("v", 1)]));
        let changes = state.apply(&snapshot(true, true, vec![item("x", 2), item("z", 5)]));
        assert_eq!(changes, [Change::Removed("w".into(), Data::json("1")), Change::Set("z".into())]);
        assert!(state.is_whole() && state.len() == 2);
    }
}
