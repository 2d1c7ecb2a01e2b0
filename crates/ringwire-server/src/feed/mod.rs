//! Feeds: events with a time, which the control plane publishes at their pace.
//!
//! A feed is a value and knows no clock. `demo` makes a market up; `record` reads lines of JSON, which `lines` cuts out of
//! a file; `recording` reads and writes binary records with their times.

pub mod demo;
pub mod lines;
pub mod record;
pub mod recording;
