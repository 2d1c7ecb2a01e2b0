//! `echo`, closed loop: every connection keeps `depth` messages on their way and sends another for each that comes
//! back.
//!
//! The latency of a message runs from the `io_uring_enter` that sends it to the return of the one that finds its echo.
//! A closed loop waits for the server, so its latencies are those of a server at its limit, not at a given rate.

use std::time::Duration;

use ringwire_ring::{Clock, Instant, Wait};

use super::{DRAIN, connect, kernel, pin};
use crate::clients::{Clients, ClientsOptions, Door, End, Message, Outbox, Workload};
use crate::json::Json;
use crate::measure::{Accounts, Histogram, Meter, Process};
use crate::payload::{Messages, Numbered, NumberedJson};
use crate::report::Report;
use crate::target::{Protocol, Target};

/// How to echo.
#[derive(Clone, Debug)]
pub struct EchoOptions {
    /// A server that sends back each message, or each byte.
    pub target: Target,
    /// Connections.
    pub connections: usize,
    /// Messages on their way per connection.
    pub depth: usize,
    /// Bytes of a message's payload, at least 8. Raw TCP carries as many bytes as the WebSocket frame has.
    pub bytes: usize,
    /// What a message is.
    pub payload: Payload,
    /// How long to measure.
    pub length: Length,
    /// How long to run before that.
    pub warm_up: Duration,
    /// The core for this thread.
    pub core: Option<usize>,
    /// The server's process.
    pub server: Option<Process>,
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

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// For a time.
    Time(Duration),
    /// Until so many messages have come back, or this time has passed.
    Messages(u64, Duration),
}

/// Runs the workload on the calling thread.
///
/// # Errors
/// Why it could not run. What a server does to messages is no error: the report has it.
pub fn run(options: &EchoOptions) -> Result<Report, String> {
    pin(options.core)?;
    let mut clients = Clients::new(ClientsOptions {
        connections_max: options.connections,
        receive_buffers: 1024,
        receive_buffer_bytes: 16 * 1024,
        clock: Clock::start(),
        connecting_max: ClientsOptions::CONNECTING_MAX,
    })
    .map_err(|error| error.to_string())?;
    let mut echo = Echo::new(options)?;
    let door = Door { tcp_message_bytes: echo.messages.frame(0).len(), ..Door::new(options.target.clone()) };
    connect(&mut clients, door, options.connections, &mut echo)?;
    let mut out = clients.outbox();
    for link in 0..options.connections {
        (0..options.depth).for_each(|_| echo.send(&mut out, link));
    }
    let warm = clients.now() + options.warm_up;
    clients.turns_until(warm, &mut echo).map_err(kernel)?;

    let start = clients.now();
    let meter = Meter::start(options.server, start)?;
    let (messages, time) = match options.length {
        Length::Time(time) => (u64::MAX, time),
        Length::Messages(messages, time) => (messages, time),
    };
    echo.measuring = true;
    while echo.measured < messages && clients.now() < start + time && !echo.all_ended() {
        clients.turn(Wait::Until(start + time), &mut echo).map_err(kernel)?;
    }
    echo.measuring = false;
    let cost = meter.stop(clients.now())?;

    echo.sending = false;
    let patience = clients.now() + DRAIN;
    while echo.on_their_way() > 0 && clients.now() < patience && !echo.all_ended() {
        clients.turn(Wait::Until(patience), &mut echo).map_err(kernel)?;
    }
    let accounts = echo.settle();
    let (messages, latency) = (echo.measured, std::mem::take(&mut echo.latency));
    clients.close(&mut echo).map_err(kernel)?;
    Ok(Report {
        workload: "echo",
        target: options.target.to_string(),
        options: options.to_json(),
        messages,
        cost,
        threads: 1,
        latency,
        accounts,
        findings: Vec::new(),
    })
}

impl Payload {
    /// As the command line has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Payload::Random => "random",
            Payload::Json => "json",
        }
    }
}

impl EchoOptions {
    fn to_json(&self) -> Json {
        Json::object([
            ("connections", self.connections.into()),
            ("depth", self.depth.into()),
            ("bytes", self.bytes.into()),
            ("payload", self.payload.name().into()),
            ("deflate", self.target.wire.deflate.is_some().into()),
            ("warm_up_seconds", self.warm_up.as_secs_f64().into()),
            ("core", self.core.into()),
        ])
    }
}

#[derive(Debug)]
struct Echo {
    messages: Messages,
    /// Frames come back as they were sent, not as payloads.
    raw: bool,
    depth: usize,
    links: Vec<Progress>,
    /// When the messages on their way were sent: `depth` places for each connection.
    sent_at: Vec<Instant>,
    /// Places whose messages go out with this turn.
    leaving: Vec<u32>,
    sending: bool,
    measuring: bool,
    measured: u64,
    latency: Histogram,
    accounts: Accounts,
}

/// How far a connection is. Messages are numbered from 0.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    next_out: u64,
    next_in: u64,
    ended: bool,
}

impl Echo {
    fn new(options: &EchoOptions) -> Result<Self, String> {
        let raw = options.target.protocol == Protocol::Tcp;
        let deflate = options.target.wire.deflate.is_some();
        let messages = match options.payload {
            Payload::Random => Messages::Random(Numbered::new(options.bytes, 1)?),
            Payload::Json if raw => return Err(format!("{}: JSON goes over WebSocket only", options.target)),
            Payload::Json => Messages::Json(NumberedJson::new(options.bytes, deflate)?),
        };
        Ok(Self {
            messages,
            raw,
            depth: options.depth,
            links: vec![Progress::default(); options.connections],
            sent_at: vec![Instant::default(); options.connections * options.depth],
            leaving: Vec::new(),
            sending: true,
            measuring: false,
            measured: 0,
            latency: Histogram::default(),
            accounts: Accounts::default(),
        })
    }

    #[inline]
    fn place(&self, link: usize, number: u64) -> usize {
        link * self.depth + (number % self.depth as u64) as usize
    }

    fn send(&mut self, out: &mut Outbox<'_>, link: usize) {
        let number = self.links[link].next_out;
        self.links[link].next_out += 1;
        self.accounts.expected += 1;
        self.leaving.push(self.place(link, number) as u32);
        out.send(link, self.messages.frame(number));
    }

    fn all_ended(&self) -> bool {
        self.accounts.ended as usize == self.links.len()
    }

    fn on_their_way(&self) -> u64 {
        let open = self.links.iter().filter(|link| !link.ended);
        open.map(|link| link.next_out.saturating_sub(link.next_in)).sum()
    }

    /// What did not arrive by now is lost.
    fn settle(&mut self) -> Accounts {
        let accounts = &mut self.accounts;
        accounts.lost = accounts.expected.saturating_sub(accounts.arrived + accounts.corrupted);
        std::mem::take(accounts)
    }
}

impl Workload for Echo {
    fn on_message(&mut self, out: &mut Outbox<'_>, link: usize, message: Message<'_>, at: Instant) {
        let number = match &self.messages {
            Messages::Random(messages) if self.raw => messages.number_in_frame(message.bytes),
            messages => messages.number(message.bytes),
        };
        let progress = self.links[link];
        match number {
            Some(number) if number >= progress.next_in && number < progress.next_out => {
                self.links[link].next_in = number + 1;
                self.accounts.arrived += 1;
                if self.measuring {
                    let sent_at = self.sent_at[self.place(link, number)];
                    self.latency.record(at.since(sent_at).as_nanos() as u64);
                    self.measured += 1;
                }
            }
            Some(number) if number < progress.next_in => {
                self.accounts.repeated += 1;
                return;
            }
            Some(_) | None => {
                self.links[link].next_in += 1;
                self.accounts.corrupted += 1;
            }
        }
        if self.sending {
            self.send(out, link);
        }
    }

    fn on_enter(&mut self, at: Instant) {
        for place in self.leaving.drain(..) {
            self.sent_at[place as usize] = at;
        }
    }

    fn on_ended(&mut self, _: &mut Outbox<'_>, link: usize, end: &End) {
        self.links[link].ended = true;
        end.fault().into_iter().for_each(|fault| self.accounts.count_end(fault));
    }
}
