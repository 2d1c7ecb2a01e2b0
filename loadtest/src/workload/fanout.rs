//! `fanout`: one publisher, many subscribers of its topic.
//!
//! At rest, publishes are due at a rate, whatever the server does: an open loop. A publish carries the instant at
//! which it was *due*, and latency runs from there, so a server that stalls makes every publish late that was due
//! meanwhile, not only the one that met it (no coordinated omission), and a generator that lags counts against itself.
//! Saturated, `window` publishes are kept on their way: what comes out is the greatest rate.
//!
//! Every subscriber must see every publish once, in order; but for [laggards](super::laggards), which are there to be
//! slow.

use std::time::Duration;

use ringwire_ring::{Clock, Instant, Wait};

use super::laggards::{Laggards, LaggardsOptions};
use super::{DRAIN, connect, kernel, pin};
use crate::clients::{Clients, ClientsOptions, Door, End, Message, Outbox, Workload};
use crate::connect::Connector;
use crate::json::Json;
use crate::measure::{Accounts, Histogram, Meter, Process};
use crate::payload::Numbered;
use crate::report::Report;
use crate::target::Target;

/// How to publish and to whom.
#[derive(Clone, Debug)]
pub struct FanoutOptions {
    /// A server with `/ws/<topic>` and `/pub/<topic>`.
    pub target: Target,
    /// The topic.
    pub topic: String,
    /// Subscribers.
    pub subscribers: usize,
    /// Further ones, that lag.
    pub laggards: LaggardsOptions,
    /// When to publish.
    pub pace: Pace,
    /// Bytes of a message, at least 16.
    pub bytes: usize,
    /// How long to measure.
    pub time: Duration,
    /// How long to run before that.
    pub warm_up: Duration,
    /// The core for this thread.
    pub core: Option<usize>,
    /// The server's process.
    pub server: Option<Process>,
}

/// When to publish.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many times a second.
    Rate(f64),
    /// As soon as fewer than so many publishes are on their way.
    Window(u64),
}

/// Runs the workload on the calling thread.
///
/// # Errors
/// Why it could not run. What a server does to messages is no error: the report has it.
pub fn run(options: &FanoutOptions) -> Result<Report, String> {
    pin(options.core)?;
    let mut clients = Clients::new(ClientsOptions {
        connections_max: options.subscribers + 1,
        receive_buffers: 1024,
        receive_buffer_bytes: 32 * 1024,
        clock: Clock::start(),
        connecting_max: ClientsOptions::CONNECTING_MAX,
    })
    .map_err(|error| error.to_string())?;
    let mut fanout = Fanout::new(options)?;
    let at_path = |path: &str| options.target.at_path(&format!("/{path}/{}", options.topic));
    connect(&mut clients, Door::new(at_path("ws")?), options.subscribers, &mut fanout)?;
    connect(&mut clients, Door::new(at_path("pub")?), 1, &mut fanout)?;
    let mut laggards = Laggards::open(options.laggards, Connector::new(&at_path("ws")?), None, clients.now())?;

    let start = clients.now();
    fanout.first_due = start;
    publish_until(&mut clients, &mut fanout, &mut laggards, options.pace, start + options.warm_up)?;
    let start = clients.now();
    let meter = Meter::start(options.server, start)?;
    let published_before = fanout.published;
    (fanout.measure_from, fanout.counting) = (start, true);
    publish_until(&mut clients, &mut fanout, &mut laggards, options.pace, start + options.time)?;
    fanout.counting = false;
    let cost = meter.stop(clients.now())?;
    let published = fanout.published - published_before;

    let patience = clients.now() + DRAIN;
    while fanout.settled < fanout.deliveries() && clients.now() < patience && !fanout.is_over() {
        clients.turn(Wait::Until(patience), &mut fanout).map_err(kernel)?;
    }
    let accounts = fanout.settle();
    let findings = vec![
        ("publishes_per_second", (published as f64 / cost.elapsed.as_secs_f64()).into()),
        ("generator_late_us_max", (fanout.late_max.as_secs_f64() * 1e6).into()),
        ("told_to_publisher", fanout.told.as_deref().into()),
        ("laggards_ended", laggards.ended().into()),
        ("laggards_read_bytes", laggards.read_bytes().into()),
    ];
    let (messages, latency) = (fanout.counted, std::mem::take(&mut fanout.latency));
    clients.close(&mut fanout).map_err(kernel)?;
    Ok(Report {
        workload: "fanout",
        target: options.target.to_string(),
        options: options.to_json(),
        messages,
        cost,
        threads: 1,
        latency,
        accounts,
        findings,
    })
}

impl FanoutOptions {
    fn to_json(&self) -> Json {
        let (rate, window) = match self.pace {
            Pace::Rate(rate) => (Some(rate), None),
            Pace::Window(window) => (None, Some(window)),
        };
        Json::object([
            ("topic", self.topic.as_str().into()),
            ("subscribers", self.subscribers.into()),
            ("slow", self.laggards.count.into()),
            ("slow_bytes_per_second", self.laggards.bytes_per_second.into()),
            ("rate", rate.into()),
            ("window", window.into()),
            ("bytes", self.bytes.into()),
            ("warm_up_seconds", self.warm_up.as_secs_f64().into()),
            ("core", self.core.into()),
        ])
    }
}

/// Publishes as `pace` says until `end`.
fn publish_until(
    clients: &mut Clients,
    fanout: &mut Fanout,
    laggards: &mut Laggards,
    pace: Pace,
    end: Instant,
) -> Result<(), String> {
    loop {
        let now = clients.now();
        laggards.read(now);
        if now >= end || fanout.is_over() {
            return Ok(());
        }
        let wake_at = match pace {
            Pace::Rate(rate) => {
                while fanout.due(rate) <= now && fanout.due(rate) < end {
                    let due = fanout.due(rate);
                    fanout.publish(&mut clients.outbox(), due);
                }
                fanout.due(rate).min(end)
            }
            Pace::Window(window) => {
                while fanout.deliveries() < fanout.settled + window * fanout.next.len() as u64 {
                    fanout.publish(&mut clients.outbox(), now);
                }
                end
            }
        };
        let wake_at = laggards.due().map_or(wake_at, |due| due.min(wake_at));
        clients.turn(Wait::Until(wake_at), fanout).map_err(kernel)?;
    }
}

#[derive(Debug)]
struct Fanout {
    frame: Numbered,
    /// The number that each subscriber is to see next. The publisher's connection comes behind theirs.
    next: Vec<u64>,
    published: u64,
    /// When number 0 was due.
    first_due: Instant,
    /// When those that go out with this turn were due, the first of them.
    leaving: Option<Instant>,
    late_max: Duration,
    /// Deliveries that have arrived, or can no more.
    settled: u64,
    counting: bool,
    counted: u64,
    /// Latencies count of what was due from then on.
    measure_from: Instant,
    latency: Histogram,
    /// What the server first said to the publisher.
    told: Option<String>,
    accounts: Accounts,
}

impl Fanout {
    fn new(options: &FanoutOptions) -> Result<Self, String> {
        Ok(Self {
            frame: Numbered::new(options.bytes, 2)?,
            next: vec![0; options.subscribers],
            published: 0,
            first_due: Instant::default(),
            leaving: None,
            late_max: Duration::ZERO,
            settled: 0,
            counting: false,
            counted: 0,
            measure_from: Instant::from_nanos(u64::MAX),
            latency: Histogram::default(),
            told: None,
            accounts: Accounts::default(),
        })
    }

    /// When the next publish is due.
    fn due(&self, rate: f64) -> Instant {
        self.first_due + Duration::from_secs_f64(self.published as f64 / rate)
    }

    fn publish(&mut self, out: &mut Outbox<'_>, due: Instant) {
        let frame = self.frame.frame(&[self.published, due.as_nanos()]);
        out.send(self.next.len(), frame);
        self.published += 1;
        self.leaving.get_or_insert(due);
    }

    /// Deliveries that are to arrive by now.
    fn deliveries(&self) -> u64 {
        self.published * self.next.len() as u64
    }

    /// A connection ended: the loop would wait for ever.
    fn is_over(&self) -> bool {
        self.accounts.ended > 0
    }

    /// What did not arrive by now is lost.
    fn settle(&mut self) -> Accounts {
        let expected = self.deliveries();
        let accounts = &mut self.accounts;
        accounts.expected = expected;
        accounts.lost = expected.saturating_sub(accounts.arrived + accounts.corrupted);
        std::mem::take(accounts)
    }
}

impl Workload for Fanout {
    fn on_message(&mut self, _: &mut Outbox<'_>, link: usize, message: Message<'_>, at: Instant) {
        let payload = message.bytes;
        let Some(next) = self.next.get_mut(link) else {
            self.told.get_or_insert_with(|| String::from_utf8_lossy(payload).into_owned());
            return;
        };
        match self.frame.number(payload, 0) {
            Some(number) if number >= *next && number < self.published => {
                self.settled += number - *next + 1;
                *next = number + 1;
                self.accounts.arrived += 1;
            }
            Some(number) if number < *next => {
                self.accounts.repeated += 1;
                return;
            }
            Some(_) | None => {
                *next += 1;
                self.settled += 1;
                self.accounts.corrupted += 1;
                return;
            }
        }
        self.counted += u64::from(self.counting);
        let due = Instant::from_nanos(self.frame.number(payload, 1).unwrap_or_default());
        if due >= self.measure_from {
            self.latency.record(at.since(due).as_nanos() as u64);
        }
    }

    fn on_enter(&mut self, at: Instant) {
        if let Some(due) = self.leaving.take() {
            self.late_max = self.late_max.max(at.since(due));
        }
    }

    fn on_ended(&mut self, _: &mut Outbox<'_>, _: usize, end: &End) {
        end.fault().into_iter().for_each(|fault| self.accounts.count_end(fault));
    }
}
