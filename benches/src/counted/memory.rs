//! A [`Driver`] without a kernel: what arrives is put there by hand, and what is transmitted is counted.
//!
//! It does as little as the contract of a driver allows, so that what a turn executes is the engine's and the handler's.
//! Its clock stands still unless it is moved. What it must never do: depend on anything outside the process.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use ringwire_ring::{
    Arena, Buffer, Completion, Data, Driver, Event, Instant, Lease, ListenOptions, Listener, Op, OpToken, Socket,
    Stage, Staged, SubmitError, Wait, Waker,
};

/// Bytes of a receive buffer, as the server has them by default.
const BUFFER_BYTES: usize = 32 * 1024;

/// Wakes nobody: all happens on one thread.
#[derive(Clone, Debug)]
pub struct Nobody;

impl Waker for Nobody {
    fn wake(&self) {}
}

/// The driver. The shard has it; who feeds it has its [`Wires`].
#[derive(Debug)]
pub struct Memory {
    arenas: [Arena; 2],
    turn: u32,
    wires: Wires,
}

/// The other end of a [`Memory`]'s sockets.
#[derive(Clone, Debug, Default)]
pub struct Wires(Rc<RefCell<State>>);

#[derive(Debug, Default)]
struct State {
    now: u64,
    operations: u64,
    accept: Option<(OpToken, u32)>,
    receives: Vec<Option<(OpToken, u32)>>,
    /// What the next `enter` brings, and what is left of what the last one brought.
    coming: VecDeque<Completion>,
    here: VecDeque<Completion>,
    /// Transmissions of this turn.
    transmitting: Vec<Data>,
    buffers: Vec<Buffer>,
    sent_bytes: u64,
    transmissions: u64,
    /// What was sent, while it is listened to.
    heard: Option<Vec<u8>>,
}

impl Memory {
    /// A driver with no connections, and the other end of those to come.
    pub fn new() -> (Self, Wires) {
        let wires = Wires::default();
        let arenas = [Arena::new(0), Arena::new(u32::MAX)];
        (Self { arenas, turn: 0, wires: wires.clone() }, wires)
    }

    fn arena(&mut self) -> &mut Arena {
        &mut self.arenas[(self.turn % 2) as usize]
    }
}

impl Wires {
    /// A client connects. It is accepted in the next turn.
    pub fn connect(&self) -> Socket {
        let state = &mut *self.0.borrow_mut();
        let socket = Socket(u32::try_from(state.receives.len()).expect("few sockets"));
        state.receives.push(None);
        let (token, context) = state.accept.expect("the shard accepts");
        let event = Event::Accepted(Ok(socket));
        state.coming.push_back(Completion { token, context, more: true, event });
        socket
    }

    /// Bytes come in on a socket, in one receive buffer.
    pub fn arrive(&self, Socket(socket): Socket, bytes: &[u8]) {
        let state = &mut *self.0.borrow_mut();
        let (token, context) = state.receives[socket as usize].expect("the shard receives");
        let mut buffer = state.buffers.pop().unwrap_or_else(|| Buffer::from(vec![0; BUFFER_BYTES].into_boxed_slice()));
        buffer[..bytes.len()].copy_from_slice(bytes);
        let event = Event::Received(Lease { id: 0, buffer, len: bytes.len(), start: 0 });
        state.coming.push_back(Completion { token, context, more: true, event });
    }

    /// Time passes.
    pub fn pass(&self, micros: u64) {
        self.0.borrow_mut().now += micros * 1000;
    }

    /// Listens to what is sent from here on.
    pub fn listen(&self) {
        self.0.borrow_mut().heard = Some(Vec::new());
    }

    /// What was sent since then, one transmission after the other.
    pub fn heard(&self) -> Vec<u8> {
        self.0.borrow_mut().heard.take().unwrap_or_default()
    }

    /// Transmissions, and their bytes, since the beginning.
    pub fn sent(&self) -> (u64, u64) {
        let state = self.0.borrow();
        (state.transmissions, state.sent_bytes)
    }
}

impl State {
    fn token(&mut self) -> OpToken {
        self.operations += 1;
        OpToken::new(self.operations)
    }

    fn complete(&mut self, token: OpToken, context: u32, event: Event) {
        self.coming.push_back(Completion { token, context, more: false, event });
    }

    fn cancel(&mut self, wanted: OpToken) {
        let found = self.receives.iter_mut().find(|receive| receive.is_some_and(|(token, _)| token == wanted));
        if let Some((token, context)) = found.and_then(Option::take) {
            let cancelled = io::Error::from(io::ErrorKind::Interrupted);
            self.complete(token, context, Event::ReceiveFailed(cancelled));
        }
    }
}

impl Driver for Memory {
    type Waker = Nobody;

    fn now(&self) -> Instant {
        Instant::from_nanos(self.wires.0.borrow().now)
    }

    fn wall_clock_us(&self) -> u64 {
        self.wires.0.borrow().now / 1000
    }

    fn waker(&self) -> Nobody {
        Nobody
    }

    fn listen(&mut self, options: &ListenOptions) -> io::Result<(Listener, SocketAddr)> {
        Ok((Listener(0), options.address))
    }

    fn knows_peers(&self) -> bool {
        false
    }

    fn close_listener(&mut self, _: Listener) {}

    fn submit(&mut self, op: Op<Nobody>, context: u32) -> Result<OpToken, (SubmitError, Op<Nobody>)> {
        let wires = self.wires.clone();
        let state = &mut *wires.0.borrow_mut();
        let token = state.token();
        match op {
            Op::Accept(_) => state.accept = Some((token, context)),
            Op::Receive(Socket(socket)) => state.receives[socket as usize] = Some((token, context)),
            Op::Transmit(_, data) => {
                state.transmissions += 1;
                state.sent_bytes += data.len() as u64;
                if let Some(heard) = &mut state.heard {
                    match &data {
                        Data::Staged(staged) => heard.extend_from_slice(self.arena().bytes(staged)),
                        Data::Shared(shared) => shared.copy_to(heard),
                        Data::Owned { bytes, start } => heard.extend_from_slice(&bytes[*start..]),
                    }
                }
                state.transmitting.push(data);
            }
            Op::Send(_, data) => state.complete(token, context, Event::Sent(data, Ok(()))),
            Op::Writable(_) => state.complete(token, context, Event::Writable(Ok(()))),
            Op::Shutdown(_) => state.complete(token, context, Event::ShutDown),
            Op::Close(_) => state.complete(token, context, Event::Closed),
            Op::Cancel(wanted) => state.cancel(wanted),
            Op::Fill(..) => panic!("no message here is longer than a receive"),
            Op::PeerAddress(..) => panic!("a driver that knows no peers is asked for one"),
            Op::Wake(_) => {}
        }
        Ok(token)
    }

    fn stage(&mut self) -> Stage<'_> {
        Stage::new(self.arena())
    }

    /// Only what a socket has refused is read again, and none refuses anything here.
    fn staged(&self, staged: &Staged) -> &[u8] {
        self.arenas[(self.turn % 2) as usize].bytes(staged)
    }

    fn take_staged(&mut self, staged: &Staged, skip: usize, len: usize) -> (Vec<u8>, usize) {
        self.arenas[(self.turn % 2) as usize].take(staged, skip, len)
    }

    fn enter(&mut self, _: Wait) -> io::Result<()> {
        let mut state = self.wires.0.borrow_mut();
        let state = &mut *state;
        assert!(state.here.is_empty(), "completions are drained before the next enter");
        state.transmitting.clear();
        std::mem::swap(&mut state.here, &mut state.coming);
        self.turn = self.turn.wrapping_add(1);
        self.arenas[(self.turn % 2) as usize].reset(self.turn);
        Ok(())
    }

    fn complete(&mut self) -> Option<Completion> {
        self.wires.0.borrow_mut().here.pop_front()
    }

    fn release(&mut self, lease: Lease) {
        self.wires.0.borrow_mut().buffers.push(lease.buffer);
    }

    fn in_flight(&self) -> usize {
        self.wires.0.borrow().receives.iter().flatten().count()
    }

    fn leased(&self) -> usize {
        0
    }
}
