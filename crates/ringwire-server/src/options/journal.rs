//! `[journal]`: where and how what persistent topics hold is kept on disk.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::Section;

/// How the journal is kept. Without it nothing is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalOptions {
    /// The folder of its files, for this server alone.
    pub directory: PathBuf,
    /// When what is written is synced.
    pub fsync: Fsync,
    /// How much may wait to be written.
    pub buffer_bytes_max: usize,
    /// How long a segment file is, about.
    pub segment_bytes: u64,
    /// Whether what is behind damage is dropped, once.
    pub repair: bool,
}

/// When what is written is synced to the disk, and so what an acknowledgement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// With every write, before anything is acknowledged: it outlives the machine's power.
    Always,
    /// As often as this. Acknowledged is what outlives the process; the machine may lose as much as this.
    Interval(Duration),
    /// When the kernel sees fit, and when a segment ends. Acknowledged is what outlives the process.
    Never,
}

/// Reads the section; none without a directory.
pub(super) fn journal(section: &mut Section<'_>) -> Option<JournalOptions> {
    let directory = section.optional_text("directory", |text| match text {
        "" => Err("the path of a folder is needed".to_owned()),
        path => Ok(PathBuf::from(path)),
    });
    let policy = section.text("fsync", "always", |text| match text {
        "always" | "interval" | "never" => Ok(text.to_owned()),
        _ => Err("`always`, `interval` or `never` is needed".to_owned()),
    });
    let interval = section.millis("fsync_interval_ms", Duration::from_millis(200), Duration::from_millis(1));
    let buffer_bytes_max = section.number("buffer_bytes_max", 64 << 20, 1 << 20..=1 << 32);
    let segment_bytes = section.number("segment_bytes", 64 << 20, 64 << 10..=1 << 32);
    let repair = section.switch("repair", false);
    let fsync = match policy.as_str() {
        "interval" => Fsync::Interval(interval),
        "never" => Fsync::Never,
        _ => Fsync::Always,
    };
    Some(JournalOptions { directory: directory?, fsync, buffer_bytes_max, segment_bytes, repair })
}
