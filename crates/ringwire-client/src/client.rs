//! The handle: what a program calls.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringwire_codec::handshake::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use crate::core::Command;
use crate::driver::Driver;
use crate::error::Error;
use crate::event::Entry;
use crate::options::{Options, Publish, Subscribe};
use crate::protocol;
use crate::subscription::Subscription;

/// Commands that may wait for the task.
const COMMANDS_MAX: usize = 256;

/// A connection to a server that comes back by itself. Clones are handles to the same; it ends with [`Client::close`], or
/// when the last handle and subscription are gone.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
}

/// Where an entry was published.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Published {
    /// Its number in the topic.
    pub seq: u64,
    /// The topic's log.
    pub epoch: Arc<str>,
    /// Whether it had been published before, under the same idempotency key.
    #[serde(default)]
    pub duplicate: bool,
}

/// Entries of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The topic's log.
    pub epoch: Arc<str>,
    /// In their order.
    pub items: Vec<Entry>,
    /// Where to go on; nothing if this was the end.
    pub next: Option<u64>,
    /// The topic's last entry.
    pub head: u64,
}

/// Who is in a topic.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Presence {
    /// How many.
    pub count: u64,
    /// Who, where the topic shows it.
    #[serde(default)]
    pub members: Vec<Member>,
}

/// Someone who is in a topic.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Member {
    /// The server's name for the connection.
    pub client: String,
    /// The user, where there are some.
    #[serde(default)]
    pub user: Option<String>,
    /// What it said of itself.
    #[serde(default)]
    pub info: serde_json::Value,
}

/// Resolves when the server has taken a publish: on a persistent topic, when it is on disk as that is configured.
#[derive(Debug)]
pub struct Acknowledgement {
    answer: oneshot::Receiver<Result<Published, Error>>,
}

impl Client {
    /// Connects to `url`, as `ws://127.0.0.1:8080/connect`, on the tokio runtime of the caller. Once that has succeeded,
    /// the client comes back whenever it loses its connection.
    ///
    /// # Errors
    /// What is wrong with the URL, or why there is no session.
    pub async fn connect(url: &str, options: Options) -> Result<Self, Error> {
        let url = Url::parse(url)?;
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let (started, outcome) = oneshot::channel();
        tokio::spawn(Driver::new(url, options, received, started).run());
        outcome.await.map_err(|_| ended())??;
        Ok(Self { commands })
    }

    /// Subscribes. The subscription begins with the next message that the server is sent, and again on each connection;
    /// what it cannot have it is told as [`Event::Refused`](crate::Event::Refused).
    ///
    /// A subscription that is not read holds up the whole connection once it is full, acknowledgements included: read it
    /// in a task of its own, or beside whatever else you wait for.
    ///
    /// # Errors
    /// That a topic or pattern has a subscription of this client, or that the client has ended.
    pub async fn subscribe(&self, options: Subscribe) -> Result<Subscription, Error> {
        let (events, received) = mpsc::channel(options.capacity);
        let (reply, answer) = oneshot::channel();
        self.command(Command::Subscribe { options, events, reply }).await?;
        let id = answer.await.map_err(|_| ended())??;
        Ok(Subscription { id, events: received, commands: self.commands.clone() })
    }

    /// Publishes, behind what was published before, and waits for room only. What comes back waits for the
    /// acknowledgement; dropping it does not take the publish back.
    ///
    /// # Errors
    /// That the client has ended.
    pub async fn publish(&self, publish: Publish) -> Result<Acknowledgement, Error> {
        let (acknowledge, answer) = oneshot::channel();
        self.command(Command::Publish { publish, acknowledge }).await?;
        Ok(Acknowledgement { answer })
    }

    /// Up to `limit` entries that the topic still has, from entry `from` on.
    ///
    /// # Errors
    /// The server's refusal: 410 if they are gone.
    pub async fn history(&self, topic: &str, from: u64, limit: u32) -> Result<History, Error> {
        #[derive(Deserialize)]
        struct Answer<'a> {
            epoch: Arc<str>,
            #[serde(borrow)]
            items: &'a RawValue,
            #[serde(default)]
            next: Option<u64>,
            head: u64,
        }
        let answer = self.ask("history", json!({ "topic": topic, "from": from, "limit": limit })).await?;
        let Answer { epoch, items, next, head } = protocol::result(&answer)?;
        Ok(History { epoch, items: protocol::items(items)?, next, head })
    }

    /// Who is in a topic.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn presence(&self, topic: &str) -> Result<Presence, Error> {
        self.ask_for("presence", json!({ "topic": topic })).await
    }

    /// The server's time since the Unix epoch: a sign of life.
    ///
    /// # Errors
    /// That it gives none.
    pub async fn ping(&self) -> Result<Duration, Error> {
        #[derive(Deserialize)]
        struct Answer {
            time: u64,
        }
        let Answer { time } = self.ask_for("ping", json!({})).await?;
        Ok(Duration::from_micros(time))
    }

    /// The server's own account of this connection's subscriptions: its answer as JSON.
    ///
    /// # Errors
    /// That it gives none.
    pub async fn server_account(&self) -> Result<String, Error> {
        Ok(self.ask("account", json!({})).await?.get().to_owned())
    }

    /// Ends the connection, all subscriptions, and everything that waits for an answer.
    pub async fn close(&self) {
        let _ = self.commands.send(Command::Close).await;
        self.commands.closed().await;
    }

    async fn ask_for<T: DeserializeOwned>(&self, method: &'static str, params: serde_json::Value) -> Result<T, Error> {
        protocol::result(&self.ask(method, params).await?)
    }

    async fn ask(&self, method: &'static str, params: serde_json::Value) -> Result<Box<RawValue>, Error> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Ask { method, params, reply }).await?;
        answer.await.map_err(|_| ended())?
    }

    async fn command(&self, command: Command) -> Result<(), Error> {
        self.commands.send(command).await.map_err(|_| ended())
    }
}

impl Future for Acknowledgement {
    type Output = Result<Published, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(cx).map(|answer| answer.unwrap_or_else(|_| Err(ended())))
    }
}

fn ended() -> Error {
    Error::Closed("it has ended".to_owned())
}
