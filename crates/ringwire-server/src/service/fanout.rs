//! The way of a message through one shard: into a topic's log, notes out, notes in, and out to subscribers.

use std::sync::Arc;
use std::time::Duration;

use ringwire_engine::{Context, Transmit};
use ringwire_hub::{
    LaneId, Published, ShardHub, ShardId, ShardLimits, Standing, SubscribeError, Subscribed, Subscriber, Topic,
    TopicId, Wake, Wanted,
};
use ringwire_ring::Shared;

use crate::broker::{Broker, Mail, Publisher, Refused};
use crate::lanes::{Frames, Publication, SharedDeflate};
use crate::options::TopicRules;
use crate::outbox::Outbox;

/// Most subscriptions of a shard; each takes some 70 bytes.
const SUBSCRIPTIONS_MAX: u32 = 4_000_000;
/// How soon mail that a full mailbox refused is posted again.
const RETRY: Duration = Duration::from_millis(1);

/// One shard's side of the hub, and its notes.
#[derive(Debug)]
pub(super) struct Fanout {
    shard: ShardId,
    hub: ShardHub,
    publisher: Publisher,
    /// Makes what subscribers get that their lanes' logs do not hold.
    frames: Frames,
    /// Topics with a note for this shard, to be heeded at the end of the turn. The hub sends one at most for each.
    noted: Vec<TopicId>,
    /// Notes for shards whose mailbox was full.
    outbox: Outbox<Mail>,
}

impl Fanout {
    pub(super) fn new(shard: ShardId, slots: u32, deflate: SharedDeflate) -> Self {
        let limits = ShardLimits { slots_max: slots, subscriptions_max: SUBSCRIPTIONS_MAX };
        let (publisher, frames) = (Publisher::new(deflate), Frames::new(deflate));
        let (hub, outbox) = (ShardHub::new(shard, limits), Outbox::default());
        Self { shard, hub, publisher, frames, noted: Vec::new(), outbox }
    }

    /// Which shard this is.
    pub(super) fn shard(&self) -> ShardId {
        self.shard
    }

    /// Appends to the log of `topic`, opened again if it was let go, and sends the notes: mail to other shards, a reminder
    /// to this one.
    pub(super) fn publish<'a>(
        &mut self,
        cx: &mut Context<'_, Mail>,
        broker: &Broker,
        topic: &mut Arc<Topic>,
        publication: impl Into<Publication<'a>>,
    ) -> Result<Published, Refused> {
        let published = self.publisher.publish_reopening(broker, topic, publication, cx.wall_clock_us())?;
        let (here, noted) = (self.shard, &mut self.noted);
        let note = || Mail::Note(topic.id());
        self.outbox.send(published.notify, note, |shard, mail| {
            if shard == here {
                noted.push(topic.id());
                return Ok(());
            }
            cx.post(shard.index(), mail)
        });
        if !self.outbox.is_empty() {
            cx.tick_at(cx.now() + RETRY);
        }
        Ok(published)
    }

    /// A note has come: to be heeded at the end of the turn.
    pub(super) fn note(&mut self, topic: TopicId) {
        self.noted.push(topic);
    }

    /// Posts again what mailboxes refused.
    pub(super) fn retry(&mut self, cx: &mut Context<'_, Mail>) {
        self.outbox.retry(|shard, mail| cx.post(shard.index(), mail));
        if !self.outbox.is_empty() {
            cx.tick_at(cx.now() + RETRY);
        }
    }

    /// Heeds the turn's notes: makes ready whoever has something pending. `on_slow` is called for each that lags too
    /// far and is to be disconnected.
    pub(super) fn heed_notes(&mut self, cx: &mut Context<'_, Mail>, mut on_slow: impl FnMut(Subscriber)) {
        let now_us = cx.wall_clock_us();
        let Self { hub, noted, .. } = self;
        let mut heed = |subscriber: Subscriber, wake| match wake {
            Wake::Ready => cx.ready_slot(subscriber.slot as usize),
            Wake::Slow => on_slow(subscriber),
        };
        hub.end_turn(now_us);
        noted.drain(..).for_each(|topic| hub.note(topic, now_us, &mut heed));
        hub.due(now_us, heed);
        self.schedule(cx);
    }

    /// Asks for a turn when the next round of a subscriber, or the next tick of a topic, is due.
    fn schedule(&self, cx: &mut Context<'_, Mail>) {
        if let Some(due_us) = self.hub.next_due() {
            cx.tick_at(cx.now() + Duration::from_micros(due_us.saturating_sub(cx.wall_clock_us())));
        }
    }

    /// Subscribes to all of `topics`, as their rules have it, or to none. Says whether something is pending at once.
    pub(super) fn subscribe(
        &mut self,
        who: Subscriber,
        lane: LaneId,
        topics: &[Arc<Topic>],
        rules: &TopicRules,
    ) -> Result<bool, SubscribeError> {
        let result = topics.iter().try_fold(false, |is_ready, topic| {
            let wanted = rules.rule_for(topic.name()).wanted(lane);
            self.hub.subscribe(who, topic, &wanted).map(|subscribed| is_ready || subscribed.is_ready)
        });
        if result.is_err() {
            self.hub.unsubscribe_all(who);
        }
        result
    }

    /// Subscribes to one topic; see [`ShardHub::subscribe`].
    pub(super) fn subscribe_to(
        &mut self,
        who: Subscriber,
        topic: &Arc<Topic>,
        wanted: &Wanted,
    ) -> Result<Subscribed, SubscribeError> {
        self.hub.subscribe(who, topic, wanted)
    }

    /// Ends one subscription. Returns how it stood.
    pub(super) fn unsubscribe_from(&mut self, who: Subscriber, topic: &Topic, lane: LaneId) -> Option<Standing> {
        self.hub.unsubscribe(who, topic, lane)
    }

    /// Calls `each` with the topics that `who` is subscribed to, and how that stands.
    pub(super) fn accounts(&self, who: Subscriber, mut each: impl FnMut(&Topic, Standing)) {
        self.hub.accounts(who, |topic, _, standing| each(topic, standing));
    }

    /// Calls `each` with the topics of which `who` has been handed everything, and something since the last call; with
    /// the number of the last entry.
    pub(super) fn caught_up(&mut self, who: Subscriber, each: impl FnMut(&Topic, u64)) {
        self.hub.caught_up(who, each);
    }

    /// Ends all subscriptions of `who`.
    pub(super) fn unsubscribe(&mut self, who: Subscriber) {
        self.hub.unsubscribe_all(who);
    }

    /// Hands out what is pending for `who`, as much as fits.
    pub(super) fn pull(&mut self, cx: &mut Context<'_, Mail>, who: Subscriber, out: &mut Transmit) -> PullOutcome {
        let budget = out.budget();
        let pulled = self.hub.pull(who, budget, cx.wall_clock_us(), &mut self.frames, |run| {
            out.shared(Shared::new(Arc::clone(run.words), run.start, run.end));
        });
        self.schedule(cx);
        match (pulled.slow, pulled.more) {
            (true, _) => PullOutcome::TooSlow,
            (false, true) => PullOutcome::More,
            (false, false) => PullOutcome::All,
        }
    }

    /// Takes back what was not sent; see [`ShardHub::rewind`].
    pub(super) fn rewind(&mut self, who: Subscriber, unsent: usize) -> usize {
        self.hub.rewind(who, unsent)
    }
}

/// What is left after a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PullOutcome {
    /// Nothing: a note will wake the subscriber.
    All,
    /// Something is still pending.
    More,
    /// The subscriber lags too far and is to be disconnected.
    TooSlow,
}
