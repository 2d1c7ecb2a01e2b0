//! What stands behind one simulated driver: descriptors, operations in flight, provided buffers, completions.
//!
//! Operations run inside `enter` only, as on a ring with `DEFER_TASKRUN`: first what was submitted, in its order, then
//! what has become possible, in random order. A transmission is over when its `enter` returns; everything else
//! completes some time after it could. The order of one operation's completions and of one stream's bytes is kept; no
//! other order is.
//!
//! A caller that breaks a rule of [`Driver`](ringwire_ring::Driver) would be punished by a real kernel later and
//! elsewhere: streams interleave, descriptors are taken for their successors. Here it panics at once.

mod buffers;
mod run;
mod table;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ringwire_ring::{Arena, Completion, Data, Event, Lease, Listener, Op, OpToken, Socket, SubmitError, Wait};

use crate::driver::SimWaker;
use crate::faults::strikes;
use crate::net::{Net, Occurrence};
use buffers::Buffers;
use table::{Kind, Operation, Table, untracked};

/// Sizes of a simulated driver. Small ones bring limits about.
#[derive(Clone, Debug)]
pub struct KernelOptions {
    /// Direct descriptors: sockets open at once.
    pub sockets_max: u32,
    /// Operations in flight at once; more are refused.
    pub operations_max: usize,
    /// Provided buffers.
    pub receive_buffers: u16,
    /// Bytes of each.
    pub receive_buffer_bytes: usize,
}

/// What was submitted and waits for `enter`.
#[derive(Debug)]
enum Queued {
    Start(u32),
    Cancel(OpToken),
    Wake(SimWaker),
}

/// A connected socket of this driver.
#[derive(Debug)]
struct Descriptor {
    connection: usize,
    finished: bool,
}

#[derive(Debug)]
pub(crate) struct Kernel {
    shard: usize,
    operations_max: usize,
    queue: Vec<Queued>,
    table: Table,
    descriptors: Vec<Option<Descriptor>>,
    buffers: Buffers,
    completions: VecDeque<Completion>,
    /// Operations to look at.
    due: Vec<u32>,
    /// Transmissions of this turn, which are over when its completions are drained.
    transmissions: Vec<OpToken>,
    drained: bool,
    woken: Arc<AtomicBool>,
    /// Whether this `enter` ends early.
    interrupted: bool,
    /// How the shard waits, while it is in `enter`.
    waits: Option<Wait>,
    standing_outside: Standing,
}

/// Whether a shard's thread could run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It could.
    GoesOn,
    /// It waits in `enter`, until then at the latest.
    Waits(Option<u64>),
    /// It has ended.
    Gone,
}

impl Kernel {
    pub(crate) fn new(shard: usize, options: &KernelOptions) -> Self {
        Self {
            shard,
            operations_max: options.operations_max,
            queue: Vec::new(),
            table: Table::default(),
            descriptors: (0..options.sockets_max).map(|_| None).collect(),
            buffers: Buffers::new(options.receive_buffers, options.receive_buffer_bytes),
            completions: VecDeque::new(),
            due: Vec::new(),
            transmissions: Vec::new(),
            drained: true,
            woken: Arc::new(AtomicBool::new(false)),
            interrupted: false,
            waits: None,
            standing_outside: Standing::GoesOn,
        }
    }

    pub(crate) fn waker(&self) -> SimWaker {
        SimWaker::new(Arc::clone(&self.woken))
    }

    /// Whether the shard can go on, or waits in its `enter`, and until when if nothing happens.
    pub(crate) fn standing(&self, now: u64) -> Standing {
        let Some(wait) = self.waits else { return self.standing_outside };
        let due = |slot: &u32| self.table.get(*slot).and_then(|operation| operation.due).is_some_and(|at| at <= now);
        if self.woken.load(Ordering::Relaxed) || self.due.iter().any(due) {
            return Standing::GoesOn;
        }
        match wait {
            Wait::No => Standing::GoesOn,
            Wait::Until(at) if at.as_nanos() <= now => Standing::GoesOn,
            Wait::Until(at) => Standing::Waits(Some(at.as_nanos())),
            Wait::Forever => Standing::Waits(None),
        }
    }

    /// The shard has ended.
    pub(crate) fn retire(&mut self) {
        self.waits = None;
        self.standing_outside = Standing::Gone;
    }

    pub(crate) fn submit(
        &mut self,
        op: Op<SimWaker>,
        context: u32,
        net: &Net,
    ) -> Result<OpToken, (SubmitError, Op<SimWaker>)> {
        if self.table.len() >= self.operations_max {
            return Err((SubmitError::Full, op));
        }
        let (kind, data) = match op {
            Op::Accept(Listener(listener)) => {
                assert_eq!(net.listener_shard(listener), Some(self.shard), "accept on a listener that is closed");
                (Kind::Accept { listener }, None)
            }
            Op::PeerAddress(socket, _) => {
                assert!(net.knows_peers(), "only a driver that knows peers is asked for them");
                (Kind::PeerAddress(socket), None)
            }
            Op::Receive(socket) => (Kind::Receive(socket), None),
            Op::Fill(socket, bytes, most) => {
                let most = most.min(bytes.capacity() - bytes.len());
                assert!(most > 0, "a receive of nothing could not be told from the end of the stream");
                (Kind::Fill { socket, most }, Some(Data::Owned { bytes, start: 0 }))
            }
            Op::Transmit(socket, data) => (Kind::Transmit(socket), Some(data)),
            Op::Send(socket, data) => {
                assert!(!matches!(data, Data::Staged(_)), "a staged range does not outlive its turn");
                (Kind::Send(socket), Some(data))
            }
            Op::Writable(socket) => (Kind::Writable(socket), None),
            Op::Close(socket) => (Kind::Close(socket), None),
            Op::Cancel(token) => return Ok(self.queue_untracked(Queued::Cancel(token))),
            Op::Shutdown(socket) => {
                let descriptor = self.descriptor(socket);
                assert!(!descriptor.finished, "{socket:?} is shut down once");
                descriptor.finished = true;
                (Kind::Shutdown(socket), None)
            }
            Op::Wake(waker) => return Ok(self.queue_untracked(Queued::Wake(waker))),
        };
        self.check(kind);
        let (token, slot) = self.table.insert(kind, context, data);
        if let Kind::Transmit(_) = kind {
            self.transmissions.push(token);
        }
        self.queue.push(Queued::Start(slot));
        Ok(token)
    }

    fn queue_untracked(&mut self, queued: Queued) -> OpToken {
        self.queue.push(queued);
        untracked()
    }

    /// Panics if the operation breaks a rule.
    fn check(&mut self, kind: Kind) {
        if let Some(socket) = kind.socket() {
            self.descriptor(socket);
            self.refuse_while(socket, "used", |kind| matches!(kind, Kind::Close(_)));
        }
        match kind {
            Kind::Accept { listener } => {
                let accepts = |(_, operation): (u32, &Operation)| operation.kind == Kind::Accept { listener };
                assert!(!self.table.iter().any(accepts), "one accept per listener");
            }
            Kind::PeerAddress(_) => {}
            Kind::Receive(socket) | Kind::Fill { socket, .. } => {
                let receives = |kind| matches!(kind, Kind::Receive(_) | Kind::Fill { .. });
                self.refuse_while(socket, "received from", receives);
            }
            Kind::Writable(socket) => self.refuse_while(socket, "waited for", |k| matches!(k, Kind::Writable(_))),
            Kind::Transmit(socket) | Kind::Send(socket) => {
                assert!(!self.descriptor(socket).finished, "{socket:?}: sending after a shutdown");
                self.refuse_while(socket, "sent on", |k| matches!(k, Kind::Transmit(_) | Kind::Send(_)));
            }
            Kind::Shutdown(socket) => self.refuse_while(socket, "shut down", |k| matches!(k, Kind::Send(_))),
            Kind::Close(socket) => self.refuse_close(socket),
        }
    }

    /// Panics if anything is in flight on the socket. A transmission that was entered is not: the kernel is done with
    /// it, though its completion may not have been read.
    fn refuse_close(&self, socket: Socket) {
        let over = |operation: &Operation| operation.submitted && matches!(operation.kind, Kind::Transmit(_));
        for (_, operation) in self.table.iter() {
            let clashes = operation.kind.socket() == Some(socket) && !over(operation);
            assert!(!clashes, "{socket:?} is closed while in flight: {operation:?}");
        }
    }

    /// Panics if an operation of such a kind is in flight on the socket.
    fn refuse_while(&self, socket: Socket, what: &str, rule: impl Fn(Kind) -> bool) {
        for (_, operation) in self.table.iter() {
            let clashes = operation.kind.socket() == Some(socket) && rule(operation.kind);
            assert!(!clashes, "{socket:?} is {what} while in flight: {operation:?}");
        }
    }

    fn descriptor(&mut self, socket: Socket) -> &mut Descriptor {
        let place = self.descriptors.get_mut(socket.0 as usize).and_then(Option::as_mut);
        place.unwrap_or_else(|| panic!("{socket:?} is used but not open"))
    }

    fn connection(&self, socket: Socket) -> usize {
        self.descriptors[socket.0 as usize].as_ref().expect("checked at submission").connection
    }

    /// The first half of an `enter`: starts what was submitted. `arena` holds this turn's staged bytes.
    pub(crate) fn enter(&mut self, wait: Wait, arena: &Arena, net: &mut Net) {
        assert!(self.completions.is_empty() && self.drained, "completions are drained before the next enter");
        self.drained = false;
        for queued in std::mem::take(&mut self.queue) {
            match queued {
                Queued::Start(slot) => self.start(slot, arena, net),
                Queued::Cancel(token) => self.cancel(token, net),
                Queued::Wake(waker) => waker.set(),
            }
        }
        self.interrupted = strikes(&mut net.rng, net.faults.interrupted);
        self.waits = Some(if self.interrupted { Wait::No } else { wait });
    }

    /// The second half, once the shard [goes on](Self::standing): collects what has become possible. False if that
    /// completed nothing and the wait is not over, unless it is `at_the_end`.
    pub(crate) fn leave(&mut self, at_the_end: bool, net: &mut Net) -> bool {
        let spurious = strikes(&mut net.rng, net.faults.spurious_wake);
        if self.woken.swap(false, Ordering::Relaxed) || spurious {
            let woken = Completion { token: untracked(), context: 0, more: true, event: Event::Woken };
            self.completions.push_back(woken);
        }
        self.run_due(self.interrupted, net);
        let over = match self.waits {
            None | Some(Wait::No) => true,
            Some(Wait::Until(at)) => at.as_nanos() <= net.now,
            Some(Wait::Forever) => false,
        };
        let leaves = over || at_the_end || !self.completions.is_empty();
        if leaves {
            self.waits = None;
        }
        leaves
    }

    /// The next completion. Transmissions without one are over when there is none left.
    pub(crate) fn complete(&mut self) -> Option<Completion> {
        if let Some(completion) = self.completions.pop_front() {
            return Some(completion);
        }
        if !self.drained {
            self.drained = true;
            // Those submitted since, while completions were being drained, belong to the next enter.
            let table = &mut self.table;
            self.transmissions.retain(|&token| {
                let Some(slot) = table.find(token) else { return false };
                let submitted = table.at(slot).submitted;
                if submitted {
                    table.remove(slot);
                }
                !submitted
            });
        }
        None
    }

    pub(crate) fn release(&mut self, lease: Lease) {
        self.buffers.give_back(lease);
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn leased(&self) -> usize {
        self.buffers.leased()
    }

    /// Panics if the listener is still being accepted from.
    pub(crate) fn assert_no_accept(&self, Listener(listener): Listener) {
        let accepts = |(_, operation): (u32, &Operation)| operation.kind == Kind::Accept { listener };
        assert!(!self.table.iter().any(accepts), "a listener is closed while its accept is in flight");
    }

    /// Sockets open.
    pub(crate) fn open(&self) -> usize {
        self.descriptors.iter().flatten().count()
    }

    /// Panics if anything is left of the run.
    pub(crate) fn assert_nothing_left(&self) {
        let shard = self.shard;
        assert_eq!(self.open(), 0, "shard {shard}: descriptors leaked");
        assert_eq!(self.leased(), 0, "shard {shard}: leases leaked");
        assert!(self.completions.is_empty(), "shard {shard}: completions left");
        let left: Vec<_> = self.table.iter().map(|(_, operation)| operation.kind).collect();
        assert!(left.is_empty(), "shard {shard}: operations leaked: {left:?}");
    }

    /// Has the operation looked at, now or a little later.
    fn make_due(&mut self, slot: u32, net: &mut Net) {
        let operation = self.table.at(slot);
        if operation.due.is_some() {
            return;
        }
        let mut at = net.now;
        if strikes(&mut net.rng, net.faults.late_completion) {
            at += net.rng.u64(1..=2_000_000);
            net.schedule(at, Occurrence::Nudge);
        }
        operation.due = Some(at);
        self.due.push(slot);
    }
}
