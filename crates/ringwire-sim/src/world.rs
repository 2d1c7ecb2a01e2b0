//! The world of a run: the network, the drivers' kernels and the peers, moved on event by event.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use ringwire_ring::Instant;

use crate::driver::SimDriver;
use crate::faults::Faults;
use crate::kernel::{Kernel, KernelOptions};
use crate::net::{Change, Net, Occurrence};
use crate::peer::{Peer, Slot};

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) net: Net,
    pub(crate) kernels: Vec<Kernel>,
    peers: Vec<Slot>,
}

/// A world. Cheap to clone; clones are the same world.
#[derive(Clone, Debug)]
pub struct World {
    state: Rc<RefCell<State>>,
}

impl World {
    /// A world without anything in it. With `print`, every event becomes a line on stderr.
    pub fn new(seed: u64, faults: Faults, print: bool) -> Self {
        let net = Net::new(Rng::with_seed(seed), faults, print);
        Self { state: Rc::new(RefCell::new(State { net, kernels: Vec::new(), peers: Vec::new() })) }
    }

    /// Adds a shard's driver. Shards are numbered from zero.
    pub fn driver(&self, options: &KernelOptions) -> SimDriver {
        let mut state = self.state.borrow_mut();
        let shard = state.kernels.len();
        state.kernels.push(Kernel::new(shard, options));
        drop(state);
        SimDriver::new(Rc::clone(&self.state), shard)
    }

    /// Adds a peer, which first acts after this time. Peers are numbered from zero.
    pub fn add_peer(&self, peer: Box<dyn Peer>, after: Duration) {
        let mut state = self.state.borrow_mut();
        let State { net, peers, .. } = &mut *state;
        peers.push(Slot::new(peer));
        let index = peers.len() - 1;
        peers[index].wake_at(index, (Instant::from_nanos(net.now) + after).as_nanos(), net);
    }

    /// The current instant.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.state.borrow().net.now)
    }

    /// Whether this shard would sleep in its `enter`, and until when if nothing happens: `None` if it can go on.
    pub fn sleeps(&self, shard: usize) -> Option<Instant> {
        let state = self.state.borrow();
        match state.kernels[shard].sleeps(state.net.now) {
            Ok(()) => None,
            Err(until) => Some(Instant::from_nanos(until.unwrap_or(u64::MAX))),
        }
    }

    /// Moves on to the next event, but not past `until`. False if there was none before that; the time is `until`
    /// then.
    pub fn step(&self, until: Instant) -> bool {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        if state.net.next_at().is_none_or(|at| at > until.as_nanos()) {
            state.net.now = state.net.now.max(until.as_nanos());
            return false;
        }
        match state.net.next().expect("there is one") {
            Occurrence::Arrive(connection) => state.net.arrive(connection),
            Occurrence::Deliver(connection, to) => state.net.deliver(connection, to),
            Occurrence::Reset(connection, at, error) => state.net.break_off(connection, at, error),
            Occurrence::Peer(index) => state.peers[index].act(index, &mut state.net),
            Occurrence::Nudge => {}
        }
        for change in state.net.changes() {
            match change {
                Change::Peer(index) => {
                    let at = state.net.now + state.net.rng.u64(0..20_000);
                    state.peers[index].wake_at(index, at, &mut state.net);
                }
                Change::Socket { shard, descriptor } => {
                    state.kernels[shard].socket_changed(descriptor, &mut state.net);
                }
                Change::Listener { shard, listener } => {
                    state.kernels[shard].listener_changed(listener, &mut state.net);
                }
            }
        }
        true
    }

    /// Whether nothing will happen of itself any more.
    pub fn is_quiet(&self) -> bool {
        self.state.borrow().net.next_at().is_none()
    }

    /// Whether all peers are done.
    pub fn is_finished(&self) -> bool {
        self.state.borrow().peers.iter().all(|slot| slot.peer.is_done())
    }

    /// The peers that are not done, for the message of a run that gets nowhere.
    pub fn unfinished(&self) -> Vec<String> {
        let state = self.state.borrow();
        state.peers.iter().filter(|slot| !slot.peer.is_done()).map(|slot| format!("{slot:?}")).collect()
    }

    /// Random numbers of this run.
    pub fn with_rng<T>(&self, with: impl FnOnce(&mut Rng) -> T) -> T {
        with(&mut self.state.borrow_mut().net.rng)
    }

    /// Adds an event to the trace: `what`, with a `#` where each of the `numbers` belongs.
    pub fn note(&self, what: &'static str, numbers: &[u64]) {
        self.state.borrow_mut().net.note(what, numbers);
    }

    /// Hash and number of the events so far.
    pub fn trace(&self) -> (u64, u64) {
        let state = self.state.borrow();
        (state.net.trace.hash(), state.net.trace.events())
    }

    /// Sockets that this shard has open.
    pub fn open_sockets(&self, shard: usize) -> usize {
        self.state.borrow().kernels[shard].open()
    }

    /// Panics if this shard's driver has descriptors, leases, operations or completions left.
    pub fn assert_nothing_left(&self, shard: usize) {
        self.state.borrow().kernels[shard].assert_nothing_left();
    }
}
