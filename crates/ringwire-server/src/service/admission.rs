//! Who a connection is and what it may do, for as long as it is open.
//!
//! A [`Pass`] is kept only where something must be known later: who publishes within a limit, whose token expires, whose
//! connections are counted. Others cost 8 bytes of a table.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ringwire_codec::http::Request;
use ringwire_engine::{ConnectionId, Context, Peer, Response};
use ringwire_hub::TopicName;

use super::{Service, http};
use crate::auth::{Denial, Grant, Rate, Seat};
use crate::broker::{Broker, Mail};
use crate::lanes::PAYLOAD_BYTES_MAX;
use crate::options::TopicRule;

/// Who a connection is.
#[derive(Debug)]
pub(super) struct Pass {
    grant: Grant,
    seat: Seat,
    /// Where it comes from, for who may become another user.
    address: Option<IpAddr>,
    purpose: Purpose,
}

/// What a connection is let in for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    /// To receive, or to publish without a limit of its own.
    Any,
    /// To publish to one topic.
    Publishing(Publishing),
    /// To speak the native protocol, in which it may show another token.
    Session,
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
        self.grant.expires_us.is_none() && !self.seat.is_counted() && matches!(self.purpose, Purpose::Any)
    }

    fn may_publish(&mut self, bytes: usize, now_us: u64) -> Result<(), Unpublished> {
        if let Purpose::Publishing(publishing) = &mut self.purpose {
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
        self.expiring.extend(pass.grant.expires_us.map(|expires_us| ((expires_us, id.slot()), id)));
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

    /// A connection shows another token: from now on it is counted for that one's user, and ends when that one expires.
    /// One whose token expired meanwhile is being closed, and stays what it was.
    ///
    /// # Errors
    /// If the user has all the connections that a user may have; then nothing has changed.
    pub(super) fn renew(
        &mut self,
        cx: &mut Context<'_, Mail>,
        broker: &Broker,
        id: ConnectionId,
        grant: &Grant,
    ) -> Result<(), Denial> {
        let Some(Some((own, pass))) = self.slots.get_mut(id.slot()) else { return Ok(()) };
        if *own != id {
            return Ok(());
        }
        if pass.grant.user != grant.user {
            pass.seat = broker.users.seat(grant, pass.address, cx.wall_clock_us())?;
        }
        if let Some(expires_us) = pass.grant.expires_us {
            self.expiring.remove(&(expires_us, id.slot()));
        }
        pass.grant = grant.clone();
        self.expiring.extend(grant.expires_us.map(|expires_us| ((expires_us, id.slot()), id)));
        self.await_expiry(cx);
        Ok(())
    }

    /// Counts a publish on a connection for its user.
    ///
    /// # Errors
    /// If the user publishes too fast.
    pub(super) fn count_publish(&self, id: ConnectionId, now_us: u64) -> Result<(), Denial> {
        match self.slots.get(id.slot()) {
            Some(Some((own, pass))) if *own == id => pass.seat.publish(now_us),
            _ => Ok(()),
        }
    }

    /// Closes connections whose tokens have expired.
    pub(super) fn end_expired(&mut self, cx: &mut Context<'_, Mail>) {
        let now_us = cx.wall_clock_us();
        while let Some(entry) = self.expiring.first_entry().filter(|entry| entry.key().0 <= now_us) {
            cx.close(entry.remove(), Denial::Expired.close_code(), &Denial::Expired.to_string());
        }
        self.await_expiry(cx);
    }

    /// Asks to be called when the next token expires.
    pub(super) fn await_expiry(&self, cx: &mut Context<'_, Mail>) {
        // A clock that is set may jump meanwhile.
        const LONGEST: Duration = Duration::from_secs(60);
        if let Some((expires_us, _)) = self.expiring.keys().next() {
            let wait = Duration::from_micros(expires_us.saturating_sub(cx.wall_clock_us()));
            cx.tick_at(cx.now() + wait.min(LONGEST));
        }
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
        self.seated(grant, peer, Purpose::Any, now_us)
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
        let has_limits = rule.publish_rate.is_some() || rule.entry_bytes_max < PAYLOAD_BYTES_MAX;
        let purpose = if has_limits { Purpose::Publishing(publishing) } else { Purpose::Any };
        self.seated(grant, peer, purpose, now_us)
    }

    /// Lets in who has `grant`, to speak the native protocol.
    ///
    /// # Errors
    /// Why not, as an answer.
    pub(super) fn admit_session(&self, grant: Grant, peer: &Peer, now_us: u64) -> Result<Pass, Response> {
        self.seated(grant, peer, Purpose::Session, now_us)
    }

    fn seated(&self, grant: Grant, peer: &Peer, purpose: Purpose, now_us: u64) -> Result<Pass, Response> {
        let address = peer.address.map(|address| address.ip());
        let seat = self.broker.users.seat(&grant, address, now_us).map_err(http::denied)?;
        Ok(Pass { grant, seat, address, purpose })
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
