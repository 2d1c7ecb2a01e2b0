//! The simulated driver: what a shard holds in the simulator's place of a ring.
//!
//! It keeps the two arenas, whose bytes it must lend out, and passes the rest on to its kernel in the
//! [world](crate::World).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ringwire_ring::{
    Arena, Completion, Data, Driver, Event, Instant, Lease, ListenOptions, Listener, Op, OpToken, Stage, Staged,
    SubmitError, Wait, Waker,
};

use crate::world::{Inner, State};

/// Wakes a simulated driver.
#[derive(Clone, Debug)]
pub struct SimWaker {
    woken: Arc<AtomicBool>,
}

impl SimWaker {
    pub(crate) fn new(woken: Arc<AtomicBool>) -> Self {
        Self { woken }
    }

    pub(crate) fn set(&self) {
        self.woken.store(true, Ordering::Relaxed);
    }
}

impl Waker for SimWaker {
    fn wake(&self) {
        self.set();
    }
}

/// A [`Driver`] in a [`World`](crate::World).
///
/// What waits in [`enter`](Driver::enter) lets the world go on. With one shard that is all. With several, each runs on
/// a thread of its own and calls [`start`](Self::start) first; only one of them runs at a time, and the seed decides
/// which.
///
/// When nothing can happen any more and all peers are done, `enter` returns without completions, as after a signal.
#[derive(Debug)]
pub struct SimDriver {
    world: Arc<Inner>,
    shard: usize,
    waker: SimWaker,
    arenas: [Arena; 2],
    turn: u32,
}

impl SimDriver {
    pub(crate) fn new(world: Arc<Inner>, shard: usize) -> Self {
        let waker = world.lock().kernels[shard].waker();
        let arenas = [Arena::new(0), Arena::new(u32::MAX)];
        Self { world, shard, waker, arenas, turn: 0 }
    }

    /// Waits until it is this shard's turn to run. The first thing that a thread of several does.
    pub fn start(&self) {
        drop(self.world.wait_for_turn(self.shard, self.world.lock()));
    }

    fn with<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.world.lock())
    }
}

impl Driver for SimDriver {
    type Waker = SimWaker;

    fn now(&self) -> Instant {
        Instant::from_nanos(self.with(|world| world.net.now))
    }

    /// The simulated world begins with the epoch.
    fn wall_clock_us(&self) -> u64 {
        self.now().as_nanos() / 1000
    }

    fn waker(&self) -> SimWaker {
        self.waker.clone()
    }

    fn listen(&mut self, options: &ListenOptions) -> io::Result<(Listener, SocketAddr)> {
        let shard = self.shard;
        let backlog = options.backlog as usize;
        let (listener, address) = self.with(|world| world.net.listen(shard, options.address, backlog));
        Ok((Listener(listener), address))
    }

    fn knows_peers(&self) -> bool {
        self.with(|world| world.net.knows_peers())
    }

    fn close_listener(&mut self, listener: Listener) {
        let shard = self.shard;
        self.with(|world| {
            assert_eq!(world.net.listener_shard(listener.0), Some(shard), "a shard closes its own listener, once");
            world.kernels[shard].assert_no_accept(listener);
            world.net.close_listener(listener.0);
        });
    }

    fn submit(&mut self, op: Op<SimWaker>, context: u32) -> Result<OpToken, (SubmitError, Op<SimWaker>)> {
        if let Op::Transmit(_, Data::Staged(staged)) = &op {
            // Panics here and now if the range is one of a turn that has passed.
            self.arenas[(self.turn % 2) as usize].bytes(staged);
        }
        let shard = self.shard;
        self.with(|world| world.kernels[shard].submit(op, context, &world.net))
    }

    fn stage(&mut self) -> Stage<'_> {
        Stage::new(&mut self.arenas[(self.turn % 2) as usize])
    }

    fn staged(&self, staged: &Staged) -> &[u8] {
        self.arenas[(staged.turn() % 2) as usize].bytes(staged)
    }

    fn take_staged(&mut self, staged: &Staged, skip: usize, len: usize) -> (Vec<u8>, usize) {
        self.arenas[(staged.turn() % 2) as usize].take(staged, skip, len)
    }

    fn enter(&mut self, wait: Wait) -> io::Result<()> {
        let mut state = self.world.lock();
        state.enter(self.shard, wait, &self.arenas[(self.turn % 2) as usize]);
        loop {
            let next = state.pick();
            state.running = next;
            if next != Some(self.shard) {
                self.world.turn_changed();
                state = self.world.wait_for_turn(self.shard, state);
            }
            if state.leave(self.shard) {
                break;
            }
        }
        drop(state);
        self.turn = self.turn.wrapping_add(1);
        self.arenas[(self.turn % 2) as usize].reset(self.turn);
        Ok(())
    }

    fn complete(&mut self) -> Option<Completion> {
        let shard = self.shard;
        self.with(|world| {
            let completion = world.kernels[shard].complete()?;
            match &completion.event {
                Event::Received(lease) => world.net.trace.bytes(&lease.buffer[..lease.len]),
                Event::Filled(bytes, Ok(came)) => world.net.trace.bytes(&bytes[bytes.len() - came..]),
                _ => {}
            }
            Some(completion)
        })
    }

    fn release(&mut self, lease: Lease) {
        let shard = self.shard;
        self.with(|world| world.kernels[shard].release(lease));
    }

    fn in_flight(&self) -> usize {
        let shard = self.shard;
        self.with(|world| world.kernels[shard].in_flight())
    }

    fn leased(&self) -> usize {
        let shard = self.shard;
        self.with(|world| world.kernels[shard].leased())
    }
}

impl Drop for SimDriver {
    fn drop(&mut self) {
        self.world.retire(self.shard);
    }
}
