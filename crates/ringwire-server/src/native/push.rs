//! What is told unasked, as JSON messages: entries, notices, snapshots, heartbeats, the end.
//!
//! Entries hold nothing that belongs to one subscriber, so one text serves all. Each message is one line: line breaks
//! that a publisher's JSON has between its parts stand as spaces in it, so that a client may split what it reads at them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::epoch::Epoch;
use super::record::RecordKind;
use super::reply::{epoch, field, topic};
use crate::json::{write_line, write_number, write_string};

/// Why entries do not come. The numbers are those of the binary form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Why {
    /// A later entry of their key took their place.
    Conflated = 1,
    /// The same, as the subscriber asked for so many a second.
    Rate = 2,
    /// They were older than the subscriber wants them.
    Age = 3,
    /// The subscriber was too slow.
    Slow = 4,
    /// The server holds them no longer.
    Lost = 5,
}

impl Why {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Conflated => "conflated",
            Self::Rate => "rate",
            Self::Age => "age",
            Self::Slow => "slow",
            Self::Lost => "lost",
        }
    }
}

/// A payload in its JSON form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// There is none: a key was removed.
    None,
    /// It is JSON.
    Json(&'a str),
    /// It is a text that is no JSON: it stands as a JSON string.
    Text(&'a str),
    /// It is bytes: they stand in base64, and the message says so.
    Bytes(&'a [u8]),
}

/// An entry.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// [`RecordKind::Message`], [`RecordKind::Update`] or [`RecordKind::Remove`].
    pub kind: RecordKind,
    /// Its number.
    pub seq: u64,
    /// When it was published.
    pub ts_us: u64,
    /// The publisher's own number.
    pub source_seq: Option<u64>,
    /// Its key, empty if it has none.
    pub key: &'a str,
    /// Its payload.
    pub data: Data<'a>,
}

impl Entry<'_> {
    /// Appends it as a message.
    pub fn write(&self, out: &mut Vec<u8>) {
        topic(out, self.topic);
        out.extend_from_slice(match self.kind {
            RecordKind::Update => b",\"type\":\"update\"",
            RecordKind::Remove => b",\"type\":\"remove\"",
            _ => b",\"type\":\"message\"" as &[u8],
        });
        field(out, "seq", self.seq);
        field(out, "ts", self.ts_us);
        if let Some(source_seq) = self.source_seq {
            field(out, "source_seq", source_seq);
        }
        if !self.key.is_empty() {
            out.extend_from_slice(b",\"key\":");
            write_string(out, self.key);
        }
        self.data.write(out);
        out.push(b'}');
    }

    /// Appends it as an item of a snapshot, which says for all what they have in common.
    pub fn write_item(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"key\":");
        write_string(out, self.key);
        field(out, "seq", self.seq);
        field(out, "ts", self.ts_us);
        if let Some(source_seq) = self.source_seq {
            field(out, "source_seq", source_seq);
        }
        self.data.write(out);
        out.push(b'}');
    }
}

impl Data<'_> {
    /// Appends `,"data":..`, and what goes with it.
    pub fn write(self, out: &mut Vec<u8>) {
        if self == Self::None {
            return;
        }
        out.extend_from_slice(b",\"data\":");
        match self {
            Self::None => {}
            Self::Json(json) => write_line(out, json),
            Self::Text(text) => write_string(out, text),
            Self::Bytes(bytes) => {
                out.push(b'"');
                write_base64(out, bytes);
                out.extend_from_slice(b"\",\"base64\":true");
            }
        }
    }
}

/// Appends the message that `count` of the entries `from..=to` do not come.
pub fn skip(out: &mut Vec<u8>, name: &str, from: u64, to: u64, count: u64, why: Why) {
    topic(out, name);
    out.extend_from_slice(b",\"type\":\"skip\"");
    field(out, "from", from);
    field(out, "to", to);
    field(out, "count", count);
    end_with(out, why);
}

/// Appends the message that none of the entries `from..=to` comes.
pub fn gap(out: &mut Vec<u8>, name: &str, from: u64, to: u64, why: Why) {
    topic(out, name);
    out.extend_from_slice(b",\"type\":\"gap\"");
    field(out, "from", from);
    field(out, "to", to);
    end_with(out, why);
}

/// Appends the beginning of a snapshot's message, up to its items; [`snapshot_end`] is its end. The state is the one
/// after entry `seq`.
pub fn snapshot_begin(out: &mut Vec<u8>, name: &str, of: Epoch, seq: u64, first: bool, last: bool) {
    topic(out, name);
    out.extend_from_slice(b",\"type\":\"snapshot\"");
    epoch(out, of);
    field(out, "seq", seq);
    for (name, flag) in [("first", first), ("last", last)] {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(if flag { b"\":true" } else { b"\":false" });
    }
    out.extend_from_slice(b",\"data\":[");
}

/// Appends the end of a snapshot's message.
pub fn snapshot_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"]}");
}

/// Appends a heartbeat: of each topic named, the last entry that was sent.
pub fn heartbeat<'a>(out: &mut Vec<u8>, ts_us: u64, at: impl Iterator<Item = (&'a str, u64)>) {
    out.extend_from_slice(b"{\"type\":\"heartbeat\"");
    field(out, "ts", ts_us);
    out.extend_from_slice(b",\"at\":{");
    for (nth, (name, seq)) in at.enumerate() {
        out.extend_from_slice(if nth > 0 { b",\"" } else { b"\"" });
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        write_number(out, seq);
    }
    out.extend_from_slice(b"}}");
}

/// Appends the message that the server is going away: come again after so long, and a random part of the jitter more.
pub fn goaway(out: &mut Vec<u8>, after_ms: u64, jitter_ms: u64) {
    out.extend_from_slice(b"{\"type\":\"goaway\",\"why\":\"restart\"");
    field(out, "after_ms", after_ms);
    field(out, "jitter_ms", jitter_ms);
    out.push(b'}');
}

/// Appends bytes in base64 (RFC 4648 §4).
pub fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).expect("four bytes hold three");
    out.truncate(start + written);
}

fn end_with(out: &mut Vec<u8>, why: Why) {
    out.extend_from_slice(b",\"why\":\"");
    out.extend_from_slice(why.word().as_bytes());
    out.extend_from_slice(b"\"}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn entry(data: Data<'_>) -> Entry<'_> {
        Entry { topic: "t.X", kind: RecordKind::Message, seq: 881, ts_us: 5, source_seq: None, key: "", data }
    }

    #[test]
    fn an_entry_says_what_it_is_and_what_was_given_with_it() {
        let message = entry(Data::Json("{\"p\":1.50}"));
        assert_eq!(
            written(|out| message.write(out)),
            r#"{"topic":"t.X","type":"message","seq":881,"ts":5,"data":{"p":1.50}}"#
        );
        let update = Entry { kind: RecordKind::Update, key: "b:\"1", source_seq: Some(7), ..message };
        assert_eq!(
            written(|out| update.write(out)),
            r#"{"topic":"t.X","type":"update","seq":881,"ts":5,"source_seq":7,"key":"b:\"1","data":{"p":1.50}}"#
        );
        let remove = Entry { kind: RecordKind::Remove, key: "k", ..entry(Data::None) };
        assert_eq!(written(|out| remove.write(out)), r#"{"topic":"t.X","type":"remove","seq":881,"ts":5,"key":"k"}"#);
        assert_eq!(
            written(|out| update.write_item(out)),
            r#"{"key":"b:\"1","seq":881,"ts":5,"source_seq":7,"data":{"p":1.50}}"#
        );
    }

    #[test]
    fn text_stands_as_a_string_and_bytes_in_base64() {
        assert!(written(|out| entry(Data::Text("say \"hi\"\n")).write(out)).ends_with(r#","data":"say \"hi\"\n"}"#));
        let bytes = |bytes: &[u8]| written(|out| entry(Data::Bytes(bytes)).write(out));
        assert!(bytes(&[0, 1, 2]).ends_with(r#","data":"AAEC","base64":true}"#));
        assert!(bytes(&[255]).ends_with(r#","data":"/w==","base64":true}"#));
        assert!(bytes(&[]).ends_with(r#","data":"","base64":true}"#));
    }

    #[test]
    fn a_message_is_one_line() {
        let text = written(|out| entry(Data::Json("{\r\n \"a\": \"\\n\"\n}")).write(out));
        assert!(text.ends_with(",\"data\":{   \"a\": \"\\n\" }}"), "{text}");
    }

    #[test]
    fn notices_have_the_members_that_the_specification_names() {
        assert_eq!(
            written(|out| skip(out, "a", 1043, 1090, 40, Why::Conflated)),
            r#"{"topic":"a","type":"skip","from":1043,"to":1090,"count":40,"why":"conflated"}"#
        );
        assert_eq!(
            written(|out| gap(out, "a", 1050, 1090, Why::Slow)),
            r#"{"topic":"a","type":"gap","from":1050,"to":1090,"why":"slow"}"#
        );
        assert_eq!(
            written(|out| {
                snapshot_begin(out, "a", Epoch(36), 1090, true, false);
                snapshot_end(out);
            }),
            r#"{"topic":"a","type":"snapshot","epoch":"10","seq":1090,"first":true,"last":false,"data":[]}"#
        );
        assert_eq!(
            written(|out| heartbeat(out, 9, [("a", 1), ("b", 2)].into_iter())),
            r#"{"type":"heartbeat","ts":9,"at":{"a":1,"b":2}}"#
        );
        assert_eq!(
            written(|out| goaway(out, 1200, 3000)),
            r#"{"type":"goaway","why":"restart","after_ms":1200,"jitter_ms":3000}"#
        );
    }
}
