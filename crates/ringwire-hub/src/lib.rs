//! Log-structured fanout: topics, cursors, retention, slow consumers.
//!
//! ```text
//! publish -> topic log:  [e41][e42][e43][e44][e45]      an entry is a ready WebSocket frame
//!                               ^ cursor of B   ^ end, cursor of A
//! ```
//!
//! A [`Topic`] is an append-only log. Publishing encodes an entry once and appends it once, whatever the number of
//! subscribers; a subscription is a cursor; what a subscriber has not received yet is a contiguous run of the log,
//! which one send carries. Nothing is queued per subscriber, so a slow one pins no memory: retention passes its
//! cursor, and its [`SlowPolicy`] says what then.
//!
//! Two sides share a topic. Publishers, on any thread, append under the topic's lock. Each shard owns a [`ShardHub`]:
//! it looks at a topic's end once per [`note`](ShardHub::note), whatever the number of its subscribers, and from
//! then on [`pull`](ShardHub::pull) reads without a lock. Segments are slices of atomic words, so a thread may append
//! behind what the kernel and other shards are reading.
//!
//! The crate knows no encoding, no socket and no clock: frames come from a closure, and time is an argument, in
//! microseconds.
#![forbid(unsafe_code)]

mod hub;
mod ids;
mod lane;
mod name;
mod pattern;
mod run;
mod segment;
mod shard;
mod topic;

pub use hub::{Hub, OpenError, Opened, Totals};
pub use ids::{LANES_MAX, LaneId, SHARDS_MAX, ShardId, ShardSet, Subscriber, TopicId};
pub use name::{NAME_BYTES_MAX, NameError, TopicName};
pub use pattern::{PATTERN_SEGMENTS_MAX, Pattern, PatternError, PatternMap};
pub use run::Run;
pub use shard::{
    Account, Begin, Framer, GapReason, Mode, Notice, Part, Pulled, ShardHub, ShardLimits, SkipReason, SlowPolicy,
    Standing, Start, SubscribeError, Subscribed, Wake, Wanted,
};
pub use topic::{
    Appended, ENTRY_BYTES_LIMIT, Entry, IDEMPOTENCY_KEY_BYTES_MAX, IDEMPOTENCY_KEYS_MAX, KEY_BYTES_MAX, Key,
    PublishError, Published, Resumes, Retention, Sink, Subject, Topic, TopicKind, TopicOptions, TopicSetup,
};
