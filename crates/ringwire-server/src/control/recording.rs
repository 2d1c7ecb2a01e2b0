//! A recorded feed's file, read through tokio-uring in large chunks.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use tokio_uring::fs::File;

use crate::feed::lines::{LINE_BYTES_MAX, LineTooLong, Lines};
use crate::feed::record::{Record, RecordFault, RecordReader};

/// Bytes of one read: large, since one read at a time is under way.
const CHUNK_BYTES: usize = 256 * 1024;

/// A recording, from its first line on.
pub(crate) struct Recording {
    path: PathBuf,
    file: File,
    position: u64,
    chunk: Vec<u8>,
    lines: Lines,
    reader: RecordReader,
}

/// Why a recording cannot be read on. Its text names the file, and the line where that is known.
#[derive(Debug)]
pub(crate) enum RecordingFault {
    Read(PathBuf, io::Error),
    Line(PathBuf, u64, RecordFault),
    TooLong(PathBuf, u64),
}

impl Recording {
    /// Begins at the start of `file`, whose name for messages is `path`.
    pub(crate) fn new(path: &Path, file: File) -> Self {
        Self {
            path: path.to_owned(),
            file,
            position: 0,
            chunk: Vec::with_capacity(CHUNK_BYTES),
            lines: Lines::default(),
            reader: RecordReader::default(),
        }
    }

    /// Reads the next chunk. `false`: the file has ended, and what was read before is all.
    pub(crate) async fn fill(&mut self) -> Result<bool, RecordingFault> {
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.clear();
        let (result, chunk) = self.file.read_at(chunk, self.position).await;
        self.chunk = chunk;
        let count = result.map_err(|error| RecordingFault::Read(self.path.clone(), error))?;
        if count == 0 {
            self.lines.end();
            return Ok(false);
        }
        self.position += count as u64;
        self.lines.push(&self.chunk[..count]);
        Ok(true)
    }

    /// The next record among the lines read so far.
    pub(crate) fn next_record(&mut self) -> Result<Option<Record<'_>>, RecordingFault> {
        let too_long = |LineTooLong { number }| RecordingFault::TooLong(self.path.clone(), number);
        let Some(line) = self.lines.next_line().map_err(too_long)? else { return Ok(None) };
        let bad = |fault| RecordingFault::Line(self.path.clone(), line.number, fault);
        self.reader.read(line.bytes).map(Some).map_err(bad)
    }

    /// Begins anew.
    pub(crate) fn rewind(&mut self) {
        self.position = 0;
        self.lines = Lines::default();
    }
}

impl fmt::Display for RecordingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordingFault::Read(path, error) => write!(f, "{}: {error}", path.display()),
            RecordingFault::Line(path, line, fault) => write!(f, "{}:{line}: {fault}", path.display()),
            RecordingFault::TooLong(path, line) => {
                write!(f, "{}:{line}: a line has at most {LINE_BYTES_MAX} bytes", path.display())
            }
        }
    }
}

impl std::error::Error for RecordingFault {}
