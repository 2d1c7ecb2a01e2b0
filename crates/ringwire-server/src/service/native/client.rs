//! What is known of one connection that speaks the native protocol.
//!
//! All of it is bounded: topics, patterns, bound keys and publishes that wait by [`NativeOptions`], what is known of
//! topics that are published to by [`PUBLISHING_MAX`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ringwire_hub::{LaneId, Pattern, Topic, TopicName};

use crate::auth::{Grant, Rate};
use crate::lanes::{HISTORY, JSON};
use crate::native::request::{Id, Mode, Subscribe};
use crate::options::NativeOptions;

/// Topics published to of which is remembered that they may be: looking them up again costs more than the 150 bytes that
/// each takes.
pub(super) const PUBLISHING_MAX: usize = 1024;

/// In which form messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::service) enum Form {
    /// Text: JSON messages.
    Json,
    /// Binary records.
    Binary,
}

/// A connection.
#[derive(Debug)]
pub(in crate::service) struct Client {
    pub(super) form: Form,
    /// Unique among the server's connections, and not 0: whose a bound key is.
    pub(super) number: u64,
    /// Nothing has been asked yet.
    pub(super) is_fresh: bool,
    pub(super) grant: Grant,
    /// How many requests other than publishes it may still make.
    pub(super) requests: Option<Rate>,
    /// What it gets, by the topic's number.
    pub(super) topics: BTreeMap<u32, Subscription>,
    /// The patterns it is subscribed to.
    pub(super) patterns: BTreeMap<Arc<str>, Watched>,
    /// Topics it has published to and may.
    pub(super) publishing: BTreeMap<TopicName, Publishing>,
    /// Topics it has numbers for without being subscribed.
    pub(super) handles: BTreeMap<u32, TopicName>,
    /// Keys that go when it goes.
    pub(super) bound: BTreeSet<(TopicName, Box<str>)>,
    /// Publishes whose acknowledgement waits for the disk, in order.
    pub(super) pending: VecDeque<Pending>,
    /// It is listed among those who wait for the disk.
    pub(super) is_waiting: bool,
}

/// A topic that a client gets.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) topic: Arc<Topic>,
    /// The pattern by which it came, if it came so.
    pub(super) pattern: Option<Arc<str>>,
    /// It is a member of the topic's presence.
    pub(super) is_present: bool,
}

/// A pattern that a client is subscribed to.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) pattern: Pattern,
    pub(super) how: How,
    /// The client has been told that it has no room for more of the topics that match.
    pub(super) is_full: bool,
}

/// How a client wants its topics.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct How {
    pub(super) mode: Mode,
    pub(super) rate: Option<u32>,
    pub(super) max_age_ms: Option<u32>,
    pub(super) history: Option<u32>,
    pub(super) snapshot: bool,
    pub(super) info: Option<Box<str>>,
}

/// A topic that a client publishes to.
#[derive(Debug)]
pub(super) struct Publishing {
    pub(super) topic: Arc<Topic>,
    pub(super) entry_bytes_max: usize,
    pub(super) rate: Option<Rate>,
}

/// A publish whose acknowledgement waits for the disk.
#[derive(Debug)]
pub(super) struct Pending {
    /// Until this is on disk.
    pub(super) ticket: u64,
    pub(super) answer: Answer,
}

/// How a publish is answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// As the result of this request.
    Result(OwnedId, crate::native::reply::PublishedAt),
    /// As a record: the request's number, the entry's.
    Ack(u64, u64),
}

/// An [`Id`] that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OwnedId {
    None,
    Number(u64),
    Text(Box<str>),
}

impl Client {
    /// A connection that has just opened.
    pub(in crate::service) fn new(form: Form, number: u64, grant: Grant, options: &NativeOptions, now_us: u64) -> Self {
        Self {
            form,
            number,
            is_fresh: true,
            grant,
            requests: options.requests.map(|limit| Rate::new(limit, now_us)),
            topics: BTreeMap::new(),
            patterns: BTreeMap::new(),
            publishing: BTreeMap::new(),
            handles: BTreeMap::new(),
            bound: BTreeSet::new(),
            pending: VecDeque::new(),
            is_waiting: false,
        }
    }

    /// What the others call it.
    pub(super) fn name(&self) -> String {
        format!("c{}", crate::native::epoch::Epoch(self.number))
    }

    /// The lane in which it gets entries, if messages are not compressed.
    pub(super) fn lane(&self) -> LaneId {
        match self.form {
            Form::Json => JSON,
            Form::Binary => HISTORY,
        }
    }

    /// The topic that has this number on this connection.
    pub(super) fn topic_of(&self, id: u32) -> Option<TopicName> {
        let subscribed = self.topics.get(&id).map(|subscription| subscription.topic.name());
        subscribed.or_else(|| self.handles.get(&id)).cloned()
    }

    /// How many topics and patterns it is subscribed to.
    pub(super) fn subscriptions(&self) -> usize {
        self.topics.len() + self.patterns.len()
    }
}

impl How {
    /// What a request asks for.
    pub(super) fn of(request: &Subscribe<'_>) -> Self {
        Self {
            mode: request.mode,
            rate: request.rate,
            max_age_ms: request.max_age_ms,
            history: request.history,
            snapshot: request.snapshot.unwrap_or(true),
            info: request.info.map(Into::into),
        }
    }
}

impl OwnedId {
    pub(super) fn as_id(&self) -> Id<'_> {
        match self {
            Self::None => Id::None,
            Self::Number(number) => Id::Number(*number),
            Self::Text(text) => Id::Text(text),
        }
    }
}

impl From<Id<'_>> for OwnedId {
    fn from(id: Id<'_>) -> Self {
        match id {
            Id::None => Self::None,
            Id::Number(number) => Self::Number(number),
            Id::Text(text) => Self::Text(text.into()),
        }
    }
}
