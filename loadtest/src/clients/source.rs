//! Source addresses on loopback.
//!
//! A port can be used once per pair of addresses, so from one source address some 28,000 connections reach one server
//! (`net.ipv4.ip_local_port_range`), those that have ended a minute ago included. On loopback all of 127.0.0.0/8 is
//! ours: after every [`PER_SOURCE`] connections of the process the next address is taken. Each is bound, the first
//! too: the kernel gives a connection without an address none of the ports that are bound at any.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Connections from one source address: fewer than there are ports, for those of earlier runs are not free at once.
pub const PER_SOURCE: usize = 12_000;
/// Addresses that are used.
const SOURCES: usize = 60_000;

/// Connections of this process that took their address here. Ports are the machine's, so threads count together.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// The address for one more connection.
pub(crate) fn next() -> Ipv4Addr {
    // Runs in quick succession begin elsewhere: the ports of the last one are not free yet.
    let first = std::process::id() as usize * 7919 % SOURCES;
    address(first + TAKEN.fetch_add(1, Ordering::Relaxed) / PER_SOURCE)
}

/// The address of 127.0.1.0/24 and the networks behind it with this number.
pub(crate) fn address(number: usize) -> Ipv4Addr {
    let number = number % SOURCES;
    Ipv4Addr::new(127, 0, 1 + (number / 250) as u8, 1 + (number % 250) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_differ_and_are_no_networks() {
        let addresses: std::collections::HashSet<Ipv4Addr> = (0..SOURCES).map(address).collect();
        assert_eq!(addresses.len(), SOURCES);
        assert!(addresses.iter().all(|address| matches!(address.octets(), [127, 0, 1..=240, 1..=250])));
        assert_eq!(address(SOURCES), Ipv4Addr::new(127, 0, 1, 1));
    }

    #[test]
    fn an_address_serves_so_many_connections() {
        let first = next();
        let taken = (0..PER_SOURCE).map(|_| next()).filter(|address| *address == first).count();
        assert!(taken < PER_SOURCE, "the next address is taken");
    }
}
