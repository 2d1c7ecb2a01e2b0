//! What is answered to one message, in one message: JSON messages with line breaks between them, or records.

use crate::native::record::{Record, RecordKind};

use super::client::Form;

/// Answers to the message that is being read.
#[derive(Debug)]
pub(super) struct Answers {
    form: Form,
    bytes: Vec<u8>,
    json: Vec<u8>,
}

/// Working memory that is kept from message to message.
const BYTES_KEPT: usize = 64 * 1024;

impl Default for Answers {
    fn default() -> Self {
        Self { form: Form::Json, bytes: Vec::new(), json: Vec::new() }
    }
}

impl Answers {
    /// Begins the answers to a message, in this form.
    pub(super) fn begin(&mut self, form: Form) {
        self.form = form;
        self.clear();
    }

    /// Adds a JSON message, which `write` appends, or nothing.
    pub(super) fn json(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        match self.form {
            Form::Json => {
                let before = self.bytes.len();
                if before > 0 {
                    self.bytes.push(b'\n');
                }
                let start = self.bytes.len();
                write(&mut self.bytes);
                if self.bytes.len() == start {
                    self.bytes.truncate(before);
                }
            }
            Form::Binary => {
                self.json.clear();
                write(&mut self.json);
                if !self.json.is_empty() {
                    Record::control(&self.json).append_to(&mut self.bytes);
                }
                self.json.shrink_to(BYTES_KEPT);
            }
        }
    }

    /// Adds the record that acknowledges a publish.
    pub(super) fn ack(&mut self, request: u64, seq: u64) {
        let payload = seq.to_le_bytes();
        Record { payload: &payload, ..Record::new(RecordKind::Ack, 0, request) }.append_to(&mut self.bytes);
    }

    /// What there is.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// They are sent.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(BYTES_KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::record::records;

    #[test]
    fn answers_in_json_are_lines_and_nothing_is_none() {
        let mut answers = Answers::default();
        answers.begin(Form::Json);
        for text in ["{}", "", "[]"] {
            answers.json(|out| out.extend_from_slice(text.as_bytes()));
        }
        assert_eq!(answers.bytes(), b"{}\n[]");
        answers.begin(Form::Json);
        assert_eq!(answers.bytes(), b"");
    }

    #[test]
    fn answers_in_binary_are_records() {
        let mut answers = Answers::default();
        answers.begin(Form::Binary);
        for text in ["{}", "", "[]"] {
            answers.json(|out| out.extend_from_slice(text.as_bytes()));
        }
        answers.ack(7, 1091);
        let all: Vec<_> = records(answers.bytes()).map(Result::unwrap).collect();
        let [first, second, ack] = all[..] else { panic!("{all:?}") };
        assert_eq!([first, second], [Record::control(b"{}"), Record::control(b"[]")]);
        assert_eq!((ack.kind, ack.seq, ack.payload), (RecordKind::Ack, 7, &1091u64.to_le_bytes()[..]));
    }
}
