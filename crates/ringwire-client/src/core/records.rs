//! The binary form of what a server says: records to pushes, and the records of a snapshot to its parts.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Core, Signal};
use crate::error::Error;
use crate::event::{Event, Gap, Skip, Snapshot};
use crate::record::{self, Record};

impl Core {
    /// Takes a message of the server in its binary form: a record or several.
    ///
    /// # Errors
    /// As of [`Core::message`].
    pub(crate) fn records(&mut self, bytes: &[u8], now: Instant) -> Result<Vec<Signal>, Error> {
        let mut signals = Vec::new();
        // The part of a snapshot that the last records come to.
        let mut part: Option<Snapshot> = None;
        for record in record::records(bytes) {
            let record = record?;
            let ends = part.take_if(|part| !record.has(record::SNAPSHOT) || record.has(record::FIRST) || part.last);
            self.push_part(ends, now);
            if record.kind == record::CONTROL {
                let text = std::str::from_utf8(record.payload).map_err(|error| Error::Protocol(error.to_string()))?;
                signals.extend(self.line(text, now)?);
                continue;
            }
            let Some(topic) = self.topics.get(&record.topic).cloned() else { continue };
            if record.has(record::SNAPSHOT) {
                let other = part.take_if(|part| part.topic != topic);
                self.push_part(other, now);
                self.gather(&mut part, &record, topic);
            } else {
                if let Some(event) = event_of(&record, topic.clone())? {
                    self.push(&topic, event, now);
                }
            }
        }
        self.push_part(part, now);
        self.flush(now);
        Ok(signals)
    }

    /// Adds a record to a part of a snapshot.
    fn gather(&self, part: &mut Option<Snapshot>, record: &Record<'_>, topic: Arc<str>) {
        let sub = self.owners.get(&topic).and_then(|id| self.subs.get(id));
        let epoch = sub.map(|sub| sub.epoch(&topic)).unwrap_or_default();
        let new = || Snapshot { topic, epoch, seq: 0, first: false, last: false, entries: Vec::new() };
        let part = part.get_or_insert_with(new);
        part.first |= record.has(record::FIRST);
        part.last |= record.has(record::LAST);
        if record.has(record::LAST) {
            part.seq = record.seq;
        }
        // The record behind the last key has none.
        if !record.key.is_empty() {
            part.entries.push(record.snapshot_entry());
        }
    }

    fn push_part(&mut self, part: Option<Snapshot>, now: Instant) {
        if let Some(part) = part {
            self.push(&part.topic.clone(), Event::Snapshot(part), now);
        }
    }
}

/// What a record of a topic says, other than a snapshot; nothing if it is of a type that this client does not know.
fn event_of(record: &Record<'_>, topic: Arc<str>) -> Result<Option<Event>, Error> {
    Ok(Some(match record.kind {
        record::MESSAGE | record::UPDATE | record::REMOVE => Event::Entry(record.entry(topic)),
        record::SKIP => {
            let ([to, count], why) = record.notice()?;
            Event::Skip(Skip { topic, from: record.seq, to, count, why })
        }
        record::GAP => {
            let ([to], why) = record.notice()?;
            Event::Gap(Gap { topic, from: record.seq, to, why })
        }
        _ => return Ok(None),
    }))
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
