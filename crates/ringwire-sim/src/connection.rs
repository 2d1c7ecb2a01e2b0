//! A connection between a peer and a shard: two pipes and the state of both ends.

use std::net::SocketAddr;

use fastrand::Rng;

use crate::pipe::Pipe;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    /// A [peer](crate::Peer).
    Client,
    /// A descriptor of a shard's driver.
    Server,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }
}

#[derive(Debug)]
pub(crate) struct End {
    /// Nobody holds this end any more.
    pub(crate) closed: bool,
    /// A reset has reached it.
    pub(crate) broken: bool,
    /// Told once, to whoever asks first.
    pub(crate) error: Option<i32>,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) up: Pipe,
    pub(crate) down: Pipe,
    pub(crate) client: End,
    pub(crate) server: End,
    pub(crate) peer: usize,
    pub(crate) descriptor: Option<(usize, u32)>,
    pub(crate) address: SocketAddr,
    /// Where the client is. Several may share an IP address.
    pub(crate) from: SocketAddr,
    pub(crate) latency: u64,
    pub(crate) segment_max: usize,
    /// Whether the network itself has reset it.
    pub(crate) killed: bool,
}

impl Connection {
    /// A connection whose buffers, latency and segments come from the seed.
    pub(crate) fn seeded(peer: usize, address: SocketAddr, rng: &mut Rng) -> Self {
        let mut buffer = || 1 << rng.u32(6..=14);
        let (up, down) = (Pipe::new(buffer(), buffer()), Pipe::new(buffer(), buffer()));
        let latency = 1 << rng.u32(8..=24);
        let segment_max = [1, 7, 100, 1460, 1460, 1460, 65_536, 65_536][rng.usize(0..8)];
        let from = client_address(rng);
        let end = || End { closed: false, broken: false, error: None };
        Self {
            up,
            down,
            client: end(),
            server: end(),
            peer,
            descriptor: None,
            address,
            from,
            latency,
            segment_max,
            killed: false,
        }
    }

    pub(crate) fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    pub(crate) fn incoming(&mut self, side: Side) -> &mut Pipe {
        match side {
            Side::Client => &mut self.down,
            Side::Server => &mut self.up,
        }
    }

    pub(crate) fn outgoing(&mut self, side: Side) -> &mut Pipe {
        self.incoming(side.other())
    }
}

fn client_address(rng: &mut Rng) -> SocketAddr {
    let (host, port) = (rng.u8(1..4), rng.u16(1024..));
    if rng.bool() {
        SocketAddr::from(([10, 0, 0, host], port))
    } else {
        SocketAddr::from(([0x2001, 0xdb8, 0, u16::from(host), 0, 0, 0, 1], port))
    }
}
