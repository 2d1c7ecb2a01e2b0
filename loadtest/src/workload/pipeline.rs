//! `pipeline`: how many bytes a second go through?
//!
//! Large messages go to an echo path back to back: each connection keeps a window of bytes on their way, and another
//! message follows for each that comes back. It is the closed loop of [`echo`](super::echo) with large messages, so every
//! byte is compared and every message accounted for. Megabytes a second are counted in one direction; as many go
//! the other way. With `--server-pid` it says what a gigabyte costs, each byte counted once in and once out.
//!
//! Where the defaults come from: 64 KiB is what a pipe or a socket buffer holds and what most senders write at a time;
//! a window of 1 MiB is what 10 Gbit/s take at a round trip of 0.8 ms, so the window is not what bounds a server nearby.

use super::echo::{EchoOptions, Pace, Payload};
use super::{Kind, Options, Place};
use crate::cli::Flags;
use crate::json::Json;
use crate::measure::Cost;
use crate::report::Report;
use crate::run::Load;

/// `pipeline`, on the command line.
pub const KIND: Kind = Kind {
    name: "pipeline",
    about: "large messages back to back against an echo: bytes a second, CPU time per gigabyte",
    help: "\
    --connections N       connections [1]
    --bytes N             payload bytes of a message, at least 8 [65_536]
    --window B            bytes on their way per connection; at least one message is [1_048_576]
",
    has_adapter: false,
    read: |flags| Ok(Box::new(PipelineOptions::read(flags)?)),
};

/// How to fill the pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PipelineOptions {
    /// Connections.
    pub connections: usize,
    /// Bytes of a message's payload.
    pub bytes: usize,
    /// Bytes on their way per connection.
    pub window: usize,
}

impl PipelineOptions {
    /// Reads its flags.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(flags: &mut Flags) -> Result<Self, String> {
        Ok(Self {
            connections: flags.at_least_one("connections", 1)?,
            bytes: flags.at_least_one("bytes", 64 * 1024)?,
            window: flags.at_least_one("window", 1 << 20)?,
        })
    }

    /// Messages on their way per connection.
    fn depth(&self) -> usize {
        (self.window / self.bytes).max(1)
    }

    fn echo(&self) -> EchoOptions {
        EchoOptions {
            connections: self.connections,
            pace: Pace::Depth(self.depth()),
            messages: None,
            bytes: self.bytes,
            payload: Payload::Random,
        }
    }
}

impl Options for PipelineOptions {
    fn run(&self, place: &Place, load: &Load) -> Result<Report, String> {
        let mut report = self.echo().run(place, load)?;
        report.workload = "pipeline";
        report.options = Json::object([
            ("connections", self.connections.into()),
            ("bytes", self.bytes.into()),
            ("window", self.window.into()),
        ]);
        let payload = report.messages as f64 * self.bytes as f64;
        let (rate, server, own) = figures(payload, &report.cost);
        report.findings.extend([
            ("mb_per_second_each_way", rate.into()),
            ("server_cpu_seconds_per_gb", server.into()),
            ("generator_cpu_seconds_per_gb", own.into()),
        ]);
        Ok(report)
    }
}

/// Megabytes a second one way, and CPU seconds of server and generator for each gigabyte, when so many bytes of payload
/// have come back. A byte that has come back went through each of them twice.
fn figures(payload: f64, cost: &Cost) -> (f64, Option<f64>, f64) {
    let gigabytes = 2.0 * payload / 1e9;
    let server = cost.server_cpu().map(|cpu| cpu.as_secs_f64() / gigabytes);
    (payload / 1e6 / cost.elapsed.as_secs_f64(), server, cost.own_cpu.as_secs_f64() / gigabytes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::ServerCost;

    #[test]
    fn a_window_is_filled_with_whole_messages_and_one_at_least() {
        let depth = |bytes, window| PipelineOptions { connections: 1, bytes, window }.depth();
        assert_eq!([depth(65_536, 1 << 20), depth(300, 1000), depth(5000, 1000)], [16, 3, 1]);
    }

    #[test]
    fn bytes_are_counted_one_way_and_their_cost_both_ways() {
        let server = ServerCost { cpu: Duration::from_secs(3), ..ServerCost::default() };
        let cost = Cost {
            elapsed: Duration::from_secs(4),
            server: Some(server),
            own_cpu: Duration::from_secs(2),
            ..Cost::default()
        };
        assert_eq!(figures(2e9, &cost), (500.0, Some(0.75), 0.5));
        assert_eq!(figures(2e9, &Cost { server: None, ..cost }).1, None);
    }
}
