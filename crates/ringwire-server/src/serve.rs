//! `ringwire serve`: from checked options to a server that runs.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ringwire_codec::deflate::Deflate;
use ringwire_codec::extension::Negotiator;
use ringwire_codec::handshake::Policy;
use ringwire_engine::{Engine, Limits, ShardInfo, StartError};
use ringwire_hub::ShardId;
use ringwire_ring::linux::avoid_huge_pages;
use ringwire_ring::{Clock, Instant, wall_clock_us};

use crate::auth::{Access, KeyFiles, Users};
use crate::broker::{Broker, Mail};
use crate::config::Config;
use crate::control::{self, Feed, Work};
use crate::failure::{EXIT_NO_IO_URING, Failure};
use crate::ingest::Ingest;
use crate::journal::{self, Writer};
use crate::options::{Encryption, Options};
use crate::service::Service;
use crate::tls::Certificate;

/// How long the server waits for a port that is in use. The kernel takes a ring down, and with it the listening socket that
/// the ring accepts from, some milliseconds after the ring's process is gone: a server that was killed and is started again
/// at once meets the socket of the one before it.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(2);
/// How soon it looks again.
const ADDRESS_RETRY: Duration = Duration::from_millis(5);

/// Serves until a signal ends it.
///
/// # Errors
/// Why it could not start, or broke down.
pub fn serve(config: &Config) -> Result<(), Failure> {
    let options = Options::check(config, cores()).map_err(|faults| Failure::usage(faults.to_string()))?;
    // A saving only, so a kernel that knows no huge pages is as good.
    let _ = avoid_huge_pages();
    let feed = Feed::open(&options.feed.source)?.map(|feed| (feed, options.feed.clone()));
    let (key_files, keys) =
        KeyFiles::open(&options.auth.sources).map_err(|words| Failure::usage(format!("[auth]: {words}")))?;
    let access = Access::new(options.auth.clone(), options.publish.clone(), keys);
    let mut broker = Broker::new(access, options.shards(), wall_clock_us());
    broker.deflate = options.deflate.shared;
    broker.rules = options.topics.clone();
    broker.users = Users::new(options.users);
    let journal = open_journal(&options, &mut broker)?;
    let ingest = Ingest::open(&options)?;
    broker.sources = ingest.sources();
    let broker = Arc::new(broker);
    let certificate = Certificate::open(&options.tls)?;
    let engine = start(&options, certificate.as_ref(), &broker)?;
    let lines = announcement(&engine, &options, certificate.as_ref(), &ingest);
    let work = Work { feed, ingest, certificate, keys: key_files, topics_idle: options.hub.topics_idle, journal };
    control::run(engine, broker, work, || {
        let mut out = std::io::stdout().lock();
        // Who closed our standard output does not want to know.
        let _ = writeln!(out, "{lines}\nready").and_then(|()| out.flush());
    })
}

/// Opens the journal, if there is one, and puts back what it holds.
fn open_journal(options: &Options, broker: &mut Broker) -> Result<Option<Writer>, Failure> {
    let Some(options) = &options.journal else { return Ok(None) };
    let opened = journal::restore::open(options).map_err(|error| Failure::new(error.to_string()))?;
    broker.journal = Some(Arc::clone(&opened.journal));
    for note in opened.contents.restore(broker, &opened.journal, wall_clock_us()) {
        eprintln!("ringwire: {note}");
    }
    Ok(Some(opened.writer))
}

/// Prints the configuration in force: what `config` says, and the defaults of what it does not say.
///
/// # Errors
/// What is wrong with it.
pub fn print_config(config: &Config) -> Result<(), Failure> {
    let effective = Options::effective(config, cores()).map_err(|faults| Failure::usage(faults.to_string()))?;
    std::io::stdout()
        .write_all(effective.to_string().as_bytes())
        .map_err(|error| Failure::new(format!("cannot write to standard output: {error}")))
}

fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

fn start(options: &Options, certificate: Option<&Certificate>, broker: &Arc<Broker>) -> Result<Engine<Mail>, Failure> {
    let mut engine = options.engine.clone();
    if let Some(certificate) = certificate {
        for (listener, &encryption) in engine.listen.iter_mut().zip(&options.tls.listeners) {
            listener.transport = certificate.transport(encryption);
        }
    }
    let slots = engine.limits.connections_max + Limits::REFUSALS;
    let clock = Clock::start();
    options.addresses().try_for_each(|address| await_free(address, &clock)).map_err(|error| start_failure(&error))?;
    let (broker, native) = (Arc::clone(broker), options.native);
    let common = Policy { origin: options.origin.clone(), ..Policy::default() };
    let deflate = options.deflate.connections;
    let make = move |info: ShardInfo| {
        // Each shard has its own, as contexts are shared within a shard.
        let extension = deflate.map(|options| Arc::new(Deflate::new(options)) as Arc<dyn Negotiator>);
        let common = Policy { extension, ..common.clone() };
        let shard = ShardId::new(u8::try_from(info.shard).expect("options allow as many shards as a hub serves"));
        Service::new(Arc::clone(&broker), shard, slots, native, &common)
    };
    ringwire_engine::start(engine, make).map_err(|error| start_failure(&error))
}

/// Waits until nobody listens on `address`, [`ADDRESS_PATIENCE`] from the clock's start at most. Shards share their ports
/// (`SO_REUSEPORT`), and so would two servers of one user, each getting some of the connections; a listener that does not
/// share finds out.
fn await_free(address: SocketAddr, clock: &Clock) -> Result<(), StartError> {
    loop {
        let Err(error) = TcpListener::bind(address) else { return Ok(()) };
        let waited = clock.now().since(Instant::default());
        if error.kind() != ErrorKind::AddrInUse || waited >= ADDRESS_PATIENCE {
            return Err(StartError::Listen(address, error));
        }
        std::thread::park_timeout(ADDRESS_RETRY);
    }
}

/// What to say of a server that cannot start, and what to do about it.
fn start_failure(error: &StartError) -> Failure {
    let advice = match error {
        // The reason says what to do.
        StartError::Unavailable(_) => return Failure { code: EXIT_NO_IO_URING, message: error.to_string() },
        StartError::Listen(address, fault) => match fault.kind() {
            ErrorKind::AddrInUse => format!(
                "; another program has port {}: stop it, or choose another port, as in --listen {}:{}",
                address.port(),
                address.ip(),
                address.port().wrapping_add(1).max(1024),
            ),
            ErrorKind::AddrNotAvailable => "; this machine has no such address".to_owned(),
            ErrorKind::PermissionDenied => "; ports below 1024 need a privilege: choose a higher one".to_owned(),
            _ => String::new(),
        },
        StartError::Options(_) | StartError::Thread(_) => String::new(),
    };
    Failure::new(format!("{error}{advice}"))
}

/// What the server says of itself before it is ready.
fn announcement(
    engine: &Engine<Mail>,
    options: &Options,
    certificate: Option<&Certificate>,
    ingest: &Ingest,
) -> String {
    let shards = match options.shards().get() {
        1 => "1 shard".into(),
        shards => format!("{shards} shards"),
    };
    let about = format!("({shards}, io_uring: {})", engine.features());
    let urls = engine.addresses().iter().zip(&options.tls.listeners).map(|(address, encryption)| match encryption {
        Encryption::Off => format!("http://{address}"),
        Encryption::Required => format!("https://{address}"),
        Encryption::Optional => format!("http://{address} and https://{address}"),
    });
    let mut lines: Vec<String> = urls.map(|urls| format!("listening on {urls} {about}")).collect();
    lines.extend(certificate.iter().flat_map(|certificate| certificate.announcement(&engine.addresses()[0])));
    lines.extend(ingest.announcement());
    lines.extend(options.notice().map(str::to_owned));
    let lines: Vec<String> = lines.iter().map(|line| format!("ringwire: {line}")).collect();
    lines.join("\n")
}
