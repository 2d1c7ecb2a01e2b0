//! Publish and subscribe: the core under `fanout`, `trading`, `game`, `meeting` and `slow`.
//!
//! A [`Scenario`] says who is there: topics, sessions (users, each with what it subscribes to) and flows. A *flow* is one
//! session's messages on one topic, numbered from 0, so whoever hears the topic can say of every message whether it
//! came, once, in order and unchanged. A [`Script`] says what happens when: it yields [`Action`]s in the order of time,
//! and whatever the server does, each is carried out when it is due. A payload says when it was *due*, and latency
//! runs from there, so a server that stalls makes every message late that was due meanwhile, not only the one that met
//! it (no coordinated omission), and a generator that lags counts against itself.
//!
//! Who comes later is owed what follows the first message that it hears of a flow; and if it hears none, what is published
//! later than a second after it was ready. Who has set out and is not ready by the end is a fault, and so is a message
//! that comes to who does not hear its flow.
//!
//! What a session's connections are and what is said on them is the [adapter](crate::adapter)'s.

mod hearing;
mod member;
mod spread;
#[cfg(test)]
mod tests;
mod watch;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::adapter::Adapter;
use crate::clients::ClientsOptions;
use crate::json::Json;
use crate::measure::{Loop, Recorder};
use crate::run::{Finding, Model, Share};
use crate::target::Target;
use crate::workload::Place;

pub use spread::Spreads;
pub use watch::{Cadence, OnJoin, Watch};
pub use worker::PubSubWorker;

/// Who is there.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    /// Names of topics.
    pub topics: Vec<String>,
    /// Who publishes what.
    pub flows: Vec<Flow>,
    /// Users.
    pub sessions: Vec<Session>,
    /// Longest payload.
    pub bytes_max: usize,
}

/// One session's messages on one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Which topic.
    pub topic: usize,
    /// Whose.
    pub session: usize,
    /// Which latencies its deliveries count among.
    pub series: usize,
}

/// A user: some connections, as the adapter has it.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// Topics that it hears.
    pub subscribes: Vec<usize>,
    /// It is not there from the beginning: an action lets it join.
    pub comes_later: bool,
    /// It is slow on purpose: so many bytes a second, 0 for none. It takes no part in accounts and latencies.
    pub reads_bytes_per_second: Option<u64>,
}

/// What happens, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Action {
    /// When it is due, counted from the start.
    pub at: Duration,
    /// What it is.
    pub what: What,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A flow's next message, of so many bytes.
    Publish {
        /// Which flow.
        flow: usize,
        /// Its payload's length.
        bytes: usize,
    },
    /// A session connects and subscribes. What is due of it meanwhile follows when it is there.
    Join(usize),
    /// A session ends its connections.
    Leave(usize),
    /// A session's connections end without a word.
    Cut(usize),
}

/// Actions in the order of time; without an end, as a rule.
pub type Script = Box<dyn Iterator<Item = Action> + Send>;

/// Where a thread's actions come from.
#[derive(Clone)]
pub enum Source {
    /// Actions for the sessions of a thread: an open loop.
    Script(Arc<dyn Fn(Share) -> Script + Send + Sync>),
    /// Flow 0 keeps so many messages of so many bytes on their way: what comes out is the greatest rate.
    Window {
        /// How many.
        messages: u64,
        /// Their length.
        bytes: usize,
    },
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Script(_) => f.write_str("Script"),
            Source::Window { messages, .. } => write!(f, "Window({messages})"),
        }
    }
}

/// A workload of publishers and subscribers.
#[derive(Debug)]
pub struct PubSub {
    /// What it is called.
    pub name: &'static str,
    /// The server.
    pub target: Target,
    /// How it is set, for the report.
    pub options: Json,
    /// What latencies are measured of.
    pub series: &'static [&'static str],
    /// What else is looked at.
    pub watch: Watch,
    /// Most connections of a thread that are being opened at a time.
    pub connecting_max: usize,
    /// Makes findings of what was found.
    pub findings: fn(&Finding) -> Vec<(&'static str, Json)>,
    common: Arc<Common>,
}

/// What the threads of a run share.
#[derive(Debug)]
struct Common {
    target: Target,
    adapter: Arc<dyn Adapter>,
    scenario: Scenario,
    source: Source,
    /// Flows of each topic.
    flows_of: Vec<Vec<usize>>,
    /// Topics that each session publishes on.
    published_by: Vec<Vec<usize>>,
    /// How many sessions hear each topic from the beginning, but for slow ones.
    hearers: Vec<u64>,
    /// Messages published, by flow.
    published: Vec<AtomicU64>,
    /// Deliveries that have arrived or can no more. For windows.
    settled: AtomicU64,
}

impl PubSub {
    /// A workload of this scenario.
    pub fn new(
        name: &'static str,
        place: &Place,
        scenario: Scenario,
        source: Source,
        series: &'static [&'static str],
        options: Json,
    ) -> Self {
        let mut flows_of = vec![Vec::new(); scenario.topics.len()];
        scenario.flows.iter().enumerate().for_each(|(flow, Flow { topic, .. })| flows_of[*topic].push(flow));
        let mut published_by = vec![Vec::new(); scenario.sessions.len()];
        for flow in &scenario.flows {
            if !published_by[flow.session].contains(&flow.topic) {
                published_by[flow.session].push(flow.topic);
            }
        }
        let mut hearers = vec![0; scenario.topics.len()];
        let there = |session: &&Session| !session.comes_later && session.reads_bytes_per_second.is_none();
        scenario
            .sessions
            .iter()
            .filter(there)
            .flat_map(|session| &session.subscribes)
            .for_each(|&topic| hearers[topic] += 1);
        let published = scenario.flows.iter().map(|_| AtomicU64::new(0)).collect();
        let common = Common {
            target: place.target.clone(),
            adapter: Arc::clone(&place.adapter),
            scenario,
            source,
            flows_of,
            published_by,
            hearers,
            published,
            settled: AtomicU64::new(0),
        };
        Self {
            name,
            target: place.target.clone(),
            options,
            series,
            watch: Watch::default(),
            connecting_max: ClientsOptions::CONNECTING_MAX,
            findings: |_| Vec::new(),
            common: Arc::new(common),
        }
    }
}

impl Model for PubSub {
    type Worker = PubSubWorker;

    fn name(&self) -> &'static str {
        self.name
    }

    fn adapter(&self) -> String {
        self.common.adapter.name().to_owned()
    }

    fn target(&self) -> &Target {
        &self.target
    }

    fn options(&self) -> Json {
        self.options.clone()
    }

    fn series(&self) -> &'static [&'static str] {
        self.series
    }

    fn kind(&self) -> Loop {
        match self.common.source {
            Source::Script(_) => Loop::Open,
            Source::Window { .. } => Loop::Closed,
        }
    }

    fn has_spread(&self) -> bool {
        self.common.hearers.iter().any(|&hearers| hearers > 1)
    }

    fn parts_max(&self) -> usize {
        self.common.scenario.sessions.len()
    }

    fn connections_max(&self, share: Share) -> usize {
        // A session has a connection for each topic at most, in either direction.
        let scenario = &self.common.scenario;
        let mut each: Vec<usize> = scenario.sessions.iter().map(|session| session.subscribes.len()).collect();
        scenario.flows.iter().for_each(|flow| each[flow.session] += 1);
        let own = each.iter().enumerate().filter(|(session, _)| share.owns(*session));
        own.map(|(_, connections)| connections).sum()
    }

    fn connecting_max(&self, _: Share) -> usize {
        self.connecting_max
    }

    fn worker(&self, share: Share, recorder: Recorder) -> Result<PubSubWorker, String> {
        PubSubWorker::new(Arc::clone(&self.common), self.watch.clone(), share, recorder)
    }

    fn findings(&self, merged: &Finding) -> Vec<(&'static str, Json)> {
        (self.findings)(merged)
    }
}
