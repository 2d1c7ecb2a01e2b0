//! The handler under test that publishes: one log of ready frames, a cursor per connection, pulled by the engine.
//!
//! With several shards, the first one publishes and tells the others by mail.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use ringwire_codec::{CloseCode, Message, Opcode, encode_frame};
use ringwire_engine::{Accept, CloseReason, ConnectionId, Context, Handler, Opening, Transmit, Upgrade};
use ringwire_ring::{Instant, Shared};

use crate::client::{COMPLETE, Log, published};
use crate::echo::{Connections, count_close};

/// Publishes numbered messages at random times to everybody, and closes behind the last one.
pub(crate) struct Fanout {
    open: Connections,
    log: FrameLog,
    cursors: BTreeMap<usize, Cursor>,
    published: u64,
    end: u64,
    /// When the next number is published; the first shard only, and only once somebody is there.
    next_at: Option<Instant>,
    /// What the other shards have been told.
    told: Vec<u64>,
    turn: u64,
    counts: Log,
    rng: Rng,
}

/// What shards tell each other.
#[derive(Debug)]
pub(crate) enum Note {
    /// Somebody has subscribed.
    Start,
    /// So many numbers are published.
    Published(u64),
}

/// After which a full mailbox is tried again.
const RETRY: Duration = Duration::from_millis(50);

#[derive(Debug)]
struct Cursor {
    at: usize,
    /// The turn of the last pull: what that left unsent is known in the next one.
    pulled_in: u64,
}

impl Fanout {
    /// Publishes the numbers below `end` on so many shards.
    pub(crate) fn new(end: u64, shards: usize, counts: Log, rng: Rng) -> Self {
        let log = FrameLog::new((0..end).map(published));
        Self {
            open: Connections::default(),
            log,
            cursors: BTreeMap::new(),
            published: 0,
            end,
            next_at: None,
            told: vec![0; shards],
            turn: 0,
            counts,
            rng,
        }
    }

    pub(crate) fn assert_nothing_left(&self) {
        self.open.assert_nothing_left();
        assert!(self.cursors.is_empty());
    }

    /// Starts to publish, now that somebody is there.
    fn start(&mut self, cx: &mut Context<'_, Note>) {
        if self.next_at.is_none() {
            self.next_at = Some(cx.now());
            cx.tick_at(cx.now());
        }
    }

    /// Everybody on this shard has something to be pulled.
    fn ready_all(&self, cx: &mut Context<'_, Note>) {
        for id in self.open.ids() {
            cx.ready(id);
        }
    }

    /// Tells the other shards. Those whose mailbox is full are told later.
    fn tell(&mut self, cx: &mut Context<'_, Note>) {
        let published = self.published;
        for shard in 0..cx.shards() {
            if shard == cx.shard() || self.told[shard] == published {
                continue;
            }
            if cx.post(shard, Note::Published(published)).is_ok() {
                self.told[shard] = published;
                self.counts.count("notes posted");
            } else {
                self.counts.count("mailbox full");
                cx.tick_at(cx.now() + RETRY);
            }
        }
    }

    fn head(&self) -> usize {
        self.log.ends[self.published as usize]
    }
}

/// Frames, one after the other, and where each ends.
struct FrameLog {
    words: Arc<[AtomicU64]>,
    /// `ends[n]` is where the `n`th frame starts.
    ends: Vec<usize>,
}

impl FrameLog {
    fn new(texts: impl Iterator<Item = String>) -> Self {
        let (mut bytes, mut ends) = (Vec::new(), vec![0]);
        for text in texts {
            encode_frame(&mut bytes, Opcode::Text, text.as_bytes(), None);
            ends.push(bytes.len());
        }
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let words = bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().expect("eight")));
        Self { words: words.map(AtomicU64::new).collect(), ends }
    }

    fn range(&self, start: usize, end: usize) -> Shared {
        assert!(self.words[start / 8].load(Ordering::Relaxed) != u64::MAX, "written");
        Shared::new(Arc::clone(&self.words), start as u32, end as u32)
    }

    /// The first frame boundary at or behind `at`.
    fn boundary(&self, at: usize) -> usize {
        self.ends[self.ends.partition_point(|&end| end < at)]
    }
}

impl Handler for Fanout {
    type Mail = Note;

    fn on_upgrade(&mut self, cx: &mut Context<'_, Note>, id: ConnectionId, _: &Opening<'_>) -> Upgrade {
        self.open.upgraded(id);
        if cx.shard() == 0 {
            self.start(cx);
        } else if cx.post(0, Note::Start).is_err() {
            self.counts.count("mailbox full");
        }
        Accept::default().into()
    }

    fn on_open(&mut self, cx: &mut Context<'_, Note>, id: ConnectionId) {
        self.open.opened(id);
        self.cursors.insert(id.slot(), Cursor { at: self.head(), pulled_in: self.turn });
        cx.ready(id);
    }

    fn on_message(&mut self, _: &mut Context<'_, Note>, id: ConnectionId, _: Message<'_>) {
        self.open.assert_open(id);
    }

    fn on_mail(&mut self, cx: &mut Context<'_, Note>, note: Note) {
        match note {
            Note::Start => self.start(cx),
            Note::Published(published) => {
                assert!(published > self.published, "notes of one shard come in order");
                self.published = published;
                self.ready_all(cx);
            }
        }
    }

    fn on_tick(&mut self, cx: &mut Context<'_, Note>) {
        let Some(next_at) = self.next_at else { return };
        if cx.now() >= next_at && self.published < self.end {
            self.published = (self.published + self.rng.u64(1..6)).min(self.end);
            self.next_at = Some(cx.now() + Duration::from_nanos(1 << self.rng.u32(0..24)));
            self.ready_all(cx);
        }
        if self.published < self.end {
            cx.tick_at(self.next_at.expect("set above"));
        }
        self.tell(cx);
    }

    fn on_turn_end(&mut self, cx: &mut Context<'_, Note>) {
        self.turn += 1;
        if self.published < self.end {
            return;
        }
        let complete = |cursor: &Cursor| cursor.at == self.head() && cursor.pulled_in + 1 < self.turn;
        for id in self.open.ids().filter(|id| complete(&self.cursors[&id.slot()])) {
            cx.close(id, CloseCode::new(COMPLETE), "that was the last one");
        }
    }

    fn poll_transmit(&mut self, cx: &mut Context<'_, Note>, id: ConnectionId, out: &mut Transmit) {
        self.open.assert_open(id);
        let head = self.head();
        let cursor = self.cursors.get_mut(&id.slot()).expect("open");
        cursor.pulled_in = self.turn;
        if self.published == self.end {
            // The turn in which all that was pulled is known to be out.
            cx.tick_at(cx.now() + Duration::from_millis(1));
        }
        // In one range or in several, of whole frames.
        while cursor.at < head && out.budget() > 0 {
            let budget = out.budget().min(if self.rng.bool() { usize::MAX } else { self.rng.usize(1..1000) });
            let end = self.log.boundary(cursor.at.saturating_add(budget).min(head));
            out.shared(self.log.range(cursor.at, end));
            cursor.at = end;
            self.counts.count("ranges pulled");
        }
    }

    fn on_short(&mut self, id: ConnectionId, unsent: usize) -> usize {
        self.open.assert_open(id);
        self.counts.count("pulled data came back");
        let cursor = self.cursors.get_mut(&id.slot()).expect("open");
        let sent_to = cursor.at - unsent;
        cursor.at = self.log.boundary(sent_to);
        cursor.at - sent_to
    }

    fn on_close(&mut self, _: &mut Context<'_, Note>, id: ConnectionId, reason: &CloseReason) {
        self.open.closed(id);
        self.cursors.remove(&id.slot());
        count_close(&self.counts, reason);
    }
}
