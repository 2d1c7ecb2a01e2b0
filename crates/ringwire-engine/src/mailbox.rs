//! Mail between shards, and from other threads: bounded, and a sleeping shard is woken once.
//!
//! One lock holds the mail and whether the reader sleeps, so no mail can come between its last look and its sleep.
//! `tests/loom_mailbox.rs` tries every order.

use std::collections::VecDeque;
use std::fmt;
use std::sync::OnceLock;

#[cfg(loom)]
use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};
#[cfg(not(loom))]
use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};

/// The mailbox of one shard.
pub struct Mailbox<M> {
    inside: Mutex<Inside<M>>,
    /// How much mail there is: lets the reader look without the lock.
    len: AtomicUsize,
    capacity: usize,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

struct Inside<M> {
    mail: VecDeque<M>,
    sleeping: bool,
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
    /// Look at the memory that connections hold: the process is over its budget, and this shard holds most.
    Shed,
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
            inside: Mutex::new(Inside { mail: VecDeque::new(), sleeping: false }),
            len: AtomicUsize::new(0),
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
        let mut inside = self.lock();
        if inside.mail.len() >= self.capacity { Err(mail) } else { Ok(self.push(&mut inside, mail)) }
    }

    /// Puts mail in and wakes the reader if it sleeps.
    pub fn post(&self, mail: M) -> Result<(), M> {
        if self.put(mail)? {
            self.wake();
        }
        Ok(())
    }

    /// Puts mail in even beyond the capacity, and wakes the reader in any case. For what must arrive.
    pub fn force(&self, mail: M) {
        self.push(&mut self.lock(), mail);
        // Whoever took over waking the reader may have died before doing so.
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }

    /// The reader is about to sleep. `false`: mail is there, do not.
    pub fn prepare_sleep(&self) -> bool {
        let mut inside = self.lock();
        inside.sleeping = inside.mail.is_empty();
        inside.sleeping
    }

    /// The reader is awake.
    pub fn awake(&self) {
        self.lock().sleeping = false;
    }

    /// Moves all mail to `out`, oldest first.
    pub fn take(&self, out: &mut VecDeque<M>) {
        if self.len.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut inside = self.lock();
        out.append(&mut inside.mail);
        self.len.store(0, Ordering::Relaxed);
    }

    fn push(&self, inside: &mut Inside<M>, mail: M) -> bool {
        inside.mail.push_back(mail);
        self.len.store(inside.mail.len(), Ordering::Relaxed);
        std::mem::take(&mut inside.sleeping)
    }

    fn wake(&self) {
        self.wake.get().expect("a reader that sleeps has said how to wake it")();
    }

    fn lock(&self) -> MutexGuard<'_, Inside<M>> {
        self.inside.lock().expect("no holder of this lock panics")
    }
}
