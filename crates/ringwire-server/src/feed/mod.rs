//! Feeds: events with a time, which the control plane publishes at their pace.
//!
//! A feed is a value and knows no clock. `demo` makes a market up, `record` reads lines of a recording, which `lines`
//! cuts out of a file.

pub mod demo;
pub mod lines;
pub mod record;
