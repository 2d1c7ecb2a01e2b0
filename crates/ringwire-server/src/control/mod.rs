//! The control plane: one thread, apart from the shards, on a tokio-uring runtime.
//!
//! It runs the feed, lets go of old messages and of idle topics, and listens for signals. The first SIGTERM or SIGINT drains the server: no
//! new connections, each open one is closed with 1001, and whoever has not answered by the deadline is let go. A second
//! signal ends the process at once. SIGHUP, where there is a certificate or a file of keys, has them read again.

mod feed;
mod journaling;
mod recording;
mod renewal;
mod retention;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ringwire_engine::{Engine, Handle};
use ringwire_hub::ShardId;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinError;

pub(crate) use self::feed::Feed;

use self::renewal::Renewal;
use crate::auth::KeyFiles;
use crate::broker::{Broker, Mail};
use crate::failure::Failure;
use crate::ingest::Ingest;
use crate::journal::Writer;
use crate::options::FeedOptions;
use crate::tls::Certificate;

/// How long a drain waits for peers to answer the close.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// What the control plane has to do.
pub(crate) struct Work {
    /// The feed to publish.
    pub(crate) feed: Option<(Feed, FeedOptions)>,
    /// The other ways in.
    pub(crate) ingest: Ingest,
    /// What SIGHUP has read again.
    pub(crate) certificate: Option<Certificate>,
    /// Keys that are read again when their files change.
    pub(crate) keys: KeyFiles,
    /// For how long a topic is idle before it is let go.
    pub(crate) topics_idle: Duration,
    /// What writes the journal.
    pub(crate) journal: Option<Writer>,
}

/// Runs the control plane on this thread until the engine has ended. `on_ready` is called once signals are heeded.
pub(crate) fn run(
    engine: Engine<Mail>,
    broker: Arc<Broker>,
    work: Work,
    on_ready: impl FnOnce(),
) -> Result<(), Failure> {
    let Work { feed, ingest, certificate, keys, topics_idle, journal } = work;
    tokio_uring::start(async move {
        let mut signals = Signals::new(Renewal::new(certificate, keys, Arc::clone(&broker)))
            .map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))?;
        let (handle, shards) = (engine.handle(), broker.shards.get());
        let mailboxes = handle.clone();
        broker.announcer.attach(move |shard, mail| post(&mailboxes, shard, mail));
        let announcing = Arc::clone(&broker);
        tokio_uring::spawn(async move { announcing.announcer.deliver().await });
        tokio_uring::spawn(retention::run(Arc::clone(&broker), handle.clone(), topics_idle));
        let journal = journal.map(|writer| journaling::start(writer, Arc::clone(&broker), handle.clone()));
        ingest.start(&broker, &handle)?;
        let feed = feed.map(|(feed, options)| {
            feed::announce(&feed, &options, &broker);
            tokio_uring::spawn(feed::run(feed, options, broker, handle.clone()))
        });
        let ended = tokio::task::spawn_blocking(move || engine.join());
        on_ready();
        let result = supervise(ended, &mut signals, || {
            if let Some(feed) = &feed {
                feed.abort();
            }
            // Who speaks the native protocol is told to come back, and when. One that a full mailbox keeps from it is
            // closed like all the others.
            for shard in 0..shards {
                let _ = handle.post(shard, Mail::GoAway);
            }
            handle.drain(DRAIN_TIMEOUT);
        });
        let result = result.await;
        if let Some(journal) = journal {
            journal.close().await;
        }
        result
    })
}

/// Waits for the engine's end; `drain` is called at the first signal.
async fn supervise(
    ended: impl Future<Output = Result<io::Result<()>, JoinError>>,
    signals: &mut Signals,
    drain: impl FnOnce(),
) -> Result<(), Failure> {
    let mut ended = std::pin::pin!(ended);
    let name = tokio::select! {
        result = &mut ended => return verdict(result),
        name = signals.end() => name,
    };
    eprintln!("ringwire: {name}: draining, for at most {} s; once more ends at once", DRAIN_TIMEOUT.as_secs());
    drain();
    tokio::select! {
        result = &mut ended => verdict(result),
        name = signals.end() => {
            eprintln!("ringwire: {name}: ending at once");
            // Shards are in the middle of their work, and their threads are not to be waited for.
            std::process::exit(i32::from(crate::failure::EXIT_FAILURE))
        }
    }
}

/// Posts mail to a shard; what its mailbox refuses comes back.
fn post(handle: &Handle<Mail>, shard: ShardId, mail: Mail) -> Result<(), Mail> {
    handle.post(shard.index(), mail)
}

/// How the engine has ended.
fn verdict(ended: Result<io::Result<()>, JoinError>) -> Result<(), Failure> {
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Failure::new(format!("a shard has broken down: {error}"))),
        Err(error) => Err(Failure::new(format!("a shard has broken down: {error}"))),
    }
}

/// The signals that end the server, and the one that has files read again.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Where there is nothing to read again, a hangup ends the process, as that of a terminal should.
    hangup: Option<Signal>,
    renewal: Renewal,
}

impl Signals {
    fn new(renewal: Renewal) -> io::Result<Self> {
        let hangup = renewal.heeds_hangup().then(|| signal(SignalKind::hangup()));
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: hangup.transpose()?,
            renewal,
        })
    }

    /// The name of the next signal that ends the server. Others are heeded meanwhile.
    async fn end(&mut self) -> &'static str {
        let Self { terminate, interrupt, hangup, renewal } = self;
        loop {
            let hung_up = async {
                match hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = terminate.recv() => return "SIGTERM",
                _ = interrupt.recv() => return "SIGINT",
                _ = hung_up => renewal.all().iter().for_each(|words| eprintln!("ringwire: SIGHUP: {words}")),
                () = tokio::time::sleep(renewal::PERIOD), if renewal.has_keys() => {
                    if let Some(words) = renewal.changed_keys() {
                        eprintln!("ringwire: a file of keys has changed: {words}");
                    }
                }
            }
        }
    }
}
