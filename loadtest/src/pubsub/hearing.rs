//! What comes in on a thread's connections: which message it is, whether it was to come, and how late it is.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ringwire_ring::{Instant, wall_clock_us};

use super::PubSubWorker;
use super::member::{Pending, Presence};
use crate::adapter::Heard as Kind;
use crate::clients::{End, Message, Outbox, Workload};
use crate::measure::{Seen, Series, Span, Track};
use crate::payload::stamp::{Finds, Found, Stamp, restore};

/// How long a server may take to let who came later hear, from when its connections are ready. Many protocols confirm no
/// subscription, and what is published while it comes into force may go past it: that is nobody's fault. What is
/// published later than this, of a flow that it has heard nothing of since it came, is lost.
const SUBSCRIBED_WITHIN: Duration = Duration::from_secs(1);

impl PubSubWorker {
    /// A line may have become ready, and with it its session.
    fn look_at(&mut self, place: usize, line: usize, at: Instant, out: &mut Outbox<'_>) {
        let member = &mut self.members[place];
        let open = &mut member.lines[line];
        if open.is_ready || !open.line.is_ready() {
            return;
        }
        open.is_ready = true;
        self.awaited -= 1;
        if let Some(bytes_per_second) = self.common.scenario.sessions[member.session].reads_bytes_per_second {
            out.throttle(open.link, bytes_per_second);
        }
        if let Presence::Coming { due, asked } = member.presence
            && member.lines.iter().all(|open| open.is_ready)
        {
            member.presence = Presence::Here;
            if let Some(Span { start, .. }) = self.span {
                self.on_join(place, [start, due, asked, at], out);
            }
        }
    }

    /// Those who came a while ago are owed from now on what is published of each flow that they have heard nothing of.
    #[inline]
    fn look_at_newcomers(&mut self, at: Instant) {
        while let Some(&(owed_from, place)) = self.newcomers.front()
            && owed_from <= at
        {
            self.newcomers.pop_front();
            let member = &mut self.members[place as usize];
            // It may have left and come again since, or be on its way: then it is looked at in its turn.
            if member.presence == Presence::Here && member.owed_from == Some(owed_from) {
                member.heard.iter_mut().for_each(|heard| {
                    heard.silent_from = Some(self.common.published[heard.flow].load(Ordering::Relaxed));
                });
            }
        }
    }

    /// A session is there that came while the run goes on: what was due of it meanwhile follows.
    fn on_join(&mut self, place: usize, [start, due, asked, at]: [Instant; 4], out: &mut Outbox<'_>) {
        let owed_from = at + SUBSCRIBED_WITHIN;
        self.members[place].owed_from = Some(owed_from);
        self.newcomers.push_back((owed_from, place as u32));
        if let Some(series) = self.watch.joins {
            self.found.recorder.record(Series(series), at, due, asked);
        }
        if let Some(on_join) = &self.watch.on_join {
            on_join(due.since(start), at.since(due));
        }
        for Pending { flow, bytes, due } in std::mem::take(&mut self.members[place].pending) {
            self.publish(flow, bytes, due, at, out);
        }
        if std::mem::take(&mut self.members[place].is_leaving) {
            self.leave(self.members[place].session, out);
        }
    }

    /// A session all of whose connections have ended is absent, whoever ended them, and comes again if it is to.
    fn look_whether_gone(&mut self, place: usize, out: &mut Outbox<'_>) {
        let member = &mut self.members[place];
        if !member.lines.iter().all(|open| open.has_ended) {
            return;
        }
        member.presence = Presence::Absent;
        self.found.accounts.expected += member.retire();
        match member.returns.take() {
            Some(due) => {
                let session = member.session;
                self.join(session, due, out);
            }
            // What was due of who does not come is not sent.
            None => {
                member.pending.clear();
                member.is_leaving = false;
            }
        }
    }

    /// A sound payload came to who does not hear its flow. Some servers send to all, publishers too: what comes back to
    /// who published it is no fault, and neither is another run's.
    #[cold]
    fn on_misrouted(&mut self, place: usize, flow: usize) {
        let session = self.members[place].session;
        let is_anothers = self.common.scenario.flows.get(flow).is_some_and(|flow| flow.session != session);
        self.found.accounts.misrouted += u64::from(is_anothers);
        self.found.accounts.unknown += u64::from(!is_anothers);
    }

    /// A sound payload came for a member, in a message of so many bytes; 0 if they are counted. Says whether it counts.
    #[inline]
    fn on_payload(&mut self, place: usize, stamp: Stamp, bytes: usize, at: Instant) -> bool {
        let flow = stamp.flow as usize;
        let Some(heard) = self.members[place].heard(flow) else {
            self.on_misrouted(place, flow);
            return false;
        };
        let track = match &mut heard.track {
            Some(track) => track,
            none => {
                heard.base = stamp.seq;
                none.insert(Track::from(stamp.seq))
            }
        };
        let accounts = &mut self.found.accounts;
        let seen = track.see(stamp.seq);
        match seen {
            Seen::InOrder => {
                accounts.arrived += 1;
                self.settled_untold += 1;
            }
            Seen::AfterGap(missing) => {
                accounts.arrived += 1;
                self.settled_untold += 1 + missing;
                self.missing += missing;
            }
            Seen::Late => {
                accounts.arrived += 1;
                accounts.out_of_order += 1;
                self.missing = self.missing.saturating_sub(1);
            }
            Seen::Repeated => {
                accounts.repeated += 1;
                return false;
            }
        }
        let Some(span) = self.span else { return false };
        self.found.recorder.count(1, bytes as u64, at);
        if stamp.due >= span.measure_from {
            let flow = &self.common.scenario.flows[flow];
            self.found.recorder.record(Series(flow.series), at, stamp.due, stamp.due + stamp.late);
            if let Some(cadence) = self.watch.cadence.filter(|cadence| cadence.series == flow.series) {
                self.found.ticks.see(cadence.interval, seen, stamp.due, at, heard.last.replace(at));
            }
            if self.common.hearers[flow.topic] > 1 {
                self.found.spread.see(stamp.flow, stamp.seq, at);
            }
        }
        true
    }

    /// A message came that holds payloads.
    pub(super) fn on_payloads(&mut self, place: usize, bytes: &[u8], at: Instant) {
        let (payloads, mut restored) = (std::mem::take(&mut self.payloads), std::mem::take(&mut self.restored));
        if !self.take_in(place, payloads.find(bytes), bytes.len(), at) {
            // The server may have written them anew, with spaces or inside a string.
            restored.clear();
            restore(bytes, &mut restored);
            if !self.take_in(place, payloads.find(&restored), bytes.len(), at) {
                let is_ours = payloads.is_beheaded(&restored);
                self.found.accounts.corrupted += u64::from(is_ours);
                self.found.accounts.unknown += u64::from(!is_ours);
            }
        }
        (self.payloads, self.restored) = (payloads, restored);
    }

    /// Whether anything was found in a message. Each payload is a message that was published; the bytes that came count
    /// once.
    #[inline]
    fn take_in(&mut self, place: usize, finds: Finds<'_>, mut bytes: usize, at: Instant) -> bool {
        let mut any = false;
        for found in finds {
            any = true;
            match found {
                Found::Sound(stamp) => {
                    if self.on_payload(place, stamp, bytes, at) {
                        bytes = 0;
                    }
                }
                Found::Corrupted => self.found.accounts.corrupted += 1,
            }
        }
        any
    }

    /// A message came that was not published here and says when it was made, by the wall clock.
    fn on_foreign(&mut self, made_ns: u64, bytes: usize, at: Instant) {
        if self.span.is_none() {
            return;
        }
        self.found.accounts.expected += 1;
        self.found.accounts.arrived += 1;
        self.found.recorder.count(1, bytes as u64, at);
        let age_ns = (wall_clock_us() * 1000).saturating_sub(made_ns);
        let made = Instant::from_nanos(at.as_nanos().saturating_sub(age_ns));
        self.found.recorder.record(Series(0), at, made, made);
    }

    /// The run cannot go on, or cannot begin.
    fn fail(&mut self, reason: String) {
        if self.span.is_some() {
            self.found.accounts.count_end(&reason);
            self.is_over = true;
        } else {
            self.failed.get_or_insert(reason);
        }
    }
}

impl Workload for PubSubWorker {
    fn on_open(&mut self, out: &mut Outbox<'_>, link: usize, at: Instant) {
        let Some((place, line)) = self.links[link].map(|(place, line)| (place as usize, line as usize)) else { return };
        self.say.clear();
        self.members[place].lines[line].line.open(&mut self.say);
        out.send(link, self.say.frames());
        self.look_at(place, line, at, out);
    }

    fn on_message(&mut self, out: &mut Outbox<'_>, link: usize, message: Message<'_>, at: Instant) {
        let Some((place, line)) = self.links[link].map(|(place, line)| (place as usize, line as usize)) else { return };
        let bytes = message.bytes;
        self.say.clear();
        let kind = self.members[place].lines[line].line.hear(message, &mut self.say);
        if !self.say.frames().is_empty() {
            out.send(link, self.say.frames());
        }
        // A confirmation may come in one message with the first payloads.
        if !self.members[place].lines[line].is_ready {
            self.look_at(place, line, at, out);
        }
        match kind {
            Ok(Kind::Payloads) if self.is_slow(&self.members[place]) => self.found.slow_messages += 1,
            Ok(Kind::Payloads) => self.on_payloads(place, bytes, at),
            Ok(Kind::Foreign(made_ns)) => self.on_foreign(made_ns, bytes.len(), at),
            Ok(Kind::Control) => {}
            Err(fault) => self.fail(format!("{}: {fault}", self.common.target)),
        }
    }

    fn on_enter(&mut self, at: Instant) {
        for due in self.leaving.drain(..) {
            self.found.recorder.late(due, at);
        }
        if self.settled_untold > 0 {
            self.common.settled.fetch_add(std::mem::take(&mut self.settled_untold), Ordering::Relaxed);
        }
        self.look_at_newcomers(at);
        self.found.recorder.lost_so_far(self.missing);
        self.found.recorder.turn(at);
    }

    fn on_ended(&mut self, out: &mut Outbox<'_>, link: usize, end: &End) {
        let Some((place, line)) = self.links[link].take() else { return };
        self.open -= 1;
        let (place, line) = (place as usize, line as usize);
        let is_slow = self.is_slow(&self.members[place]);
        let member = &mut self.members[place];
        self.awaited -= usize::from(!member.lines[line].is_ready);
        member.lines[line].has_ended = true;
        let is_leaving = member.presence == Presence::Leaving;
        if let End::NotOpened(reason) | End::Broken(reason) = end
            && !is_leaving
        {
            match (is_slow, self.span) {
                // A server may end those who read too slowly.
                (true, Some(_)) => self.found.slow_ended += 1,
                (false, Some(_)) => {
                    // A session is whole or gone: it can come again once its other connections have ended too.
                    member.presence = Presence::Leaving;
                    member.lines.iter().filter(|open| !open.has_ended).for_each(|open| out.close(open.link));
                    self.found.accounts.count_end(reason);
                    // A window would wait for ever for what this one was to get.
                    self.is_over |= matches!(self.common.source, super::Source::Window { .. });
                }
                (_, None) => {
                    self.failed.get_or_insert_with(|| reason.clone());
                    return;
                }
            }
        }
        self.look_whether_gone(place, out);
    }
}
