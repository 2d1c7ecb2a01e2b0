//! One line of a recording in JSON: `{"ts":<Unix nanoseconds>,"topic":"trades.BTCUSDT","data":<any JSON>}`.
//!
//! The whole line is parsed by simd-json, which proves it valid and gives `ts` and `topic`. What is published is
//! the text of `data` as it stands in the line, so that a subscriber gets the exchange's bytes and not a
//! translation of them: `member_span` finds it, which needs no more than strings and depth once the line is
//! known to be valid.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;
use simd_json::Deserializer;

use ringwire_hub::{NameError, TopicName};

/// A line, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// When the event arrived, in nanoseconds since the Unix epoch.
    pub ts_ns: u64,
    /// Its topic.
    pub topic: TopicName,
    /// The text of its `data`, byte for byte.
    pub data: &'a str,
}

/// Why a line is no record. Its text is for whoever made the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordFault {
    /// It is not JSON, or a member is missing, doubled or of another type.
    Json(String),
    /// Its topic has no valid name.
    Topic(NameError),
    /// `data` is not written as `"data"` but with an escape.
    EscapedName,
}

impl fmt::Display for RecordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordFault::Json(what) => {
                write!(f, "{what}; a line is {{\"ts\":<Unix nanoseconds>,\"topic\":\"..\",\"data\":<JSON>}}")
            }
            RecordFault::Topic(fault) => write!(f, "\"topic\": {fault}"),
            RecordFault::EscapedName => f.write_str("the name \"data\" must be written without escapes"),
        }
    }
}

impl std::error::Error for RecordFault {}

/// The members that must be there.
#[derive(Deserialize)]
struct Members<'a> {
    ts: u64,
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(rename = "data")]
    _data: IgnoredAny,
}

/// Reads lines, with memory that it keeps from line to line.
#[derive(Debug, Default)]
pub struct RecordReader {
    copy: Vec<u8>,
}

impl RecordReader {
    /// Reads `line`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read<'a>(&mut self, line: &'a [u8]) -> Result<Record<'a>, RecordFault> {
        let text = std::str::from_utf8(line).map_err(|error| RecordFault::Json(error.to_string()))?;
        self.copy.clear();
        self.copy.extend_from_slice(line);
        let mut deserializer =
            Deserializer::from_slice(&mut self.copy).map_err(|error| RecordFault::Json(error.to_string()))?;
        let members = Members::deserialize(&mut deserializer).map_err(|error| RecordFault::Json(error.to_string()))?;
        let topic = TopicName::new(&members.topic).map_err(RecordFault::Topic)?;
        let data = member_span(text, "data").ok_or(RecordFault::EscapedName)?;
        Ok(Record { ts_ns: members.ts, topic, data })
    }
}

/// The text of the value of the member `name` of the object `object`, which must be valid JSON. The name is
/// compared as written, so one with escapes is not found. A member of an object inside is not taken for it.
fn member_span<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let bytes = object.as_bytes();
    let mut at = skip_space(bytes, 0);
    if bytes.get(at) != Some(&b'{') {
        return None;
    }
    at += 1;
    loop {
        at = skip_space(bytes, at);
        if bytes.get(at) != Some(&b'"') {
            return None;
        }
        let key_end = skip_string(bytes, at);
        let key = object.get(at + 1..key_end - 1)?;
        let colon = skip_space(bytes, key_end);
        let value = skip_space(bytes, colon + 1);
        let value_end = skip_value(bytes, value);
        if key == name {
            return object.get(value..value_end);
        }
        at = skip_space(bytes, value_end);
        if bytes.get(at) != Some(&b',') {
            return None;
        }
        at += 1;
    }
}

/// Index of the first byte from `at` on that is not white space.
fn skip_space(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count()
}

/// Index behind the string that begins at `at`.
fn skip_string(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Index behind the value that begins at `at`.
fn skip_value(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at) {
        Some(b'"') => skip_string(bytes, at),
        Some(b'{' | b'[') => skip_nested(bytes, at),
        _ => {
            let rest = bytes.get(at..).unwrap_or_default();
            at + rest
                .iter()
                .take_while(|byte| !matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n'))
                .count()
        }
    }
}

/// Index behind the object or array that begins at `at`.
fn skip_nested(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0usize;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = skip_string(bytes, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(line: &str) -> String {
        RecordReader::default().read(line.as_bytes()).expect("a record").data.to_owned()
    }

    fn fault(line: &str) -> RecordFault {
        RecordReader::default().read(line.as_bytes()).expect_err("a fault")
    }

    #[test]
    fn a_recorded_line_gives_time_topic_and_the_bytes_of_its_data() {
        let line =
            r#"{"ts":1610064000278000000,"topic":"trades.BTCUSDT","data":{"e":"trade","p":"39432.48","m":true}}"#;
        let record = RecordReader::default().read(line.as_bytes()).unwrap();
        assert_eq!(record.ts_ns, 1_610_064_000_278_000_000);
        assert_eq!(record.topic.as_str(), "trades.BTCUSDT");
        assert_eq!(record.data, r#"{"e":"trade","p":"39432.48","m":true}"#);
    }

    #[test]
    fn data_is_found_wherever_it_stands_and_passed_on_as_written() {
        for value in [
            r#"{"data":{"data":1},"x":[{"data":2}]}"#,
            r#"{ "p" : 1.50 , "u":"\u00e9\/" }"#,
            r#""a \"data\": } ] \\""#,
            r#"[1, [2], {}, "]"]"#,
            "1.0e5",
            "-0.10",
            "true",
            "null",
            "[]",
            r#""é€𝄞""#,
            "123456789012345678901234567890",
        ] {
            assert_eq!(data(&format!(r#"{{"ts":1,"topic":"a","data":{value}}}"#)), value);
            assert_eq!(data(&format!(r#" {{ "data" : {value} , "ts" : 1 , "topic" : "a" }} "#)), value);
            let decoys = r#""meta":{"data":0},"text":"\"data\":0","list":["data",0]"#;
            assert_eq!(data(&format!(r#"{{{decoys},"ts":1,"data":{value},"topic":"a"}}"#)), value);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (line, member) in [
            (r#"{"topic":"a","data":1}"#, "ts"),
            (r#"{"ts":1,"data":1}"#, "topic"),
            (r#"{"ts":1,"topic":"a"}"#, "data"),
            (r#"{"ts":1,"topic":"a","data":1,"data":2}"#, "data"),
        ] {
            let text = fault(line).to_string();
            assert!(text.contains(member), "{line}: {text}");
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for line in ["", "{", "[]", "1", r#"{"ts":"1","topic":"a","data":1}"#, r#"{"ts":-1,"topic":"a","data":1}"#] {
            assert!(matches!(fault(line), RecordFault::Json(_)), "{line}");
        }
        assert_eq!(fault(r#"{"ts":1,"topic":"","data":1}"#), RecordFault::Topic(NameError::Empty));
        assert_eq!(fault(r#"{"ts":1,"topic":"a","d\u0061ta":1}"#), RecordFault::EscapedName);
    }
}
