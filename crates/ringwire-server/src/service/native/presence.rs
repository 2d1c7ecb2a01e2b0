//! Presence: who subscribes to a topic, kept as a keyed topic beside it.
//!
//! The companion of `room.1` is `$presence.room.1`. Where the topic's rule says `members`, it has a key per connection that
//! speaks this protocol and subscribes; where it says `count`, one key, `count`. Members are bound to their connections, and
//! the companion's tick says how soon changes are told, and how many of them become one.

use std::sync::Arc;

use ringwire_hub::{Subject, Topic, TopicName};

use super::desk::{Desk, topic_name};
use crate::json::{write_number, write_string};
use crate::lanes::{Payload, Publication};
use crate::native::fault::Fault;
use crate::native::record::Record;
use crate::native::reply;
use crate::native::request::Id;
use crate::options::Presence;

/// What comes before the name of a topic in that of its companion.
const PREFIX: &str = "$presence.";
/// The key of a companion that only counts.
const COUNT: &str = "count";
/// Most members that one answer lists.
const MEMBERS_MAX: usize = 1000;

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change<'a> {
    /// It has subscribed, and says this of itself: JSON.
    Joined(Option<&'a str>),
    /// It has unsubscribed.
    Left,
}

impl Desk<'_, '_> {
    /// Tells the topic's companion what the client does. Says whether it has one.
    pub(super) fn tell_presence(&mut self, topic: &Arc<Topic>, change: Change<'_>) -> bool {
        let rule = self.broker.rules.rule_for(topic.name()).presence;
        if rule == Presence::Off {
            return false;
        }
        let companion = companion(topic.name()).and_then(|name| self.broker.open(&name).ok());
        let Some(mut companion) = companion else { return false };
        let mut data = Vec::new();
        let client = self.client.name();
        let subject = match (rule, change) {
            (Presence::Members, Change::Joined(info)) => {
                self.write_member(info, &mut data);
                Subject::Update(&client)
            }
            (Presence::Members, Change::Left) => Subject::Remove(&client),
            (Presence::Count | Presence::Off, _) => {
                write_number(&mut data, topic.subscriptions());
                Subject::Update(COUNT)
            }
        };
        let data = std::str::from_utf8(&data).expect("JSON was written");
        let publication = Publication { subject, owner: self.client.number, ..Payload::Json(data).into() };
        // A companion that takes no more keys does not keep anyone from the topic.
        let told = self.fanout.publish(self.cx, self.broker, &mut companion, publication);
        told.is_ok() || rule == Presence::Count
    }

    fn write_member(&self, info: Option<&str>, out: &mut Vec<u8>) {
        out.push(b'{');
        if let Some(user) = &self.client.grant.user {
            out.extend_from_slice(b"\"user\":");
            write_string(out, user);
        }
        if let Some(info) = info.or(self.client.grant.info.as_deref()) {
            out.extend_from_slice(if out.len() > 1 { b",\"info\":" } else { b"\"info\":" });
            crate::json::write_line(out, info);
        }
        out.push(b'}');
    }

    /// Answers with who is in a topic.
    pub(super) fn presence(&mut self, id: Id<'_>, name: &str) -> Result<(), Fault> {
        let name = topic_name(name)?;
        self.client.grant.may_subscribe(&self.broker.rules, &name)?;
        let rule = self.broker.rules.rule_for(&name).presence;
        if rule == Presence::Off {
            return Err(Fault::Kind(
                "this topic has no presence: have it configured with presence = \"members\" or \"count\"",
            ));
        }
        let keys = companion(&name).and_then(|name| self.broker.hub.topic(name.as_str()));
        let keys = keys.map_or_else(Vec::new, |companion| companion.keys().1);
        let mut members = Vec::new();
        let mut count = 0;
        for key in &keys {
            let Some(record) = Record::of_frame(&key.history) else { continue };
            if rule == Presence::Count {
                count = std::str::from_utf8(record.payload).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
                continue;
            }
            count += 1;
            if count <= MEMBERS_MAX as u64 {
                write_listed(&key.name, record.payload, &mut members);
            }
        }
        self.answer(id, |out| {
            reply::topic(out, name.as_str());
            reply::field(out, "count", count);
            if rule == Presence::Members {
                out.extend_from_slice(b",\"members\":[");
                out.extend_from_slice(&members);
                out.push(b']');
            }
            out.push(b'}');
        });
        Ok(())
    }
}

/// The name of a topic's companion; nothing, if it would be too long.
fn companion(name: &TopicName) -> Option<TopicName> {
    TopicName::new(&format!("{PREFIX}{name}")).ok()
}

/// Appends a member as it is listed: what is kept of it, an object, with its name.
fn write_listed(client: &str, member: &[u8], out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.push(b',');
    }
    out.extend_from_slice(b"{\"client\":");
    write_string(out, client);
    match member {
        [b'{', b'}'] => out.push(b'}'),
        [b'{', rest @ ..] => {
            out.push(b',');
            out.extend_from_slice(rest);
        }
        _ => out.push(b'}'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_listed_with_its_name() {
        let mut out = Vec::new();
        write_listed("c1", b"{}", &mut out);
        write_listed("c2", b"{\"user\":\"u\"}", &mut out);
        assert_eq!(out, b"{\"client\":\"c1\"},{\"client\":\"c2\",\"user\":\"u\"}");
    }

    #[test]
    fn a_companion_has_the_name_of_its_topic() {
        let name = TopicName::new("room.1").unwrap();
        assert_eq!(companion(&name).unwrap().as_str(), "$presence.room.1");
        assert_eq!(companion(&TopicName::new(&"a".repeat(250)).unwrap()), None);
    }
}
