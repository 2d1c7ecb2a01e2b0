//! `ringwire publish --ndjson`: lines become requests of the native protocol, and their answers are counted.
//!
//! A line is what `publish` takes there, as one JSON object; the request's id is the line's number. One that is refused, by
//! this side or the server, is told of with its number, and the others go on.

use ringwire_codec::utf8;
use simd_json::prelude::*;

use crate::feed::lines::Line;
use crate::service::MESSAGE_BYTES_MAX;

/// Requests that may wait for their answers: a quarter of what the server lets wait for its disk.
const WAITING_MAX: u64 = 1024;
/// Refusals that are told of one by one.
const TOLD_MAX: u64 = 20;

/// What was asked for, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Requests {
    out: Vec<u8>,
    /// Requests that are not answered yet.
    pub(super) waiting: u64,
    /// Lines that the server has published.
    pub(super) published: u64,
    /// Lines that were not published.
    pub(super) refused: u64,
}

impl Requests {
    /// Whether another line may go out before an answer comes.
    pub(super) fn has_room(&self) -> bool {
        self.waiting < WAITING_MAX
    }

    /// The request that publishes a line. Nothing, if it cannot be one; that has been told.
    pub(super) fn request(&mut self, line: &Line<'_>) -> Option<&[u8]> {
        if let Err(words) = check(line.bytes) {
            self.refuse(line.number, &words);
            return None;
        }
        self.out.clear();
        let head = format!("{{\"id\":{},\"method\":\"publish\",\"params\":", line.number);
        self.out.extend_from_slice(head.as_bytes());
        self.out.extend_from_slice(line.bytes);
        self.out.push(b'}');
        if self.out.len() > MESSAGE_BYTES_MAX {
            self.refuse(line.number, &format!("it is too long: a request has at most {MESSAGE_BYTES_MAX} bytes"));
            return None;
        }
        self.waiting += 1;
        Some(&self.out)
    }

    /// Takes note of what a message of the server answers.
    ///
    /// # Errors
    /// What the server says is wrong with something else than a line.
    pub(super) fn hear(&mut self, message: &[u8]) -> Result<(), String> {
        for object in message.split(|byte| *byte == b'\n').filter(|object| !object.is_empty()) {
            let object = simd_json::to_owned_value(&mut object.to_vec())
                .map_err(|error| format!("the server sent what is no JSON ({error}): is this a URL of /connect?"))?;
            let error =
                object.get("error").map(|error| error.get_str("message").unwrap_or("without a reason").to_owned());
            match (object.get_u64("id"), error) {
                (Some(_), None) if !object.contains_key("type") => self.published += 1,
                (Some(line), Some(words)) => self.refuse(line, &format!("the server refuses it: {words}")),
                (None, Some(words)) => return Err(format!("the server says: {words}")),
                // A heartbeat, or that the server goes away.
                (_, None) => continue,
            }
            self.waiting = self.waiting.saturating_sub(1);
        }
        Ok(())
    }

    fn refuse(&mut self, line: u64, words: &str) {
        self.refused += 1;
        match self.refused {
            ..=TOLD_MAX => eprintln!("ringwire: line {line}: {words}"),
            nth if nth == TOLD_MAX + 1 => eprintln!("ringwire: further lines that are refused are only counted"),
            _ => {}
        }
    }
}

/// Whether a line is a JSON object.
fn check(line: &[u8]) -> Result<(), String> {
    const ADVICE: &str = "a line is to be a JSON object, as in {\"topic\":\"trades.X\",\"data\":{\"p\":1}}";
    if !utf8::validate(line) {
        return Err(format!("it is no UTF-8: {ADVICE}"));
    }
    match simd_json::to_borrowed_value(&mut line.to_vec()) {
        Ok(value) if value.is_object() => Ok(()),
        Ok(_) => Err(format!("it is JSON, but no object: {ADVICE}")),
        Err(error) => Err(format!("it is no JSON ({error}): {ADVICE}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u64, bytes: &[u8]) -> Line<'_> {
        Line { number, bytes }
    }

    #[test]
    fn a_line_is_the_params_of_a_request_with_its_number() {
        let mut requests = Requests::default();
        let request = requests.request(&line(7, b"{\"topic\":\"a\",\"data\":1.50}")).expect("it is one");
        assert_eq!(request, b"{\"id\":7,\"method\":\"publish\",\"params\":{\"topic\":\"a\",\"data\":1.50}}");
        for bad in [&b"1"[..], b"{\"topic\":", b"{} {}", b"\xFF", b"{}}"] {
            assert_eq!(requests.request(&line(8, bad)), None, "{}", bad.escape_ascii());
        }
        assert_eq!((requests.waiting, requests.refused), (1, 5));
    }

    #[test]
    fn a_request_that_the_server_would_not_read_is_not_sent() {
        let mut requests = Requests::default();
        let long = format!("{{\"topic\":\"a\",\"data\":\"{}\"}}", "x".repeat(MESSAGE_BYTES_MAX));
        assert_eq!(requests.request(&line(1, long.as_bytes())), None);
        assert_eq!((requests.waiting, requests.refused), (0, 1));
    }

    #[test]
    fn answers_are_counted_and_only_so_many_may_be_awaited() {
        let mut requests = Requests::default();
        for number in 1..=WAITING_MAX {
            assert!(requests.has_room());
            requests.request(&line(number, b"{}")).expect("an object");
        }
        assert!(!requests.has_room());
        let said = b"{\"id\":1,\"result\":{\"seq\":1,\"epoch\":\"k\"}}\n{\"id\":2,\"error\":{\"code\":400,\"message\":\"no\"}}";
        requests.hear(said).unwrap();
        requests.hear(b"{\"type\":\"heartbeat\",\"ts\":1,\"at\":{}}").unwrap();
        assert_eq!((requests.waiting, requests.published, requests.refused), (WAITING_MAX - 2, 1, 1));
        let words = requests.hear(b"{\"type\":\"error\",\"error\":{\"code\":400,\"message\":\"no\"}}").unwrap_err();
        assert_eq!(words, "the server says: no");
        assert!(requests.hear(b"hello").unwrap_err().contains("/connect"));
    }
}
