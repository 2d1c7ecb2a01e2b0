//! One subscription as its receiver sees it: every number is explained, once, before what follows it.

use std::collections::BTreeMap;

use ringwire_hub::LaneId;

use super::frames::{Frame, Kind, SILENT};
use super::model::TopicModel;

/// What a receiver knows of a topic.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) epoch: u64,
    /// Entries up to this one have come, or it is known that they do not.
    pub(crate) at: u64,
    /// The last entry of each key, if it has had a snapshot or every entry.
    pub(crate) state: Option<BTreeMap<u8, u64>>,
}

/// A subscription.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) topic: usize,
    pub(crate) lane: LaneId,
    pub(crate) since: u64,
    pub(crate) known: Known,
    pub(crate) delivered: u64,
    pub(crate) skipped: u64,
    pub(crate) gap: u64,
    /// A skip that was told of: its last entry, and how many of its entries are still to come.
    promised: Option<(u64, u64)>,
    /// A skip has left nothing: what took the place of its entries is still to come.
    is_owed: bool,
    /// A snapshot that is coming.
    coming: Option<(u64, BTreeMap<u8, u64>)>,
}

impl Client {
    pub(crate) fn new(topic: usize, lane: LaneId, known: Known) -> Self {
        let since = known.at;
        let (delivered, skipped, gap) = (0, 0, 0);
        Self { topic, lane, since, known, delivered, skipped, gap, promised: None, is_owed: false, coming: None }
    }

    pub(crate) fn receive(&mut self, frame: Frame, model: &TopicModel) {
        let is_told = self.lane != SILENT;
        match frame {
            Frame::Entry { topic, seq, kind, bytes } => {
                assert!(self.coming.is_none(), "a snapshot is not interrupted by its topic's entries");
                assert_eq!((topic as usize, (kind, bytes)), (self.topic, model.entries[seq as usize - 1]));
                assert!(seq > self.known.at, "in order, and none twice: {seq} after {}", self.known.at);
                match &mut self.promised {
                    Some((to, left)) if seq <= *to => {
                        assert!(*left > 0, "{seq} was said not to come");
                        *left -= 1;
                    }
                    promised => {
                        assert!(promised.is_none_or(|(_, left)| left == 0), "what was promised comes first");
                        assert!(!is_told || seq == self.known.at + 1, "{seq} after {}", self.known.at);
                        *promised = None;
                    }
                }
                self.delivered += 1;
                self.is_owed = false;
                self.known.at = seq;
                self.apply(seq, kind);
            }
            Frame::Skip { from, to, count } => match self.promised.take().filter(|(_, left)| *left > 0) {
                // What was promised was lost.
                Some((until, left)) => {
                    let is_all = to == until && count == to + 1 - from;
                    assert!(from > self.known.at && is_all, "{from}..{to}: {count}");
                    self.skipped += left;
                    self.is_owed = true;
                    self.known.at = to;
                }
                None => {
                    assert!(from == self.known.at + 1 && from <= to && (1..=to + 1 - from).contains(&count));
                    self.skipped += count;
                    self.promised = Some((to, to + 1 - from - count));
                    self.is_owed = count == to + 1 - from;
                }
            },
            Frame::Gap { from, to } => {
                assert!(self.promised.is_none_or(|(_, left)| left == 0), "what was promised comes first");
                assert!(from == self.known.at + 1 && from <= to, "{from}..{to} after {}", self.known.at);
                self.gap += to + 1 - from;
                self.known.at = to;
                self.known.state = None;
            }
            Frame::Snapshot { seq, first, last, keys } => {
                assert!(self.promised.is_none_or(|(_, left)| left == 0), "what was promised comes first");
                let (of, coming) = match (first, self.coming.take()) {
                    (true, _) => (seq, BTreeMap::new()),
                    (false, Some(coming)) => coming,
                    (false, None) => panic!("a snapshot begins with its first part"),
                };
                assert_eq!(of, seq, "the parts of a snapshot are of one");
                assert!(!is_told || seq == self.known.at, "the state by {seq} after {}", self.known.at);
                let mut coming = coming;
                for (key, of) in keys {
                    assert!(coming.last_key_value().is_none_or(|(before, _)| *before < key), "in order");
                    coming.insert(key, of);
                }
                if last {
                    assert_eq!(coming, model.state(seq), "the state by {seq}, exactly");
                    (self.known.at, self.known.state) = (seq, Some(coming));
                    self.is_owed = false;
                } else {
                    self.coming = Some((seq, coming));
                }
            }
        }
        // A skip that leaves nothing is over at once.
        if let Some((to, 0)) = self.promised {
            (self.known.at, self.promised) = (to, None);
        }
    }

    /// What is known when the subscription ends. Who is owed something does not know the state.
    pub(crate) fn remembered(self) -> Known {
        let state = self.known.state.filter(|_| !self.is_owed);
        Known { state, ..self.known }
    }

    fn apply(&mut self, seq: u64, kind: Kind) {
        let Some(state) = &mut self.known.state else { return };
        match kind {
            Kind::Message => {}
            Kind::Update(key) => _ = state.insert(key, seq),
            Kind::Remove(key) => _ = state.remove(&key),
        }
    }

    /// Nothing is pending, so rounds are through: a key that was skipped has come since.
    pub(crate) fn check_state(&self, model: &TopicModel) {
        if let Some(state) = &self.known.state
            && self.lane != SILENT
            && self.coming.is_none()
            && self.promised.is_none()
        {
            assert_eq!(*state, model.state(self.known.at), "the state by {}", self.known.at);
        }
    }
}
