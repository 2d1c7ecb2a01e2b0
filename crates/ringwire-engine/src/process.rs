//! What the shards of a process share, so that limits can hold for all of them together: a few counters.
//!
//! A shard touches a counter when a connection comes or goes, and once a turn if its memory has changed. Nothing here
//! waits, but for the lock around the addresses, which is taken only where connections per address are limited, once
//! when a connection comes and once when it goes.
//!
//! What this module must never do: be touched per message.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// Counters of a process.
#[derive(Debug)]
pub struct Process {
    connections: AtomicU32,
    /// Bytes that all shards' connections hold, as last said.
    memory_bytes: AtomicUsize,
    shards: Box<[Share]>,
    addresses: Mutex<Addresses>,
}

/// One shard's part. On a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Share {
    memory_bytes: AtomicUsize,
    /// Somebody has asked it to let a connection go, and it has not looked yet.
    asked: AtomicBool,
}

/// A connection's place among those of its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(NonZeroU32);

impl Process {
    /// For a process of so many shards.
    pub fn new(shards: usize) -> Self {
        Self {
            connections: AtomicU32::new(0),
            memory_bytes: AtomicUsize::new(0),
            shards: (0..shards).map(|_| Share::default()).collect(),
            addresses: Mutex::default(),
        }
    }

    /// Connections that were admitted and have not ended.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Bytes that connections hold, as the shards have last said.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// Counts one connection more, unless that would be more than `most`.
    pub(crate) fn connect(&self, most: u32) -> bool {
        let counted = self.connections.fetch_add(1, Ordering::Relaxed) < most;
        if !counted {
            self.disconnect();
        }
        counted
    }

    /// A connection that was counted has ended.
    pub(crate) fn disconnect(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Says how much the connections of a shard hold now.
    pub(crate) fn publish(&self, shard: usize, bytes: usize) {
        let before = self.shards[shard].memory_bytes.swap(bytes, Ordering::Relaxed);
        // Wraps where the sum of differences is negative for a moment; the sum of all is right.
        self.memory_bytes.fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
    }

    /// The shard whose connections hold most.
    pub(crate) fn fattest(&self) -> usize {
        let bytes = |shard: &usize| self.shards[*shard].memory_bytes.load(Ordering::Relaxed);
        (0..self.shards.len()).max_by_key(bytes).unwrap_or(0)
    }

    /// Asks a shard to look at its memory, unless it has been asked and has not looked yet. `post` puts that into its
    /// mailbox; what it cannot, has not been asked. `true`: the shard is to be woken.
    pub(crate) fn ask<E>(&self, shard: usize, post: impl FnOnce() -> Result<bool, E>) -> bool {
        if self.shards[shard].asked.swap(true, Ordering::Relaxed) {
            return false;
        }
        post().unwrap_or_else(|_| {
            self.looks(shard);
            false
        })
    }

    /// The shard looks now.
    pub(crate) fn looks(&self, shard: usize) {
        self.shards[shard].asked.store(false, Ordering::Relaxed);
    }

    /// Counts one connection more of this address, unless that would be more than `most`.
    pub(crate) fn enter(&self, address: IpAddr, most: u32) -> Option<Ticket> {
        self.addresses.lock().expect("no holder of this lock panics").enter(Key::of(address), most)
    }

    /// A connection with a ticket has ended.
    pub(crate) fn leave(&self, ticket: Ticket) {
        self.addresses.lock().expect("no holder of this lock panics").leave(ticket);
    }
}

/// Whose connections count together: of IPv6 all of a network of 64 bits, which is what one customer gets at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    V4(u32),
    V6(u64),
}

impl Key {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Key::V4(address.to_bits()),
            IpAddr::V6(address) => Key::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// How many connections each address has. Only those that have any are here.
#[derive(Debug, Default)]
struct Addresses {
    by_key: HashMap<Key, u32>,
    entries: Vec<(Key, u32)>,
    free: Vec<u32>,
}

impl Addresses {
    fn enter(&mut self, key: Key, most: u32) -> Option<Ticket> {
        let index = match self.by_key.get(&key) {
            Some(&index) => index,
            None if most == 0 => return None,
            None => self.insert(key),
        };
        let count = &mut self.entries[index as usize].1;
        if *count >= most {
            return None;
        }
        *count += 1;
        NonZeroU32::new(index + 1).map(Ticket)
    }

    fn insert(&mut self, key: Key) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push((key, 0));
            u32::try_from(self.entries.len() - 1).expect("fewer addresses than connections")
        });
        self.entries[index as usize] = (key, 0);
        self.by_key.insert(key, index);
        index
    }

    fn leave(&mut self, Ticket(number): Ticket) {
        let index = number.get() - 1;
        let (key, count) = &mut self.entries[index as usize];
        *count = count.checked_sub(1).expect("each ticket is given back once");
        if *count == 0 {
            self.by_key.remove(key);
            self.free.push(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_has_as_many_connections_as_it_may() {
        let process = Process::new(2);
        let tickets: Vec<_> = (0..3).map(|_| process.enter(ip("192.0.2.1"), 3).expect("room")).collect();
        assert_eq!(process.enter(ip("192.0.2.1"), 3), None);
        assert_eq!(process.enter(ip("::ffff:192.0.2.1"), 3), None, "the same in IPv6's form");
        assert!(process.enter(ip("192.0.2.2"), 3).is_some());
        process.leave(tickets[0]);
        assert!(process.enter(ip("192.0.2.1"), 3).is_some());
    }

    #[test]
    fn ipv6_addresses_count_by_their_network_of_64_bits() {
        let process = Process::new(1);
        assert!(process.enter(ip("2001:db8::1"), 1).is_some());
        assert_eq!(process.enter(ip("2001:db8::ffff:0:0:2"), 1), None);
        assert!(process.enter(ip("2001:db8:0:1::1"), 1).is_some());
    }

    #[test]
    fn addresses_without_connections_take_no_room() {
        let process = Process::new(1);
        for host in 0..1000u32 {
            let ticket = process.enter(IpAddr::from(host.to_be_bytes()), 1).expect("room");
            process.leave(ticket);
        }
        let addresses = process.addresses.lock().unwrap();
        assert_eq!((addresses.by_key.len(), addresses.entries.len()), (0, 1));
    }

    #[test]
    fn connections_of_all_shards_count_together() {
        let process = Process::new(2);
        assert!(process.connect(2) && process.connect(2));
        assert!(!process.connect(2));
        process.disconnect();
        assert!(process.connect(2));
        assert_eq!(process.connections(), 2);
    }

    #[test]
    fn the_shard_that_holds_most_is_known_and_asked_once() {
        let process = Process::new(3);
        for (shard, bytes) in [(0, 10), (1, 500), (2, 20), (1, 100), (0, 5)] {
            process.publish(shard, bytes);
        }
        assert_eq!((process.memory_bytes(), process.fattest()), (125, 1));
        let posted = || Ok::<_, ()>(true);
        assert!(process.ask(1, posted));
        assert!(!process.ask(1, || -> Result<bool, ()> { panic!("it has been asked") }));
        process.looks(1);
        assert!(process.ask(1, posted));
    }

    #[test]
    fn a_shard_whose_mailbox_is_full_is_asked_again() {
        let process = Process::new(1);
        assert!(!process.ask(0, || Err("full")));
        assert!(process.ask(0, || Ok::<_, ()>(true)));
    }
}
