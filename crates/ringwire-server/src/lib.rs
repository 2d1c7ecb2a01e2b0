//! The ringwire server: protocols, feeds and the command line, wired to the engine and the hub.
//!
//! Data plane and control plane are apart. Shards run [`service`] on the engine: connections, publishes and fanout.
//! The control plane is one thread with a tokio-uring runtime: the feed and signals. They share a [`broker`], and
//! shards hear of the control plane's publishes by mail.
//!
//! What this crate must never do: block a shard; pass a payload on in another form than it came; let a web page of
//! another origin publish.
#![forbid(unsafe_code)]

pub mod access;
pub mod announcer;
pub mod auth;
pub mod broker;
pub mod cli;
pub mod client;
pub mod config;
pub mod failure;
pub mod feed;
pub mod ingest;
pub mod journal;
pub mod json;
pub mod lanes;
pub mod native;
pub mod options;
pub mod outbox;
pub mod routes;
pub mod serve;
pub mod service;
pub mod status;

mod control;
mod page;
mod tls;
