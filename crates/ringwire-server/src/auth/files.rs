//! The files that keys come from: read at the start, on SIGHUP, and when one of them has changed.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::key::{Key, KeySet};
use super::{jwks, pem};
use crate::options::KeySource;

/// No file of keys is longer.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where keys come from, and what its files looked like when they were last read.
#[derive(Debug)]
pub struct KeyFiles {
    sources: Vec<KeySource>,
    seen: Vec<Option<Stamp>>,
}

/// What tells one state of a file from another. A file that is replaced is another (`inode`), one that is written to
/// has another time or length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

impl KeyFiles {
    /// Reads all of `sources`.
    ///
    /// # Errors
    /// Which file cannot be read or used, and why.
    pub fn open(sources: &[KeySource]) -> Result<(Self, KeySet), String> {
        let mut files = Self { sources: sources.to_vec(), seen: Vec::new() };
        let keys = files.read()?;
        Ok((files, keys))
    }

    /// Reads all files. What has been seen of them counts as read, also if it cannot be used: it is not complained
    /// about twice.
    ///
    /// # Errors
    /// Which file cannot be read or used, and why.
    pub fn read(&mut self) -> Result<KeySet, String> {
        self.seen = self.stamps();
        let keys = self.sources.iter().map(keys_of).collect::<Result<Vec<_>, _>>()?;
        KeySet::new(keys.concat())
    }

    /// Reads all files if one of them has changed since.
    pub fn read_if_changed(&mut self) -> Option<Result<KeySet, String>> {
        (self.stamps() != self.seen).then(|| self.read())
    }

    /// Whether there are files that may change.
    pub fn is_empty(&self) -> bool {
        self.sources.iter().all(|source| path(source).is_none())
    }

    fn stamps(&self) -> Vec<Option<Stamp>> {
        self.sources.iter().map(|source| path(source).and_then(|file| stamp(file))).collect()
    }
}

fn path(source: &KeySource) -> Option<&PathBuf> {
    match source {
        KeySource::Secret(_) => None,
        KeySource::SecretFile(file) | KeySource::PublicKeyFile(file) | KeySource::JwksFile(file) => Some(file),
    }
}

fn stamp(file: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(file).ok()?;
    Some(Stamp { modified: metadata.modified().ok(), bytes: metadata.len(), inode: metadata.ino() })
}

fn keys_of(source: &KeySource) -> Result<Vec<Key>, String> {
    let file = path(source);
    let text = file.map(|file| read(file)).transpose()?.unwrap_or_default();
    let keys = match source {
        KeySource::Secret(secret) => Key::secret(secret.as_bytes()).map(|key| vec![key]),
        KeySource::SecretFile(_) => {
            Key::secret(text.strip_suffix('\n').unwrap_or(&text).as_bytes()).map(|key| vec![key])
        }
        KeySource::PublicKeyFile(_) => pem::public_keys(&text),
        KeySource::JwksFile(_) => jwks::keys(&text),
    };
    keys.map_err(|words| match file {
        Some(file) => format!("{}: {words}", file.display()),
        None => words,
    })
}

fn read(file: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", file.display());
    if std::fs::metadata(file).map_err(cannot)?.len() > FILE_BYTES_MAX {
        return Err(format!("{} is too long for keys: at most {FILE_BYTES_MAX} bytes are read", file.display()));
    }
    std::fs::read_to_string(file).map_err(cannot)
}
