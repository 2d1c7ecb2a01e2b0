//! What a measured interval cost: time, the server's CPU, the generator's, and what others took meanwhile.

use std::time::Duration;

use ringwire_ring::Instant;

use crate::json::Json;
use crate::usage::{Process, machine_busy};

/// Share of a core from which a process counts as busy all the time.
const SATURATED: f64 = 0.95;
/// Share of a core that other processes may take before they are said to disturb.
const DISTURBED: f64 = 0.10;

/// The beginning of an interval.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    server: Option<Process>,
    start: Reading,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    server_cpu: Option<Duration>,
    own_cpu: Duration,
    machine_busy: Duration,
}

/// What an interval cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// How long it was.
    pub elapsed: Duration,
    /// CPU time of the server, if its process is known.
    pub server_cpu: Option<Duration>,
    /// The server's resident memory at the end.
    pub server_resident_bytes: Option<u64>,
    /// CPU time of this process.
    pub own_cpu: Duration,
    /// CPU time of everything else on the machine, the server included if its process is not known. To 10 ms.
    pub others_cpu: Duration,
}

impl Meter {
    /// Begins an interval at `now`.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn start(server: Option<Process>, now: Instant) -> Result<Self, String> {
        Ok(Self { server, start: read(server, now)? })
    }

    /// Ends the interval at `now`.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn stop(&self, now: Instant) -> Result<Cost, String> {
        let (start, end) = (self.start, read(self.server, now)?);
        let server_cpu = end.server_cpu.zip(start.server_cpu).map(|(end, start)| end.saturating_sub(start));
        let own_cpu = end.own_cpu.saturating_sub(start.own_cpu);
        let known = own_cpu + server_cpu.unwrap_or_default();
        Ok(Cost {
            elapsed: end.at.since(start.at),
            server_cpu,
            server_resident_bytes: self.server.and_then(|server| server.resident_bytes().ok()),
            own_cpu,
            others_cpu: end.machine_busy.saturating_sub(start.machine_busy).saturating_sub(known),
        })
    }
}

fn read(server: Option<Process>, at: Instant) -> Result<Reading, String> {
    let gone = |error: std::io::Error| format!("the server's process cannot be measured: {error}");
    Ok(Reading {
        at,
        server_cpu: server.map(|server| server.cpu_time()).transpose().map_err(gone)?,
        own_cpu: Process::own().cpu_time().map_err(|error| error.to_string())?,
        machine_busy: machine_busy().map_err(|error| error.to_string())?,
    })
}

impl Cost {
    /// `cpu` as a share of one core over the interval.
    pub fn share(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() / self.elapsed.as_secs_f64()
    }

    /// The server's CPU time per message, in microseconds.
    pub fn server_us_per(&self, messages: u64) -> Option<f64> {
        self.server_cpu.map(|cpu| micros(cpu) / messages as f64)
    }

    /// Whether this process, with so many threads, was what set the pace: it was busy throughout and the server was
    /// not, or nothing is known of the server.
    pub fn generator_was_bottleneck(&self, threads: usize) -> bool {
        let own_busy = self.share(self.own_cpu) / threads as f64 >= SATURATED;
        own_busy && self.server_cpu.is_none_or(|cpu| self.share(cpu) < SATURATED)
    }

    /// Whether others took so much CPU time that the result is not to be trusted. Not known without the server's
    /// process.
    pub fn was_disturbed(&self) -> bool {
        self.server_cpu.is_some() && self.share(self.others_cpu) > DISTURBED
    }

    /// The interval, for a report.
    pub fn to_json(&self, messages: u64, threads: usize) -> Json {
        let server = self.server_cpu.map(|cpu| {
            Json::object([
                ("cpu_us_per_message", self.server_us_per(messages).into()),
                ("cpu_share", self.share(cpu).into()),
                ("resident_bytes", self.server_resident_bytes.into()),
            ])
        });
        let own = Json::object([
            ("cpu_us_per_message", (micros(self.own_cpu) / messages as f64).into()),
            ("cpu_share", self.share(self.own_cpu).into()),
            ("threads", threads.into()),
            ("was_bottleneck", self.generator_was_bottleneck(threads).into()),
        ]);
        Json::object([
            ("seconds", self.elapsed.as_secs_f64().into()),
            ("server", server.unwrap_or(Json::Null)),
            ("generator", own),
            ("others_cpu_share", self.server_cpu.map(|_| self.share(self.others_cpu)).into()),
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

    fn cost(server_ms: Option<u64>, own_ms: u64, others_ms: u64) -> Cost {
        Cost {
            elapsed: Duration::from_secs(1),
            server_cpu: server_ms.map(Duration::from_millis),
            server_resident_bytes: None,
            own_cpu: Duration::from_millis(own_ms),
            others_cpu: Duration::from_millis(others_ms),
        }
    }

    #[test]
    fn the_generator_is_the_bottleneck_when_it_is_busy_and_the_server_is_not() {
        assert!(cost(Some(500), 990, 0).generator_was_bottleneck(1));
        assert!(cost(None, 990, 0).generator_was_bottleneck(1));
        assert!(!cost(Some(990), 990, 0).generator_was_bottleneck(1));
        assert!(!cost(Some(500), 600, 0).generator_was_bottleneck(1));
        assert!(!cost(Some(500), 990, 0).generator_was_bottleneck(2));
    }

    #[test]
    fn others_disturb_when_they_take_more_than_a_tenth_of_a_core() {
        assert!(cost(Some(500), 500, 110).was_disturbed());
        assert!(!cost(Some(500), 500, 90).was_disturbed());
        assert!(!cost(None, 500, 900).was_disturbed());
    }

    #[test]
    fn cpu_per_message_divides() {
        assert_eq!(cost(Some(500), 0, 0).server_us_per(1000), Some(500.0));
        assert_eq!(cost(None, 0, 0).server_us_per(1000), None);
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
        assert!(cost.own_cpu > Duration::ZERO && cost.server_cpu.is_some());
    }
}
