//! A client of ringwire for programs on tokio: one connection that comes back by itself, and everything over it.
//!
//! ```no_run
//! # async fn example() -> Result<(), ringwire_client::Error> {
//! use ringwire_client::{Client, Event, Options, Publish, Subscribe};
//!
//! let client = Client::connect("ws://127.0.0.1:8080/connect", Options::default()).await?;
//! let mut trades = client.subscribe(Subscribe::to("trades.>").history(10)).await?;
//! let acknowledged = client.publish(Publish::json("trades.X", r#"{"p":"1.5"}"#)).await?;
//! println!("published as {}", acknowledged.await?.seq);
//! while let Some(event) = trades.next().await {
//!     if let Event::Entry(entry) = event {
//!         println!("{} {}: {}", entry.topic, entry.seq, entry.data.as_str().unwrap_or("bytes"));
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A task owns the connection ([`Client`] is a handle to it). After a loss it connects again, with waits that grow and are
//! spread at random; subscriptions resume where they stopped, publishes that were not acknowledged are sent again under
//! their idempotency keys, bound keys are published anew. Each subscription checks the order of its entries and keeps
//! their account: `delivered + skipped + gap = published` ([`Account`]).
//!
//! A subscriber that does not read its events holds the connection back, not memory: the server is not read from until
//! there is room again, and sees a slow subscriber, which it serves as the topic's policy says.
//!
//! TLS is the caller's choice: [`Options::connector`] gives any stream of bytes for a `wss://` URL.
//!
//! What this crate must never do: hand on an entry out of order, or twice; lose one without saying so; hold more than its
//! named bounds.

#![forbid(unsafe_code)]

mod backoff;
mod client;
mod core;
mod driver;
mod error;
mod event;
mod feed;
mod keyed;
mod options;
mod protocol;
mod publisher;
mod random;
mod record;
mod subscription;
mod wire;

pub use client::{Acknowledgement, Client, History, Member, Presence, Published};
pub use error::{Error, Refusal};
pub use event::{
    Data, Entry, EntryKind, Event, Gap, Position, Skip, Snapshot, SnapshotEntry, Subscribed, TopicKind, TopicState,
};
pub use feed::Account;
pub use keyed::{Change, KeyedState};
pub use options::{Connecting, Connector, Options, Publish, Stream, Subscribe, Token, TokenFuture};
pub use subscription::Subscription;

/// The examples of docs/clients.md build.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/clients.md")]
struct Documentation;
