//! Centrifugo's client protocol, second version, in JSON: one connection a session, at `/connection/websocket`.
//!
//! Commands with numbers go out, replies with these numbers come back, and pushes come without. A message holds one of
//! them or several, with line breaks between (centrifugal.dev/docs/transports/client_protocol; client.proto of the
//! centrifugal/protocol repository). Said are `connect`, once it is confirmed the `subscribe`s, then `publish`es; each
//! is answered, since the protocol knows no publish without an answer, and an answer that is an error ends the run. An
//! empty reply is the server's ping, which is answered by an empty command if the server asked for that.

use ringwire_codec::Opcode;

use super::place::{at_endpoint, token};
use super::{Adapter, Heard, Line, LineSpec, Needs, Say, excerpt, parsed, quoted};
use crate::clients::{Door, Message};
use crate::target::Target;
use serde_json::Value;

/// Where the protocol is spoken.
const ENDPOINT: &str = "/connection/websocket";
/// Longest message of several commands: Centrifugo takes 64 KiB (`websocket.message_size_limit`).
const BATCH_BYTES_MAX: usize = 32 * 1024;
/// What a push begins with.
const PUSH: &[u8] = b"{\"push\":{\"channel\":\"";
/// What follows a publication's channel.
const PUBLICATION: &[u8] = b"\",\"pub\":{";

/// Numbers of commands: `connect`'s, and the first `subscribe`'s. Publishes have those behind.
const CONNECT: u32 = 1;
const FIRST_SUBSCRIBE: u32 = 2;

/// See the head of this file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Centrifugo;

impl Adapter for Centrifugo {
    fn name(&self) -> &'static str {
        "centrifugo"
    }

    fn lines(&self, base: &Target, session: &Needs<'_>) -> Result<Vec<LineSpec>, String> {
        let heads = session
            .publishes
            .iter()
            .map(|topic| format!("{{\"publish\":{{\"channel\":{},\"data\":", quoted(topic)).into_bytes().into());
        let line = CentrifugoLine {
            state: State::Connecting,
            is_ponged: false,
            token: token(base).map(Into::into),
            channels: session.subscribes.iter().map(|&topic| topic.into()).collect(),
            heads: heads.collect(),
            last: CONNECT,
        };
        Ok(vec![LineSpec::whole(Door::new(at_endpoint(base, ENDPOINT)?), Box::new(line), session)])
    }
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// `connect` is to be confirmed.
    Connecting,
    /// So many `subscribe`s are.
    Subscribing(usize),
    /// Publishes may go out.
    Ready,
}

#[derive(Debug)]
struct CentrifugoLine {
    state: State,
    /// Whether the server wants its pings answered.
    is_ponged: bool,
    token: Option<Box<str>>,
    /// What to subscribe to, in the order of the commands' numbers.
    channels: Vec<Box<str>>,
    /// What stands in front of a payload, for each topic to publish to.
    heads: Vec<Box<[u8]>>,
    /// The number of the last command.
    last: u32,
}

impl Line for CentrifugoLine {
    fn open(&mut self, say: &mut Say) {
        let mut command = "{\"connect\":{".to_owned();
        if let Some(token) = &self.token {
            command.push_str("\"token\":");
            command.push_str(&quoted(token));
            command.push(',');
        }
        say.text(&format!("{command}\"name\":\"ringload\"}},\"id\":{CONNECT}}}"));
    }

    fn hear(&mut self, message: Message<'_>, say: &mut Say) -> Result<Heard, String> {
        let bytes = message.bytes;
        if is_publication(bytes) && !bytes.contains(&b'\n') {
            return Ok(Heard::Payloads);
        }
        if !message.is_text {
            return Err("a binary message, although Centrifugo's JSON is spoken".to_owned());
        }
        let mut heard = Heard::Control;
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            if is_publication(line) || self.hear_reply(line, say)? == Heard::Payloads {
                heard = Heard::Payloads;
            }
        }
        Ok(heard)
    }

    fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    fn publish(&mut self, topic: usize, payload: &[u8], say: &mut Say) {
        // Numbers are of 32 bits, and 0 is none.
        self.last = self.last.checked_add(1).unwrap_or(FIRST_SUBSCRIBE + self.channels.len() as u32);
        let (digits, start) = decimal(self.last);
        say.parts(Opcode::Text, &[&self.heads[topic], payload, b"},\"id\":", &digits[start..], b"}"]);
    }
}

impl CentrifugoLine {
    /// Hears a reply that does not look like a publication at first sight.
    fn hear_reply(&mut self, line: &[u8], say: &mut Say) -> Result<Heard, String> {
        let reply = parsed(line)?;
        if let Some(push) = reply.get("push") {
            return hear_push(push);
        }
        let Some(id) = reply.get("id").and_then(Value::as_u64) else {
            if reply.as_object().is_none_or(|members| !members.is_empty()) {
                return Err(format!("neither a reply nor a push nor a ping: {}", excerpt(line)));
            }
            if self.is_ponged {
                say.text("{}");
            }
            return Ok(Heard::Control);
        };
        if let Some(error) = reply.get("error") {
            return Err(refusal(&format!("the server refuses {}", self.command(id)), error, "message"));
        }
        if let Some(result) = reply.get("connect") {
            let is_asked_for = result.get("pong").is_some_and(|pong| *pong == true);
            self.is_ponged = is_asked_for;
            self.subscribe(say);
        } else if let State::Subscribing(left) = self.state
            && reply.get("subscribe").is_some()
        {
            self.state = if left > 1 { State::Subscribing(left - 1) } else { State::Ready };
        }
        Ok(Heard::Control)
    }

    /// Subscribes to all channels, in as few messages as they fit in.
    fn subscribe(&mut self, say: &mut Say) {
        let mut batch = String::new();
        for channel in &self.channels {
            self.last += 1;
            if batch.len() > BATCH_BYTES_MAX {
                say.text(&batch);
                batch.clear();
            }
            batch.push_str(if batch.is_empty() {
                "{\"subscribe\":{\"channel\":"
            } else {
                "\n{\"subscribe\":{\"channel\":"
            });
            batch.push_str(&quoted(channel));
            batch.push_str(&format!("}},\"id\":{}}}", self.last));
        }
        if !batch.is_empty() {
            say.text(&batch);
        }
        self.state = if self.channels.is_empty() { State::Ready } else { State::Subscribing(self.channels.len()) };
    }

    /// What the command with this number was, for the words of a fault.
    fn command(&self, id: u64) -> String {
        let channel = id.checked_sub(u64::from(FIRST_SUBSCRIBE)).and_then(|index| usize::try_from(index).ok());
        match channel.and_then(|index| self.channels.get(index)) {
            Some(channel) => format!("to subscribe to {channel:?}"),
            None if id == u64::from(CONNECT) => "to connect".to_owned(),
            None => "a publish".to_owned(),
        }
    }
}

/// Whether a reply is a publication, as servers write it.
fn is_publication(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(PUSH) else { return false };
    // A quote in a channel's name is escaped, and then the closer look finds out.
    let channel_end = rest.iter().position(|byte| *byte == b'"').unwrap_or(rest.len());
    rest[channel_end..].starts_with(PUBLICATION)
}

fn hear_push(push: &Value) -> Result<Heard, String> {
    if push.get("pub").is_some() {
        return Ok(Heard::Payloads);
    }
    if let Some(disconnect) = push.get("disconnect") {
        return Err(refusal("the server disconnects", disconnect, "reason"));
    }
    if let Some(unsubscribe) = push.get("unsubscribe") {
        let channel = push.get("channel").and_then(Value::as_str).unwrap_or_default();
        return Err(refusal(&format!("the server unsubscribes from {channel:?}"), unsubscribe, "reason"));
    }
    // Joins, leaves and what later versions may add.
    Ok(Heard::Control)
}

/// An error, a disconnect or an unsubscribe as the user reads it.
fn refusal(what: &str, error: &Value, words: &str) -> String {
    let code = error.get("code").and_then(Value::as_u64).unwrap_or_default();
    let words = error.get(words).and_then(Value::as_str).unwrap_or_default();
    let hint = match code {
        101 | 109 | 3500 => " (--token JWT, or allow anonymous connections)",
        102 => " (has Centrifugo a namespace of this name?)",
        103 => {
            " (let clients subscribe and publish: allow_subscribe_for_client and allow_publish_for_client, and \
                for connections without a token allow_subscribe_for_anonymous and allow_publish_for_anonymous)"
        }
        106 => " (client.channel_limit)",
        _ => "",
    };
    format!("{what}: {code} {words}{hint}")
}

/// The digits of a number: those from the second part on.
fn decimal(mut number: u32) -> ([u8; 10], usize) {
    let (mut digits, mut start) = ([b'0'; 10], 10);
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return (digits, start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::say::tests::said_texts;
    use super::*;

    /// What a connection says and hears.
    struct Play {
        line: Box<dyn Line>,
        say: Say,
    }

    impl Play {
        fn new(token: Option<&str>, subscribes: &[&str], publishes: &[&str]) -> Self {
            let mut base = Target::parse("ws://127.0.0.1:9/").unwrap();
            token.into_iter().for_each(|token| base.wire.add_token(token).unwrap());
            let mut lines = Centrifugo.lines(&base, &Needs { session: 0, subscribes, publishes }).unwrap();
            assert_eq!(lines[0].door.target.to_string(), "ws://127.0.0.1:9/connection/websocket");
            assert!(lines[0].door.subprotocols.is_empty(), "a subprotocol would ask for Protobuf");
            let mut play = Self { line: lines.remove(0).line, say: Say::default() };
            play.line.open(&mut play.say);
            play
        }

        fn hear(&mut self, text: &str) -> Result<Heard, String> {
            self.line.hear(Message { bytes: text.as_bytes(), is_text: true }, &mut self.say)
        }

        fn said(&mut self) -> Vec<String> {
            said_texts(&mut self.say)
        }

        fn connected(pong: bool, subscribes: &[&str], publishes: &[&str]) -> Self {
            let mut play = Self::new(None, subscribes, publishes);
            let reply = format!(r#"{{"id":1,"connect":{{"client":"c1","version":"6.0.0","ping":25,"pong":{pong}}}}}"#);
            assert_eq!(play.hear(&reply), Ok(Heard::Control));
            play
        }
    }

    /// Commands as centrifuge 5.8.0, the official client for JavaScript, sends them to a server that answers it: recorded,
    /// with the `"flag":1` of its subscribe commands left out, by which it asks for numbers instead of channels' names.
    #[test]
    fn commands_are_those_of_the_official_client() {
        let mut play = Play::new(Some("eyJ.a.b"), &["trades.BTC-USD", "a\"b"], &["trades.BTC-USD"]);
        assert_eq!(play.said(), [r#"{"connect":{"token":"eyJ.a.b","name":"ringload"},"id":1}"#]);
        play.hear(r#"{"id":1,"connect":{"client":"c1","version":"6.0.0","ping":25,"pong":true}}"#).unwrap();
        let subscribes = concat!(
            r#"{"subscribe":{"channel":"trades.BTC-USD"},"id":2}"#,
            "\n",
            r#"{"subscribe":{"channel":"a\"b"},"id":3}"#
        );
        assert_eq!(play.said(), [subscribes]);
        play.hear("{\"id\":2,\"subscribe\":{}}\n{\"id\":3,\"subscribe\":{}}").unwrap();
        play.line.publish(0, br#"{"rl":"x"}"#, &mut play.say);
        assert_eq!(play.said(), [r#"{"publish":{"channel":"trades.BTC-USD","data":{"rl":"x"}},"id":4}"#]);
        let replies = "{\"push\":{\"channel\":\"trades.BTC-USD\",\"pub\":{\"data\":{\"rl\":\"x\"}}}}\n{\"id\":4,\"publish\":{}}\n{}";
        assert_eq!(play.hear(replies), Ok(Heard::Payloads));
        assert_eq!(play.said(), ["{}"]);
    }

    #[test]
    fn a_session_is_ready_when_all_its_channels_are_confirmed() {
        let mut play = Play::connected(false, &["a", "b"], &[]);
        assert_eq!(play.hear("{\"id\":3,\"subscribe\":{\"recoverable\":true,\"epoch\":\"x\"}}"), Ok(Heard::Control));
        assert!(!play.line.is_ready());
        assert_eq!(play.hear("{\"push\":{\"channel\":\"b\",\"join\":{\"info\":{}}}}"), Ok(Heard::Control));
        assert!(!play.line.is_ready());
        assert_eq!(play.hear("{\"id\":2,\"subscribe\":{}}"), Ok(Heard::Control));
        assert!(play.line.is_ready());
        assert!(!Play::new(None, &[], &["a"]).line.is_ready(), "a publisher too waits for connect's reply");
        assert!(Play::connected(false, &[], &["a"]).line.is_ready());
    }

    #[test]
    fn many_channels_fill_several_messages() {
        let channels: Vec<String> = (0..2000).map(|index| format!("channel-{index}")).collect();
        let channels: Vec<&str> = channels.iter().map(String::as_str).collect();
        let said = Play::connected(false, &channels, &[]).said();
        assert!(said.len() > 2 && said.iter().all(|message| message.len() < 2 * BATCH_BYTES_MAX));
        let commands = said[1..].join("\n");
        let last = r#"{"subscribe":{"channel":"channel-1999"},"id":2001}"#;
        assert_eq!((commands.lines().count(), commands.lines().last()), (2000, Some(last)));
    }

    #[test]
    fn pings_are_answered_only_if_the_server_asks_for_that() {
        for (pong, answers) in [(true, vec!["{}"]), (false, vec![])] {
            let mut play = Play::connected(pong, &[], &[]);
            play.said();
            assert_eq!(play.hear("{}"), Ok(Heard::Control));
            assert_eq!(play.said(), answers);
        }
    }

    #[test]
    fn publications_are_told_from_everything_else() {
        let mut play = Play::connected(false, &[], &[]);
        for (message, want) in [
            (r#"{"push":{"channel":"a","pub":{"data":{"rl":"x"},"offset":7}}}"#, Heard::Payloads),
            (r#"{"push":{"channel":"a\"b","pub":{"data":1}}}"#, Heard::Payloads),
            (r#"{ "push": { "pub": {"data":1}, "channel": "a" } }"#, Heard::Payloads),
            ("{\"id\":7,\"publish\":{}}\n{\"push\":{\"channel\":\"a\",\"pub\":{\"data\":1}}}\n", Heard::Payloads),
            (r#"{"push":{"channel":"a","leave":{"info":{}}}}"#, Heard::Control),
            (r#"{"push":{"channel":"\",\"pub\":{","join":{}}}"#, Heard::Control),
        ] {
            assert_eq!(play.hear(message), Ok(want), "{message}");
        }
    }

    #[test]
    fn refusals_are_faults_that_say_of_what_code_and_words() {
        for (message, words) in [
            (r#"{"id":1,"error":{"code":101,"message":"unauthorized"}}"#, "to connect: 101 unauthorized (--token"),
            (
                r#"{"id":2,"error":{"code":103,"message":"permission denied"}}"#,
                "subscribe to \"a\": 103 permission denied",
            ),
            (r#"{"id":3,"error":{"code":103,"message":"permission denied"}}"#, "a publish: 103"),
            (r#"{"push":{"disconnect":{"code":3501,"reason":"bad request"}}}"#, "disconnects: 3501 bad request"),
            (r#"{"push":{"channel":"a","unsubscribe":{"code":2500,"reason":"server"}}}"#, "\"a\": 2500 server"),
            (r#"{"error":{"code":100}}"#, "neither a reply"),
            ("<html>", "no JSON: <html>"),
        ] {
            let fault = Play::connected(false, &["a"], &["a"]).hear(message).unwrap_err();
            assert!(fault.contains(words), "{fault}");
        }
        let mut play = Play::connected(false, &[], &[]);
        assert!(play.line.hear(Message { bytes: b"\x0a", is_text: false }, &mut play.say).is_err());
    }

    #[test]
    fn numbers_of_commands_go_round_without_those_in_use() {
        let mut line = CentrifugoLine {
            state: State::Ready,
            is_ponged: false,
            token: None,
            channels: vec!["a".into(), "b".into()],
            heads: vec![b"<"[..].into()],
            last: u32::MAX - 1,
        };
        let mut say = Say::default();
        line.publish(0, b"x", &mut say);
        line.publish(0, b"x", &mut say);
        assert_eq!(said_texts(&mut say), ["<x},\"id\":4294967295}", "<x},\"id\":4}"]);
    }
}
