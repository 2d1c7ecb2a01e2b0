//! `ringwire.json.1`: messages of one JSON object, or of several with line breaks between.

use ringwire_codec::Opcode;

use super::Pending;
use crate::adapter::quoted;
use crate::adapter::{Heard, Line, Needs, Say, excerpt};
use crate::clients::Message;

/// What an entry begins with, whatever it is of: nothing else does.
const ENTRY: &[u8] = b"{\"topic\":";
/// How a skip and a gap go on behind their topic.
const NOTICES: [&[u8]; 2] = [b"\"type\":\"skip\"", b"\"type\":\"gap\""];

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Json {
    pending: Pending,
    /// What stands in front of a payload, for each topic to publish to.
    heads: Vec<Box<[u8]>>,
}

impl Json {
    pub(super) fn new(session: &Needs<'_>) -> Self {
        let heads = session.publishes.iter().map(|topic| {
            format!("{{\"method\":\"publish\",\"params\":{{\"topic\":{},\"data\":", quoted(topic)).into_bytes().into()
        });
        Self { pending: Pending::new(session), heads: heads.collect() }
    }
}

impl Line for Json {
    fn open(&mut self, say: &mut Say) {
        for request in self.pending.subscribe() {
            say.text(&request);
        }
    }

    fn hear(&mut self, message: Message<'_>, _: &mut Say) -> Result<Heard, String> {
        let bytes = message.bytes;
        if bytes.starts_with(ENTRY) && !bytes.contains(&b'\n') {
            return Ok(heard(bytes));
        }
        if !message.is_text {
            return Err(format!("a binary message, although {} is spoken", "ringwire.json.1"));
        }
        let mut heard_all = Heard::Control;
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if line.starts_with(ENTRY) {
                heard_all = if heard(line) == Heard::Payloads { Heard::Payloads } else { heard_all };
            } else if self.pending.hear(line)?.is_some() {
                return Err(format!("an answer to what was not asked: {}", excerpt(line)));
            }
        }
        Ok(heard_all)
    }

    fn is_ready(&self) -> bool {
        self.pending.is_empty()
    }

    fn publish(&mut self, topic: usize, payload: &[u8], say: &mut Say) {
        say.parts(Opcode::Text, &[&self.heads[topic], payload, b"}}"]);
    }
}

/// What a push of a topic holds.
fn heard(line: &[u8]) -> Heard {
    // The type stands behind the topic's name, which is at most 255 bytes long and has no quote in it.
    let name_end = line[ENTRY.len()..].iter().skip(1).position(|byte| *byte == b'"');
    let behind = name_end.and_then(|end| line.get(ENTRY.len() + end + 3..)).unwrap_or_default();
    if NOTICES.iter().any(|notice| behind.starts_with(notice)) { Heard::Control } else { Heard::Payloads }
}
