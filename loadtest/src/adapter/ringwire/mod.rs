//! ringwire's native protocol (docs/protocol.md): one connection a session, at `/connect`, in JSON or in records.
//!
//! Both forms make the same requests and are answered the same: here is what they share. Subscriptions, and the binary
//! form's numbers of topics to publish to, are asked for in as few messages as they fit in; the line is ready when each
//! is confirmed. Publishes ask for no answer, for the delivery is what is measured; one that fails is told all the same,
//! and is a fault.

mod binary;
mod json;

use std::fmt::Write as _;

use crate::adapter::place::at_endpoint;
use crate::adapter::{Adapter, Line, LineSpec, Needs, excerpt, items, parsed, quoted};
use crate::clients::Door;
use crate::target::Target;
use serde_json::Value;

/// Where the protocol is spoken.
const ENDPOINT: &str = "/connect";
/// Topics of one `subscribe`: a message of so many stays far below the server's limit.
const BATCH: usize = 256;

/// Which form the messages have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ringwire {
    /// `ringwire.json.1`.
    Json,
    /// `ringwire.bin.1`.
    Binary,
}

impl Adapter for Ringwire {
    fn name(&self) -> &'static str {
        match self {
            Ringwire::Json => "ringwire-json",
            Ringwire::Binary => "ringwire-binary",
        }
    }

    fn lines(&self, base: &Target, session: &Needs<'_>) -> Result<Vec<LineSpec>, String> {
        let (subprotocol, line): (_, Box<dyn Line>) = match self {
            Ringwire::Json => ("ringwire.json.1", Box::new(json::Json::new(session))),
            Ringwire::Binary => ("ringwire.bin.1", Box::new(binary::Binary::new(session))),
        };
        let mut door = Door::new(at_endpoint(base, ENDPOINT)?);
        door.subprotocols.push(subprotocol.to_owned());
        Ok(vec![LineSpec::whole(door, line, session)])
    }
}

/// What was asked for and is not answered.
#[derive(Debug)]
struct Pending {
    /// The first requests' ids: `subscribe`s from here on, each of at most [`BATCH`] topics.
    topics: Vec<Box<str>>,
    subscribes: usize,
    binds: usize,
}

/// The id of the first `subscribe`; those that follow have the next. A `bind` has the number of its topic behind these.
const FIRST_SUBSCRIBE: usize = 1;
/// The id of the first `bind`: above those of all `subscribe`s, as a connection has far fewer topics.
const FIRST_BIND: usize = 1 << 20;

impl Pending {
    fn new(session: &Needs<'_>) -> Self {
        let topics: Vec<Box<str>> = session.subscribes.iter().map(|&topic| topic.into()).collect();
        Self { subscribes: topics.len().div_ceil(BATCH), topics, binds: 0 }
    }

    /// The requests to subscribe. They are made once: what they are made of is not kept.
    fn subscribe(&mut self) -> Vec<String> {
        let topics = std::mem::take(&mut self.topics);
        let requests = topics.chunks(BATCH).enumerate().map(|(index, topics)| {
            let mut request = format!("{{\"id\":{},\"method\":\"subscribe\",\"params\":[", FIRST_SUBSCRIBE + index);
            for (index, topic) in topics.iter().enumerate() {
                request.push_str(if index == 0 { "" } else { "," });
                request.push_str(&quoted(topic));
            }
            request + "]}"
        });
        requests.collect()
    }

    fn is_empty(&self) -> bool {
        self.subscribes == 0 && self.binds == 0
    }

    /// Hears one JSON message that is no entry: an answer, which may be to `bind`, then says which topic has which number;
    /// or a push.
    fn hear(&mut self, line: &[u8]) -> Result<Option<(usize, u32)>, String> {
        let message = parsed(line)?;
        if let Some(error) = message.get("error") {
            return Err(refusal("the server refuses a request", error));
        }
        let id = message.get("id").and_then(Value::as_u64).and_then(|id| usize::try_from(id).ok());
        match (id, message.get("result")) {
            (Some(id), Some(result)) if id >= FIRST_BIND => {
                let number = result.get("id").and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
                let number = number.ok_or_else(|| format!("an answer to bind without a number: {}", excerpt(line)))?;
                self.binds = self.binds.saturating_sub(1);
                Ok(Some((id - FIRST_BIND, number)))
            }
            (Some(_), Some(result)) => {
                if let Some((topic, error)) =
                    items(result).find_map(|item| Some((item.get("topic"), item.get("error")?)))
                {
                    let topic = topic.and_then(Value::as_str).unwrap_or_default();
                    return Err(refusal(&format!("the server does not subscribe to {topic:?}"), error));
                }
                self.subscribes = self.subscribes.saturating_sub(1);
                Ok(None)
            }
            _ if is_type(&message, "goaway") => {
                let mut words = "the server is about to restart".to_owned();
                if let Some(why) = message.get("why").and_then(Value::as_str) {
                    let _ = write!(words, " ({why})");
                }
                Err(words)
            }
            // Heartbeats, skips, gaps, and what later versions may add: what is missing shows in the accounts.
            _ => Ok(None),
        }
    }
}

fn is_type(message: &Value, name: &str) -> bool {
    message.get("type").and_then(Value::as_str).is_some_and(|own| own == name)
}

/// An error as the user reads it.
fn refusal(what: &str, error: &Value) -> String {
    let code = error.get("code").and_then(Value::as_u64).unwrap_or_default();
    let words = error.get("message").and_then(Value::as_str).unwrap_or_default();
    format!("{what}: {code} {words}")
}

/// A request for the number of a topic, to publish to it with records.
fn bind(index: usize, topic: &str) -> String {
    let request = format!("{{\"id\":{},\"method\":\"bind\",\"params\":{{\"topic\":", FIRST_BIND + index);
    request + &quoted(topic) + "}}"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::Say;
    use crate::adapter::say::tests::{said, said_texts};
    use crate::adapter::{Heard, Line};
    use crate::clients::Message;

    const SUBSCRIBED: &str = r#"{"id":1,"result":[{"topic":"trades.BTC-USD","id":7,"epoch":"k3f9","seq":0,"head":0,"kind":"plain","state":"new"}]}"#;
    const ENTRY: &str =
        r#"{"topic":"trades.BTC-USD","type":"message","seq":1,"ts":1767225600123999,"data":{"rl":"x"}}"#;
    const SKIP: &str = r#"{"topic":"book.Z","type":"skip","from":1,"to":3,"count":1,"why":"conflated"}"#;
    const HEARTBEAT: &str = r#"{"type":"heartbeat","ts":1767225601123999,"at":{"hb":1}}"#;

    fn line(form: Ringwire, subscribes: &[&str], publishes: &[&str]) -> LineSpec {
        let base = Target::parse("ws://127.0.0.1:9/").unwrap();
        let mut lines = form.lines(&base, &Needs { session: 0, subscribes, publishes }).unwrap();
        assert_eq!(lines.len(), 1);
        lines.remove(0)
    }

    fn hear(line: &mut dyn Line, text: &str) -> Result<Heard, String> {
        line.hear(Message { bytes: text.as_bytes(), is_text: true }, &mut Say::default())
    }

    /// A record as docs/protocol.md lays it out.
    fn record(kind: u8, topic: u32, payload: &[u8]) -> Vec<u8> {
        let bytes = (24 + payload.len()).next_multiple_of(8);
        let mut record = vec![0; bytes];
        record[..4].copy_from_slice(&(bytes as u32).to_le_bytes());
        record[4..8].copy_from_slice(&topic.to_le_bytes());
        (record[16], record[17]) = (kind, 4);
        record[20..24].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        record[24..24 + payload.len()].copy_from_slice(payload);
        record
    }

    fn hear_records(line: &mut dyn Line, records: &[Vec<u8>]) -> Result<Heard, String> {
        line.hear(Message { bytes: &records.concat(), is_text: false }, &mut Say::default())
    }

    #[test]
    fn each_form_has_its_subprotocol_at_the_same_place() {
        for (form, subprotocol) in [(Ringwire::Json, "ringwire.json.1"), (Ringwire::Binary, "ringwire.bin.1")] {
            let spec = line(form, &["a"], &["a", "b"]);
            assert_eq!(spec.door.target.to_string(), "ws://127.0.0.1:9/connect");
            assert_eq!(spec.door.subprotocols, [subprotocol]);
            assert_eq!((spec.subscribes, spec.publishes), (vec![0], vec![0, 1]));
        }
    }

    #[test]
    fn json_is_ready_when_what_it_subscribes_to_is_confirmed() {
        let (mut line, mut say) = (line(Ringwire::Json, &["trades.BTC-USD"], &[]).line, Say::default());
        line.open(&mut say);
        assert_eq!(said_texts(&mut say), [r#"{"id":1,"method":"subscribe","params":["trades.BTC-USD"]}"#]);
        assert!(!line.is_ready());
        assert_eq!(hear(&mut *line, HEARTBEAT), Ok(Heard::Control));
        assert!(!line.is_ready());
        assert_eq!(hear(&mut *line, SUBSCRIBED), Ok(Heard::Control));
        assert!(line.is_ready());
        assert_eq!(hear(&mut *line, ENTRY), Ok(Heard::Payloads));
    }

    #[test]
    fn many_topics_are_asked_for_in_batches_and_each_is_confirmed() {
        let topics: Vec<String> = (0..BATCH * 2 + 1).map(|index| format!("t{index}")).collect();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        let (mut line, mut say) = (line(Ringwire::Json, &topics, &[]).line, Say::default());
        line.open(&mut say);
        let said = said_texts(&mut say);
        assert_eq!(said.len(), 3);
        assert!(said[1].starts_with(r#"{"id":2,"method":"subscribe","params":["t256","t257","#), "{}", said[1]);
        assert_eq!(said[2], r#"{"id":3,"method":"subscribe","params":["t512"]}"#);
        for id in 1..=3 {
            assert!(!line.is_ready());
            assert_eq!(hear(&mut *line, &format!("{{\"id\":{id},\"result\":[]}}")), Ok(Heard::Control));
        }
        assert!(line.is_ready());
    }

    #[test]
    fn a_json_publish_is_the_protocols_and_wants_no_answer() {
        let (mut line, mut say) = (line(Ringwire::Json, &[], &["a", "trades.BTC-USD"]).line, Say::default());
        line.open(&mut say);
        assert!(say.is_empty() && line.is_ready());
        line.publish(1, br#"{"rl":"x"}"#, &mut say);
        let want = r#"{"method":"publish","params":{"topic":"trades.BTC-USD","data":{"rl":"x"}}}"#;
        assert_eq!(said_texts(&mut say), [want]);
    }

    #[test]
    fn several_json_objects_in_a_message_are_each_heard() {
        let mut line = line(Ringwire::Json, &["trades.BTC-USD"], &[]).line;
        line.open(&mut Say::default());
        assert_eq!(hear(&mut *line, &format!("{ENTRY}\n{SUBSCRIBED}\n{SKIP}")), Ok(Heard::Payloads));
        assert!(line.is_ready());
        assert_eq!(hear(&mut *line, &format!("{HEARTBEAT}\n{ENTRY}")), Ok(Heard::Payloads));
        assert_eq!(hear(&mut *line, &format!("{SKIP}\n{HEARTBEAT}")), Ok(Heard::Control));
        assert_eq!(hear(&mut *line, SKIP), Ok(Heard::Control));
        assert_eq!(hear(&mut *line, r#"{"topic":"a","type":"gap","from":1,"to":2,"why":"slow"}"#), Ok(Heard::Control));
    }

    #[test]
    fn refusals_are_faults_that_say_code_and_words() {
        let refused =
            r#"{"id":1,"result":[{"topic":"a","error":{"code":403,"message":"the token does not allow it"}}]}"#;
        let failed = r#"{"type":"error","error":{"code":400,"message":"this topic is keyed"}}"#;
        let goaway = r#"{"type":"goaway","why":"restart","after_ms":1000,"jitter_ms":3000}"#;
        for (said, words) in [
            (refused, "subscribe to \"a\": 403 the token does not allow it"),
            (failed, "400 this topic is keyed"),
            (r#"{"id":1,"error":{"code":429,"message":"too many"}}"#, "429 too many"),
            (goaway, "restart"),
            ("hello", "no JSON: hello"),
        ] {
            for form in [Ringwire::Json, Ringwire::Binary] {
                let mut line = line(form, &["a"], &[]).line;
                line.open(&mut Say::default());
                let fault = match form {
                    Ringwire::Json => hear(&mut *line, said),
                    Ringwire::Binary => hear_records(&mut *line, &[record(6, 0, said.as_bytes())]),
                };
                assert!(fault.clone().unwrap_err().contains(words), "{form:?}: {fault:?}");
            }
        }
        let mut json = line(Ringwire::Json, &[], &[]).line;
        assert!(json.hear(Message { bytes: b"\x01", is_text: false }, &mut Say::default()).is_err());
    }

    #[test]
    fn binary_asks_for_topics_and_numbers_and_publishes_with_these() {
        let (mut line, mut say) = (line(Ringwire::Binary, &["a"], &["b", "c"]).line, Say::default());
        line.open(&mut say);
        let requests: Vec<Vec<u8>> = said(&mut say).into_iter().map(|(_, record)| record).collect();
        let want = [
            r#"{"id":1,"method":"subscribe","params":["a"]}"#.to_owned(),
            format!(r#"{{"id":{FIRST_BIND},"method":"bind","params":{{"topic":"b"}}}}"#),
            format!(r#"{{"id":{},"method":"bind","params":{{"topic":"c"}}}}"#, FIRST_BIND + 1),
        ];
        assert_eq!(requests, want.map(|json| record(6, 0, json.as_bytes())));
        let subscribed = record(6, 0, br#"{"id":1,"result":[{"topic":"a","id":7}]}"#);
        let bound = |index: usize, number: u32| {
            let json = format!(r#"{{"id":{},"result":{{"topic":"x","id":{number},"epoch":"1"}}}}"#, FIRST_BIND + index);
            record(6, 0, json.as_bytes())
        };
        assert_eq!(hear_records(&mut *line, &[subscribed, bound(1, 9)]), Ok(Heard::Control));
        assert!(!line.is_ready());
        assert_eq!(hear_records(&mut *line, &[bound(0, 8)]), Ok(Heard::Control));
        assert!(line.is_ready());
        line.publish(1, br#"{"rl":"x"}"#, &mut say);
        assert_eq!(said(&mut say), [(false, record(1, 9, br#"{"rl":"x"}"#))]);
    }

    #[test]
    fn records_of_entries_hold_payloads_and_others_do_not() {
        let mut line = line(Ringwire::Binary, &[], &[]).line;
        let (heartbeat, entry) = (record(6, 0, HEARTBEAT.as_bytes()), record(1, 7, b"{}"));
        let skip = record(4, 7, &[0; 17]);
        assert_eq!(hear_records(&mut *line, &[heartbeat.clone(), entry.clone()]), Ok(Heard::Payloads));
        assert_eq!(hear_records(&mut *line, &[entry, heartbeat.clone()]), Ok(Heard::Payloads));
        assert_eq!(hear_records(&mut *line, &[heartbeat, skip]), Ok(Heard::Control));
    }

    #[test]
    fn bytes_that_are_no_records_are_faults() {
        let whole = record(1, 7, b"{}");
        let cut = (1..whole.len()).map(|end| whole[..end].to_vec());
        let mut long = record(6, 0, b"{}");
        long[20] = 200;
        let uneven = [&[25, 0, 0, 0], &whole[4..24], b"x"].concat();
        for bytes in cut.chain([long, uneven, record(0, 0, b""), record(8, 0, b"")]) {
            let mut line = line(Ringwire::Binary, &[], &[]).line;
            assert!(hear_records(&mut *line, std::slice::from_ref(&bytes)).is_err(), "{bytes:?}");
        }
        let mut line = line(Ringwire::Binary, &[], &[]).line;
        assert!(hear(&mut *line, "{}").unwrap_err().contains("no record"));
        let unasked = format!(r#"{{"id":{},"result":{{"topic":"x","id":3}}}}"#, FIRST_BIND + 5);
        assert!(hear_records(&mut *line, &[record(6, 0, unasked.as_bytes())]).is_err());
    }
}
