//! `compare`: servers side by side, in rounds that interleave them.
//!
//! All servers run from the start, pinned to the same core; only the one under load uses it. Each round measures each
//! server once, beginning with another one than the round before, so that what drifts (clock speed, neighbours) meets
//! all alike. Ratios are taken within a round; their median is the result and their range the spread.

pub mod stats;

use std::time::Duration;

use ringwire_ring::linux::pin_to_core;

use crate::compare::stats::Spread;
use crate::json::Json;
use crate::measure::Machine;
use crate::report::Report;
use crate::server::{Server, ServerCommand};
use crate::target::{Target, Wire};
use crate::workload::echo::{self, EchoOptions, Length, Payload};

/// What to compare, and under which load.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    /// The servers; ratios are against the last.
    pub servers: Vec<ServerCommand>,
    /// The core for the servers.
    pub server_core: usize,
    /// The core for the generator.
    pub load_core: usize,
    /// Rounds, at least one.
    pub rounds: usize,
    /// How long each measurement is.
    pub time: Duration,
    /// How long it warms up.
    pub warm_up: Duration,
    /// Connections.
    pub connections: usize,
    /// Messages on their way per connection.
    pub depth: usize,
    /// Bytes of a message.
    pub bytes: usize,
    /// What a message is.
    pub payload: Payload,
    /// What lies between messages and sockets.
    pub wire: Wire,
}

/// What a comparison found: a report per round and server.
#[derive(Clone, Debug)]
pub struct Comparison {
    names: Vec<String>,
    rounds: Vec<Vec<Report>>,
    options: Json,
}

/// Runs the comparison on the calling thread, which is pinned to the load core afterwards. `progress` is told of each
/// measurement.
///
/// # Errors
/// If a server does not start or a run fails, or messages were lost.
pub fn run(options: &CompareOptions, mut progress: impl FnMut(&str, &Report)) -> Result<Comparison, String> {
    let mut servers = Vec::new();
    for server in &options.servers {
        servers.push(Server::start(server, Some(options.server_core))?);
    }
    pin_to_core(options.load_core).map_err(|error| format!("core {}: {error}", options.load_core))?;
    let mut rounds = Vec::new();
    for round in 0..options.rounds {
        let mut reports: Vec<Option<Report>> = vec![None; servers.len()];
        for turn in 0..servers.len() {
            let index = (round + turn) % servers.len();
            let name = &options.servers[index].name;
            let report = measure(options, &servers[index]).map_err(|reason| format!("{name}: {reason}"))?;
            if !report.accounts.are_clean() {
                return Err(format!("{name}: not every message came back: {:?}", report.accounts));
            }
            progress(name, &report);
            reports[index] = Some(report);
        }
        rounds.push(reports.into_iter().flatten().collect());
    }
    let names = options.servers.iter().map(|server| server.name.clone()).collect();
    Ok(Comparison { names, rounds, options: options.to_json() })
}

fn measure(options: &CompareOptions, server: &Server) -> Result<Report, String> {
    echo::run(&EchoOptions {
        target: Target::parse_with(&server.url, options.wire.clone())?,
        connections: options.connections,
        depth: options.depth,
        bytes: options.bytes,
        payload: options.payload,
        length: Length::Time(options.time),
        warm_up: options.warm_up,
        core: Some(options.load_core),
        server: Some(server.process()?),
    })
}

impl CompareOptions {
    fn to_json(&self) -> Json {
        Json::object([
            ("workload", "echo".into()),
            ("connections", self.connections.into()),
            ("depth", self.depth.into()),
            ("bytes", self.bytes.into()),
            ("payload", self.payload.name().into()),
            ("deflate", self.wire.deflate.is_some().into()),
            ("rounds", self.rounds.into()),
            ("seconds", self.time.as_secs_f64().into()),
            ("warm_up_seconds", self.warm_up.as_secs_f64().into()),
            ("server_core", self.server_core.into()),
            ("load_core", self.load_core.into()),
        ])
    }
}

impl Comparison {
    /// The server's CPU time per message in microseconds, over the rounds.
    ///
    /// # Panics
    /// If there is no server of this index.
    pub fn cpu_us(&self, server: usize) -> Spread {
        self.figure(|round| cpu_us(&round[server]))
    }

    /// That of one server over that of another, taken within each round.
    ///
    /// # Panics
    /// If there is no server of one of these indices.
    pub fn cpu_ratio(&self, server: usize, to: usize) -> Spread {
        self.figure(|round| cpu_us(&round[server]) / cpu_us(&round[to]))
    }

    /// Rounds in which other processes took a noticeable share of the machine.
    pub fn rounds_disturbed(&self) -> usize {
        self.rounds.iter().filter(|round| round.iter().any(|report| report.cost.was_disturbed())).count()
    }

    fn figure(&self, of: impl Fn(&[Report]) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(|round| of(round))).expect("at least one round")
    }

    /// Figures, ratios to the last server, and every round's numbers.
    pub fn to_json(&self) -> Json {
        let last = self.names.len() - 1;
        let servers = self.names.iter().enumerate().map(|(index, name)| {
            let per_round = |of: fn(&Report) -> f64| -> Json {
                self.rounds.iter().map(|round| of(&round[index])).collect::<Vec<_>>().into()
            };
            let members = Json::object([
                ("server_cpu_us_per_message", self.cpu_us(index).to_json()),
                ("ratio_to_last", self.cpu_ratio(index, last).to_json()),
                ("messages_per_second", self.figure(|round| round[index].rate()).to_json()),
                ("p50_us", self.figure(|round| percentile_us(&round[index], 50.0)).to_json()),
                ("p99_us", self.figure(|round| percentile_us(&round[index], 99.0)).to_json()),
                ("rounds_server_cpu_us", per_round(cpu_us)),
                ("rounds_server_cpu_share", per_round(|report| share(report, report.cost.server_cpu()))),
                ("rounds_generator_cpu_share", per_round(|report| share(report, Some(report.cost.own_cpu)))),
                ("rounds_others_cpu_share", per_round(|report| share(report, Some(report.cost.others_cpu)))),
            ]);
            (name.clone(), members)
        });
        Json::object([
            ("options", self.options.clone()),
            ("machine", Machine::this().to_json()),
            ("rounds_disturbed", self.rounds_disturbed().into()),
            ("servers", Json::Object(servers.collect())),
        ])
    }

    /// A line per server.
    pub fn to_text(&self) -> String {
        let last = self.names.len() - 1;
        let mut text =
            format!("{:<20} {:>28}   {:>24}   {:>10}\n", "server", "CPU us per message", "ratio to last", "a second");
        for (index, name) in self.names.iter().enumerate() {
            let (cpu, ratio) = (self.cpu_us(index), self.cpu_ratio(index, last));
            let rate = self.figure(|round| round[index].rate());
            text +=
                &format!("{name:<20} {:>28}   {:>24}   {:>10.0}\n", cpu.to_string(), ratio.to_string(), rate.median);
        }
        let disturbed = self.rounds_disturbed();
        if disturbed > 0 {
            text += &format!("DOUBT: other processes disturbed {disturbed} of {} rounds\n", self.rounds.len());
        }
        text
    }
}

fn cpu_us(report: &Report) -> f64 {
    report.cost.server_us_per(report.messages).expect("a compared server's process is known")
}

fn percentile_us(report: &Report, percent: f64) -> f64 {
    report.latency.percentile(percent) as f64 / 1e3
}

fn share(report: &Report, cpu: Option<Duration>) -> f64 {
    report.cost.share(cpu.unwrap_or_default())
}
