//! One thread's visits.
//!
//! The first visit of all is made before the run begins, so a server that is not there, or not at this path, is told in
//! time. Visits are known by their connection's number, which is used again when the connection has ended.

use std::sync::Arc;
use std::time::Duration;

use ringwire_ring::Instant;

use super::Pace;
use crate::clients::{Door, End, Message, Outbox, Workload};
use crate::measure::{Accounts, Recorder, Series, Span};
use crate::payload::Numbered;
use crate::run::{Finding, Readiness, Share, Worker};

const WHOLE: Series = Series(0);
const CONNECT: Series = Series(1);
const ROUND_TRIP: Series = Series(2);

/// So many visits may fail; then it is clear how it would go on.
const FAILED_MAX: u64 = 100;

/// A thread's part of a storm.
#[derive(Debug)]
pub(super) struct StormWorker {
    pace: Pace,
    share: Share,
    /// Most visits under way.
    limit: usize,
    door: Arc<Door>,
    message: Numbered,
    is_raw: bool,
    /// By the connection's number.
    visits: Vec<Option<Visit>>,
    under_way: usize,
    /// Visits begun.
    begun: u64,
    /// Those of them that had their time.
    due: u64,
    /// What goes out with this turn: when it was due.
    leaving: Vec<Instant>,
    state: State,
    span: Option<Span>,
    is_over: bool,
    recorder: Recorder,
    accounts: Accounts,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// The first visit, before the run.
    Trying,
    Ready,
    Failed(String),
    Running,
    Stopped,
}

#[derive(Clone, Copy, Debug)]
struct Visit {
    number: u64,
    due: Instant,
    asked: Instant,
    sent: Instant,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Connecting,
    /// The message is on its way.
    Open,
    /// The message has come back.
    Answered,
}

impl StormWorker {
    pub(super) fn new(
        pace: Pace,
        share: Share,
        limit: usize,
        door: Arc<Door>,
        message: Numbered,
        is_raw: bool,
        recorder: Recorder,
    ) -> Self {
        Self {
            pace,
            share,
            limit,
            door,
            message,
            is_raw,
            visits: Vec::new(),
            under_way: 0,
            begun: 0,
            due: 0,
            leaving: Vec::new(),
            state: State::Trying,
            span: None,
            is_over: false,
            recorder,
            accounts: Accounts::default(),
        }
    }

    fn begin(&mut self, due: Instant, out: &mut Outbox<'_>) {
        // A closed loop has no intention but to come at once.
        let asked = if matches!(self.pace, Pace::Rate(_)) { out.now() } else { due };
        let link = out.open(&self.door);
        if self.visits.len() <= link {
            self.visits.resize(link + 1, None);
        }
        self.visits[link] = Some(Visit { number: self.begun, due, asked, sent: asked, progress: Progress::Connecting });
        self.begun += 1;
        self.under_way += 1;
        if self.state == State::Running {
            self.accounts.expected += 1;
            self.leaving.push(due);
        }
    }

    /// A visit is over, well or not.
    fn on_over(&mut self, visit: Visit, end: &End, now: Instant) {
        let reason = match (end.fault(), visit.progress) {
            (None, Progress::Answered) => None,
            (None, _) => Some("the server closed the connection before it answered".to_owned()),
            (Some(reason), _) => Some(reason.to_owned()),
        };
        match (self.state.clone(), reason) {
            (State::Trying, None) => self.state = State::Ready,
            (State::Trying, Some(reason)) => self.state = State::Failed(reason),
            (State::Ready | State::Failed(_), _) => {}
            (State::Running | State::Stopped, None) => {
                self.recorder.record(WHOLE, now, visit.due, visit.asked);
                self.recorder.count(1, self.message.frame_bytes() as u64, now);
            }
            (State::Running | State::Stopped, Some(reason)) => {
                self.accounts.count_end(&reason);
                self.is_over |= self.accounts.ended >= FAILED_MAX;
            }
        }
    }

    /// Visits that are due.
    fn begin_due(&mut self, rate: f64, span: Span, now: Instant, out: &mut Outbox<'_>) -> Instant {
        loop {
            // Threads take turns.
            let nth = self.due * self.share.count as u64 + self.share.index as u64;
            let due = span.start + Duration::from_secs_f64(nth as f64 / rate);
            if due > now || due >= span.measure_to || self.is_over {
                return due;
            }
            self.due += 1;
            if self.under_way >= self.limit {
                let said = format!("the server does not keep up: {} connections are under way in a thread", self.limit);
                self.accounts.count_end(&said);
                self.is_over = true;
                return due;
            }
            self.begin(due, out);
        }
    }
}

impl Workload for StormWorker {
    fn on_open(&mut self, out: &mut Outbox<'_>, link: usize, at: Instant) {
        let Some(visit) = &mut self.visits[link] else { return };
        visit.progress = Progress::Open;
        visit.sent = at;
        self.recorder.record(CONNECT, at, visit.due, visit.asked);
        out.send(link, self.message.frame(&[visit.number]));
    }

    fn on_message(&mut self, out: &mut Outbox<'_>, link: usize, message: Message<'_>, at: Instant) {
        let Some(visit) = &mut self.visits[link] else { return };
        if visit.progress != Progress::Open {
            self.accounts.repeated += 1;
            return;
        }
        visit.progress = Progress::Answered;
        let number = if self.is_raw {
            self.message.number_in_frame(message.bytes)
        } else {
            self.message.number(message.bytes, 0)
        };
        if matches!(self.state, State::Running | State::Stopped) {
            if number == Some(visit.number) {
                self.accounts.arrived += 1;
                self.recorder.record(ROUND_TRIP, at, visit.sent, visit.sent);
            } else {
                self.accounts.corrupted += 1;
            }
        }
        out.close(link);
    }

    fn on_enter(&mut self, at: Instant) {
        let is_open_loop = matches!(self.pace, Pace::Rate(_));
        for due in self.leaving.drain(..) {
            if is_open_loop {
                self.recorder.late(due, at);
            }
        }
        self.recorder.turn(at);
    }

    fn on_ended(&mut self, out: &mut Outbox<'_>, link: usize, end: &End) {
        let Some(visit) = self.visits[link].take() else { return };
        self.under_way -= 1;
        let now = out.now();
        self.on_over(visit, end, now);
        if self.state == State::Running && matches!(self.pace, Pace::Concurrency(_)) && !self.is_over {
            self.begin(now, out);
        }
    }
}

impl Worker for StormWorker {
    fn connect(&mut self, out: &mut Outbox<'_>) {
        if self.limit == 0 {
            self.state = State::Ready;
        } else {
            let now = out.now();
            self.begin(now, out);
        }
    }

    fn readiness(&self) -> Readiness {
        match &self.state {
            State::Trying => Readiness::Connecting { left: 1 },
            State::Failed(reason) => Readiness::Failed(reason.clone()),
            State::Ready | State::Running | State::Stopped => Readiness::Ready,
        }
    }

    fn start(&mut self, span: Span) {
        self.span = Some(span);
        self.recorder.start(span);
    }

    fn pump(&mut self, out: &mut Outbox<'_>, now: Instant) -> Instant {
        let Some(span) = self.span else { return now };
        if now < span.start {
            return span.start;
        }
        let begins = self.state != State::Running;
        self.state = State::Running;
        match self.pace {
            Pace::Rate(rate) => return self.begin_due(rate, span, now, out),
            Pace::Concurrency(_) if begins => (0..self.limit).for_each(|_| self.begin(now, out)),
            Pace::Concurrency(_) => {}
        }
        span.measure_to
    }

    fn is_over(&self) -> bool {
        self.is_over
    }

    fn stop(&mut self, at: Instant) {
        self.recorder.stop(at);
        self.state = State::Stopped;
    }

    fn is_drained(&self) -> bool {
        self.under_way == 0
    }

    fn finish(mut self) -> Finding {
        let accounts = &mut self.accounts;
        accounts.lost = accounts.expected.saturating_sub(accounts.arrived + accounts.corrupted);
        Finding { accounts: self.accounts, recorded: self.recorder.finish(), ..Finding::default() }
    }
}
