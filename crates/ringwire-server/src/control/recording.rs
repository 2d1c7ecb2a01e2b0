//! A recorded feed's file, read through tokio-uring in large chunks: binary records or lines of JSON, whichever it
//! begins with.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use ringwire_hub::TopicName;
use tokio_uring::fs::File;

use crate::feed::lines::{LINE_BYTES_MAX, LineTooLong, Lines};
use crate::feed::record::{RecordFault, RecordReader};
use crate::feed::recording::{self, RecordingError, RecordingReader};
use crate::lanes::{Payload, Publication};

/// Bytes of one read: large, since one read at a time is under way.
const CHUNK_BYTES: usize = 256 * 1024;

/// A recording, from its beginning on.
pub(crate) struct Recording {
    path: PathBuf,
    file: File,
    position: u64,
    chunk: Vec<u8>,
    form: Form,
}

/// What the file holds.
enum Form {
    /// The file has not been read yet.
    Unknown,
    Lines(Box<Lines>, RecordReader),
    Records(RecordingReader),
}

/// Something that was recorded.
pub(crate) struct Event<'a> {
    /// When it arrived, in nanoseconds since the Unix epoch.
    pub(crate) at_ns: u64,
    pub(crate) topic: TopicName,
    pub(crate) publication: Publication<'a>,
}

/// Why a recording cannot be read on. Its text names the file, and the place where that is known.
#[derive(Debug)]
pub(crate) enum RecordingFault {
    Read(PathBuf, io::Error),
    Line(PathBuf, u64, RecordFault),
    TooLong(PathBuf, u64),
    Record(PathBuf, RecordingError),
}

impl Recording {
    /// Begins at the start of `file`, whose name for messages is `path`.
    pub(crate) fn new(path: &Path, file: File) -> Self {
        let chunk = Vec::with_capacity(CHUNK_BYTES);
        Self { path: path.to_owned(), file, position: 0, chunk, form: Form::Unknown }
    }

    /// Reads the next chunk. `false`: the file has ended, and what was read before is all.
    pub(crate) async fn fill(&mut self) -> Result<bool, RecordingFault> {
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.clear();
        let (result, chunk) = self.file.read_at(chunk, self.position).await;
        self.chunk = chunk;
        let count = result.map_err(|error| RecordingFault::Read(self.path.clone(), error))?;
        self.position += count as u64;
        let chunk = &self.chunk[..count];
        if matches!(self.form, Form::Unknown) {
            // Whoever has fewer bytes than tell it is no recording with an entry in it.
            self.form = match recording::is_recording(chunk) {
                Some(true) => Form::Records(RecordingReader::default()),
                Some(false) | None => Form::Lines(Box::default(), RecordReader::default()),
            };
        }
        match &mut self.form {
            Form::Unknown => {}
            Form::Lines(lines, _) if count == 0 => lines.end(),
            Form::Lines(lines, _) => lines.push(chunk),
            Form::Records(reader) if count == 0 => {
                reader.end().map_err(|error| RecordingFault::Record(self.path.clone(), error))?;
            }
            Form::Records(reader) => reader.push(chunk),
        }
        Ok(count > 0)
    }

    /// The next event among what was read so far.
    pub(crate) fn next_event(&mut self) -> Result<Option<Event<'_>>, RecordingFault> {
        let path = &self.path;
        match &mut self.form {
            Form::Unknown => Ok(None),
            Form::Lines(lines, reader) => {
                let too_long = |LineTooLong { number }| RecordingFault::TooLong(path.clone(), number);
                let Some(line) = lines.next_line().map_err(too_long)? else { return Ok(None) };
                let bad = |fault| RecordingFault::Line(path.clone(), line.number, fault);
                let record = reader.read(line.bytes).map_err(bad)?;
                let publication = Payload::Text(record.data).into();
                Ok(Some(Event { at_ns: record.ts_ns, topic: record.topic, publication }))
            }
            Form::Records(reader) => {
                let event = reader.next_event().map_err(|error| RecordingFault::Record(path.clone(), error))?;
                Ok(event.map(|event| Event { at_ns: event.at_ns, topic: event.topic, publication: event.publication }))
            }
        }
    }

    /// Begins anew.
    pub(crate) fn rewind(&mut self) {
        self.position = 0;
        self.form = Form::Unknown;
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
            RecordingFault::Record(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for RecordingFault {}
