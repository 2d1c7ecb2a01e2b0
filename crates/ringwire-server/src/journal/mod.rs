//! The journal: what persistent topics hold, on disk, so that a restart loses nothing that was acknowledged.
//!
//! ```text
//! publishers, under their topics' locks          control plane
//!   append -> [ buffer ]  ------- take ------->  write, sync, settle -> Mail::Durable to shards that wait
//!   ticket     shared                            writer
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`record`], [`segment`] | the format: records with checksums, in files that follow each other |
//! | [`replay`] | what records come to: topics with their entries |
//! | [`folder`] | the start: lock, read, repair |
//! | [`restore`] | the start: topics are put back into the hub |
//! | [`shared`] | the buffer, tickets, and how the journal does |
//! | `writer` | the task that writes |
//! | `checkpoint` | writes what topics hold anew, so that old segments can go |
//!
//! What an acknowledgement means, and what the format was chosen for, is in `docs/decisions/0010-journal.md`.

pub mod folder;
pub mod record;
pub mod replay;
pub mod restore;
pub mod segment;
pub mod shared;

mod checkpoint;
mod writer;

pub use shared::{Journal, JournalHealth, Outcome, TopicJournal};
pub use writer::Writer;

#[cfg(test)]
mod tests;
