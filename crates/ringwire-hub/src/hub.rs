//! The registry: topics by name and by number, and which shards watch which patterns.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::ids::{ShardId, ShardSet, TopicId};
use crate::name::TopicName;
use crate::pattern::{Pattern, PatternMap};
use crate::topic::{ENTRY_BYTES_LIMIT, Topic, TopicSetup};

/// All topics of a server. Every method may be called from any thread.
///
/// Topics are found through a lock and a search by name; who uses one often keeps its `Arc`.
#[derive(Debug)]
pub struct Hub {
    topics_max: usize,
    registry: RwLock<Registry>,
}

/// What the lock guards.
#[derive(Debug, Default)]
struct Registry {
    by_name: BTreeMap<TopicName, Arc<Topic>>,
    by_id: Vec<Option<Arc<Topic>>>,
    free: Vec<u32>,
    watchers: PatternMap<ShardId>,
    /// Of the topics that were let go.
    gone: Totals,
}

/// What all topics come to, since the hub was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Topics that there are.
    pub topics: usize,
    /// Entries published, or put back, before and after topics were let go.
    pub published: u64,
    /// Entries that subscribers did not get as later ones took their place: the sum over subscriptions.
    pub skipped: u64,
    /// Entries that slow subscribers did not get: the sum over subscriptions.
    pub gap: u64,
}

/// A topic that was looked for.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The topic.
    pub topic: Arc<Topic>,
    /// It is new, and these shards watch a pattern that matches it: they must be told of it, or their subscribers to
    /// the pattern will not get it.
    pub announce: ShardSet,
}

impl Hub {
    /// A hub of at most `topics_max` topics. An empty topic takes some 500 bytes.
    pub fn new(topics_max: usize) -> Self {
        Self { topics_max: topics_max.min(u32::MAX as usize), registry: RwLock::default() }
    }

    /// The topic called `name`, opened with what `setup` says if there is none.
    ///
    /// # Errors
    /// Why it could not be opened.
    ///
    /// # Panics
    /// If `entry_bytes_max` is above [`ENTRY_BYTES_LIMIT`].
    pub fn open(&self, name: &TopicName, setup: impl FnOnce() -> TopicSetup) -> Result<Opened, OpenError> {
        if let Some(topic) = self.topic(name.as_str()) {
            return Ok(Opened { topic, announce: ShardSet::default() });
        }
        let mut registry = self.write();
        if let Some(topic) = registry.by_name.get(name) {
            return Ok(Opened { topic: Arc::clone(topic), announce: ShardSet::default() });
        }
        if registry.by_name.len() == self.topics_max {
            return Err(OpenError::TooMany { max: self.topics_max });
        }
        let setup = setup();
        assert!(setup.options.entry_bytes_max <= ENTRY_BYTES_LIMIT, "entry_bytes_max is at most ENTRY_BYTES_LIMIT");
        Ok(registry.add(name, setup))
    }

    /// The topic called `name`, if there is one.
    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.read().by_name.get(name).cloned()
    }

    /// The topic with this number, if there is one.
    pub fn by_id(&self, id: TopicId) -> Option<Arc<Topic>> {
        self.read().by_id.get(id.index())?.clone()
    }

    /// All topics, in the order of their names.
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        self.read().by_name.values().cloned().collect()
    }

    /// How many topics there are.
    pub fn len(&self) -> usize {
        self.read().by_name.len()
    }

    /// What all topics come to. Looks at each of them.
    pub fn totals(&self) -> Totals {
        let registry = self.read();
        let mut totals = Totals { topics: registry.by_name.len(), ..registry.gone };
        registry.by_name.values().for_each(|topic| totals.add(topic));
        totals
    }

    /// Whether there is no topic.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The topics that match, in the order of their names.
    pub fn matching(&self, pattern: &Pattern) -> Vec<Arc<Topic>> {
        self.read().matching(pattern)
    }

    /// Has `shard` told of topics that match `pattern` as they are opened, until it is unwatched as often as it was
    /// watched. Returns those that there are.
    pub fn watch(&self, shard: ShardId, pattern: &Pattern) -> Vec<Arc<Topic>> {
        let mut registry = self.write();
        registry.watchers.insert(pattern, shard);
        registry.matching(pattern)
    }

    /// Undoes one [`watch`](Self::watch).
    pub fn unwatch(&self, shard: ShardId, pattern: &Pattern) {
        self.write().watchers.remove(pattern, &shard);
    }

    /// Lets go of topics that hold nothing, that nobody subscribes to, and to which nothing was published since
    /// `before_us`. Their numbers are used again. Returns how many.
    pub fn let_go_idle(&self, before_us: u64) -> usize {
        let mut registry = self.write();
        let Registry { by_name, by_id, free, gone, .. } = &mut *registry;
        let before = by_name.len();
        by_name.retain(|_, topic| {
            let goes = topic.let_go(before_us);
            if goes {
                by_id[topic.id().index()] = None;
                free.push(topic.id().0);
                gone.add(topic);
            }
            !goes
        });
        before - by_name.len()
    }

    fn read(&self) -> RwLockReadGuard<'_, Registry> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Registry> {
        self.registry.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    fn add(&mut self, name: &TopicName, setup: TopicSetup) -> Opened {
        let index = self.free.pop().unwrap_or_else(|| {
            self.by_id.push(None);
            u32::try_from(self.by_id.len() - 1).expect("topics_max fits u32")
        });
        let topic = Arc::new(Topic::new(TopicId(index), name.clone(), setup));
        self.by_name.insert(name.clone(), Arc::clone(&topic));
        self.by_id[index as usize] = Some(Arc::clone(&topic));
        let mut announce = ShardSet::default();
        self.watchers.matching(name, |shard| announce.insert(*shard));
        Opened { topic, announce }
    }

    fn matching(&self, pattern: &Pattern) -> Vec<Arc<Topic>> {
        let prefix = pattern.prefix();
        let from = self.by_name.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        let near = from.take_while(|(name, _)| name.as_str().starts_with(prefix));
        near.filter(|(name, _)| pattern.matches(name)).map(|(_, topic)| Arc::clone(topic)).collect()
    }
}

impl Totals {
    fn add(&mut self, topic: &Topic) {
        self.published += topic.last_seq();
        self.skipped += topic.skipped();
        self.gap += topic.gap();
    }
}

/// Why a topic could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The hub has all the topics it may have.
    TooMany {
        /// How many that is.
        max: usize,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany { max } => write!(f, "there are {max} topics, and no more may be opened"),
        }
    }
}

impl std::error::Error for OpenError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::{Entry, PublishError, Retention, TopicOptions};

    fn name(text: &str) -> TopicName {
        TopicName::new(text).unwrap()
    }

    fn open(hub: &Hub, text: &str) -> Opened {
        hub.open(&name(text), TopicSetup::default).unwrap()
    }

    fn names(topics: &[Arc<Topic>]) -> Vec<&str> {
        topics.iter().map(|topic| topic.name().as_str()).collect()
    }

    #[test]
    fn a_name_is_opened_once() {
        let hub = Hub::new(10);
        let with = |epoch| move || TopicOptions { epoch, ..TopicOptions::default() }.into();
        let first = hub.open(&name("trades.BTC-USD"), with(7)).unwrap().topic;
        let again = hub.open(&name("trades.BTC-USD"), with(8)).unwrap().topic;
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(again.options().epoch, 7);
        assert!(hub.topic("trades.ETH-USD").is_none());
        assert!(Arc::ptr_eq(&hub.by_id(first.id()).unwrap(), &first));
    }

    #[test]
    fn topics_are_bounded_and_listed_by_name() {
        let hub = Hub::new(3);
        for name in ["b", "c", "a"] {
            open(&hub, name);
        }
        assert_eq!(hub.open(&name("d"), TopicSetup::default).unwrap_err(), OpenError::TooMany { max: 3 });
        assert!(hub.open(&name("c"), TopicSetup::default).is_ok());
        let listed: Vec<_> = hub.topics().iter().map(|topic| (topic.name().to_string(), topic.id().index())).collect();
        assert_eq!(listed, [("a".to_owned(), 2), ("b".to_owned(), 0), ("c".to_owned(), 1)]);
    }

    #[test]
    fn a_pattern_finds_the_topics_that_match() {
        let hub = Hub::new(10);
        for name in ["book.b", "book.a", "book", "books.a", "trades.a", "$presence.book.a"] {
            open(&hub, name);
        }
        let found = |pattern: &str| names(&hub.matching(&Pattern::new(pattern).unwrap())).join(" ");
        assert_eq!(found("book.*"), "book.a book.b");
        assert_eq!(found("*.a"), "book.a books.a trades.a");
        assert_eq!(found("book"), "book");
        assert_eq!(found(">"), "book book.a book.b books.a trades.a");
    }

    #[test]
    fn shards_that_watch_are_told_of_new_topics() {
        let hub = Hub::new(10);
        let (a, b) = (ShardId::new(1), ShardId::new(2));
        open(&hub, "book.x");
        let pattern = Pattern::new("book.*").unwrap();
        assert_eq!(names(&hub.watch(a, &pattern)), ["book.x"]);
        hub.watch(b, &pattern);
        hub.watch(b, &Pattern::new(">").unwrap());
        let announced = |name: &str| open(&hub, name).announce.iter().collect::<Vec<_>>();
        assert_eq!(announced("book.y"), [a, b]);
        assert_eq!(announced("book.y"), [], "it is new but once");
        assert_eq!(announced("trades.x"), [b]);
        hub.unwatch(a, &pattern);
        assert_eq!(announced("book.z"), [b]);
    }

    #[test]
    fn an_idle_topic_is_let_go_when_it_holds_nothing() {
        let hub = Hub::new(10);
        let retention = Retention { age_us: 100, ..TopicOptions::default().retention };
        let topic =
            hub.open(&name("a"), || TopicOptions { retention, ..TopicOptions::default() }.into()).unwrap().topic;
        let publish = |now_us| topic.publish(now_us, &Entry::MESSAGE, &mut Vec::new(), |_, _, _, out| out.push(b'x'));
        publish(1_000).unwrap();
        assert_eq!(hub.let_go_idle(u64::MAX), 0, "it holds an entry");
        topic.retain(5_000);
        assert_eq!(hub.let_go_idle(999), 0, "it was used of late");
        assert_eq!((hub.let_go_idle(1_000), hub.len()), (1, 0));
        assert_eq!(hub.totals(), Totals { published: 1, ..Totals::default() }, "what was counted stays counted");
        assert_eq!(publish(6_000), Err(PublishError::Gone));
        let next = open(&hub, "b").topic;
        assert_eq!(next.id(), topic.id(), "its number is used again");
    }
}
