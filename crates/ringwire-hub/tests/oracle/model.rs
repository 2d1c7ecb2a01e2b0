//! A topic as a list of all that was ever published to it.

use std::collections::BTreeMap;

use super::frames::Kind;

/// A topic.
#[derive(Clone, Debug, Default)]
pub(crate) struct TopicModel {
    pub(crate) epoch: u64,
    /// What each entry is about, and how long it is.
    pub(crate) entries: Vec<(Kind, usize)>,
}

impl TopicModel {
    pub(crate) fn head(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The last entry of each key, by the first `seq` entries.
    pub(crate) fn state(&self, seq: u64) -> BTreeMap<u8, u64> {
        let mut state = BTreeMap::new();
        for (seq, (kind, _)) in (1..).zip(&self.entries[..seq as usize]) {
            match kind {
                Kind::Message => {}
                Kind::Update(key) => _ = state.insert(*key, seq),
                Kind::Remove(key) => _ = state.remove(key),
            }
        }
        state
    }
}
