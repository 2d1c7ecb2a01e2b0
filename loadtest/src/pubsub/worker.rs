//! What one thread does: its sessions' connections, and the actions that are due. What comes in is heard in
//! [`hearing`](super::hearing).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ringwire_ring::Instant;

use super::member::{Member, Pending, Presence};
use super::watch::Ticks;
use super::{Action, Common, Flow, Script, Source, Spreads, Watch, What};
use crate::adapter::Say;
use crate::clients::Outbox;
use crate::measure::{Accounts, Recorder, Span, Track};
use crate::payload::stamp::{FLOWS_MAX, PAYLOAD_BYTES_MIN, Payloads, Stamp};
use crate::run::{Finding, Readiness, Share, Worker};
use crate::target::Protocol;

/// What may wait in user space for a socket that takes nothing: beyond this a run ends, since the server does not take
/// what is published.
const BACKLOG_BYTES_MAX: usize = 64 << 20;
/// Actions between two turns at most: a generator that is behind still receives, and says how late it is.
const ACTIONS_AT_ONCE: usize = 1024;
/// Messages at most that are counted as late because they were due and never sent.
const UNSENT_MAX: usize = 1 << 20;
/// What a slow session reads at least until it is ready.
const OPENING_BYTES_PER_SECOND: u64 = 64 * 1024;
/// How soon a window is looked at again that another thread's deliveries may have opened.
const WINDOW_LOOK: Duration = Duration::from_micros(200);

/// What is said of a session that was to come and did not, though nothing was refused it.
const NEVER_READY: &str = "a session was not ready by the end";

/// A thread's part of a [`PubSub`](super::PubSub).
pub struct PubSubWorker {
    pub(super) common: Arc<Common>,
    pub(super) watch: Watch,
    share: Share,
    pub(super) members: Vec<Member>,
    /// Which member's which line each connection is.
    pub(super) links: Vec<Option<(u32, u32)>>,
    script: Option<Script>,
    next: Option<Action>,
    /// When it was last asked what is due.
    pumped_at: Instant,
    /// Messages of each flow that this thread has published.
    published: Vec<u64>,
    pub(super) payloads: Payloads,
    /// A message as it was before a server wrote it anew, for as long as it is looked into.
    pub(super) restored: Vec<u8>,
    pub(super) say: Say,
    pub(super) span: Option<Span>,
    /// When those that go out with this turn were due.
    pub(super) leaving: Vec<Instant>,
    /// Deliveries settled that the threads' common count does not have yet.
    pub(super) settled_untold: u64,
    /// Deliveries missing by now, for the live line.
    pub(super) missing: u64,
    /// Members who came while the run goes on, in order, and from when they are owed what they hear.
    pub(super) newcomers: VecDeque<(Instant, u32)>,
    /// No thread publishes any more.
    nobody_publishes: bool,
    /// Lines that are to be ready before it begins, and those that have not ended.
    pub(super) awaited: usize,
    pub(super) open: usize,
    pub(super) failed: Option<String>,
    pub(super) is_over: bool,
    pub(super) found: Results,
}

/// What was found so far.
#[derive(Debug)]
pub(super) struct Results {
    pub(super) accounts: Accounts,
    pub(super) recorder: Recorder,
    pub(super) spread: Spreads,
    pub(super) ticks: Ticks,
    /// What slow sessions got, and how many of their connections ended.
    pub(super) slow_messages: u64,
    pub(super) slow_ended: u64,
}

impl PubSubWorker {
    pub(super) fn new(common: Arc<Common>, watch: Watch, share: Share, recorder: Recorder) -> Result<Self, String> {
        let scenario = &common.scenario;
        if scenario.flows.len() > FLOWS_MAX {
            return Err(format!("{} flows: at most {FLOWS_MAX} can be told apart", scenario.flows.len()));
        }
        if common.target.protocol == Protocol::Tcp && scenario.topics.len() > 1 {
            let (target, topics) = (&common.target, scenario.topics.len());
            return Err(format!(
                "{target}: a relay has one topic, and here are {topics}: a ws:// or wss:// URL is needed"
            ));
        }
        if scenario.bytes_max < PAYLOAD_BYTES_MIN {
            return Err(format!("--bytes {}: at least {PAYLOAD_BYTES_MIN} are needed for a stamp", scenario.bytes_max));
        }
        let members = (0..scenario.sessions.len()).filter(|&session| share.owns(session));
        Ok(Self {
            members: members.map(|session| Member::new(&common, session)).collect(),
            links: Vec::new(),
            script: None,
            next: None,
            pumped_at: Instant::default(),
            published: vec![0; scenario.flows.len()],
            payloads: Payloads::new(scenario.bytes_max),
            restored: Vec::new(),
            say: Say::new(share.index as u64),
            span: None,
            leaving: Vec::new(),
            settled_untold: 0,
            missing: 0,
            newcomers: VecDeque::new(),
            nobody_publishes: false,
            awaited: 0,
            open: 0,
            failed: None,
            is_over: false,
            found: Results {
                accounts: Accounts::default(),
                recorder,
                spread: Spreads::default(),
                ticks: Ticks::default(),
                slow_messages: 0,
                slow_ended: 0,
            },
            share,
            watch,
            common,
        })
    }

    /// A session's place among this thread's members.
    fn place(&self, session: usize) -> usize {
        debug_assert!(self.share.owns(session), "session {session} is another thread's");
        session / self.share.count
    }

    /// A session is to come, which was due then. One that is still leaving comes when it has left.
    pub(super) fn join(&mut self, session: usize, due: Instant, out: &mut Outbox<'_>) {
        let place = self.place(session);
        let member = &mut self.members[place];
        match member.presence {
            Presence::Absent => {}
            Presence::Leaving => return member.returns = Some(due),
            Presence::Coming { .. } | Presence::Here => return,
        }
        if let Err(reason) = member.join(&self.common, due, out) {
            self.failed.get_or_insert(reason);
            return;
        }
        let slow = self.common.scenario.sessions[session].reads_bytes_per_second;
        for (line, open) in member.lines.iter().enumerate() {
            if self.links.len() <= open.link {
                self.links.resize(open.link + 1, None);
            }
            self.links[open.link] = Some((place as u32, line as u32));
            // It reads what confirms its subscription, however slow it is then.
            if let Some(bytes_per_second) = slow {
                out.throttle(open.link, bytes_per_second.max(OPENING_BYTES_PER_SECOND));
            }
        }
        self.open += member.lines.len();
        self.awaited += member.lines.len();
    }

    pub(super) fn leave(&mut self, session: usize, out: &mut Outbox<'_>) {
        let place = self.place(session);
        let member = &mut self.members[place];
        if member.presence != Presence::Here {
            return member.is_leaving = member.is_to_come();
        }
        member.presence = Presence::Leaving;
        for open in &mut member.lines {
            self.say.clear();
            open.line.leave(&mut self.say);
            out.send(open.link, self.say.frames());
            out.close(open.link);
        }
    }

    /// Ends the connections of a session that is there.
    fn cut(&mut self, session: usize, out: &mut Outbox<'_>) {
        let place = self.place(session);
        let member = &mut self.members[place];
        if member.presence == Presence::Here {
            member.presence = Presence::Leaving;
            member.lines.iter().for_each(|open| out.abort(open.link));
        }
    }

    /// Publishes what was due then and could be sent from `from` on.
    pub(super) fn publish(&mut self, flow: usize, bytes: usize, due: Instant, from: Instant, out: &mut Outbox<'_>) {
        let Flow { topic, session, .. } = self.common.scenario.flows[flow];
        let place = self.place(session);
        let member = &mut self.members[place];
        if member.presence != Presence::Here {
            return member.defer(Pending { flow, bytes, due });
        }
        let Some(&(line, number)) = member.routes.get(&topic) else { return };
        let open = &mut member.lines[line];
        let stamp = Stamp { flow: flow as u32, seq: self.published[flow], due, late: out.now().since(due) };
        let payload = self.payloads.make(stamp, bytes);
        self.say.clear();
        open.line.publish(number, payload, &mut self.say);
        out.send(open.link, self.say.frames());
        self.published[flow] += 1;
        self.common.published[flow].store(self.published[flow], Ordering::Relaxed);
        self.leaving.push(from);
        if out.backlog_bytes(open.link) > BACKLOG_BYTES_MAX {
            let said = format!("the server does not take what is published: {BACKLOG_BYTES_MAX} bytes wait for it");
            self.found.accounts.count_end(&said);
            self.is_over = true;
        }
    }

    fn act(&mut self, action: Action, start: Instant, out: &mut Outbox<'_>) {
        let due = start + action.at;
        match action.what {
            What::Publish { flow, bytes } => self.publish(flow, bytes, due, due, out),
            What::Join(session) => self.join(session, due, out),
            What::Leave(session) => self.leave(session, out),
            What::Cut(session) => self.cut(session, out),
        }
    }

    /// What was due by now and was not published is late: a generator that is too slow for the rate must not pass for
    /// one that was asked for less.
    fn count_unsent(&mut self) {
        let Some(span) = self.span else { return };
        let unsent = self.next.take().into_iter().chain(self.script.take().into_iter().flatten());
        let due = unsent.map(|action| (span.start + action.at, action.what));
        let overdue = due.skip_while(|(due, _)| *due < span.measure_from).take_while(|(due, _)| *due <= self.pumped_at);
        for (due, what) in overdue.take(UNSENT_MAX) {
            if matches!(what, What::Publish { .. }) {
                self.found.recorder.late(due, self.pumped_at);
            }
        }
    }

    /// Whether members of this thread are to get something yet of what was published. Who has left is owed nothing.
    fn is_owed(&self) -> bool {
        let published = |flow: usize| self.common.published[flow].load(Ordering::Relaxed);
        let here = self.members.iter().filter(|member| member.presence == Presence::Here && !self.is_slow(member));
        let mut heard = here.flat_map(|member| &member.heard);
        heard.any(|heard| {
            let next = heard.track.as_ref().map(Track::next).or(heard.silent_from);
            next.is_some_and(|next| next < published(heard.flow))
        })
    }

    pub(super) fn is_slow(&self, member: &Member) -> bool {
        self.common.scenario.sessions[member.session].reads_bytes_per_second.is_some()
    }

    /// What was published and heard of by nobody who was to hear it is lost.
    fn settle(&mut self) {
        for member in &self.members {
            let is_slow = self.is_slow(member);
            // It set out while there was time, and has had the patience of the end on top. A run that broke off has its
            // reason already.
            if member.is_to_come() && !is_slow && !self.is_over && self.span.is_some() {
                self.found.accounts.count_end(NEVER_READY);
            }
            for heard in member.heard.iter().filter(|_| !is_slow) {
                let published = self.common.published[heard.flow].load(Ordering::Relaxed);
                let Some(track) = &heard.track else {
                    // The server forgot who came a while ago.
                    if let (Some(from), Presence::Here) = (heard.silent_from, member.presence) {
                        self.found.accounts.expected += published - from;
                    }
                    continue;
                };
                // Who has left, or was cut off, is owed nothing behind what came last.
                let end = match member.presence {
                    Presence::Here => published.max(track.next()),
                    _ => track.next(),
                };
                self.found.accounts.expected += end - heard.base;
            }
        }
        let accounts = &mut self.found.accounts;
        let came = accounts.arrived + accounts.corrupted;
        accounts.lost = accounts.expected.saturating_sub(came);
    }
}

impl Worker for PubSubWorker {
    fn connect(&mut self, out: &mut Outbox<'_>) {
        let sessions = &self.common.scenario.sessions;
        let there: Vec<usize> = self
            .members
            .iter()
            .map(|member| member.session)
            .filter(|&session| !sessions[session].comes_later)
            .collect();
        let now = out.now();
        there.into_iter().for_each(|session| self.join(session, now, out));
    }

    fn readiness(&self) -> Readiness {
        match &self.failed {
            Some(reason) => Readiness::Failed(reason.clone()),
            None if self.awaited > 0 => Readiness::Connecting { left: self.awaited },
            None => Readiness::Ready,
        }
    }

    fn start(&mut self, span: Span) {
        self.span = Some(span);
        self.found.recorder.start(span);
        if let Source::Script(script) = &self.common.source {
            let mut script = script(self.share);
            self.next = script.next();
            self.script = Some(script);
        }
    }

    fn pump(&mut self, out: &mut Outbox<'_>, now: Instant) -> Instant {
        let Some(Span { start, measure_to, .. }) = self.span else { return now + WINDOW_LOOK };
        if let Source::Window { messages, bytes } = self.common.source {
            if !self.share.owns(self.common.scenario.flows[0].session) || now < start {
                return if now < start { start } else { measure_to };
            }
            let hearers = self.common.hearers[self.common.scenario.flows[0].topic];
            let settled = self.common.settled.load(Ordering::Relaxed);
            while self.published[0] * hearers < settled + messages * hearers && !self.is_over {
                self.publish(0, bytes, now, now, out);
            }
            return if self.share.count == 1 { measure_to } else { now + WINDOW_LOOK };
        }
        self.pumped_at = now;
        for _ in 0..ACTIONS_AT_ONCE {
            let Some(action) = self.next else { return measure_to };
            let at = start + action.at;
            if at > now || at >= measure_to {
                return at;
            }
            self.act(action, start, out);
            self.next = self.script.as_mut().and_then(Iterator::next);
        }
        now
    }

    fn is_over(&self) -> bool {
        let nobody_comes = self.watch.joins.is_none() && !self.members.is_empty();
        self.is_over || (self.open == 0 && nobody_comes)
    }

    fn stop(&mut self, at: Instant) {
        self.found.recorder.stop(at);
        self.count_unsent();
        // What would follow once a session is there is not sent.
        self.members.iter_mut().for_each(|member| member.pending.clear());
    }

    fn all_stopped(&mut self) {
        self.nobody_publishes = true;
    }

    fn is_drained(&self) -> bool {
        self.is_over() || (self.awaited == 0 && self.nobody_publishes && !self.is_owed())
    }

    fn finish(mut self) -> Finding {
        self.settle();
        let Results { accounts, recorder, spread, ticks, slow_messages, slow_ended } = self.found;
        let counts = [("slow_messages", slow_messages), ("slow_connections_ended", slow_ended)];
        let late = self.watch.cadence.map(|_| ("late_ticks", ticks.late));
        Finding {
            accounts,
            recorded: recorder.finish(),
            spread: Some(spread),
            counts: counts.into_iter().filter(|(_, count)| *count > 0).chain(late).collect(),
            histograms: [("jitter_us", ticks.jitter)].into_iter().filter(|(_, jitter)| jitter.count() > 0).collect(),
        }
    }
}
