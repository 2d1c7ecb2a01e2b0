//! One shard: a driver, a handler, connections, and the loop that turns.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ringwire_ring::{Completion, Driver, Event, Instant, ListenOptions, Listener, Op, OpToken, Staged, Wait};

use crate::admission::Handshakes;
use crate::back::Back;
use crate::context::{Context, Core};
use crate::date::DateCache;
use crate::handler::{Handler, Transmit};
use crate::intake::Waiting;
use crate::mailbox::{Mailboxes, Post};
use crate::options::{EngineOptions, Limits, ListenerOptions};
use crate::pace::Pace;
use crate::process::Process;
use crate::queue::SlotQueue;
use crate::slab::Slab;
use crate::tls::Scratch;
use crate::wall::WallTime;
use crate::wheel::{self, Tick, Wheel};

/// Which shard this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardInfo {
    /// Its number, from 0.
    pub shard: usize,
    /// How many there are.
    pub shards: usize,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// There will be more to do.
    Running,
    /// The shard has been drained or stopped.
    Ended,
}

/// One shard. [`turn`](Self::turn) it until it says that it has ended.
pub struct Shard<D: Driver, H: Handler> {
    pub(crate) driver: D,
    pub(crate) handler: H,
    pub(crate) core: Core<H::Mail>,
    pub(crate) transmit: Transmit,
    pub(crate) scratch: Scratch,
    pub(crate) accepts: Vec<Accepting>,
    /// Connections that are pulled for at the end of this turn.
    pub(crate) pulled: Vec<u32>,
    /// Within which time to drain, from the end of this turn.
    pub(crate) to_drain: Option<Duration>,
    pub(crate) ending: Option<Ending>,
    /// How to wake each shard.
    wakers: Arc<[OnceLock<D::Waker>]>,
    mail: VecDeque<Post<H::Mail>>,
    due: Vec<wheel::Entry>,
    /// What was received beyond what a turn takes in.
    pub(crate) waiting: Waiting,
    /// What was received in place. It is looked at when all else that a turn brings is known: which sends were short, above
    /// all, since what is sent behind them must wait.
    pub(crate) filled: Waiting,
    /// When work last came, for spinning.
    pub(crate) busy_at: Instant,
    pub(crate) date: DateCache,
    /// What the process was last told that connections hold.
    pub(crate) published_bytes: usize,
}

impl<D: Driver, H: Handler> std::fmt::Debug for Shard<D, H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("shard", &self.core.shard).finish_non_exhaustive()
    }
}

/// A listener and its accept.
#[derive(Debug)]
pub(crate) struct Accepting {
    pub(crate) listener: Listener,
    /// The accept in flight; none while the shard is out of descriptors, or ends.
    pub(crate) token: Option<OpToken>,
}

/// How a shard ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// Connections may finish until this instant.
    Draining(Instant),
    /// What is left is being cut.
    Cutting(Instant),
    /// Now.
    Stopped,
}

/// How long the kernel may take to cancel what is left once a drain's deadline has passed.
pub(crate) const CUT_TIMEOUT: Duration = Duration::from_secs(1);

impl<D: Driver, H: Handler> Shard<D, H> {
    /// A shard on `driver`. Mail comes through `mailboxes[info.shard]`; `wakers` has a place for each shard's waker and
    /// gets this one's; all shards have the same `process`.
    ///
    /// # Panics
    /// If another shard has this shard's place.
    pub fn new(
        driver: D,
        handler: H,
        info: ShardInfo,
        options: Arc<EngineOptions>,
        mailboxes: Mailboxes<H::Mail>,
        wakers: Arc<[OnceLock<D::Waker>]>,
        process: Arc<Process>,
    ) -> Self {
        assert!(wakers[info.shard].set(driver.waker()).is_ok(), "a shard has a place of its own");
        let now = driver.now();
        let slots = options.limits.connections_max + Limits::REFUSALS;
        Self {
            core: Core {
                slab: Slab::new(slots as usize),
                ready: Vec::new(),
                pulls: SlotQueue::new(slots as usize),
                settled: Vec::new(),
                finishing: Vec::new(),
                has_transmitted: false,
                pace: Pace::default(),
                wheel: Wheel::new(now),
                tick: None,
                now,
                wall: WallTime::new(now, driver.wall_clock_us()),
                stamp: Tick::of(now),
                handshakes: Handshakes::default(),
                refusals: 0,
                process,
                shard: info.shard,
                mailboxes,
                wakes: Vec::new(),
                message_limits: Arc::new(options.limits.message),
                options,
                memory_bytes: 0,
                scratch: Vec::new(),
                back: Back::default(),
                held_again: None,
                long: Vec::new(),
            },
            driver,
            handler,
            transmit: Transmit::default(),
            scratch: Scratch::default(),
            accepts: Vec::new(),
            pulled: Vec::new(),
            to_drain: None,
            ending: None,
            wakers,
            mail: VecDeque::new(),
            due: Vec::new(),
            waiting: Waiting::new(),
            filled: Waiting::new(),
            busy_at: now,
            date: DateCache::default(),
            published_bytes: 0,
        }
    }

    /// Listens where its options say. Returns the addresses in the same order, with the ports that the kernel picked.
    ///
    /// # Errors
    /// The first address that cannot be listened on.
    pub fn listen(&mut self) -> Result<Vec<SocketAddr>, (SocketAddr, io::Error)> {
        let options = Arc::clone(&self.core.options);
        let listen = options.listen.iter().enumerate().map(|(index, listener)| {
            let &ListenerOptions { address, ref timeouts, ref congestion_control, .. } = listener;
            let congestion_control = congestion_control.clone();
            let (backlog, notsent_lowat_bytes) = (options.backlog, options.notsent_lowat_bytes);
            let user_timeout = timeouts.unacknowledged;
            let wanted = ListenOptions { address, backlog, notsent_lowat_bytes, user_timeout, congestion_control };
            let (listener, bound) = self.driver.listen(&wanted).map_err(|error| (address, error))?;
            self.accepts.push(Accepting { listener, token: None });
            self.accept(index);
            Ok(bound)
        });
        listen.collect()
    }

    /// One turn of the loop. Waits if there is nothing to do.
    pub fn turn(&mut self) -> io::Result<Status> {
        let wait = self.plan_wait();
        self.driver.enter(wait)?;
        if wait != Wait::No {
            self.core.mailboxes[self.core.shard].awake();
        }
        self.core.now = self.driver.now();
        self.core.wall.renew(self.core.now, || self.driver.wall_clock_us());
        self.core.stamp = Tick::of(self.core.now);
        self.core.has_transmitted = false;
        self.restage();
        self.go_on();
        self.take_in();
        if !self.core.long.is_empty() {
            self.receive_long();
        }
        self.finish();
        self.read_mail();
        self.expire();
        self.with_handler(|handler, cx| handler.on_turn_end(cx));
        self.settle();
        self.transmit_ready();
        if let Some(within) = self.to_drain.take() {
            self.drain(within);
        }
        self.shed_if_over();
        self.send_wakes();
        Ok(self.status())
    }

    /// The handler, for tests and simulations.
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// The driver, for tests and simulations.
    pub fn driver(&self) -> &D {
        &self.driver
    }

    /// Connections there are, those on their way out included.
    pub fn connections(&self) -> usize {
        self.core.slab.len()
    }

    /// Heap memory that connections hold.
    pub fn memory_bytes(&self) -> usize {
        self.core.memory_bytes
    }

    /// Calls the handler with a context.
    pub(crate) fn with_handler<R>(&mut self, call: impl FnOnce(&mut H, &mut Context<'_, H::Mail>) -> R) -> R {
        let mut cx = Context { core: &mut self.core, stage: self.driver.stage() };
        call(&mut self.handler, &mut cx)
    }

    /// Queues an operation of the connection in `slot`.
    ///
    /// A connection has at most two operations in flight and the ring has room for two of each, so none is refused.
    pub(crate) fn submit(&mut self, op: Op<D::Waker>, slot: u32) -> OpToken {
        match self.driver.submit(op, slot) {
            Ok(token) => token,
            Err((error, op)) => panic!("{error}: {op:?}, although the ring has room for each connection's"),
        }
    }

    /// Accepts on the listener of this index, until told otherwise.
    pub(crate) fn accept(&mut self, index: usize) {
        let op = Op::Accept(self.accepts[index].listener);
        let token = self.submit(op, index as u32);
        self.accepts[index].token = Some(token);
    }

    fn plan_wait(&mut self) -> Wait {
        let core = &self.core;
        let has_input = !self.waiting.is_empty() || !self.filled.is_empty() || core.pace.has_deferred();
        let has_output = !core.ready.is_empty() || !core.pulls.is_empty();
        let has_ends = !core.settled.is_empty() || !core.finishing.is_empty();
        let has_work = has_input || has_output || has_ends;
        if has_work || matches!(self.ending, Some(Ending::Stopped)) {
            return Wait::No;
        }
        if core.now < self.busy_at + core.options.spin && !core.options.spin.is_zero() {
            return Wait::No;
        }
        if !core.mailboxes[core.shard].prepare_sleep() {
            return Wait::No;
        }
        let ending = self.ending.map(|ending| match ending {
            Ending::Draining(at) | Ending::Cutting(at) => at,
            Ending::Stopped => core.now,
        });
        let deadlines = [core.wheel.next_at(), core.tick, ending];
        deadlines.into_iter().flatten().min().map_or(Wait::Forever, Wait::Until)
    }

    pub(crate) fn on_completion(&mut self, completion: Completion) {
        let Completion { token, context: slot, more, event } = completion;
        match event {
            Event::Accepted(result) => self.on_accepted(slot as usize, result, more),
            Event::PeerAddress(address) => self.on_peer_address(slot, address),
            Event::Received(mut lease) => {
                self.on_received(slot, lease.bytes());
                self.driver.release(lease);
                if !more {
                    self.on_receive_ended(slot, None);
                }
            }
            Event::Filled(bytes, result) => self.on_filled(slot, bytes, result),
            Event::NoBuffers => self.on_receive_ended(slot, None),
            Event::ReceiveFailed(error) => self.on_receive_ended(slot, Some(error)),
            Event::EndOfStream => self.on_end_of_stream(slot),
            Event::Short { data, sent, error } => self.on_short(slot, data, sent, error),
            Event::Sent(data, result) => {
                self.core.back.reuse(data);
                self.on_unblocked(slot, token, result);
            }
            Event::Writable(result) => self.on_unblocked(slot, token, result),
            Event::ShutDown => self.on_shut_down(slot),
            Event::Closed => self.on_closed(slot),
            Event::Woken => {}
        }
    }

    /// Moves what handlers staged after its connection had transmitted into this turn's arena.
    fn restage(&mut self) {
        for &slot in &self.core.ready {
            let Some(connection) = self.core.slab.try_at(slot) else { continue };
            if !connection.staged.is_empty() {
                let bytes = self.driver.staged(&connection.staged).to_vec();
                connection.staged = Staged::default();
                self.driver.stage().append(&mut connection.staged, &[&bytes]);
            }
        }
    }

    fn read_mail(&mut self) {
        let mut mail = std::mem::take(&mut self.mail);
        self.core.mailboxes[self.core.shard].take(&mut mail);
        for post in mail.drain(..) {
            self.busy_at = self.core.now;
            match post {
                Post::Mail(mail) => self.with_handler(|handler, cx| handler.on_mail(cx, mail)),
                Post::Drain(within) => self.to_drain = Some(within),
                Post::Shed => self.core.process.looks(self.core.shard),
                Post::Stop => self.ending = Some(Ending::Stopped),
            }
        }
        self.mail = mail;
    }

    /// Lets deadlines pass that have come.
    fn expire(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.core.wheel.expire(self.core.now, &mut due);
        for (slot, generation) in due.drain(..) {
            self.on_wheel(slot, generation);
        }
        self.due = due;
        if self.core.tick.is_some_and(|at| at <= self.core.now) {
            self.core.tick = None;
            self.with_handler(|handler, cx| handler.on_tick(cx));
        }
    }

    fn send_wakes(&mut self) {
        for shard in std::mem::take(&mut self.core.wakes) {
            if let Some(waker) = self.wakers[shard].get() {
                let op = Op::Wake(waker.clone());
                self.submit(op, 0);
            }
        }
    }
}
