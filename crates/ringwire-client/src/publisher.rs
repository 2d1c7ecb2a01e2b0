//! Publishing with acknowledgements: pipelined, in order, and once.
//!
//! Each publish has an idempotency key. What was sent and not acknowledged when the connection broke is sent again on the
//! next one, before anything newer; the server knows the key if it had it already. So many wait for an answer at most that
//! the server still remembers the first of them. Keys that are bound to the connection are published anew on the next one.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};

use crate::client::Published;
use crate::error::Error;
use crate::options::{Body, Publish};

/// The server remembers the last 1,024 idempotency keys of a topic.
const UNDERWAY_MAX: usize = 1000;
/// The wait after a refusal that says none.
const PAUSE: Duration = Duration::from_millis(100);

/// Where an acknowledgement goes.
pub(crate) type Acknowledge = oneshot::Sender<Result<Published, Error>>;

/// A publish and who waits for it: nobody, if a bound key is published anew.
pub(crate) struct Pending {
    pub(crate) publish: Publish,
    acknowledge: Option<Acknowledge>,
}

/// All publishes that are not acknowledged, and the keys that are bound.
pub(crate) struct Publisher {
    /// Nobody else's idempotency keys begin with this.
    prefix: String,
    next_key: u64,
    /// What is to be sent, oldest first.
    waiting: VecDeque<Pending>,
    /// What was sent on this connection, by its request.
    underway: BTreeMap<u64, Pending>,
    underway_max: usize,
    /// By topic and key.
    bound: BTreeMap<(String, String), Publish>,
    paused_until: Option<Instant>,
}

impl Publisher {
    pub(crate) fn new(prefix: String) -> Self {
        Self {
            prefix,
            next_key: 0,
            waiting: VecDeque::new(),
            underway: BTreeMap::new(),
            underway_max: UNDERWAY_MAX,
            bound: BTreeMap::new(),
            paused_until: None,
        }
    }

    /// Publishes that wait, to be sent or acknowledged.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.underway.len()
    }

    pub(crate) fn push(&mut self, mut publish: Publish, acknowledge: Acknowledge) {
        publish.idempotency_key.get_or_insert_with(|| key(&self.prefix, &mut self.next_key));
        self.waiting.push_back(Pending { publish, acknowledge: Some(acknowledge) });
    }

    /// The session stands. The server takes so many at once.
    pub(crate) fn opened(&mut self, pending_max: Option<usize>) {
        self.underway_max = pending_max.unwrap_or(UNDERWAY_MAX).clamp(1, UNDERWAY_MAX);
        for publish in self.bound.values().rev() {
            let idempotency_key = Some(key(&self.prefix, &mut self.next_key));
            let publish = Publish { idempotency_key, ..publish.clone() };
            self.waiting.push_front(Pending { publish, acknowledge: None });
        }
    }

    /// The connection is gone.
    pub(crate) fn lost(&mut self) {
        self.paused_until = None;
        for (_, mut pending) in std::mem::take(&mut self.underway).into_iter().rev() {
            // A bound key went with the connection, whether it had come about or not: it must not count as known.
            if pending.publish.bound {
                pending.publish.idempotency_key = Some(key(&self.prefix, &mut self.next_key));
            }
            self.waiting.push_front(pending);
        }
    }

    /// Nothing will be sent any more.
    pub(crate) fn close(&mut self, error: &Error) {
        self.lost();
        for pending in self.waiting.drain(..) {
            pending.finish(Err(error.clone()));
        }
    }

    /// When something is to be sent that waits for its time.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.paused_until.filter(|_| !self.waiting.is_empty())
    }

    /// What is to be sent, if now is the time for it.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Pending> {
        if self.paused_until.is_some_and(|until| now < until) || self.underway.len() >= self.underway_max {
            return None;
        }
        self.paused_until = None;
        self.waiting.pop_front()
    }

    /// It was sent as this request.
    pub(crate) fn sent(&mut self, request: u64, pending: Pending) {
        self.underway.insert(request, pending);
    }

    /// The answer to a request.
    pub(crate) fn answered(&mut self, request: u64, answer: Result<Published, Error>, now: Instant) {
        let Some(pending) = self.underway.remove(&request) else { return };
        match answer {
            Err(Error::Refused(refusal)) if refusal.retry => {
                self.waiting.push_front(pending);
                self.paused_until = Some(now + refusal.after.unwrap_or(PAUSE));
            }
            Err(error) => pending.finish(Err(error)),
            Ok(published) => {
                self.remember(&pending.publish);
                pending.finish(Ok(published));
            }
        }
    }

    /// Keeps what is bound, and forgets what no longer is.
    fn remember(&mut self, publish: &Publish) {
        let Some(key) = &publish.key else { return };
        let name = (publish.topic.clone(), key.clone());
        if publish.bound && publish.body != Body::Remove {
            self.bound.insert(name, publish.clone());
        } else {
            self.bound.remove(&name);
        }
    }
}

impl Pending {
    /// Tells who waits, if anyone still does.
    pub(crate) fn finish(self, answer: Result<Published, Error>) {
        if let Some(acknowledge) = self.acknowledge {
            let _ = acknowledge.send(answer);
        }
    }
}

fn key(prefix: &str, next: &mut u64) -> String {
    *next += 1;
    format!("{prefix}-{next}")
}
