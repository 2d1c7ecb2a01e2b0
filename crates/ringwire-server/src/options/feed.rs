//! `[feed]`: what the server publishes by itself.

use std::path::PathBuf;

use toml::Value;

use crate::config::Section;

/// What feed runs, and how fast.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedOptions {
    /// Where the events come from.
    pub source: FeedSource,
    /// How fast they come.
    pub speed: Speed,
    /// Whether a recorded feed begins anew at its end.
    pub repeat: bool,
    /// How many subscriptions it waits for before it begins.
    pub start_subscribers: u64,
}

/// Where a feed's events come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedSource {
    /// No feed.
    None,
    /// The synthetic market.
    Demo,
    /// A recorded file: binary records, or one JSON object a line.
    File(PathBuf),
}

/// A factor on a feed's recorded pace, above zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed(f64);

impl Speed {
    /// The recorded pace.
    pub const RECORDED: Speed = Speed(1.0);
    /// As fast as the machine can.
    pub const MAX: Speed = Speed(f64::INFINITY);

    /// A factor from 0.001 to 1,000,000; beyond, clocks have nothing left to say.
    pub fn new(factor: f64) -> Option<Self> {
        (0.001..=1_000_000.0).contains(&factor).then_some(Self(factor))
    }

    /// How long the time `recorded_ns` of a recording takes at this speed, in nanoseconds.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is never negative")]
    pub fn scale_ns(self, recorded_ns: u64) -> u64 {
        (recorded_ns as f64 / self.0) as u64
    }
}

/// Reads the section.
pub(super) fn feed(section: &mut Section<'_>) -> FeedOptions {
    let has_loop = section.has("loop");
    let source = section.text("source", "demo", feed_source);
    let speed = section.any("speed", Value::from(1.0), speed);
    let repeat = section.switch("loop", false);
    if has_loop && repeat && !matches!(source, FeedSource::File(_)) {
        section.fault("loop", "only a recorded feed can begin anew; give one with --feed FILE");
    }
    let start_subscribers = section.number("start_subscribers", 0, 0..=i64::MAX as u64);
    FeedOptions { source, speed, repeat, start_subscribers }
}

fn speed(value: &Value) -> Result<Speed, String> {
    let factor = value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
    let speed = match value.as_str() {
        Some("max") => Some(Speed::MAX),
        _ => factor.and_then(Speed::new),
    };
    speed.ok_or_else(|| "a number from 0.001 to 1000000 is needed, as in 1, 0.5 or 20, or `max`".to_owned())
}

fn feed_source(text: &str) -> Result<FeedSource, String> {
    match text {
        "none" => Ok(FeedSource::None),
        "demo" => Ok(FeedSource::Demo),
        file if file.ends_with(".jsonl") || file.ends_with(".rwr") => Ok(FeedSource::File(PathBuf::from(file))),
        _ => Err("`demo`, `none` or a file whose name ends in .rwr or .jsonl is needed".into()),
    }
}
