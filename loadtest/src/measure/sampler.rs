//! CPU use while a run is under way: a sample each second, and the whole at the end.
//!
//! A server that dies takes its figures with it; what is known of it then is what was last read.

use std::time::Duration;

use ringwire_ring::Instant;

use super::cores::CoreShare;
use super::cost::{Cost, Reading, ServerCost};
use super::recorder::Span;
use super::timeline::SLICES;
use super::usage::Process;
use crate::json::Json;

/// The least time between two samples.
const EVERY_MIN: Duration = Duration::from_secs(1);

/// What was used since the last sample, in shares of one core.
#[derive(Clone, Debug, PartialEq)]
pub struct CpuSample {
    /// Its end, since the measured interval began.
    pub at: Duration,
    /// By the server, if its process is known.
    pub server: Option<f64>,
    /// The server's resident memory at its end.
    pub resident_bytes: Option<u64>,
    /// By the generator.
    pub own: f64,
    /// Of each core.
    pub cores: Vec<CoreShare>,
}

/// Reads what an interval costs while it goes.
#[derive(Debug)]
pub struct Sampler {
    server: Option<Process>,
    start: Reading,
    last: Reading,
    started: Instant,
    every: Duration,
    due: Instant,
    /// What the server had cost when it was last read.
    known: Option<ServerCost>,
    gone: Option<String>,
}

impl Sampler {
    /// Begins at `now` to measure the span's interval.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn start(server: Option<Process>, span: Span, now: Instant) -> Result<Self, String> {
        let every = (span.measured() / SLICES as u32).max(EVERY_MIN);
        let start = Reading::take(server, now)?;
        let due = now + every;
        Ok(Self { server, last: start.clone(), start, started: now, every, due, known: None, gone: None })
    }

    /// When the next sample is due.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// A sample, if one is due.
    ///
    /// # Errors
    /// If this process cannot be measured. A server that is gone is no error: see [`Sampler::server_is_gone`].
    pub fn turn(&mut self, now: Instant) -> Result<Option<CpuSample>, String> {
        if now < self.due {
            return Ok(None);
        }
        let reading = self.read(now)?;
        let piece = reading.since(&self.last);
        self.known = reading.since(&self.start).server.or(self.known);
        self.last = reading;
        self.due = now + self.every;
        Ok(Some(CpuSample {
            at: now.since(self.started),
            server: piece.server.map(|server| piece.share(server.cpu)),
            resident_bytes: piece.server.map(|server| server.resident_bytes),
            own: piece.share(piece.own_cpu),
            cores: piece.cores,
        }))
    }

    /// Why the server can no longer be measured, as the user reads it.
    pub fn server_is_gone(&self) -> Option<&str> {
        self.gone.as_deref()
    }

    /// Ends the interval at `now`. Of a server that is gone it has what was last known.
    ///
    /// # Errors
    /// If this process cannot be measured.
    pub fn stop(&mut self, now: Instant) -> Result<Cost, String> {
        let cost = self.read(now)?.since(&self.start);
        Ok(Cost { server: cost.server.or(self.known), ..cost })
    }

    fn read(&mut self, now: Instant) -> Result<Reading, String> {
        match Reading::take(self.server, now) {
            Err(reason) if self.server.is_some() => {
                self.server = None;
                let reading = Reading::take(None, now)?;
                self.gone = Some(reason);
                Ok(reading)
            }
            reading => reading,
        }
    }
}

impl CpuSample {
    pub(super) fn to_json(&self) -> Json {
        Json::List(vec![
            self.at.as_secs_f64().into(),
            self.server.into(),
            self.own.into(),
            self.resident_bytes.into(),
            self.cores.iter().map(|core| Json::Number(core.busy)).collect::<Vec<_>>().into(),
            self.cores.iter().map(|core| Json::Number(core.stolen)).collect::<Vec<_>>().into(),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn at(seconds: u64) -> Instant {
        Instant::default() + Duration::from_secs(seconds)
    }

    fn span(seconds: u64) -> Span {
        Span { start: at(0), measure_from: at(1), measure_to: at(1 + seconds) }
    }

    #[test]
    fn samples_are_a_second_apart_or_a_120th_of_the_interval() {
        for (seconds, every) in [(5, 1), (120, 1), (1200, 10)] {
            let sampler = Sampler::start(None, span(seconds), at(1)).unwrap();
            assert_eq!(sampler.due(), at(1 + every), "{seconds}");
        }
    }

    #[test]
    fn a_sample_comes_when_it_is_due_and_says_what_was_used_since() {
        let mut sampler = Sampler::start(Some(Process::own()), span(5), at(1)).unwrap();
        assert_eq!(sampler.turn(at(1) + Duration::from_millis(999)), Ok(None));
        let sample = sampler.turn(at(2)).unwrap().expect("it is due");
        assert_eq!(sample.at, Duration::from_secs(1));
        assert!(sample.server.is_some() && sample.resident_bytes.is_some_and(|bytes| bytes > 0), "{sample:?}");
        assert_eq!((sampler.turn(at(2)), sampler.due()), (Ok(None), at(3)));
    }

    #[test]
    fn a_server_that_dies_keeps_what_was_known_of_it() {
        let mut child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().expect("sleep");
        let mut sampler = Sampler::start(Process::new(child.id()).ok(), span(5), at(1)).unwrap();
        let before = sampler.turn(at(2)).unwrap().expect("it is due");
        assert!(before.server.is_some() && sampler.server_is_gone().is_none());
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        let after = sampler.turn(at(3)).unwrap().expect("it is due");
        assert_eq!(after.server, None);
        assert!(sampler.server_is_gone().is_some_and(|reason| reason.contains("server's process")));
        let cost = sampler.stop(at(4)).unwrap();
        assert_eq!(cost.server.map(|server| server.processes), Some(1));
    }
}
