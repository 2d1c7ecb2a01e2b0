//! What is measured, and what makes it doubtful.
//!
//! A thread's [`Recorder`] counts latencies, messages and its own lateness; the [`Sampler`] of the coordinating thread
//! reads what the server, the generator and the machine use; [`Accounts`] say what became of every message. Recorders
//! of several threads merge into one [`Recorded`]. [`voids`] and [`doubts`] are the rules by which a result does not
//! count.
//!
//! What this module must never do: read a clock (all instants are arguments), allocate while it records, or grow with
//! the length of a run.

mod accounts;
mod coarse;
mod cores;
mod cost;
mod facts;
mod histogram;
mod pulse;
mod recorded;
mod recorder;
mod sampler;
mod timeline;
mod track;
mod usage;
mod verdict;

pub use accounts::Accounts;
pub use coarse::{BUCKETS, bucket_bounds};
pub use cores::{CoreShare, Cores};
pub use cost::{Cost, Meter, ServerCost, micros};
pub use facts::{Facts, Machine};
pub use histogram::Histogram;
pub use pulse::{Beat, Pulse};
pub use recorded::{Recorded, SeriesReport};
pub use recorder::{Recorder, Series, Span};
pub use sampler::{CpuSample, Sampler};
pub use timeline::{SLICES, Timeline};
pub use track::{Seen, Tally, Track};
pub use usage::{Process, ThreadTimes, Use};
pub use verdict::{
    LATE_NANOS, LATE_SHARE_MAX, Loop, OTHERS_SHARE_MAX, SATURATED, STEAL_SHARE_MAX, WAITED_SHARE_MAX, disturbances,
    doubts, generator_was_bottleneck, server_was_saturated, voids,
};
