//! What each user has: connections, and how fast they publish. A guest is known by the address that they come from.
//!
//! Bounded: who has connections is in the table, and those are bounded; who only publishes over HTTP is in it until the
//! rate would let them do what they could when they were not, which is looked at when the table is full.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringwire_hub::TopicName;

use super::{Denial, Grant, Rate};
use crate::options::{RateLimit, UserLimits};

/// How many may be in the table without a connection. Each takes some 150 bytes.
const WITHOUT_CONNECTION_MAX: usize = 65_536;

/// The users of a server; shared by its shards.
#[derive(Clone, Debug)]
pub struct Users(Arc<Table>);

#[derive(Debug)]
struct Table {
    limits: UserLimits,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_name: BTreeMap<Name, Entry>,
    /// How many have no connection.
    loose: usize,
}

/// What is limited.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    who: Who,
    /// What they publish to one topic, or all that they have.
    topic: Option<TopicName>,
}

/// Who somebody is, for limits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    User(Arc<str>),
    Address(IpAddr),
}

#[derive(Debug)]
struct Entry {
    connections: u32,
    publishes: Option<Rate>,
}

impl Users {
    /// No users yet.
    pub fn new(limits: UserLimits) -> Self {
        Self(Arc::new(Table { limits, entries: Mutex::default() }))
    }

    /// Gives whoever has this grant and comes from `address` a connection more. It is theirs until the seat is
    /// dropped.
    ///
    /// # Errors
    /// If they have all that they may have.
    pub fn seat(&self, grant: &Grant, address: Option<IpAddr>, now_us: u64) -> Result<Seat, Denial> {
        // Connections of an address have a limit of their own, the engine's.
        let max = self.0.limits.connections_max.filter(|_| grant.user.is_some());
        let is_limited = max.is_some() || self.0.limits.publishes.is_some();
        let Some(who) = who(grant, address).filter(|_| is_limited) else {
            return Ok(Seat { users: self.clone(), name: None });
        };
        let name = Name { who, topic: None };
        let mut entries = self.entries();
        let entries = &mut *entries;
        let entry = entries.by_name.entry(name.clone()).or_insert_with(|| {
            entries.loose += 1;
            Entry::new(self.0.limits.publishes, now_us)
        });
        match max {
            Some(max) if entry.connections >= max => return Err(Denial::TooManyConnections { max }),
            _ => {}
        }
        entries.loose -= usize::from(entry.connections == 0);
        entry.connections += 1;
        Ok(Seat { users: self.clone(), name: Some(name) })
    }

    /// Counts a publish of whoever has this grant and comes from `address`, without a connection that would be counted:
    /// against the user's limit, and against that of `topic` for a connection, as if all they send came by one.
    ///
    /// # Errors
    /// If they publish too fast.
    pub fn publish(
        &self,
        grant: &Grant,
        address: Option<IpAddr>,
        topic: Option<(&TopicName, RateLimit)>,
        now_us: u64,
    ) -> Result<(), Denial> {
        let Some(who) = who(grant, address) else { return Ok(()) };
        if let Some((topic, limit)) = topic {
            self.entries().take(Name { who: who.clone(), topic: Some(topic.clone()) }, limit, now_us)?;
        }
        let limit = self.0.limits.publishes;
        limit.map_or(Ok(()), |limit| self.entries().take(Name { who, topic: None }, limit, now_us))
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(publishes: Option<RateLimit>, now_us: u64) -> Self {
        Self { connections: 0, publishes: publishes.map(|limit| Rate::new(limit, now_us)) }
    }

    fn take(&mut self, now_us: u64) -> Result<(), Denial> {
        let taken = self.publishes.as_mut().map_or(Ok(()), |rate| rate.take(now_us));
        taken.map_err(|after_ms| Denial::TooFast { after_ms })
    }

    /// Whether nothing would be different if it were made anew.
    fn is_idle(&mut self, now_us: u64) -> bool {
        self.connections == 0 && self.publishes.as_mut().is_none_or(|rate| rate.is_full(now_us))
    }
}

impl Entries {
    fn take(&mut self, name: Name, limit: RateLimit, now_us: u64) -> Result<(), Denial> {
        if let Some(entry) = self.by_name.get_mut(&name) {
            return entry.take(now_us);
        }
        self.make_room(now_us)?;
        self.loose += 1;
        self.by_name.entry(name).or_insert(Entry::new(Some(limit), now_us)).take(now_us)
    }

    fn make_room(&mut self, now_us: u64) -> Result<(), Denial> {
        if self.loose < WITHOUT_CONNECTION_MAX {
            return Ok(());
        }
        self.by_name.retain(|_, entry| !entry.is_idle(now_us));
        self.loose = self.by_name.values().filter(|entry| entry.connections == 0).count();
        if self.loose < WITHOUT_CONNECTION_MAX { Ok(()) } else { Err(Denial::TooManyPublishers) }
    }
}

/// The user, or for a guest the address: of IPv6 the 64 bits that one site has.
fn who(grant: &Grant, address: Option<IpAddr>) -> Option<Who> {
    let site = |address: IpAddr| match address {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        IpAddr::V4(_) => address,
    };
    grant.user.clone().map(Who::User).or_else(|| address.map(site).map(Who::Address))
}

/// A user's connection, counted until this is dropped.
#[derive(Debug)]
pub struct Seat {
    users: Users,
    /// Nobody, if nothing is counted.
    name: Option<Name>,
}

impl Seat {
    /// Whether something is counted.
    pub fn is_counted(&self) -> bool {
        self.name.is_some()
    }

    /// Counts a publish on this connection, as [`Users::publish`] does.
    ///
    /// # Errors
    /// If the user publishes too fast.
    pub fn publish(&self, now_us: u64) -> Result<(), Denial> {
        let Some(name) = &self.name else { return Ok(()) };
        let mut entries = self.users.entries();
        entries.by_name.get_mut(name).map_or(Ok(()), |entry| entry.take(now_us))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(name) = &self.name else { return };
        let mut entries = self.users.entries();
        let entries = &mut *entries;
        let Some(entry) = entries.by_name.get_mut(name) else { return };
        entry.connections -= 1;
        if entry.connections == 0 {
            // What is left of the rate stays with the user, as long as there is room.
            entries.loose += 1;
            if entry.publishes.is_none() || entries.loose > WITHOUT_CONNECTION_MAX {
                entries.by_name.remove(name);
                entries.loose -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::PublishAccess;
    use crate::auth::{Access, ApiKey, Credentials, KeySet, sha256};
    use crate::options::AuthOptions;

    const ONE_A_SECOND: RateLimit = RateLimit { per_second: 1, burst: 1 };

    fn grant(user: Option<&str>) -> Grant {
        let key = |name: &str| ApiKey { name: name.into(), sha256: sha256(name), subscribe: vec![], publish: vec![] };
        let api_keys = ["a", "b"].map(key).to_vec();
        let access =
            Access::new(AuthOptions { api_keys, ..Default::default() }, PublishAccess::Closed, KeySet::default());
        let credentials = Credentials { token: user.map(Into::into), ..Credentials::default() };
        access.authenticate(&credentials, 0).expect("a key or a guest")
    }

    fn address(last: u8) -> Option<IpAddr> {
        Some([10, 0, 0, last].into())
    }

    #[test]
    fn a_user_has_so_many_connections_until_they_end() {
        let users = Users::new(UserLimits { connections_max: Some(2), publishes: None });
        let (a, b) = (grant(Some("a")), grant(Some("b")));
        let first = users.seat(&a, address(1), 0).expect("free");
        let _second = users.seat(&a, address(2), 0).expect("free");
        assert_eq!(users.seat(&a, address(3), 0).err(), Some(Denial::TooManyConnections { max: 2 }));
        assert!(users.seat(&b, address(1), 0).is_ok(), "of another user");
        assert!(users.seat(&grant(None), address(1), 0).is_ok_and(|seat| !seat.is_counted()), "of a guest");
        drop(first);
        assert!(users.seat(&a, address(3), 0).is_ok());
    }

    #[test]
    fn publishes_of_a_user_count_together_and_those_of_a_guest_for_the_address() {
        let users = Users::new(UserLimits { connections_max: None, publishes: Some(ONE_A_SECOND) });
        let (a, guest) = (grant(Some("a")), grant(None));
        let seat = users.seat(&a, address(1), 0).expect("free");
        assert_eq!(seat.publish(0), Ok(()));
        assert_eq!(users.publish(&a, address(2), None, 0), Err(Denial::TooFast { after_ms: 1000 }));
        assert_eq!(users.publish(&grant(Some("b")), address(1), None, 0), Ok(()));
        assert_eq!(users.publish(&guest, address(1), None, 0), Ok(()));
        assert_eq!(users.publish(&guest, address(1), None, 0), Err(Denial::TooFast { after_ms: 1000 }));
        assert_eq!(users.publish(&guest, address(2), None, 0), Ok(()));
        drop(seat);
        let seat = users.seat(&a, address(1), 0).expect("free");
        assert_eq!(seat.publish(0), Err(Denial::TooFast { after_ms: 1000 }), "connecting anew is no new start");
    }

    #[test]
    fn a_topics_limit_holds_over_http_too() {
        let users = Users::new(UserLimits::default());
        let (a, topic) = (grant(Some("a")), TopicName::new("t").unwrap());
        let other = TopicName::new("u").unwrap();
        assert_eq!(users.publish(&a, None, Some((&topic, ONE_A_SECOND)), 0), Ok(()));
        assert_eq!(users.publish(&a, None, Some((&other, ONE_A_SECOND)), 0), Ok(()));
        assert!(users.publish(&a, None, Some((&topic, ONE_A_SECOND)), 0).is_err());
        assert_eq!(users.publish(&a, None, None, 0), Ok(()));
    }

    #[test]
    fn addresses_of_one_ipv6_site_count_together() {
        let users = Users::new(UserLimits { connections_max: None, publishes: Some(ONE_A_SECOND) });
        let publish = |text: &str| users.publish(&grant(None), Some(text.parse().unwrap()), None, 0).is_ok();
        assert_eq!(["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(publish), [true, false, true]);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_who_has_waited() {
        let users = Users::new(UserLimits { connections_max: None, publishes: Some(ONE_A_SECOND) });
        let publish = |n: usize, now_us| {
            let bits = u32::try_from(n).unwrap();
            users.publish(&grant(None), Some(std::net::Ipv4Addr::from_bits(bits).into()), None, now_us)
        };
        assert!((0..WITHOUT_CONNECTION_MAX).all(|n| publish(n, 0).is_ok()));
        assert_eq!(publish(WITHOUT_CONNECTION_MAX, 0), Err(Denial::TooManyPublishers));
        assert_eq!(publish(WITHOUT_CONNECTION_MAX, 1_000_000), Ok(()));
        assert_eq!(users.entries().by_name.len(), 1);
    }
}
