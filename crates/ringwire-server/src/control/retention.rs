//! Lets go of what topics keep for too long. A topic does so by itself when something is published; this is for
//! those that have fallen silent. A topic that holds nothing then, and that nobody uses for long enough, goes too. Keys that
//! have had no update for too long are removed, with an entry that says so.

use std::sync::Arc;
use std::time::Duration;

use ringwire_engine::Handle;
use ringwire_hub::TopicKind;
use ringwire_ring::{Clock, Instant, wall_clock_us};

use super::post;
use crate::broker::{Broker, Mail, Publisher};
use crate::outbox::Outbox;

/// Time between two rounds for what is old.
const PERIOD: Duration = Duration::from_secs(10);
/// Time between two rounds for keys: how much longer than its time a key may stay.
const KEYS_PERIOD: Duration = Duration::from_millis(250);
/// Keys removed before the thread's other tasks get their turn.
const BATCH_KEYS: u32 = 256;

/// How soon a note that a full mailbox refused is posted again.
const RETRY: Duration = Duration::from_millis(1);

/// Goes round all topics, again and again. Those that are idle for `topics_idle` go.
pub(super) async fn run(broker: Arc<Broker>, handle: Handle<Mail>, topics_idle: Duration) {
    let idle_us = u64::try_from(topics_idle.as_micros()).unwrap_or(u64::MAX);
    let (mut outbox, mut publisher) = (Outbox::default(), Publisher::new(broker.deflate));
    let (mut since_age, age_period) = (Clock::start(), PERIOD.min(topics_idle));
    let period = if broker.rules.keys_expire() { KEYS_PERIOD.min(age_period) } else { age_period };
    loop {
        tokio::time::sleep(period).await;
        let is_age_due = since_age.now() >= Instant::default() + age_period;
        for topic in broker.hub.topics() {
            let mut send =
                |notify| outbox.send(notify, || Mail::Note(topic.id()), |shard, mail| post(&handle, shard, mail));
            if is_age_due {
                send(topic.retain(wall_clock_us()));
            }
            if !keys_expire(topic.options().kind) {
                continue;
            }
            let mut in_batch = 0;
            // A refusal is the topic's end.
            while let Ok(Some(removed)) = publisher.remove_expired(&topic, wall_clock_us()) {
                send(removed.notify);
                in_batch += 1;
                if in_batch % BATCH_KEYS == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
        // A shard hears of nothing in a topic until the note that is under way to it has come.
        while !outbox.is_empty() {
            tokio::time::sleep(RETRY).await;
            outbox.retry(|shard, mail| post(&handle, shard, mail));
        }
        if is_age_due {
            since_age = Clock::start();
            broker.hub.let_go_idle(wall_clock_us().saturating_sub(idle_us));
        }
    }
}

fn keys_expire(kind: TopicKind) -> bool {
    matches!(kind, TopicKind::Keyed { key_ttl_us, .. } if key_ttl_us != u64::MAX)
}
