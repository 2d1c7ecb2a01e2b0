//! `[unix]`: a socket in the file system for programs of this machine that publish records.

use std::path::PathBuf;

use crate::config::Section;

/// Longest path that an address has room for (unix(7)).
const PATH_BYTES_MAX: usize = 107;
/// Most connections that may be allowed.
const CONNECTIONS_MAX: usize = 4096;

/// A socket in the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixOptions {
    /// Where it is.
    pub path: PathBuf,
    /// Who may connect: the file's permissions.
    pub mode: u32,
    /// Most connections at a time.
    pub connections_max: usize,
}

/// Reads the section; nothing, if it names no file.
pub(super) fn unix(section: &mut Section<'_>) -> Option<UnixOptions> {
    let path = section.optional_text("path", |text| match text.len() {
        1..=PATH_BYTES_MAX => Ok(PathBuf::from(text)),
        _ => Err(format!("a path of 1 to {PATH_BYTES_MAX} bytes is needed, as in /run/ringwire/ingest.sock")),
    });
    let mode = section.text("mode", "0600", |text| {
        let words = || "permissions in octal are needed, as in \"0600\" or \"0660\"".to_owned();
        u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777).ok_or_else(words)
    });
    let connections_max = section.number("connections_max", 64, 1..=CONNECTIONS_MAX);
    Some(UnixOptions { path: path?, mode, connections_max })
}
