//! What happens in one room: who comes, who goes, who says something (by Gillespie's method: the time to the next event
//! is exponential with the sum of all rates, and which one it is is drawn by their shares).

use std::collections::VecDeque;
use std::time::Duration;

use crate::pubsub::{Action, What};

/// Whoever has gone does not come back before its connections have surely ended.
const AWAY_SECONDS_MIN: f64 = 2.0;
/// From someone's good-bye until its connections end. A server may drop what comes in one piece with the end: Socket.IO
/// hands no event to the application behind a disconnect.
const GOODBYE_SECONDS: f64 = 0.1;
/// Seats for more than twice as many as are there on average.
const SEATS_BESIDES: usize = 8;

/// What a room is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RoomOptions {
    /// On average and at the start, the host included.
    pub(super) participants: usize,
    pub(super) stay_seconds: f64,
    /// Of each participant.
    pub(super) chats_per_second: f64,
    pub(super) chat_bytes: usize,
    pub(super) presence_bytes: usize,
}

impl RoomOptions {
    /// Sessions of a room. When all are there, nobody else comes.
    pub(super) fn seats(&self) -> usize {
        2 * self.participants + SEATS_BESIDES
    }
}

/// What someone does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) session: usize,
    pub(super) action: Action,
}

/// A room, as the sequence of what happens there. Session n chats in flow 2n and says in flow 2n + 1 that it comes or
/// goes.
#[derive(Debug)]
pub(super) struct Room {
    options: RoomOptions,
    host: usize,
    random: fastrand::Rng,
    at: f64,
    /// Guests: all but the host.
    here: Vec<usize>,
    /// Who has said good-bye, and when it is gone.
    leaving: VecDeque<(f64, usize)>,
    /// Who may come, and since when, in the order of their going.
    away: VecDeque<(f64, usize)>,
    /// What belongs to the latest event and is not told yet.
    steps: VecDeque<Step>,
}

impl Room {
    /// Its sessions are [`RoomOptions::seats`], from this one on, which is its host's.
    pub(super) fn new(options: RoomOptions, host: usize, random: fastrand::Rng) -> Self {
        Self {
            here: (host + 1..host + options.participants).collect(),
            away: (host + options.participants..host + options.seats())
                .map(|session| (f64::NEG_INFINITY, session))
                .collect(),
            leaving: VecDeque::new(),
            steps: VecDeque::new(),
            at: 0.0,
            options,
            host,
            random,
        }
    }

    fn push(&mut self, session: usize, what: What) {
        self.steps.push_back(Step { session, action: Action { at: Duration::from_secs_f64(self.at), what } });
    }

    fn say_presence(&mut self, session: usize) {
        self.push(session, What::Publish { flow: 2 * session + 1, bytes: self.options.presence_bytes });
    }

    fn come(&mut self) {
        let is_free = |(since, _): &(f64, usize)| self.at - since >= AWAY_SECONDS_MIN;
        if self.away.front().is_some_and(is_free)
            && let Some((_, session)) = self.away.pop_front()
        {
            self.here.push(session);
            self.push(session, What::Join(session));
            self.say_presence(session);
        }
    }

    fn go(&mut self) {
        let session = self.here.swap_remove(self.random.usize(..self.here.len()));
        self.say_presence(session);
        self.leaving.push_back((self.at + GOODBYE_SECONDS, session));
    }

    /// Someone is gone who has said good-bye.
    fn be_gone(&mut self, at: f64, session: usize) {
        self.at = at;
        self.push(session, What::Leave(session));
        self.away.push_back((at, session));
    }

    fn chat(&mut self) {
        let nth = self.random.usize(..=self.here.len());
        let session = self.here.get(nth).copied().unwrap_or(self.host);
        self.push(session, What::Publish { flow: 2 * session, bytes: self.options.chat_bytes });
    }
}

impl Iterator for Room {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        while self.steps.is_empty() {
            let come = (self.options.participants - 1) as f64 / self.options.stay_seconds;
            let go = self.here.len() as f64 / self.options.stay_seconds;
            let chat = (1 + self.here.len()) as f64 * self.options.chats_per_second;
            let next = self.at - (1.0 - self.random.f64()).ln() / (come + go + chat);
            // What was drawn is drawn again from there on: an exponential time has no memory.
            if let Some((at, session)) = self.leaving.front().copied().filter(|(at, _)| *at <= next) {
                self.leaving.pop_front();
                self.be_gone(at, session);
                continue;
            }
            self.at = next;
            match self.random.f64() * (come + go + chat) {
                drawn if drawn < come => self.come(),
                drawn if drawn < come + go => self.go(),
                _ => self.chat(),
            }
        }
        self.steps.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: RoomOptions = RoomOptions {
        participants: 10,
        stay_seconds: 20.0,
        chats_per_second: 0.5,
        chat_bytes: 200,
        presence_bytes: 120,
    };
    const HOST: usize = 100;

    fn steps(seconds: u64) -> Vec<Step> {
        let room = Room::new(OPTIONS, HOST, fastrand::Rng::with_seed(3));
        room.take_while(|step| step.action.at < Duration::from_secs(seconds)).collect()
    }

    /// Calls `each` for every step with who was there before it.
    fn follow(steps: &[Step], mut each: impl FnMut(&Step, &[usize])) {
        let mut here: Vec<usize> = (HOST..HOST + 10).collect();
        for step in steps {
            each(step, &here);
            match step.action.what {
                What::Join(session) => here.push(session),
                What::Leave(session) => here.retain(|&other| other != session),
                _ => {}
            }
        }
    }

    #[test]
    fn only_who_is_there_speaks_and_goes_and_only_who_is_not_comes() {
        let steps = steps(2_000);
        assert!(steps.is_sorted_by_key(|step| step.action.at));
        let mut left = std::collections::HashMap::new();
        follow(&steps, |step, here| match step.action.what {
            What::Join(session) => {
                assert!(!here.contains(&session) && (HOST..HOST + OPTIONS.seats()).contains(&session));
                let away = left.get(&session).map(|at| step.action.at - *at);
                assert!(away.is_none_or(|away| away.as_secs_f64() > AWAY_SECONDS_MIN - 1e-6), "{away:?}");
            }
            What::Leave(session) => {
                assert!(here.contains(&session) && session != HOST);
                left.insert(session, step.action.at);
            }
            What::Publish { flow, .. } => assert!(here.contains(&(flow / 2)), "{step:?}"),
            other => panic!("{other:?}"),
        });
        assert!(left.len() > 20, "{} have left", left.len());
    }

    #[test]
    fn who_comes_says_so_then_and_who_goes_says_so_before_and_nothing_else() {
        let steps = steps(500);
        let of = |session: usize| steps.iter().filter(move |step| step.session == session).map(|step| step.action);
        let said = |session: usize, at| Action { at, what: What::Publish { flow: 2 * session + 1, bytes: 120 } };
        let mut left = 0;
        for session in HOST..HOST + OPTIONS.seats() {
            let actions: Vec<Action> = of(session).collect();
            for pair in actions.windows(2) {
                match (pair[0].what, pair[1].what) {
                    (What::Join(_), _) => assert_eq!(pair[1], said(session, pair[0].at)),
                    (_, What::Leave(_)) => {
                        assert_eq!(pair[0], said(session, pair[0].at));
                        let goodbye = (pair[1].at - pair[0].at).as_secs_f64();
                        assert!((goodbye - GOODBYE_SECONDS).abs() < 1e-6, "{pair:?}");
                        left += 1;
                    }
                    _ => {}
                }
            }
        }
        assert!(left > 20, "{left} have left");
    }

    #[test]
    fn the_room_is_as_full_and_as_talkative_as_asked_on_average() {
        const SECONDS: u64 = 10_000;
        let steps = steps(SECONDS);
        let (mut heads, mut last) = (0.0, 0.0);
        follow(&steps, |step, here| {
            let at = step.action.at.as_secs_f64();
            heads += here.len() as f64 * (at - last);
            last = at;
        });
        let heads = heads / SECONDS as f64;
        assert!((9.0..11.0).contains(&heads), "{heads} on average");
        let chats = steps.iter().filter(|step| matches!(step.action.what, What::Publish { bytes: 200, .. })).count();
        let each = chats as f64 / SECONDS as f64 / heads;
        assert!((0.47..0.53).contains(&each), "{each} a second");
        let joins = steps.iter().filter(|step| matches!(step.action.what, What::Join(_))).count();
        let rate = joins as f64 / SECONDS as f64;
        assert!((0.42..0.48).contains(&rate), "{rate} joins a second");
    }

    #[test]
    fn a_host_alone_keeps_talking() {
        let options = RoomOptions { participants: 1, ..OPTIONS };
        let mut room = Room::new(options, HOST, fastrand::Rng::with_seed(3));
        assert_eq!(room.nth(100).map(|step| step.action.what), Some(What::Publish { flow: 2 * HOST, bytes: 200 }));
    }
}
