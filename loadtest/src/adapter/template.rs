//! Any server whose messages are texts of its own: what to say is the user's, with `{topic}` and `{payload}` in it.
//!
//! A session has one connection at the target; if the target's path says `{topic}`, one for each topic. Once it is open,
//! the opening text is said, then the text that subscribes for each topic. A publish is the publish template with the
//! payload in the place of `{payload}`, or written inside a string in that of `{payload_text}`. Payloads are found
//! wherever the server puts them. What confirms subscriptions, what is a refusal and what is to be answered is told by
//! texts that messages hold.

use std::sync::Arc;

use ringwire_codec::Opcode;

use super::place::{TOPIC, at_topic, has_topic, require_websocket};
use super::{Adapter, Heard, Line, LineSpec, Needs, Say, TimestampAt, excerpt, quoted};
use crate::clients::{Door, Message};
use crate::target::Target;

/// What stands for a payload: as a JSON value, and inside a string.
const PAYLOAD: &str = "{payload}";
const PAYLOAD_TEXT: &str = "{payload_text}";

/// See the head of this file.
#[derive(Clone, Debug, Default)]
pub struct Template {
    /// Said first on each connection.
    pub open: Option<String>,
    /// Said for each topic that is subscribed to.
    pub subscribe: Option<String>,
    /// How a payload is published.
    pub publish: Option<PublishTemplate>,
    /// What a message holds that confirms. With `{topic}`, one for each topic is awaited; without, as many as texts that
    /// subscribe were said, or one.
    pub ready: Option<String>,
    /// What a message holds that is a refusal.
    pub fault: Option<String>,
    /// What is answered to messages that hold a text.
    pub answers: Vec<Answer>,
    /// Where messages that were not published here say when they were made.
    pub timestamp_at: Option<TimestampAt>,
}

/// What is answered to messages that hold a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the message holds.
    pub holds: String,
    /// What is said.
    pub say: String,
}

impl Answer {
    /// Reads `HOLDS => SAY`.
    ///
    /// # Errors
    /// If a part is missing.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once("=>").map(|(holds, say)| (holds.trim(), say.trim())) {
            Some((holds, say)) if !holds.is_empty() && !say.is_empty() => {
                Ok(Self { holds: holds.to_owned(), say: say.to_owned() })
            }
            _ => Err(format!("--answer {text}: what a message holds and what to say are needed, as in 'ping => pong'")),
        }
    }
}

/// How a payload is published: a text with one place for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishTemplate {
    head: String,
    tail: String,
    /// Whether the payload is inside a string.
    is_quoted: bool,
}

impl PublishTemplate {
    /// Reads a text in which `{payload}` or `{payload_text}` stands once.
    ///
    /// # Errors
    /// If it does not.
    pub fn parse(text: &str) -> Result<Self, String> {
        let places = text.matches(PAYLOAD).count() + text.matches(PAYLOAD_TEXT).count();
        let split = text.split_once(PAYLOAD).or_else(|| text.split_once(PAYLOAD_TEXT));
        let Some((head, tail)) = split.filter(|_| places == 1) else {
            return Err(format!(
                "--publish-template {text}: {PAYLOAD} must stand in it once, or {PAYLOAD_TEXT} inside a string"
            ));
        };
        Ok(Self { head: head.to_owned(), tail: tail.to_owned(), is_quoted: text.contains(PAYLOAD_TEXT) })
    }
}

impl Adapter for Template {
    fn name(&self) -> &'static str {
        "template"
    }

    fn lines(&self, base: &Target, session: &Needs<'_>) -> Result<Vec<LineSpec>, String> {
        if self.publish.is_none() && !session.publishes.is_empty() {
            return Err("publishers need --publish-template".to_owned());
        }
        require_websocket(base)?;
        if !has_topic(base) {
            let line = self.line(session.subscribes, session.publishes);
            return Ok(vec![LineSpec::whole(Door::new(base.clone()), Box::new(line), session)]);
        }
        let mut topics: Vec<&str> = session.subscribes.iter().chain(session.publishes).copied().collect();
        topics.sort_unstable();
        topics.dedup();
        let lines = topics.into_iter().map(|topic| {
            let places = |all: &[&str]| (0..all.len()).filter(|&index| all[index] == topic).collect::<Vec<_>>();
            let (subscribes, publishes) = (places(session.subscribes), places(session.publishes));
            let one = |places: &[usize]| if places.is_empty() { vec![] } else { vec![topic] };
            let line = self.line(&one(&subscribes), &one(&publishes));
            Ok(LineSpec { door: Door::new(at_topic(base, topic)?), line: Box::new(line), subscribes, publishes })
        });
        lines.collect()
    }
}

impl Template {
    fn line(&self, subscribes: &[&str], publishes: &[&str]) -> TemplateLine {
        let texts = self.subscribe.iter().flat_map(|text| subscribes.iter().map(|topic| with_topic(text, topic)));
        let says: Vec<Box<str>> = self.open.as_deref().map(Into::into).into_iter().chain(texts).collect();
        let awaited = match self.ready.as_deref() {
            None => vec![],
            Some(text) if text.contains(TOPIC) => subscribes.iter().map(|topic| with_topic(text, topic)).collect(),
            Some(text) if self.subscribe.is_some() => vec![text.into(); subscribes.len()],
            Some(text) => vec![text.into()],
        };
        let frames = self.publish.iter().flat_map(|template| {
            publishes.iter().map(|topic| [with_topic(&template.head, topic), with_topic(&template.tail, topic)])
        });
        TemplateLine {
            says,
            awaited,
            frames: frames.collect(),
            is_quoted: self.publish.as_ref().is_some_and(|template| template.is_quoted),
            quoted: String::new(),
            fault: self.fault.as_deref().map(Into::into),
            answers: self.answers.clone().into(),
            timestamp_at: self.timestamp_at.clone(),
        }
    }
}

/// A text about a topic. The name is written as inside a JSON string.
fn with_topic(text: &str, topic: &str) -> Box<str> {
    text.replace(TOPIC, quoted(topic).trim_matches('"')).into()
}

#[derive(Debug)]
struct TemplateLine {
    /// What is said first.
    says: Vec<Box<str>>,
    /// What is to be held by messages before the line is ready, each by one of its own.
    awaited: Vec<Box<str>>,
    /// What stands before and behind a payload, for each topic to publish to.
    frames: Vec<[Box<str>; 2]>,
    is_quoted: bool,
    /// A payload as it is written inside a string, for as long as a publish takes.
    quoted: String,
    fault: Option<Box<str>>,
    answers: Arc<[Answer]>,
    timestamp_at: Option<TimestampAt>,
}

impl Line for TemplateLine {
    fn open(&mut self, say: &mut Say) {
        for text in std::mem::take(&mut self.says) {
            say.text(&text);
        }
    }

    fn hear(&mut self, message: Message<'_>, say: &mut Say) -> Result<Heard, String> {
        let bytes = message.bytes;
        if self.fault.as_deref().is_some_and(|fault| holds(bytes, fault)) {
            return Err(format!("the server refuses: {}", excerpt(bytes)));
        }
        if let Some(place) = self.awaited.iter().position(|text| holds(bytes, text)) {
            self.awaited.swap_remove(place);
        }
        for answer in self.answers.iter().filter(|answer| holds(bytes, &answer.holds)) {
            say.text(&answer.say);
        }
        if holds_payload(bytes) {
            return Ok(Heard::Payloads);
        }
        let made = self.timestamp_at.as_ref().and_then(|place| place.read(bytes));
        Ok(made.map_or(Heard::Control, Heard::Foreign))
    }

    fn is_ready(&self) -> bool {
        self.awaited.is_empty()
    }

    fn publish(&mut self, topic: usize, payload: &[u8], say: &mut Say) {
        let [head, tail] = &self.frames[topic];
        let payload = match self.is_quoted {
            false => payload,
            true => {
                self.quoted = quoted(&String::from_utf8_lossy(payload));
                &self.quoted.as_bytes()[1..self.quoted.len() - 1]
            }
        };
        say.parts(Opcode::Text, &[head.as_bytes(), payload, tail.as_bytes()]);
    }
}

/// Whether a message holds a payload's first name, `"rl":`, as it is, inside a string or with spaces.
fn holds_payload(message: &[u8]) -> bool {
    let mut rest = message;
    while let Some(at) = rest.windows(3).position(|window| window == b"\"rl") {
        rest = &rest[at + 3..];
        if rest.iter().find(|byte| !b"\\\" ".contains(byte)) == Some(&b':') {
            return true;
        }
    }
    false
}

/// Whether a message holds a text.
fn holds(message: &[u8], text: &str) -> bool {
    match std::str::from_utf8(message) {
        Ok(message) => message.contains(text),
        Err(_) => message.windows(text.len().max(1)).any(|window| window == text.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::say::tests::said_texts;
    use super::*;

    fn template(publish: &str) -> Template {
        Template { publish: Some(PublishTemplate::parse(publish).unwrap()), ..Template::default() }
    }

    fn lines(template: &Template, url: &str, subscribes: &[&str], publishes: &[&str]) -> Vec<LineSpec> {
        template.lines(&Target::parse(url).unwrap(), &Needs { session: 0, subscribes, publishes }).unwrap()
    }

    fn line(template: &Template, subscribes: &[&str], publishes: &[&str]) -> Box<dyn Line> {
        lines(template, "ws://127.0.0.1:9/x", subscribes, publishes).remove(0).line
    }

    fn hear(line: &mut dyn Line, text: &str, say: &mut Say) -> Result<Heard, String> {
        line.hear(Message { bytes: text.as_bytes(), is_text: true }, say)
    }

    #[test]
    fn what_is_said_is_the_users_text_about_each_topic() {
        let template = Template {
            open: Some("{\"login\":1}".to_owned()),
            subscribe: Some("{\"op\":\"subscribe\",\"channel\":\"{topic}\"}".to_owned()),
            ..template("{\"op\":\"publish\",\"data\":{payload},\"channel\":\"{topic}\"}")
        };
        let (mut line, mut say) = (line(&template, &["a", "b\"c"], &["d", "e"]), Say::default());
        line.open(&mut say);
        assert!(line.is_ready(), "nothing confirms, so nothing is awaited");
        let subscribed = [r#"{"op":"subscribe","channel":"a"}"#, r#"{"op":"subscribe","channel":"b\"c"}"#];
        assert_eq!(said_texts(&mut say), ["{\"login\":1}", subscribed[0], subscribed[1]]);
        line.publish(1, br#"{"rl":"x"}"#, &mut say);
        assert_eq!(said_texts(&mut say), [r#"{"op":"publish","data":{"rl":"x"},"channel":"e"}"#]);
    }

    #[test]
    fn a_payload_inside_a_string_is_found_again() {
        let template = template("{\"to\":\"{topic}\",\"data\":\"{payload_text}\"}");
        let (mut line, mut say) = (line(&template, &[], &["a"]), Say::default());
        line.publish(0, br#"{"rl":"x"}"#, &mut say);
        line.publish(0, br#"{"rl":"y"}"#, &mut say);
        let said = said_texts(&mut say);
        assert_eq!(said, [r#"{"to":"a","data":"{\"rl\":\"x\"}"}"#, r#"{"to":"a","data":"{\"rl\":\"y\"}"}"#]);
        for (heard, want) in [
            (said[0].as_str(), Heard::Payloads),
            (r#"{"to":"a","data":{"rl":"x"}}"#, Heard::Payloads),
            (r#"{"to":"a","data":{ "rl" : "x" }}"#, Heard::Payloads),
            (r#"{"to":"a","data":{"url":"rl"}}"#, Heard::Control),
        ] {
            assert_eq!(hear(&mut *line, heard, &mut say), Ok(want), "{heard}");
        }
    }

    #[test]
    fn what_was_not_published_here_says_when_it_was_made() {
        let timestamp_at = Some(TimestampAt::parse("/E:ms").unwrap());
        let mut line = line(&Template { timestamp_at, ..Template::default() }, &["a"], &[]);
        for (heard, want) in [
            (r#"{"E":1767225600123,"p":"1"}"#, Heard::Foreign(1_767_225_600_123_000_000)),
            (r#"{"result":null}"#, Heard::Control),
            (r#"{"E":1767225600123,"p":{"rl":"x"}}"#, Heard::Payloads),
        ] {
            assert_eq!(hear(&mut *line, heard, &mut Say::default()), Ok(want), "{heard}");
        }
    }

    #[test]
    fn each_text_that_subscribes_awaits_a_confirmation_of_its_own() {
        let subscribe = Some("sub {topic}".to_owned());
        let any = Template { subscribe: subscribe.clone(), ready: Some("\"ok\"".to_owned()), ..Template::default() };
        let each = Template { subscribe, ready: Some("ok {topic}!".to_owned()), ..Template::default() };
        let welcome = Template { ready: Some("welcome".to_owned()), ..Template::default() };
        for (template, said) in [
            (any, &["\"no\"", "x\"ok\"", "\"ok\"y"][..]),
            (each, &["ok a!", "ok b", "ok a!", "ok b!"]),
            (welcome, &["hi", "welcome"]),
        ] {
            let mut line = line(&template, &["a", "b"], &[]);
            for text in said {
                assert!(!line.is_ready(), "{text}");
                hear(&mut *line, text, &mut Say::default()).unwrap();
            }
            assert!(line.is_ready(), "{said:?}");
        }
    }

    #[test]
    fn a_topic_in_the_path_has_a_connection_of_its_own() {
        let template = template("{payload}");
        let mut specs = lines(&template, "ws://127.0.0.1:9/{topic}/live", &["b", "a"], &["c", "a"]);
        let of: Vec<_> = specs
            .iter()
            .map(|spec| (spec.door.target.to_string(), spec.subscribes.clone(), spec.publishes.clone()))
            .collect();
        let url = |topic: &str| format!("ws://127.0.0.1:9/{topic}/live");
        assert_eq!(of, [(url("a"), vec![1], vec![1]), (url("b"), vec![0], vec![]), (url("c"), vec![], vec![0])]);
        let mut say = Say::default();
        specs[0].line.publish(0, b"1", &mut say);
        assert_eq!(said_texts(&mut say), ["1"], "the index is the connection's own");
    }

    #[test]
    fn heartbeats_are_answered_and_refusals_end_the_run() {
        let template = Template {
            fault: Some("\"status\":\"error\"".to_owned()),
            answers: vec![Answer::parse("\"ping\" => {\"op\":\"pong\"}").unwrap()],
            ..Template::default()
        };
        let (mut line, mut say) = (line(&template, &["a"], &[]), Say::default());
        hear(&mut *line, "{\"op\":\"ping\"}", &mut say).unwrap();
        hear(&mut *line, "{\"op\":\"data\"}", &mut say).unwrap();
        assert_eq!(said_texts(&mut say), ["{\"op\":\"pong\"}"]);
        let refused = hear(&mut *line, "{\"status\":\"error\",\"why\":\"no\"}", &mut say).unwrap_err();
        assert!(refused.contains("\"why\":\"no\""), "{refused}");
    }

    #[test]
    fn bytes_that_are_no_text_are_looked_into_too() {
        assert!(holds(b"\xFF\x00ok\xFF", "ok") && !holds(b"\xFFo", "ok") && holds("жok".as_bytes(), "ok"));
    }

    #[test]
    fn faults_in_templates_are_told() {
        for faulty in ["{}", "{payload}{payload}", "{payload} {payload_text}"] {
            assert!(PublishTemplate::parse(faulty).unwrap_err().contains("once"), "{faulty}");
        }
        for faulty in ["ping", "=> pong", "ping =>"] {
            assert!(Answer::parse(faulty).unwrap_err().contains("--answer"), "{faulty}");
        }
        let base = Target::parse("ws://127.0.0.1:9/").unwrap();
        let needs = Needs { session: 0, subscribes: &[], publishes: &["a"] };
        assert!(Template::default().lines(&base, &needs).unwrap_err().contains("--publish-template"));
    }
}
