//! What a measured interval cost: time, the server's CPU, the generator's, what others took meanwhile, and how busy
//! each core was.

use std::collections::BTreeMap;
use std::time::Duration;

use ringwire_ring::Instant;

use super::cores::{CoreShare, Cores};
use super::usage::{Process, ThreadTimes, Use};
use super::verdict;
use crate::json::Json;

/// The beginning of an interval.
#[derive(Clone, Debug)]
pub struct Meter {
    server: Option<Process>,
    start: Reading,
}

#[derive(Clone, Debug)]
pub(super) struct Reading {
    at: Instant,
    server: Option<Use>,
    own_cpu: Duration,
    own_threads: BTreeMap<u32, ThreadTimes>,
    cores: Cores,
}

/// What an interval cost.
#[derive(Clone, Debug, Default)]
pub struct Cost {
    /// How long it was.
    pub elapsed: Duration,
    /// The server's part, if its process is known.
    pub server: Option<ServerCost>,
    /// CPU time of this process.
    pub own_cpu: Duration,
    /// CPU time of that thread of this process which used most.
    pub own_busiest: Duration,
    /// How long that thread of this process at least waited for others' work on its core which waited most.
    pub own_waited: Duration,
    /// CPU time of everything else on the machine, the server included if its process is not known. To 10 ms.
    pub others_cpu: Duration,
    /// What became of each core's time.
    pub cores: Vec<CoreShare>,
}

/// What an interval cost the server: its process and all that descend from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerCost {
    /// CPU time.
    pub cpu: Duration,
    /// CPU time of the thread that used most.
    pub busiest: Duration,
    /// Resident memory at the end.
    pub resident_bytes: u64,
    /// Threads at the end.
    pub threads: usize,
    /// Processes at the end.
    pub processes: usize,
    /// Cores that it may run on, if that is known.
    pub cores_allowed: Option<usize>,
}

impl Meter {
    /// Begins an interval at `now`.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn start(server: Option<Process>, now: Instant) -> Result<Self, String> {
        Ok(Self { server, start: Reading::take(server, now)? })
    }

    /// Ends the interval at `now`.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn stop(&self, now: Instant) -> Result<Cost, String> {
        Ok(Reading::take(self.server, now)?.since(&self.start))
    }
}

impl Reading {
    pub(super) fn take(server: Option<Process>, at: Instant) -> Result<Self, String> {
        let gone = |error: std::io::Error| format!("the server's process cannot be measured: {error}");
        let own = |error: std::io::Error| format!("what this process uses cannot be measured: {error}");
        Ok(Self {
            at,
            server: server.map(|server| server.whole_use()).transpose().map_err(gone)?,
            own_cpu: Process::own().cpu_time().map_err(own)?,
            own_threads: Process::own().thread_times().map_err(own)?,
            cores: Cores::read().map_err(own)?,
        })
    }

    pub(super) fn since(&self, start: &Reading) -> Cost {
        let server = self.server.as_ref().zip(start.server.as_ref()).map(|(end, start)| ServerCost {
            cpu: end.cpu.saturating_sub(start.cpu),
            busiest: busiest(&spent(&end.threads, &start.threads)),
            resident_bytes: end.resident_bytes,
            threads: end.threads.len(),
            processes: end.processes,
            cores_allowed: end.cores_allowed,
        });
        let own_cpu = self.own_cpu.saturating_sub(start.own_cpu);
        let own_threads = spent(&self.own_threads, &start.own_threads);
        let known = own_cpu + server.map(|server| server.cpu).unwrap_or_default();
        Cost {
            elapsed: self.at.since(start.at),
            server,
            own_cpu,
            // The two are not read at the same moment.
            own_busiest: busiest(&own_threads).min(own_cpu),
            own_waited: kept_waiting(&own_threads),
            others_cpu: self.cores.busy().saturating_sub(start.cores.busy()).saturating_sub(known),
            cores: self.cores.since(&start.cores),
        }
    }
}

/// What became of the time of each thread that lives at the end; one that has come meanwhile spent all it has.
fn spent(end: &BTreeMap<u32, ThreadTimes>, start: &BTreeMap<u32, ThreadTimes>) -> Vec<ThreadTimes> {
    let of = |(thread, end): (&u32, &ThreadTimes)| {
        let start = start.get(thread).copied().unwrap_or_default();
        ThreadTimes { run: end.run.saturating_sub(start.run), waited: end.waited.saturating_sub(start.waited) }
    };
    end.iter().map(of).collect()
}

/// The most that one thread used.
fn busiest(threads: &[ThreadTimes]) -> Duration {
    threads.iter().map(|times| times.run).max().unwrap_or_default()
}

/// The most that one thread waited for what is none of these: for these it waits no longer than they run.
fn kept_waiting(threads: &[ThreadTimes]) -> Duration {
    let run: Duration = threads.iter().map(|times| times.run).sum();
    threads.iter().map(|times| times.waited.saturating_sub(run - times.run)).max().unwrap_or_default()
}

impl Cost {
    /// `cpu` as a share of one core over the interval.
    pub fn share(&self, cpu: Duration) -> f64 {
        if self.elapsed.is_zero() { 0.0 } else { cpu.as_secs_f64() / self.elapsed.as_secs_f64() }
    }

    /// The server's CPU time, if its process is known.
    pub fn server_cpu(&self) -> Option<Duration> {
        self.server.map(|server| server.cpu)
    }

    /// The server's CPU time per message, in microseconds.
    pub fn server_us_per(&self, messages: u64) -> Option<f64> {
        self.server_cpu().map(|cpu| micros(cpu) / messages as f64)
    }

    /// The greatest share that a hypervisor took of any core.
    pub fn steal_share(&self) -> f64 {
        self.cores.iter().map(|core| core.stolen).fold(0.0, f64::max)
    }

    /// Whether others took so much CPU time that the result is not to be trusted. Not known without the server's
    /// process.
    pub fn was_disturbed(&self) -> bool {
        self.server.is_some() && self.share(self.others_cpu) > verdict::OTHERS_SHARE_MAX
    }

    /// Whether others so often had the core of a thread of the generator that the result is not to be trusted.
    pub fn was_kept_waiting(&self) -> bool {
        self.share(self.own_waited) > verdict::WAITED_SHARE_MAX
    }

    /// The interval, for a report.
    pub fn to_json(&self, messages: u64) -> Json {
        let server = self.server.map(|server| {
            Json::object([
                ("cpu_us_per_message", self.server_us_per(messages).into()),
                ("cpu_share", self.share(server.cpu).into()),
                ("busiest_thread_share", self.share(server.busiest).into()),
                ("resident_bytes", server.resident_bytes.into()),
                ("threads", server.threads.into()),
                ("processes", server.processes.into()),
                ("cores_allowed", server.cores_allowed.into()),
            ])
        });
        let own = Json::object([
            ("cpu_us_per_message", (micros(self.own_cpu) / messages as f64).into()),
            ("cpu_share", self.share(self.own_cpu).into()),
            ("busiest_thread_share", self.share(self.own_busiest).into()),
            ("waited_share", self.share(self.own_waited).into()),
            ("was_bottleneck", verdict::generator_was_bottleneck(self).into()),
        ]);
        let of_cores = |of: fn(&CoreShare) -> Json| Json::List(self.cores.iter().map(of).collect());
        Json::object([
            ("seconds", self.elapsed.as_secs_f64().into()),
            ("server", server.unwrap_or(Json::Null)),
            ("generator", own),
            ("others_cpu_share", self.server.map(|_| self.share(self.others_cpu)).into()),
            ("cores", of_cores(|core| core.core.into())),
            ("core_busy_shares", of_cores(|core| core.busy.into())),
            ("core_steal_shares", of_cores(|core| core.stolen.into())),
        ])
    }
}

/// A duration in microseconds.
pub fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_per_message_divides() {
        let server = ServerCost { cpu: Duration::from_millis(500), ..ServerCost::default() };
        let known = Cost { server: Some(server), ..Cost::default() };
        assert_eq!(known.server_us_per(1000), Some(500.0));
        assert_eq!(Cost::default().server_us_per(1000), None);
    }

    #[test]
    fn others_disturb_when_they_take_more_than_a_tenth_of_a_core() {
        let cost = |others| Cost {
            elapsed: Duration::from_secs(1),
            server: Some(ServerCost::default()),
            others_cpu: Duration::from_millis(others),
            ..Cost::default()
        };
        assert!(cost(110).was_disturbed() && !cost(90).was_disturbed());
        assert!(!Cost { server: None, ..cost(900) }.was_disturbed());
    }

    /// Threads by number, with milliseconds in which they ran and waited.
    fn threads(times: &[(u32, u64, u64)]) -> BTreeMap<u32, ThreadTimes> {
        let ms = Duration::from_millis;
        times.iter().map(|&(id, run, waited)| (id, ThreadTimes { run: ms(run), waited: ms(waited) })).collect()
    }

    #[test]
    fn the_busiest_thread_is_the_one_that_used_most_in_the_interval() {
        let (start, end) =
            (threads(&[(1, 900, 0), (2, 100, 0), (3, 5, 0)]), threads(&[(1, 950, 0), (2, 180, 0), (4, 70, 0)]));
        assert_eq!(busiest(&spent(&end, &start)), Duration::from_millis(80));
    }

    #[test]
    fn who_waits_for_its_own_kind_is_not_kept_waiting_by_others() {
        let waited = |end: &[(u32, u64, u64)]| kept_waiting(&spent(&threads(end), &threads(&[(1, 500, 90)])));
        let ms = Duration::from_millis;
        assert_eq!(waited(&[(1, 700, 390)]), ms(300), "alone");
        assert_eq!(
            waited(&[(1, 700, 390), (2, 250, 10)]),
            ms(50),
            "the other ran for 250 ms, perhaps on the same core"
        );
        assert_eq!(waited(&[(1, 700, 390), (2, 400, 200)]), ms(0), "two that share a core");
    }

    #[test]
    fn what_neither_server_nor_generator_used_was_used_by_others() {
        let ms = Duration::from_millis;
        let reading = |at, server: Option<u64>, own, ticks| Reading {
            at: Instant::from_nanos(at),
            server: server.map(|cpu| Use { cpu: ms(cpu), ..Use::default() }),
            own_cpu: ms(own),
            own_threads: BTreeMap::new(),
            cores: Cores::parse(&format!("cpu  0\ncpu0 {ticks} 0 0 1000\n")).expect("that form"),
        };
        let cost = reading(2_000_000_000, Some(700), 350, 100).since(&reading(1_000_000_000, Some(400), 50, 10));
        assert_eq!((cost.elapsed, cost.own_cpu, cost.server_cpu()), (ms(1000), ms(300), Some(ms(300))));
        assert_eq!(cost.others_cpu, ms(300));
        let unknown = reading(2_000_000_000, None, 350, 100).since(&reading(1_000_000_000, None, 50, 10));
        assert_eq!((unknown.others_cpu, unknown.server_cpu()), (ms(600), None));
    }

    #[test]
    fn an_interval_of_work_costs_own_time() {
        let clock = ringwire_ring::Clock::start();
        let begun = clock.now();
        let meter = Meter::start(Some(Process::own()), begun).unwrap();
        let mut sum = 0u64;
        while clock.now().since(begun) < Duration::from_millis(50) {
            sum = std::hint::black_box(sum + 1);
        }
        let cost = meter.stop(clock.now()).unwrap();
        assert!(cost.elapsed >= Duration::from_millis(50));
        assert!(cost.own_cpu > Duration::ZERO && cost.own_busiest > Duration::ZERO && cost.own_busiest <= cost.own_cpu);
        let server = cost.server.expect("it is this process");
        assert!(server.threads >= 1 && server.processes >= 1 && server.cores_allowed.is_some(), "{server:?}");
        assert!(!cost.cores.is_empty() && cost.cores.iter().any(|core| core.busy > 0.0), "{:?}", cost.cores);
    }
}
