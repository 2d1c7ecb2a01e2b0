//! The connection engine: WebSocket and HTTP/1.1 on one port, one shard per core, on io_uring.
//!
//! An application implements [`Handler`]; [`start`] runs one of it per shard. A shard is one thread with one ring, its
//! own listener (`SO_REUSEPORT`) and its own connections; shards share nothing but mailboxes.
//!
//! How a shard's turn goes ([`Shard::turn`]): enter the ring, handle what completed, read mail, let deadlines pass,
//! then transmit once for each connection that has something to say. Replies are encoded into the turn's arena;
//! data that many connections share is *pulled* from the handler when a socket can take it, so nothing queues per
//! connection but what a socket refused.
//!
//! What this crate must never do: read a clock, touch a raw descriptor, or know what messages mean.

#![forbid(unsafe_code)]

mod admission;
mod answer;
mod back;
mod chunked;
mod connection;
mod context;
mod date;
mod engine;
mod excess;
mod handler;
mod http;
mod inbound;
mod intake;
mod long;
mod mailbox;
mod network;
mod options;
mod origin;
mod outbound;
mod pace;
mod packing;
mod process;
mod queue;
mod session;
mod shard;
mod shed;
mod slab;
mod teardown;
pub mod tls;
mod wall;
mod wheel;

pub use answer::Answer;
pub use context::{Context, MessageKind, SendError};
pub use engine::{Engine, Handle, StartError, start};
pub use handler::{Accept, Body, CloseReason, Handler, Opening, Peer, Response, Side, Timeout, Transmit, Upgrade};
pub use mailbox::{Mailbox, Mailboxes, Post};
pub use network::{Network, NetworkError};
pub use options::{EngineOptions, Limits, ListenerOptions, ProxyHeader, Timeouts};
pub use process::Process;
pub use ringwire_codec as codec;
pub use ringwire_ring as ring;
pub use shard::{Shard, ShardInfo, Status};
pub use slab::ConnectionId;
