//! The client without its socket: commands and messages go in, messages and events come out, time is an argument.
//!
//! [`Core::opened`] and [`Core::lost`] say when there is a session. What is asked while there is none waits for the next.

mod records;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::client::Published;
use crate::error::{Error, Refusal};
use crate::event::Event;
use crate::feed::Account;
use crate::options::{Options, Publish, Subscribe};
use crate::protocol::{self, Begun, Said, Session};
use crate::publisher::{Acknowledge, Publisher};
use crate::random::Random;
use crate::subscription::{Step, Sub};

/// Messages that wait for the socket, beyond which no publish is put behind them.
const OUT_MAX: usize = 64;

/// What a caller's handle asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Subscribe { options: Subscribe, events: mpsc::Sender<Event>, reply: oneshot::Sender<Result<u64, Error>> },
    Unsubscribe { id: u64 },
    Account { id: u64, reply: oneshot::Sender<Vec<Account>> },
    Publish { publish: Publish, acknowledge: Acknowledge },
    Ask { method: &'static str, params: serde_json::Value, reply: Reply },
    Close,
}

/// Where the answer to a question goes.
pub(crate) type Reply = oneshot::Sender<Result<Box<RawValue>, Error>>;

/// What a message means for the connection.
#[derive(Debug)]
pub(crate) enum Signal {
    /// The session stands.
    Opened(Session),
    /// The server does not let this client in.
    Refused(Refusal),
    /// It will close: come back after so long, and a random part of the second more.
    GoAway(Duration, Duration),
    /// The token is good until then, in µs.
    Refreshed(Option<u64>),
}

/// A question, which may be asked again on the next connection.
struct Ask {
    method: &'static str,
    params: serde_json::Value,
    until: Instant,
    reply: Reply,
}

/// Who waits for an answer.
enum Waiting {
    Connect,
    Refresh,
    Subscribe { sub: u64, round: u64, names: Vec<Arc<str>> },
    Publish,
    Ask(Ask),
    Nobody,
}

/// All that outlives a connection.
pub(crate) struct Core {
    /// Messages to be sent.
    pub(crate) out: VecDeque<String>,
    /// Events to be handed on, in order.
    pub(crate) events: VecDeque<(u64, Event)>,
    subs: BTreeMap<u64, Sub>,
    /// The subscription of each topic, pattern, and topic that a pattern matched.
    owners: HashMap<Arc<str>, u64>,
    /// Names of the topics by their numbers on this connection.
    topics: HashMap<u32, Arc<str>>,
    publisher: Publisher,
    requests: BTreeMap<u64, Waiting>,
    deferred: Vec<Ask>,
    next_id: u64,
    is_open: bool,
    message_bytes_max: Option<usize>,
    request_timeout: Duration,
    backoff: Backoff,
    random: Random,
}

impl Core {
    pub(crate) fn new(options: &Options) -> Self {
        let mut random = Random::new();
        let prefix = format!("{:x}", u128::from_le_bytes(random.bytes()));
        Self {
            out: VecDeque::new(),
            events: VecDeque::new(),
            subs: BTreeMap::new(),
            owners: HashMap::new(),
            topics: HashMap::new(),
            publisher: Publisher::new(prefix),
            requests: BTreeMap::new(),
            deferred: Vec::new(),
            next_id: 1,
            is_open: false,
            message_bytes_max: None,
            request_timeout: options.request_timeout,
            backoff: Backoff::new(options.backoff_least, options.backoff_most),
            random,
        }
    }

    /// Publishes that wait, to be sent or acknowledged.
    pub(crate) fn pending_publishes(&self) -> usize {
        self.publisher.len()
    }

    /// Where a subscription's events go; nothing if it is over.
    pub(crate) fn receiver(&self, sub: u64) -> Option<&mpsc::Sender<Event>> {
        self.subs.get(&sub).map(|sub| &sub.events)
    }

    /// The socket is open: the first request.
    pub(crate) fn hello(&mut self, token: Option<&str>, name: Option<&str>) {
        let mut params = serde_json::Map::new();
        for (field, value) in [("token", token), ("name", name)] {
            params.extend(value.map(|value| (field.to_owned(), value.into())));
        }
        self.request("connect", &params, Waiting::Connect);
    }

    /// Sends a new token.
    pub(crate) fn refresh(&mut self, token: &str) {
        if self.is_open {
            self.request("refresh", &serde_json::json!({ "token": token }), Waiting::Refresh);
        }
    }

    /// Asks for a sign of life.
    pub(crate) fn ping(&mut self) {
        self.request("ping", &serde_json::json!({}), Waiting::Nobody);
    }

    /// Takes a command; `Close` is not for here.
    pub(crate) fn command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Subscribe { options, events, reply } => {
                let _ = reply.send(self.subscribe(options, events));
            }
            Command::Unsubscribe { id } => self.unsubscribe(id),
            Command::Account { id, reply } => {
                let _ = reply.send(self.subs.get(&id).map(Sub::accounts).unwrap_or_default());
            }
            Command::Publish { publish, acknowledge } => self.publisher.push(publish, acknowledge),
            Command::Ask { method, params, reply } => {
                let ask = Ask { method, params, until: now + self.request_timeout, reply };
                if self.is_open { self.ask(ask) } else { self.deferred.push(ask) }
            }
            Command::Close => {}
        }
        self.flush(now);
    }

    /// Takes a message of the server: one line or several.
    ///
    /// # Errors
    /// What is wrong with it. The connection is of no use any more.
    pub(crate) fn message(&mut self, text: &str, now: Instant) -> Result<Vec<Signal>, Error> {
        let mut signals = Vec::new();
        for line in text.split('\n').filter(|line| !line.is_empty()) {
            signals.extend(self.line(line, now)?);
        }
        self.flush(now);
        Ok(signals)
    }

    fn line(&mut self, line: &str, now: Instant) -> Result<Option<Signal>, Error> {
        match protocol::read(line)? {
            Said::Answer(id, answer) => return self.answered(id, answer, now),
            Said::Push(topic, event) => self.push(&topic, event, now),
            Said::Refused(topic, pattern, error) => self.refused(topic, pattern, error, now),
            Said::Heartbeat(at) => {
                for (topic, seq) in at {
                    let spread = self.random.fraction();
                    if let Some(sub) = self.owners.get(&*topic).and_then(|id| self.subs.get_mut(id)) {
                        sub.reached(&topic, seq, now, spread);
                    }
                }
            }
            Said::GoAway(after, jitter) => return Ok(Some(Signal::GoAway(after, jitter))),
            Said::Other => {}
        }
        Ok(None)
    }

    /// The connection is gone.
    pub(crate) fn lost(&mut self) {
        self.is_open = false;
        self.out.clear();
        self.topics.clear();
        self.publisher.lost();
        for sub in self.subs.values_mut() {
            sub.lost();
        }
        for (_, waiting) in std::mem::take(&mut self.requests) {
            if let Waiting::Ask(ask) = waiting {
                self.deferred.push(ask);
            }
        }
    }

    /// Ends all: nothing will come any more.
    pub(crate) fn close(&mut self, error: &Error) {
        self.lost();
        self.publisher.close(error);
        for ask in self.deferred.drain(..) {
            let _ = ask.reply.send(Err(error.clone()));
        }
        self.subs.clear();
    }

    /// When there is something to do although nothing comes.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let asked = self.requests.values().filter_map(|waiting| match waiting {
            Waiting::Ask(ask) => Some(ask.until),
            _ => None,
        });
        let subs = self.subs.values().filter_map(Sub::deadline);
        let deferred = self.deferred.iter().map(|ask| ask.until);
        asked.chain(subs).chain(deferred).chain(self.publisher.deadline()).min()
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Instant) {
        let late = |waiting: &Waiting| matches!(waiting, Waiting::Ask(ask) if ask.until <= now);
        let late: Vec<u64> = self.requests.iter().filter(|(_, waiting)| late(waiting)).map(|(id, _)| *id).collect();
        let answered = late.into_iter().filter_map(|id| self.requests.remove(&id));
        let asked = answered.filter_map(|waiting| if let Waiting::Ask(ask) = waiting { Some(ask) } else { None });
        let (late, deferred) = std::mem::take(&mut self.deferred).into_iter().partition(|ask| ask.until <= now);
        self.deferred = deferred;
        for ask in asked.chain::<Vec<Ask>>(late) {
            let _ = ask.reply.send(Err(Error::Timeout));
        }
        let due: Vec<_> = self.subs.iter_mut().map(|(id, sub)| (*id, sub.due(now))).collect();
        for (id, step) in due {
            if let Step::Again(names, all) = step {
                self.begin_again(id, names, all);
            }
        }
        self.flush(now);
    }

    /// Forgets a subscription whose receiver is gone, or that ends.
    pub(crate) fn unsubscribe(&mut self, id: u64) {
        let Some(sub) = self.subs.remove(&id) else { return };
        self.owners.retain(|_, owner| *owner != id);
        if self.is_open {
            self.request("unsubscribe", &sub.names, Waiting::Nobody);
        }
    }

    fn subscribe(&mut self, options: Subscribe, events: mpsc::Sender<Event>) -> Result<u64, Error> {
        let names: Vec<Arc<str>> = options.topics.iter().map(|name| name.as_str().into()).collect();
        let mut sorted = names.clone();
        sorted.sort();
        let twice = sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| &pair[0]);
        if let Some(name) = names.iter().find(|name| self.owners.contains_key(*name)).or(twice) {
            return Err(Error::Subscribed(name.to_string()));
        }
        let id = self.fresh_id();
        self.owners.extend(names.iter().map(|name| (name.clone(), id)));
        self.subs.insert(id, Sub::new(names.clone(), options, events, self.backoff.clone()));
        if self.is_open {
            self.begin_again(id, names, false);
        }
        Ok(id)
    }

    /// Subscribes to some names of a subscription; `all`: after unsubscribing from all.
    fn begin_again(&mut self, id: u64, names: Vec<Arc<str>>, all: bool) {
        if !self.is_open {
            return;
        }
        if all {
            let names = self.subs[&id].names.clone();
            self.request("unsubscribe", &names, Waiting::Nobody);
        }
        let request = self.fresh_id();
        let sub = &self.subs[&id];
        self.out.push_back(protocol::subscribe(request, &names, &sub.options, &sub.positions()));
        self.requests.insert(request, Waiting::Subscribe { sub: id, round: sub.round, names });
    }

    fn answered(&mut self, id: u64, answer: Result<&RawValue, Refusal>, now: Instant) -> Result<Option<Signal>, Error> {
        match (self.requests.remove(&id), answer) {
            (Some(Waiting::Connect), Ok(result)) => return self.opened(protocol::result(result)?, now).map(Some),
            (Some(Waiting::Connect), Err(refusal)) => return Ok(Some(Signal::Refused(refusal))),
            (Some(Waiting::Refresh), Ok(result)) => {
                let expires = protocol::result::<serde_json::Value>(result)?["expires"].as_u64();
                return Ok(Some(Signal::Refreshed(expires)));
            }
            (Some(Waiting::Subscribe { sub, round, names }), answer) => self.begun(sub, round, names, answer, now)?,
            (Some(Waiting::Publish), answer) => {
                let answer = match answer {
                    Ok(result) => Ok(protocol::result::<Published>(result)?),
                    Err(refusal) => Err(Error::Refused(refusal)),
                };
                self.publisher.answered(id, answer, now);
            }
            (Some(Waiting::Ask(ask)), answer) => {
                let _ = ask.reply.send(answer.map(ToOwned::to_owned).map_err(Error::Refused));
            }
            (Some(Waiting::Nobody | Waiting::Refresh) | None, _) => {}
        }
        Ok(None)
    }

    /// The session stands: everything begins, or goes on.
    fn opened(&mut self, session: Session, now: Instant) -> Result<Signal, Error> {
        self.is_open = true;
        self.message_bytes_max = session.limits.message_bytes;
        let subs: Vec<_> = self.subs.iter().map(|(id, sub)| (*id, sub.names.clone())).collect();
        for (id, names) in subs {
            self.begin_again(id, names, false);
        }
        self.publisher.opened(session.limits.pending_publishes);
        for ask in std::mem::take(&mut self.deferred) {
            self.ask(ask);
        }
        self.flush(now);
        Ok(Signal::Opened(session))
    }

    fn begun(
        &mut self,
        id: u64,
        round: u64,
        names: Vec<Arc<str>>,
        answer: Result<&RawValue, Refusal>,
        now: Instant,
    ) -> Result<(), Error> {
        let spread = self.random.fraction();
        let Some(sub) = self.subs.get_mut(&id).filter(|sub| sub.round == round) else { return Ok(()) };
        let mut refused = Vec::new();
        match answer {
            Err(refusal) => refused.extend(names.into_iter().map(|name| (name, refusal.clone()))),
            Ok(result) => {
                for begun in protocol::begun(result)? {
                    match begun {
                        Begun::Topic(topic) => {
                            self.topics.insert(topic.id, topic.topic.clone());
                            self.events.extend(sub.begin(topic).into_iter().map(|event| (id, event)))
                        }
                        Begun::Pattern => {}
                        Begun::Refused(name, refusal) => refused.push((name, refusal)),
                    }
                }
            }
        }
        sub.refused(&refused, now, spread);
        let told = refused.into_iter().map(|(topic, error)| (id, Event::Refused { topic, error }));
        self.events.extend(told);
        Ok(())
    }

    fn push(&mut self, topic: &Arc<str>, event: Event, now: Instant) {
        let spread = self.random.fraction();
        if let Event::Subscribed(subscribed) = event {
            let name = subscribed.pattern.as_ref().unwrap_or(topic);
            let Some(id) = self.owners.get(name).copied() else { return };
            let Some(sub) = self.subs.get_mut(&id) else { return };
            self.owners.insert(topic.clone(), id);
            self.topics.insert(subscribed.id, topic.clone());
            self.events.extend(sub.begin(subscribed).into_iter().map(|event| (id, event)));
            return;
        }
        let Some(id) = self.owners.get(topic).copied() else { return };
        if self.subs.get_mut(&id).is_some_and(|sub| sub.accept(topic, &event, now, spread)) {
            self.events.push_back((id, event));
        }
    }

    /// A topic is refused although it was not asked for now, or not by its name.
    fn refused(&mut self, topic: Arc<str>, pattern: Option<Arc<str>>, error: Refusal, now: Instant) {
        let spread = self.random.fraction();
        let owner = self.owners.get(&topic).or_else(|| self.owners.get(&pattern?));
        let Some((id, sub)) = owner.and_then(|id| Some((*id, self.subs.get_mut(id)?))) else { return };
        if sub.names.contains(&topic) {
            sub.refused(&[(topic.clone(), error.clone())], now, spread);
        }
        self.events.push_back((id, Event::Refused { topic, error }));
    }

    fn ask(&mut self, ask: Ask) {
        let id = self.fresh_id();
        self.out.push_back(protocol::request(id, ask.method, &ask.params));
        self.requests.insert(id, Waiting::Ask(ask));
    }

    /// Sends the publishes whose time it is.
    fn flush(&mut self, now: Instant) {
        while self.is_open
            && self.out.len() < OUT_MAX
            && let Some(pending) = self.publisher.take(now)
        {
            let id = self.fresh_id();
            match protocol::publish(id, &pending.publish) {
                Ok(text) if self.message_bytes_max.is_none_or(|most| text.len() <= most) => {
                    self.out.push_back(text);
                    self.requests.insert(id, Waiting::Publish);
                    self.publisher.sent(id, pending);
                }
                Ok(text) => {
                    let message = format!("{} bytes are over the server's limit for a message", text.len());
                    let refusal = Refusal { code: 413, message, retry: false, after: None };
                    pending.finish(Err(Error::Refused(refusal)));
                }
                Err(error) => pending.finish(Err(error)),
            }
        }
    }

    fn request(&mut self, method: &str, params: &impl serde::Serialize, waiting: Waiting) {
        let id = self.fresh_id();
        self.out.push_back(protocol::request(id, method, params));
        self.requests.insert(id, waiting);
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

#[cfg(test)]
mod tests;
