//! A session that a thread plays: its connections, and how far it has heard each flow.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringwire_ring::Instant;

use super::{Common, Session};
use crate::adapter::{Line, LineSpec, Needs};
use crate::clients::Outbox;
use crate::measure::Track;

/// Publishes that may wait for a session to be there.
const PENDING_MAX: usize = 256;

/// A session.
#[derive(Debug)]
pub(super) struct Member {
    /// Which of the scenario's.
    pub(super) session: usize,
    pub(super) presence: Presence,
    pub(super) lines: Vec<Open>,
    /// For each topic that it publishes on: which line, and under which number there.
    pub(super) routes: BTreeMap<usize, (usize, usize)>,
    /// What it hears, ordered by flow.
    pub(super) heard: Vec<Heard>,
    /// What it is to publish once it is there.
    pub(super) pending: Vec<Pending>,
    /// Once it is there it is to leave again.
    pub(super) is_leaving: bool,
    /// It came while the run went on, and from then on is owed what it hears.
    pub(super) owed_from: Option<Instant>,
    /// Once it has left it is to come again, and this is when that was due.
    pub(super) returns: Option<Instant>,
}

/// A publish that was due before its session was there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) flow: usize,
    pub(super) bytes: usize,
    pub(super) due: Instant,
}

/// Whether a session is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Absent,
    /// It was to come, and it set out.
    Coming {
        due: Instant,
        asked: Instant,
    },
    Here,
    Leaving,
}

/// One of its connections.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) link: usize,
    pub(super) line: Box<dyn Line>,
    pub(super) is_ready: bool,
    pub(super) has_ended: bool,
}

/// How far it has heard a flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) flow: usize,
    /// None until something came, for who comes later: the beginning is not known.
    pub(super) track: Option<Track>,
    /// The number that the account begins with.
    pub(super) base: u64,
    /// Of who came a while ago: the first number that it is owed even if nothing comes.
    pub(super) silent_from: Option<u64>,
    /// When the latest tick came, of a flow of ticks.
    pub(super) last: Option<Instant>,
}

impl Member {
    pub(super) fn new(common: &Common, session: usize) -> Self {
        let Session { subscribes, .. } = &common.scenario.sessions[session];
        let mut flows: Vec<usize> = subscribes.iter().flat_map(|&topic| &common.flows_of[topic]).copied().collect();
        flows.sort_unstable();
        flows.dedup();
        let heard =
            flows.into_iter().map(|flow| Heard { flow, track: None, base: 0, silent_from: None, last: None }).collect();
        let mut this = Self {
            session,
            presence: Presence::Absent,
            lines: Vec::new(),
            routes: BTreeMap::new(),
            heard,
            pending: Vec::new(),
            is_leaving: false,
            owed_from: None,
            returns: None,
        };
        if !common.scenario.sessions[session].comes_later {
            this.heard.iter_mut().for_each(|heard| heard.track = Some(Track::from(0)));
        }
        this
    }

    /// Begins to connect, which was due then.
    pub(super) fn join(&mut self, common: &Common, due: Instant, out: &mut Outbox<'_>) -> Result<(), String> {
        let scenario = &common.scenario;
        let names =
            |topics: &[usize]| -> Vec<&str> { topics.iter().map(|&topic| scenario.topics[topic].as_str()).collect() };
        let subscribes = &scenario.sessions[self.session].subscribes;
        let publishes = &common.published_by[self.session];
        let needs = Needs { session: self.session, subscribes: &names(subscribes), publishes: &names(publishes) };
        let specs = common.adapter.lines(&common.target, &needs)?;
        self.presence = Presence::Coming { due, asked: out.now() };
        self.lines.clear();
        for LineSpec { door, line, publishes: numbers, .. } in specs {
            let place = self.lines.len();
            self.routes.extend(numbers.into_iter().map(|number| (publishes[number], (place, number))));
            let link = out.open(&Arc::new(door));
            self.lines.push(Open { link, line, is_ready: false, has_ended: false });
        }
        Ok(())
    }

    /// Whether it is on its way, or sets out as soon as it has left.
    pub(super) fn is_to_come(&self) -> bool {
        matches!(self.presence, Presence::Coming { .. }) || self.returns.is_some()
    }

    /// Keeps what is due before it is there. Of who does not come, and beyond [`PENDING_MAX`], nothing is sent.
    pub(super) fn defer(&mut self, pending: Pending) {
        if self.is_to_come() && self.pending.len() < PENDING_MAX {
            self.pending.push(pending);
        }
    }

    /// How far it has heard this flow. None if it does not hear it.
    #[inline]
    pub(super) fn heard(&mut self, flow: usize) -> Option<&mut Heard> {
        let place = match &self.heard[..] {
            [only] => (only.flow == flow).then_some(0),
            several => several.binary_search_by_key(&flow, |heard| heard.flow).ok(),
        };
        self.heard.get_mut(place?)
    }

    /// Forgets how far it has heard anything, since it is gone. Says how many deliveries it was to get meanwhile.
    pub(super) fn retire(&mut self) -> u64 {
        let forget = |heard: &mut Heard| {
            (heard.last, heard.silent_from) = (None, None);
            heard.track.take().map(|track| track.next() - heard.base)
        };
        self.heard.iter_mut().filter_map(forget).sum()
    }
}
