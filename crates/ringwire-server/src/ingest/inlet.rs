//! A way into the hub from a thread that is no shard: publishes, and posts the notes.

use std::sync::Arc;
use std::time::Duration;

use ringwire_engine::Handle;
use ringwire_hub::{Published, Topic};
use ringwire_ring::wall_clock_us;

use super::source::{Dropped, Source};
use crate::broker::{Broker, Mail, Publisher, Refused};
use crate::lanes::Publication;
use crate::outbox::Outbox;

/// How soon mail that a full mailbox refused is to be posted again.
pub(super) const RETRY: Duration = Duration::from_millis(1);

/// One source's way into the hub.
pub(super) struct Inlet {
    pub(super) broker: Arc<Broker>,
    pub(super) source: Arc<Source>,
    publisher: Publisher,
    handle: Handle<Mail>,
    outbox: Outbox<Mail>,
}

impl Inlet {
    pub(super) fn new(broker: &Arc<Broker>, handle: &Handle<Mail>, source: &Arc<Source>) -> Self {
        Self {
            publisher: Publisher::new(broker.deflate),
            broker: Arc::clone(broker),
            source: Arc::clone(source),
            handle: handle.clone(),
            outbox: Outbox::default(),
        }
    }

    /// Publishes into `topic`, opened again if it was let go, and counts it, or why it was refused.
    pub(super) fn publish(
        &mut self,
        topic: &mut Arc<Topic>,
        publication: Publication<'_>,
    ) -> Result<Published, Refused> {
        let Self { broker, source, publisher, handle, outbox } = self;
        let published = publisher.publish_reopening(broker, topic, publication, wall_clock_us());
        match &published {
            Ok(published) => {
                let note = || Mail::Note(topic.id());
                outbox.send(published.notify, note, |shard, mail| handle.post(shard.index(), mail));
                source.count(publication.payload.len());
            }
            Err(refused) => {
                let why = match refused {
                    Refused::TooLong { .. } => Dropped::TooLong,
                    Refused::Log(_) | Refused::Open(_) => Dropped::Refused,
                };
                source.drop_one(why, || format!("{}: {refused}", topic.name()));
            }
        }
        published
    }

    /// Posts again what mailboxes refused. Whether something still waits, and this is to be called again after [`RETRY`].
    pub(super) fn retry(&mut self) -> bool {
        let Self { handle, outbox, .. } = self;
        outbox.retry(|shard, mail| handle.post(shard.index(), mail));
        !outbox.is_empty()
    }
}
