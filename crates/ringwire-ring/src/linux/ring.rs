//! The driver itself.
//!
//! How a turn goes: `submit` writes submission queue entries; `enter` hands them all over, waits, and returns;
//! `complete` reads the completion queue until it is empty. Three facts carry the design:
//!
//! - A transmission ([`Op::Transmit`]) is a send with `MSG_DONTWAIT`, so it runs inside `io_uring_enter` and never
//!   outlives it: the kernel neither parks it (`REQ_F_NOWAIT`) nor hands it to a worker. With `MSG_WAITALL` a short
//!   one counts as failed, so `CQE_SKIP_SUCCESS` leaves exactly the short ones to complete, and their completions
//!   are there when `enter` returns.
//! - All completions are drained before the next `enter` and operations in flight never exceed the completion
//!   queue, so the completions of one submission always fit.
//! - What the kernel can see is owned by the table, the arenas or the buffer ring until the kernel has given it up,
//!   and if that cannot be had at the end, it is leaked.

use std::io;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, Fixed, Timespec};
use io_uring::{cqueue, opcode};

use super::buffers::{BufferRing, GROUP};
use super::client::Adopted;
use super::enter::{IORING_ENTER_GETEVENTS, RingFd};
use super::features::{Features, Unavailable, set_up};
use super::outcome::{check, filled, sent, short};
use super::peer;
use super::socket::{self, Family};
use super::table::{Kind, Table, UserData, untracked};
use super::wake::RingWaker;
use crate::arena::{Arena, Stage, Staged};
use crate::clock::{Clock, Instant, wall_clock_us};
use crate::data::Data;
use crate::driver::{Driver, ListenOptions, Wait, Waker};
use crate::op::{Completion, Event, Lease, Listener, Op, OpToken, Socket, SubmitError};

/// Sizes of a ring.
#[derive(Clone, Debug)]
pub struct RingOptions {
    /// Submission queue entries; 64 bytes each. More operations than this in one turn cost one more system call
    /// per so many.
    pub submission_entries: u32,
    /// Direct descriptors: sockets open at once. Kernel memory only; bounded by `RLIMIT_NOFILE`.
    pub sockets_max: u32,
    /// Buffers of the buffer ring, a power of two of at most 32,768.
    pub receive_buffers: u16,
    /// Bytes of each. Memory of the ring: `receive_buffers * receive_buffer_bytes`, touched as traffic needs it. A kernel
    /// that can (6.12) fills it in larger chunks, several receives in each.
    pub receive_buffer_bytes: u32,
    /// Whether several receives may fill one chunk, where the kernel can. Without it, as on kernels before 6.12, each takes a
    /// buffer of its own.
    pub incremental_buffers: bool,
    /// What tells the time. Instants of rings with the same clock compare.
    pub clock: Clock,
}

/// Fewest completion queue entries, for rings with few sockets.
const COMPLETION_ENTRIES_MIN: u32 = 4096;
/// Most that the kernel grants (`IORING_MAX_CQ_ENTRIES`).
const COMPLETION_ENTRIES_MAX: u32 = 65_536;
/// Operations in flight per socket: a receive, and a send or a wait for room, and a close in passing.
const OPERATIONS_PER_SOCKET: u32 = 2;

/// Accepts, and closes of sockets that found no place.
const OPERATIONS_BESIDES: u32 = 128;

/// A [`Driver`] on io_uring. Belongs to the thread that made it.
#[derive(Debug)]
pub struct Ring {
    // Dropped by hand: first the ring ends, then the memory that the kernel saw is freed.
    pub(super) kernel: ManuallyDrop<Kernel>,
    pub(super) seen: ManuallyDrop<Seen>,
    features: Features,
    listeners: Vec<Listening>,
    pub(super) adopted: Adopted,
    completion_entries: usize,
    clock: Clock,
    turn: u32,
    /// Why the ring takes no more submissions; the next `enter` says it.
    failed: Option<io::Error>,
    /// Whether all completions of the last `enter` have been read.
    drained: bool,
    /// Wakers whose messages may not have been sent yet.
    waking: Vec<RingWaker>,
    /// Transmissions that wait for the next `enter`.
    transmissions: Vec<OpToken>,
    /// Those that the last `enter` handed over. They have ended once its completions are drained.
    entered: Vec<OpToken>,
}

/// A listening socket, until it is closed, and which family of addresses it has.
#[derive(Debug)]
struct Listening {
    socket: Option<OwnedFd>,
    family: Family,
}

#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) ring: RingFd,
    waker: RingWaker,
}

/// Memory that the kernel sees while operations are in flight.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) table: Table,
    buffers: BufferRing,
    arenas: [Arena; 2],
}

impl Ring {
    /// Most sockets that a ring can have, so that a completion fits for each operation.
    pub const SOCKETS_MAX: u32 = (COMPLETION_ENTRIES_MAX - OPERATIONS_BESIDES) / OPERATIONS_PER_SOCKET;

    /// Sets up a ring for the calling thread.
    pub fn new(options: &RingOptions) -> Result<Self, Unavailable> {
        assert!(options.sockets_max <= Self::SOCKETS_MAX, "more sockets than completions fit");
        let wanted = options.sockets_max * OPERATIONS_PER_SOCKET + OPERATIONS_BESIDES;
        let entries = wanted.next_power_of_two().max(COMPLETION_ENTRIES_MIN);
        let (mut ring, no_sq_array) = set_up(options.submission_entries, entries)?;
        let peer_address = peer::probe(&mut ring);
        let buffers = BufferRing::register(
            &ring.submitter(),
            options.receive_buffers,
            options.receive_buffer_bytes,
            options.incremental_buffers,
        )
        .map_err(Unavailable::from_setup)?;
        ring.submitter()
            .register_files_sparse(options.sockets_max)
            .map_err(|error| Unavailable::from_descriptors(&error, options.sockets_max))?;
        let waker = RingWaker::new(ring.as_raw_fd()).map_err(Unavailable::Other)?;
        let ring = RingFd::new(ring);
        let features = Features::of(ring.ring.params(), no_sq_array, ring.is_registered(), peer_address);
        let features = Features { incremental_buffers: buffers.is_incremental(), ..features };
        let completion_entries = ring.ring.params().cq_entries() as usize;
        let mut this = Self {
            kernel: ManuallyDrop::new(Kernel { ring, waker }),
            seen: ManuallyDrop::new(Seen {
                table: Table::new(wanted as usize),
                buffers,
                arenas: [Arena::new(0), Arena::new(u32::MAX)],
            }),
            features,
            listeners: Vec::new(),
            adopted: Adopted::new(options.sockets_max),
            completion_entries,
            clock: options.clock,
            turn: 0,
            failed: None,
            drained: true,
            waking: Vec::new(),
            transmissions: Vec::new(),
            entered: Vec::new(),
        };
        this.poll_wakes();
        Ok(this)
    }

    /// What this kernel offers.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// Whether a completion of one operation more fits.
    pub(super) fn has_room(&self) -> Result<(), SubmitError> {
        if self.seen.table.len() < self.completion_entries { Ok(()) } else { Err(SubmitError::Full) }
    }

    /// Writes an entry into the submission queue, making room with a system call if it is full.
    pub(super) fn push(&mut self, entry: &Entry) {
        // SAFETY: `submit` and `poll_wakes` build entries whose buffers live in `seen` until the operation has ended,
        // and whose other arguments are numbers.
        while unsafe { self.kernel.ring.ring.submission().push(entry) }.is_err() {
            // Without GETEVENTS no deferred work runs: only what completes at once is posted, and read after the next
            // `enter` at the latest.
            if let Err(error) = self.kernel.ring.enter(0, 0, None) {
                self.failed = Some(error);
                return;
            }
        }
    }

    /// Keeps a poll on the wake eventfd. Multishot, so a wake costs a completion and no read of the eventfd.
    fn poll_wakes(&mut self) {
        let fd = Fd(self.kernel.waker.event_fd());
        let poll = opcode::PollAdd::new(fd, libc::POLLIN as u32).multi(true);
        self.push(&poll.build().user_data(untracked(Kind::WakePoll)));
    }

    pub(super) fn token(&mut self, kind: Kind, context: u32, data: Option<Data>) -> (OpToken, u32) {
        self.seen.table.insert(kind, context, data)
    }

    /// Address and length of what the operation in `slot` sends.
    fn bytes_of(&self, slot: u32) -> (*const u8, u32) {
        let data = self.seen.table.data(slot).expect("a send has data");
        let pointer = match data {
            Data::Staged(staged) => self.staged(staged).as_ptr(),
            Data::Shared(shared) => shared.as_ptr(),
            Data::Owned { bytes, start } => bytes[*start..].as_ptr(),
        };
        let len = i32::try_from(data.len()).expect("one send is shorter than 2 GiB: its result is an i32");
        (pointer, len.unsigned_abs())
    }

    /// Ends what `enter` has finished without a completion: the transmissions that went out whole. Short ones have
    /// ended already, and their places may have gone to operations submitted since.
    fn settle(&mut self) {
        for token in self.entered.drain(..) {
            self.seen.table.end(token);
        }
        self.waking.clear();
        // After a failure completions may be left that nobody has read, and the kernel is further than is known.
        if self.failed.is_none() {
            self.seen.buffers.end_turn();
        }
    }

    /// Turns a completion queue entry into a completion, or `None` if it is the driver's own affair.
    fn read(&mut self, entry: &cqueue::Entry) -> Option<Completion> {
        let name = UserData::parse(entry.user_data())?;
        let (result, flags) = (entry.result(), entry.flags());
        let more = cqueue::more(flags);
        let (token, slot) = (OpToken::new(entry.user_data()), name.slot);
        match name.kind {
            Kind::Quiet => return None,
            // The other ring's thread must not sleep on because the kernel had no memory for a message.
            Kind::Wake => {
                if let Some(waker) = self.waking.get(slot as usize) {
                    waker.wake();
                }
                return None;
            }
            Kind::Woken | Kind::WakePoll => {
                if name.kind == Kind::WakePoll && !more {
                    self.poll_wakes();
                }
                return Some(Completion { token, context: 0, more: true, event: Event::Woken });
            }
            Kind::Accept
            | Kind::PeerAddress
            | Kind::Receive
            | Kind::Fill
            | Kind::Transmit
            | Kind::Send
            | Kind::Writable
            | Kind::Close
            | Kind::Shutdown => {}
        }
        let Some(context) = self.seen.table.context(name) else {
            return self.orphan(name.kind, result, flags);
        };
        let data = if more { None } else { self.seen.table.remove(slot) };
        let event = match name.kind {
            Kind::Accept => Event::Accepted(check(result).map(Socket)),
            Kind::PeerAddress => peer::event(data, result),
            Kind::Receive => self.received(result, flags),
            Kind::Fill => filled(data, result),
            Kind::Transmit => short(data.expect("a transmission has data"), result),
            Kind::Send => sent(data.expect("a send has data"), result),
            Kind::Writable => Event::Writable(check(result).map(drop)),
            Kind::Close => {
                self.adopted.vacate(self.seen.table.number(slot));
                Event::Closed
            }
            Kind::Shutdown => Event::ShutDown,
            Kind::Quiet | Kind::Wake | Kind::Woken | Kind::WakePoll => unreachable!("returned above"),
        };
        Some(Completion { token, context, more, event })
    }

    fn received(&mut self, result: i32, flags: u32) -> Event {
        if let Some(lease) = self.filled(result, flags) {
            return Event::Received(lease);
        }
        match -result {
            ..=0 => Event::EndOfStream,
            libc::ENOBUFS => {
                self.seen.buffers.ran_out();
                Event::NoBuffers
            }
            errno => Event::ReceiveFailed(io::Error::from_raw_os_error(errno)),
        }
    }

    /// What a receive has filled, if anything.
    fn filled(&mut self, result: i32, flags: u32) -> Option<Lease> {
        let id = cqueue::buffer_select(flags)?;
        if result > 0 {
            return Some(self.seen.buffers.take(id, result as usize, cqueue::buffer_more(flags)));
        }
        self.seen.buffers.skip(id);
        None
    }

    /// Takes back what a completion carries whose operation is not known (any more): its buffer or descriptor.
    fn orphan(&mut self, kind: Kind, result: i32, flags: u32) -> Option<Completion> {
        match kind {
            Kind::Receive => {
                if let Some(lease) = self.filled(result, flags) {
                    self.seen.buffers.give_back(lease);
                }
            }
            Kind::Accept => {
                if let Ok(descriptor) = check(result) {
                    let close = opcode::Close::new(Fixed(descriptor)).build().flags(Flags::SKIP_SUCCESS);
                    self.push(&close.user_data(untracked(Kind::Quiet)));
                }
            }
            _ => {}
        }
        None
    }

    /// Cancels everything and waits, for a bounded time, until nothing is in flight.
    fn end(&mut self) -> io::Result<()> {
        const TIMEOUT: Duration = Duration::from_secs(1);
        while self.complete().is_some() {}
        // One by one: the kernel finds an operation by its name at once, but for "any" it walks over all those it has
        // cancelled already, again and again.
        for token in self.seen.table.tokens() {
            let cancel = opcode::AsyncCancel::new(token.bits()).build().flags(Flags::SKIP_SUCCESS);
            self.push(&cancel.user_data(untracked(Kind::Quiet)));
        }
        let deadline = self.clock.now() + TIMEOUT;
        while self.seen.table.len() > 0 {
            if self.clock.now() >= deadline {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            self.enter(Wait::Until(deadline))?;
            while self.complete().is_some() {}
        }
        Ok(())
    }
}

impl Driver for Ring {
    type Waker = RingWaker;

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn wall_clock_us(&self) -> u64 {
        wall_clock_us()
    }

    fn waker(&self) -> RingWaker {
        self.kernel.waker.clone()
    }

    fn listen(&mut self, options: &ListenOptions) -> io::Result<(Listener, SocketAddr)> {
        let (socket, address) = socket::listen(options)?;
        self.listeners.push(Listening { socket: Some(socket), family: Family::of(&address) });
        let index = u32::try_from(self.listeners.len() - 1).expect("few listeners");
        Ok((Listener(index), address))
    }

    fn knows_peers(&self) -> bool {
        self.features.peer_address
    }

    fn close_listener(&mut self, listener: Listener) {
        self.listeners[listener.0 as usize].socket = None;
    }

    fn submit(&mut self, op: Op<RingWaker>, context: u32) -> Result<OpToken, (SubmitError, Op<RingWaker>)> {
        if let Err(full) = self.has_room() {
            return Err((full, op));
        }
        let (entry, token) = match op {
            Op::Accept(listener) => {
                let Some(fd) = self.listeners.get(listener.0 as usize).and_then(|found| found.socket.as_ref()) else {
                    panic!("accept on a listener that is closed");
                };
                let accept = opcode::AcceptMulti::new(Fd(fd.as_raw_fd())).allocate_file_index(true);
                (accept.build(), self.token(Kind::Accept, context, None).0)
            }
            Op::PeerAddress(socket, listener) => {
                assert!(self.features.peer_address, "only a driver that knows peers is asked for them");
                let room = peer::room(self.listeners[listener.0 as usize].family);
                let (token, slot) = self.token(Kind::PeerAddress, context, Some(room));
                let (pointer, len) = self.seen.table.room(slot);
                (peer::command(socket, pointer, len), token)
            }
            Op::Receive(socket) => {
                let receive = opcode::RecvMulti::new(Fixed(socket.0), GROUP);
                (receive.build(), self.token(Kind::Receive, context, None).0)
            }
            Op::Fill(socket, bytes, most) => {
                let (token, slot) = self.token(Kind::Fill, context, Some(Data::Owned { bytes, start: 0 }));
                let (pointer, room) = self.seen.table.spare(slot);
                let len = room.min(most).min(i32::MAX as usize) as u32;
                assert!(len > 0, "a receive of nothing could not be told from the end of the stream");
                (opcode::Recv::new(Fixed(socket.0), pointer, len).build(), token)
            }
            Op::Transmit(socket, data) => {
                let (token, slot) = self.token(Kind::Transmit, context, Some(data));
                self.transmissions.push(token);
                let (pointer, len) = self.bytes_of(slot);
                let flags = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
                let send = opcode::Send::new(Fixed(socket.0), pointer, len).flags(flags);
                (send.build().flags(Flags::SKIP_SUCCESS), token)
            }
            Op::Send(socket, data) => {
                assert!(!matches!(data, Data::Staged(_)), "a staged range does not outlive its turn");
                let (token, slot) = self.token(Kind::Send, context, Some(data));
                let (pointer, len) = self.bytes_of(slot);
                let send = opcode::Send::new(Fixed(socket.0), pointer, len);
                (send.flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL).build(), token)
            }
            Op::Writable(socket) => {
                let poll = opcode::PollAdd::new(Fixed(socket.0), libc::POLLOUT as u32);
                (poll.build(), self.token(Kind::Writable, context, None).0)
            }
            Op::Close(socket) => {
                let (token, slot) = self.token(Kind::Close, context, None);
                self.seen.table.set_number(slot, socket.0);
                (opcode::Close::new(Fixed(socket.0)).build(), token)
            }
            Op::Shutdown(socket) => {
                let shutdown = opcode::Shutdown::new(Fixed(socket.0), libc::SHUT_WR);
                (shutdown.build(), self.token(Kind::Shutdown, context, None).0)
            }
            Op::Cancel(token) => (opcode::AsyncCancel::new(token.bits()).build().flags(Flags::SKIP_SUCCESS), quiet()),
            Op::Wake(waker) => {
                let message = opcode::MsgRingData::new(Fd(waker.ring_fd()), 0, untracked(Kind::Woken), None);
                // The low bits name the waker, which is kept until its descriptor has been used.
                let token = OpToken::new(untracked(Kind::Wake) | self.waking.len() as u64);
                self.waking.push(waker);
                (message.build().flags(Flags::SKIP_SUCCESS), token)
            }
        };
        self.push(&entry.user_data(token.bits()));
        Ok(token)
    }

    fn stage(&mut self) -> Stage<'_> {
        Stage::new(&mut self.seen.arenas[(self.turn % 2) as usize])
    }

    fn staged(&self, staged: &Staged) -> &[u8] {
        let index = (staged.turn() % 2) as usize;
        self.seen.arenas[index].bytes(staged)
    }

    fn take_staged(&mut self, staged: &Staged, skip: usize, len: usize) -> (Vec<u8>, usize) {
        let index = (staged.turn() % 2) as usize;
        self.seen.arenas[index].take(staged, skip, len)
    }

    fn enter(&mut self, wait: Wait) -> io::Result<()> {
        assert!(self.drained, "completions are drained before the next enter, so that those of its submissions fit");
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let (want, timeout) = match wait {
            Wait::No => (0, None),
            Wait::Forever => (1, None),
            Wait::Until(deadline) => match deadline.since(self.clock.now()) {
                Duration::ZERO => (0, None),
                timeout => (1, Some(Timespec::from(timeout))),
            },
        };
        self.kernel.ring.enter(want, IORING_ENTER_GETEVENTS, timeout.as_ref())?;
        // Entries are left only if the kernel was out of memory for requests (EAGAIN); they must go before any
        // transmission may be taken for done.
        while !self.kernel.ring.ring.submission().is_empty() {
            self.kernel.ring.enter(0, IORING_ENTER_GETEVENTS, None)?;
        }
        self.drained = false;
        self.entered.append(&mut self.transmissions);
        self.turn = self.turn.wrapping_add(1);
        self.seen.arenas[(self.turn % 2) as usize].reset(self.turn);
        Ok(())
    }

    fn complete(&mut self) -> Option<Completion> {
        loop {
            let Some(entry) = self.kernel.ring.ring.completion().next() else {
                // Multishot receives may have filled the queue; what found no room comes in now, short ones included.
                if self.kernel.ring.ring.submission().cq_overflow() {
                    match self.kernel.ring.flush_overflow() {
                        Ok(()) => continue,
                        Err(error) => self.failed = Some(error),
                    }
                }
                self.settle();
                self.drained = true;
                return None;
            };
            if let Some(completion) = self.read(&entry) {
                return Some(completion);
            }
        }
    }

    fn release(&mut self, lease: Lease) {
        self.seen.buffers.give_back(lease);
    }

    fn in_flight(&self) -> usize {
        self.seen.table.len()
    }

    fn leased(&self) -> usize {
        self.seen.buffers.leased()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // A waker somewhere may keep the ring itself alive, so everything is taken back by name.
        let ended = self.end().is_ok();
        let submitter = self.kernel.ring.ring.submitter();
        let released = submitter.unregister_buf_ring(GROUP).is_ok();
        let _ = submitter.unregister_files();
        // SAFETY: dropped once, here, and not used afterwards.
        unsafe { ManuallyDrop::drop(&mut self.kernel) };
        if ended && released {
            // SAFETY: dropped once, here; nothing is in flight and the buffer ring is the kernel's no more, so it uses
            // none of this memory.
            unsafe { ManuallyDrop::drop(&mut self.seen) };
        }
    }
}

const fn quiet() -> OpToken {
    OpToken::new(untracked(Kind::Quiet))
}
