//! The boundary between the engine and the kernel, or the simulator.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::arena::{Stage, Staged};
use crate::clock::Instant;
use crate::op::{Completion, Lease, Listener, Op, OpToken, SubmitError};

/// How long an [`enter`](Driver::enter) may wait for a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: submit, and reap what is there.
    No,
    /// Until something completes or this instant has come.
    Until(Instant),
    /// Until something completes.
    Forever,
}

/// Wakes a driver from another thread. Cheap to clone.
pub trait Waker: Clone + Send + fmt::Debug + 'static {
    /// Makes the driver's current or next wait end with [`Event::Woken`](crate::Event::Woken). From a thread
    /// that has a driver of its own, [`Op::Wake`] is cheaper.
    fn wake(&self);
}

/// How to listen.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Address and port. With port 0 the kernel picks one.
    pub address: SocketAddr,
    /// Connections that the kernel completes before they are accepted (`listen(2)`).
    pub backlog: u32,
    /// Bytes not yet sent above which a socket counts as unwritable (`TCP_NOTSENT_LOWAT`), so that what waits,
    /// waits in user space. `None` leaves the system's setting.
    pub notsent_lowat_bytes: Option<u32>,
    /// How long what was sent may stay without an acknowledgement, or a closed window closed, before the kernel breaks
    /// the connection (`TCP_USER_TIMEOUT`; to the millisecond). `None` leaves the system's setting, some 15 minutes.
    pub user_timeout: Option<Duration>,
    /// Name of the congestion control that connections get, as in `net.ipv4.tcp_available_congestion_control`
    /// (`TCP_CONGESTION`). `None` leaves the system's setting.
    pub congestion_control: Option<String>,
}

/// Executes operations. One per shard; never shared between threads.
///
/// A turn of the engine's loop: [`enter`](Self::enter), then [`complete`](Self::complete) until it says `None`,
/// submitting what follows from that, then `enter` again.
pub trait Driver {
    /// Wakes this kind of driver.
    type Waker: Waker;

    /// The current instant. Read once per turn.
    fn now(&self) -> Instant;

    /// Microseconds since the Unix epoch, for dates that leave the process.
    fn wall_clock_us(&self) -> u64;

    /// Wakes this driver.
    fn waker(&self) -> Self::Waker;

    /// Opens a listening socket with `SO_REUSEPORT` and `TCP_NODELAY`, and says which address it got.
    fn listen(&mut self, options: &ListenOptions) -> io::Result<(Listener, SocketAddr)>;

    /// Whether [`Op::PeerAddress`] works here.
    fn knows_peers(&self) -> bool;

    /// Closes a listening socket whose accept has ended.
    fn close_listener(&mut self, listener: Listener);

    /// Queues an operation. `context` comes back with its completions. A refused operation comes back whole.
    fn submit(&mut self, op: Op<Self::Waker>, context: u32) -> Result<OpToken, (SubmitError, Op<Self::Waker>)>;

    /// Where this turn's transmissions are staged.
    fn stage(&mut self) -> Stage<'_>;

    /// The bytes of a range staged this turn or the turn before.
    fn staged(&self, staged: &Staged) -> &[u8];

    /// Takes bytes of such a range out of the arena, for a transmission that has ended; see
    /// [`Arena::take`](crate::Arena::take).
    fn take_staged(&mut self, staged: &Staged, skip: usize, len: usize) -> (Vec<u8>, usize);

    /// Submits everything queued and waits for a completion as `wait` says. Ends the turn: what was staged two
    /// turns ago is forgotten.
    ///
    /// # Panics
    /// If completions of the turn before have not been drained.
    fn enter(&mut self, wait: Wait) -> io::Result<()>;

    /// The next completion that has arrived. `None` once all are drained.
    fn complete(&mut self) -> Option<Completion>;

    /// Gives a leased buffer back to the buffer ring.
    fn release(&mut self, lease: Lease);

    /// Operations in flight, the driver's own excluded. Zero when a shard has ended well.
    fn in_flight(&self) -> usize;

    /// Buffers now leased. Zero when a shard has ended well.
    fn leased(&self) -> usize;
}
