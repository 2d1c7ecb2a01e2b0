//! A journal's folder at the start of the server: who has it, what is in it, and what of that can be read.
//!
//! The last segment may end within a record: the process, or the machine, stopped while it was written. What is behind
//! its last whole record was acknowledged to nobody, is cut off, and said to be. In an earlier segment the same is
//! damage: the server does not start, and says what to do, unless it was told to drop what is behind the fault.
//!
//! All of this is done before anything is served, with plain blocking reads. Memory: the segments are held whole while
//! topics are put back.
//!
//! What this file must never do: change a file of a journal that it refuses; delete what it drops.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};

use super::record::Fault;
use super::replay::{Replay, ReplayedTopic};
use super::segment::{HEADER_BYTES, Header, Records, file_name, number_of};

/// What is dropped is kept under its name with this behind it.
const DROPPED: &str = "dropped";

/// A journal's folder, which no other process uses.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Held for its lock.
    _lock: File,
}

/// What was in the folder.
#[derive(Debug)]
pub struct Found {
    /// All topics, in the order of their names.
    pub topics: Vec<ReplayedTopic>,
    /// Whether the journal was closed in good order: nothing was published that it does not hold.
    pub is_closed: bool,
    /// The number for the next topic.
    pub next_topic: u32,
    /// The segments that there are, with their lengths, the oldest first.
    pub segments: Vec<(u64, u64)>,
    /// What was repaired, for whoever reads the log.
    pub notes: Vec<String>,
}

/// Why a folder cannot be used. Its text says what to do.
#[derive(Debug)]
pub enum FolderError {
    /// The system says no.
    Io(PathBuf, io::Error),
    /// Another process has it.
    Locked(PathBuf),
    /// A segment that is not the last is damaged.
    Damaged {
        /// Its file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
        /// How many segments come after it, and how many bytes all of what would be dropped has.
        behind: (usize, u64),
    },
    /// A later version wrote this.
    Newer(PathBuf, String),
}

impl Folder {
    /// Opens the folder at `path`, made if it is not there, for this process alone.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let failed = |error| FolderError::Io(path.to_owned(), error);
        fs::create_dir_all(path).map_err(failed)?;
        let lock = path.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(lock).map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(FolderError::Locked(path.to_owned())),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of segment `number`.
    pub fn segment(&self, number: u64) -> PathBuf {
        self.path.join(file_name(number))
    }

    /// Reads all segments, and repairs what may be repaired: with `repair`, everything.
    ///
    /// # Errors
    /// Why the journal is not read. No file was changed then.
    pub fn read(&self, repair: bool) -> Result<Found, FolderError> {
        let files = self.files()?;
        let mut replay = Replay::default();
        let mut found =
            Found { topics: Vec::new(), is_closed: false, next_topic: 0, segments: Vec::new(), notes: Vec::new() };
        for (nth, (number, file)) in files.iter().enumerate() {
            let Broken { good_bytes, what, is_newer } =
                match read_segment(*number, file, files.get(nth + 1), &mut replay) {
                    Ok(good_bytes) => {
                        found.segments.push((*number, good_bytes));
                        continue;
                    }
                    Err(broken) => broken,
                };
            if is_newer {
                return Err(FolderError::Newer(self.segment(*number), what));
            }
            let behind = &files[nth + 1..];
            // The last may be cut anywhere, also in its header; one with records behind a bad header is damaged.
            let is_torn = behind.is_empty() && (good_bytes > 0 || file.len() <= HEADER_BYTES);
            if !is_torn && !repair {
                let dropped = file.len() as u64 - good_bytes;
                let bytes = dropped + behind.iter().map(|(_, file)| file.len() as u64).sum::<u64>();
                return Err(FolderError::Damaged { file: self.segment(*number), what, behind: (behind.len(), bytes) });
            }
            self.cut(*number, file.len() as u64, good_bytes, &what, &mut found)?;
            behind.iter().try_for_each(|(number, _)| self.drop_segment(*number, &mut found))?;
            break;
        }
        found.is_closed = replay.is_closed() && found.notes.is_empty();
        found.next_topic = replay.next_topic();
        found.topics = replay.finish();
        Ok(found)
    }

    /// Begins a segment with these records, durably: there is such a file once this returns.
    ///
    /// # Errors
    /// What the system says.
    pub fn begin(&self, header: Header, records: &[u8]) -> io::Result<File> {
        let path = self.segment(header.number);
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
        file.write_all(&[&header.encode()[..], records].concat())?;
        file.sync_all()?;
        self.sync()?;
        Ok(file)
    }

    /// Makes segment `number` durable, as far as it was written.
    ///
    /// # Errors
    /// What the system says.
    pub fn sync_segment(&self, number: u64) -> io::Result<()> {
        File::open(self.segment(number))?.sync_all()
    }

    /// Makes durable which files there are.
    ///
    /// # Errors
    /// What the system says.
    pub fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// All segment files by number, read whole.
    fn files(&self) -> Result<Vec<(u64, Bytes)>, FolderError> {
        let failed = |error| FolderError::Io(self.path.clone(), error);
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            numbers.extend(entry.map_err(failed)?.file_name().to_str().and_then(number_of));
        }
        numbers.sort_unstable();
        let read = |number| {
            let path = self.segment(number);
            fs::read(&path).map(|bytes| (number, Bytes::from(bytes))).map_err(|error| FolderError::Io(path, error))
        };
        numbers.into_iter().map(read).collect()
    }

    /// Cuts what is no good off the end of a segment; the whole segment, if nothing of it is good.
    fn cut(&self, number: u64, bytes: u64, good_bytes: u64, what: &str, found: &mut Found) -> Result<(), FolderError> {
        let path = self.segment(number);
        let failed = |error| FolderError::Io(path.clone(), error);
        if good_bytes == 0 {
            found.notes.push(format!("journal: {}: {what}: the file was put aside", path.display()));
            return self.put_aside(number);
        }
        let file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
        file.set_len(good_bytes).and_then(|()| file.sync_all()).map_err(failed)?;
        let cut_bytes = bytes - good_bytes;
        found.notes.push(format!("journal: {}: {what}: the last {cut_bytes} bytes were cut off", path.display()));
        found.segments.push((number, good_bytes));
        Ok(())
    }

    fn drop_segment(&self, number: u64, found: &mut Found) -> Result<(), FolderError> {
        self.put_aside(number)?;
        let path = self.segment(number);
        found
            .notes
            .push(format!("journal: {}: dropped, as it is behind the fault; the file was put aside", path.display()));
        Ok(())
    }

    fn put_aside(&self, number: u64) -> Result<(), FolderError> {
        let path = self.segment(number);
        let aside = self.path.join(format!("{}.{DROPPED}", file_name(number)));
        fs::rename(&path, aside).and_then(|()| self.sync()).map_err(|error| FolderError::Io(path, error))
    }
}

/// What is wrong with a segment.
struct Broken {
    /// Bytes from its beginning that can be kept; 0 if none.
    good_bytes: u64,
    what: String,
    is_newer: bool,
}

/// Reads a segment into `replay`. Returns how long it is: the one behind it says so, as what was written after that
/// was acknowledged to nobody.
fn read_segment(number: u64, file: &Bytes, next: Option<&(u64, Bytes)>, replay: &mut Replay) -> Result<u64, Broken> {
    let broken = |good_bytes, what: &str| Err(Broken { good_bytes, what: what.to_owned(), is_newer: false });
    if Header::decode(file).is_none_or(|header| header.number != number) {
        return broken(0, "it does not begin as a segment of a journal does");
    }
    let header = next.and_then(|(_, file)| Header::decode(file)).filter(|header| header.number == number + 1);
    let said_bytes = header.map_or(file.len() as u64, |header| header.previous_bytes);
    let good_bytes = said_bytes.min(file.len() as u64);
    let readable = usize::try_from(good_bytes).expect("the file is in memory").max(HEADER_BYTES);
    let mut records = Records::new(&file[..readable]);
    loop {
        match records.next_record() {
            Ok(Some(placed)) => replay.apply(file, &placed),
            Ok(None) => break,
            Err(stop) => {
                let is_newer = matches!(stop.fault, Fault::Unknown { .. });
                return Err(Broken { good_bytes: stop.at as u64, what: stop.to_string(), is_newer });
            }
        }
    }
    if said_bytes > good_bytes {
        return broken(good_bytes, "it was longer when the one behind it was begun");
    }
    match next {
        Some((next, _)) if *next != number + 1 => broken(good_bytes, "the segment behind it is missing"),
        _ => Ok(good_bytes),
    }
}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "journal: {}: {error}", path.display()),
            Self::Locked(path) => write!(
                f,
                "journal: {}: another ringwire has this folder: stop it, or choose another journal.directory",
                path.display()
            ),
            Self::Damaged { file, what, behind: (segments, bytes) } => write!(
                f,
                "journal: {}: DAMAGED: {what}\n\
                 What stood there was acknowledged, and nothing was changed. Put the file back from a backup; or set journal.repair = true for one start, which keeps what is before the fault \
                 and drops {bytes} bytes, {segments} segments behind this one among them (their files are put aside)",
                file.display()
            ),
            Self::Newer(path, what) => write!(
                f,
                "journal: {}: {what}: a later version of ringwire wrote this; use that version, or another \
                 journal.directory",
                path.display()
            ),
        }
    }
}

impl std::error::Error for FolderError {}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
