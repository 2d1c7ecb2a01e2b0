//! The server's own feed: publishes what a market or a recording says, when it says so.
//!
//! Events go straight into the hub from this thread; shards get notes. Whatever is due is published in one go, so a
//! feed that is behind its pace catches up without waiting in between, and lets the thread's other tasks run now and
//! then. A fault ends the feed, never the server: it is printed, and `/health` tells it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ringwire_engine::Handle;
use ringwire_hub::{PublishError, TopicName};
use ringwire_ring::{Clock, wall_clock_us};
use tokio_uring::fs::File;

use super::post;
use super::recording::Recording;
use crate::broker::{Broker, Mail, Publisher, Refused};
use crate::failure::Failure;
use crate::feed::demo::DemoMarket;
use crate::lanes::{Payload, Publication};
use crate::options::{FeedOptions, FeedSource, Speed};
use crate::outbox::Outbox;
use crate::status::FeedState;

/// Seed of the demo's market: every run shows the same one.
const DEMO_SEED: u64 = 1;
/// Events published without a pause before the thread's other tasks get their turn.
const BATCH_EVENTS: u32 = 256;
/// How soon mail that a full mailbox refused is posted again.
const RETRY: Duration = Duration::from_millis(1);

/// A feed that can begin.
#[derive(Debug)]
pub(crate) enum Feed {
    Demo,
    Recorded(PathBuf, std::fs::File),
}

impl Feed {
    /// Opens what `source` names, so that a file that is not there is known before anything is served.
    pub(crate) fn open(source: &FeedSource) -> Result<Option<Self>, Failure> {
        match source {
            FeedSource::None => Ok(None),
            FeedSource::Demo => Ok(Some(Feed::Demo)),
            FeedSource::File(path) => {
                let fault = |error| Failure::new(format!("--feed {}: {error}", path.display()));
                let file = std::fs::File::open(path).map_err(fault)?;
                if file.metadata().map_err(fault)?.is_dir() {
                    return Err(Failure::new(format!("--feed {}: this is a directory", path.display())));
                }
                Ok(Some(Feed::Recorded(path.clone(), file)))
            }
        }
    }
}

/// Lists what `feed` will publish and says what it does first. Done before the server is ready, so that whoever asks
/// then is told the truth.
pub(crate) fn announce(feed: &Feed, options: &FeedOptions, broker: &Broker) {
    if let Feed::Demo = feed {
        for name in DemoMarket::topics() {
            let _ = TopicName::new(name).map(|name| broker.open(&name));
        }
    }
    broker.status.set_feed(match options.start_subscribers {
        0 => FeedState::Running,
        subscriptions => FeedState::Waiting { subscriptions },
    });
}

/// Runs an announced `feed` to its end, which the demo has not.
pub(crate) async fn run(feed: Feed, options: FeedOptions, broker: Arc<Broker>, handle: Handle<Mail>) {
    broker.wait_for_subscriptions(options.start_subscribers).await;
    broker.status.set_feed(FeedState::Running);
    let mut player = Player::new(Arc::clone(&broker), handle, options.speed);
    let result = match feed {
        Feed::Demo => player.play_demo().await,
        Feed::Recorded(path, file) => {
            let recording = Recording::new(&path, File::from_std(file));
            player.play_recording(recording, options.repeat).await
        }
    };
    player.deliver_all().await;
    match result {
        Ok(()) => broker.status.set_feed(FeedState::Ended),
        Err(error) => {
            let line = format!("ringwire: the feed has stopped: {error}");
            broker.status.set_feed(FeedState::Failed { error });
            // Last, so that whoever reads it finds `/health` saying the same.
            eprintln!("{line}");
        }
    }
}

/// Publishes events at their pace.
struct Player {
    broker: Arc<Broker>,
    publisher: Publisher,
    handle: Handle<Mail>,
    outbox: Outbox<Mail>,
    clock: Clock,
    speed: Speed,
    in_batch: u32,
}

impl Player {
    fn new(broker: Arc<Broker>, handle: Handle<Mail>, speed: Speed) -> Self {
        Self {
            publisher: Publisher::new(broker.deflate),
            broker,
            handle,
            outbox: Outbox::default(),
            clock: Clock::start(),
            speed,
            in_batch: 0,
        }
    }

    async fn play_demo(&mut self) -> Result<(), String> {
        self.clock = Clock::start();
        for event in DemoMarket::new(DEMO_SEED, wall_clock_us() / 1000) {
            self.wait_until(event.at_us * 1000).await;
            let topic = TopicName::new(event.topic).map_err(|error| format!("{}: {error}", event.topic))?;
            let data = std::str::from_utf8(&event.data).map_err(|error| format!("{topic}: {error}"))?;
            self.publish(&topic, Payload::Text(data).into())?;
        }
        Ok(())
    }

    async fn play_recording(&mut self, mut recording: Recording, repeat: bool) -> Result<(), String> {
        loop {
            self.clock = Clock::start();
            let mut first_ns = None;
            let mut is_whole = false;
            while !is_whole {
                is_whole = !recording.fill().await.map_err(|fault| fault.to_string())?;
                while let Some(event) = recording.next_event().map_err(|fault| fault.to_string())? {
                    let origin = *first_ns.get_or_insert(event.at_ns);
                    self.wait_until(event.at_ns.saturating_sub(origin)).await;
                    self.publish(&event.topic, event.publication)?;
                }
            }
            if first_ns.is_none() {
                return Err("the recording has no events".into());
            }
            if !repeat {
                return Ok(());
            }
            recording.rewind();
        }
    }

    /// Returns when an event is due that was recorded `at_ns` nanoseconds after the first.
    async fn wait_until(&mut self, at_ns: u64) {
        let due_ns = self.speed.scale_ns(at_ns);
        loop {
            let ahead = Duration::from_nanos(due_ns.saturating_sub(self.clock.now().as_nanos()));
            if ahead.is_zero() {
                break;
            }
            self.in_batch = 0;
            self.retry();
            let pause = if self.outbox.is_empty() { ahead } else { ahead.min(RETRY) };
            tokio::time::sleep(pause).await;
        }
        self.in_batch += 1;
        if self.in_batch > BATCH_EVENTS {
            self.in_batch = 0;
            self.retry();
            // The thread must come to rest for a moment: only then is its ring submitted to, which the journal waits for.
            let _ = tokio::task::spawn_blocking(|| ()).await;
        }
    }

    fn publish(&mut self, name: &TopicName, publication: Publication<'_>) -> Result<(), String> {
        let mut topic = self.broker.open(name).map_err(|error| format!("{name}: {error}"))?;
        let published = match self.publisher.publish_reopening(&self.broker, &mut topic, publication, wall_clock_us()) {
            Ok(published) => published,
            // What a recording removes may have been set before it began.
            Err(Refused::Log(PublishError::NoSuchKey)) => return Ok(()),
            Err(Refused::Log(error @ PublishError::NotKeyed)) => {
                return Err(format!("{name}: {error}; give it a rule with kind = \"keyed\" in [[topics]]"));
            }
            Err(refused) => return Err(format!("{name}: {refused}")),
        };
        self.broker.status.count_feed_event();
        let handle = &self.handle;
        self.outbox.send(published.notify, || Mail::Note(topic.id()), |shard, mail| post(handle, shard, mail));
        Ok(())
    }

    fn retry(&mut self) {
        let handle = &self.handle;
        self.outbox.retry(|shard, mail| post(handle, shard, mail));
    }

    /// Waits until all notes are posted.
    async fn deliver_all(&mut self) {
        while !self.outbox.is_empty() {
            tokio::time::sleep(RETRY).await;
            self.retry();
        }
    }
}
