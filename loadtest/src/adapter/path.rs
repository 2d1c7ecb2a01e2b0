//! Servers without a protocol of their own: a topic is a path.
//!
//! `/ws/<topic>` subscribes: each message is a payload as it was published. `/pub/<topic>` publishes: each message goes
//! to the topic's subscribers, and nothing is answered. Both lie below the target's own path, and its query stays. A
//! session has one connection for each topic that it subscribes to and one for each that it publishes to. The opening
//! handshake is all the confirmation there is.

use std::fmt::Write as _;

use ringwire_codec::Opcode;

use super::{Adapter, Heard, Line, LineSpec, Needs, Say, excerpt};
use crate::clients::{Door, Message};
use crate::target::{Protocol, Target};

/// See the head of this file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Path;

impl Adapter for Path {
    fn name(&self) -> &'static str {
        "path"
    }

    fn lines(&self, base: &Target, session: &Needs<'_>) -> Result<Vec<LineSpec>, String> {
        let subscriptions = session.subscribes.iter().enumerate().map(|(index, topic)| {
            let door = Door::new(below(base, "/ws/", topic)?);
            Ok(LineSpec { door, line: Box::new(Subscription), subscribes: vec![index], publishes: vec![] })
        });
        let publications = session.publishes.iter().enumerate().map(|(index, topic)| {
            let door = Door::new(below(base, "/pub/", topic)?);
            Ok(LineSpec { door, line: Box::new(Publication), subscribes: vec![], publishes: vec![index] })
        });
        subscriptions.chain(publications).collect()
    }
}

/// A path below the target's own, in front of the target's query.
fn below(base: &Target, folder: &str, topic: &str) -> Result<Target, String> {
    let Protocol::WebSocket(url) = &base.protocol else {
        return Err(format!("{base}: topics need a ws:// or wss:// URL"));
    };
    let (path, query) = url.target().split_at(url.target().find('?').unwrap_or(url.target().len()));
    let mut target = format!("{}{folder}", path.trim_end_matches('/'));
    percent_encode(&mut target, topic);
    base.at_path(&(target + query))
}

/// Appends a topic as one segment of a path (RFC 3986 §3.3).
pub(super) fn percent_encode(out: &mut String, topic: &str) {
    for byte in topic.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// A connection that subscribes.
#[derive(Debug)]
struct Subscription;

impl Line for Subscription {
    fn open(&mut self, _: &mut Say) {}

    fn hear(&mut self, _: Message<'_>, _: &mut Say) -> Result<Heard, String> {
        Ok(Heard::Payloads)
    }

    fn is_ready(&self) -> bool {
        true
    }

    fn publish(&mut self, _: usize, _: &[u8], _: &mut Say) {
        unreachable!("a subscription's connection has no topic to publish to");
    }
}

/// A connection that publishes.
#[derive(Debug)]
struct Publication;

impl Line for Publication {
    fn open(&mut self, _: &mut Say) {}

    fn hear(&mut self, message: Message<'_>, _: &mut Say) -> Result<Heard, String> {
        Err(format!(
            "the server answers what is published, which a path-based one does not: {}",
            excerpt(message.bytes)
        ))
    }

    fn is_ready(&self) -> bool {
        true
    }

    fn publish(&mut self, _: usize, payload: &[u8], say: &mut Say) {
        say.parts(Opcode::Text, &[payload]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::say::tests::said;
    use super::*;

    fn lines(target: &str, subscribes: &[&str], publishes: &[&str]) -> Result<Vec<LineSpec>, String> {
        Path.lines(&Target::parse(target).unwrap(), &Needs { session: 0, subscribes, publishes })
    }

    fn urls(target: &str, subscribes: &[&str], publishes: &[&str]) -> Vec<String> {
        let lines = lines(target, subscribes, publishes).unwrap();
        lines.iter().map(|spec| spec.door.target.to_string()).collect()
    }

    #[test]
    fn each_topic_has_a_connection_of_its_own() {
        let specs = lines("ws://127.0.0.1:9", &["a", "b"], &["b"]).unwrap();
        let of: Vec<_> = specs.iter().map(|spec| (&spec.subscribes[..], &spec.publishes[..])).collect();
        assert_eq!(of, [(&[0][..], &[][..]), (&[1], &[]), (&[], &[0])]);
        assert!(specs.iter().all(|spec| spec.line.is_ready()));
    }

    #[test]
    fn topics_lie_below_the_targets_path_and_before_its_query() {
        let root = ["ws://127.0.0.1:9/ws/a", "ws://127.0.0.1:9/pub/a"];
        assert_eq!(urls("ws://127.0.0.1:9", &["a"], &["a"]), root);
        assert_eq!(urls("ws://127.0.0.1:9/", &["a"], &["a"]), root);
        assert_eq!(urls("ws://127.0.0.1:9/x/y?token=t", &["a"], &[]), ["ws://127.0.0.1:9/x/y/ws/a?token=t"]);
        assert_eq!(urls("ws://127.0.0.1:9/", &["a b/c?ж"], &[]), ["ws://127.0.0.1:9/ws/a%20b%2Fc%3F%D0%B6"]);
        assert!(lines("tcp://127.0.0.1:9", &["a"], &[]).unwrap_err().contains("ws://"));
    }

    #[test]
    fn a_publish_is_the_payload_and_nothing_is_answered() {
        let mut say = Say::new(0);
        Publication.open(&mut say);
        assert!(say.is_empty());
        Publication.publish(0, b"{\"rl\":1}", &mut say);
        assert_eq!(said(&mut say), [(true, b"{\"rl\":1}".to_vec())]);
        let answer = Message { bytes: b"no such topic", is_text: true };
        assert!(Publication.hear(answer, &mut say).unwrap_err().contains("no such topic"));
        assert_eq!(Subscription.hear(answer, &mut say), Ok(Heard::Payloads));
    }
}
