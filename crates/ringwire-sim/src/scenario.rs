//! Whole runs: a shard of the engine, a handler, clients, and what must hold afterwards.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fastrand::Rng;
use ringwire_codec::DecoderLimits;
use ringwire_engine::tls::Transport;
use ringwire_engine::{
    EngineOptions, Handler, Limits, ListenerOptions, Mailbox, Mailboxes, Post, Process, ProxyHeader, Shard, ShardInfo,
    Status, Timeouts,
};
use ringwire_ring::{Driver, Waker};

use crate::client::{HttpClient, Log, Rules, Script, Subscription, WebSocketClient};
use crate::driver::{SimDriver, SimWaker};
use crate::echo::Echo;
use crate::fanout::Fanout;
use crate::faults::Faults;
use crate::kernel::KernelOptions;
use crate::peer::{Peer, Wire};
use crate::secure;
use crate::world::World;

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Hash of everything that happened: the same for the same seed.
    pub trace: u64,
    /// How many events that were.
    pub events: u64,
    /// How often what happened, by what clients and handlers call it.
    pub counts: BTreeMap<&'static str, u64>,
}

/// Which handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Messages come back to their senders; HTTP requests are answered; wrong clients are told so.
    Echo,
    /// A log is pulled by all connections.
    Fanout,
    /// The same on two or three shards, with notes through their mailboxes.
    Shards,
    /// [`Echo`](Self::Echo) inside TLS.
    SecureEcho,
    /// [`Fanout`](Self::Fanout) inside TLS.
    SecureFanout,
}

impl Scenario {
    fn is_secure(self) -> bool {
        matches!(self, Scenario::SecureEcho | Scenario::SecureFanout)
    }
}

/// Runs a scenario. With `print`, every event becomes a line on stderr.
///
/// # Panics
/// If a promise of the engine is broken.
pub fn run(scenario: Scenario, seed: u64, print: bool) -> Outcome {
    let mut rng = Rng::with_seed(seed);
    let faults = Faults::seeded(&mut rng);
    let knows_peers = !faults.knows_no_peers;
    let world = World::new(rng.u64(..), faults, print);
    let log = Log::default();
    let mut options = options(&mut rng);
    log.set_rules(rules(&mut options, knows_peers && !scenario.is_secure(), &mut rng));
    if scenario.is_secure() {
        options.listen[0].transport = Transport::Tls(secure::acceptor());
    }
    let end = rng.u64(1..60);
    if !matches!(scenario, Scenario::Echo | Scenario::SecureEcho) {
        // Publishing must not be cut short for its effects to be checked.
        options.limits.memory_bytes_max = usize::MAX;
    }
    let too_big = options.limits.message.message_bytes_max + 1;
    let stage = Stage::new(world, log.clone(), options, &mut rng);
    match scenario {
        Scenario::Echo | Scenario::SecureEcho => {
            let handler = |rng| Echo::new(log.clone(), rng);
            let client = |address, rng: &mut Rng| -> Box<dyn Peer + Send> {
                if rng.u32(0..4) == 0 {
                    return Box::new(HttpClient::new(address, log.clone(), rng));
                }
                let script = Script::seeded(rng);
                Box::new(WebSocketClient::new(address, "/echo", script, too_big, log.clone(), rng))
            };
            stage.play(1, handler, client, Echo::assert_nothing_left, &mut rng)
        }
        Scenario::Fanout | Scenario::Shards | Scenario::SecureFanout => {
            let shards = if scenario == Scenario::Shards { rng.usize(2..4) } else { 1 };
            let handler = |rng| Fanout::new(end, shards, log.clone(), rng);
            let client = |address, rng: &mut Rng| -> Box<dyn Peer + Send> {
                let script = Script::subscriber(rng);
                let client = WebSocketClient::new(address, "/", script, too_big, log.clone(), rng);
                Box::new(client.subscribed(Subscription { next: None, end }))
            };
            stage.play(shards, handler, client, Fanout::assert_nothing_left, &mut rng)
        }
    }
}

/// Small limits, so that they are reached; long deadlines, so that only those are cut who never answer.
fn options(rng: &mut Rng) -> EngineOptions {
    let message_bytes_max = 8192;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    EngineOptions {
        backlog: rng.u32(1..10),
        limits: Limits {
            connections_max: rng.u32(1..12),
            message: DecoderLimits {
                frame_bytes_max: message_bytes_max as u64,
                message_bytes_max,
                ..DecoderLimits::default()
            },
            head_bytes_max: 2048,
            body_bytes_max: 4096,
            backlog_high_bytes: 1 << rng.u32(7..16),
            backlog_bytes_max: 1 << rng.u32(8..16),
            pull_bytes_max: 1 << rng.u32(5..16),
            pulled_connections_max: rng.usize(1..6),
            memory_bytes_max: if rng.u32(0..6) == 0 { rng.usize(500..10_000) } else { usize::MAX },
            ..Limits::default()
        },
        listen: vec![ListenerOptions {
            timeouts: Timeouts {
                handshake: Duration::from_secs(100),
                keep_alive: Duration::from_secs(100),
                close: Duration::from_secs(100),
                ping: None,
                ..Timeouts::default()
            },
            ..address.into()
        }],
        turn_bytes_max: 1 << rng.u32(4..20),
        // From twice this on a message is long.
        receive_buffer_bytes: 1 << rng.u32(4..14),
        spin: [Duration::ZERO, Duration::from_micros(200)][rng.usize(0..2)],
        ..EngineOptions::default()
    }
}

/// Adds deadlines and limits that touch clients who do nothing wrong, each in some of the runs: long enough that only
/// those who wait for the end come to feel them.
fn rules(options: &mut EngineOptions, knows_peers: bool, rng: &mut Rng) -> Rules {
    let mut rules = Rules::default();
    let seldom = |rng: &mut Rng| rng.u32(0..4) == 0;
    let timeouts = &mut options.listen[0].timeouts;
    if rng.bool() {
        timeouts.ping = Some(Duration::from_secs(rng.u64(30..100)));
        timeouts.pong = Duration::from_secs(rng.u64(40..100));
    }
    if seldom(rng) {
        timeouts.idle = Some(Duration::from_secs(rng.u64(60..300)));
        rules.close_codes.push(1000);
    }
    if seldom(rng) {
        timeouts.lifetime = Some(Duration::from_secs(rng.u64(80..300)));
        rules.close_codes.push(1001);
    }
    let limits = &mut options.limits;
    limits.control_frames_per_second_max = rng.u16(25..100);
    if seldom(rng) {
        limits.process_connections_max = Some(rng.u32(1..12));
    }
    if seldom(rng) {
        limits.handshakes_max = rng.u32(1..5);
        rules.lets_handshakes_go = true;
    }
    if seldom(rng) && knows_peers {
        limits.address_connections_max = Some(rng.u32(1..4));
        rules.limits_addresses = true;
    }
    if seldom(rng) && knows_peers {
        options.listen[0].proxies = vec!["10.0.0.0/8".parse().expect("a network")];
        options.listen[0].proxy_header = ProxyHeader::Required;
        rules.trusts_proxies = true;
    }
    rules
}

/// Everything but the handler and its clients.
struct Stage {
    world: World,
    log: Log,
    options: Arc<EngineOptions>,
    kernel: KernelOptions,
}

impl Stage {
    fn new(world: World, log: Log, options: EngineOptions, rng: &mut Rng) -> Self {
        if options.limits.memory_bytes_max < usize::MAX {
            // Who is shed before it speaks WebSocket is known to no handler.
            log.excuse();
        }
        let mut sockets_max = options.limits.connections_max + Limits::REFUSALS;
        if rng.u32(0..4) == 0 {
            sockets_max = rng.u32(1..6);
            log.be_scarce();
        }
        let kernel = KernelOptions {
            sockets_max,
            // Two for each socket, an accept, and one to spare: a full driver refuses even what never completes.
            operations_max: sockets_max as usize * 2 + 2,
            receive_buffers: 1 << rng.u32(0..4),
            receive_buffer_bytes: 1 << rng.u32(4..13),
        };
        Self { world, log, options: Arc::new(options), kernel }
    }

    fn play<H: Handler>(
        self,
        shards: usize,
        handler: impl Fn(Rng) -> H + Sync,
        client: impl Fn(SocketAddr, &mut Rng) -> Box<dyn Peer + Send>,
        check: impl Fn(&H) + Sync,
        rng: &mut Rng,
    ) -> Outcome {
        let Self { world, log, options, kernel } = self;
        let address = options.listen[0].address;
        let connector = options.listen[0].transport.acceptor().map(|_| secure::connector());
        for _ in 0..rng.usize(1..10) {
            let (client, after) = (client(address, rng), Duration::from_nanos(1 << rng.u32(0..26)));
            match &connector {
                None => world.add_peer(client, after),
                Some(connector) => world.add_secure_peer(client, after, connector.clone()),
            }
        }
        let mailboxes: Mailboxes<H::Mail> = (0..shards).map(|_| Mailbox::new(MAILBOX_ENTRIES)).collect();
        let within = Duration::from_secs(rng.u64(1..200));
        let early = rng.u32(0..4) == 0;
        let drainer = Drainer { mailboxes: Arc::clone(&mailboxes), within, early, log: log.clone(), done: false };
        let after = if early { Duration::from_nanos(1 << rng.u32(10..28)) } else { Duration::from_secs(1000) };
        world.add_peer(Box::new(drainer), after);

        let wakers: Arc<[OnceLock<SimWaker>]> = (0..shards).map(|_| OnceLock::new()).collect();
        let process = Arc::new(Process::new(shards));
        let begin = |driver: SimDriver, shard: usize, rng: Rng| {
            driver.start();
            let info = ShardInfo { shard, shards };
            let (options, mailboxes) = (Arc::clone(&options), Arc::clone(&mailboxes));
            let (wakers, process) = (Arc::clone(&wakers), Arc::clone(&process));
            let mut shard = Shard::new(driver, handler(rng), info, options, mailboxes, wakers, process);
            shard.listen().expect("listen");
            turn_until_drained(&mut shard);
            assert_eq!((shard.connections(), shard.memory_bytes()), (0, 0), "connections or memory left");
            check(shard.handler());
        };
        let drivers: Vec<_> = (0..shards).map(|shard| (shard, world.driver(&kernel), rng.fork())).collect();
        for (shard, driver, _) in &drivers {
            let waker = driver.waker();
            mailboxes[*shard].set_wake(move || waker.wake());
        }
        if shards == 1 {
            drivers.into_iter().for_each(|(shard, driver, rng)| begin(driver, shard, rng));
        } else {
            std::thread::scope(|scope| {
                for (shard, driver, rng) in drivers {
                    let begin = &begin;
                    scope.spawn(move || begin(driver, shard, rng));
                }
            });
        }
        // Clients that read slowly, or not at all, are told by the network.
        world.pass(Duration::from_secs(1000));
        assert!(world.is_finished(), "shards that have drained leave no client waiting: {:?}", world.unfinished());
        (0..shards).for_each(|shard| world.assert_nothing_left(shard));
        assert_eq!((process.connections(), process.memory_bytes()), (0, 0), "counted connections or memory left");
        let (trace, events) = world.trace();
        Outcome { trace, events, counts: log.counts() }
    }
}

/// Few, so that mailboxes run full.
const MAILBOX_ENTRIES: usize = 4;

fn turn_until_drained<H: Handler>(shard: &mut Shard<SimDriver, H>) {
    while shard.turn().expect("the simulated enter does not fail") == Status::Running {}
}

/// Asks the shards to drain, as SIGTERM does.
struct Drainer<M> {
    mailboxes: Mailboxes<M>,
    within: Duration,
    /// Whether clients are still at work.
    early: bool,
    log: Log,
    done: bool,
}

impl<M: Send> Peer for Drainer<M> {
    fn act(&mut self, wire: &mut Wire<'_>) {
        wire.note("drain within # ns", &[self.within.as_nanos() as u64]);
        if self.early {
            self.log.excuse();
        } else {
            self.log.be_late();
        }
        self.mailboxes.iter().for_each(|mailbox| mailbox.force(Post::Drain(self.within)));
        self.done = true;
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn describe(&self) -> String {
        "the drain".to_owned()
    }
}
