//! Says how long a core kept waiting who wanted to run on it: what the machine itself adds to latencies.
//!
//! A thread on that core sleeps from one tick to the next and writes down how late it woke. It costs the core next to
//! nothing, shares no code with what is measured, and a core that is taken away, by its hypervisor or by other work,
//! shows here as it does there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use ringwire_ring::Clock;
use ringwire_ring::linux::pin_to_core;
use rustix::event::{Timespec, poll};

use super::faulty::Latencies;
use super::faulty::truth::TICK;

/// A thread that watches a core until it is asked what it saw.
#[derive(Debug)]
pub(crate) struct Witness {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<u64>>,
}

impl Witness {
    pub(crate) fn start(core: usize) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let thread = std::thread::Builder::new().name("witness".to_owned());
        let thread = thread.spawn(move || watch(core, &ends)).expect("a thread");
        Self { is_over, thread }
    }

    /// How much later than usual the thread woke, at each tick.
    pub(crate) fn finish(self) -> Latencies {
        self.is_over.store(true, Ordering::Relaxed);
        let late = self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let usual = Latencies::new(late.clone()).percentile(50.0);
        Latencies::new(late.into_iter().map(|nanos| nanos.saturating_sub(usual)).collect())
    }
}

/// How many nanoseconds late the thread was at each tick.
fn watch(core: usize, is_over: &AtomicBool) -> Vec<u64> {
    pin_to_core(core).expect("a core of this machine");
    let clock = Clock::start();
    let mut due = clock.now() + TICK;
    let mut late = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let time = Timespec::try_from(due.since(clock.now())).expect("a short time");
        poll(&mut [], Some(&time)).expect("there is nothing to poll but time");
        late.push(clock.now().since(due).as_nanos() as u64);
        due = due + TICK;
    }
    late
}
