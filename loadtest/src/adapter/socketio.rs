//! Socket.IO 5 on Engine.IO 4, over WebSocket from the first byte: one connection a session, at `/socket.io/`.
//!
//! Engine.IO's packets are messages whose first character is the type: `0` open, `1` close, `2` ping, `3` pong, `4` a
//! Socket.IO packet, whose first character again is the type: `0` connect, `1` disconnect, `2` event, `3` ack, `4` connect
//! error (socket.io/docs/v4/engine-io-protocol and socket-io-protocol). A token is sent as `auth.token`.
//! Socket.IO has no publish and subscribe of its
//! own: here a client emits `subscribe` with a topic, which the server acknowledges, and `publish` with a topic and a
//! payload; the server emits `message` with a topic and a payload. The events' names are the user's to change.

use ringwire_codec::Opcode;

use super::place::{at_endpoint, token, with_query};
use super::{Adapter, Heard, Line, LineSpec, Needs, Say, excerpt, items, quoted};
use crate::clients::{Door, Message};
use crate::target::Target;
use serde_json::Value;

/// Where the protocol is spoken, and how it is asked for.
const ENDPOINT: &str = "/socket.io/";
const QUERY: &str = "EIO=4&transport=websocket";

/// See the head of this file.
#[derive(Clone, Debug, Default)]
pub struct SocketIo {
    /// The events' names.
    pub events: Events,
}

/// What the events are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Events {
    /// The client's, to subscribe.
    pub subscribe: String,
    /// The client's, to publish.
    pub publish: String,
    /// The server's, of what was published.
    pub message: String,
}

impl Default for Events {
    fn default() -> Self {
        let [subscribe, publish, message] = ["subscribe", "publish", "message"].map(str::to_owned);
        Self { subscribe, publish, message }
    }
}

impl Events {
    /// Reads three names with commas between: to subscribe, to publish, and of what was published.
    ///
    /// # Errors
    /// If they are not three.
    pub fn parse(text: &str) -> Result<Self, String> {
        let names: Vec<&str> = text.split(',').map(str::trim).collect();
        match names[..] {
            [subscribe, publish, message] if names.iter().all(|name| !name.is_empty()) => {
                let [subscribe, publish, message] = [subscribe, publish, message].map(str::to_owned);
                Ok(Self { subscribe, publish, message })
            }
            _ => Err(format!("--socketio-events {text}: three names are needed, as in subscribe,publish,message")),
        }
    }
}

impl Adapter for SocketIo {
    fn name(&self) -> &'static str {
        "socketio"
    }

    fn lines(&self, base: &Target, session: &Needs<'_>) -> Result<Vec<LineSpec>, String> {
        let door = Door::new(with_query(&at_endpoint(base, ENDPOINT)?, QUERY)?);
        // `42["publish","topic",` and what is published and `]`.
        let heads = session.publishes.iter().map(|topic| event("42[", &self.events.publish, topic) + ",");
        let subscribes = session.subscribes.iter().enumerate().map(|(index, topic)| {
            let packet = event(&format!("42{index}["), &self.events.subscribe, topic) + "]";
            packet.into_boxed_str()
        });
        let message = format!("42[{}", quoted(&self.events.message));
        let line = SocketIoLine {
            token: token(base).map(Into::into),
            subscribes: subscribes.collect(),
            topics: session.subscribes.iter().map(|&topic| topic.into()).collect(),
            heads: heads.map(|head| head.into_bytes().into()).collect(),
            message: message.into_bytes().into(),
            state: State::Opening,
        };
        Ok(vec![LineSpec::whole(door, Box::new(line), session)])
    }
}

/// An event's packet as far as its first argument, a topic.
fn event(head: &str, name: &str, topic: &str) -> String {
    format!("{head}{},{}", quoted(name), quoted(topic))
}

/// A packet behind its acknowledgement's number, if it has one.
fn without_number(packet: &[u8]) -> &[u8] {
    let digits = packet.iter().position(|byte| !byte.is_ascii_digit());
    &packet[digits.unwrap_or(packet.len())..]
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Engine.IO's open packet is awaited.
    Opening,
    /// Socket.IO's answer to connect is.
    Connecting,
    /// So many subscriptions are to be acknowledged.
    Subscribing(usize),
    /// Publishes may go out.
    Ready,
}

#[derive(Debug)]
struct SocketIoLine {
    token: Option<Box<str>>,
    /// The packets that subscribe, until they are sent.
    subscribes: Vec<Box<str>>,
    /// What is subscribed to, by the number of the acknowledgement.
    topics: Vec<Box<str>>,
    /// What stands in front of a payload, for each topic to publish to.
    heads: Vec<Box<[u8]>>,
    /// What a delivery begins with.
    message: Box<[u8]>,
    state: State,
}

impl Line for SocketIoLine {
    fn open(&mut self, _: &mut Say) {}

    fn hear(&mut self, message: Message<'_>, say: &mut Say) -> Result<Heard, String> {
        let bytes = message.bytes;
        // Binary messages are attachments of events: whatever they hold is looked for.
        if bytes.starts_with(&self.message) || !message.is_text {
            return Ok(Heard::Payloads);
        }
        match bytes {
            [b'2', probe @ ..] => say.parts(Opcode::Text, &[b"3", probe]),
            [b'0', ..] if self.state == State::Opening => {
                let auth = self.token.as_deref().map(|token| format!("{{\"token\":{}}}", quoted(token)));
                say.text(&format!("40{}", auth.unwrap_or_default()));
                self.state = State::Connecting;
            }
            [b'4', b'0', ..] if self.state == State::Connecting => self.subscribe(say),
            [b'4', b'3', ack @ ..] => self.hear_ack(ack)?,
            [b'4', b'4', error @ ..] => {
                let said = serde_json::from_slice::<Value>(error).unwrap_or_default();
                let words = said.get("message").and_then(Value::as_str);
                let words = words.map_or_else(|| excerpt(error), str::to_owned);
                return Err(format!("the server refuses to connect: {words}"));
            }
            [b'4', b'1', ..] => return Err("the server disconnects (Socket.IO packet 41)".to_owned()),
            [b'1', ..] => return Err("the server closes (Engine.IO packet 1)".to_owned()),
            // An event that the server wants acknowledged has a number in front.
            [b'4', b'2', event @ ..] if without_number(event).starts_with(&self.message[2..]) => {
                return Ok(Heard::Payloads);
            }
            // Other events, and announcements of attachments.
            [b'4', b'2' | b'5' | b'6', ..] | [b'6', ..] => {}
            _ => return Err(format!("what is no packet of Socket.IO 5 at this place: {}", excerpt(bytes))),
        }
        Ok(Heard::Control)
    }

    fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    fn publish(&mut self, topic: usize, payload: &[u8], say: &mut Say) {
        say.parts(Opcode::Text, &[&self.heads[topic], payload, b"]"]);
    }

    fn leave(&mut self, say: &mut Say) {
        say.text("41");
    }
}

impl SocketIoLine {
    fn subscribe(&mut self, say: &mut Say) {
        let packets = std::mem::take(&mut self.subscribes);
        self.state = if packets.is_empty() { State::Ready } else { State::Subscribing(packets.len()) };
        for packet in packets {
            say.text(&packet);
        }
    }

    /// Hears an acknowledgement: a number and an array of what the server gave to the callback. An object there with an
    /// `error` is a refusal, as is usual.
    fn hear_ack(&mut self, ack: &[u8]) -> Result<(), String> {
        let digits = ack.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(ack.len());
        let number = std::str::from_utf8(&ack[..digits]).ok().and_then(|digits| digits.parse::<usize>().ok());
        let topic = number.and_then(|number| self.topics.get(number));
        let (Some(topic), State::Subscribing(left)) = (topic, self.state) else {
            return Err(format!("an acknowledgement of what was not asked: 43{}", excerpt(ack)));
        };
        let given = serde_json::from_slice::<Value>(&ack[digits..]).unwrap_or_default();
        let mut errors = items(&given).filter_map(|item| item.get("error"));
        if let Some(error) = errors.find(|error| !error.is_null()) {
            return Err(format!(
                "the server does not subscribe to {topic:?}: {}",
                excerpt(error.to_string().as_bytes())
            ));
        }
        self.state = if left > 1 { State::Subscribing(left - 1) } else { State::Ready };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::say::tests::said_texts;
    use super::*;

    const OPEN: &str =
        r#"0{"sid":"k0_IiQ-R9Mjf92vFAAAA","upgrades":[],"pingInterval":300,"pingTimeout":200,"maxPayload":1000000}"#;
    const CONNECTED: &str = r#"40{"sid":"9KMQCZsB7Rv_nYaqAAAA"}"#;

    struct Play {
        line: Box<dyn Line>,
        say: Say,
    }

    impl Play {
        fn new(token: Option<&str>, events: Events, subscribes: &[&str], publishes: &[&str]) -> Self {
            let mut base = Target::parse("ws://127.0.0.1:9/?x=1").unwrap();
            token.into_iter().for_each(|token| base.wire.add_token(token).unwrap());
            let mut lines = SocketIo { events }.lines(&base, &Needs { session: 0, subscribes, publishes }).unwrap();
            let url = lines[0].door.target.to_string();
            assert_eq!(url, "ws://127.0.0.1:9/socket.io/?x=1&EIO=4&transport=websocket");
            let mut play = Self { line: lines.remove(0).line, say: Say::default() };
            play.line.open(&mut play.say);
            assert!(play.say.is_empty(), "the server speaks first");
            play
        }

        /// One that is connected, and has said what it subscribes to.
        fn connected(subscribes: &[&str], publishes: &[&str]) -> Self {
            let mut play = Self::new(None, Events::default(), subscribes, publishes);
            for packet in [OPEN, CONNECTED] {
                assert_eq!(play.hear(packet), Ok(Heard::Control));
            }
            play
        }

        fn hear(&mut self, text: &str) -> Result<Heard, String> {
            self.line.hear(Message { bytes: text.as_bytes(), is_text: true }, &mut self.say)
        }

        fn said(&mut self) -> Vec<String> {
            said_texts(&mut self.say)
        }
    }

    /// Packets as socket.io-client 4.8 and socket.io 4.8 exchange them: recorded between the two.
    #[test]
    fn packets_are_those_of_the_official_client() {
        let topic = "trades.BTC-USD";
        let mut play = Play::new(Some("t1"), Events::default(), &[topic], &[topic]);
        for (heard, said) in [
            (OPEN, &[r#"40{"token":"t1"}"#][..]),
            (CONNECTED, &[r#"420["subscribe","trades.BTC-USD"]"#]),
            ("2", &["3"]),
        ] {
            assert_eq!(play.hear(heard), Ok(Heard::Control));
            assert_eq!(play.said(), said);
            assert!(!play.line.is_ready());
        }
        assert_eq!(play.hear("430[]"), Ok(Heard::Control));
        assert!(play.line.is_ready());
        play.line.publish(0, br#"{"rl":"x"}"#, &mut play.say);
        assert_eq!(play.said(), [r#"42["publish","trades.BTC-USD",{"rl":"x"}]"#]);
        assert_eq!(play.hear(r#"42["message","trades.BTC-USD",{"rl":"x"}]"#), Ok(Heard::Payloads));
        play.line.leave(&mut play.say);
        assert_eq!(play.said(), ["41"]);
    }

    #[test]
    fn a_session_without_subscriptions_is_ready_once_it_is_connected() {
        let mut play = Play::new(None, Events::default(), &[], &["a"]);
        assert_eq!((play.hear(OPEN), play.said()), (Ok(Heard::Control), vec!["40".to_owned()]));
        assert!(!play.line.is_ready());
        assert_eq!(play.hear(CONNECTED), Ok(Heard::Control));
        assert!(play.line.is_ready());
    }

    #[test]
    fn each_subscription_is_acknowledged_by_its_number() {
        let mut play = Play::connected(&["a", "b"], &[]);
        assert_eq!(play.said()[1..], [r#"420["subscribe","a"]"#, r#"421["subscribe","b"]"#]);
        assert_eq!(play.hear("431[null,{\"error\":null}]"), Ok(Heard::Control));
        assert!(!play.line.is_ready());
        assert_eq!(play.hear("430[]"), Ok(Heard::Control));
        assert!(play.line.is_ready());
        assert!(play.hear("430[]").unwrap_err().contains("not asked: 430[]"));
        assert!(Play::connected(&["a"], &[]).hear("439[]").is_err());
    }

    #[test]
    fn deliveries_are_told_from_other_events() {
        let mut play = Play::connected(&[], &[]);
        for (packet, want) in [
            (r#"4217["message","a",{}]"#, Heard::Payloads),
            (r#"42["messages","a",{}]"#, Heard::Control),
            (r#"42["joined","message"]"#, Heard::Control),
            (r#"451-["message","a",{"_placeholder":true,"num":0}]"#, Heard::Control),
        ] {
            assert_eq!(play.hear(packet), Ok(want), "{packet}");
        }
        let attachment = Message { bytes: b"\x01", is_text: false };
        assert_eq!(play.line.hear(attachment, &mut play.say), Ok(Heard::Payloads));
    }

    #[test]
    fn events_have_the_users_names() {
        let events = Events::parse("join, send ,said").unwrap();
        let mut play = Play::new(None, events, &["a"], &["a"]);
        play.hear(OPEN).unwrap();
        play.hear(CONNECTED).unwrap();
        play.line.publish(0, b"1", &mut play.say);
        assert_eq!(play.said()[1..], [r#"420["join","a"]"#, r#"42["send","a",1]"#]);
        assert_eq!(play.hear(r#"42["said","a",1]"#), Ok(Heard::Payloads));
        for faulty in ["", "a,b", "a,b,c,d", "a,,c"] {
            assert!(Events::parse(faulty).unwrap_err().contains("--socketio-events"), "{faulty}");
        }
    }

    #[test]
    fn refusals_are_faults_with_the_servers_words() {
        for (packet, words) in [
            (r#"44{"message":"not authorized"}"#, "refuses to connect: not authorized"),
            (r#"430[{"error":"no such room"}]"#, "subscribe to \"a\": \"no such room\""),
            ("41", "disconnects"),
            ("1", "closes"),
            ("{\"hello\":1}", "no packet of Socket.IO 5 at this place: {\"hello\":1}"),
            (OPEN, "at this place"),
            ("", "no packet"),
        ] {
            let fault = Play::connected(&["a"], &[]).hear(packet).unwrap_err();
            assert!(fault.contains(words), "{fault}");
        }
    }
}
