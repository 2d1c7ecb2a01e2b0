//! The mailbox under every interleaving: `RUSTFLAGS="--cfg loom" cargo test -p ringwire-engine --release --test loom_mailbox`.
#![cfg(loom)]

use std::collections::VecDeque;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use ringwire_engine::Mailbox;

/// Two senders, one reader that goes to sleep as a shard does. If it sleeps although mail came, someone must have been
/// told to wake it.
#[test]
fn no_mail_waits_for_a_sleeper() {
    loom::model(|| {
        let mailbox = Arc::new(Mailbox::new(4));
        let woken = Arc::new(AtomicBool::new(false));
        let senders: Vec<_> = (0..2)
            .map(|mail| {
                let (mailbox, woken) = (Arc::clone(&mailbox), Arc::clone(&woken));
                thread::spawn(move || {
                    if mailbox.put(mail).expect("room") {
                        woken.store(true, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let mut read = VecDeque::new();
        mailbox.take(&mut read);
        let sleeps = mailbox.prepare_sleep();
        for sender in senders {
            sender.join().expect("sender");
        }
        if sleeps && read.len() < 2 {
            assert!(woken.load(Ordering::SeqCst), "mail came and nobody wakes the sleeper");
        }
        mailbox.awake();
        mailbox.take(&mut read);
        read.make_contiguous().sort_unstable();
        assert_eq!(read, [0, 1]);
    });
}

/// Mail beyond the capacity comes back; none is lost.
#[test]
fn a_full_mailbox_gives_the_mail_back() {
    loom::model(|| {
        let mailbox = Arc::new(Mailbox::new(1));
        let other = Arc::clone(&mailbox);
        let sender = thread::spawn(move || other.put(1).is_ok());
        let here = mailbox.put(2).is_ok();
        let there = sender.join().expect("sender");
        assert!(here != there, "exactly one finds room");
        let mut read = VecDeque::new();
        mailbox.take(&mut read);
        assert_eq!(read.len(), 1);
    });
}
