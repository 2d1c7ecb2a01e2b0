//! `echo`: every message comes back.
//!
//! In a closed loop every connection keeps `depth` messages on their way and sends another for each that comes back. It
//! waits for the server, so its latencies are those of a server at its limit, not at a given rate. With a rate it is an
//! open loop: messages are due at even intervals, on one connection after the other, whether the server answers or
//! not, and latency runs from when each was due.
//!
//! A message is sent with the `io_uring_enter` of its turn, and its echo found with the return of another.

mod progress;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ringwire_ring::Instant;

use super::{Kind, Options, Place};
use crate::cli::Flags;
use crate::clients::{Door, End, Message, Outbox, PER_SOURCE, TcpMessages, Workload};
use crate::framing::check_message_bytes;
use crate::json::Json;
use crate::measure::{Accounts, Loop, Recorder, Seen, Series, Span};
use crate::payload::{Messages, Numbered, NumberedJson};
use crate::report::Report;
use crate::run::{self, Finding, Load, Model, Readiness, Share, Worker};
use crate::target::{Protocol, Target};
use progress::{Progress, Waiting};

/// `echo`, on the command line.
pub const KIND: Kind = Kind {
    name: "echo",
    about: "every message comes back: round trips, in a closed loop or at a rate",
    help: "\
    --connections N       connections [100]
    --depth N             messages on their way per connection, in a closed loop [1]
    --rate R              instead: so many messages a second over all connections, whatever the server does
    --messages N          end after so many have come back, or when --seconds are over [no limit]
    --bytes N             payload bytes, at least 8 [64]
    --payload random|json bytes in binary messages, or JSON as exchanges send it in text messages [random]
",
    has_adapter: false,
    read: |flags| Ok(Box::new(EchoOptions::read(flags)?)),
};

/// Messages that may wait for their echoes, on all of a thread's connections: some 100 MB of memory, and seconds of what
/// a server does. Beyond this an open loop ends.
const WAITING_MAX: usize = 1 << 22;
/// Messages between two turns at most: a generator that is behind still receives, and says how late it is.
const SENDS_AT_ONCE: usize = 1024;
/// Messages at most that are counted as late because they were due and never sent.
const UNSENT_MAX: u64 = 1 << 20;

/// How to echo.
#[derive(Clone, Debug)]
pub struct EchoOptions {
    /// Connections.
    pub connections: usize,
    /// When to send.
    pub pace: Pace,
    /// End after so many echoes.
    pub messages: Option<u64>,
    /// Bytes of a message's payload, at least 8. Raw TCP carries as many bytes as the WebSocket frame has.
    pub bytes: usize,
    /// What a message is.
    pub payload: Payload,
}

/// When to send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As soon as fewer than so many are on their way on a connection.
    Depth(usize),
    /// So many a second, over all connections.
    Rate(f64),
}

/// What a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Payload {
    /// Random bytes, in a binary message.
    #[default]
    Random,
    /// JSON as exchanges send it, in a text message. Not over raw TCP.
    Json,
}

impl EchoOptions {
    /// Reads its flags.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(flags: &mut Flags) -> Result<Self, String> {
        let (depth, rate) = (flags.number("depth")?, flags.number::<f64>("rate")?);
        let pace = match (depth, rate) {
            (Some(_), Some(_)) => return Err("--depth and --rate contradict each other: leave one out".to_owned()),
            (Some(0), None) => return Err("--depth 0: at least 1 is needed".to_owned()),
            (depth, None) => Pace::Depth(depth.unwrap_or(1)),
            (None, Some(rate)) if rate > 0.0 && rate.is_finite() => Pace::Rate(rate),
            (None, Some(rate)) => return Err(format!("--rate {rate}: a number above 0 is needed")),
        };
        let messages = flags.number("messages")?;
        if messages == Some(0) {
            return Err("--messages 0: at least 1 is needed".to_owned());
        }
        Ok(Self {
            connections: flags.at_least_one("connections", 100)?,
            pace,
            messages,
            bytes: flags.number("bytes")?.unwrap_or(64),
            payload: flags.one_of("payload", &[("random", Payload::Random), ("json", Payload::Json)])?,
        })
    }
}

impl EchoOptions {
    /// What is sent to this server.
    fn messages_to(&self, target: &Target) -> Result<Messages, String> {
        check_message_bytes(target, self.bytes)?;
        Ok(match self.payload {
            Payload::Random => Messages::Random(Numbered::new(self.bytes, 1)?),
            Payload::Json if target.protocol == Protocol::Tcp => {
                return Err(format!("{target}: JSON goes over WebSocket only"));
            }
            Payload::Json => Messages::Json(NumberedJson::new(self.bytes, target.wire.deflate.is_some())?),
        })
    }
}

impl Options for EchoOptions {
    fn run(&self, place: &Place, load: &Load) -> Result<Report, String> {
        run::run(&Echo::new(self, &place.target)?, load)
    }

    fn rate(&self) -> Option<f64> {
        match self.pace {
            Pace::Rate(rate) => Some(rate),
            Pace::Depth(_) => None,
        }
    }

    fn at_rate(&self, rate: f64) -> Option<Box<dyn Options>> {
        Some(Box::new(Self { pace: Pace::Rate(rate), ..self.clone() }))
    }
}

/// The workload.
#[derive(Debug)]
struct Echo {
    options: EchoOptions,
    door: Arc<Door>,
    /// Echoes in the measured interval after which it is over, of all threads together.
    to_come: Option<Arc<AtomicU64>>,
}

impl Echo {
    fn new(options: &EchoOptions, target: &Target) -> Result<Self, String> {
        let frame_bytes = options.messages_to(target)?.frame(0).len();
        let door = Door {
            tcp_messages: TcpMessages::Bytes(frame_bytes),
            spread: options.connections > PER_SOURCE,
            ..Door::new(target.clone())
        };
        let to_come = options.messages.map(|messages| Arc::new(AtomicU64::new(messages)));
        Ok(Self { options: options.clone(), door: Arc::new(door), to_come })
    }
}

impl Model for Echo {
    type Worker = EchoWorker;

    fn name(&self) -> &'static str {
        "echo"
    }

    fn target(&self) -> &Target {
        &self.door.target
    }

    fn options(&self) -> Json {
        let (depth, rate) = match self.options.pace {
            Pace::Depth(depth) => (Some(depth), None),
            Pace::Rate(rate) => (None, Some(rate)),
        };
        Json::object([
            ("connections", self.options.connections.into()),
            ("depth", depth.into()),
            ("rate", rate.into()),
            ("bytes", self.options.bytes.into()),
            ("payload", if self.options.payload == Payload::Json { "json" } else { "random" }.into()),
        ])
    }

    fn series(&self) -> &'static [&'static str] {
        &["echo"]
    }

    fn kind(&self) -> Loop {
        match self.options.pace {
            Pace::Depth(_) => Loop::Closed,
            Pace::Rate(_) => Loop::Open,
        }
    }

    fn parts_max(&self) -> usize {
        self.options.connections
    }

    fn connections_max(&self, share: Share) -> usize {
        share.of(self.options.connections)
    }

    fn worker(&self, share: Share, recorder: Recorder) -> Result<EchoWorker, String> {
        let connections = share.of(self.options.connections);
        let pace = match self.options.pace {
            // A thread's messages are due as often as its share of the connections says.
            Pace::Rate(rate) => Pace::Rate(rate * connections as f64 / self.options.connections as f64),
            depth @ Pace::Depth(_) => depth,
        };
        Ok(EchoWorker {
            messages: self.options.messages_to(&self.door.target)?,
            raw: self.door.target.protocol == Protocol::Tcp,
            door: Arc::clone(&self.door),
            pace,
            to_come: self.to_come.clone(),
            links: vec![Progress::default(); connections],
            unsent: Vec::new(),
            sent: 0,
            waiting: 0,
            missing: 0,
            connecting: connections,
            span: None,
            sending: false,
            pumped_at: Instant::default(),
            over: None,
            failed: None,
            recorder,
            accounts: Accounts::default(),
        })
    }
}

struct EchoWorker {
    messages: Messages,
    /// Frames come back as they were sent, not as payloads.
    raw: bool,
    door: Arc<Door>,
    pace: Pace,
    to_come: Option<Arc<AtomicU64>>,
    links: Vec<Progress>,
    /// What goes out with this turn: the connection, and its place among those that wait there.
    unsent: Vec<(u32, u64)>,
    /// Messages of an open loop.
    sent: u64,
    /// Messages that wait for their echoes, on all connections.
    waiting: usize,
    /// Those that later ones have overtaken, for the live line.
    missing: u64,
    connecting: usize,
    span: Option<Span>,
    sending: bool,
    /// When it was last asked what is due.
    pumped_at: Instant,
    over: Option<Over>,
    failed: Option<String>,
    recorder: Recorder,
    accounts: Accounts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// All that was to come has come.
    Complete,
    Stuck,
}

impl EchoWorker {
    fn send(&mut self, out: &mut Outbox<'_>, link: usize, due: Instant) {
        let progress = &mut self.links[link];
        if progress.has_ended() {
            return;
        }
        let number = progress.send(due);
        self.waiting += 1;
        self.accounts.expected += 1;
        self.unsent.push((link as u32, number));
        out.send(link, self.messages.frame(number));
        if self.waiting > WAITING_MAX {
            self.accounts.count_end(&format!("the server does not answer: {WAITING_MAX} messages wait for it"));
            self.over = Some(Over::Stuck);
        }
    }

    /// An echo came, which may be behind later ones.
    fn take(&mut self, link: usize, number: u64, bytes: usize, at: Instant) {
        self.accounts.arrived += 1;
        let progress = &mut self.links[link];
        let Some((Waiting { due, sent, .. }, forgotten)) = progress.take(number) else { return };
        self.waiting -= forgotten;
        let Some(span) = self.span else { return };
        self.recorder.count(1, bytes as u64, at);
        if at >= span.measure_from && at < span.measure_to {
            // Relaxed: nothing but the number itself is shared.
            let is_last = self.to_come.as_ref().is_some_and(|to_come| to_come.fetch_sub(1, Ordering::Relaxed) == 1);
            if is_last {
                self.over = Some(Over::Complete);
            }
        }
        match self.pace {
            // A closed loop has no intention but to send at once.
            Pace::Depth(_) => self.recorder.record(Series(0), at, sent, sent),
            Pace::Rate(_) => self.recorder.record(Series(0), at, due, sent),
        }
    }

    /// Something else came than was sent: it stands for the echo that was to come next. `false` if none was.
    fn take_corrupted(&mut self, link: usize) -> bool {
        let progress = &mut self.links[link];
        if progress.on_their_way() == 0 {
            self.accounts.unknown += 1;
            return false;
        }
        let number = progress.next_in();
        progress.see(number);
        self.waiting -= progress.take(number).map_or(0, |(_, forgotten)| forgotten);
        self.accounts.corrupted += 1;
        true
    }

    /// When the message with this number of an open loop is due.
    fn due(&self, start: Instant, rate: f64, number: u64) -> Instant {
        start + Duration::from_secs_f64(number as f64 / rate)
    }

    /// What was due by now and was not sent is late: a generator that is too slow for the rate must not pass for one
    /// that was asked for less.
    fn count_unsent(&mut self) {
        let (Some(span), Pace::Rate(rate)) = (self.span, self.pace) else { return };
        let before = span.measure_from.since(span.start).as_secs_f64() * rate;
        let first = self.sent.max(before.ceil() as u64);
        for number in first..first + UNSENT_MAX {
            let due = self.due(span.start, rate, number);
            if due > self.pumped_at {
                return;
            }
            self.recorder.late(due, self.pumped_at);
        }
    }

    fn all_ended(&self) -> bool {
        self.links.iter().all(Progress::has_ended)
    }
}

impl Workload for EchoWorker {
    fn on_open(&mut self, _: &mut Outbox<'_>, _: usize, _: Instant) {
        self.connecting -= 1;
    }

    fn on_message(&mut self, out: &mut Outbox<'_>, link: usize, message: Message<'_>, at: Instant) {
        let number = match &self.messages {
            Messages::Random(messages) if self.raw => messages.number_in_frame(message.bytes),
            messages => messages.number(message.bytes),
        };
        let progress = &mut self.links[link];
        let number = number.filter(|&number| number < progress.next_out());
        match number.map(|number| (number, progress.see(number))) {
            Some((number, Seen::InOrder)) => self.take(link, number, message.bytes.len(), at),
            Some((number, Seen::AfterGap(missing))) => {
                self.missing += missing;
                self.take(link, number, message.bytes.len(), at);
            }
            Some((number, Seen::Late)) => {
                self.accounts.out_of_order += 1;
                self.missing = self.missing.saturating_sub(1);
                self.take(link, number, message.bytes.len(), at);
            }
            Some((_, Seen::Repeated)) => {
                self.accounts.repeated += 1;
                return;
            }
            None if !self.take_corrupted(link) => return,
            None => {}
        }
        if self.sending && matches!(self.pace, Pace::Depth(_)) {
            self.send(out, link, at);
        }
    }

    fn on_enter(&mut self, at: Instant) {
        let is_open_loop = matches!(self.pace, Pace::Rate(_));
        for (link, number) in self.unsent.drain(..) {
            let Some(waiting) = self.links[link as usize].waiting(number) else { continue };
            waiting.sent = at;
            if is_open_loop {
                self.recorder.late(waiting.due, at);
            }
        }
        self.recorder.lost_so_far(self.missing);
        self.recorder.turn(at);
    }

    fn on_ended(&mut self, _: &mut Outbox<'_>, link: usize, end: &End) {
        let progress = &mut self.links[link];
        self.waiting -= progress.end();
        let Some(reason) = end.fault() else { return };
        match self.span {
            None => drop(self.failed.get_or_insert_with(|| reason.to_owned())),
            Some(_) => self.accounts.count_end(reason),
        }
    }
}

impl Worker for EchoWorker {
    fn connect(&mut self, out: &mut Outbox<'_>) {
        for number in 0..self.links.len() {
            let link = out.open(&self.door);
            assert_eq!(link, number, "a new ring numbers its connections from 0");
        }
    }

    fn readiness(&self) -> Readiness {
        match &self.failed {
            Some(reason) => Readiness::Failed(reason.clone()),
            None if self.connecting > 0 => Readiness::Connecting { left: self.connecting },
            None => Readiness::Ready,
        }
    }

    fn start(&mut self, span: Span) {
        self.span = Some(span);
        self.recorder.start(span);
    }

    fn pump(&mut self, out: &mut Outbox<'_>, now: Instant) -> Instant {
        let Some(Span { start, measure_to, .. }) = self.span else { return now };
        if now < start {
            return start;
        }
        self.pumped_at = now;
        match self.pace {
            Pace::Depth(depth) if !self.sending => {
                self.sending = true;
                for link in 0..self.links.len() {
                    (0..depth).for_each(|_| self.send(out, link, now));
                }
            }
            Pace::Depth(_) => {}
            Pace::Rate(rate) => {
                for _ in 0..SENDS_AT_ONCE {
                    let due = self.due(start, rate, self.sent);
                    if due > now || due >= measure_to || self.over.is_some() {
                        return due;
                    }
                    let link = (self.sent % self.links.len() as u64) as usize;
                    self.sent += 1;
                    self.send(out, link, due);
                }
                return now;
            }
        }
        measure_to
    }

    fn is_over(&self) -> bool {
        self.over.is_some() || self.all_ended()
    }

    fn stop(&mut self, at: Instant) {
        self.recorder.stop(at);
        self.sending = false;
        self.count_unsent();
    }

    fn is_drained(&self) -> bool {
        self.links.iter().all(|link| link.has_ended() || link.on_their_way() == 0)
    }

    fn finish(mut self) -> Finding {
        let accounts = &mut self.accounts;
        accounts.lost = accounts.expected.saturating_sub(accounts.arrived + accounts.corrupted);
        Finding { accounts: self.accounts, recorded: self.recorder.finish(), ..Finding::default() }
    }
}
