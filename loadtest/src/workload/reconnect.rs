//! `reconnect`: all connections end at once and come back at once, as after a restart or a network's failure.
//!
//! Sessions subscribe, and somebody publishes. In every round all sessions are cut off by us in the same instant, without
//! a word, and set out to come back at once, or each at a random part of `stagger` later, as clients with jitter do.
//! A session is back when its subscription is confirmed, as far as the protocol confirms any: its time runs from when it
//! set out. How long until *all* are back is told for each round, from the cut. One that is not back when the next
//! round begins is left alone by it, and its time runs on.
//!
//! Rounds begin at even intervals of the measured time, so the time must be long enough for all to come back: a server
//! whose backlog of connections overflows lets clients' kernels try again after 1 s, 3 s and 7 s.
//!
//! Where the defaults come from: 1,000 clients are what one process of a small service has; ten messages a second over
//! ten topics let each hear something every second, so that it shows if a server has forgotten who subscribes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::script::{beats, merge};
use super::{Kind, Options, Place};
use crate::cli::Flags;
use crate::json::Json;
use crate::pubsub::{Action, Flow, PubSub, Scenario, Script, Session, Source, What};
use crate::report::Report;
use crate::run::{self, Load, Share};

/// `reconnect`, on the command line.
pub const KIND: Kind = Kind {
    name: "reconnect",
    about: "all connections end at once and come back: how long until each and all are ready",
    help: "\
    --connections N       sessions that are cut off and come back [1000]
    --rounds N            how often, evenly over --seconds [3]
    --stagger S           seconds over which they come back, each at a random instant [0]
    --topics N            topics; each session has one [10]
    --rate R              publishes a second over all topics [10]
    --bytes N             payload bytes, at least 44 [128]
",
    has_adapter: true,
    read: |flags| Ok(Box::new(ReconnectOptions::read(flags)?)),
};

const SERIES: &[&str] = &["ready", "delivery"];
const READY: usize = 0;
const DELIVERY: usize = 1;

/// A herd.
#[derive(Clone, Debug, PartialEq)]
pub struct ReconnectOptions {
    /// Sessions.
    pub connections: usize,
    /// How often they are cut off.
    pub rounds: u32,
    /// Over how long they come back.
    pub stagger: Duration,
    /// Topics.
    pub topics: usize,
    /// Publishes a second.
    pub rate: f64,
    /// Bytes of a payload.
    pub bytes: usize,
}

/// When the rounds are, counted from the start.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    first: Duration,
    every: Duration,
    rounds: u32,
}

/// How many are back in each round, and after how long the last one was.
type Backs = Mutex<Vec<(usize, Duration)>>;

impl Schedule {
    fn cut(&self, round: u32) -> Duration {
        self.first + self.every * round
    }

    /// The round in which somebody sets out at `at`.
    fn round(&self, at: Duration) -> usize {
        let since = at.saturating_sub(self.first).as_nanos() / self.every.as_nanos().max(1);
        since.min(u128::from(self.rounds) - 1) as usize
    }
}

impl ReconnectOptions {
    /// Reads its flags.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(flags: &mut Flags) -> Result<Self, String> {
        Ok(Self {
            connections: flags.at_least_one("connections", 1000)?,
            rounds: u32::try_from(flags.at_least_one("rounds", 3)?).map_err(|_| "--rounds: too many".to_owned())?,
            stagger: flags.seconds("stagger", 0.0)?,
            topics: flags.at_least_one("topics", 10)?,
            rate: flags.above_zero("rate", 10.0)?,
            bytes: flags.payload_bytes("bytes", 128)?,
        })
    }

    fn schedule(&self, load: &Load) -> Result<Schedule, String> {
        let every = load.time / self.rounds;
        if self.stagger >= every {
            return Err(format!(
                "--stagger {:.3}: rounds are only {:.3} s apart; fewer --rounds or more --seconds are needed",
                self.stagger.as_secs_f64(),
                every.as_secs_f64()
            ));
        }
        Ok(Schedule { first: load.warm_up, every, rounds: self.rounds })
    }

    /// The publisher is session 0. Flow n is topic n.
    fn scenario(&self) -> Scenario {
        let herd =
            (0..self.connections).map(|nth| Session { subscribes: vec![nth % self.topics], ..Session::default() });
        Scenario {
            topics: (0..self.topics).map(|topic| format!("reconnect.{topic}")).collect(),
            flows: (0..self.topics).map(|topic| Flow { topic, session: 0, series: DELIVERY }).collect(),
            sessions: std::iter::once(Session::default()).chain(herd).collect(),
            bytes_max: self.bytes,
        }
    }

    fn script(&self, share: Share, schedule: Schedule, seed: u64) -> Script {
        let topics = if share.owns(0) { self.topics } else { 0 };
        let places = (0..topics).map(|topic| (topic as f64 / self.topics as f64, topic)).collect();
        let publishes = beats(places, self.rate / self.topics as f64, self.bytes);
        let this = self.clone();
        let herd =
            (0..schedule.rounds).flat_map(move |round| this.round(share, schedule.cut(round), seed ^ u64::from(round)));
        merge(vec![publishes, Box::new(herd)])
    }

    /// What a thread's sessions do in a round.
    fn round(&self, share: Share, cut: Duration, seed: u64) -> Vec<Action> {
        let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(0x9E37_79B9).wrapping_add(share.index as u64));
        let own: Vec<usize> = (1..=self.connections).filter(|&session| share.owns(session)).collect();
        let mut returns: Vec<Action> = own
            .iter()
            .map(|&session| Action { at: cut + self.stagger.mul_f64(random.f64()), what: What::Join(session) })
            .collect();
        returns.sort_by_key(|action| action.at);
        own.into_iter().map(|session| Action { at: cut, what: What::Cut(session) }).chain(returns).collect()
    }

    fn to_json(&self) -> Json {
        Json::object([
            ("connections", self.connections.into()),
            ("rounds", u64::from(self.rounds).into()),
            ("stagger_seconds", self.stagger.as_secs_f64().into()),
            ("topics", self.topics.into()),
            ("rate", self.rate.into()),
            ("bytes", self.bytes.into()),
        ])
    }

    /// When all were back in each round, in milliseconds since the cut, and how many were not.
    fn findings(&self, backs: &[(usize, Duration)]) -> [(&'static str, Json); 2] {
        let all = backs.iter().map(|&(back, last)| {
            let millis = (back == self.connections).then_some(last.as_secs_f64() * 1e3);
            Json::from(millis)
        });
        let missing: usize = backs.iter().map(|(back, _)| self.connections.saturating_sub(*back)).sum();
        [("all_ready_ms", Json::List(all.collect())), ("not_back", missing.into())]
    }
}

impl Options for ReconnectOptions {
    fn run(&self, place: &Place, load: &Load) -> Result<Report, String> {
        let schedule = self.schedule(load)?;
        let (this, seed) = (self.clone(), load.seed);
        let source = Source::Script(Arc::new(move |share| this.script(share, schedule, seed)));
        let mut model = PubSub::new("reconnect", place, self.scenario(), source, SERIES, self.to_json());
        model.watch.joins = Some(READY);
        model.connecting_max = self.connections;
        let backs: Arc<Backs> = Arc::new(Mutex::new(vec![(0, Duration::ZERO); self.rounds as usize]));
        let of_threads = Arc::clone(&backs);
        model.watch.on_join = Some(Arc::new(move |set_out, took| count(&of_threads, schedule, set_out, took)));
        let mut report = run::run(&model, load)?;
        let backs = backs.lock().map_or_else(|poisoned| poisoned.into_inner().clone(), |backs| backs.clone());
        report.findings.extend(self.findings(&backs));
        Ok(report)
    }
}

/// One that set out then, counted from the start, is back after so long.
fn count(backs: &Backs, schedule: Schedule, set_out: Duration, took: Duration) {
    let round = schedule.round(set_out);
    let since_cut = set_out + took - schedule.cut(round as u32);
    let mut backs = backs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (back, last) = &mut backs[round];
    *back += 1;
    *last = since_cut.max(*last);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERD: ReconnectOptions = ReconnectOptions {
        connections: 7,
        rounds: 2,
        stagger: Duration::from_millis(300),
        topics: 3,
        rate: 30.0,
        bytes: 64,
    };
    const SCHEDULE: Schedule = Schedule { first: Duration::from_secs(1), every: Duration::from_secs(2), rounds: 2 };

    fn script(share: Share) -> Vec<Action> {
        let script = HERD.script(share, SCHEDULE, 5);
        script.take_while(|action| action.at < Duration::from_secs(5)).collect()
    }

    #[test]
    fn all_are_cut_off_in_one_instant_and_come_back_within_the_stagger() {
        for index in 0..2 {
            let share = Share { index, count: 2 };
            let actions = script(share);
            assert!(actions.is_sorted_by_key(|action| action.at));
            for session in (1..=7).filter(|&session| share.owns(session)) {
                let of: Vec<_> = actions
                    .iter()
                    .filter(|action| matches!(action.what, What::Cut(of) | What::Join(of) if of == session))
                    .collect();
                assert_eq!(of.len(), 4);
                for (pair, cut) in of.chunks(2).zip([1.0, 3.0]) {
                    assert_eq!((pair[0].what, pair[0].at.as_secs_f64()), (What::Cut(session), cut));
                    assert_eq!(pair[1].what, What::Join(session));
                    assert!((cut..cut + 0.3).contains(&pair[1].at.as_secs_f64()), "{pair:?}");
                }
            }
            let publishes = actions.iter().filter(|action| matches!(action.what, What::Publish { .. })).count();
            assert_eq!(publishes, if index == 0 { 150 } else { 0 });
        }
    }

    #[test]
    fn a_round_ends_when_the_last_is_back() {
        let backs = Mutex::new(vec![(0, Duration::ZERO); 2]);
        let millis = Duration::from_millis;
        for nth in 0..7 {
            count(&backs, SCHEDULE, millis(1000 + nth * 10), millis(500));
        }
        count(&backs, SCHEDULE, millis(3000), millis(100));
        let backs = backs.into_inner().unwrap();
        assert_eq!(backs, [(7, millis(560)), (1, millis(100))]);
        let [(_, all), (_, missing)] = HERD.findings(&backs);
        assert_eq!((all.to_string().as_str(), missing), ("[560, null]", Json::Integer(6)));
    }

    #[test]
    fn a_stagger_longer_than_a_round_is_refused() {
        let mut flags = Flags::split(&["--seconds=0.5".to_owned()]).unwrap();
        let load = crate::cli::load(&mut flags, 5.0, 1.0).unwrap();
        assert!(HERD.schedule(&load).unwrap_err().contains("--stagger 0.300: rounds are only 0.250 s apart"));
    }
}
