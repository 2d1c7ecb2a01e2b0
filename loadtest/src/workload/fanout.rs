//! `fanout`: one publisher, one topic, many subscribers.
//!
//! At rest, publishes are due at a rate, whatever the server does. Saturated, `window` publishes are kept on their way:
//! what comes out is the greatest rate. Every subscriber must see every publish once, in order; but for those that are
//! slow on purpose, which are there to disturb the others.

use std::sync::Arc;
use std::time::Duration;

use super::{Kind, Options, Place};
use crate::cli::Flags;
use crate::json::Json;
use crate::payload::stamp::PAYLOAD_BYTES_MIN;
use crate::pubsub::{Action, Flow, PubSub, Scenario, Script, Session, Source, What};
use crate::report::Report;
use crate::run::{self, Load, Share};

/// `fanout`, on the command line.
pub const KIND: Kind = Kind {
    name: "fanout",
    about: "one publisher, one topic, many subscribers: at rest at a rate, or saturated",
    help: "\
    --subscribers N       subscribers [50]
    --rate R              publishes a second, latency from when each was due; 0: only listen [100]
    --window W            instead: keep so many publishes on their way
    --bytes N             payload bytes, at least 44 [128]
    --topic NAME          topic [ringload]
    --slow N              further subscribers that read slowly, beside those that are measured [0]
    --slow-bytes-per-second B   what each of them reads; 0 is nothing [0]
",
    has_adapter: true,
    read: |flags| Ok(Box::new(FanoutOptions::read(flags)?)),
};

/// How to publish and to whom.
#[derive(Clone, Debug)]
pub struct FanoutOptions {
    /// The topic.
    pub topic: String,
    /// Subscribers.
    pub subscribers: usize,
    /// Further ones that are slow.
    pub slow: usize,
    /// What each of those reads.
    pub slow_bytes_per_second: u64,
    /// When to publish.
    pub pace: Pace,
    /// Bytes of a payload.
    pub bytes: usize,
}

/// When to publish.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many times a second.
    Rate(f64),
    /// As soon as fewer than so many publishes are on their way.
    Window(u64),
}

impl FanoutOptions {
    /// Reads its flags.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(flags: &mut Flags) -> Result<Self, String> {
        let pace = match (flags.number::<f64>("rate")?, flags.number("window")?) {
            (Some(_), Some(_)) => return Err("--rate and --window contradict each other: leave one out".to_owned()),
            (_, Some(0)) => return Err("--window 0: at least 1 is needed".to_owned()),
            (None, Some(window)) => Pace::Window(window),
            (rate, None) => match rate.unwrap_or(100.0) {
                rate if rate >= 0.0 && rate.is_finite() => Pace::Rate(rate),
                rate => return Err(format!("--rate {rate}: a number of 0 or more is needed")),
            },
        };
        Ok(Self {
            topic: flags.text("topic").unwrap_or_else(|| "ringload".to_owned()),
            subscribers: flags.at_least_one("subscribers", 50)?,
            slow: flags.number("slow")?.unwrap_or(0),
            slow_bytes_per_second: flags.number("slow-bytes-per-second")?.unwrap_or(0),
            pace,
            bytes: flags.payload_bytes("bytes", 128)?,
        })
    }

    /// The publisher is session 0, the subscribers those behind it, the slow ones last. A publisher that publishes nothing
    /// is not there.
    fn scenario(&self) -> Scenario {
        let hears = |slow| Session { subscribes: vec![0], reads_bytes_per_second: slow, ..Session::default() };
        let subscribers = std::iter::repeat_n(hears(None), self.subscribers);
        let slow = std::iter::repeat_n(hears(Some(self.slow_bytes_per_second)), self.slow);
        let publishers = usize::from(self.pace != Pace::Rate(0.0));
        Scenario {
            topics: vec![self.topic.clone()],
            flows: vec![Flow { topic: 0, session: 0, series: 0 }; publishers],
            sessions: std::iter::repeat_n(Session::default(), publishers).chain(subscribers).chain(slow).collect(),
            bytes_max: self.bytes,
        }
    }

    fn source(&self) -> Source {
        let bytes = self.bytes;
        match self.pace {
            Pace::Window(messages) => Source::Window { messages, bytes },
            Pace::Rate(rate) => Source::Script(Arc::new(move |share: Share| -> Script {
                if !share.owns(0) || rate == 0.0 {
                    return Box::new(std::iter::empty());
                }
                let what = What::Publish { flow: 0, bytes };
                Box::new((0u64..).map(move |nth| Action { at: Duration::from_secs_f64(nth as f64 / rate), what }))
            })),
        }
    }

    fn to_json(&self) -> Json {
        let (rate, window) = match self.pace {
            Pace::Rate(rate) => (Some(rate), None),
            Pace::Window(window) => (None, Some(window)),
        };
        Json::object([
            ("topic", self.topic.as_str().into()),
            ("subscribers", self.subscribers.into()),
            ("slow", self.slow.into()),
            ("slow_bytes_per_second", self.slow_bytes_per_second.into()),
            ("rate", rate.into()),
            ("window", window.into()),
            ("bytes", self.bytes.max(PAYLOAD_BYTES_MIN).into()),
        ])
    }
}

impl Options for FanoutOptions {
    fn run(&self, place: &Place, load: &Load) -> Result<Report, String> {
        let model = PubSub::new("fanout", place, self.scenario(), self.source(), &["delivery"], self.to_json());
        run::run(&model, load)
    }

    fn rate(&self) -> Option<f64> {
        match self.pace {
            Pace::Rate(rate) => Some(rate),
            Pace::Window(_) => None,
        }
    }

    fn at_rate(&self, rate: f64) -> Option<Box<dyn Options>> {
        Some(Box::new(Self { pace: Pace::Rate(rate), ..self.clone() }))
    }
}
