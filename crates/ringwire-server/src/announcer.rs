//! Telling shards of new topics.
//!
//! A topic may be opened by any thread: a shard, the control plane, an ingest of its own. Whoever opens it, the shards
//! whose subscribers watch a pattern that matches it must be told, once, or those subscribers never get it. So this does
//! not depend on the opener: it posts from the thread it is on, and what a full mailbox refuses, or what comes before there
//! are mailboxes, the control plane posts again ([`deliver`](Announcer::deliver)).
//!
//! At most one announcement per shard is kept for each topic that is opened, which bounds what waits by the topics there
//! may be.

use std::fmt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use ringwire_hub::{Opened, ShardId};
use tokio::sync::Notify;

use crate::broker::Mail;
use crate::outbox::Outbox;

/// How soon mail that a full mailbox refused is posted again.
const RETRY: Duration = Duration::from_millis(1);

/// How mail gets into the mailbox of a shard; it hands back what that does not take.
type Post = dyn Fn(ShardId, Mail) -> Result<(), Mail> + Send + Sync;

/// Tells shards of new topics, from any thread.
#[derive(Default)]
pub struct Announcer {
    post: OnceLock<Box<Post>>,
    waiting: Mutex<Outbox<Mail>>,
    /// Something waits.
    refused: Notify,
}

impl Announcer {
    /// Has mail posted through `post`, from any thread.
    ///
    /// # Panics
    /// If that was said before.
    pub fn attach(&self, post: impl Fn(ShardId, Mail) -> Result<(), Mail> + Send + Sync + 'static) {
        assert!(self.post.set(Box::new(post)).is_ok(), "mailboxes are attached once");
        self.refused.notify_one();
    }

    /// Tells those who are to be told of a topic.
    pub fn announce(&self, opened: &Opened) {
        if opened.announce.is_empty() {
            return;
        }
        let mut waiting = self.waiting();
        waiting.send(opened.announce, || Mail::Opened(opened.topic.id()), |shard, mail| self.post(shard, mail));
        if !waiting.is_empty() {
            self.refused.notify_one();
        }
    }

    /// Posts again, for ever, what could not be posted. One thread may do so.
    pub async fn deliver(&self) {
        loop {
            self.refused.notified().await;
            while self.post.get().is_some() && !self.retry() {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Posts again what waits. Whether nothing is left.
    pub fn retry(&self) -> bool {
        let mut waiting = self.waiting();
        waiting.retry(|shard, mail| self.post(shard, mail));
        waiting.is_empty()
    }

    fn post(&self, shard: ShardId, mail: Mail) -> Result<(), Mail> {
        self.post.get().ok_or(mail)?(shard, mail)
    }

    fn waiting(&self) -> MutexGuard<'_, Outbox<Mail>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Announcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announcer").field("is_attached", &self.post.get().is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringwire_hub::{Hub, Pattern, TopicName, TopicSetup};
    use std::sync::Arc;

    /// Mailboxes with room for so much, in one.
    #[derive(Clone, Default)]
    struct Mailbox(Arc<Mutex<Inside>>);

    #[derive(Default)]
    struct Inside {
        room: usize,
        mail: Vec<(usize, Mail)>,
    }

    impl Mailbox {
        fn post(&self, shard: ShardId, mail: Mail) -> Result<(), Mail> {
            let mut inside = self.0.lock().unwrap();
            inside.room = inside.room.checked_sub(1).ok_or(mail)?;
            inside.mail.push((shard.index(), mail));
            Ok(())
        }

        fn with_room(&self, count: usize) -> Vec<(usize, Mail)> {
            let mut inside = self.0.lock().unwrap();
            inside.room = count;
            std::mem::take(&mut inside.mail)
        }
    }

    #[test]
    fn shards_that_watch_are_told_of_a_topic_once_even_if_they_are_full_or_not_there_yet() {
        let (hub, announcer, mailbox) = (Hub::new(10), Announcer::default(), Mailbox::default());
        for shard in [0, 1] {
            hub.watch(ShardId::new(shard), &Pattern::new("a.*").unwrap());
        }
        let open = |name: &str| {
            let opened = hub.open(&TopicName::new(name).unwrap(), TopicSetup::default).unwrap();
            announcer.announce(&opened);
            Mail::Opened(opened.topic.id())
        };
        let first = open("a.1");
        open("b");
        assert!(!announcer.retry(), "nobody takes it yet");
        let ours = mailbox.clone();
        announcer.attach(move |shard, mail| ours.post(shard, mail));
        mailbox.with_room(1);
        assert!(!announcer.retry());
        assert_eq!(mailbox.with_room(10), [(0, first)]);
        assert!(announcer.retry());
        assert_eq!(mailbox.with_room(10), [(1, first)]);
        let second = open("a.2");
        open("a.2");
        assert_eq!(mailbox.with_room(10), [(0, second), (1, second)]);
    }
}
