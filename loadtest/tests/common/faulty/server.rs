//! The server's one thread: waits for sockets and for what is due, with `ppoll` and, shortly before, by spinning.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use ringwire_codec::{Opcode, encode_frame};
use ringwire_ring::linux::pin_to_core;
use ringwire_ring::{Clock, Instant};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::behavior::{Behavior, Ending, Fault, FaultKind};
use super::connection::{Connection, Incoming, Over, Place};
use super::truth::{Held, Truth};

/// How long before something is due the thread stops sleeping: more than the timer's slack and a wake-up take.
const SPIN: Duration = Duration::from_micros(100);
/// A thread with a core of its own that looks again so much later was away from it.
const PAUSE_MIN: Duration = Duration::from_micros(100);
/// Deliveries between two looks at the sockets: what comes meanwhile is seen by so much later.
const DELIVERIES_AT_ONCE: usize = 4;

/// Serves until `ends` closes or the server dies as told.
pub(super) fn run(behavior: Behavior, listener: TcpListener, ends: UnixStream) -> Truth {
    if let Some(core) = behavior.core {
        pin_to_core(core).expect("a core of this machine");
    }
    listener.set_nonblocking(true).expect("a socket can be non-blocking");
    let mut server = Server {
        behavior,
        listener,
        ends,
        clock: Clock::start(),
        random: fastrand::Rng::with_seed(1),
        connections: BTreeMap::new(),
        accepted: 0,
        first: None,
        due: BTreeMap::new(),
        scheduled: 0,
        truth: Truth::default(),
        is_deaf: false,
        is_over: false,
    };
    let mut looked = server.clock.now();
    while !server.is_over {
        server.deliver_due();
        server.turn();
        let now = server.clock.now();
        if server.behavior.core.is_some() && now.since(looked) >= PAUSE_MIN {
            server.truth.pauses.push(now.since(looked));
        }
        looked = now;
    }
    let Server { listener, connections, mut truth, .. } = server;
    // The port first: who sees a connection end must not be able to open another.
    drop(listener);
    truth.dropped += connections.values().filter(|connection| connection.kept.is_some()).count() as u64;
    truth
}

struct Server {
    behavior: Behavior,
    listener: TcpListener,
    ends: UnixStream,
    clock: Clock,
    random: fastrand::Rng,
    /// By number, in the order in which they came.
    connections: BTreeMap<usize, Connection>,
    accepted: usize,
    /// When the first message came.
    first: Option<Instant>,
    /// By when they are due, and in the order in which they came.
    due: BTreeMap<(Instant, u64), Delivery>,
    scheduled: u64,
    truth: Truth,
    /// It stopped reading.
    is_deaf: bool,
    is_over: bool,
}

/// A message on its way to a connection.
struct Delivery {
    to: usize,
    arrived: Instant,
    opcode: Opcode,
    payload: Rc<[u8]>,
}

/// What can be ready.
enum Source {
    Ends,
    Listener,
    Connection(usize),
}

impl Server {
    /// Sends what is due; some of it, if it is much.
    fn deliver_due(&mut self) {
        for _ in 0..DELIVERIES_AT_ONCE {
            match self.due.first_entry() {
                Some(entry) if entry.key().0 <= self.clock.now() => {
                    let delivery = entry.remove();
                    let to = delivery.to;
                    if self.deliver(delivery).is_err() {
                        self.end(to);
                    }
                }
                _ => return,
            }
        }
    }

    /// Sends a message, with what its turn does to it.
    fn deliver(&mut self, delivery: Delivery) -> Result<(), Over> {
        let Delivery { to, arrived, opcode, payload } = delivery;
        let Some(connection) = self.connections.get_mut(&to) else { return Ok(()) };
        connection.deliveries += 1;
        let deliveries = connection.deliveries;
        let is_struck = |fault: &Fault| deliveries.is_multiple_of(fault.nth);
        let mut frame = Vec::with_capacity(payload.len() + 16);
        let mut copies = 1;
        match self.behavior.fault.filter(is_struck).map(|fault| fault.kind) {
            None => encode_frame(&mut frame, opcode, &payload, None),
            Some(FaultKind::Drop) => {
                self.truth.dropped += 1;
                return Ok(());
            }
            Some(FaultKind::Repeat) => {
                self.truth.repeated += 1;
                encode_frame(&mut frame, opcode, &payload, None);
                frame.extend_from_within(..);
                copies = 2;
            }
            Some(FaultKind::Swap) => {
                encode_frame(&mut frame, opcode, &payload, None);
                connection.kept = Some((frame, arrived));
                return Ok(());
            }
            Some(FaultKind::Corrupt) => {
                self.truth.corrupted += 1;
                let mut payload = payload.to_vec();
                let strikes = deliveries as usize / self.behavior.fault.map_or(1, |fault| fault.nth as usize);
                let at = strikes * 7 % payload.len();
                // ASCII stays ASCII, so text stays text.
                payload[at] ^= 1;
                encode_frame(&mut frame, opcode, &payload, None);
            }
        }
        let kept = connection.kept.take();
        if let Some((kept, _)) = &kept {
            self.truth.swapped += 1;
            frame.extend_from_slice(kept);
        }
        let left = self.clock.now();
        self.truth.held.extend(std::iter::repeat_n(Held { arrived, left }, copies));
        self.truth.held.extend(kept.map(|(_, arrived)| Held { arrived, left }));
        connection.write(&frame)
    }

    /// Waits for what is ready or due next, and handles what is ready.
    fn turn(&mut self) {
        let ready = self.wait();
        let now = self.clock.now();
        for (source, flags) in ready {
            match source {
                Source::Ends => self.is_over = true,
                Source::Listener => self.accept(),
                Source::Connection(number) => {
                    if self.on_ready(number, flags, now).is_err() {
                        self.end(number);
                    }
                }
            }
            if self.is_over {
                return;
            }
        }
    }

    /// Waits. Says what is ready, and for what.
    fn wait(&self) -> Vec<(Source, PollFlags)> {
        let timeout = match self.due.first_key_value() {
            _ if self.behavior.core.is_some() => Some(Duration::ZERO),
            Some((&(at, _), _)) => Some(at.since(self.clock.now()).saturating_sub(SPIN)),
            None => None,
        };
        let timeout = timeout.map(|timeout| Timespec::try_from(timeout).expect("a short time"));
        let mut sources = vec![Source::Ends, Source::Listener];
        let mut polled = vec![PollFd::new(&self.ends, PollFlags::IN), PollFd::new(&self.listener, PollFlags::IN)];
        for (number, connection) in &self.connections {
            let mut interest = PollFlags::empty();
            interest.set(PollFlags::IN, !self.is_deaf);
            interest.set(PollFlags::OUT, connection.has_backlog());
            sources.push(Source::Connection(*number));
            polled.push(PollFd::new(connection.stream(), interest));
        }
        match poll(&mut polled, timeout.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Vec::new(),
            Ok(_) => {}
            Err(error) => panic!("ppoll: {error}"),
        }
        let flags = polled.iter().map(PollFd::revents);
        sources.into_iter().zip(flags).filter(|(_, flags)| !flags.is_empty()).collect()
    }

    /// Closes a connection. What it keeps has no next to go out behind.
    fn end(&mut self, number: usize) {
        if self.connections.remove(&number).is_some_and(|connection| connection.kept.is_some()) {
            self.truth.dropped += 1;
        }
    }

    fn accept(&mut self) {
        let Ok((stream, _)) = self.listener.accept() else { return };
        self.connections.insert(self.accepted, Connection::new(stream));
        self.accepted += 1;
    }

    fn on_ready(&mut self, number: usize, flags: PollFlags, now: Instant) -> Result<(), Over> {
        let connection = self.connections.get_mut(&number).ok_or(Over)?;
        if flags.contains(PollFlags::OUT) {
            connection.flush()?;
        }
        if self.is_deaf {
            // A peer that is gone would be ready for ever.
            return if flags.intersects(PollFlags::HUP | PollFlags::ERR) { Err(Over) } else { Ok(()) };
        }
        if !flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            return Ok(());
        }
        let mut messages = Vec::new();
        let outcome = connection.read(self.behavior.greeting, &mut messages);
        for message in messages {
            self.on_message(number, message, now)?;
        }
        outcome
    }

    /// A message came: it is to go on, later.
    fn on_message(&mut self, from: usize, message: Incoming, arrived: Instant) -> Result<(), Over> {
        let (opcode, payload) = message;
        let payload: Rc<[u8]> = payload.into();
        self.truth.received += 1;
        let first = *self.first.get_or_insert(arrived);
        let hold = self.behavior.hold.draw(&mut self.random);
        let leaves = arrived.since(first) + hold;
        let due = first + self.behavior.stall.map_or(leaves, |stall| stall.end(leaves));
        let connection = self.connections.get_mut(&from).ok_or(Over)?;
        let due = due.max(connection.last_due);
        connection.last_due = due;
        for to in self.recipients(from) {
            self.scheduled += 1;
            self.due.insert((due, self.scheduled), Delivery { to, arrived, opcode, payload: Rc::clone(&payload) });
        }
        match self.behavior.ending {
            Some(Ending::HangsUp(count)) if count == self.truth.received => return Err(Over),
            Some(Ending::Dies(count)) if count == self.truth.received => self.is_over = true,
            Some(Ending::StopsReading(count)) if count == self.truth.received => self.is_deaf = true,
            _ => {}
        }
        Ok(())
    }

    /// Who gets what this connection sends.
    fn recipients(&self, from: usize) -> Vec<usize> {
        match self.connections.get(&from).and_then(Connection::place) {
            Some(Place::Echo) => vec![from],
            Some(Place::Publisher(topic)) => {
                let subscribes = |connection: &Connection| {
                    connection.place().is_some_and(|place| matches!(place, Place::Subscriber(own) if own == topic))
                };
                let heeded = self.behavior.forgets_behind.unwrap_or(usize::MAX);
                let subscribers = self.connections.range(..heeded).filter(|(_, connection)| subscribes(connection));
                subscribers.map(|(number, _)| *number).collect()
            }
            Some(Place::Subscriber(_)) | None => Vec::new(),
        }
    }
}
