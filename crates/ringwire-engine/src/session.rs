//! How long an open WebSocket or a stream lives: pings, idle time, lifetime, and floods of control frames.
//!
//! Nothing here costs a message more than a store: what comes in leaves the tick of its turn behind, and the shard's
//! wheel, which has one entry per connection, looks at it no earlier than something could be due. If the peer has spoken
//! meanwhile, the entry moves on.

use ringwire_codec::{CloseCode, CloseEvent, Opcode};
use ringwire_ring::Driver;

use crate::connection::Protocol;
use crate::handler::{CloseReason, Handler, Timeout};
use crate::options::Timeouts;
use crate::shard::Shard;
use crate::teardown::Leave;
use crate::wheel::Tick;

/// When what happened last on an open WebSocket.
#[derive(Debug)]
pub(crate) struct Session {
    /// The last sign of the peer's life: bytes from it, or its taking what waited for it.
    pub(crate) heard: Tick,
    /// The last message, either way.
    pub(crate) message: Tick,
    /// When it has lived long enough.
    ends: Option<Tick>,
    /// When it was pinged, if a ping waits for a sign of life.
    pinged: Option<Tick>,
    /// Control frames of the peer in the current second.
    controls: u16,
    /// The lower half of that second's number.
    second: u16,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    Ping,
    Pong,
    Idle,
    Lifetime,
}

impl Session {
    /// A session that starts, or a connection that may become one, at this tick.
    pub(crate) fn new(now: Tick) -> Self {
        Self { heard: now, message: now, ends: None, pinged: None, controls: 0, second: 0 }
    }

    /// Counts a ping or pong. `false`: it is one too many for this second.
    fn admit_control(&mut self, now: Tick, most: u16) -> bool {
        // 16 ticks are about a second.
        let second = (now.number() / 16) as u16;
        if self.second != second {
            (self.second, self.controls) = (second, 0);
        }
        self.controls = self.controls.saturating_add(1);
        self.controls <= most
    }

    /// What is due at `now`, and when to look next.
    fn due(&self, timeouts: &Timeouts, spread: u32, now: Tick) -> (Due, Option<Tick>) {
        let ping = timeouts.ping.map(|silence| match self.pinged.filter(|&pinged| self.heard < pinged) {
            Some(pinged) => (pinged.after(timeouts.pong), Due::Pong),
            None => (self.heard.after(silence - silence / 8 * (spread % 256) / 256), Due::Ping),
        });
        let idle = timeouts.idle.map(|idle| (self.message.after(idle), Due::Idle));
        let lifetime = self.ends.map(|ends| (ends, Due::Lifetime));
        let next = [lifetime, idle, ping].into_iter().flatten().min_by_key(|&(at, _)| at);
        match next {
            Some((at, due)) if at <= now => (due, None),
            next => (Due::Nothing, next.map(|(at, _)| at)),
        }
    }
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// The opening handshake is done.
    pub(crate) fn start_session(&mut self, slot: u32) {
        let now = self.core.stamp;
        let spread = self.core.spread(slot);
        let lifetime = self.core.timeouts(slot).lifetime;
        let session = &mut self.core.slab.at(slot).session;
        *session = Session::new(now);
        session.ends = lifetime.map(|lifetime| now.after(lifetime - lifetime / 4 * (spread >> 8 & 255) / 256));
        self.look_at_session(slot);
    }

    /// The wheel has come to an open WebSocket: does what is due, and says when to look again.
    pub(crate) fn look_at_session(&mut self, slot: u32) {
        let now = self.core.stamp;
        let spread = self.core.spread(slot);
        let mut timeouts = self.core.timeouts(slot).clone();
        if matches!(self.core.slab.at(slot).protocol, Protocol::Stream { .. }) {
            timeouts.ping = None;
        }
        let session = &self.core.slab.at(slot).session;
        match session.due(&timeouts, spread, now) {
            (Due::Nothing, next) => self.core.set_deadline_at(slot, next),
            (Due::Ping, _) => {
                self.core.slab.at(slot).session.pinged = Some(now);
                self.with_handler(|_, cx| cx.stage_frame(slot, Opcode::Ping, b""));
                self.look_at_session(slot);
            }
            (Due::Pong, _) => {
                let words = "no answer to a ping in time";
                self.with_handler(|_, cx| {
                    cx.close_slot(slot, CloseEvent::LocalClose(CloseCode::INTERNAL_ERROR), words)
                });
                self.finish_slot(slot, &CloseReason::TimedOut(Timeout::Pong), Leave::Close);
            }
            (Due::Idle, _) => self.close_session(slot, CloseCode::NORMAL, "no message for too long"),
            (Due::Lifetime, _) => self.close_session(slot, CloseCode::GOING_AWAY, "connected for long enough"),
        }
    }

    fn close_session(&mut self, slot: u32, code: CloseCode, words: &str) {
        if matches!(self.core.slab.at(slot).protocol, Protocol::Stream { .. }) {
            return self.close_stream(slot);
        }
        self.with_handler(|_, cx| cx.close_slot(slot, CloseEvent::LocalClose(code), words));
    }

    /// A ping or pong has come in. `false`: there are too many of them, and the connection ends.
    pub(crate) fn admit_control(&mut self, slot: u32) -> bool {
        let (now, most) = (self.core.stamp, self.core.options.limits.control_frames_per_second_max);
        let admitted = self.core.slab.at(slot).session.admit_control(now, most);
        if !admitted {
            self.end_handshake(slot, CloseEvent::PeerViolation(CloseCode::POLICY_VIOLATION), &CloseReason::Flood);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ringwire_ring::Instant;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Tick {
        Tick::of(Instant::from_nanos(seconds * 1_000_000_000))
    }

    fn timeouts() -> Timeouts {
        Timeouts { ping: Some(40 * SECOND), pong: 20 * SECOND, ..Timeouts::default() }
    }

    #[test]
    fn silence_is_pinged_and_an_unanswered_ping_is_the_end() {
        let mut session = Session::new(at(100));
        assert_eq!(session.due(&timeouts(), 0, at(139)).0, Due::Nothing);
        assert_eq!(session.due(&timeouts(), 0, at(100)).1, Some(at(100).after(40 * SECOND)));
        assert_eq!(session.due(&timeouts(), 0, at(141)).0, Due::Ping);
        session.pinged = Some(at(141));
        assert_eq!(session.due(&timeouts(), 0, at(160)).0, Due::Nothing);
        assert_eq!(session.due(&timeouts(), 0, at(162)).0, Due::Pong);
        session.heard = at(150);
        assert_eq!(session.due(&timeouts(), 0, at(162)), (Due::Nothing, Some(at(150).after(40 * SECOND))));
    }

    #[test]
    fn pings_of_a_crowd_are_spread_over_an_eighth_of_the_silence() {
        let session = Session::new(at(100));
        let when: Vec<_> = (0..256).map(|spread| session.due(&timeouts(), spread, at(100)).1.unwrap()).collect();
        assert_eq!(when[0], at(100).after(40 * SECOND));
        assert!(when.iter().all(|&tick| tick >= at(100).after(35 * SECOND)));
        assert!(when[255] < at(100).after(36 * SECOND));
    }

    #[test]
    fn idle_time_counts_from_the_last_message_whatever_else_is_heard() {
        let timeouts = Timeouts { idle: Some(30 * SECOND), ..timeouts() };
        let mut session = Session::new(at(100));
        session.heard = at(129);
        assert_eq!(session.due(&timeouts, 0, at(131)).0, Due::Idle);
        session.message = at(110);
        assert_eq!(session.due(&timeouts, 0, at(131)), (Due::Nothing, Some(at(110).after(30 * SECOND))));
    }

    #[test]
    fn lifetime_ends_a_session_that_is_busy() {
        let mut session = Session::new(at(100));
        session.ends = Some(at(200));
        (session.heard, session.message) = (at(199), at(199));
        assert_eq!(session.due(&timeouts(), 0, at(199)), (Due::Nothing, Some(at(200))));
        assert_eq!(session.due(&timeouts(), 0, at(200)).0, Due::Lifetime);
    }

    #[test]
    fn without_pings_idle_time_and_lifetime_nothing_is_ever_due() {
        let timeouts = Timeouts { ping: None, ..timeouts() };
        assert_eq!(Session::new(at(1)).due(&timeouts, 0, at(100_000)), (Due::Nothing, None));
    }

    #[test]
    fn control_frames_are_counted_by_the_second() {
        let mut session = Session::new(at(1));
        assert!((0..100).all(|_| session.admit_control(at(10), 100)));
        assert!(!session.admit_control(at(10), 100));
        assert!(session.admit_control(at(12), 100), "a new second");
        assert!(!session.admit_control(at(12), 0));
    }
}
