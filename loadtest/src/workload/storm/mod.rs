//! `storm`: connect, one message, close; again and again.
//!
//! Each visit opens a connection, sends one message to an echo path, waits for it to come back and closes: with the
//! closing handshake on a WebSocket, at once on raw TCP. In a closed loop so many visits are under way at a time. With a
//! rate it is an open loop: visits are due at even intervals, whatever the server does. Three latencies are measured:
//! `connect` from when a visit was due until the connection is open, `round trip` of its message, and `whole` from when
//! it was due until the connection has ended.
//!
//! A port can be used once per pair of addresses, and for a minute after a connection has ended, so from one address
//! some 28,000 visits a minute reach one server. On loopback the visits come from many addresses of 127.0.0.0/8. From
//! elsewhere ports may run out, and then the report says so, and in whose setting they are.
//!
//! Visits are counted as messages; a visit that fails is a connection that ended and a message that was lost.
//!
//! Where the defaults come from: 64 at a time is what a server's backlog of connections (`listen(2)`, 128 in many) takes
//! without loss. A message of 64 bytes is a login or a health check.

mod worker;

use std::sync::Arc;

use ringwire_ring::linux::descriptor_limit;

use super::{Kind, Options, Place};
use crate::cli::Flags;
use crate::clients::{Door, TcpMessages};
use crate::framing::check_message_bytes;
use crate::json::Json;
use crate::measure::{Loop, Recorder, micros};
use crate::payload::Numbered;
use crate::report::Report;
use crate::run::{self, Load, Model, Share};
use crate::target::{Protocol, Target};
use worker::StormWorker;

/// `storm`, on the command line.
pub const KIND: Kind = Kind {
    name: "storm",
    about: "connect, one message, close, again and again: what does a connection cost?",
    help: "\
    --concurrency N       visits under way at a time, in a closed loop [64]
    --rate R              instead: so many visits a second, whatever the server does
    --bytes N             payload bytes of the message, at least 8 [64]
",
    has_adapter: false,
    read: |flags| Ok(Box::new(StormOptions::read(flags)?)),
};

/// Most visits of an open loop that are under way in a thread, if there are descriptors for them: seconds of what a
/// server does.
const UNDER_WAY_MAX: usize = 8_192;
/// Descriptors of a thread beside those of visits.
const SPARE: usize = 64;

const SERIES: &[&str] = &["whole", "connect", "round trip"];

/// How to visit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StormOptions {
    /// When to come.
    pub pace: Pace,
    /// Bytes of the message's payload.
    pub bytes: usize,
}

/// When to come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As soon as fewer than so many visits are under way.
    Concurrency(usize),
    /// So many times a second.
    Rate(f64),
}

impl StormOptions {
    /// Reads its flags.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(flags: &mut Flags) -> Result<Self, String> {
        let pace = match (flags.number("concurrency")?, flags.number::<f64>("rate")?) {
            (Some(_), Some(_)) => {
                return Err("--concurrency and --rate contradict each other: leave one out".to_owned());
            }
            (Some(0), None) => return Err("--concurrency 0: at least 1 is needed".to_owned()),
            (concurrency, None) => Pace::Concurrency(concurrency.unwrap_or(64)),
            (None, Some(rate)) if rate > 0.0 && rate.is_finite() => Pace::Rate(rate),
            (None, Some(rate)) => return Err(format!("--rate {rate}: a number above 0 is needed")),
        };
        Ok(Self { pace, bytes: flags.number("bytes")?.unwrap_or(64) })
    }
}

impl Options for StormOptions {
    fn run(&self, place: &Place, load: &Load) -> Result<Report, String> {
        let mut report = run::run(&Storm::new(*self, &place.target)?, load)?;
        let each = report.cost.server_us_per(report.messages).filter(|us| us.is_finite());
        let own = (report.messages > 0).then(|| micros(report.cost.own_cpu) / report.messages as f64);
        report.findings.extend([
            ("connections_per_second", report.rate().into()),
            ("server_cpu_us_per_connection", each.into()),
            ("generator_cpu_us_per_connection", own.into()),
        ]);
        Ok(report)
    }

    fn rate(&self) -> Option<f64> {
        match self.pace {
            Pace::Rate(rate) => Some(rate),
            Pace::Concurrency(_) => None,
        }
    }

    fn at_rate(&self, rate: f64) -> Option<Box<dyn Options>> {
        Some(Box::new(Self { pace: Pace::Rate(rate), ..*self }))
    }
}

/// The workload.
#[derive(Debug)]
struct Storm {
    options: StormOptions,
    door: Arc<Door>,
    message: Numbered,
}

impl Storm {
    fn new(options: StormOptions, target: &Target) -> Result<Self, String> {
        check_message_bytes(target, options.bytes)?;
        let message = Numbered::new(options.bytes, 1)?;
        let tcp_messages = TcpMessages::Bytes(message.frame_bytes());
        let door = Door { tcp_messages, spread: true, ..Door::new(target.clone()) };
        Ok(Self { options, door: Arc::new(door), message })
    }

    /// Visits under way in a thread.
    fn under_way_max(&self, share: Share) -> usize {
        match self.options.pace {
            Pace::Concurrency(concurrency) => share.of(concurrency),
            Pace::Rate(_) => under_way_max(descriptor_limit().unwrap_or(u64::MAX)),
        }
    }
}

/// Visits of an open loop that may be under way in a thread with this limit of descriptors, a visit having two as
/// [`Storm::connections_max`] counts them.
fn under_way_max(descriptors: u64) -> usize {
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    (descriptors.saturating_sub(2 * SPARE) / 2).clamp(1, UNDER_WAY_MAX)
}

impl Model for Storm {
    type Worker = StormWorker;

    fn name(&self) -> &'static str {
        "storm"
    }

    fn target(&self) -> &Target {
        &self.door.target
    }

    fn options(&self) -> Json {
        let (concurrency, rate) = match self.options.pace {
            Pace::Concurrency(concurrency) => (Some(concurrency), None),
            Pace::Rate(rate) => (None, Some(rate)),
        };
        Json::object([("concurrency", concurrency.into()), ("rate", rate.into()), ("bytes", self.options.bytes.into())])
    }

    fn series(&self) -> &'static [&'static str] {
        SERIES
    }

    fn kind(&self) -> Loop {
        match self.options.pace {
            Pace::Concurrency(_) => Loop::Closed,
            Pace::Rate(_) => Loop::Open,
        }
    }

    fn connections_max(&self, share: Share) -> usize {
        // Those that have ended keep their descriptors for some turns.
        2 * self.under_way_max(share) + SPARE
    }

    fn connecting_max(&self, share: Share) -> usize {
        self.under_way_max(share).max(1)
    }

    fn worker(&self, share: Share, recorder: Recorder) -> Result<StormWorker, String> {
        let is_raw = self.door.target.protocol == Protocol::Tcp;
        let limit = self.under_way_max(share);
        Ok(StormWorker::new(
            self.options.pace,
            share,
            limit,
            Arc::clone(&self.door),
            self.message.clone(),
            is_raw,
            recorder,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<StormOptions, String> {
        StormOptions::read(&mut Flags::split(&line.split(' ').map(str::to_owned).collect::<Vec<_>>()).unwrap())
    }

    #[test]
    fn an_open_loop_asks_for_no_more_descriptors_than_there_are() {
        assert_eq!([20_000, u64::MAX].map(under_way_max), [UNDER_WAY_MAX; 2]);
        for limit in [1024, 256, 200] {
            let visits = under_way_max(limit);
            assert!(visits >= 36 && 2 * visits + SPARE < limit as usize, "{visits} visits of {limit}");
        }
        assert_eq!(under_way_max(10), 1);
    }

    #[test]
    fn it_is_a_closed_loop_unless_there_is_a_rate() {
        assert_eq!(read("--bytes 9").unwrap(), StormOptions { pace: Pace::Concurrency(64), bytes: 9 });
        assert_eq!(read("--rate 5").unwrap().rate(), Some(5.0));
        assert_eq!(read("--concurrency 5").unwrap().at_rate(7.0).unwrap().rate(), Some(7.0));
        for (line, words) in
            [("--rate 5 --concurrency 5", "contradict"), ("--rate 0", "above 0"), ("--concurrency 0", "at least 1")]
        {
            assert!(read(line).unwrap_err().contains(words), "{line}");
        }
    }
}
