//! `idle`: connections that open and then say nothing. What does each cost the server?
//!
//! A ring's connections are direct descriptors, which `RLIMIT_NOFILE` bounds per ring and not per process, so with
//! one ring per thread a generator holds more connections than it may have files.
//!
//! Memory is the growth of the server's resident set since before the first of these connections, so a server that has
//! served others before shows less of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use ringwire_ring::{Clock, Instant};

use super::{connect, kernel};
use crate::clients::{Clients, ClientsOptions, Door, End, Message, Outbox, Workload};
use crate::connect::PER_SOURCE;
use crate::json::Json;
use crate::measure::{Accounts, Cost, Histogram, Meter, Process, micros};
use crate::report::Report;
use crate::target::Target;

/// Most connections of a thread: a ring's, under the common limit of 20,000 descriptors.
pub const PER_THREAD: usize = 19_900;
/// How often a thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// How many connections, and how long they are silent.
#[derive(Clone, Debug)]
pub struct IdleOptions {
    /// Where to connect.
    pub target: Target,
    /// Connections.
    pub connections: usize,
    /// How long they are silent before it counts: servers still have deadlines of the handshakes in mind.
    pub settle: Duration,
    /// How long the silence is measured.
    pub time: Duration,
    /// The server's process.
    pub server: Option<Process>,
}

/// Runs the workload, on one thread for every [`PER_THREAD`] connections.
///
/// # Errors
/// Why it could not run.
pub fn run(options: &IdleOptions) -> Result<Report, String> {
    let threads = options.connections.div_ceil(PER_THREAD).max(1);
    let each = options.connections.div_ceil(threads);
    let resident = |process: Option<Process>| process.and_then(|process| process.resident_bytes().ok());
    let resident_before = resident(options.server);
    let stop = AtomicBool::new(false);
    let clock = Clock::start();
    std::thread::scope(|scope| {
        let (says, hears) = channel();
        let mut running = Vec::new();
        for thread in 0..threads {
            let first = thread * each;
            let count = each.min(options.connections - first);
            // One source address has ports for so many connections only.
            let door = Door { spread: options.connections > PER_SOURCE, ..Door::new(options.target.clone()) };
            let (says, stop) = (says.clone(), &stop);
            running.push(scope.spawn(move || hold(door, count, clock, &says, stop)));
        }
        let silence = measure(options, threads, &hears, &clock);
        stop.store(true, Ordering::Relaxed);
        let ends: Vec<Result<Accounts, String>> = running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a generator's thread broke down".to_owned())))
            .collect();
        let cost = silence?;
        let mut accounts = Accounts::default();
        for end in ends {
            let end = end?;
            accounts.ended += end.ended;
            accounts.ended_reason = accounts.ended_reason.or(end.ended_reason);
        }
        let each_bytes = resident_before
            .zip(cost.server.map(|server| server.resident_bytes))
            .map(|(before, after)| (after as f64 - before as f64) / options.connections as f64);
        let server_cpu_us = cost.server_cpu().map(micros);
        Ok(Report {
            workload: "idle",
            target: options.target.to_string(),
            options: Json::object([("connections", options.connections.into())]),
            messages: 0,
            cost,
            threads,
            latency: Histogram::default(),
            accounts,
            findings: vec![
                ("resident_bytes_before", resident_before.into()),
                ("resident_bytes_per_connection", each_bytes.into()),
                ("server_cpu_us", server_cpu_us.into()),
            ],
        })
    })
}

/// Waits until all threads have opened their connections, and measures the silence that follows.
fn measure(
    options: &IdleOptions,
    threads: usize,
    hears: &Receiver<Result<(), String>>,
    clock: &Clock,
) -> Result<Cost, String> {
    for _ in 0..threads {
        hears.recv().map_err(|_| "a generator's thread broke down".to_owned())??;
    }
    wait(hears, options.settle)?;
    let meter = Meter::start(options.server, clock.now())?;
    wait(hears, options.time)?;
    meter.stop(clock.now())
}

/// Lets time pass, unless a thread fails.
fn wait(hears: &Receiver<Result<(), String>>, time: Duration) -> Result<(), String> {
    match hears.recv_timeout(time) {
        Ok(said) => said,
        Err(RecvTimeoutError::Timeout) => Ok(()),
        Err(RecvTimeoutError::Disconnected) => Err("a generator's thread broke down".to_owned()),
    }
}

/// One thread: opens its connections, says so, and holds them until `stop`.
fn hold(
    door: Door,
    count: usize,
    clock: Clock,
    says: &Sender<Result<(), String>>,
    stop: &AtomicBool,
) -> Result<Accounts, String> {
    let mut silence = Silence::default();
    let opened = open(door, count, clock, &mut silence);
    // Nobody hears it only if the run is over.
    let _ = says.send(opened.as_ref().map(drop).map_err(Clone::clone));
    let mut clients = opened?;
    while !stop.load(Ordering::Relaxed) {
        let look_at = clients.now() + LOOK;
        clients.turns_until(look_at, &mut silence).map_err(kernel)?;
    }
    let accounts = silence.accounts.clone();
    clients.close(&mut silence).map_err(kernel)?;
    Ok(accounts)
}

fn open(door: Door, count: usize, clock: Clock, silence: &mut Silence) -> Result<Clients, String> {
    let options = ClientsOptions {
        connections_max: count,
        receive_buffers: 64,
        receive_buffer_bytes: 1024,
        clock,
        connecting_max: ClientsOptions::CONNECTING_MAX,
    };
    let mut clients = Clients::new(options).map_err(|error| error.to_string())?;
    connect(&mut clients, door, count, silence)?;
    Ok(clients)
}

#[derive(Debug, Default)]
struct Silence {
    accounts: Accounts,
}

impl Workload for Silence {
    fn on_message(&mut self, _: &mut Outbox<'_>, _: usize, _: Message<'_>, _: Instant) {}

    fn on_ended(&mut self, _: &mut Outbox<'_>, _: usize, end: &End) {
        end.fault().into_iter().for_each(|fault| self.accounts.count_end(fault));
    }
}
