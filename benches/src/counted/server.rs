//! The whole server on one shard, in memory: turns of the engine with the server's own handler.
//!
//! What arrives is put into receive buffers outside of what is counted; a turn reads it, answers it, and transmits.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use ringwire_codec::handshake::{ClientHandshake, Policy, Url};
use ringwire_codec::http::Response;
use ringwire_codec::{MaskKey, Opcode, encode_frame};
use ringwire_engine::{EngineOptions, Limits, Mailbox, Process, Shard, ShardInfo};
use ringwire_hub::ShardId;
use ringwire_ring::Socket;
use ringwire_server::auth::Access;
use ringwire_server::broker::Broker;
use ringwire_server::config::Config;
use ringwire_server::options::Options;
use ringwire_server::service::{JSON_SUBPROTOCOL, Service};

use super::memory::{Memory, Wires};
use super::work_to_count;

/// A server with the defaults of `ringwire serve`.
struct Server {
    shard: Shard<Memory, Service>,
    wires: Wires,
}

impl Server {
    fn start() -> Self {
        let config = Config::parse("").expect("no setting is a good one");
        let options = Options::check(&config, NonZeroUsize::MIN).expect("the defaults are good");
        let mut engine: EngineOptions = options.engine.clone();
        engine.listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 9001)).into()];
        let mut broker = Broker::new(Access::local(), NonZeroUsize::MIN, 7);
        broker.rules = options.topics.clone();
        let slots = engine.limits.connections_max + Limits::REFUSALS;
        let service = Service::new(Arc::new(broker), ShardId::new(0), slots, options.native, &Policy::default());
        let (driver, wires) = Memory::new();
        let (engine, process) = (Arc::new(engine), Arc::new(Process::new(1)));
        let mailboxes = [Mailbox::new(4)].into_iter().collect();
        let wakers = [OnceLock::new()].into_iter().collect();
        let info = ShardInfo { shard: 0, shards: 1 };
        let mut shard = Shard::new(driver, service, info, engine, mailboxes, wakers, process);
        shard.listen().expect("an address in memory");
        Self { shard, wires }
    }

    /// A turn, in which this much time has passed since the one before.
    fn turn(&mut self) {
        self.wires.pass(10);
        self.shard.turn().expect("memory does not fail");
    }

    fn counted_turn(&mut self) {
        self.wires.pass(10);
        let shard = &mut self.shard;
        work_to_count(&mut || _ = shard.turn().expect("memory does not fail"));
    }

    /// So many WebSockets at `path`, open.
    fn open(&mut self, path: &str, subprotocol: &[&str], count: usize) -> Vec<Socket> {
        let request = request(path, subprotocol);
        let sockets: Vec<Socket> = (0..count).map(|_| self.wires.connect()).collect();
        self.turn();
        for &socket in &sockets {
            self.wires.arrive(socket, &request);
            self.wires.listen();
            self.turn();
            let answer = self.wires.heard();
            let (response, _) = Response::parse(&answer).expect("an answer").expect("a whole one");
            assert_eq!(response.status(), 101, "{path}");
        }
        sockets
    }
}

fn request(path: &str, subprotocols: &[&str]) -> Vec<u8> {
    let url = Url::parse(&format!("ws://127.0.0.1:9001{path}")).expect("a URL");
    ClientHandshake { subprotocols, ..ClientHandshake::new(&url, [7; 16]) }.request()
}

fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(&mut frame, opcode, payload, Some(MaskKey::new([0x12, 0x34, 0x56, 0x78])));
    frame
}

/// Turns in which each of 100 connections has one message.
pub(super) fn echo_64() -> u64 {
    echo(64, 100, 1)
}

/// Turns in which each of 10 connections has sixteen messages in one buffer.
pub(super) fn echo_64_depth_16() -> u64 {
    echo(64, 10, 16)
}

/// Turns in which each of 10 connections has one long message.
pub(super) fn echo_16384() -> u64 {
    echo(16 * 1024, 10, 1)
}

fn echo(bytes: usize, connections: usize, depth: usize) -> u64 {
    const TURNS: u64 = 50;
    let mut server = Server::start();
    let sockets = server.open("/echo", &[], connections);
    let input = frame(Opcode::Binary, &vec![b'x'; bytes]).repeat(depth);
    for turn in 0..TURNS + 2 {
        for &socket in &sockets {
            server.wires.arrive(socket, &input);
        }
        let before = server.wires.sent();
        // Both arenas have grown to what they need.
        if turn < 2 {
            server.turn()
        } else {
            server.counted_turn()
        }
        let after = server.wires.sent();
        assert_eq!(after.0 - before.0, connections as u64, "one transmission each");
        let header = if bytes < 126 { 2 } else { 4 };
        assert_eq!(after.1 - before.1, (connections * depth * (header + bytes)) as u64);
    }
    TURNS * (connections * depth) as u64
}

/// A publish of 128 bytes from a connection to 1,000 others, at rest. It takes as many turns as its last subscriber waits.
pub(super) fn fanout_1000() -> u64 {
    fanout(1)
}

/// The same, 64 publishes in one turn.
pub(super) fn fanout_1000_window_64() -> u64 {
    fanout(64)
}

fn fanout(window: usize) -> u64 {
    const SUBSCRIBERS: usize = 1_000;
    const TURNS: u64 = 20;
    let mut server = Server::start();
    let publisher = server.open("/pub/book", &[], 1)[0];
    server.open("/ws/book", &[], SUBSCRIBERS);
    let input = frame(Opcode::Binary, &[b'x'; 128]).repeat(window);
    // The log lets go as much as it takes in.
    for turn in 0..TURNS + 2 {
        server.wires.arrive(publisher, &input);
        let before = server.wires.sent();
        let due = before.1 + (SUBSCRIBERS * window * (4 + 128)) as u64;
        let mut turns = 0;
        while server.wires.sent().1 < due {
            if turn < 2 {
                server.turn()
            } else {
                server.counted_turn()
            }
            turns += 1;
            assert!(turns <= SUBSCRIBERS, "each turn serves somebody");
        }
        let after = server.wires.sent();
        assert_eq!(after.1, due);
        assert!(after.0 - before.0 <= SUBSCRIBERS as u64 + 1, "at most one transmission each");
    }
    TURNS * (SUBSCRIBERS * window) as u64
}

/// A publish in the native protocol's JSON, and its answer.
pub(super) fn publish_json() -> u64 {
    const PUBLISHES: u64 = 1_000;
    let mut server = Server::start();
    let client = server.open("/connect", &[JSON_SUBPROTOCOL], 1)[0];
    let request = r#"{"id":7,"method":"publish","params":{"topic":"book","data":{"price":101.25,"size":3}}}"#;
    let input = frame(Opcode::Text, request.as_bytes());
    for publish in 0..PUBLISHES + 2 {
        server.wires.arrive(client, &input);
        server.wires.listen();
        if publish < 2 {
            server.turn()
        } else {
            server.counted_turn()
        }
        let answer = server.wires.heard();
        let words = format!("\"seq\":{}", publish + 1);
        assert!(answer.windows(words.len()).any(|window| window == words.as_bytes()), "{answer:?}");
    }
    PUBLISHES
}

/// A connection that is accepted and opens as a WebSocket, without its end.
pub(super) fn connect() -> u64 {
    const CONNECTIONS: u64 = 500;
    let mut server = Server::start();
    let request = request("/echo", &[]);
    server.open("/echo", &[], 10);
    for _ in 0..CONNECTIONS {
        let socket = server.wires.connect();
        server.counted_turn();
        server.wires.arrive(socket, &request);
        let before = server.wires.sent();
        server.counted_turn();
        assert_eq!(server.wires.sent().0 - before.0, 1, "the answer");
    }
    CONNECTIONS
}
