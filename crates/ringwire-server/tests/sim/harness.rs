//! A run: a world from a seed, shards of the server in it, clients, and a drain behind them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fastrand::Rng;
use ringwire_codec::handshake::Policy;
use ringwire_engine::{EngineOptions, Limits, Mailbox, Mailboxes, Post, Process, Shard, ShardInfo, Status};
use ringwire_hub::ShardId;
use ringwire_ring::{Driver, Waker};
use ringwire_server::auth::Access;
use ringwire_server::broker::{Broker, Mail};
use ringwire_server::config::Config;
use ringwire_server::options::Options;
use ringwire_server::service::Service;
use ringwire_sim::{Faults, KernelOptions, Peer, SimDriver, SimWaker, Wire, World};

use crate::oracle::Oracle;
use crate::publisher::Publisher;
use crate::subscriber::Subscriber;

const TOPICS: [&str; 4] = ["book.a", "book.b", "chat.a", "chat.b.c"];
/// How often the control plane looks.
const CONTROL_PERIOD: Duration = Duration::from_millis(50);
/// A run is over long before.
const PATIENCE: Duration = Duration::from_secs(100_000);

/// Hash of the run's trace, and how often what happened.
pub(crate) type Outcome = (u64, BTreeMap<&'static str, u64>);

/// Plays the run of a seed. With `print`, every event becomes a line on stderr.
pub(crate) fn run(seed: u64, print: bool) -> Outcome {
    let mut rng = Rng::with_seed(seed);
    let mut faults = Faults::seeded(&mut rng);
    // Resets are rare events here, or nobody would get far.
    faults.network_reset = faults.network_reset.min(1);
    let world = World::new(rng.u64(..), faults, print);
    let shards = rng.usize(1..4);
    let oracle = Oracle::default();
    let options = options(&mut rng);
    let address = options.engine.listen[0].address;
    for name in 0..rng.usize(1..4) {
        let publisher = Publisher::new(name, address, &TOPICS, oracle.clone(), &mut rng);
        world.add_peer(Box::new(publisher), Duration::from_nanos(1 << rng.u32(0..30)));
    }
    for _ in 0..rng.usize(1..6) {
        let subscriber = Subscriber::new(address, &TOPICS, oracle.clone(), &mut rng);
        world.add_peer(Box::new(subscriber), Duration::from_nanos(1 << rng.u32(0..30)));
    }
    play(&world, shards, options, &oracle, &mut rng);
    let known = oracle.lock();
    known.assert_whole();
    (world.trace().0, known.counts.clone())
}

/// Topics of both kinds, that keep little, so that slow subscribers come to feel it.
fn options(rng: &mut Rng) -> Options {
    let slow = ["drop", "latest", "disconnect"];
    let mut rule = |name: &str, kind: &str| {
        let (entries, slow) = (1 << rng.u32(2..9), slow[rng.usize(0..3)]);
        let tick = if rng.u32(0..5) == 0 { "tick_hz = 10\n" } else { "" };
        format!(
            "[[topics]]\nmatch = \"{name}.>\"\nkind = \"{kind}\"\nretention.entries = {entries}\nslow = \"{slow}\"\n{tick}"
        )
    };
    let text = rule("book", "keyed") + &rule("chat", "plain");
    let config = Config::parse(&text).expect("it is TOML");
    let mut options = Options::check(&config, NonZeroUsize::MIN).unwrap_or_else(|faults| panic!("{faults}"));
    options.engine.listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)).into()];
    options.native.heartbeat = Duration::from_millis(rng.u64(20..2000));
    options.engine.limits.pull_bytes_max = 1 << rng.u32(7..16);
    options.engine.limits.backlog_high_bytes = 1 << rng.u32(10..16);
    options.engine.turn_bytes_max = 1 << rng.u32(8..20);
    options
}

fn play(world: &World, shards: usize, options: Options, oracle: &Oracle, rng: &mut Rng) {
    let mailboxes: Mailboxes<Mail> = (0..shards).map(|_| Mailbox::new(4)).collect();
    let broker = broker(&options, NonZeroUsize::new(shards).expect("there is one"));
    let control =
        Control { broker: Arc::clone(&broker), mailboxes: Arc::clone(&mailboxes), oracle: oracle.clone(), done: false };
    world.add_peer(Box::new(control), CONTROL_PERIOD);
    let posts = Arc::clone(&mailboxes);
    broker.announcer.attach(move |shard, mail| {
        posts[shard.index()].post(Post::Mail(mail)).map_err(|refused| match refused {
            Post::Mail(mail) => mail,
            _ => unreachable!("what comes back is what was put in"),
        })
    });
    let kernel = KernelOptions {
        sockets_max: 100,
        operations_max: 300,
        receive_buffers: 1 << rng.u32(1..5),
        receive_buffer_bytes: 1 << rng.u32(6..13),
    };
    let engine = Arc::new(options.engine.clone());
    let wakers: Arc<[OnceLock<SimWaker>]> = (0..shards).map(|_| OnceLock::new()).collect();
    let process = Arc::new(Process::new(shards));
    let begin = |driver: SimDriver, nth: usize| {
        driver.start();
        let service = service(&broker, nth, &engine, &options);
        let (mailboxes, wakers, process) = (Arc::clone(&mailboxes), Arc::clone(&wakers), Arc::clone(&process));
        let info = ShardInfo { shard: nth, shards };
        let mut shard = Shard::new(driver, service, info, Arc::clone(&engine), mailboxes, wakers, process);
        shard.listen().expect("listen");
        while shard.turn().expect("the simulated enter does not fail") == Status::Running {}
        assert_eq!((shard.connections(), shard.memory_bytes()), (0, 0), "connections or memory left");
    };
    let drivers: Vec<_> = (0..shards).map(|nth| (nth, world.driver(&kernel))).collect();
    for (nth, driver) in &drivers {
        let waker = driver.waker();
        mailboxes[*nth].set_wake(move || waker.wake());
    }
    std::thread::scope(|scope| {
        for (nth, driver) in drivers {
            let begin = &begin;
            scope.spawn(move || begin(driver, nth));
        }
    });
    world.pass(PATIENCE);
    assert!(world.is_finished(), "somebody waits for ever: {:#?}", world.unfinished());
    (0..shards).for_each(|nth| world.assert_nothing_left(nth));
    assert_eq!(broker.subscriptions(), 0, "subscriptions left");
}

fn broker(options: &Options, shards: NonZeroUsize) -> Arc<Broker> {
    let mut broker = Broker::new(Access::local(), shards, 7);
    broker.rules = options.topics.clone();
    Arc::new(broker)
}

fn service(broker: &Arc<Broker>, nth: usize, engine: &EngineOptions, options: &Options) -> Service {
    let shard = ShardId::new(u8::try_from(nth).expect("few shards"));
    let slots = engine.limits.connections_max + Limits::REFUSALS;
    Service::new(Arc::clone(broker), shard, slots, options.native, &Policy::default())
}

/// The control plane's part: it posts again what mailboxes refused, and ends the server once everybody has got
/// everything.
struct Control {
    broker: Arc<Broker>,
    mailboxes: Mailboxes<Mail>,
    oracle: Oracle,
    done: bool,
}

impl Peer for Control {
    fn act(&mut self, wire: &mut Wire<'_>) {
        self.broker.announcer.retry();
        let known = self.oracle.lock();
        if known.publishing + known.subscribing > 0 {
            return wire.wake_after(CONTROL_PERIOD);
        }
        self.mailboxes.iter().for_each(|mailbox| mailbox.force(Post::Drain(Duration::from_secs(10))));
        self.done = true;
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn describe(&self) -> String {
        "the control plane".to_owned()
    }
}
