//! What all threads of the server share: the hub, who may publish, and how things stand.
//!
//! Publishing is the same from a shard and from the control plane: [`Publisher::publish`] appends to the topic's
//! log, whose own lock orders all publishers, and says which shards are to be sent a note. Sending it is the
//! caller's part, since each kind of thread does it in its own way.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ringwire_hub::{
    Hub, OpenError, PublishError, Published, Resumes, Sink, Subject, Topic, TopicId, TopicName, TopicOptions,
    TopicSetup,
};
use tokio::sync::Notify;

use crate::announcer::Announcer;
use crate::auth::{Access, Users};
use crate::ingest::source::Source;
use crate::journal::{Journal, TopicJournal};
use crate::lanes::{ENTRY_BYTES_MAX, Encoder, PAYLOAD_BYTES_MAX, Payload, Publication, SharedDeflate};
use crate::options::{TopicRules, UserLimits};
use crate::status::Status;

/// Most topics. An empty one takes some 400 bytes.
const TOPICS_MAX: usize = 100_000;
/// Working memory that a publisher keeps from one publish to the next.
const SCRATCH_BYTES_KEPT: usize = 256 * 1024;

/// What shards send each other and the control plane sends them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mail {
    /// Something was appended to this topic.
    Note(TopicId),
    /// This topic is new, and the shard watches a pattern that matches it. The topic may be gone by then, and its number
    /// another's.
    Opened(TopicId),
    /// Tickets were decided for which the shard waits ([`Journal::outcome_or_wait`]).
    Durable,
    /// The server is about to drain.
    GoAway,
}

/// Shared by all threads of the server.
#[derive(Debug)]
pub struct Broker {
    /// The topics.
    pub hub: Hub,
    /// Who is let in how.
    pub access: Access,
    /// What users have.
    pub users: Users,
    /// What the feed does.
    pub status: Status,
    /// How many shards there are.
    pub shards: NonZeroUsize,
    /// How publishers compress for those who have agreed on it.
    pub deflate: SharedDeflate,
    /// What holds for which topics.
    pub rules: TopicRules,
    /// How the ways in are that are no clients' connections.
    pub sources: Vec<Arc<Source>>,
    /// Tells shards of new topics.
    pub announcer: Announcer,
    /// Where persistent topics are kept.
    pub journal: Option<Arc<Journal>>,
    /// The epoch of the next topic.
    epoch: AtomicU64,
    /// The number of the next client.
    client: AtomicU64,
    subscriptions: AtomicU64,
    subscribed: Notify,
}

impl Broker {
    /// A broker without topics. `epoch` is that of its first topic: the time in microseconds at which the server begins,
    /// so that no topic of another run has the epoch of one of this.
    pub fn new(access: Access, shards: NonZeroUsize, epoch: u64) -> Self {
        Self {
            hub: Hub::new(TOPICS_MAX),
            access,
            users: Users::new(UserLimits::default()),
            status: Status::default(),
            shards,
            deflate: SharedDeflate::default(),
            rules: TopicRules::default(),
            sources: Vec::new(),
            announcer: Announcer::default(),
            journal: None,
            epoch: AtomicU64::new(epoch),
            client: AtomicU64::new(epoch),
            subscriptions: AtomicU64::new(0),
            subscribed: Notify::new(),
        }
    }

    /// The topic of this name, opened if there is none; shards that watch for it are told.
    ///
    /// # Errors
    /// If there are as many topics as there may be.
    pub fn open(&self, name: &TopicName) -> Result<Arc<Topic>, OpenError> {
        let setup = || {
            let options = self.options(name, self.next_epoch());
            let journal = self.journal.as_ref().filter(|_| self.rules.rule_for(name).persistent);
            let sink = journal.map(|journal| journal.topic(name, options.epoch, options.is_keyed()) as Arc<dyn Sink>);
            TopicSetup { options, sink, resumes: None }
        };
        let opened = self.hub.open(name, setup)?;
        self.announcer.announce(&opened);
        Ok(opened.topic)
    }

    /// The topic of this name, which goes on where an earlier run's ended. There is none yet.
    ///
    /// # Errors
    /// If there are as many topics as there may be.
    pub fn reopen(
        &self,
        name: &TopicName,
        epoch: u64,
        resumes: Option<Resumes>,
        journal: Arc<TopicJournal>,
    ) -> Result<Arc<Topic>, OpenError> {
        let setup = || TopicSetup { options: self.options(name, epoch), sink: Some(journal), resumes };
        self.hub.open(name, setup).map(|opened| opened.topic)
    }

    /// An epoch that no log had before.
    pub fn next_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::Relaxed)
    }

    fn options(&self, name: &TopicName, epoch: u64) -> TopicOptions {
        let rule = self.rules.rule_for(name);
        TopicOptions {
            epoch,
            kind: rule.topic_kind(),
            retention: rule.retention,
            entry_bytes_max: ENTRY_BYTES_MAX,
            backlog_bytes_max: rule.backlog_bytes_max,
            tick_us: rule.tick_us(),
        }
    }

    /// A number for a connection that speaks the native protocol, which no other has; not of another run either.
    pub fn next_client(&self) -> u64 {
        self.client.fetch_add(1, Ordering::Relaxed)
    }

    /// Subscriptions on all shards.
    pub fn subscriptions(&self) -> u64 {
        self.subscriptions.load(Ordering::Relaxed)
    }

    /// `count` subscriptions have begun.
    pub fn count_subscribed(&self, count: u64) {
        self.subscriptions.fetch_add(count, Ordering::Release);
        self.subscribed.notify_one();
    }

    /// `count` subscriptions have ended.
    pub fn count_unsubscribed(&self, count: u64) {
        self.subscriptions.fetch_sub(count, Ordering::Relaxed);
    }

    /// Waits until there are `count` subscriptions. One thread may wait.
    pub async fn wait_for_subscriptions(&self, count: u64) {
        while self.subscriptions.load(Ordering::Acquire) < count {
            self.subscribed.notified().await;
        }
    }
}

/// One thread's means to publish.
#[derive(Debug, Default)]
pub struct Publisher {
    encoder: Encoder,
    scratch: Vec<u8>,
}

/// Why something was not published. Its text is for who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is longer than [`PAYLOAD_BYTES_MAX`].
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The topic's log does not take it.
    Log(PublishError),
    /// The topic was let go, and cannot be opened again.
    Open(OpenError),
}

impl Publisher {
    /// A publisher that compresses as `deflate` says, where somebody gets it.
    pub fn new(deflate: SharedDeflate) -> Self {
        Self { encoder: Encoder::new(deflate), scratch: Vec::new() }
    }

    /// Appends a publication to `topic`. The shards in the answer's `notify` must now be sent a [`Mail::Note`].
    ///
    /// # Errors
    /// Why it was not published.
    pub fn publish<'a>(
        &mut self,
        topic: &Topic,
        publication: impl Into<Publication<'a>>,
        now_us: u64,
    ) -> Result<Published, Refused> {
        let publication = &publication.into();
        let bytes = publication.payload.len();
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(Refused::TooLong { bytes });
        }
        let Self { encoder, scratch } = self;
        encoder.prepare(topic, publication, now_us);
        let encode = |lane, seq, time_us, out: &mut Vec<u8>| {
            encoder.encode(lane, topic, publication, seq, time_us, out);
        };
        let result = topic.publish(now_us, &publication.entry(), scratch, encode).map_err(Refused::Log);
        encoder.forget();
        scratch.clear();
        scratch.shrink_to(SCRATCH_BYTES_KEPT);
        result
    }

    /// Removes one key of `topic` that has had no update for too long. Nothing, if there is none. Notes are to be sent as
    /// for a publish.
    ///
    /// # Errors
    /// Why it was not removed.
    pub fn remove_expired(&mut self, topic: &Topic, now_us: u64) -> Result<Option<Published>, PublishError> {
        let Self { encoder, scratch } = self;
        encoder.forget();
        topic.remove_expired(now_us, scratch, |key, lane, seq, time_us, out| {
            let removal = Publication { subject: Subject::Remove(key), ..Payload::Text("").into() };
            encoder.encode(lane, topic, &removal, seq, time_us, out);
        })
    }

    /// Appends a publication as [`publish`](Self::publish) does, into the topic that takes the place of `topic` if that
    /// was let go while it was idle.
    ///
    /// # Errors
    /// Why it was not published.
    pub fn publish_reopening<'a>(
        &mut self,
        broker: &Broker,
        topic: &mut Arc<Topic>,
        publication: impl Into<Publication<'a>>,
        now_us: u64,
    ) -> Result<Published, Refused> {
        let publication = publication.into();
        match self.publish(topic, publication, now_us) {
            Err(Refused::Log(PublishError::Gone)) => {
                *topic = broker.open(topic.name()).map_err(Refused::Open)?;
                // This one has not been idle for long.
                self.publish(topic, publication, now_us)
            }
            result => result,
        }
    }
}

impl Refused {
    /// The HTTP status that says it.
    pub fn status(&self) -> u16 {
        match self {
            Refused::TooLong { .. } | Refused::Log(PublishError::TooLong { .. }) => 413,
            Refused::Log(PublishError::NoSuchKey) => 404,
            Refused::Log(PublishError::TooManyKeys { .. }) => 429,
            Refused::Log(PublishError::Gone) | Refused::Open(_) => 503,
            Refused::Log(PublishError::NotKeyed | PublishError::KeyLength | PublishError::IdempotencyKeyLength) => 400,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::TooLong { bytes } => {
                write!(f, "a message of {bytes} bytes is too long: at most {PAYLOAD_BYTES_MAX} are published")
            }
            Refused::Log(error) => error.fmt(f),
            Refused::Open(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::options::Options;
    use ringwire_hub::TopicKind;

    fn broker() -> Broker {
        Broker::new(Access::local(), NonZeroUsize::MIN, 7)
    }

    #[test]
    fn publishes_are_numbered_per_topic_from_one() {
        let (broker, mut publisher) = (broker(), Publisher::default());
        let [a, b] = ["a", "b"].map(|name| broker.open(&TopicName::new(name).unwrap()).unwrap());
        let mut seq = |topic: &Topic| publisher.publish(topic, Payload::Text("1"), 0).unwrap().seq;
        assert_eq!([seq(&a), seq(&a), seq(&b), seq(&a)], [1, 2, 1, 3]);
    }

    #[test]
    fn a_topic_has_the_kind_that_its_rule_says() {
        let config =
            Config::parse("[[topics]]\nmatch = \"k.>\"\nkind = \"keyed\"\nkey_ttl_ms = 2\ntick_hz = 20").unwrap();
        let rules = Options::check(&config, NonZeroUsize::MIN).unwrap().topics;
        let broker = Broker { rules, ..broker() };
        let options = |name: &str| *broker.open(&TopicName::new(name).unwrap()).unwrap().options();
        assert_eq!(options("k.a").kind, TopicKind::Keyed { keys_max: 100_000, key_ttl_us: 2_000 });
        assert_eq!((options("k.a").tick_us, options("a").tick_us), (50_000, 0));
        assert_eq!(options("a").kind, TopicKind::Plain);
    }

    #[test]
    fn a_payload_over_the_limit_is_refused_and_uses_no_number() {
        let (broker, mut publisher) = (broker(), Publisher::default());
        let topic = broker.open(&TopicName::new("a").unwrap()).unwrap();
        let long = vec![0; PAYLOAD_BYTES_MAX + 1];
        let refused = publisher.publish(&topic, Payload::Binary(&long), 0);
        assert_eq!(refused, Err(Refused::TooLong { bytes: PAYLOAD_BYTES_MAX + 1 }));
        assert_eq!(publisher.publish(&topic, Payload::Binary(&long[1..]), 0).unwrap().seq, 1);
        assert!(publisher.scratch.capacity() <= SCRATCH_BYTES_KEPT, "memory of a long payload is given back");
    }

    #[test]
    fn a_topic_that_was_let_go_is_opened_again_by_who_publishes() {
        let (broker, mut publisher) = (broker(), Publisher::default());
        let mut topic = broker.open(&TopicName::new("a").unwrap()).unwrap();
        let before = Arc::clone(&topic);
        let mut publish = |topic: &mut Arc<Topic>| {
            publisher.publish_reopening(&broker, topic, Payload::Text("1"), 5).map(|done| done.seq)
        };
        assert_eq!([publish(&mut topic), publish(&mut topic)], [Ok(1), Ok(2)]);
        assert!(Arc::ptr_eq(&topic, &before));
        topic.retain(u64::MAX);
        assert_eq!(broker.hub.let_go_idle(5), 1);
        assert_eq!(publish(&mut topic), Ok(1));
        assert!(!Arc::ptr_eq(&topic, &before));
        assert_ne!(topic.options().epoch, before.options().epoch, "its numbers begin anew, so it has another epoch");
    }

    #[test]
    fn who_waits_for_subscriptions_goes_on_once_they_are_there() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let broker = broker();
        runtime.block_on(async {
            let mut wait = std::pin::pin!(broker.wait_for_subscriptions(3));
            for (before, count) in [(0, 2), (2, 1)] {
                assert_eq!(broker.subscriptions(), before);
                tokio::select! {
                    biased;
                    () = &mut wait => panic!("{before} are not 3"),
                    () = std::future::ready(()) => {}
                }
                broker.count_subscribed(count);
            }
            wait.await;
        });
    }
}
