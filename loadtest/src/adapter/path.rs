//! Servers without a protocol of their own: a topic is a path.
//!
//! `/ws/<topic>` subscribes: each message is a payload as it was published. `/pub/<topic>` publishes: each message goes
//! to the topic's subscribers, and nothing is answered. Both lie below the target's own path, and its query stays. A
//! session has one connection for each topic that it subscribes to and one for each that it publishes to. The opening
//! handshake is all the confirmation there is. On `tcp://` there are no paths: the target is a relay.

use ringwire_codec::Opcode;

use super::place::below;
use super::{Adapter, Heard, Line, LineSpec, Needs, Say, excerpt, relay};
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
        if base.protocol == Protocol::Tcp {
            return Ok(relay::lines(base, session));
        }
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

    #[test]
    fn each_topic_has_a_connection_of_its_own() {
        let needs = Needs { session: 0, subscribes: &["a", "b"], publishes: &["b"] };
        let specs = Path.lines(&Target::parse("ws://127.0.0.1:9").unwrap(), &needs).unwrap();
        let urls: Vec<_> = specs.iter().map(|spec| spec.door.target.to_string()).collect();
        assert_eq!(urls, ["ws://127.0.0.1:9/ws/a", "ws://127.0.0.1:9/ws/b", "ws://127.0.0.1:9/pub/b"]);
        let of: Vec<_> = specs.iter().map(|spec| (&spec.subscribes[..], &spec.publishes[..])).collect();
        assert_eq!(of, [(&[0][..], &[][..]), (&[1], &[]), (&[], &[0])]);
        assert!(specs.iter().all(|spec| spec.line.is_ready()));
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
