//! One peer and one shard: any bytes go up in given pieces, and everything that comes back is read.
//!
//! [`converse`] is what fuzzing and tests of splits drive. The server behind it ([`Parrot`](parrot::Parrot)) answers
//! as a function of what it was asked and nothing else, so that the same bytes must bring the same answers, whatever
//! the pieces, the network's delays and the faults that lose nothing. It panics if an answer is not well-formed HTTP or
//! WebSocket, if the shard keeps anything of the connection once it is over, or if it breaks a promise to its handler.

mod parrot;
mod said;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use ringwire_codec::DecoderLimits;
use ringwire_codec::proxy::SIGNATURE;
use ringwire_engine::{
    EngineOptions, Limits, ListenerOptions, Mailbox, Mailboxes, Post, Process, ProxyHeader, Shard, ShardInfo, Status,
    Timeouts,
};
use ringwire_ring::{Driver, Instant, Waker};

use crate::driver::{SimDriver, SimWaker};
use crate::faults::Faults;
use crate::kernel::KernelOptions;
use crate::peer::{Peer, Read, Wire};
use crate::world::World;
use parrot::Parrot;
pub use said::Said;

/// Longest head of a request here.
pub const HEAD_BYTES_MAX: usize = 2048;
/// Longest body of a request here.
pub const BODY_BYTES_MAX: usize = 4096;
/// Longest frame and message here.
pub const MESSAGE_BYTES_MAX: usize = 8192;
/// Most fragments of a message here.
pub const FRAGMENTS_MAX: u32 = 100;

/// What the server had to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// In order, all of it or the front.
    pub said: Vec<Said>,
    /// Whether it is all. A reset, which is what a peer gets that writes to a server that has left, destroys what has
    /// not arrived. And a WebSocket is over as soon as its peer ends the stream without a close frame.
    pub is_whole: bool,
}

impl Reply {
    /// Panics unless both are replies to the same bytes: the same, or one the front of the other where it was cut.
    pub fn assert_agrees(&self, other: &Self) {
        let (short, long) = if self.said.len() <= other.said.len() { (self, other) } else { (other, self) };
        let same = long.said[..short.said.len()] == short.said[..];
        let complete = !short.is_whole || short.said.len() == long.said.len();
        assert!(same && complete, "the same bytes bring different answers:\n{self:#?}\n{other:#?}");
    }
}

/// Sends `pieces`, each by itself, through a network whose sizes, delays and faults come from `seed`, then the end of
/// the stream, and gives what came back.
///
/// # Panics
/// If a promise of the engine is broken.
pub fn converse(seed: u64, pieces: &[&[u8]]) -> Reply {
    let mut rng = Rng::with_seed(seed);
    let world = World::new(rng.u64(..), faults(&mut rng), false);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    let heard = Arc::new(Mutex::new(Heard::default()));
    let mut options = options(address, &pieces.concat());
    // From twice this on a message is long.
    options.receive_buffer_bytes = 1 << rng.u32(4..14);
    let pieces = pieces.iter().map(|piece| piece.to_vec()).collect();
    let speaker = Speaker {
        address,
        pieces,
        written: 0,
        is_hasty: rng.u32(0..4) == 0,
        last: world.now(),
        finished: false,
        heard: Arc::clone(&heard),
        done: false,
    };
    world.add_peer(Box::new(speaker), Duration::ZERO);

    let kernel = KernelOptions {
        sockets_max: 2,
        operations_max: 6,
        receive_buffers: 1 << rng.u32(0..4),
        receive_buffer_bytes: 1 << rng.u32(4..14),
    };
    let driver = world.driver(&kernel);
    let mailboxes: Mailboxes<()> = [Mailbox::new(1)].into();
    let waker = driver.waker();
    mailboxes[0].set_wake(move || waker.wake());
    let wakers: Arc<[OnceLock<SimWaker>]> = [OnceLock::new()].into();
    let info = ShardInfo { shard: 0, shards: 1 };
    let process = Arc::new(Process::new(1));
    let mut shard = Shard::new(driver, Parrot::new(), info, Arc::new(options), Arc::clone(&mailboxes), wakers, process);
    shard.listen().expect("listen");
    // The connection must come to its end by itself: the drain only ends the shard.
    while !world.is_finished() || shard.connections() > 0 {
        turn(&mut shard);
    }
    assert_eq!(shard.memory_bytes(), 0, "what a connection held is counted down with it");
    shard.handler().assert_nothing_left();
    mailboxes[0].force(Post::Drain(Duration::from_secs(1)));
    while turn(&mut shard) == Status::Running {}
    drop(shard);
    world.assert_nothing_left(0);

    let heard = std::mem::take(&mut *heard.lock().unwrap_or_else(PoisonError::into_inner));
    let said = said::read(&heard.bytes, heard.end);
    let is_http = matches!(said.first(), Some(Said::Response { status, .. }) if *status != 101);
    let closed = matches!(said.last(), Some(Said::Close(..)));
    let is_whole = match heard.end {
        End::Well => true,
        End::Hasty => is_http || closed,
        End::Reset => false,
    };
    Reply { said, is_whole }
}

fn turn(shard: &mut Shard<SimDriver, Parrot>) -> Status {
    shard.turn().expect("the simulated enter does not fail")
}

/// Those that lose nothing, neither bytes nor addresses.
fn faults(rng: &mut Rng) -> Faults {
    Faults { accept_error: 0, network_reset: 0, knows_no_peers: false, ..Faults::seeded(rng) }
}

/// Small limits, so that they are reached, but none of those that depend on how fast a peer is. Everyone is believed to be
/// a proxy, and one that sends headers if this peer does.
fn options(address: SocketAddr, stream: &[u8]) -> EngineOptions {
    let is_proxied = stream.starts_with(&SIGNATURE);
    let long = Duration::from_secs(1_000_000);
    EngineOptions {
        limits: Limits {
            connections_max: 1,
            message: DecoderLimits {
                frame_bytes_max: MESSAGE_BYTES_MAX as u64,
                message_bytes_max: MESSAGE_BYTES_MAX,
                fragments_max: FRAGMENTS_MAX,
            },
            head_bytes_max: HEAD_BYTES_MAX,
            body_bytes_max: BODY_BYTES_MAX,
            control_frames_per_second_max: u16::MAX,
            ..Limits::default()
        },
        listen: vec![ListenerOptions {
            proxies: ["0.0.0.0/0", "::/0"].map(|network| network.parse().expect("a network")).into(),
            proxy_header: if is_proxied { ProxyHeader::Required } else { ProxyHeader::Off },
            timeouts: Timeouts { handshake: long, keep_alive: long, close: long, ping: None, ..Timeouts::default() },
            ..address.into()
        }],
        ..EngineOptions::default()
    }
}

/// What has come back.
#[derive(Debug, Default)]
struct Heard {
    bytes: Vec<u8>,
    end: End,
}

/// How a conversation ended, as the peer sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    /// The server ended its stream, in its own time or after the peer had waited for all answers.
    #[default]
    Well,
    /// The server ended its stream, but the peer had ended its own right behind its last byte.
    Hasty,
    Reset,
}

/// Nothing in such a network takes as long.
const QUIET: Duration = Duration::from_secs(10);

/// Writes its pieces and reads everything.
struct Speaker {
    address: SocketAddr,
    pieces: Vec<Vec<u8>>,
    /// Bytes of the first piece that are on their way.
    written: usize,
    /// It ends its stream right behind the last piece, and not only when no more answers come.
    is_hasty: bool,
    /// When it last wrote or read anything.
    last: Instant,
    finished: bool,
    heard: Arc<Mutex<Heard>>,
    done: bool,
}

impl Speaker {
    fn write(&mut self, wire: &mut Wire<'_>) {
        while let Some(piece) = self.pieces.first() {
            self.written += wire.write(&piece[self.written..]);
            self.last = wire.now();
            if self.written < piece.len() {
                // Room will wake it.
                return;
            }
            self.written = 0;
            self.pieces.remove(0);
            if wire.rng().bool() {
                // Some pieces are understood before the next one leaves.
                return wire.wake_after(Duration::from_millis(100));
            }
        }
        if self.finished {
            return;
        }
        if self.is_hasty || wire.now() >= self.last + QUIET {
            self.finished = true;
            wire.finish();
        } else {
            wire.wake_after(QUIET);
        }
    }
}

impl Peer for Speaker {
    fn act(&mut self, wire: &mut Wire<'_>) {
        if !wire.is_connected() {
            wire.connect(self.address);
        }
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let end = loop {
            match wire.read(&mut heard.bytes, usize::MAX) {
                Read::Bytes(_) => self.last = wire.now(),
                end => break end,
            }
        };
        drop(heard);
        self.write(wire);
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        match end {
            Read::Nothing => return,
            // What is left of the pieces still has to go out: the server may not leave before it has seen their end.
            Read::End if !self.finished => return,
            Read::Bytes(_) | Read::End => heard.end = if self.is_hasty { End::Hasty } else { End::Well },
            Read::Reset { .. } => heard.end = End::Reset,
            Read::Refused => panic!("somebody listens"),
        }
        wire.close();
        self.done = true;
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn describe(&self) -> String {
        format!("{} pieces still to be sent", self.pieces.len())
    }
}
