//! A raw TCP echo on the simulated driver, over many seeds: whatever the faults, each client gets its bytes back, once
//! and in order, and nothing is left afterwards. This is the driver's own proof, below WebSocket.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use ringwire_ring::{Completion, Data, Driver, Event, ListenOptions, Listener, Op, OpToken, Socket, Wait};
use ringwire_sim::{Faults, KernelOptions, Peer, Read, SimDriver, Wire, World};

const SEEDS: u64 = 100;

/// Writes random bytes in random pieces, reads them back, and finishes.
struct Client {
    address: SocketAddr,
    all: Vec<u8>,
    written: usize,
    read: Vec<u8>,
    finished: bool,
    done: bool,
}

impl Peer for Client {
    fn act(&mut self, wire: &mut Wire<'_>) {
        if !wire.is_connected() {
            wire.connect(self.address);
        }
        if self.written < self.all.len() {
            let piece = wire.rng().usize(1..=self.all.len() - self.written);
            self.written += wire.write(&self.all[self.written..self.written + piece]);
        } else if !self.finished {
            self.finished = true;
            wire.finish();
        }
        let most = wire.rng().usize(1..3000);
        match wire.read(&mut self.read, most) {
            Read::Bytes(_) => wire.wake_after(Duration::from_micros(1)),
            Read::Nothing => wire.wake_after(Duration::from_millis(50)),
            Read::End => {
                assert!(self.finished && self.read == self.all, "all bytes came back");
                wire.close();
                self.done = true;
            }
            // An accept that fails loses its connection; a full descriptor table as well.
            Read::Reset { .. } | Read::Refused => {
                wire.close();
                self.done = true;
            }
        }
        assert!(self.all.starts_with(&self.read), "bytes come back in order");
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn describe(&self) -> String {
        format!("{} of {} bytes written, {} read back", self.written, self.all.len(), self.read.len())
    }
}

#[derive(Default)]
struct Echoed {
    waiting: Vec<u8>,
    receive: Option<OpToken>,
    receive_again: bool,
    busy: bool,
    transmit: bool,
    ended: bool,
    closing: bool,
}

struct Server {
    driver: SimDriver,
    listener: Listener,
    accept: Option<OpToken>,
    sockets: BTreeMap<u32, Echoed>,
    shorts: usize,
    no_buffers: usize,
}

impl Server {
    fn turn(&mut self) {
        if self.accept.is_none() {
            self.accept = Some(self.driver.submit(Op::Accept(self.listener), 0).expect("room"));
        }
        let ends = |echoed: &Echoed| echoed.ended && !echoed.busy && echoed.receive.is_none() && !echoed.closing;
        // A transmission that went out whole has no completion to wait for: what comes after it needs a turn.
        let wait = if self.sockets.values().any(ends) { Wait::No } else { Wait::Forever };
        self.driver.enter(wait).expect("enter");
        while let Some(completion) = self.driver.complete() {
            self.on(completion);
        }
        for (&index, echoed) in &mut self.sockets {
            let socket = Socket(index);
            if std::mem::take(&mut echoed.receive_again) {
                echoed.receive = Some(self.driver.submit(Op::Receive(socket), index).expect("room"));
            }
            if std::mem::take(&mut echoed.transmit) {
                let bytes = std::mem::take(&mut echoed.waiting);
                let op = Op::Transmit(socket, Data::Owned { bytes, start: 0 });
                self.driver.submit(op, index).expect("room");
            } else if ends(echoed) {
                echoed.closing = true;
                self.driver.submit(Op::Close(socket), index).expect("room");
            }
        }
    }

    fn on(&mut self, completion: Completion) {
        let (index, more) = (completion.context, completion.more);
        let socket = Socket(index);
        if let Event::Accepted(result) = completion.event {
            if !more {
                self.accept = None;
            }
            if let Ok(Socket(index)) = result {
                let fresh = Echoed { receive_again: true, ..Echoed::default() };
                assert!(self.sockets.insert(index, fresh).is_none(), "a descriptor is given once");
            }
            return;
        }
        if let Event::Woken = completion.event {
            return;
        }
        let echoed = self.sockets.get_mut(&index).expect("a socket");
        if echoed.receive == Some(completion.token) && !more {
            echoed.receive = None;
        }
        match completion.event {
            Event::Received(mut lease) => {
                echoed.receive_again = !more;
                echoed.waiting.extend_from_slice(lease.bytes());
                echoed.transmit = !echoed.busy;
                self.driver.release(lease);
            }
            Event::NoBuffers => {
                self.no_buffers += 1;
                echoed.receive_again = true;
            }
            Event::EndOfStream | Event::ReceiveFailed(_) => echoed.ended = true,
            Event::Short { data: Data::Owned { bytes, .. }, sent, error: None } => {
                self.shorts += 1;
                echoed.busy = true;
                echoed.transmit = false;
                let op = Op::Send(socket, Data::Owned { bytes, start: sent });
                self.driver.submit(op, index).expect("room");
            }
            Event::Short { .. } => echoed.ended = true,
            Event::Sent(_, result) => {
                echoed.busy = false;
                echoed.ended |= result.is_err();
                echoed.transmit = !echoed.waiting.is_empty();
            }
            Event::Closed => {
                self.sockets.remove(&index);
            }
            event => panic!("not expected: {event:?}"),
        }
    }
}

/// Runs a seed and returns the hash of its trace, with how often sends were short and buffers missing.
fn run(seed: u64) -> (u64, usize, usize) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let world = World::new(rng.u64(..), Faults::seeded(&mut rng), false);
    let options = KernelOptions {
        sockets_max: rng.u32(2..8),
        operations_max: 64,
        receive_buffers: rng.u16(1..6),
        receive_buffer_bytes: rng.usize(1..500),
    };
    let mut driver = world.driver(&options);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (listener, address) = driver
        .listen(&ListenOptions {
            address,
            backlog: 8,
            notsent_lowat_bytes: None,
            user_timeout: None,
            congestion_control: None,
        })
        .expect("listen");
    for _ in 0..rng.usize(1..8) {
        let len = rng.usize(0..5000);
        let all = std::iter::repeat_with(|| rng.u8(..)).take(len).collect();
        let client = Client { address, all, written: 0, read: Vec::new(), finished: false, done: false };
        world.add_peer(Box::new(client), Duration::from_micros(rng.u64(0..10_000)));
    }
    let mut server = Server { driver, listener, accept: None, sockets: BTreeMap::new(), shorts: 0, no_buffers: 0 };
    while !(world.is_finished() && server.sockets.is_empty()) {
        server.turn();
    }
    if let Some(accept) = server.accept {
        server.driver.submit(Op::Cancel(accept), 0).expect("room");
    }
    while server.driver.in_flight() > 0 {
        server.driver.enter(Wait::Forever).expect("enter");
        while server.driver.complete().is_some() {}
    }
    server.driver.close_listener(listener);
    world.assert_nothing_left(0);
    (world.trace().0, server.shorts, server.no_buffers)
}

#[test]
fn every_byte_comes_back_in_order_under_all_faults() {
    let (mut shorts, mut no_buffers) = (0, 0);
    for seed in 0..SEEDS {
        let (_, short, none) = run(seed);
        shorts += short;
        no_buffers += none;
    }
    assert!(shorts > 500 && no_buffers > 50, "faults happen: {shorts} short sends, {no_buffers} times no buffer");
}

#[test]
fn a_seed_repeats_exactly_and_seeds_differ() {
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
    assert_ne!(run(1).0, run(2).0);
}
