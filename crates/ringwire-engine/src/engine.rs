//! Shards as threads: starting, posting, ending.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use ringwire_codec::http::HEADERS_MAX;
use ringwire_ring::linux::{
    Features, Ring, RingOptions, RingWaker, Termination, Unavailable, allowed_cores, pin_to_core,
    raise_descriptor_limit,
};
use ringwire_ring::{Clock, Driver, Waker};

use crate::handler::Handler;
use crate::mailbox::{Mailbox, Mailboxes, Post};
use crate::options::{EngineOptions, Limits, ListenerOptions, ProxyHeader};
use crate::process::Process;
use crate::shard::{Shard, ShardInfo, Status};

/// A running engine. Dropping it stops it at once; [`Handle::drain`] and [`join`](Self::join) end it well.
#[derive(Debug)]
pub struct Engine<M: Send + 'static> {
    addresses: Vec<SocketAddr>,
    features: Features,
    handle: Handle<M>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

/// Posts to the shards of an engine, from any thread.
pub struct Handle<M> {
    mailboxes: Mailboxes<M>,
}

impl<M> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self { mailboxes: Arc::clone(&self.mailboxes) }
    }
}

impl<M> fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("shards", &self.mailboxes.len()).finish()
    }
}

/// Why an engine did not start.
#[derive(Debug)]
pub enum StartError {
    /// There is no io_uring, and why.
    Unavailable(Unavailable),
    /// An address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// A setting makes no sense; says which.
    Options(String),
    /// The operating system refused a thread or its core.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Unavailable(reason) => write!(f, "io_uring is not available: {reason}"),
            StartError::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            StartError::Options(words) => f.write_str(words),
            StartError::Thread(error) => write!(f, "cannot start a shard's thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// What a shard's thread says once it listens.
type Started = Result<(Vec<SocketAddr>, Features), StartError>;

/// Starts an engine: `make` is called on each shard's thread, for its handler.
///
/// Returns when every shard listens.
pub fn start<H, F>(options: EngineOptions, make: F) -> Result<Engine<H::Mail>, StartError>
where
    H: Handler,
    F: Fn(ShardInfo) -> H + Send + Sync + 'static,
{
    let cores = allowed_cores().map_err(StartError::Thread)?;
    let shards = options.shards.unwrap_or(cores.len());
    check(&options, shards)?;
    let mut options = options;
    clamp_connections(&mut options)?;
    let (make, mut options) = (Arc::new(make), options);
    let mailboxes: Mailboxes<H::Mail> = (0..shards).map(|_| Mailbox::new(options.mailbox_entries)).collect();
    let wakers: Arc<[OnceLock<RingWaker>]> = (0..shards).map(|_| OnceLock::new()).collect();
    let process = Arc::new(Process::new(shards));
    let handle = Handle { mailboxes: Arc::clone(&mailboxes) };
    // An engine that is dropped on an error below stops the shards that have started.
    let mut engine = Engine { addresses: Vec::new(), features: Features::default(), handle, threads: Vec::new() };
    for shard in 0..shards {
        let info = ShardInfo { shard, shards };
        let core = options.pin.then(|| cores[shard % cores.len()]);
        let shared = Arc::new(options.clone());
        let (mailboxes, wakers, make) = (Arc::clone(&mailboxes), Arc::clone(&wakers), Arc::clone(&make));
        let process = Arc::clone(&process);
        let (report, reported) = mpsc::sync_channel(1);
        let run = move || run(info, core, shared, Between { mailboxes, wakers, process }, &*make, &report);
        let thread = std::thread::Builder::new().name(format!("ringwire-{shard}"));
        engine.threads.push(thread.spawn(run).map_err(StartError::Thread)?);
        let ended = |_| StartError::Thread(io::Error::other("the shard's thread ended before it listened"));
        (engine.addresses, engine.features) = reported.recv().map_err(ended)??;
        // The shards behind the first listen on the ports that the kernel picked for it.
        for (listener, address) in options.listen.iter_mut().zip(&engine.addresses) {
            listener.address = *address;
        }
    }
    Ok(engine)
}

fn check(options: &EngineOptions, shards: usize) -> Result<(), StartError> {
    let refuse = |words: &str| Err(StartError::Options(words.to_owned()));
    if shards == 0 {
        return refuse("at least one shard is needed");
    }
    if options.listen.is_empty() {
        return refuse("there is no address to listen on");
    }
    if options.listen.len() > EngineOptions::LISTENERS_MAX {
        return refuse("there are more addresses to listen on than a shard can tell apart (256)");
    }
    if options.limits.headers_max > HEADERS_MAX {
        return refuse("headers_max may be 64 at most: there is no room for more header fields");
    }
    let wants_header = |listener: &ListenerOptions| listener.proxy_header == ProxyHeader::Required;
    if options.listen.iter().any(|listener| wants_header(listener) && listener.proxies.is_empty()) {
        return refuse("proxy_header needs proxies: addresses of those who are to send the header");
    }
    if let Some(name) = options.listen.iter().find_map(|listener| listener.timeouts.zero()) {
        return Err(StartError::Options(format!("the timeout {name} may not be zero: give it some time, or none")));
    }
    if !options.receive_buffers.is_power_of_two() || options.receive_buffers > 32_768 {
        return refuse("receive_buffers must be a power of two of at most 32768");
    }
    if options.receive_buffer_bytes == 0 || options.limits.connections_max == 0 {
        return refuse("receive_buffer_bytes and connections_max must be at least 1");
    }
    Ok(())
}

/// Where the kernel does not say who the peers are, nobody can be trusted by address.
fn check_features(options: &EngineOptions, features: &Features) -> Result<(), StartError> {
    if !features.peer_address && options.listen.iter().any(|listener| !listener.proxies.is_empty()) {
        let words = format!(
            "trusting proxies needs the addresses of peers, which kernel {} does not tell: run on 6.7 or later, or \
             leave proxies empty",
            features.release
        );
        return Err(StartError::Options(words));
    }
    Ok(())
}

/// Direct descriptors are bounded by `RLIMIT_NOFILE`, operations in flight by the completion queue.
fn clamp_connections(options: &mut EngineOptions) -> Result<(), StartError> {
    let descriptors = raise_descriptor_limit().map_err(StartError::Thread)?;
    let descriptors = u32::try_from(descriptors).unwrap_or(u32::MAX).min(Ring::SOCKETS_MAX);
    let Some(room) = descriptors.checked_sub(Limits::REFUSALS).filter(|&room| room > 0) else {
        return Err(StartError::Options(format!("RLIMIT_NOFILE is {descriptors}: too few for any connection")));
    };
    options.limits.connections_max = options.limits.connections_max.min(room);
    Ok(())
}

/// What shards have between them.
struct Between<M> {
    mailboxes: Mailboxes<M>,
    wakers: Arc<[OnceLock<RingWaker>]>,
    process: Arc<Process>,
}

/// A shard's thread, from setup to end.
fn run<H: Handler>(
    info: ShardInfo,
    core: Option<usize>,
    options: Arc<EngineOptions>,
    between: Between<H::Mail>,
    make: &dyn Fn(ShardInfo) -> H,
    report: &mpsc::SyncSender<Started>,
) -> io::Result<()> {
    let mut stop = StopAll { mailboxes: Arc::clone(&between.mailboxes), armed: true };
    let mut shard = match set_up(info, core, options, between, make) {
        Ok((shard, addresses, features)) => {
            let _ = report.send(Ok((addresses, features)));
            shard
        }
        Err(error) => {
            let _ = report.send(Err(error));
            return Ok(());
        }
    };
    while shard.turn()? == Status::Running {}
    stop.armed = false;
    Ok(())
}

type SetUp<H> = (Shard<Ring, H>, Vec<SocketAddr>, Features);

fn set_up<H: Handler>(
    info: ShardInfo,
    core: Option<usize>,
    options: Arc<EngineOptions>,
    between: Between<H::Mail>,
    make: &dyn Fn(ShardInfo) -> H,
) -> Result<SetUp<H>, StartError> {
    if let Some(core) = core {
        pin_to_core(core).map_err(StartError::Thread)?;
    }
    let ring = Ring::new(&RingOptions {
        submission_entries: options.submission_entries,
        sockets_max: options.limits.connections_max + Limits::REFUSALS,
        receive_buffers: options.receive_buffers,
        receive_buffer_bytes: options.receive_buffer_bytes,
        incremental_buffers: true,
        clock: Clock::start(),
    })
    .map_err(StartError::Unavailable)?;
    let features = ring.features().clone();
    check_features(&options, &features)?;
    let waker = ring.waker();
    let Between { mailboxes, wakers, process } = between;
    mailboxes[info.shard].set_wake(move || waker.wake());
    let mut shard = Shard::new(ring, make(info), info, options, mailboxes, wakers, process);
    let addresses = shard.listen().map_err(|(address, error)| StartError::Listen(address, error))?;
    Ok((shard, addresses, features))
}

/// A shard that fails takes the others with it: an engine runs whole or not at all.
struct StopAll<M> {
    mailboxes: Mailboxes<M>,
    armed: bool,
}

impl<M> Drop for StopAll<M> {
    fn drop(&mut self) {
        if self.armed {
            Handle { mailboxes: Arc::clone(&self.mailboxes) }.stop();
        }
    }
}

impl<M> Handle<M> {
    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.mailboxes.len()
    }

    /// Posts mail to a shard. Mail that finds the mailbox full comes back.
    pub fn post(&self, shard: usize, mail: M) -> Result<(), M> {
        self.mailboxes[shard].post(Post::Mail(mail)).map_err(|post| match post {
            Post::Mail(mail) => mail,
            Post::Drain(_) | Post::Shed | Post::Stop => unreachable!("what comes back is what was put in"),
        })
    }

    /// Ends the engine well: no more connections, a close frame with 1001 to each there is, and the end when all are
    /// gone or `within` has passed.
    pub fn drain(&self, within: Duration) {
        self.post_all(|| Post::Drain(within));
    }

    /// Ends the engine at once.
    pub fn stop(&self) {
        self.post_all(|| Post::Stop);
    }

    /// Posts to every shard, full mailbox or not: a shard that ends reads no more mail.
    fn post_all(&self, post: impl Fn() -> Post<M>) {
        for mailbox in self.mailboxes.iter() {
            mailbox.force(post());
        }
    }
}

impl<M: Send + 'static> Engine<M> {
    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How many shards it has.
    pub fn shards(&self) -> usize {
        self.threads.len()
    }

    /// What the kernel offers.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// For posting to its shards.
    pub fn handle(&self) -> Handle<M> {
        self.handle.clone()
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// The first error of a shard's ring.
    ///
    /// # Panics
    /// If a shard has panicked.
    pub fn join(mut self) -> io::Result<()> {
        let ended: Vec<_> = self.threads.drain(..).map(JoinHandle::join).collect();
        for result in ended {
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(())
    }

    /// Runs until SIGTERM or SIGINT, then drains. `termination` must have been made before the engine was started.
    pub fn run_until(self, termination: &Termination, drain_within: Duration) -> io::Result<()> {
        termination.wait()?;
        self.handle.drain(drain_within);
        self.join()
    }
}

impl<M: Send + 'static> Drop for Engine<M> {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.handle.stop();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_without_any_time_is_refused_by_name() {
        type Set = fn(&mut crate::Timeouts);
        let zeros: [(&str, Set); 8] = [
            ("handshake", |timeouts| timeouts.handshake = Duration::ZERO),
            ("keep_alive", |timeouts| timeouts.keep_alive = Duration::ZERO),
            ("close", |timeouts| timeouts.close = Duration::ZERO),
            ("ping", |timeouts| timeouts.ping = Some(Duration::ZERO)),
            ("pong", |timeouts| timeouts.pong = Duration::ZERO),
            ("idle", |timeouts| timeouts.idle = Some(Duration::ZERO)),
            ("lifetime", |timeouts| timeouts.lifetime = Some(Duration::ZERO)),
            ("unacknowledged", |timeouts| timeouts.unacknowledged = Some(Duration::ZERO)),
        ];
        check(&EngineOptions::default(), 1).expect("the defaults make sense");
        for (name, set) in zeros {
            let mut options = EngineOptions::default();
            set(&mut options.listen[0].timeouts);
            let error = check(&options, 1).expect_err(name).to_string();
            assert!(error.contains(&format!("the timeout {name} may")), "{error}");
        }
    }
}
