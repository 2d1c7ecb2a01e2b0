//! Publishing, with keys that go when their connection goes.
//!
//! A topic is looked up once, and whether it may be published to is asked once; from then on a publish finds both in the
//! client's table, and takes no memory.

use ringwire_hub::{PublishError, Published, Subject, TopicName};

use super::client::{Answer, PUBLISHING_MAX, Pending, Publishing};
use super::desk::{Desk, epoch, topic_name};
use crate::auth::{Denial, Rate};
use crate::broker::Refused;
use crate::journal::Outcome;
use crate::lanes::{Payload, Publication};
use crate::native::epoch::Epoch;
use crate::native::fault::Fault;
use crate::native::record::{Flags, Record};
use crate::native::reply::PublishedAt;
use crate::native::request::{ID_MAX, Id, Publish};

impl Desk<'_, '_> {
    /// Publishes what a request says, and answers it.
    pub(super) fn publish(&mut self, id: Id<'_>, request: &Publish<'_>) {
        let publication = request.publication(if request.bound { self.client.number } else { 0 });
        match self.publish_to(request.topic, &publication) {
            Ok((published, epoch)) => {
                let at = PublishedAt { seq: published.seq, epoch, duplicate: published.is_duplicate };
                if id != Id::None {
                    self.acknowledge(published.ticket, Answer::Result(id.into(), at));
                }
            }
            Err(fault) => self.refuse(id, &fault),
        }
    }

    /// Publishes a record, and answers it.
    pub(super) fn publish_record(&mut self, record: &Record<'_>) {
        let id = if record.seq == 0 { Id::None } else { Id::Number(record.seq) };
        match self.publish_record_to(record) {
            Ok(published) if record.seq != 0 => {
                self.acknowledge(published.ticket, Answer::Ack(record.seq, published.seq));
            }
            Ok(_) => {}
            Err(fault) => self.refuse(id, &fault),
        }
    }

    fn publish_record_to(&mut self, record: &Record<'_>) -> Result<Published, Fault> {
        if record.seq > ID_MAX {
            return Err(Fault::Id);
        }
        let name = self.client.topic_of(record.topic).ok_or(Fault::TopicId(record.topic))?;
        let publication = Publication::of_record(record).ok_or(Fault::Entry)?;
        let is_bound = record.flags.has(Flags::BOUND) && publication.subject != Subject::Message;
        let owner = if is_bound { self.client.number } else { 0 };
        self.publish_to(name.as_str(), &Publication { owner, ..publication }).map(|(published, _)| published)
    }

    fn publish_to(&mut self, name: &str, publication: &Publication<'_>) -> Result<(Published, Epoch), Fault> {
        if self.client.pending.len() >= self.options.pending_publishes_max {
            return Err(Fault::TooMany("publishes that wait for the disk", self.options.pending_publishes_max));
        }
        let owned = self.own(name, publication)?;
        if !self.client.publishing.contains_key(name) {
            self.begin_publishing(name)?;
        }
        let publishing = self.client.publishing.get_mut(name).expect("it was inserted");
        let (bytes, max) = (publication.payload.len(), publishing.entry_bytes_max);
        if bytes > max {
            return Err(Fault::TooLarge(bytes, max));
        }
        if let Some(rate) = &mut publishing.rate {
            rate.take(self.now_us).map_err(|after_ms| Denial::TooFast { after_ms })?;
        }
        self.passes.count_publish(self.connection, self.now_us)?;
        let published = self.fanout.publish(self.cx, self.broker, &mut publishing.topic, *publication);
        let published = published.map_err(|refused| refusal(refused, publication))?;
        let epoch = epoch(&publishing.topic);
        if let Some(owned) = owned {
            self.client.bound.insert(owned);
        }
        Ok((published, epoch))
    }

    /// The key that is to go with the connection, if the publication has one.
    fn own(&self, name: &str, publication: &Publication<'_>) -> Result<Option<(TopicName, Box<str>)>, Fault> {
        let Subject::Update(key) = publication.subject else { return Ok(None) };
        if publication.owner == 0 {
            return Ok(None);
        }
        let owned = (topic_name(name)?, key.into());
        let max = self.options.bound_keys_max;
        if self.client.bound.contains(&owned) {
            return Ok(None);
        }
        if self.client.bound.len() >= max {
            return Err(Fault::TooMany("bound keys", max));
        }
        Ok(Some(owned))
    }

    /// Looks up a topic that is published to for the first time.
    fn begin_publishing(&mut self, name: &str) -> Result<(), Fault> {
        let name = topic_name(name)?;
        self.client.grant.may_publish(&self.broker.rules, &name)?;
        let rule = self.broker.rules.rule_for(&name);
        let publishing = Publishing {
            topic: self.broker.open(&name)?,
            entry_bytes_max: rule.entry_bytes_max,
            rate: rule.publish_rate.map(|limit| Rate::new(limit, self.now_us)),
        };
        if self.client.publishing.len() >= PUBLISHING_MAX {
            // Rates begin anew with it, so one who has this many topics is held to them less strictly.
            self.client.publishing.clear();
        }
        self.client.publishing.insert(name, publishing);
        Ok(())
    }

    /// Answers a publish: at once, or once it is on disk, in the order of the publishes that wait.
    fn acknowledge(&mut self, ticket: Option<u64>, answer: Answer) {
        match ticket.map_or(Outcome::Durable, |ticket| self.outcome(ticket)) {
            Outcome::Pending => {
                let ticket = ticket.expect("what is pending has a ticket");
                self.client.pending.push_back(Pending { ticket, answer });
            }
            outcome => self.write_answer(&answer, outcome == Outcome::Durable),
        }
    }

    /// Answers the publishes that have waited for the disk and are on it.
    pub(super) fn acknowledge_durable(&mut self) {
        while let Some(ticket) = self.client.pending.front().map(|pending| pending.ticket) {
            let outcome = self.outcome(ticket);
            if outcome == Outcome::Pending {
                return;
            }
            if let Some(pending) = self.client.pending.pop_front() {
                self.write_answer(&pending.answer, outcome == Outcome::Durable);
            }
            self.send_much();
        }
    }

    /// What became of a publish on disk. If nothing has yet, the shard is told when something has.
    fn outcome(&self, ticket: u64) -> Outcome {
        let journal = self.broker.journal.as_ref();
        journal.map_or(Outcome::Durable, |journal| journal.outcome_or_wait(ticket, self.fanout.shard()))
    }

    /// Says that something was published; as an error, if it is not kept as its topic says.
    fn write_answer(&mut self, answer: &Answer, is_kept: bool) {
        match answer {
            Answer::Result(id, at) if is_kept => self.answer(id.as_id(), |out| at.write(out)),
            Answer::Result(id, at) => self.refuse(id.as_id(), &Fault::NotKept(at.seq)),
            Answer::Ack(request, seq) if is_kept => self.answers.ack(*request, *seq),
            Answer::Ack(request, seq) => self.refuse(Id::Number(*request), &Fault::NotKept(*seq)),
        }
    }

    /// Removes the keys that are bound to the connection, where they are still its own.
    pub(super) fn remove_bound(&mut self) {
        for (name, key) in std::mem::take(&mut self.client.bound) {
            let Some(mut topic) = self.broker.hub.topic(name.as_str()) else { continue };
            let subject = Subject::Remove(&key);
            let removal = Publication { subject, owner: self.client.number, ..Payload::Text("").into() };
            // A key that is another's by now, or gone, stays as it is.
            let _ = self.fanout.publish(self.cx, self.broker, &mut topic, removal);
        }
    }
}

/// What an error of the topic is in words of the protocol.
pub(in crate::service) fn refusal(refused: Refused, publication: &Publication<'_>) -> Fault {
    match refused {
        Refused::TooLong { bytes } => Fault::TooLarge(bytes, crate::lanes::PAYLOAD_BYTES_MAX),
        Refused::Open(error) => error.into(),
        Refused::Log(error) => match error {
            PublishError::NotKeyed => {
                Fault::Kind("this topic is plain: publish without a key, or have it configured with kind = \"keyed\"")
            }
            PublishError::KeyLength => Fault::Wrong("key", crate::native::fault::wants::KEY),
            PublishError::IdempotencyKeyLength => {
                Fault::Wrong("idempotency_key", crate::native::fault::wants::IDEMPOTENCY_KEY)
            }
            PublishError::TooManyKeys { max } => Fault::Keys(max),
            PublishError::NoSuchKey => Fault::NoKey(publication.subject.key().unwrap_or_default().to_owned()),
            PublishError::TooLong { bytes, .. } => Fault::TooLarge(bytes, crate::lanes::PAYLOAD_BYTES_MAX),
            PublishError::Gone => Fault::NotNow("the topic was let go and opened again meanwhile".into()),
        },
    }
}
