//! Where the threads of a run meet: who is ready, when it begins, whether it is over.

use ringwire_ring::{Clock, Instant};
use std::sync::{Condvar, Mutex, MutexGuard};

use crate::measure::Span;

/// What the threads of a run know of each other.
#[derive(Debug)]
pub(super) struct Stage {
    clock: Clock,
    threads: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ready: usize,
    /// Connections that each thread waits for.
    left: Vec<usize>,
    stopped: usize,
    span: Option<Span>,
    /// Nothing more can come: a thread is over, or has failed for this reason.
    over: bool,
    failed: Option<String>,
}

impl Stage {
    pub(super) fn new(clock: Clock, threads: usize) -> Self {
        let state = State { left: vec![0; threads], ..State::default() };
        Self { clock, threads, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked with the lock held changed one field, so the others can still end well.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// So many connections of a thread are not ready yet.
    pub(super) fn connecting(&self, thread: usize, left: usize) {
        self.state().left[thread] = left;
    }

    /// Connections that are not ready yet.
    pub(super) fn left(&self) -> usize {
        self.state().left.iter().sum()
    }

    /// A thread is ready.
    pub(super) fn ready(&self, thread: usize) {
        self.change(|state| {
            state.left[thread] = 0;
            state.ready += 1;
        });
    }

    /// A thread cannot go on: nobody need.
    pub(super) fn fail(&self, reason: &str) {
        self.change(|state| {
            state.failed.get_or_insert_with(|| reason.to_owned());
            state.over = true;
        });
    }

    /// Nothing more can come of this run.
    pub(super) fn end(&self) {
        self.change(|state| state.over = true);
    }

    /// A thread sends no more.
    pub(super) fn stop(&self) {
        self.change(|state| state.stopped += 1);
    }

    /// All threads are told when to begin.
    pub(super) fn begin(&self, span: Span) {
        self.change(|state| state.span = Some(span));
    }

    pub(super) fn span(&self) -> Option<Span> {
        self.state().span
    }

    pub(super) fn is_over(&self) -> bool {
        self.state().over
    }

    pub(super) fn all_stopped(&self) -> bool {
        self.state().stopped == self.threads
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.state().failed.clone()
    }

    /// Waits until all threads are ready or the run is over. `false` if neither is so by `deadline`.
    pub(super) fn wait_until_ready(&self, deadline: Instant) -> bool {
        let met = |state: &State| state.ready == self.threads || state.over;
        self.wait_until(deadline, met);
        met(&self.state())
    }

    /// Waits until `deadline`, or the run is over.
    pub(super) fn sleep_until(&self, deadline: Instant) {
        self.wait_until(deadline, |state| state.over);
    }

    fn wait_until(&self, deadline: Instant, met: impl Fn(&State) -> bool) {
        let mut state = self.state();
        while !met(&state) {
            let left = deadline.since(self.clock.now());
            if left.is_zero() {
                return;
            }
            state =
                self.changed.wait_timeout(state, left).map_or_else(|error| error.into_inner().0, |(state, _)| state);
        }
    }
}
