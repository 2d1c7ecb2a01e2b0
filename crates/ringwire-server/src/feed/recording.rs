//! A recording: binary records, each behind the time at which it arrived.
//!
//! ```text
//! u64 nanoseconds since the Unix epoch, little-endian | the record (native::record) | the next | ...
//! ```
//!
//! A control record `{"type":"bind","topic":"book.BTC-USD","id":7}` comes before a topic's first entry and says which
//! number it has; the first record of a file is one. Skips and gaps stand where they came: what they name is not in the
//! recording. Other control records are allowed and mean nothing here.
//!
//! A file of JSON lines is told from it by byte 24, the type of the first record: no JSON has that byte.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use ringwire_hub::{NameError, TopicName};
use serde::Deserialize;

use crate::lanes::{ENTRY_BYTES_MAX, Publication};
use crate::native::record::{Record, RecordFault, RecordKind};

/// Bytes of the time before a record.
const TIME_BYTES: usize = 8;
/// Index of the byte that says what the first record is.
const KIND_AT: usize = TIME_BYTES + 16;
/// Most topics that a recording may name.
const TOPICS_MAX: usize = 1_000_000;

/// Whether a file that begins with these bytes is a recording; not known before there are enough of them.
pub fn is_recording(beginning: &[u8]) -> Option<bool> {
    beginning.get(KIND_AT).map(|kind| *kind == RecordKind::Control as u8)
}

/// Writes a recording.
#[derive(Debug, Default)]
pub struct RecordingWriter {
    bound: BTreeMap<u32, TopicName>,
}

impl RecordingWriter {
    /// Says that `topic` has number `id` from here on, if that is news.
    pub fn bind(&mut self, out: &mut Vec<u8>, at_ns: u64, id: u32, topic: &TopicName) {
        if self.bound.get(&id) == Some(topic) {
            return;
        }
        self.bound.insert(id, topic.clone());
        // A topic's name needs no escapes in JSON.
        let words = format!("{{\"type\":\"bind\",\"topic\":\"{topic}\",\"id\":{id}}}");
        push(out, at_ns, &Record::control(words.as_bytes()));
    }

    /// Appends an entry or a notice, if its topic's number is known. Says whether it is.
    pub fn write(&mut self, out: &mut Vec<u8>, at_ns: u64, record: &Record<'_>) -> bool {
        let is_known = self.bound.contains_key(&record.topic);
        if is_known {
            push(out, at_ns, record);
        }
        is_known
    }
}

fn push(out: &mut Vec<u8>, at_ns: u64, record: &Record<'_>) {
    out.extend_from_slice(&at_ns.to_le_bytes());
    record.append_to(out);
}

/// Cuts a stream of chunks of a recording into events.
#[derive(Debug, Default)]
pub struct RecordingReader {
    held: Vec<u8>,
    /// Bytes of `held` that were handed out.
    consumed: usize,
    /// Bytes before `held` in the file.
    passed: u64,
    topics: BTreeMap<u32, TopicName>,
}

/// Something that was published, as it was recorded.
#[derive(Clone, Debug)]
pub struct Recorded<'a> {
    /// When it arrived, in nanoseconds since the Unix epoch.
    pub at_ns: u64,
    /// Its topic.
    pub topic: TopicName,
    /// What it was.
    pub publication: Publication<'a>,
}

/// What is wrong with a recording, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingError {
    /// Index of the faulty record's first byte, that of its time, in the file.
    pub at: u64,
    /// What is wrong with it.
    pub fault: RecordingFault,
}

/// What is wrong with a record of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordingFault {
    /// It is no record.
    Record(RecordFault),
    /// It is longer than any that is published.
    TooLong(usize),
    /// It is no entry: an update without a key, or a text that is not UTF-8.
    Entry,
    /// Its topic's number was not said.
    Unbound(u32),
    /// A control record that is not JSON, or binds to no name.
    Control(String),
    /// A topic's name that is none.
    Name(NameError),
    /// More topics than a recording may name.
    Topics,
    /// The file ends within it.
    Cut,
}

impl RecordingReader {
    /// Takes the next chunk of the file.
    pub fn push(&mut self, chunk: &[u8]) {
        self.held.drain(..self.consumed);
        self.passed += self.consumed as u64;
        self.consumed = 0;
        self.held.extend_from_slice(chunk);
    }

    /// The next event, if the chunks so far hold one.
    ///
    /// # Errors
    /// What stands there instead.
    pub fn next_event(&mut self) -> Result<Option<Recorded<'_>>, RecordingError> {
        loop {
            let at = self.consumed;
            let fault = |fault| RecordingError { at: self.passed + at as u64, fault };
            let Some((bytes, kind)) = measure(&self.held[at..]).map_err(fault)? else { return Ok(None) };
            self.consumed = at + TIME_BYTES + bytes;
            match kind {
                RecordKind::Control => {
                    let record = parse(&self.held[at..]).map_err(fault)?;
                    if let Some((id, name)) = binding(&record).map_err(fault)? {
                        if self.topics.len() >= TOPICS_MAX {
                            return Err(fault(RecordingFault::Topics));
                        }
                        self.topics.insert(id, name);
                    }
                }
                RecordKind::Skip | RecordKind::Gap | RecordKind::Ack => {}
                RecordKind::Message | RecordKind::Update | RecordKind::Remove => {
                    let record = parse(&self.held[at..]).map_err(fault)?;
                    // An empty snapshot is a removal of nothing.
                    if record.kind == RecordKind::Remove && record.key.is_empty() {
                        continue;
                    }
                    let topic =
                        self.topics.get(&record.topic).ok_or_else(|| fault(RecordingFault::Unbound(record.topic)))?;
                    let publication = Publication::of_record(&record).ok_or_else(|| fault(RecordingFault::Entry))?;
                    let at_ns = u64::from_le_bytes(*self.held[at..].first_chunk().expect("it was measured"));
                    return Ok(Some(Recorded { at_ns, topic: topic.clone(), publication }));
                }
            }
        }
    }

    /// The file has ended.
    ///
    /// # Errors
    /// If that is within a record.
    pub fn end(&self) -> Result<(), RecordingError> {
        let at = self.passed + self.consumed as u64;
        if self.held.len() == self.consumed { Ok(()) } else { Err(RecordingError { at, fault: RecordingFault::Cut }) }
    }
}

/// Length and type of the record behind a time, if it is there whole.
fn measure(bytes: &[u8]) -> Result<Option<(usize, RecordKind)>, RecordingFault> {
    let Some(record) = bytes.get(TIME_BYTES..) else { return Ok(None) };
    match Record::parse(record) {
        Ok((record, bytes)) => Ok(Some((bytes, record.kind))),
        Err(RecordFault::Incomplete { needed }) if needed > ENTRY_BYTES_MAX => Err(RecordingFault::TooLong(needed)),
        Err(RecordFault::Incomplete { .. }) => Ok(None),
        Err(fault) => Err(RecordingFault::Record(fault)),
    }
}

fn parse(bytes: &[u8]) -> Result<Record<'_>, RecordingFault> {
    Record::parse(&bytes[TIME_BYTES..]).map(|(record, _)| record).map_err(RecordingFault::Record)
}

/// What a control record binds, if it does.
fn binding(record: &Record<'_>) -> Result<Option<(u32, TopicName)>, RecordingFault> {
    #[derive(Deserialize)]
    struct Control<'a> {
        #[serde(rename = "type", borrow, default)]
        kind: Cow<'a, str>,
        #[serde(borrow)]
        topic: Option<Cow<'a, str>>,
        id: Option<u32>,
    }
    let mut json = record.payload.to_vec();
    let control: Control<'_> =
        simd_json::from_slice(&mut json).map_err(|error| RecordingFault::Control(error.to_string()))?;
    match control {
        Control { kind, topic: Some(topic), id: Some(id) } if kind == "bind" => {
            TopicName::new(&topic).map(|name| Some((id, name))).map_err(RecordingFault::Name)
        }
        Control { kind, .. } if kind == "bind" => Err(RecordingFault::Control("a bind has a topic and an id".into())),
        _ => Ok(None),
    }
}

impl fmt::Display for RecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: {}", self.at, self.fault)
    }
}

impl std::error::Error for RecordingError {}

impl fmt::Display for RecordingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(fault) => fault.fmt(f),
            Self::TooLong(bytes) => write!(f, "a record of {bytes} bytes, longer than any that is published"),
            Self::Entry => f.write_str("a record that is no entry: an update has a key, and a text is UTF-8"),
            Self::Unbound(id) => write!(f, "an entry of topic {id}, which no bind before it names"),
            Self::Control(what) => write!(f, "a control record: {what}"),
            Self::Name(error) => write!(f, "a bind: {error}"),
            Self::Topics => write!(f, "more than {TOPICS_MAX} topics"),
            Self::Cut => f.write_str("the file ends within this record"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::Payload;
    use crate::native::record::Flags;

    fn entry(topic: u32, seq: u64) -> Record<'static> {
        Record { flags: Flags::TEXT, payload: b"{}", key: "k", ..Record::new(RecordKind::Update, topic, seq) }
    }

    fn recording() -> Vec<u8> {
        let (mut out, mut writer) = (Vec::new(), RecordingWriter::default());
        let names = ["a", "b.c"].map(|name| TopicName::new(name).unwrap());
        assert!(!writer.write(&mut out, 1, &entry(7, 1)) && out.is_empty(), "its name is not known");
        writer.bind(&mut out, 1, 7, &names[0]);
        assert!(writer.write(&mut out, 1, &entry(7, 1)));
        writer.bind(&mut out, 2, 7, &names[0]);
        assert!(writer.write(&mut out, 2, &Record::new(RecordKind::Gap, 7, 2)));
        assert!(writer.write(&mut out, 3, &Record { source_seq: Some(9), ..entry(7, 5) }));
        writer.bind(&mut out, 4, 7, &names[1]);
        assert!(writer.write(&mut out, 4, &Record::new(RecordKind::Remove, 7, 0)), "an empty snapshot");
        assert!(writer.write(&mut out, 5, &Record { kind: RecordKind::Message, key: "", ..entry(7, 1) }));
        out
    }

    fn events(chunks: &[&[u8]]) -> Result<Vec<(u64, String, Option<u64>)>, RecordingError> {
        let (mut reader, mut events) = (RecordingReader::default(), Vec::new());
        for chunk in chunks {
            reader.push(chunk);
            while let Some(event) = reader.next_event()? {
                let about = format!("{} {:?}", event.topic, event.publication.subject.key());
                assert_eq!(event.publication.payload, Payload::Text("{}"));
                events.push((event.at_ns, about, event.publication.source_seq));
            }
        }
        reader.end().map(|()| events)
    }

    #[test]
    fn what_is_recorded_is_read_in_any_chunks() {
        let file = recording();
        let whole = events(&[&file]).unwrap();
        let expected = [(1, "a Some(\"k\")", None), (3, "a Some(\"k\")", Some(9)), (5, "b.c None", None)];
        assert_eq!(whole, expected.map(|(at, about, source)| (at, about.to_owned(), source)));
        for split in 0..file.len() {
            assert_eq!(events(&[&file[..split], &file[split..]]).unwrap(), whole, "split at {split}");
        }
    }

    #[test]
    fn a_recording_that_is_cut_says_where() {
        let file = recording();
        let mut good = 0;
        for length in 0..=file.len() {
            match events(&[&file[..length]]) {
                Ok(_) => good += 1,
                Err(error) => {
                    assert_eq!(error.fault, RecordingFault::Cut);
                    assert!(error.at < length as u64 && error.at % 8 == 0, "{error}");
                }
            }
        }
        assert_eq!(good, 8, "between its seven records, and around them");
    }

    #[test]
    fn each_fault_is_said_with_its_place() {
        let bad = |record: &Record<'_>| {
            let mut file = recording();
            let at = file.len() as u64;
            push(&mut file, 9, record);
            let error = events(&[&file]).unwrap_err();
            assert_eq!(error.at, at);
            error.fault
        };
        assert_eq!(bad(&entry(8, 1)), RecordingFault::Unbound(8));
        assert_eq!(bad(&Record { key: "", ..entry(7, 1) }), RecordingFault::Entry);
        assert_eq!(bad(&Record { payload: &[0xFF], ..entry(7, 1) }), RecordingFault::Entry);
        assert!(matches!(bad(&Record::control(b"{")), RecordingFault::Control(_)));
        assert!(matches!(bad(&Record::control(b"{\"type\":\"bind\",\"id\":1}")), RecordingFault::Control(_)));
        assert!(matches!(
            bad(&Record::control(b"{\"type\":\"bind\",\"id\":1,\"topic\":\"\"}")),
            RecordingFault::Name(_)
        ));
        let mut file = recording();
        file[KIND_AT] = 99;
        let fault = RecordingFault::Record(RecordFault::Kind(99));
        assert_eq!(events(&[&file]), Err(RecordingError { at: 0, fault }));
    }

    #[test]
    fn a_recording_is_told_from_lines_of_json_by_its_beginning() {
        let file = recording();
        assert_eq!((is_recording(&file[..24]), is_recording(&file[..25])), (None, Some(true)));
        assert_eq!(is_recording(b"{\"ts\":1,\"topic\":\"a\",\"data\":1}"), Some(false));
    }
}
