//! The binary itself, with real sockets on loopback, a port of its own for each test, and every wait bounded.

mod access;
mod client;
mod deflate;
mod fanout;
mod feed;
mod floods;
mod handshake;
mod ingest;
mod journal;
mod lifecycle;
mod native;
mod ndjson;
mod paths;
mod rust_client;
mod sse;
mod support;
mod tls;
