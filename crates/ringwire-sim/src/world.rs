//! The world of a run: the network, the drivers' kernels and the peers, moved on event by event.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use ringwire_engine::tls::Connector;
use ringwire_ring::{Arena, Instant, Wait};

use crate::driver::SimDriver;
use crate::faults::Faults;
use crate::kernel::{Kernel, KernelOptions, Standing};
use crate::net::{Change, Net, Occurrence};
use crate::peer::{Peer, Slot};
use crate::secure::Secure;

/// Turns of a run, above which it is taken for one that never ends.
const TURNS_MAX: u64 = 1_000_000;
/// The same for its events.
const EVENTS_MAX: u64 = 3_000_000;

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) net: Net,
    pub(crate) kernels: Vec<Kernel>,
    peers: Vec<Slot>,
    /// The shard whose thread runs.
    pub(crate) running: Option<usize>,
    /// A shard's thread has panicked: the others must not wait for it.
    broken: bool,
    /// Nothing can happen any more: the next shard to run returns without completions.
    at_the_end: bool,
    turns: u64,
    events: u64,
}

/// A world. Cheap to clone; clones are the same world.
#[derive(Clone, Debug)]
pub struct World {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    state: Mutex<State>,
    turn: Condvar,
}

impl Inner {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the state is locked is the panic of a test, whose message is the one that counts.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Lets the shard run that is now to run.
    pub(crate) fn turn_changed(&self) {
        self.turn.notify_all();
    }

    /// Waits until the shard is to run.
    pub(crate) fn wait_for_turn<'a>(&self, shard: usize, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while state.running != Some(shard) {
            assert!(!state.broken, "another shard has panicked");
            state = self.turn.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        state
    }

    /// The shard has ended: another one goes on.
    pub(crate) fn retire(&self, shard: usize) {
        let mut state = self.lock();
        state.kernels[shard].retire();
        if std::thread::panicking() {
            state.broken = true;
        } else if state.running == Some(shard) {
            state.running = state.pick();
        }
        drop(state);
        self.turn_changed();
    }
}

impl State {
    /// Starts what a shard has submitted; it then waits.
    pub(crate) fn enter(&mut self, shard: usize, wait: Wait, arena: &Arena) {
        self.turns += 1;
        assert!(self.turns < TURNS_MAX, "the run does not end: {:?}", self.unfinished());
        self.net.now += self.net.rng.u64(0..20_000);
        self.kernels[shard].enter(wait, arena, &mut self.net);
    }

    /// The shard goes on. False if it turns out that it has to wait on.
    pub(crate) fn leave(&mut self, shard: usize) -> bool {
        let at_the_end = std::mem::take(&mut self.at_the_end);
        self.kernels[shard].leave(at_the_end, &mut self.net)
    }

    /// Lets the world go on until a shard can, and picks it. `None` if there is no shard left.
    pub(crate) fn pick(&mut self) -> Option<usize> {
        let gone = |kernel: &Kernel| kernel.standing(0) == Standing::Gone;
        if self.kernels.iter().all(gone) {
            return None;
        }
        loop {
            while self.net.next_at().is_some_and(|at| at <= self.net.now) {
                self.step();
            }
            let now = self.net.now;
            let standing = |kernel: &Kernel| kernel.standing(now);
            let ready = self.shards(|kernel| standing(kernel) == Standing::GoesOn);
            if !ready.is_empty() {
                return Some(ready[self.net.rng.usize(0..ready.len())]);
            }
            let deadlines = self.kernels.iter().filter_map(|kernel| match standing(kernel) {
                Standing::Waits(until) => until,
                Standing::GoesOn | Standing::Gone => None,
            });
            match (deadlines.min(), self.net.next_at()) {
                (Some(deadline), next) if next.is_none_or(|at| at > deadline) => self.net.now = deadline,
                (_, Some(_)) => self.step(),
                (_, None) => return self.at_the_end(),
            }
        }
    }

    /// Nothing can happen any more. If that is as it should be, a shard returns from its `enter` to be told so.
    fn at_the_end(&mut self) -> Option<usize> {
        let unfinished = self.unfinished();
        assert!(unfinished.is_empty(), "the shards wait for ever, and so do these: {unfinished:#?}");
        self.at_the_end = true;
        let waiting = self.shards(|kernel| kernel.standing(u64::MAX) != Standing::Gone);
        waiting.first().copied()
    }

    fn shards(&self, which: impl Fn(&Kernel) -> bool) -> Vec<usize> {
        (0..self.kernels.len()).filter(|&shard| which(&self.kernels[shard])).collect()
    }

    /// Lets the next event happen.
    fn step(&mut self) {
        self.events += 1;
        assert!(self.events < EVENTS_MAX, "the run does not end: {:?}", self.unfinished());
        match self.net.next().expect("there is an event") {
            Occurrence::Arrive(connection) => self.net.arrive(connection),
            Occurrence::Deliver(connection, to) => self.net.deliver(connection, to),
            Occurrence::Reset(connection, at, error) => self.net.break_off(connection, at, error),
            Occurrence::Peer(index) => self.peers[index].act(index, &mut self.net),
            Occurrence::Nudge => {}
        }
        for change in self.net.changes() {
            match change {
                Change::Peer(index) => {
                    let at = self.net.now + self.net.rng.u64(0..20_000);
                    self.peers[index].wake_at(index, at, &mut self.net);
                }
                Change::Socket { shard, descriptor } => {
                    self.kernels[shard].socket_changed(descriptor, &mut self.net);
                }
                Change::Listener { shard, listener } => {
                    self.kernels[shard].listener_changed(listener, &mut self.net);
                }
            }
        }
    }

    fn unfinished(&self) -> Vec<String> {
        self.peers.iter().filter(|slot| !slot.peer.is_done()).map(|slot| format!("{slot:?}")).collect()
    }
}

impl World {
    /// A world without anything in it. With `print`, every event becomes a line on stderr.
    pub fn new(seed: u64, faults: Faults, print: bool) -> Self {
        let net = Net::new(Rng::with_seed(seed), faults, print);
        let state = State {
            net,
            kernels: Vec::new(),
            peers: Vec::new(),
            running: Some(0),
            broken: false,
            at_the_end: false,
            turns: 0,
            events: 0,
        };
        Self { inner: Arc::new(Inner { state: Mutex::new(state), turn: Condvar::new() }) }
    }

    /// Adds a shard's driver. Shards are numbered from zero.
    pub fn driver(&self, options: &KernelOptions) -> SimDriver {
        let mut state = self.inner.lock();
        let shard = state.kernels.len();
        state.kernels.push(Kernel::new(shard, options));
        drop(state);
        SimDriver::new(Arc::clone(&self.inner), shard)
    }

    /// Adds a peer, which first acts after this time. Peers are numbered from zero.
    pub fn add_peer(&self, peer: Box<dyn Peer + Send>, after: Duration) {
        self.add_slot(Slot::new(peer, None), after);
    }

    /// The same, whose connections are encrypted.
    pub(crate) fn add_secure_peer(&self, peer: Box<dyn Peer + Send>, after: Duration, connector: Connector) {
        self.inner.lock().net.trace.seal();
        self.add_slot(Slot::new(peer, Some(Secure::new(connector))), after);
    }

    fn add_slot(&self, slot: Slot, after: Duration) {
        let mut state = self.inner.lock();
        let State { net, peers, .. } = &mut *state;
        peers.push(slot);
        let index = peers.len() - 1;
        peers[index].wake_at(index, (Instant::from_nanos(net.now) + after).as_nanos(), net);
    }

    /// The current instant.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.inner.lock().net.now)
    }

    /// Lets time pass, and the network and the peers with it; the shards stand still.
    pub fn pass(&self, time: Duration) {
        let mut state = self.inner.lock();
        let until = (Instant::from_nanos(state.net.now) + time).as_nanos();
        while state.net.next_at().is_some_and(|at| at <= until) {
            state.step();
        }
        state.net.now = state.net.now.max(until);
    }

    /// Whether all peers are done.
    pub fn is_finished(&self) -> bool {
        self.inner.lock().peers.iter().all(|slot| slot.peer.is_done())
    }

    /// The peers that are not done.
    pub fn unfinished(&self) -> Vec<String> {
        self.inner.lock().unfinished()
    }

    /// Random numbers of this run.
    pub fn with_rng<T>(&self, with: impl FnOnce(&mut Rng) -> T) -> T {
        with(&mut self.inner.lock().net.rng)
    }

    /// Adds an event to the trace: `what`, with a `#` where each of the `numbers` belongs.
    pub fn note(&self, what: &'static str, numbers: &[u64]) {
        self.inner.lock().net.note(what, numbers);
    }

    /// Hash and number of the events so far.
    pub fn trace(&self) -> (u64, u64) {
        let state = self.inner.lock();
        (state.net.trace.hash(), state.net.trace.events())
    }

    /// Sockets that this shard has open.
    pub fn open_sockets(&self, shard: usize) -> usize {
        self.inner.lock().kernels[shard].open()
    }

    /// Panics if this shard's driver has descriptors, leases, operations or completions left.
    pub fn assert_nothing_left(&self, shard: usize) {
        self.inner.lock().kernels[shard].assert_nothing_left();
    }
}
