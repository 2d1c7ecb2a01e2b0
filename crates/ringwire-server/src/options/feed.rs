//! `[feed]`: what the server publishes by itself.

use std::path::PathBuf;

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
    /// A recorded file, one JSON object a line.
    File(PathBuf),
}

/// A factor on a feed's recorded pace: finite and above zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed(f64);

impl Speed {
    /// The recorded pace.
    pub const RECORDED: Speed = Speed(1.0);

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
    let speed = section.fraction("speed", 1.0, |factor| {
        Speed::new(factor).ok_or_else(|| "a number from 0.001 to 1000000 is needed, as in 1, 0.5 or 20".to_owned())
    });
    let repeat = section.switch("loop", false);
    if has_loop && repeat && !matches!(source, FeedSource::File(_)) {
        section.fault("loop", "only a recorded feed can begin anew; give one with --feed FILE.jsonl");
    }
    let start_subscribers = section.number("start_subscribers", 0, 0..=i64::MAX as u64);
    FeedOptions { source, speed, repeat, start_subscribers }
}

fn feed_source(text: &str) -> Result<FeedSource, String> {
    match text {
        "none" => Ok(FeedSource::None),
        "demo" => Ok(FeedSource::Demo),
        file if file.ends_with(".jsonl") => Ok(FeedSource::File(PathBuf::from(file))),
        _ => Err("`demo`, `none` or a file whose name ends in .jsonl is needed".into()),
    }
}
