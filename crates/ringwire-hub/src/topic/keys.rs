//! The last entry of each key, and the idempotency keys of late.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::entry::{Appended, Entry, IDEMPOTENCY_KEY_BYTES_MAX, KEY_BYTES_MAX, PublishError, Subject};
use super::options::TopicKind;

/// How many idempotency keys a topic remembers.
pub const IDEMPOTENCY_KEYS_MAX: usize = 1024;

/// What a topic knows of a key.
#[derive(Clone, Debug)]
pub(crate) struct KeyState {
    pub(crate) seq: u64,
    pub(crate) owner: u64,
    /// The entry in the history lane.
    pub(crate) history: Arc<[u8]>,
}

/// The keys of a keyed topic.
#[derive(Debug)]
pub(crate) struct Keys {
    keys_max: u32,
    ttl_us: u64,
    states: BTreeMap<Arc<str>, KeyState>,
    /// Keys by the number of their last entry, with its time: only where keys expire.
    by_age: BTreeMap<u64, (u64, Arc<str>)>,
}

impl Keys {
    /// The keys of a topic of this kind, if it has any.
    pub(crate) fn new(kind: TopicKind) -> Option<Self> {
        match kind {
            TopicKind::Plain => None,
            TopicKind::Keyed { keys_max, key_ttl_us } => {
                Some(Self { keys_max, ttl_us: key_ttl_us, states: BTreeMap::new(), by_age: BTreeMap::new() })
            }
        }
    }

    /// Whether `entry` may be published.
    pub(crate) fn check(&self, entry: &Entry<'_>) -> Result<(), PublishError> {
        let Some(key) = entry.subject.key() else { return Ok(()) };
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(PublishError::KeyLength);
        }
        let state = self.states.get(key);
        match entry.subject {
            Subject::Update(_) if state.is_none() && self.states.len() >= self.keys_max as usize => {
                Err(PublishError::TooManyKeys { max: self.keys_max })
            }
            Subject::Remove(_) => match state {
                Some(state) if entry.owner == 0 || entry.owner == state.owner => Ok(()),
                _ => Err(PublishError::NoSuchKey),
            },
            Subject::Message | Subject::Update(_) => Ok(()),
        }
    }

    /// Takes note of an entry. Returns the number of the one before it of the same key, if it has a key and that was set.
    pub(crate) fn apply(&mut self, appended: &Appended<'_>) -> Option<u64> {
        let (seq, entry) = (appended.seq, appended.entry);
        let before = match entry.subject {
            Subject::Message => return None,
            Subject::Remove(key) => self.states.remove(key),
            Subject::Update(key) => {
                let state = KeyState { seq, owner: entry.owner, history: appended.history.into() };
                match self.states.get_mut(key) {
                    Some(there) => Some(std::mem::replace(there, state)),
                    None => self.states.insert(key.into(), state),
                }
            }
        };
        if self.ttl_us != u64::MAX {
            if let Some(before) = &before {
                self.by_age.remove(&before.seq);
            }
            if let Subject::Update(key) = entry.subject {
                self.by_age.insert(seq, (appended.time_us, key.into()));
            }
        }
        before.map(|before| before.seq)
    }

    /// All keys in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &KeyState)> {
        self.states.iter()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&KeyState> {
        self.states.get(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.states.len()
    }

    /// The key whose last update is the oldest, if that is too old.
    pub(crate) fn expired(&self, now_us: u64) -> Option<Arc<str>> {
        let (_, (time_us, key)) = self.by_age.first_key_value()?;
        (now_us.saturating_sub(*time_us) > self.ttl_us).then(|| Arc::clone(key))
    }
}

/// The idempotency keys that a topic remembers: the last [`IDEMPOTENCY_KEYS_MAX`].
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    answers: BTreeMap<Arc<str>, (u64, Option<u64>)>,
    order: VecDeque<Arc<str>>,
}

impl Remembered {
    /// Whether the key may be one.
    pub(crate) fn check(entry: &Entry<'_>) -> Result<(), PublishError> {
        match entry.idempotency_key {
            Some(key) if key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX => {
                Err(PublishError::IdempotencyKeyLength)
            }
            _ => Ok(()),
        }
    }

    /// Number and ticket of the entry that had `key`.
    pub(crate) fn find(&self, key: Option<&str>) -> Option<(u64, Option<u64>)> {
        self.answers.get(key?).copied()
    }

    pub(crate) fn insert(&mut self, key: Option<&str>, seq: u64, ticket: Option<u64>) {
        let Some(key) = key else { return };
        if self.order.len() == IDEMPOTENCY_KEYS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
        let key: Arc<str> = key.into();
        self.order.push_back(Arc::clone(&key));
        self.answers.insert(key, (seq, ticket));
    }

    /// What is remembered, the oldest first: key and number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.order.iter().map(|key| (&**key, self.answers[key].0))
    }
}
