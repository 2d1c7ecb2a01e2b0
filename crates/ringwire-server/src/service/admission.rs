//! Who a connection is and what it may do, for as long as it is open.
//!
//! A [`Pass`] is kept only where something must be known later: who publishes within a limit, whose token expires, whose
//! connections are counted. Others cost 8 bytes of a table.

use std::collections::BTreeMap;

use ringwire_codec::http::Request;
use ringwire_engine::{ConnectionId, Peer, Response};
use ringwire_hub::TopicName;

use super::{Service, http};
use crate::auth::{Denial, Grant, Rate, Seat};
use crate::broker::Broker;
use crate::options::TopicRule;

/// Who a connection is.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) grant: Grant,
    pub(super) seat: Seat,
    /// What it publishes, where it always is the same topic.
    publishing: Option<Publishing>,
}

/// What a connection that publishes to one topic must keep to.
#[derive(Clone, Copy, Debug)]
struct Publishing {
    entry_bytes_max: usize,
    rate: Option<Rate>,
}

/// Why a message is not published. Its text is for who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unpublished {
    TooLong { max: usize },
    Denied(Denial),
}

impl Pass {
    /// Whether nothing of it will be asked for.
    fn is_idle(&self) -> bool {
        self.grant.expires_us.is_none() && !self.seat.is_counted() && self.publishing.is_none()
    }

    fn may_publish(&mut self, bytes: usize, now_us: u64) -> Result<(), Unpublished> {
        if let Some(publishing) = &mut self.publishing {
            let max = publishing.entry_bytes_max;
            if bytes > max {
                return Err(Unpublished::TooLong { max });
            }
            let taken = publishing.rate.as_mut().map_or(Ok(()), |rate| rate.take(now_us));
            taken.map_err(|after_ms| Unpublished::Denied(Denial::TooFast { after_ms }))?;
        }
        self.seat.publish(now_us).map_err(Unpublished::Denied)
    }
}

impl std::fmt::Display for Unpublished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong { max } => write!(f, "this topic takes at most {max} bytes a message"),
            Self::Denied(denial) => denial.fmt(f),
        }
    }
}

/// The shard's passes, by slot.
#[derive(Debug, Default)]
pub(super) struct Passes {
    slots: Vec<Option<(ConnectionId, Box<Pass>)>>,
    /// By the time at which they expire.
    expiring: BTreeMap<(u64, usize), ConnectionId>,
}

impl Passes {
    /// A connection is let in.
    pub(super) fn insert(&mut self, id: ConnectionId, pass: Pass) {
        if pass.is_idle() {
            return;
        }
        if id.slot() >= self.slots.len() {
            self.slots.resize_with(id.slot() + 1, || None);
        }
        if let Some(expires_us) = pass.grant.expires_us {
            self.expiring.insert((expires_us, id.slot()), id);
        }
        self.slots[id.slot()] = Some((id, Box::new(pass)));
    }

    /// A connection has ended.
    pub(super) fn remove(&mut self, id: ConnectionId) {
        let slot = self.slots.get_mut(id.slot()).and_then(|slot| slot.take_if(|(own, _)| *own == id));
        if let Some(expires_us) = slot.and_then(|(_, pass)| pass.grant.expires_us) {
            self.expiring.remove(&(expires_us, id.slot()));
        }
    }

    /// Whether a connection may publish a message of this length to the topic that it came for.
    pub(super) fn may_publish(&mut self, id: ConnectionId, bytes: usize, now_us: u64) -> Result<(), Unpublished> {
        match self.slots.get_mut(id.slot()) {
            Some(Some((own, pass))) if *own == id => pass.may_publish(bytes, now_us),
            _ => Ok(()),
        }
    }

    /// A connection whose token has expired; it is named once.
    pub(super) fn next_expired(&mut self, now_us: u64) -> Option<ConnectionId> {
        let entry = self.expiring.first_entry().filter(|entry| entry.key().0 <= now_us)?;
        Some(entry.remove())
    }

    /// When the next token expires, in microseconds since 1970.
    pub(super) fn next_expiry_us(&self) -> Option<u64> {
        self.expiring.keys().next().map(|(expires_us, _)| *expires_us)
    }
}

impl Service {
    /// Who sent a request.
    ///
    /// # Errors
    /// What is wrong with what was presented, as an answer.
    pub(super) fn grant(&self, request: &Request<'_>, now_us: u64) -> Result<Grant, Response> {
        self.broker.access.authenticate(&http::credentials(request), now_us).map_err(http::denied)
    }

    /// Lets in who has `grant`, to subscribe to these topics.
    ///
    /// # Errors
    /// Why not, as an answer.
    pub(super) fn admit_subscriber(
        &self,
        grant: Grant,
        peer: &Peer,
        names: &[TopicName],
        now_us: u64,
    ) -> Result<Pass, Response> {
        for name in names {
            grant.may_subscribe(&self.broker.rules, name).map_err(|denial| http::denied_topic(denial, name))?;
        }
        self.seated(grant, peer, None, now_us)
    }

    /// Lets in who has `grant`, to publish to this topic.
    ///
    /// # Errors
    /// Why not, as an answer.
    pub(super) fn admit_publisher(
        &self,
        grant: Grant,
        peer: &Peer,
        name: &TopicName,
        now_us: u64,
    ) -> Result<Pass, Response> {
        grant.may_publish(&self.broker.rules, name).map_err(|denial| http::denied_topic(denial, name))?;
        let rule = self.broker.rules.rule_for(name);
        let publishing = Publishing {
            entry_bytes_max: rule.entry_bytes_max,
            rate: rule.publish_rate.map(|limit| Rate::new(limit, now_us)),
        };
        let has_limits = rule.publish_rate.is_some() || rule.entry_bytes_max < crate::lanes::PAYLOAD_BYTES_MAX;
        self.seated(grant, peer, has_limits.then_some(publishing), now_us)
    }

    fn seated(&self, grant: Grant, peer: &Peer, publishing: Option<Publishing>, now_us: u64) -> Result<Pass, Response> {
        let address = peer.address.map(|address| address.ip());
        let seat = self.broker.users.seat(&grant, address, now_us).map_err(http::denied)?;
        Ok(Pass { grant, seat, publishing })
    }
}

/// Whether a message of `bytes` bytes may be published over HTTP by who has `grant`.
pub(super) fn may_publish_once(
    broker: &Broker,
    grant: &Grant,
    peer: &Peer,
    name: &TopicName,
    bytes: usize,
    now_us: u64,
) -> Result<(), Unpublished> {
    let rule: &TopicRule = broker.rules.rule_for(name);
    if bytes > rule.entry_bytes_max {
        return Err(Unpublished::TooLong { max: rule.entry_bytes_max });
    }
    let address = peer.address.map(|address| address.ip());
    let topic = rule.publish_rate.map(|limit| (name, limit));
    broker.users.publish(grant, address, topic, now_us).map_err(Unpublished::Denied)
}
