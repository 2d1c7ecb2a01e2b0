//! Mail between shards, and from other threads: bounded, and a sleeping shard is woken once.
//!
//! The protocol of sleep: the reader says that it will sleep, then looks whether mail is there; the sender puts mail in,
//! then looks whether the reader sleeps. Whichever comes second sees the other, so no mail waits for a sleeper.
//! `tests/loom_mailbox.rs` tries every order.

use std::collections::VecDeque;
use std::fmt;
use std::sync::OnceLock;

#[cfg(loom)]
use loom::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
#[cfg(not(loom))]
use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// The mailbox of one shard.
pub struct Mailbox<M> {
    mail: Mutex<VecDeque<M>>,
    /// How much mail there is: lets the reader look without the lock.
    len: AtomicUsize,
    sleeping: AtomicBool,
    capacity: usize,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// The mailboxes of all shards.
pub type Mailboxes<M> = std::sync::Arc<[Mailbox<Post<M>>]>;

/// What is posted to a shard.
#[derive(Debug)]
pub enum Post<M> {
    /// Mail for its handler.
    Mail(M),
    /// Stop accepting, close every connection with 1001, and end when all are gone, after this long at the latest.
    Drain(std::time::Duration),
    /// End at once.
    Stop,
}

impl<M> fmt::Debug for Mailbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

impl<M> Mailbox<M> {
    /// A mailbox for at most `capacity` pieces of mail.
    pub fn new(capacity: usize) -> Self {
        Self {
            mail: Mutex::new(VecDeque::new()),
            len: AtomicUsize::new(0),
            sleeping: AtomicBool::new(false),
            capacity,
            wake: OnceLock::new(),
        }
    }

    /// Says how the reader is woken from threads that are not shards.
    ///
    /// # Panics
    /// If it has been said before.
    pub fn set_wake(&self, wake: impl Fn() + Send + Sync + 'static) {
        assert!(self.wake.set(Box::new(wake)).is_ok(), "a mailbox has one reader");
    }

    /// Puts mail in. `Ok(true)` means that the reader sleeps and the caller, and nobody else, must wake it. Mail that
    /// finds the box full comes back.
    pub fn put(&self, mail: M) -> Result<bool, M> {
        {
            let mut queue = self.mail.lock().expect("no holder of this lock panics");
            if queue.len() >= self.capacity {
                return Err(mail);
            }
            queue.push_back(mail);
            self.len.store(queue.len(), Ordering::Relaxed);
        }
        Ok(self.sleeping.swap(false, Ordering::SeqCst))
    }

    /// Puts mail in and wakes the reader if it sleeps.
    pub fn post(&self, mail: M) -> Result<(), M> {
        if self.put(mail)? {
            self.wake.get().expect("a reader that sleeps has said how to wake it")();
        }
        Ok(())
    }

    /// Puts mail in, even beyond the capacity, and wakes the reader if it sleeps. For what must arrive.
    pub fn force(&self, mail: M) {
        {
            let mut queue = self.mail.lock().expect("no holder of this lock panics");
            queue.push_back(mail);
            self.len.store(queue.len(), Ordering::Relaxed);
        }
        if self.sleeping.swap(false, Ordering::SeqCst)
            && let Some(wake) = self.wake.get()
        {
            wake();
        }
    }

    /// The reader is about to sleep. `false`: mail is there, do not.
    pub fn prepare_sleep(&self) -> bool {
        self.sleeping.store(true, Ordering::SeqCst);
        let empty = self.mail.lock().expect("no holder of this lock panics").is_empty();
        if !empty {
            self.sleeping.store(false, Ordering::SeqCst);
        }
        empty
    }

    /// The reader is awake.
    pub fn awake(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
    }

    /// Moves all mail to `out`, oldest first.
    pub fn take(&self, out: &mut VecDeque<M>) {
        if self.len.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut queue = self.mail.lock().expect("no holder of this lock panics");
        out.append(&mut queue);
        self.len.store(0, Ordering::Relaxed);
    }
}
