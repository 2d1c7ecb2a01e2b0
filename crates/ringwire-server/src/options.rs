//! What the program needs, made from what the user wrote.
//!
//! [`Options::check`] turns a [`Config`] into [`Options`] or into the list of *all* its faults, each with the flag
//! it is about and what would be right. It opens nothing and resolves nothing: whether a port is free or a file
//! exists shows when it is used.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use ringwire_hub::{SHARDS_MAX, SlowPolicy};

use crate::access::PublishAccess;
use crate::cli::Config;

/// Checked options of `ringwire serve`.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Addresses to listen on, at least one.
    pub listen: Vec<SocketAddr>,
    /// Number of shards.
    pub shards: NonZeroUsize,
    /// What is published by the server itself.
    pub feed: FeedOptions,
    /// Who may publish from outside.
    pub publish: PublishAccess,
    /// What becomes of a subscriber that reads too slowly.
    pub slow: SlowPolicy,
}

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

/// All that is wrong with a [`Config`]. Never empty.
#[derive(Debug, PartialEq, Eq)]
pub struct Faults(Vec<String>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(fault)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

impl Options {
    /// Checks `config`. `cores` is the default for the number of shards.
    ///
    /// # Errors
    /// All faults, not only the first.
    pub fn check(config: &Config, cores: NonZeroUsize) -> Result<Self, Faults> {
        let mut faults = Vec::new();
        let listen =
            config.listen.iter().filter_map(|text| keep(listen_address(text), &mut faults)).collect::<Vec<_>>();
        let shards = keep(shards(config.shards.as_deref(), cores), &mut faults);
        let source = keep(feed_source(&config.feed), &mut faults);
        let speed = keep(speed(&config.speed), &mut faults);
        let start_subscribers = keep(start_subscribers(&config.feed_start_subscribers), &mut faults);
        if config.repeat && !matches!(source, Some(FeedSource::File(_)) | None) {
            faults.push("--loop: only a recorded feed can begin anew; give one with --feed FILE.jsonl".into());
        }
        let publish = keep(publish_access(config, &listen), &mut faults);
        let slow = keep(slow_policy(&config.slow), &mut faults);
        if !faults.is_empty() {
            return Err(Faults(faults));
        }
        let (Some(shards), Some(source), Some(speed), Some(start_subscribers), Some(publish), Some(slow)) =
            (shards, source, speed, start_subscribers, publish, slow)
        else {
            unreachable!("what has no value has a fault")
        };
        let feed = FeedOptions { source, speed, repeat: config.repeat, start_subscribers };
        Ok(Self { listen, shards, feed, publish, slow })
    }
}

/// The value, or its fault among the others.
fn keep<T>(result: Result<T, String>, faults: &mut Vec<String>) -> Option<T> {
    result.map_err(|fault| faults.push(fault)).ok()
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse().map_err(|_| {
        let hint = match text.trim_start_matches(':').parse::<u16>() {
            Ok(port) => format!("did you mean 127.0.0.1:{port} (this machine only) or 0.0.0.0:{port} (everyone)?"),
            Err(_) => "an IP address and a port are needed, as in 127.0.0.1:8080 or [::1]:8080".into(),
        };
        format!("--listen {text}: {hint}")
    })
}

fn shards(text: Option<&str>, cores: NonZeroUsize) -> Result<NonZeroUsize, String> {
    let most = NonZeroUsize::new(SHARDS_MAX).expect("a hub serves at least one shard");
    let Some(text) = text else { return Ok(cores.min(most)) };
    text.parse().ok().filter(|shards| *shards <= most).ok_or_else(|| {
        format!("--shards {text}: a whole number from 1 to {SHARDS_MAX} is needed (cores here: {cores})")
    })
}

fn feed_source(text: &str) -> Result<FeedSource, String> {
    match text {
        "none" => Ok(FeedSource::None),
        "demo" => Ok(FeedSource::Demo),
        file if file.ends_with(".jsonl") => Ok(FeedSource::File(PathBuf::from(file))),
        other => Err(format!("--feed {other}: `demo`, `none` or a file whose name ends in .jsonl is needed")),
    }
}

fn speed(text: &str) -> Result<Speed, String> {
    text.parse()
        .ok()
        .and_then(Speed::new)
        .ok_or_else(|| format!("--speed {text}: a number from 0.001 to 1000000 is needed, as in 1, 0.5 or 20"))
}

fn start_subscribers(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("--feed-start-subscribers {text}: a whole number is needed; 0 waits for nobody"))
}

fn slow_policy(text: &str) -> Result<SlowPolicy, String> {
    match text {
        "drop" => Ok(SlowPolicy::Drop),
        "disconnect" => Ok(SlowPolicy::Disconnect),
        other => Err(format!("--slow {other}: `drop` or `disconnect` is needed")),
    }
}

fn publish_access(config: &Config, listen: &[SocketAddr]) -> Result<PublishAccess, String> {
    match (&config.publish_token, config.insecure_publish) {
        (Some(_), true) => {
            Err("--publish-token and --insecure-publish contradict each other: with a token, publishing is not open \
                 to anyone; leave one out (the token may come from RINGWIRE_PUBLISH_TOKEN)"
                .into())
        }
        (Some(token), false) if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err("--publish-token: a token is one or more printable ASCII characters without spaces".into())
        }
        (Some(token), false) => Ok(PublishAccess::Token(token.clone())),
        (None, true) => Ok(PublishAccess::Anyone),
        (None, false) if listen.iter().all(|address| address.ip().is_loopback()) => Ok(PublishAccess::Loopback),
        (None, false) => Ok(PublishAccess::Closed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn check(words: &[&str]) -> Result<Options, Faults> {
        let cli = Cli::try_parse_from([&["ringwire", "serve"], words].concat()).expect("parses");
        let Command::Serve(mut config) = cli.into_command() else { panic!("not serve") };
        if !words.contains(&"--publish-token") {
            config.publish_token = None;
        }
        Options::check(&config, NonZeroUsize::new(3).unwrap())
    }

    fn faults(words: &[&str]) -> String {
        check(words).expect_err("faults").to_string()
    }

    #[test]
    fn defaults_serve_the_demo_on_loopback() {
        let options = check(&[]).unwrap();
        assert_eq!(options.listen, ["127.0.0.1:8080".parse().unwrap()]);
        assert_eq!(options.shards.get(), 3);
        assert_eq!(options.feed.source, FeedSource::Demo);
        assert_eq!(options.feed.speed, Speed::RECORDED);
        assert_eq!(options.publish, PublishAccess::Loopback);
    }

    #[test]
    fn all_faults_are_reported_at_once() {
        let text = faults(&[
            "--listen",
            "8080",
            "--shards",
            "0",
            "--feed",
            "x.csv",
            "--speed",
            "fast",
            "--feed-start-subscribers",
            "-1",
            "--slow",
            "wait",
        ]);
        for flag in [
            "--listen 8080",
            "--shards 0",
            "--feed x.csv",
            "--speed fast",
            "--feed-start-subscribers -1",
            "--slow wait",
        ] {
            assert!(text.contains(flag), "{flag} is not in: {text}");
        }
        assert_eq!(text.lines().count(), 6);
    }

    #[test]
    fn a_bare_port_gets_a_hint() {
        assert!(faults(&["--listen", ":9000"]).contains("127.0.0.1:9000"));
    }

    #[test]
    fn speed_is_finite_and_above_zero() {
        for speed in ["0", "-1", "inf", "NaN", ""] {
            assert!(faults(&["--speed", speed]).contains("--speed"), "{speed}");
        }
        assert_eq!(check(&["--speed", "20"]).unwrap().feed.speed.scale_ns(1_000), 50);
    }

    #[test]
    fn publishing_off_loopback_is_closed_unless_said_otherwise() {
        assert_eq!(check(&["--listen", "0.0.0.0:1"]).unwrap().publish, PublishAccess::Closed);
        assert_eq!(
            check(&["--listen", "127.0.0.1:1", "--listen", "10.0.0.1:1"]).unwrap().publish,
            PublishAccess::Closed
        );
        assert_eq!(check(&["--listen", "0.0.0.0:1", "--insecure-publish"]).unwrap().publish, PublishAccess::Anyone);
        assert_eq!(
            check(&["--listen", "0.0.0.0:1", "--publish-token", "t"]).unwrap().publish,
            PublishAccess::Token("t".into())
        );
    }

    #[test]
    fn a_token_and_no_protection_contradict() {
        assert!(faults(&["--publish-token", "t", "--insecure-publish"]).contains("contradict"));
    }

    #[test]
    fn only_a_recorded_feed_loops() {
        assert!(faults(&["--loop"]).contains("--loop"));
        assert!(check(&["--loop", "--feed", "a.jsonl"]).unwrap().feed.repeat);
    }
}
