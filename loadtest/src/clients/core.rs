//! What a workload may reach while it is called: the ring, the connections, and what is to be done next turn.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ringwire_codec::{MaskKey, Opcode, encode_frame};
use ringwire_ring::linux::Ring;
use ringwire_ring::{Data, Driver, Instant, Op, OpToken, Staged};

use super::handshake::Opening;
use super::link::{Link, Phase};
use super::throttle::{RECEIVE_BUFFER_BYTES, Throttle};
use super::timers::{Due, Timer, Timers};
use super::{Door, End, TcpMessages};

/// Most that waits for a socket to take it. A server that takes nothing ends its connection when there is more.
pub(super) const BACKLOG_BYTES_MAX: usize = 64 << 20;
/// How long a connection may take to open.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the server has to agree to a close.
const GOOD_BYE: Duration = Duration::from_secs(1);
/// A client's frames are masked with a key of its choice (RFC 6455 §5.3).
const MASK: MaskKey = MaskKey::new([7, 3, 5, 1]);

/// What a workload is to hear with the next turn.
#[derive(Debug)]
pub(super) enum News {
    /// A raw connection is open.
    Open(TcpMessages),
    Ended(End),
}

#[derive(Debug)]
pub(super) struct Core {
    pub(super) ring: Ring,
    pub(super) links: Vec<Link>,
    /// Numbers that may be used again.
    free: Vec<u32>,
    /// Connections that have something to send.
    ready: Vec<u32>,
    /// What TLS makes of what is sent, for as long as a call takes.
    sealed: Vec<u8>,
    pub(super) news: VecDeque<(u32, News)>,
    /// Those that wait to be opened, and maybe some that do not any more.
    pub(super) waiting: VecDeque<u32>,
    /// How many are being opened, and may be at a time.
    pub(super) connecting: usize,
    pub(super) connecting_max: usize,
    /// How many have ended and not given back their descriptors.
    pub(super) leaving: usize,
    /// Connections that were asked for.
    asked: u64,
    pub(super) patience: Duration,
    pub(super) timers: Timers,
    pub(super) random: fastrand::Rng,
}

impl Core {
    pub(super) fn new(ring: Ring, connecting_max: usize) -> Self {
        Self {
            ring,
            links: Vec::new(),
            free: Vec::new(),
            ready: Vec::new(),
            sealed: Vec::new(),
            news: VecDeque::new(),
            waiting: VecDeque::new(),
            connecting: 0,
            connecting_max: connecting_max.max(1),
            leaving: 0,
            asked: 0,
            patience: PATIENCE,
            timers: Timers::default(),
            random: fastrand::Rng::new(),
        }
    }

    /// Puts a connection into the queue of those to be opened.
    pub(super) fn open(&mut self, door: &Arc<Door>) -> usize {
        let number = self.free.pop().unwrap_or_else(|| {
            self.links.push(Link::default());
            u32::try_from(self.links.len() - 1).expect("fewer than 2^32 connections")
        });
        self.asked += 1;
        let nonce = self.random.u128(..).to_ne_bytes();
        let opening = Opening::new(Arc::clone(door), self.asked, nonce);
        self.links[number as usize].phase = Phase::Waiting(Box::new(opening));
        self.waiting.push_back(number);
        number as usize
    }

    /// Sends bytes with the next turn, behind what was sent before.
    #[inline]
    pub(super) fn send(&mut self, link: usize, bytes: &[u8]) {
        let connection = &mut self.links[link];
        if connection.send.is_some() && connection.tls.is_none() {
            return self.wait_behind(link, bytes);
        }
        if connection.staged.is_empty() {
            self.ready.push(link as u32);
        }
        self.ring.stage().append(&mut connection.staged, &[bytes]);
    }

    /// Keeps bytes until the socket has taken those before them.
    fn wait_behind(&mut self, link: usize, bytes: &[u8]) {
        let connection = &mut self.links[link];
        let before = connection.backlog.len();
        if before <= BACKLOG_BYTES_MAX {
            connection.backlog.extend_from_slice(bytes);
            if connection.backlog.len() > BACKLOG_BYTES_MAX {
                let reason = format!("the server does not read: {} MiB wait to be sent to it", BACKLOG_BYTES_MAX >> 20);
                self.news.push_back((link as u32, News::Ended(End::Broken(reason))));
            }
        }
    }

    /// What TLS has to say goes out with this turn, with or without other bytes.
    pub(super) fn send_tls(&mut self, link: usize) {
        self.ready.push(link as u32);
    }

    /// Says that we close, on a WebSocket; ends any other connection.
    pub(super) fn close(&mut self, link: usize) {
        match self.links[link].phase {
            Phase::Open if self.links[link].is_websocket => {
                self.send_close(link);
                self.links[link].phase = Phase::Closing;
                self.set_timer(link, self.now() + GOOD_BYE, Due::GoodBye);
            }
            Phase::Open | Phase::Waiting(_) | Phase::Connecting(_) | Phase::Shaking(_) => self.abort(link),
            Phase::Closing | Phase::Ended | Phase::Leaving | Phase::Free => {}
        }
    }

    /// Sends a close frame (1000).
    pub(super) fn send_close(&mut self, link: usize) {
        self.send_control(link, Opcode::Close, &1000u16.to_be_bytes());
    }

    pub(super) fn send_control(&mut self, link: usize, opcode: Opcode, payload: &[u8]) {
        let mut frame = Vec::new();
        encode_frame(&mut frame, opcode, payload, Some(MASK));
        self.send(link, &frame);
    }

    pub(super) fn abort(&mut self, link: usize) {
        if !self.links[link].has_ended() {
            self.news.push_back((link as u32, News::Ended(End::Closed)));
        }
    }

    /// What the socket of a connection has not taken.
    pub(super) fn backlog_bytes(&self, link: usize) -> usize {
        let connection = &self.links[link];
        connection.staged.len() + connection.backlog.len() + connection.sending_bytes
    }

    /// Changes how a connection reads. A receive in the kernel is ended, so that what comes next is read as slowly.
    pub(super) fn throttle(&mut self, link: usize, bytes_per_second: u64) {
        let connection = &mut self.links[link];
        if connection.has_ended() {
            return;
        }
        match &mut connection.throttle {
            _ if bytes_per_second == u64::MAX => connection.throttle = None,
            Some(throttle) => throttle.set(bytes_per_second),
            None => {
                connection.throttle = Some(Box::new(Throttle::new(bytes_per_second)));
                if let Some(socket) = connection.socket {
                    self.ring.set_receive_buffer(socket, &RECEIVE_BUFFER_BYTES);
                }
            }
        }
        match connection.receive {
            Some(receive) => self.cancel(receive),
            None => self.receive(link, self.now()),
        }
    }

    /// Has a connection that is being opened or is open read on: at once, or when its turn comes.
    pub(super) fn receive(&mut self, link: usize, now: Instant) {
        let connection = &mut self.links[link];
        let is_live = connection.is_live();
        if connection.receive.is_some() || !(is_live || matches!(connection.phase, Phase::Shaking(_))) {
            return;
        }
        let Some(throttle) = &mut connection.throttle else {
            let socket = connection.socket.expect("a connection that receives has a socket");
            let token = self.submit(Op::Receive(socket), link);
            self.links[link].receive = Some(token);
            return;
        };
        if !is_live {
            return self.receive_piece(link);
        }
        if !throttle.is_timed
            && let Some(due) = throttle.due(now, &mut self.random)
        {
            throttle.is_timed = true;
            self.set_timer(link, due, Due::Read);
        }
    }

    /// The time for the next piece of a slow connection has come, if it still reads.
    pub(super) fn on_read_due(&mut self, link: usize, now: Instant) {
        let Some(throttle) = &mut self.links[link].throttle else { return };
        throttle.is_timed = false;
        if throttle.due(now, &mut self.random).is_some() {
            self.receive_piece(link);
        }
    }

    /// Has a slow connection read its next piece.
    pub(super) fn receive_piece(&mut self, link: usize) {
        let connection = &mut self.links[link];
        let (Some(socket), Some(throttle), None) = (connection.socket, &mut connection.throttle, connection.receive)
        else {
            return;
        };
        let token = self.ring.receive_once(socket, throttle.piece_bytes(), link as u32);
        connection.receive = Some(token.unwrap_or_else(|error| panic!("{error}, although {ROOM}")));
    }

    pub(super) fn set_timer(&mut self, link: usize, at: Instant, due: Due) {
        let epoch = self.links[link].epoch;
        self.timers.push(Timer { at, link: link as u32, epoch, due });
    }

    /// When the first timer is due.
    #[inline]
    pub(super) fn first_due(&mut self) -> Option<Instant> {
        let links = &self.links;
        self.timers.first(|timer| is_meant(&links[timer.link as usize], timer))
    }

    /// The next timer that is due now and still meant.
    #[inline]
    pub(super) fn due(&mut self, now: Instant) -> Option<Timer> {
        while let Some(timer) = self.timers.due(now) {
            if is_meant(&self.links[timer.link as usize], &timer) {
                return Some(timer);
            }
        }
        None
    }

    /// Hands what was sent since the last turn to the ring: one transmission per connection.
    pub(super) fn transmit(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        for link in ready.drain(..) {
            self.flush(link as usize);
        }
        self.ready = ready;
    }

    /// Hands what one connection has sent to the ring.
    #[inline]
    pub(super) fn flush(&mut self, link: usize) {
        let connection = &mut self.links[link];
        let staged = std::mem::take(&mut connection.staged);
        let Some(socket) = connection.socket else { return };
        if connection.tls.is_some() {
            self.seal(link, staged);
        } else if !staged.is_empty() {
            self.submit(Op::Transmit(socket, Data::Staged(staged)), link);
        }
    }

    /// Encrypts what one connection has sent, all of it at once, and hands it to the ring.
    fn seal(&mut self, link: usize, staged: Staged) {
        let connection = &mut self.links[link];
        let (Some(socket), Some(session)) = (connection.socket, &mut connection.tls) else { return };
        self.sealed.clear();
        // A session that has failed says so when its connection next receives; until then it sends its alert only.
        let _ = session.transmit(self.ring.stage().bytes(&staged), &mut self.sealed);
        if self.sealed.is_empty() {
            return;
        }
        if connection.send.is_some() {
            let sealed = std::mem::take(&mut self.sealed);
            self.wait_behind(link, &sealed);
            self.sealed = sealed;
            return;
        }
        let mut staged = Staged::default();
        self.ring.stage().append(&mut staged, &[&self.sealed]);
        self.submit(Op::Transmit(socket, Data::Staged(staged)), link);
    }

    /// The socket did not take all: the rest waits in the kernel, and whatever comes behind it here.
    pub(super) fn on_short(&mut self, link: usize, data: &Data, sent: usize) {
        let Data::Staged(transmitted) = data else { unreachable!("only staged bytes are transmitted") };
        let connection = &mut self.links[link];
        if connection.has_ended() {
            return;
        }
        connection.backlog.extend_from_slice(&self.ring.staged(transmitted)[sent..]);
        if connection.tls.is_none() {
            let staged = std::mem::take(&mut connection.staged);
            connection.backlog.extend_from_slice(self.ring.staged(&staged));
        }
        self.send_backlog(link, Vec::new());
    }

    /// The socket has taken the backlog that was sent.
    pub(super) fn on_sent(&mut self, link: usize, data: Data) {
        if !self.links[link].backlog.is_empty()
            && let Data::Owned { mut bytes, .. } = data
        {
            bytes.clear();
            self.send_backlog(link, bytes);
        }
    }

    /// Sends the backlog. The next one gathers in `next`.
    fn send_backlog(&mut self, link: usize, next: Vec<u8>) {
        let connection = &mut self.links[link];
        let bytes = std::mem::replace(&mut connection.backlog, next);
        let socket = connection.socket.expect("a connection that sends has a socket");
        connection.sending_bytes = bytes.len();
        let token = self.submit(Op::Send(socket, Data::Owned { bytes, start: 0 }), link);
        self.links[link].send = Some(token);
    }

    /// Ends a connection for good: nothing more goes out, and its operations are ended.
    pub(super) fn finish(&mut self, link: usize) {
        let connection = &mut self.links[link];
        self.connecting -= usize::from(connection.is_opening());
        connection.phase = Phase::Ended;
        connection.staged = Staged::default();
        connection.backlog = Vec::new();
        connection.tls = None;
        connection.throttle = None;
        self.leaving += usize::from(connection.socket.is_some());
        for token in [connection.receive, connection.send].into_iter().flatten() {
            self.cancel(token);
        }
    }

    /// Closes the descriptor of a connection that has ended, once nothing is in flight on it.
    pub(super) fn leave(&mut self, link: usize) {
        let connection = &mut self.links[link];
        if !matches!(connection.phase, Phase::Ended) || connection.receive.is_some() || connection.send.is_some() {
            return;
        }
        match connection.socket.take() {
            None => self.set_free(link),
            Some(socket) => {
                connection.phase = Phase::Leaving;
                self.submit(Op::Close(socket), link);
            }
        }
    }

    /// The descriptor is closed.
    pub(super) fn on_closed(&mut self, link: usize) {
        self.leaving -= 1;
        self.set_free(link);
    }

    fn set_free(&mut self, link: usize) {
        let epoch = self.links[link].epoch.wrapping_add(1);
        self.links[link] = Link { epoch, ..Link::default() };
        self.free.push(link as u32);
    }

    /// Whether every number is free.
    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.links.len()
    }

    fn cancel(&mut self, token: OpToken) {
        self.submit(Op::Cancel(token), 0);
    }

    pub(super) fn submit(&mut self, op: Op<<Ring as Driver>::Waker>, link: usize) -> OpToken {
        match self.ring.submit(op, link as u32) {
            Ok(token) => token,
            Err((error, op)) => panic!("{error}: {op:?}, although {ROOM}"),
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.ring.now()
    }
}

const ROOM: &str = "the ring has room for two operations of each socket";

/// Whether what a timer is for is still to come.
fn is_meant(link: &Link, timer: &Timer) -> bool {
    link.epoch == timer.epoch
        && match timer.due {
            Due::Patience => link.is_opening(),
            Due::GoodBye => matches!(link.phase, Phase::Closing),
            Due::Read => link.is_live() && link.throttle.is_some(),
        }
}
