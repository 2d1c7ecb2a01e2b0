//! The other end of a simulated connection.

use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;
use ringwire_ring::Instant;

use crate::connection::Side;
use crate::net::{Found, Net, Occurrence, errno};
use crate::secure::Secure;

/// Something that connects: a client of the shard under test.
///
/// It acts when it starts, whenever something about its connection has changed, and when the time it asked for has
/// come; sometimes also without reason.
pub trait Peer {
    /// Goes on.
    fn act(&mut self, wire: &mut Wire<'_>);

    /// Whether it wants nothing more. It has then let go of its connection.
    fn is_done(&self) -> bool;

    /// For the message of a run that gets nowhere.
    fn describe(&self) -> String;
}

/// What [`Wire::read`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes were appended.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// The other side has finished.
    End,
    /// Nobody listens there, or too many wait.
    Refused,
    /// The connection was reset, by the network itself or by the other side.
    Reset {
        /// Whether it was the network.
        by_network: bool,
    },
}

/// The connection of one peer, and its time.
#[derive(Debug)]
pub struct Wire<'a> {
    pub(crate) net: &'a mut Net,
    pub(crate) peer: usize,
    pub(crate) connection: &'a mut Option<usize>,
    pub(crate) secure: &'a mut Option<Secure>,
    pub(crate) wake_at: Option<u64>,
}

impl Wire<'_> {
    /// The current instant.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.net.now)
    }

    /// Random numbers of this run.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.net.rng
    }

    /// Number of this peer.
    pub fn peer(&self) -> usize {
        self.peer
    }

    /// Has the peer act after this time, or earlier if something changes, in which case it must ask again. The
    /// shortest of several counts.
    pub fn wake_after(&mut self, time: Duration) {
        let at = (self.now() + time).as_nanos();
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Adds an event to the trace: `what`, with a `#` where each of the `numbers` belongs.
    pub fn note(&mut self, what: &'static str, numbers: &[u64]) {
        self.net.note(what, numbers);
    }

    /// Connects. Bytes may be written at once.
    ///
    /// # Panics
    /// If the peer has a connection.
    pub fn connect(&mut self, address: SocketAddr) {
        assert!(self.connection.is_none(), "a peer has one connection at a time");
        *self.connection = Some(self.net.connect(self.peer, address));
        if let Some(secure) = self.secure.as_mut() {
            secure.begin();
            self.flush();
        }
    }

    /// Where this end of the connection is.
    pub fn address(&self) -> SocketAddr {
        self.net.peer_address(self.held())
    }

    /// Whether there is a connection to read from or write to.
    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Appends up to `most` bytes to `out`.
    pub fn read(&mut self, out: &mut Vec<u8>, most: usize) -> Read {
        if self.secure.is_none() {
            return self.read_raw(out, most);
        }
        self.flush();
        loop {
            let Some(secure) = self.secure.as_mut() else { unreachable!("asked above") };
            if let Some(read) = secure.read(out, most) {
                return read;
            }
            let mut raw = Vec::new();
            match self.read_raw(&mut raw, most) {
                Read::Bytes(_) => {}
                // Without a close_notify nobody knows whether this was all.
                Read::End => return self.reset(),
                other => return other,
            }
            if self.secure.as_mut().is_some_and(|secure| secure.receive(&mut raw)) {
                // What waits to be written can be now.
                self.wake_after(Duration::ZERO);
            }
            self.flush();
        }
    }

    /// Sends ciphertext, as far as there is room.
    fn flush(&mut self) {
        let Some(mut secure) = self.secure.take() else { return };
        let written = self.write_raw(&secure.unsent);
        secure.unsent.drain(..written);
        if secure.unsent.is_empty() && std::mem::take(&mut secure.finishes) {
            let connection = self.held();
            self.net.finish(connection, Side::Client);
        }
        *self.secure = Some(secure);
    }

    fn read_raw(&mut self, out: &mut Vec<u8>, most: usize) -> Read {
        let connection = self.held();
        let start = out.len();
        let most = most.min(self.net.arrived(connection, Side::Client));
        out.resize(start + most, 0);
        let found = self.net.read(connection, Side::Client, &mut out[start..]);
        let count = if let Found::Bytes(count) = found { count } else { 0 };
        out.truncate(start + count);
        self.net.trace.bytes(&out[start..]);
        match found {
            Found::Bytes(count) => Read::Bytes(count),
            Found::Nothing => Read::Nothing,
            Found::End if self.net.is_broken(connection, Side::Client) => self.reset(),
            Found::End => Read::End,
            Found::Failed(errno::ECONNREFUSED) => Read::Refused,
            Found::Failed(_) => self.reset(),
        }
    }

    /// Writes as much as there is room for and says how much. A connection that is broken takes everything.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        if self.secure.is_none() {
            return self.write_raw(bytes);
        }
        self.flush();
        let is_broken = self.net.is_broken(self.held(), Side::Client);
        let Some(secure) = self.secure.as_mut() else { unreachable!("asked above") };
        if is_broken || secure.has_ended() {
            return bytes.len();
        }
        if !secure.is_ready() || !secure.unsent.is_empty() {
            return 0;
        }
        assert!(secure.encrypt(bytes), "a session that is ready takes what is written");
        self.flush();
        bytes.len()
    }

    fn write_raw(&mut self, bytes: &[u8]) -> usize {
        let connection = self.held();
        if bytes.is_empty() || self.net.is_broken(connection, Side::Client) {
            return bytes.len();
        }
        self.net.write(connection, Side::Client, bytes).expect("a client does not write behind its end")
    }

    /// Half-close: nothing more will be written.
    pub fn finish(&mut self) {
        if let Some(secure) = self.secure.as_mut() {
            secure.finish();
            return self.flush();
        }
        let connection = self.held();
        self.net.finish(connection, Side::Client);
    }

    /// Closes as close(2) does: cleanly if all that came was read, else with a reset.
    pub fn close(&mut self) {
        let connection = self.let_go();
        self.net.close(connection, Side::Client);
    }

    /// Closes with a reset.
    pub fn abort(&mut self) {
        let connection = self.let_go();
        self.net.abort(connection, Side::Client);
    }

    /// Whether the network itself has reset the connection, or is about to.
    pub fn was_killed(&self) -> bool {
        self.net.was_killed(self.held())
    }

    fn reset(&self) -> Read {
        Read::Reset { by_network: self.was_killed() }
    }

    fn held(&self) -> usize {
        self.connection.expect("the peer is connected")
    }

    fn let_go(&mut self) -> usize {
        self.connection.take().expect("the peer is connected")
    }
}

/// A peer in its world.
pub(crate) struct Slot {
    pub(crate) peer: Box<dyn Peer + Send>,
    connection: Option<usize>,
    secure: Option<Secure>,
    /// When it acts next.
    next: Option<u64>,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, connection {:?}", self.peer.describe(), self.connection)
    }
}

impl Slot {
    pub(crate) fn new(peer: Box<dyn Peer + Send>, secure: Option<Secure>) -> Self {
        Self { peer, connection: None, secure, next: None }
    }

    /// Has the peer act at an instant, or earlier.
    pub(crate) fn wake_at(&mut self, index: usize, at: u64, net: &mut Net) {
        if !self.peer.is_done() && self.next.is_none_or(|next| at < next) {
            self.next = Some(at);
            net.schedule(at, Occurrence::Peer(index));
        }
    }

    /// Lets the peer act, if this is the time it waits for.
    pub(crate) fn act(&mut self, index: usize, net: &mut Net) {
        if self.next.is_none_or(|next| next > net.now) || self.peer.is_done() {
            return;
        }
        self.next = None;
        let (connection, secure) = (&mut self.connection, &mut self.secure);
        let mut wire = Wire { net, peer: index, connection, secure, wake_at: None };
        self.peer.act(&mut wire);
        let wake_at = wire.wake_at;
        assert!(!self.peer.is_done() || self.connection.is_none(), "{self:?} is done but still connected");
        if let Some(at) = wake_at {
            self.wake_at(index, at, net);
        }
    }
}
