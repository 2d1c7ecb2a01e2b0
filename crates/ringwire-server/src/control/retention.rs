//! Lets go of what topics keep for too long. A topic does so by itself when something is published; this is for
//! those that have fallen silent. A topic that holds nothing then, and that nobody uses for long enough, goes too.

use std::sync::Arc;
use std::time::Duration;

use ringwire_engine::Handle;
use ringwire_ring::wall_clock_us;

use super::post;
use crate::broker::{Broker, Mail};
use crate::outbox::Outbox;

/// Time between two rounds.
const PERIOD: Duration = Duration::from_secs(10);

/// How soon a note that a full mailbox refused is posted again.
const RETRY: Duration = Duration::from_millis(1);

/// Goes round all topics, again and again. Those that are idle for `topics_idle` go.
pub(super) async fn run(broker: Arc<Broker>, handle: Handle<Mail>, topics_idle: Duration) {
    let idle_us = u64::try_from(topics_idle.as_micros()).unwrap_or(u64::MAX);
    let period = PERIOD.min(topics_idle);
    let mut outbox = Outbox::default();
    loop {
        tokio::time::sleep(period).await;
        for topic in broker.hub.topics() {
            let notify = topic.retain(wall_clock_us());
            outbox.send(notify, || Mail::Note(topic.id()), |shard, mail| post(&handle, shard, mail));
        }
        // A shard hears of nothing in a topic until the note that is under way to it has come.
        while !outbox.is_empty() {
            tokio::time::sleep(RETRY).await;
            outbox.retry(|shard, mail| post(&handle, shard, mail));
        }
        broker.hub.let_go_idle(wall_clock_us().saturating_sub(idle_us));
    }
}
