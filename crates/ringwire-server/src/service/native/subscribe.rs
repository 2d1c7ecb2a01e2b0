//! Subscribing: topics by name, and by patterns those that there are and those that come to be.
//!
//! Each topic of a request is answered by itself: one that may not be subscribed to does not keep the others from it. A
//! topic is subscribed to once on a connection, whatever names and patterns it is matched by.

use std::sync::Arc;

use ringwire_hub::{
    Account as Counts, Begin, Mode as Serving, Pattern, Standing, Start, SubscribeError, Subscribed, Topic, TopicName,
    Wanted,
};

use super::client::{How, Subscription, Watched};
use super::desk::{Desk, epoch, topic_name};
use super::presence::Change;
use crate::lanes::lane_for;
use crate::native::epoch::Position;
use crate::native::fault::Fault;
use crate::native::reply::{self, Account, State};
use crate::native::request::{Id, Mode, Subscribe};

/// Most topics of one request, or as many as a connection may have if that is more: each of them is answered.
const NAMES_MAX: usize = 1024;

impl Desk<'_, '_> {
    /// Subscribes to the topics and patterns of a request, and answers it: one result each.
    pub(super) fn subscribe(&mut self, id: Id<'_>, request: &Subscribe<'_>) -> Result<(), Fault> {
        self.is_short(&request.topics)?;
        let how = How::of(request);
        let since = |name: &str| request.since.iter().find(|(topic, _)| *topic == name).map(|(_, position)| *position);
        let mut results = Vec::new();
        let mut matched = Vec::new();
        for name in &request.topics {
            results.push(if results.is_empty() { b'[' } else { b',' });
            let result = match name.contains(['*', '>']) {
                true => self.watch(name, &how).map(|topics| {
                    let pattern: Arc<str> = (*name).into();
                    matched.extend(topics.into_iter().map(|topic| (topic, Arc::clone(&pattern))));
                    reply::topic(&mut results, name);
                    results.extend_from_slice(b",\"state\":\"pattern\"}");
                }),
                false => topic_name(name).and_then(|name| {
                    let since = since(name.as_str());
                    self.client.grant.may_subscribe(&self.broker.rules, &name)?;
                    let topic = self.broker.open(&name)?;
                    let (topic, subscribed) = self.join(topic, &how, start(&how, since), None)?;
                    write_topic(&topic, &subscribed).write(&mut results, state(subscribed.begin));
                    Ok(())
                }),
            };
            if let Err(fault) = result {
                results.extend_from_slice(b"{\"topic\":");
                crate::json::write_string(&mut results, name);
                results.push(b',');
                reply::error_member(&mut results, &fault);
                results.push(b'}');
            }
        }
        results.push(b']');
        self.answer(id, |out| out.extend_from_slice(&results));
        for (topic, pattern) in matched {
            let since = since(topic.name().as_str());
            self.announce(topic, &pattern, &how, start(&how, since));
        }
        Ok(())
    }

    /// Whether so many names may be given at once: each is answered.
    fn is_short(&self, names: &[&str]) -> Result<(), Fault> {
        let max = self.options.topics_max.max(NAMES_MAX);
        if names.len() > max { Err(Fault::TooMany("topics in a request", max)) } else { Ok(()) }
    }

    /// Subscribes to a pattern. Returns the topics that there are.
    fn watch(&mut self, text: &str, how: &How) -> Result<Vec<Arc<Topic>>, Fault> {
        let pattern = Pattern::new(text).map_err(|error| Fault::Pattern(text.to_owned(), error.to_string().into()))?;
        self.client.grant.may_watch(&self.broker.rules, &pattern)?;
        if self.client.patterns.contains_key(text) {
            return Err(Fault::Subscribed(text.to_owned()));
        }
        self.has_room()?;
        let topics = self.broker.hub.watch(self.fanout.shard(), &pattern);
        self.watchers.insert(&pattern, self.who);
        let watched = Watched { pattern, how: how.clone(), is_full: false };
        self.client.patterns.insert(text.into(), watched);
        Ok(topics)
    }

    /// A topic was opened that one of the client's patterns matches: nothing of it is to be missed.
    pub(super) fn opened(&mut self, topic: &Arc<Topic>) {
        let watched = self.client.patterns.iter().find(|(_, watched)| watched.pattern.matches(topic.name()));
        if let Some((pattern, watched)) = watched {
            let (pattern, how) = (Arc::clone(pattern), watched.how.clone());
            self.announce(Arc::clone(topic), &pattern, &how, Start::First);
        }
    }

    /// Subscribes to a topic that a pattern matches, and says so. A topic that may not be subscribed to is passed over,
    /// as is one that the client has.
    fn announce(&mut self, topic: Arc<Topic>, pattern: &Arc<str>, how: &How, start: Start) {
        let name = topic.name().clone();
        if self.client.grant.may_subscribe(&self.broker.rules, &name).is_err() {
            return;
        }
        match self.join(topic, how, start, Some(Arc::clone(pattern))) {
            Ok((topic, subscribed)) => {
                self.answers
                    .json(|out| write_topic(&topic, &subscribed).write_push(out, pattern, state(subscribed.begin)));
            }
            Err(Fault::Subscribed(_)) => {}
            // That there is no room is said once, not for each of the many that match.
            Err(Fault::TooMany(..)) if self.has_been_full(pattern) => {}
            Err(fault) => self.tell_of(name.as_str(), Some(pattern), &fault),
        }
        self.send_much();
    }

    /// Subscribes to one topic, opened again if it was let go meanwhile.
    fn join(
        &mut self,
        topic: Arc<Topic>,
        how: &How,
        start: Start,
        pattern: Option<Arc<str>>,
    ) -> Result<(Arc<Topic>, Subscribed), Fault> {
        let mut topic = topic;
        if self.client.topics.contains_key(&(topic.id().index() as u32)) {
            return Err(Fault::Subscribed(topic.name().as_str().to_owned()));
        }
        self.has_room()?;
        let wanted = self.wanted(topic.name(), how, start);
        let mut result = self.fanout.subscribe_to(self.who, &topic, &wanted);
        if result == Err(SubscribeError::Gone) {
            topic = self.broker.open(topic.name())?;
            result = self.fanout.subscribe_to(self.who, &topic, &wanted);
        }
        let subscribed = result.map_err(|error| match error {
            SubscribeError::AlreadySubscribed => Fault::Subscribed(topic.name().as_str().to_owned()),
            error => Fault::NotNow(error.to_string().into()),
        })?;
        if subscribed.is_ready {
            self.cx.ready(self.connection);
        }
        self.broker.count_subscribed(1);
        let is_present = self.tell_presence(&topic, Change::Joined(how.info.as_deref()));
        self.give_up_handle(&topic);
        let subscription = Subscription { topic: Arc::clone(&topic), pattern, is_present };
        self.client.topics.insert(topic.id().index() as u32, subscription);
        Ok((topic, subscribed))
    }

    /// Whether the client has been told that it has no room for what a pattern matches; it has now.
    fn has_been_full(&mut self, pattern: &str) -> bool {
        let watched = self.client.patterns.get_mut(pattern);
        watched.is_some_and(|watched| std::mem::replace(&mut watched.is_full, true))
    }

    /// A topic that was bound may have been let go since, and its number be another's: the client is told.
    fn give_up_handle(&mut self, topic: &Topic) {
        let number = topic.id().index() as u32;
        if self.client.handles.get(&number).is_some_and(|name| name != topic.name())
            && let Some(name) = self.client.handles.remove(&number)
        {
            self.tell_of(name.as_str(), None, &Fault::TopicId(number));
        }
    }

    /// Adds the push that something is wrong with a topic, which a pattern matches, or with a pattern.
    pub(super) fn tell_of(&mut self, name: &str, pattern: Option<&str>, fault: &Fault) {
        self.answers.json(|out| {
            out.extend_from_slice(b"{\"type\":\"error\",\"topic\":\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\",");
            if let Some(pattern) = pattern {
                out.extend_from_slice(b"\"pattern\":\"");
                out.extend_from_slice(pattern.as_bytes());
                out.extend_from_slice(b"\",");
            }
            reply::error_member(out, fault);
            out.push(b'}');
        });
    }

    /// What the hub is to be asked for.
    fn wanted(&mut self, name: &TopicName, how: &How, start: Start) -> Wanted {
        let rule = self.broker.rules.rule_for(name);
        let lane = lane_for(self.client.lane(), self.cx.deflate(self.connection));
        let own = rule.wanted(lane);
        Wanted {
            mode: if how.mode == Mode::Latest { Serving::Latest } else { Serving::All },
            interval_us: how.rate.map_or(0, |rate| 1_000_000 / u64::from(rate)),
            max_age_us: how.max_age_ms.map_or(own.max_age_us, |age_ms| own.max_age_us.min(u64::from(age_ms) * 1000)),
            start,
            snapshot: how.snapshot,
            ..own
        }
    }

    fn has_room(&self) -> Result<(), Fault> {
        let max = self.options.topics_max;
        if self.client.subscriptions() >= max { Err(Fault::TooMany("topics", max)) } else { Ok(()) }
    }

    /// Ends subscriptions to topics and patterns, and answers with the account of each topic.
    pub(super) fn unsubscribe(&mut self, id: Id<'_>, names: &[&str]) -> Result<(), Fault> {
        self.is_short(names)?;
        let mut results = Vec::new();
        for name in names {
            results.push(if results.is_empty() { b'[' } else { b',' });
            let ended = match self.client.patterns.contains_key(*name) {
                true => Some(self.unwatch(name)),
                false => self.leave_named(name).map(|account| vec![((*name).to_owned(), account)]),
            };
            results.extend_from_slice(b"{\"topic\":");
            crate::json::write_string(&mut results, name);
            match ended.as_deref() {
                None => {
                    results.push(b',');
                    reply::error_member(&mut results, &Fault::NotSubscribed((*name).to_owned()));
                }
                Some([(topic, account)]) if topic == name => {
                    results.extend_from_slice(b",\"account\":{");
                    account.write(&mut results, false);
                    results.push(b'}');
                }
                Some(topics) => write_ended(topics, &mut results),
            }
            results.push(b'}');
        }
        results.push(b']');
        self.answer(id, |out| out.extend_from_slice(&results));
        Ok(())
    }

    /// Ends the subscription to a pattern, and to the topics that no other pattern of the client matches.
    pub(super) fn unwatch(&mut self, text: &str) -> Vec<(String, Account)> {
        let Some(watched) = self.client.patterns.remove(text) else { return Vec::new() };
        self.forget(&watched.pattern);
        let patterns = &self.client.patterns;
        let mut ended = Vec::new();
        for (number, subscription) in &mut self.client.topics {
            if subscription.pattern.as_deref() != Some(text) {
                continue;
            }
            let name = subscription.topic.name();
            match patterns.iter().find(|(_, watched)| watched.pattern.matches(name)) {
                Some((other, _)) => subscription.pattern = Some(Arc::clone(other)),
                None => ended.push(*number),
            }
        }
        ended.into_iter().filter_map(|number| self.leave(number)).collect()
    }

    fn forget(&mut self, pattern: &Pattern) {
        self.watchers.remove(pattern, &self.who);
        self.broker.hub.unwatch(self.fanout.shard(), pattern);
    }

    fn leave_named(&mut self, name: &str) -> Option<Account> {
        let is_it = |subscription: &Subscription| subscription.topic.name().as_str() == name;
        let number =
            self.client.topics.iter().find(|(_, subscription)| is_it(subscription)).map(|(number, _)| *number)?;
        self.leave(number).map(|(_, account)| account)
    }

    /// Ends one subscription.
    pub(super) fn leave(&mut self, number: u32) -> Option<(String, Account)> {
        let Subscription { topic, is_present, .. } = self.client.topics.remove(&number)?;
        self.client.patterns.values_mut().for_each(|watched| watched.is_full = false);
        let lane = lane_for(self.client.lane(), self.cx.deflate(self.connection));
        let standing = self.fanout.unsubscribe_from(self.who, &topic, lane);
        self.broker.count_unsubscribed(1);
        if is_present {
            self.tell_presence(&topic, Change::Left);
        }
        Some((topic.name().as_str().to_owned(), standing.map_or_else(Account::default, account)))
    }

    /// Ends all that the connection has, as it has ended.
    pub(super) fn leave_all(&mut self) {
        for (_, watched) in std::mem::take(&mut self.client.patterns) {
            self.forget(&watched.pattern);
        }
        self.fanout.unsubscribe(self.who);
        let topics = std::mem::take(&mut self.client.topics);
        self.broker.count_unsubscribed(topics.len() as u64);
        for subscription in topics.into_values().filter(|subscription| subscription.is_present) {
            self.tell_presence(&subscription.topic, Change::Left);
        }
        self.remove_bound();
    }

    /// Answers with what became of the entries of each topic.
    pub(super) fn account(&mut self, id: Id<'_>) {
        let mut results = vec![b'['];
        self.fanout.accounts(self.who, |topic, standing| {
            if results.len() > 1 {
                results.push(b',');
            }
            reply::topic(&mut results, topic.name().as_str());
            results.push(b',');
            account(standing).write(&mut results, true);
            results.push(b'}');
        });
        results.push(b']');
        self.answer(id, |out| out.extend_from_slice(&results));
    }
}

fn start(how: &How, since: Option<Position>) -> Start {
    match (since, how.history) {
        (Some(Position { epoch, seq }), _) => Start::After { epoch: epoch.0, seq },
        (None, Some(entries)) => Start::Back { entries: u64::from(entries) },
        (None, None) => Start::Head,
    }
}

fn state(begin: Begin) -> State {
    match begin {
        Begin::New => State::New,
        Begin::Resumed => State::Resumed,
        Begin::Reset => State::Reset,
    }
}

fn account(standing: Standing) -> Account {
    let Counts { published, delivered, skipped, gap, pending } = standing.account;
    Account { from: standing.since + 1, published, delivered, skipped, gap, pending }
}

/// What is said of a topic as its subscription begins.
fn write_topic<'a>(topic: &'a Arc<Topic>, subscribed: &Subscribed) -> reply::Subscribed<'a> {
    reply::Subscribed {
        topic: topic.name().as_str(),
        id: topic.id().index() as u32,
        epoch: epoch(topic),
        seq: subscribed.seq,
        head: subscribed.head,
        keyed: topic.options().is_keyed(),
    }
}

/// Appends `,"topics":[..]`: the topics that ended with a pattern.
fn write_ended(topics: &[(String, Account)], out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"topics\":[");
    for (nth, (name, account)) in topics.iter().enumerate() {
        if nth > 0 {
            out.push(b',');
        }
        reply::topic(out, name);
        out.extend_from_slice(b",\"account\":{");
        account.write(out, false);
        out.extend_from_slice(b"}}");
    }
    out.push(b']');
}
