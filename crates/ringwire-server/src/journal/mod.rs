//! The journal: what persistent topics hold, on disk, so that a restart loses nothing that was acknowledged.
//!
//! [`record`] and [`segment`] are the format, [`replay`] is what records come to, and [`folder`] is the start of the
//! server: lock, read, repair.

pub mod folder;
pub mod record;
pub mod replay;
pub mod segment;
