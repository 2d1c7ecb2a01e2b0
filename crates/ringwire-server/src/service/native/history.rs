//! Entries of the past, as far as they are held.

use super::desk::{Desk, epoch, topic_name};
use crate::lanes::Frames;
use crate::native::fault::Fault;
use crate::native::reply;
use crate::native::request::{History, Id};

/// How many entries are given that says nothing.
const LIMIT: u32 = 100;
/// Most entries of one answer.
const LIMIT_MAX: u32 = 1000;
/// Most bytes of entries in one answer, as they are kept; but for the first.
const BYTES_MAX: usize = 128 * 1024;

impl Desk<'_, '_> {
    /// Answers with entries.
    pub(super) fn history(&mut self, id: Id<'_>, request: History<'_>) -> Result<(), Fault> {
        let name = topic_name(request.topic)?;
        self.client.grant.may_subscribe(&self.broker.rules, &name)?;
        let topic = self.broker.hub.topic(name.as_str()).ok_or_else(|| Fault::NoTopic(request.topic.to_owned()))?;
        let limit = request.limit.unwrap_or(LIMIT).min(LIMIT_MAX);
        let head = topic.last_seq();
        let from = match request.from {
            None => (head + 1).saturating_sub(u64::from(limit)).max(1),
            Some(0) => topic.first_seq(),
            Some(from) if from <= head && from < topic.first_seq() => return Err(Fault::Lost(topic.first_seq())),
            Some(from) => from,
        };
        let mut items = Vec::new();
        let mut frames = Frames::default();
        let next = topic.history(from, limit as usize, BYTES_MAX, |_, entry| {
            if !items.is_empty() {
                items.push(b',');
            }
            frames.write_message(&topic, entry, &mut items);
        });
        self.answer(id, |out| {
            reply::topic(out, topic.name().as_str());
            reply::epoch(out, epoch(&topic));
            out.extend_from_slice(b",\"items\":[");
            out.extend_from_slice(&items);
            out.push(b']');
            if next <= head {
                reply::field(out, "next", next);
            }
            reply::field(out, "head", head);
            out.push(b'}');
        });
        Ok(())
    }
}
