//! The command line, as written.
//!
//! Values that can be wrong stay text here: [`Options::check`](crate::options::Options::check) reads them all and
//! reports all faults at once, which a parser that stops at the first cannot. `ringwire` without a subcommand
//! means `ringwire serve`.

use clap::{Args, Parser, Subcommand};

/// WebSocket event server on io_uring: publish into topics, subscribe from a browser or a trading system.
#[derive(Debug, Parser)]
#[command(name = "ringwire", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to serve, if there is no subcommand.
    #[command(flatten)]
    pub serve: Config,
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
    Serve(Config),
    /// Print each message of a topic as a line
    Subscribe(SubscribeConfig),
    /// Publish each line of standard input as a message
    Publish(PublishConfig),
}

/// How to serve, as written.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// Address and port to listen on; may be given several times. Port 0: the system picks one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: Vec<String>,
    /// Shards, each a thread with a ring of its own [default: one per core]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub shards: Option<String>,
    /// What to publish: `demo` (a synthetic market), a recorded FILE.jsonl, or `none`
    #[arg(long, value_name = "demo|FILE.jsonl|none", default_value = "demo")]
    pub feed: String,
    /// Pace of the feed, as a multiple of its recorded pace
    #[arg(long, value_name = "X", default_value = "1", allow_hyphen_values = true)]
    pub speed: String,
    /// Begin a recorded feed anew when it ends
    #[arg(long = "loop")]
    pub repeat: bool,
    /// Hold the feed back until there are this many subscriptions
    #[arg(long, value_name = "N", default_value = "0", allow_hyphen_values = true)]
    pub feed_start_subscribers: String,
    /// What becomes of a subscriber that reads too slowly: `drop` leaves messages out for it, `disconnect` ends it
    #[arg(long, value_name = "drop|disconnect", default_value = "drop")]
    pub slow: String,
    /// Who publishes must present this token, as `Authorization: Bearer TOKEN` or `?token=TOKEN`
    #[arg(long, value_name = "TOKEN", env = "RINGWIRE_PUBLISH_TOKEN", hide_env_values = true)]
    pub publish_token: Option<String>,
    /// Let anyone who can reach the address publish
    #[arg(long)]
    pub insecure_publish: bool,
}

/// How to subscribe, as written.
#[derive(Clone, Debug, Args)]
pub struct SubscribeConfig {
    /// For example ws://127.0.0.1:8080/ws/trades.BTCUSDT or ws://127.0.0.1:8080/stream?streams=a/b
    #[arg(value_name = "URL")]
    pub url: String,
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

/// How to publish, as written.
#[derive(Clone, Debug, Args)]
pub struct PublishConfig {
    /// For example ws://127.0.0.1:8080/pub/chat
    #[arg(value_name = "URL")]
    pub url: String,
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
        assert_eq!(config.feed, "none");
        assert!(config.repeat);
        let Command::Serve(config) = parse(&[]) else { panic!("not serve") };
        assert_eq!(config.listen, ["127.0.0.1:8080"]);
    }

    #[test]
    fn listen_may_be_repeated() {
        let Command::Serve(config) = parse(&["serve", "--listen", "127.0.0.1:1", "--listen", "[::1]:2"]) else {
            panic!("not serve")
        };
        assert_eq!(config.listen, ["127.0.0.1:1", "[::1]:2"]);
    }
}
