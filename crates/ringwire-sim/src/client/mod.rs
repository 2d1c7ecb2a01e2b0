//! Clients that follow a script from the seed and check every byte they get.
//!
//! What a client may expect is known from what it sent: echoes and pongs, in order, whole, nothing else; then the
//! close code that its script leads to. Only what the client did itself, or what the network or the shard's limits did
//! to it, excuses less than that.

mod http;
mod script;
mod websocket;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;

use crate::peer::{Read, Wire};

pub(crate) use http::HttpClient;
pub(crate) use http::answer;
pub(crate) use script::ASK;
pub(crate) use script::Script;
pub(crate) use websocket::{COMPLETE, OVERFLOW, Subscription, WebSocketClient, published};

/// What all sides of a run know of it: how often what happened, and what excuses a connection that ends early.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    counts: BTreeMap<&'static str, u64>,
    lenient: bool,
    late: bool,
    scarce: bool,
    rules: Rules,
}

/// What the listener's options may do to a client that does nothing wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// Codes that it may be closed with at any time: idle time, lifetime.
    pub(crate) close_codes: Vec<u16>,
    /// Its address may have too many connections.
    pub(crate) limits_addresses: bool,
    /// It may be let go of before its request is whole.
    pub(crate) lets_handshakes_go: bool,
    /// Who is in 10.0.0.0/8 is a proxy, and must say so.
    pub(crate) trusts_proxies: bool,
}

impl Log {
    /// Counts an occurrence.
    pub(crate) fn count(&self, what: &'static str) {
        *self.inner.lock().expect("no holder panics").counts.entry(what).or_default() += 1;
    }

    /// So much time has passed that only clients who wait for the end may still be there.
    pub(crate) fn be_late(&self) {
        self.inner.lock().expect("no holder panics").late = true;
    }

    pub(crate) fn is_late(&self) -> bool {
        self.inner.lock().expect("no holder panics").late
    }

    /// There are fewer descriptors than clients: some may wait for one in vain.
    pub(crate) fn be_scarce(&self) {
        self.inner.lock().expect("no holder panics").scarce = true;
    }

    /// Whether a connection may be reset without an answer: an accept failed, or could not be made in time.
    pub(crate) fn may_be_unanswered(&self) -> bool {
        let inner = self.inner.lock().expect("no holder panics");
        !inner.late || inner.scarce
    }

    /// The listener has these rules.
    pub(crate) fn set_rules(&self, rules: Rules) {
        self.inner.lock().expect("no holder panics").rules = rules;
    }

    pub(crate) fn rules(&self) -> Rules {
        self.inner.lock().expect("no holder panics").rules.clone()
    }

    /// From now on connections may end early: the shard drains, or sheds.
    pub(crate) fn excuse(&self) {
        self.inner.lock().expect("no holder panics").lenient = true;
    }

    pub(crate) fn is_excused(&self) -> bool {
        self.inner.lock().expect("no holder panics").lenient
    }

    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.inner.lock().expect("no holder panics").counts.clone()
    }
}

/// How a client writes: what waits, in which pieces.
#[derive(Debug)]
struct Writer {
    waiting: Vec<u8>,
    piece_max: usize,
    gap: Duration,
}

impl Writer {
    fn seeded(rng: &mut Rng) -> Self {
        let piece_max = match rng.u32(0..10) {
            0 => 1,
            1..=3 => rng.usize(1..50),
            4..=6 => rng.usize(1..2000),
            _ => usize::MAX,
        };
        Self { waiting: Vec::new(), piece_max, gap: Duration::from_nanos(1 << rng.u32(0..16)) }
    }

    /// Writes a piece of what waits, and comes back for more.
    fn write(&mut self, wire: &mut Wire<'_>) {
        if self.waiting.is_empty() {
            return;
        }
        let most = self.waiting.len().min(self.piece_max);
        let piece = wire.rng().usize(1..=most);
        let written = wire.write(&self.waiting[..piece]);
        self.waiting.drain(..written);
        // Without room, room will wake the client.
        if written > 0 && !self.waiting.is_empty() {
            wire.wake_after(self.gap);
        }
    }

    fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// How a client reads.
#[derive(Debug)]
struct Reader {
    most: usize,
    /// Between two reads; none for one that reads all there is.
    gap: Option<Duration>,
}

impl Reader {
    fn seeded(rng: &mut Rng) -> Self {
        match rng.u32(0..6) {
            0 => Self { most: rng.usize(20..500), gap: Some(Duration::from_micros(rng.u64(10..5000))) },
            _ => Self { most: rng.usize(1..8192), gap: None },
        }
    }

    /// Appends what it reads this time to `input`. The end of the stream, however it ended, is what is returned.
    fn read(&self, input: &mut Vec<u8>, wire: &mut Wire<'_>) -> Option<Read> {
        loop {
            match wire.read(input, self.most) {
                Read::Bytes(_) => {
                    if let Some(gap) = self.gap {
                        wire.wake_after(gap);
                        return None;
                    }
                }
                Read::Nothing => return None,
                end => return Some(end),
            }
        }
    }
}
