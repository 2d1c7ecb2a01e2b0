//! A connection to the Unix socket: records in, acknowledgements out.
//!
//! The stream is that of a recording without its times: a control record `{"type":"bind","topic":"a","id":1}` gives a topic
//! a number, and records of the types 1, 2 and 3 that name the number are published to it. With `"ack":true` in the bind,
//! each of its records whose `seq` is not 0 is answered: by an ack, in order, once it is published, or on disk where the
//! topic is persistent; or by an error with that id, at once. What cannot be a record ends the connection, with an error
//! that says why.
//!
//! A peer that does not read its answers is not read from either.

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use ringwire_hub::{Topic, TopicName};
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use crate::ingest::inlet::{Inlet, RETRY};
use crate::ingest::source::Dropped;
use crate::journal::Outcome;
use crate::json::{write_number, write_string};
use crate::lanes::{PAYLOAD_BYTES_MAX, Publication};
use crate::native::record::{Flags, RECORD_HEADER_BYTES, Record, RecordFault, RecordKind};

/// Most numbers that a connection may give.
const BINDS_MAX: usize = 65_536;
/// Most records that wait for the disk until no more are read.
const PENDING_MAX: usize = 4096;
/// Longest record: the longest payload, with all that a record may have.
const RECORD_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + RECORD_HEADER_BYTES + 16 + 256 + 8;
/// Records taken before the thread's other tasks get their turn.
const BATCH: usize = 256;
/// Room for one read, and what is kept of a long record's room.
const INPUT_BYTES: usize = 256 * 1024;
/// How long a peer whose stream is faulty has to read why.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The control record that gives a topic a number.
#[derive(Deserialize)]
struct Bind<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    topic: &'a str,
    id: u32,
    #[serde(default)]
    ack: bool,
}

/// A topic that has a number.
struct Bound {
    topic: Arc<Topic>,
    acks: bool,
    entry_bytes_max: usize,
}

/// An ack that waits for the disk, or for one before it that does.
struct Pending {
    ticket: Option<u64>,
    request: u64,
    seq: u64,
}

/// A connection.
struct Connection {
    inlet: Inlet,
    bound: BTreeMap<u32, Bound>,
    input: Vec<u8>,
    /// Bytes of `input` that were taken.
    taken: usize,
    output: Vec<u8>,
    pending: VecDeque<Pending>,
}

/// Serves a connection to its end.
pub(super) async fn serve(mut stream: UnixStream, inlet: Inlet) {
    let mut connection = Connection {
        inlet,
        bound: BTreeMap::new(),
        input: Vec::new(),
        taken: 0,
        output: Vec::new(),
        pending: VecDeque::new(),
    };
    if let Err(words) = connection.publish_all(&mut stream).await {
        connection.inlet.source.drop_one(Dropped::Malformed, || format!("a connection ends: {words}"));
        error(&mut connection.output, 0, 400, &words);
        let _ = tokio::time::timeout(LAST_WORDS, stream.write_all(&connection.output)).await;
    }
    while connection.inlet.retry() {
        tokio::time::sleep(RETRY).await;
    }
}

/// Tells a peer that it is one too many.
pub(super) fn refuse(stream: &UnixStream, max: usize) {
    let mut output = Vec::new();
    error(&mut output, 0, 503, &format!("{max} connections are open, and no more are taken (unix.connections_max)"));
    // What a new socket does not take at once is not worth a wait.
    let _ = stream.try_write(&output);
}

impl Connection {
    /// Publishes what comes until the stream ends, well or not.
    ///
    /// # Errors
    /// What is wrong with the stream.
    async fn publish_all(&mut self, stream: &mut UnixStream) -> Result<(), String> {
        let mut is_over = false;
        loop {
            let taken = self.take_records()?;
            self.acknowledge();
            if !self.output.is_empty() {
                if stream.write_all(&self.output).await.is_err() {
                    return Ok(());
                }
                self.output.clear();
            }
            let has_notes = self.inlet.retry();
            if taken == BATCH {
                tokio::task::yield_now().await;
            } else if self.pending.len() >= PENDING_MAX || (is_over && !self.pending.is_empty()) {
                tokio::time::sleep(RETRY).await;
            } else if is_over {
                return self.end();
            } else if has_notes || !self.pending.is_empty() {
                let _ = tokio::time::timeout(RETRY, stream.readable()).await;
                is_over = self.read(stream);
            } else {
                let _ = stream.readable().await;
                is_over = self.read(stream);
            }
        }
    }

    /// Reads what is there. Whether nothing more will come.
    fn read(&mut self, stream: &UnixStream) -> bool {
        self.input.drain(..self.taken);
        self.taken = 0;
        if self.input.is_empty() {
            self.input.shrink_to(INPUT_BYTES);
        }
        self.input.reserve(INPUT_BYTES);
        match stream.try_read_buf(&mut self.input) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }

    /// The peer has sent its last.
    fn end(&self) -> Result<(), String> {
        match self.input.len() - self.taken {
            0 => Ok(()),
            bytes => Err(format!("the stream ends inside a record, {bytes} bytes after its beginning")),
        }
    }

    /// Takes whole records, at most [`BATCH`]. Returns how many.
    fn take_records(&mut self) -> Result<usize, String> {
        let input = std::mem::take(&mut self.input);
        let mut count = 0;
        let result = loop {
            if count == BATCH {
                break Ok(count);
            }
            match Record::parse(&input[self.taken..]) {
                Ok((record, bytes)) => {
                    if let Err(words) = self.take(&record) {
                        break Err(words);
                    }
                    self.taken += bytes;
                    count += 1;
                }
                Err(RecordFault::Incomplete { needed }) if needed <= RECORD_BYTES_MAX => break Ok(count),
                Err(RecordFault::Incomplete { needed }) => {
                    break Err(format!("a record of {needed} bytes is too long: at most {RECORD_BYTES_MAX} are taken"));
                }
                Err(fault) => break Err(fault.to_string()),
            }
        };
        self.input = input;
        result
    }

    fn take(&mut self, record: &Record<'_>) -> Result<(), String> {
        match record.kind {
            RecordKind::Control => self.bind(record.payload),
            RecordKind::Message | RecordKind::Update | RecordKind::Remove => self.publish(record),
            RecordKind::Skip | RecordKind::Gap | RecordKind::Ack => Err(
                "records of the types 1, 2 and 3 are published and those of type 6 bind topics; no others are taken"
                    .to_owned(),
            ),
        }
    }

    fn bind(&mut self, json: &[u8]) -> Result<(), String> {
        let mut copy = json.to_vec();
        let form = "{\"type\":\"bind\",\"topic\":\"a\",\"id\":1}, and \"ack\":true if acks are wanted";
        let bind: Bind<'_> =
            simd_json::from_slice(&mut copy).map_err(|error| format!("a control record is to be {form}: {error}"))?;
        if bind.kind != "bind" {
            return Err(format!("a control record is to be {form}: there is no type {:?}", bind.kind));
        }
        let name = TopicName::new(bind.topic).map_err(|error| format!("{:?} is no topic: {error}", bind.topic))?;
        if self.bound.len() >= BINDS_MAX && !self.bound.contains_key(&bind.id) {
            return Err(format!("{BINDS_MAX} topics are bound, and no more are taken: use an id again"));
        }
        let broker = &self.inlet.broker;
        let topic = broker.open(&name).map_err(|error| error.to_string())?;
        let entry_bytes_max = broker.rules.rule_for(&name).entry_bytes_max;
        self.bound.insert(bind.id, Bound { topic, acks: bind.ack, entry_bytes_max });
        Ok(())
    }

    fn publish(&mut self, record: &Record<'_>) -> Result<(), String> {
        let unknown = || format!("no topic is bound to the id {}: send a bind first", record.topic);
        let bound = self.bound.get_mut(&record.topic).ok_or_else(unknown)?;
        let wants_ack = bound.acks && record.seq != 0;
        let refused = match Self::publication(record, bound) {
            Err((why, code, words)) => {
                self.inlet.source.drop_one(why, || format!("{}: {words}", bound.topic.name()));
                Some((code, words))
            }
            Ok(publication) => match self.inlet.publish(&mut bound.topic, publication) {
                Ok(published) => {
                    if wants_ack {
                        let pending = Pending { ticket: published.ticket, request: record.seq, seq: published.seq };
                        self.pending.push_back(pending);
                    }
                    None
                }
                Err(refused) => Some((refused.status(), refused.to_string())),
            },
        };
        if let Some((code, words)) = refused.filter(|_| wants_ack) {
            // Those before it that do not wait for the disk come first.
            self.acknowledge();
            error(&mut self.output, record.seq, code, &words);
        }
        Ok(())
    }

    fn publication<'a>(record: &Record<'a>, bound: &Bound) -> Result<Publication<'a>, (Dropped, u16, String)> {
        if record.flags.has(Flags::BOUND) {
            let words = "a key is bound to a client's connection, and this is none: leave the flag BOUND out";
            return Err((Dropped::Refused, 400, words.to_owned()));
        }
        let (bytes, max) = (record.payload.len(), bound.entry_bytes_max);
        if bytes > max {
            return Err((Dropped::TooLong, 413, format!("{bytes} bytes are too long: this topic takes at most {max}")));
        }
        let words =
            "the record publishes nothing: an update and a removal have a key, a message has none, and text is UTF-8";
        Publication::of_record(record).ok_or_else(|| (Dropped::NotText, 400, words.to_owned()))
    }

    /// Writes the acks that are due, in order.
    fn acknowledge(&mut self) {
        while let Some(Pending { ticket, request, seq }) = self.pending.front() {
            let outcome = match (ticket, &self.inlet.broker.journal) {
                (Some(ticket), Some(journal)) => journal.outcome(*ticket),
                _ => Outcome::Durable,
            };
            if outcome == Outcome::Pending {
                return;
            }
            let mut payload = seq.to_le_bytes().to_vec();
            if outcome == Outcome::NotPersisted {
                payload.push(1);
            }
            Record { payload: &payload, ..Record::new(RecordKind::Ack, 0, *request) }.append_to(&mut self.output);
            self.pending.pop_front();
        }
    }
}

/// Appends a control record with an error, the answer to `request` if that is not 0.
fn error(out: &mut Vec<u8>, request: u64, code: u16, words: &str) {
    let mut json = Vec::new();
    match request {
        0 => json.extend_from_slice(b"{\"type\":\"error\""),
        _ => {
            json.extend_from_slice(b"{\"id\":");
            write_number(&mut json, request);
        }
    }
    json.extend_from_slice(b",\"error\":{\"code\":");
    write_number(&mut json, u64::from(code));
    json.extend_from_slice(b",\"message\":");
    write_string(&mut json, words);
    json.extend_from_slice(b"}}");
    Record::control(&json).append_to(out);
}
