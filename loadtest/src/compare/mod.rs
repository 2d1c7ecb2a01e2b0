//! `compare`: servers side by side, in rounds that interleave them.
//!
//! All servers run from the start, pinned to the same core; only the one under load uses it. Each round measures each
//! server once, beginning with another one than the round before, so that what drifts (clock speed, neighbours) meets
//! all alike. Ratios are taken within a round; their median is the result and their range the spread.

pub mod stats;

use std::sync::Arc;
use std::time::Duration;

use ringwire_ring::linux::pin_to_core;

use crate::adapter::{self, Adapter};
use crate::cli::{self, Flags};
use crate::compare::stats::Spread;
use crate::json::Json;
use crate::measure::Machine;
use crate::report::Report;
use crate::run::Load;
use crate::server::{Server, ServerCommand};
use crate::target::{Target, Wire};
use crate::workload::{Options, Place};

/// `ringload compare`, on the command line.
pub const HELP: &str = "\
ringload compare WORKLOAD: several servers, in rounds that interleave them

    --server 'NAME URL PROGRAM ARGUMENT...'   once per server; {port} stands for a free port
    --rounds N            rounds [5]
    --server-core N       core of the servers [0]
    --load-core N         core of the generator [1]
    and the flags of WORKLOAD
";

/// What to compare, and under which load.
#[derive(Debug)]
pub struct CompareOptions {
    /// The servers; ratios are against the last.
    pub servers: Vec<ServerCommand>,
    /// The core for the servers.
    pub server_core: usize,
    /// Rounds, at least one.
    pub rounds: usize,
    /// Under what.
    pub workload: Box<dyn Options>,
    /// What it is called.
    pub kind: &'static str,
    /// What is spoken.
    pub adapter: Arc<dyn Adapter>,
    /// How long and on what it runs.
    pub load: Load,
    /// What lies between messages and sockets.
    pub wire: Wire,
}

impl CompareOptions {
    /// Reads its flags.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(flags: &mut Flags) -> Result<Self, String> {
        let servers: Vec<ServerCommand> =
            flags.texts("server").iter().map(|text| ServerCommand::parse(text)).collect::<Result<_, _>>()?;
        if servers.len() < 2 {
            return Err("compare needs two or more --server".to_owned());
        }
        let kind = match &flags.plain()[..] {
            [] => cli::kind("echo")?,
            [one] => cli::kind(one)?,
            [_, more, ..] => return Err(format!("one workload is needed: what is `{more}`?")),
        };
        let load_core = flags.number("load-core")?.unwrap_or(1);
        let adapter = if kind.has_adapter { adapter::read(flags)? } else { Arc::new(adapter::path::Path) };
        Ok(Self {
            servers,
            server_core: flags.number("server-core")?.unwrap_or(0),
            rounds: flags.at_least_one("rounds", 5)?,
            workload: (kind.read)(flags)?,
            kind: kind.name,
            adapter,
            load: Load { threads: vec![Some(load_core)], ..cli::load(flags, 2.0, 0.5)? },
            wire: cli::wire(flags)?,
        })
    }
}

/// What a comparison found: a report per round and server.
#[derive(Clone, Debug)]
pub struct Comparison {
    names: Vec<String>,
    rounds: Vec<Vec<Report>>,
    options: Json,
}

/// Runs the comparison. `progress` is told of each measurement.
///
/// # Errors
/// If a server does not start or a run fails, or messages were lost.
pub fn run(options: &CompareOptions, mut progress: impl FnMut(&str, &Report)) -> Result<Comparison, String> {
    let mut servers = Vec::new();
    for server in &options.servers {
        servers.push(Server::start(server, Some(options.server_core))?);
    }
    // The thread that coordinates is not to disturb the servers.
    if let Some(Some(core)) = options.load.threads.first() {
        pin_to_core(*core).map_err(|error| format!("core {core}: {error}"))?;
    }
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
    let target = Target::parse_with(&server.url, options.wire.clone())?;
    let place = Place { target, adapter: Arc::clone(&options.adapter) };
    let load = Load { server: Some(server.process()?), ..options.load.clone() };
    options.workload.run(&place, &load)
}

impl CompareOptions {
    fn to_json(&self) -> Json {
        Json::object([
            ("workload", self.kind.into()),
            ("deflate", self.wire.deflate.is_some().into()),
            ("rounds", self.rounds.into()),
            ("seconds", self.load.time.as_secs_f64().into()),
            ("warm_up_seconds", self.load.warm_up.as_secs_f64().into()),
            ("server_core", self.server_core.into()),
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
    report.latency().percentile(percent) as f64 / 1e3
}

fn share(report: &Report, cpu: Option<Duration>) -> f64 {
    report.cost.share(cpu.unwrap_or_default())
}
