//! What the program needs, made from what the user wrote.
//!
//! [`Options::check`] turns a [`Config`] into [`Options`] or into the list of *all* its faults, each with the key or
//! the flag it is about and what would be right. It opens nothing and resolves nothing: whether a port is free or a
//! file exists shows when it is used.

mod auth;
mod deflate;
mod feed;
mod hub;
mod journal;
mod native;
mod network;
mod rate;
mod tls;
mod topics;
mod udp;
mod unix;
mod upstream;
mod users;

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;

use ringwire_codec::handshake::OriginPolicy;
use ringwire_engine::EngineOptions;
use ringwire_hub::TopicName;
use toml::{Table, Value};

pub use self::auth::{AuthOptions, KeySource};
pub use self::deflate::CompressionOptions;
pub use self::feed::{FeedOptions, FeedSource, Speed};
pub use self::hub::HubOptions;
pub use self::journal::{Fsync, JournalOptions};
pub use self::native::NativeOptions;
pub use self::rate::RateLimit;
pub use self::tls::{ClientAuthority, Encryption, Identity, TlsOptions};
pub use self::topics::{Presence, RULES_MAX, RuleKind, TopicRule, TopicRules, Who};
pub use self::udp::{UDP_PORTS_MAX, UdpOptions};
pub use self::unix::UnixOptions;
pub use self::upstream::{UPSTREAMS_MAX, UpstreamOptions};
pub use self::users::UserLimits;

use crate::access::PublishAccess;
use crate::config::{Config, Section};

/// Checked options of `ringwire serve`.
#[derive(Clone, Debug)]
pub struct Options {
    /// Listeners, shards and limits. `shards` is set, and `listen` has at least one.
    pub engine: EngineOptions,
    /// Certificate, and which listeners are encrypted.
    pub tls: TlsOptions,
    /// What is published by the server itself.
    pub feed: FeedOptions,
    /// Who may publish from outside, where nothing else is said.
    pub publish: PublishAccess,
    /// Which tokens and keys are taken.
    pub auth: AuthOptions,
    /// What a user may have and do.
    pub users: UserLimits,
    /// What holds for topics as such.
    pub hub: HubOptions,
    /// What a connection of the native protocol may have.
    pub native: NativeOptions,
    /// What holds for which topics.
    pub topics: TopicRules,
    /// Where what persistent topics hold is kept. There is a journal if there are persistent topics.
    pub journal: Option<JournalOptions>,
    /// Ports whose datagrams are published.
    pub udp: Vec<UdpOptions>,
    /// A socket in the file system to which records are published.
    pub unix: Option<UnixOptions>,
    /// Servers that this one is a client of.
    pub upstream: Vec<UpstreamOptions>,
    /// Pages of which origins may connect, and read over HTTP.
    pub origin: OriginPolicy,
    /// Whether and how messages are compressed.
    pub deflate: CompressionOptions,
}

/// All that is wrong with a [`Config`]. Never empty.
#[derive(Debug, PartialEq, Eq)]
pub struct Faults(Vec<String>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Faults {}

impl Options {
    /// Checks `config`. `cores` is the default for the number of shards.
    ///
    /// # Errors
    /// All faults, not only the first.
    pub fn check(config: &Config, cores: NonZeroUsize) -> Result<Self, Faults> {
        read(config, cores).map(|(options, ..)| options)
    }

    /// The configuration in force, as a file that says all of it (but for secrets).
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn effective(config: &Config, cores: NonZeroUsize) -> Result<Table, Faults> {
        read(config, cores).map(|(_, effective, _)| effective)
    }

    /// Number of shards.
    pub fn shards(&self) -> NonZeroUsize {
        self.engine.shards.and_then(NonZeroUsize::new).expect("checked options have shards")
    }

    /// What the server says as it starts of who may come in, if that is worth a line.
    pub fn notice(&self) -> Option<&'static str> {
        let is_local = self.addresses().all(|address| address.ip().is_loopback());
        match self.publish {
            PublishAccess::Anyone => Some("anyone who reaches this address may publish (--insecure-publish)"),
            PublishAccess::Loopback | PublishAccess::Closed if self.auth.is_configured() => {
                Some("who presents a token or key ([auth]) may come in")
            }
            PublishAccess::Token(_) if self.auth.is_configured() => {
                Some("who presents a token or key ([auth]) may come in")
            }
            PublishAccess::Token(_) => {
                Some("anyone who reaches this address may read; who presents the token may publish")
            }
            PublishAccess::Closed => Some(
                "anyone who reaches this address may read (--insecure); publishing is closed beyond loopback: \
                 --publish-token TOKEN opens it to who presents the token",
            ),
            PublishAccess::Loopback if is_local => {
                Some("no authentication is configured ([auth]): only this machine is served")
            }
            PublishAccess::Loopback => None,
        }
    }

    /// Where to listen.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.engine.listen.iter().map(|listener| listener.address)
    }
}

/// The options, the configuration in force, and the paths of all keys.
fn read(config: &Config, cores: NonZeroUsize) -> Result<(Options, Table, Vec<String>), Faults> {
    let mut root = config.root();
    let (engine, encryption) = network::engine(&mut root, cores);
    let tls = root.section("tls", |section| tls::tls(section, &encryption));
    let addresses: Vec<SocketAddr> = engine.listen.iter().map(|listener| listener.address).collect();
    let origin = root.section("origin", |origin| origin.any("allow", Value::from("any"), origin_policy));
    let deflate = root.section("deflate", deflate::deflate);
    let publish = root.section("publish", |publish| publish_access(publish, &addresses));
    let auth = root.section("auth", auth::auth);
    auth::protect(&mut root, &engine.listen, &tls, &auth, &publish);
    let users = root.section("users", users::users);
    let slow = root.section("subscribers", |subscribers| subscribers.text("slow", "drop", topics::slow));
    let hub = root.section("hub", hub::hub);
    let native = root.section("native", native::native);
    let topics = topics::topics(&mut root, slow);
    let journal = root.section("journal", journal::journal);
    if journal.is_none() && topics.written().iter().any(|rule| rule.persistent) {
        root.fault(
            "journal",
            "a rule of [[topics]] says persistent = true: say where, as in journal.directory = \"journal\"",
        );
    }
    let udp = udp::udp(&mut root);
    let unix = root.section("unix", unix::unix);
    let upstream = upstream::upstream(&mut root);
    let feed = root.section("feed", feed::feed);
    let reading = root.finish();
    if !reading.faults.is_empty() {
        return Err(Faults(reading.faults));
    }
    Ok((
        Options {
            engine,
            tls,
            feed,
            publish,
            auth,
            users,
            hub,
            native,
            topics,
            journal,
            udp,
            unix,
            upstream,
            origin,
            deflate,
        },
        reading.effective,
        reading.known,
    ))
}

/// The name of a topic.
fn topic(text: &str) -> Result<TopicName, String> {
    TopicName::new(text).map_err(|error| error.to_string())
}

fn origin_policy(value: &Value) -> Result<OriginPolicy, String> {
    let wrong = || "`any`, `same`, or a list of origins as in [\"https://example.com\"] is needed".to_owned();
    match value {
        Value::String(text) if text == "any" => Ok(OriginPolicy::Any),
        Value::String(text) if text == "same" => Ok(OriginPolicy::SameOrigin),
        Value::Array(origins) => {
            let origins = origins.iter().map(|origin| origin.as_str().ok_or_else(wrong).and_then(checked_origin));
            origins.collect::<Result<_, _>>().map(OriginPolicy::List)
        }
        _ => Err(wrong()),
    }
}

/// An origin as a browser writes it (RFC 6454 §6.2): what is written otherwise would never match.
fn checked_origin(origin: &str) -> Result<String, String> {
    let is_host = |host: &str| !host.is_empty() && !host.contains(['/', '?', '#', '@', '*']) && host.is_ascii();
    let is_bare = origin.split_once("://").is_some_and(|(scheme, host)| !scheme.is_empty() && is_host(host));
    let default_port = [("http://", ":80"), ("https://", ":443")];
    let has_default_port =
        default_port.iter().any(|(scheme, port)| origin.starts_with(scheme) && origin.ends_with(port));
    if origin == "null" || (is_bare && !has_default_port) {
        return Ok(origin.to_owned());
    }
    Err(format!(
        "{origin} is no origin as browsers write it: scheme, host and port (unless it is the scheme's own), as in \
         https://example.com or http://localhost:3000"
    ))
}

fn publish_access(section: &mut Section<'_>, listen: &[SocketAddr]) -> PublishAccess {
    let token = section.secret("token", |token| {
        let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        let words = "a token is one or more printable ASCII characters without spaces";
        if is_token { Ok(token.to_owned()) } else { Err(words.to_owned()) }
    });
    match (token, section.switch("insecure", false)) {
        (Some(_), true) => {
            section.fault(
                "token",
                "a token and --insecure-publish (publish.insecure) contradict each other: with a token, publishing is \
                 not open to anyone; leave one out (the token may come from RINGWIRE_PUBLISH_TOKEN)",
            );
            PublishAccess::Closed
        }
        (Some(token), false) => PublishAccess::Token(token),
        (None, true) => PublishAccess::Anyone,
        (None, false) if listen.iter().all(|address| address.ip().is_loopback()) => PublishAccess::Loopback,
        (None, false) => PublishAccess::Closed,
    }
}

#[cfg(test)]
mod tests;
