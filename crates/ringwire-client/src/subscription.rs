//! One call of `subscribe`: some topics and patterns, their options, one receiver. [`Subscription`] is what the caller
//! holds; [`Sub`] is the client's side of it, which begins again on each connection where it stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::core::Command;
use crate::error::{Error, Refusal};
use crate::event::{Event, Position, Subscribed};
use crate::feed::{Account, Feed, Verdict};
use crate::options::Subscribe;

/// The events of some topics and patterns, in order. Dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    pub(crate) id: u64,
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) commands: mpsc::Sender<Command>,
}

impl Subscription {
    /// The next event; nothing once the client has ended. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// An event that is here already.
    pub fn try_next(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// What became of each topic's entries. Those that wait to be read here count as delivered.
    ///
    /// # Errors
    /// That the client has ended.
    pub async fn account(&self) -> Result<Vec<Account>, Error> {
        let (reply, answer) = oneshot::channel();
        let ended = || Error::Closed("it has ended".to_owned());
        self.commands.send(Command::Account { id: self.id, reply }).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())
    }

    /// Ends it, once the client has heard of it.
    pub async fn unsubscribe(self) {
        let _ = self.commands.send(Command::Unsubscribe { id: self.id }).await;
    }
}

/// What a subscription wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Nothing,
    /// Subscribe to these again at this time; `true`: after unsubscribing from all.
    Again(Vec<Arc<str>>, bool),
}

/// The client's side of a subscription.
pub(crate) struct Sub {
    pub(crate) names: Vec<Arc<str>>,
    pub(crate) options: Subscribe,
    pub(crate) events: mpsc::Sender<Event>,
    feeds: BTreeMap<Arc<str>, Feed>,
    /// Topics whose delivery stands on this connection. What comes of others is of a beginning that is over.
    live: BTreeSet<Arc<str>>,
    /// Counts beginnings: answers to an earlier one are not looked at.
    pub(crate) round: u64,
    /// When to begin again with what.
    retry: Option<(Instant, Step)>,
    backoff: Backoff,
}

impl Sub {
    pub(crate) fn new(names: Vec<Arc<str>>, options: Subscribe, events: mpsc::Sender<Event>, backoff: Backoff) -> Self {
        let (feeds, live) = (BTreeMap::new(), BTreeSet::new());
        Self { names, options, events, feeds, live, round: 0, retry: None, backoff }
    }

    pub(crate) fn accounts(&self) -> Vec<Account> {
        self.feeds.values().map(Feed::account).collect()
    }

    /// Names a topic's log; empty if it has not begun.
    pub(crate) fn epoch(&self, topic: &str) -> Arc<str> {
        self.feeds.get(topic).map(Feed::epoch).unwrap_or_default()
    }

    /// Where each topic stands that has a whole state.
    pub(crate) fn positions(&self) -> BTreeMap<Arc<str>, Position> {
        self.feeds.iter().filter_map(|(topic, feed)| Some((topic.clone(), feed.position()?))).collect()
    }

    /// The connection is gone.
    pub(crate) fn lost(&mut self) {
        self.backoff.reset();
        self.stop();
    }

    /// Delivery of a topic begins. Returns what the subscriber is to be told.
    pub(crate) fn begin(&mut self, subscribed: Subscribed) -> Vec<Event> {
        let topic = subscribed.topic.clone();
        let new = || Feed::new(topic.clone(), self.options.snapshot);
        let feed = self.feeds.entry(topic.clone()).or_insert_with(new);
        let gap = feed.begin(&subscribed);
        self.live.insert(topic);
        std::iter::once(Event::Subscribed(subscribed)).chain(gap.map(Event::Gap)).collect()
    }

    /// Takes a push; whether the subscriber is to have it.
    pub(crate) fn accept(&mut self, topic: &str, event: &Event, now: Instant, spread: f64) -> bool {
        let Some(feed) = self.feeds.get_mut(topic).filter(|_| self.live.contains(topic)) else { return false };
        match feed.accept(event) {
            Verdict::Deliver => true,
            Verdict::Ignore => false,
            Verdict::Broken => {
                self.restart(now, spread);
                false
            }
        }
    }

    /// The server has sent everything of a topic up to `seq`.
    pub(crate) fn reached(&mut self, topic: &str, seq: u64, now: Instant, spread: f64) {
        match self.feeds.get(topic).filter(|_| self.live.contains(topic)) {
            Some(feed) if feed.lacks(seq) => self.restart(now, spread),
            Some(_) => self.backoff.reset(),
            None => {}
        }
    }

    /// Some names were refused. Those that may succeed later are asked for again.
    pub(crate) fn refused(&mut self, refused: &[(Arc<str>, Refusal)], now: Instant, spread: f64) {
        let again: Vec<_> = refused.iter().filter(|(_, error)| error.retry).collect();
        if !again.is_empty() {
            let asked = again.iter().filter_map(|(_, error)| error.after).max().unwrap_or(Duration::ZERO);
            let names = again.into_iter().map(|(name, _)| name.clone()).collect();
            self.retry = Some((now + asked + self.backoff.next(spread), Step::Again(names, false)));
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.retry.as_ref().map(|(at, _)| *at)
    }

    /// What is due.
    pub(crate) fn due(&mut self, now: Instant) -> Step {
        self.retry.take_if(|(at, _)| *at <= now).map_or(Step::Nothing, |(_, step)| step)
    }

    /// Something of a topic is missing, and nobody said so: all begins again, behind what is known.
    fn restart(&mut self, now: Instant, spread: f64) {
        self.stop();
        self.retry = Some((now + self.backoff.next(spread), Step::Again(self.names.clone(), true)));
    }

    fn stop(&mut self) {
        self.round += 1;
        self.live.clear();
        self.retry = None;
    }
}
