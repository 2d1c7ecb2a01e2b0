//! Who has subscribed to which topic, and what waits for each subscriber, for libraries that have no publishing of their
//! own.
//!
//! A publish puts the message into the box of each subscriber and wakes the task of those whose box was empty. The task
//! takes all that has gathered at once, so that what was published in one turn of the runtime leaves in one write. A
//! subscriber for whom too much waits is ended, so that the memory is bounded.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Messages that may wait for one subscriber.
const WAITING_MAX: usize = 1 << 16;

/// All topics. They are never removed.
pub(crate) struct Topics<M>(Mutex<HashMap<String, Arc<Topic<M>>>>);

/// One topic.
pub(crate) struct Topic<M>(Mutex<Vec<Arc<Mailbox<M>>>>);

/// A subscriber's place in a topic, until it is dropped.
pub(crate) struct Subscription<M> {
    topic: Arc<Topic<M>>,
    mailbox: Arc<Mailbox<M>>,
}

/// What waits for a subscriber.
pub(crate) struct Mailbox<M>(Mutex<Waiting<M>>);

struct Waiting<M> {
    messages: Vec<M>,
    reader: Option<Waker>,
    has_overflowed: bool,
}

/// Where a subscriber's task takes its messages from.
pub(crate) trait Inbox<M> {
    /// Adds all that waits to the empty `batch`; whether there will be more.
    fn poll_take(&mut self, context: &mut Context<'_>, batch: &mut Vec<M>) -> Poll<bool>;
}

impl<M> Topics<M> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    pub(crate) fn topic(&self, name: &str) -> Arc<Topic<M>> {
        let mut topics = held(&self.0);
        topics.entry(name.to_owned()).or_insert_with(|| Arc::new(Topic(Mutex::new(Vec::new())))).clone()
    }
}

impl<M: Clone> Topic<M> {
    pub(crate) fn publish(&self, message: &M) {
        for mailbox in held(&self.0).iter() {
            mailbox.put(message.clone());
        }
    }
}

impl<M> Subscription<M> {
    pub(crate) fn new(topic: Arc<Topic<M>>) -> Self {
        let waiting = Waiting { messages: Vec::new(), reader: None, has_overflowed: false };
        let mailbox = Arc::new(Mailbox(Mutex::new(waiting)));
        held(&topic.0).push(mailbox.clone());
        Self { topic, mailbox }
    }

    /// For what is said to this subscriber alone.
    pub(crate) fn mailbox(&self) -> Arc<Mailbox<M>> {
        self.mailbox.clone()
    }
}

impl<M> Drop for Subscription<M> {
    fn drop(&mut self) {
        held(&self.topic.0).retain(|other| !Arc::ptr_eq(other, &self.mailbox));
    }
}

impl<M> Mailbox<M> {
    pub(crate) fn put(&self, message: M) {
        let mut waiting = held(&self.0);
        if waiting.messages.len() == WAITING_MAX {
            waiting.has_overflowed = true;
        } else {
            waiting.messages.push(message);
        }
        if let Some(reader) = waiting.reader.take() {
            reader.wake();
        }
    }
}

impl<M> Inbox<M> for Subscription<M> {
    fn poll_take(&mut self, context: &mut Context<'_>, batch: &mut Vec<M>) -> Poll<bool> {
        let mut waiting = held(&self.mailbox.0);
        if waiting.has_overflowed {
            return Poll::Ready(false);
        }
        if waiting.messages.is_empty() {
            waiting.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        std::mem::swap(&mut waiting.messages, batch);
        Poll::Ready(true)
    }
}

impl<M> Unpin for Subscription<M> {}

/// All that waits, as soon as something does; whether there will be more.
pub(crate) async fn take<M>(inbox: &mut (impl Inbox<M> + Unpin), batch: &mut Vec<M>) -> bool {
    let mut inbox = Pin::new(inbox);
    std::future::poll_fn(|context| inbox.poll_take(context, batch)).await
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
