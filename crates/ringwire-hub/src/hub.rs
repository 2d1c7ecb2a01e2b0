//! The registry: topics by name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::ids::TopicId;
use crate::name::{NameError, TopicName};
use crate::topic::{ENTRY_BYTES_LIMIT, Topic, TopicOptions};

/// All topics of a server. Every method may be called from any thread.
///
/// Topics are found through a lock and a search by name; who uses one often keeps its `Arc`. A topic stays for the
/// life of its hub.
#[derive(Debug)]
pub struct Hub {
    topics_max: usize,
    topics: RwLock<BTreeMap<TopicName, Arc<Topic>>>,
}

impl Hub {
    /// A hub of at most `topics_max` topics. An empty topic takes some 400 bytes.
    pub fn new(topics_max: usize) -> Self {
        let topics_max = topics_max.min(u32::MAX as usize);
        Self { topics_max, topics: RwLock::default() }
    }

    /// The topic called `name`, opened with `options` if there is none.
    ///
    /// # Panics
    /// If `options.entry_bytes_max` is above [`ENTRY_BYTES_LIMIT`].
    pub fn open(&self, name: &str, options: &TopicOptions) -> Result<Arc<Topic>, OpenError> {
        assert!(options.entry_bytes_max <= ENTRY_BYTES_LIMIT, "entry_bytes_max is at most ENTRY_BYTES_LIMIT");
        if let Some(topic) = self.topic(name) {
            return Ok(topic);
        }
        let name = TopicName::new(name).map_err(OpenError::Name)?;
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = topics.get(&name) {
            return Ok(Arc::clone(topic));
        }
        if topics.len() == self.topics_max {
            return Err(OpenError::TooMany { max: self.topics_max });
        }
        let id = TopicId(u32::try_from(topics.len()).expect("topics_max fits u32"));
        let topic = Arc::new(Topic::new(id, name.clone(), *options));
        topics.insert(name, Arc::clone(&topic));
        Ok(topic)
    }

    /// The topic called `name`, if there is one.
    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All topics, in the order of their names.
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// Why a topic could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The name is not one of a topic.
    Name(NameError),
    /// The hub has all the topics it may have.
    TooMany {
        /// How many that is.
        max: usize,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::TooMany { max } => write!(f, "there are {max} topics, and no more may be opened"),
        }
    }
}

impl std::error::Error for OpenError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_opened_once() {
        let hub = Hub::new(10);
        let first = hub.open("trades.BTC-USD", &TopicOptions { epoch: 7, ..TopicOptions::default() }).unwrap();
        let again = hub.open("trades.BTC-USD", &TopicOptions::default()).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(again.options().epoch, 7);
        assert!(hub.topic("trades.ETH-USD").is_none());
    }

    #[test]
    fn topics_are_bounded_and_listed_by_name() {
        let hub = Hub::new(3);
        for name in ["b", "c", "a"] {
            hub.open(name, &TopicOptions::default()).unwrap();
        }
        assert_eq!(hub.open("d", &TopicOptions::default()).unwrap_err(), OpenError::TooMany { max: 3 });
        assert!(hub.open("c", &TopicOptions::default()).is_ok());
        let listed: Vec<_> = hub.topics().iter().map(|topic| (topic.name().to_string(), topic.id().index())).collect();
        assert_eq!(listed, [("a".to_owned(), 2), ("b".to_owned(), 0), ("c".to_owned(), 1)]);
    }

    #[test]
    fn an_invalid_name_is_refused_with_its_reason() {
        let error = Hub::new(3).open("a/b", &TopicOptions::default()).unwrap_err();
        assert_eq!(error, OpenError::Name(NameError::Byte { at: 1 }));
    }
}
