//! The command line, as written.
//!
//! Values that can be wrong stay text here: [`Options::check`](crate::options::Options::check) reads them all and
//! reports all faults at once, which a parser that stops at the first cannot. `ringwire` without a subcommand
//! means `ringwire serve`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use toml::Value;

use crate::config::{Config, number};
use crate::failure::Failure;

/// WebSocket event server on io_uring: publish into topics, subscribe from a browser or a trading system.
#[derive(Debug, Parser)]
#[command(name = "ringwire", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to serve, if there is no subcommand.
    #[command(flatten)]
    pub serve: ServeFlags,
}

impl Cli {
    /// What to do: without a subcommand, serve.
    pub fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}

/// A subcommand.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve topics over WebSocket and HTTP (what `ringwire` alone does)
    Serve(ServeFlags),
    /// Print the configuration in force, as a file for --config, and end
    Config(ServeFlags),
    /// Print each message of a topic as a line
    Subscribe(SubscribeConfig),
    /// Record what is published into a file that --feed plays
    Record(RecordConfig),
    /// Publish each line of standard input as a message
    Publish(PublishConfig),
    /// Send each message back to the server, until it closes: for suites that judge clients
    #[command(hide = true)]
    Echo(EchoConfig),
}

/// How to serve, as written. A flag goes before the file.
#[derive(Clone, Debug, Default, Args)]
pub struct ServeFlags {
    /// A TOML file with all that can be set (docs/operations.md); flags go before it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port to listen on; may be given several times. Port 0: the system picks one [default:
    /// 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<String>,
    /// Encrypt: `self-signed` makes a certificate for trying out; otherwise a certificate with its chain and its key,
    /// in PEM, in two files or one. SIGHUP reads them again
    #[arg(long, value_name = "self-signed|CERT.pem,KEY.pem")]
    pub tls: Option<String>,
    /// Take what is not encrypted on the same ports too: http:// and ws:// beside https:// and wss://
    #[arg(long)]
    pub tls_optional: bool,
    /// Clients must show a certificate of these authorities (PEM)
    #[arg(long, value_name = "FILE.pem")]
    pub tls_client_ca: Option<String>,
    /// Shards, each a thread with a ring of its own [default: one per core]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub shards: Option<String>,
    /// Never sleep: a shard without work takes its core whole and looks for some, and no message waits for it to wake;
    /// with a number, sleep after so many microseconds without work
    #[arg(long, value_name = "MICROSECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "always")]
    pub spin: Option<String>,
    /// Which of the kernel's TCP congestion controls connections have, unless their `[[listen]]` says otherwise, such
    /// as `cubic` or `bbr` [default: system]
    #[arg(long, value_name = "system|NAME")]
    pub congestion_control: Option<String>,
    /// What to publish: `demo` (a synthetic market), a recorded FILE.rwr or FILE.jsonl, or `none` [default: demo]
    #[arg(long, value_name = "demo|FILE|none")]
    pub feed: Option<String>,
    /// Pace of the feed, as a multiple of its recorded pace, or `max` for as fast as it goes [default: 1]
    #[arg(long, value_name = "X|max", allow_hyphen_values = true)]
    pub speed: Option<String>,
    /// Begin a recorded feed anew when it ends
    #[arg(long = "loop")]
    pub repeat: bool,
    /// Hold the feed back until there are this many subscriptions [default: 0]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub feed_start_subscribers: Option<String>,
    /// What becomes of a subscriber that reads too slowly: `drop` leaves messages out for it, `disconnect` ends it,
    /// `latest` gives it only the latest of each key; where no rule of `[[topics]]` says otherwise [default: drop]
    #[arg(long, value_name = "drop|disconnect|latest")]
    pub slow: Option<String>,
    /// Which pages may connect: `any`, `same` (those of this server's own host and port), or origins such as
    /// `https://example.com`, each with an --origin of its own [default: any]
    #[arg(long, value_name = "any|same|ORIGIN")]
    pub origin: Vec<String>,
    /// Who publishes must present this token, as `Authorization: Bearer TOKEN` or `?token=TOKEN`
    #[arg(long, value_name = "TOKEN", env = "RINGWIRE_PUBLISH_TOKEN", hide_env_values = true)]
    pub publish_token: Option<String>,
    /// Let anyone who can reach the address publish
    #[arg(long)]
    pub insecure_publish: bool,
    /// Serve whoever can reach an address beyond this machine, though no token or key protects it
    #[arg(long)]
    pub insecure: bool,
    /// Take JWTs that are signed with this secret (HS256); other keys are named in the file's `[auth]`
    #[arg(long, value_name = "SECRET", env = "RINGWIRE_HMAC_SECRET", hide_env_values = true)]
    pub hmac_secret: Option<String>,
}

impl ServeFlags {
    /// The file, if one is named, with the flags put over it.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn config(&self) -> Result<Config, Failure> {
        let mut config = self.config.as_deref().map(Config::load).transpose()?.unwrap_or_default();
        if !self.listen.is_empty() {
            config.set_listeners("--listen", &self.listen);
        }
        match self.tls.as_deref().map(|tls| (tls, tls.split_once(','))) {
            None => {}
            Some(("self-signed", _)) => config.set("--tls", "tls.self_signed", true),
            Some((certificate, None)) => config.set("--tls", "tls.certificate", certificate),
            Some((_, Some((certificate, key)))) => {
                config.set("--tls", "tls.certificate", certificate);
                config.set("--tls", "tls.key", key);
            }
        }
        for (flag, path, value) in [
            ("--tls-optional", "tls.optional", self.tls_optional.then(|| Value::from(true))),
            ("--tls-client-ca", "tls.client_authority", self.tls_client_ca.as_deref().map(Value::from)),
            ("--shards", "shards.count", self.shards.as_deref().map(number)),
            ("--spin", "shards.spin_us", self.spin.as_deref().map(number)),
            ("--congestion-control", "shards.congestion_control", self.congestion_control.as_deref().map(Value::from)),
            ("--feed", "feed.source", self.feed.as_deref().map(Value::from)),
            ("--speed", "feed.speed", self.speed.as_deref().map(number)),
            ("--loop", "feed.loop", self.repeat.then(|| Value::from(true))),
            ("--feed-start-subscribers", "feed.start_subscribers", self.feed_start_subscribers.as_deref().map(number)),
            ("--slow", "subscribers.slow", self.slow.as_deref().map(Value::from)),
            ("--origin", "origin.allow", origins(&self.origin)),
            ("--publish-token", "publish.token", self.publish_token.as_deref().map(Value::from)),
            ("--insecure-publish", "publish.insecure", self.insecure_publish.then(|| Value::from(true))),
            ("--insecure", "auth.insecure", self.insecure.then(|| Value::from(true))),
            ("--hmac-secret", "auth.hmac_secret", self.hmac_secret.as_deref().map(Value::from)),
        ] {
            if let Some(value) = value {
                config.set(flag, path, value);
            }
        }
        Ok(config)
    }
}

/// One word stands for itself, origins are a list.
fn origins(written: &[String]) -> Option<Value> {
    match written {
        [] => None,
        [word] if word == "any" || word == "same" => Some(Value::from(word.as_str())),
        origins => Some(Value::from(origins.to_vec())),
    }
}

/// How to subscribe, as written.
#[derive(Clone, Debug, Args)]
pub struct SubscribeConfig {
    /// For example ws://127.0.0.1:8080/ws/trades.BTCUSDT, ws://127.0.0.1:8080/stream?streams=a/b, or, with --topic,
    /// ws://127.0.0.1:8080/connect
    #[arg(value_name = "URL")]
    pub url: String,
    /// Speak the native protocol (docs/protocol.md) and subscribe to this topic or pattern; may be given several times
    #[arg(long, value_name = "NAME")]
    pub topic: Vec<String>,
    /// With --topic: of what waits, only the latest of each key
    #[arg(long, requires = "topic")]
    pub latest: bool,
    /// With --topic: begin so many entries before the head
    #[arg(long, value_name = "N", requires = "topic")]
    pub history: Option<u32>,
    /// How to connect.
    #[command(flatten)]
    pub connect: ConnectFlags,
    /// End after this many messages
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Print no messages
    #[arg(long, short)]
    pub quiet: bool,
    /// Print rates to standard error each second, though it is no terminal
    #[arg(long)]
    pub rate: bool,
}

/// What to record, as written.
#[derive(Clone, Debug, Args)]
pub struct RecordConfig {
    /// For example ws://127.0.0.1:8080/connect
    #[arg(value_name = "URL")]
    pub url: String,
    /// The file, which must not be there yet; give it a name that ends in .rwr
    #[arg(long, value_name = "FILE.rwr")]
    pub to: PathBuf,
    /// A topic or a pattern, as in 'book.>'; may be given several times [default: all]
    #[arg(long, value_name = "PATTERN", default_value = ">", hide_default_value = true)]
    pub topics: Vec<String>,
    /// How to connect.
    #[command(flatten)]
    pub connect: ConnectFlags,
    /// End after this many entries
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Print rates to standard error each second, though it is no terminal
    #[arg(long)]
    pub rate: bool,
}

/// How a client connects, as written.
#[derive(Clone, Debug, Default, Args)]
pub struct ConnectFlags {
    /// Another header of the request; may be given several times
    #[arg(long, value_name = "NAME: VALUE")]
    pub header: Vec<String>,
    /// A subprotocol to offer; may be given several times, the one liked best first
    #[arg(long, value_name = "NAME")]
    pub subprotocol: Vec<String>,
    /// Offer no compression
    #[arg(long)]
    pub no_deflate: bool,
    /// With wss://, trust servers that these certificates (PEM) vouch for, and no others [default: the system's]
    #[arg(long, value_name = "FILE.pem")]
    pub ca: Option<PathBuf>,
    /// With wss://, a certificate with its key to show to a server that asks for one
    #[arg(long, value_name = "CERT.pem,KEY.pem")]
    pub cert: Option<String>,
}

/// How to echo, as written.
#[derive(Clone, Debug, Args)]
pub struct EchoConfig {
    /// Whose messages to send back
    #[arg(value_name = "URL")]
    pub url: String,
    /// How to connect.
    #[command(flatten)]
    pub connect: ConnectFlags,
}

/// How to publish, as written.
#[derive(Clone, Debug, Args)]
pub struct PublishConfig {
    /// For example ws://127.0.0.1:8080/pub/chat, or, with --ndjson, ws://127.0.0.1:8080/connect
    #[arg(value_name = "URL")]
    pub url: String,
    /// Speak the native protocol (docs/protocol.md): each line is what its `publish` takes, as in
    /// {"topic":"chat","data":1}, and is acknowledged; one that is refused is told of, and the others go on
    #[arg(long)]
    pub ndjson: bool,
    /// How to connect.
    #[command(flatten)]
    pub connect: ConnectFlags,
    /// The server's publish token
    #[arg(long, value_name = "TOKEN", env = "RINGWIRE_PUBLISH_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Print rates to standard error each second, though it is no terminal
    #[arg(long)]
    pub rate: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(words: &[&str]) -> Command {
        Cli::try_parse_from([&["ringwire"], words].concat()).expect("a command line that parses").into_command()
    }

    #[test]
    fn definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_subcommand_means_serve() {
        let Command::Serve(config) = parse(&["--feed", "none", "--loop"]) else { panic!("not serve") };
        assert_eq!(config.feed.as_deref(), Some("none"));
        assert!(config.repeat);
        assert!(matches!(parse(&[]), Command::Serve(_)));
    }

    #[test]
    fn listen_may_be_repeated() {
        let Command::Serve(config) = parse(&["serve", "--listen", "127.0.0.1:1", "--listen", "[::1]:2"]) else {
            panic!("not serve")
        };
        assert_eq!(config.listen, ["127.0.0.1:1", "[::1]:2"]);
    }
}
