//! A simulated subscriber: it reads at its own speed, stalls, loses its connection or drops it, comes back and goes on
//! where it was, until it has accounted for everything.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;
use ringwire_hub::{Pattern, TopicName};
use ringwire_sim::{Peer, Wire};
use simd_json::OwnedValue;
use simd_json::prelude::*;

use crate::link::{Heard, Link};
use crate::oracle::Oracle;
use crate::tracker::Tracker;

const SUBSCRIBE: u64 = 1;
const ACCOUNT: u64 = 2;
/// How often a subscriber to whom nothing happens looks whether it has got all.
const PATIENCE: Duration = Duration::from_millis(300);

#[derive(Debug)]
pub(crate) struct Subscriber {
    link: Link,
    oracle: Oracle,
    /// Topics, or one pattern.
    wants: Vec<String>,
    /// `mode`, `rate`, `max_age_ms` as they stand in the request.
    how: String,
    trackers: BTreeMap<String, Tracker>,
    /// Bytes it reads at a time, and the time between.
    read_bytes: usize,
    read_every: Duration,
    /// Times it still drops its connection.
    drops: u32,
    acts: u32,
    stalled_until: u64,
    subscribed: bool,
    asked_account: bool,
    done: bool,
}

impl Subscriber {
    pub(crate) fn new(address: SocketAddr, topics: &[&str], oracle: Oracle, rng: &mut Rng) -> Self {
        let wants = match rng.u32(0..5) {
            0 => vec![">".to_owned()],
            1 => vec!["book.*".to_owned()],
            _ => topics.iter().filter(|_| rng.bool()).chain([&topics[0]]).map(|topic| (*topic).to_owned()).collect(),
        };
        let mut wants: Vec<String> = wants;
        wants.sort_unstable();
        wants.dedup();
        let mut how = String::new();
        if rng.bool() {
            how += ",\"mode\":\"latest\"";
            if rng.bool() {
                how += &format!(",\"rate\":{}", rng.u32(1..50));
            }
        }
        if rng.u32(0..4) == 0 {
            how += &format!(",\"max_age_ms\":{}", rng.u32(1..3000));
        }
        oracle.lock().subscribing += 1;
        Self {
            link: Link::new(address, rng),
            oracle,
            wants,
            how,
            trackers: BTreeMap::new(),
            read_bytes: 1 << rng.u32(4..16),
            read_every: Duration::from_nanos(1 << rng.u32(8..26)),
            drops: rng.u32(0..4),
            acts: 0,
            stalled_until: 0,
            subscribed: false,
            asked_account: false,
            done: false,
        }
    }

    fn subscribe(&mut self) {
        let topics: Vec<String> = self.wants.iter().map(|topic| format!("\"{topic}\"")).collect();
        let since = self.trackers.values().filter(|tracker| tracker.may_resume()).map(|tracker| {
            format!("\"{}\":{{\"epoch\":\"{}\",\"seq\":{}}}", tracker.topic, tracker.epoch, tracker.position())
        });
        let since: Vec<String> = since.collect();
        self.link.send(&format!(
            "{{\"id\":{SUBSCRIBE},\"method\":\"subscribe\",\"params\":{{\"topics\":[{}],\"since\":{{{}}}{}}}}}",
            topics.join(","),
            since.join(","),
            self.how
        ));
    }

    fn on_text(&mut self, text: &str) {
        for line in text.lines() {
            let value: OwnedValue = simd_json::from_slice(&mut line.as_bytes().to_vec()).expect("JSON");
            match (value.get_str("type"), value.get_u64("id")) {
                (Some("heartbeat"), _) => self.on_heartbeat(&value),
                (Some("subscribed"), _) => self.begin(&value),
                (Some(_), _) => {
                    let topic = value.get_str("topic").unwrap_or_else(|| panic!("a topic: {line}"));
                    self.trackers.get_mut(topic).unwrap_or_else(|| panic!("a topic subscribed to: {line}")).on(&value);
                }
                (None, Some(SUBSCRIBE)) => self.on_subscribed(&value),
                (None, Some(ACCOUNT)) => self.on_account(&value),
                _ => panic!("what is this: {line}"),
            }
        }
    }

    fn on_subscribed(&mut self, answer: &OwnedValue) {
        let results = answer.get_array("result").unwrap_or_else(|| panic!("a list: {answer}"));
        assert_eq!(results.len(), self.wants.len(), "an answer for each topic: {answer}");
        self.subscribed = true;
        for result in results {
            if result.get_str("state") != Some("pattern") {
                self.begin(result);
            }
        }
    }

    fn begin(&mut self, result: &OwnedValue) {
        let topic = result.get_str("topic").unwrap_or_else(|| panic!("a topic: {result}"));
        match self.trackers.get_mut(topic) {
            Some(tracker) => tracker.resume(result),
            None => drop(self.trackers.insert(topic.to_owned(), Tracker::begin(result))),
        }
    }

    /// What a heartbeat names, was sent.
    fn on_heartbeat(&mut self, heartbeat: &OwnedValue) {
        for (topic, seq) in heartbeat.get_object("at").into_iter().flatten() {
            let tracker = self.trackers.get(topic.as_str()).unwrap_or_else(|| panic!("a topic: {heartbeat}"));
            assert!(tracker.position() >= seq.as_u64().expect("a number"), "a lost tail: {heartbeat}");
        }
        self.oracle.count("heartbeat");
    }

    /// The server's account of this connection holds no more than the client's own, which is of all connections.
    fn on_account(&mut self, answer: &OwnedValue) {
        for account in answer.get_array("result").unwrap_or_else(|| panic!("a list: {answer}")) {
            let number = |name: &str| account.get_u64(name).unwrap_or_else(|| panic!("`{name}`: {account}"));
            let parts = number("delivered") + number("skipped") + number("gap") + number("pending");
            assert_eq!(parts, number("published"), "{account}");
            let tracker = &self.trackers[account.get_str("topic").expect("a topic")];
            let (skipped, gap) = tracker.missed();
            assert!(number("skipped") <= skipped && number("gap") <= gap, "{account} {tracker:?}");
        }
        let known = self.oracle.lock();
        for tracker in self.trackers.values() {
            tracker.assert_right(&known, &self.how);
        }
        drop(known);
        let missed: Vec<(u64, u64)> = self.trackers.values().map(Tracker::missed).collect();
        for (what, was) in [
            ("subscriber was told of skips", missed.iter().any(|(skipped, _)| *skipped > 0)),
            ("subscriber was told of gaps", missed.iter().any(|(_, gap)| *gap > 0)),
            ("subscriber got all", missed.iter().all(|missed| *missed == (0, 0))),
        ] {
            if was {
                self.oracle.count(what);
            }
        }
        self.done = true;
    }

    /// Whether nothing more will come that it has not got.
    fn has_all(&self) -> bool {
        let known = self.oracle.lock();
        known.publishing == 0
            && self.subscribed
            && known
                .topics()
                .filter(|topic| self.is_wanted(topic))
                .all(|topic| self.trackers.get(topic).is_some_and(|tracker| tracker.has_all(known.head(topic))))
    }

    fn is_wanted(&self, topic: &str) -> bool {
        let name = TopicName::new(topic).expect("a name");
        self.wants.iter().any(|wanted| Pattern::new(wanted).expect("a pattern").matches(&name))
    }

    fn lost(&mut self, wire: &mut Wire<'_>) {
        (self.subscribed, self.asked_account) = (false, false);
        let pause = Duration::from_nanos(1 << wire.rng().u32(10..30));
        wire.wake_after(pause);
    }
}

impl Peer for Subscriber {
    fn act(&mut self, wire: &mut Wire<'_>) {
        let now = wire.now().as_nanos();
        if now < self.stalled_until {
            return wire.wake_after(Duration::from_nanos(self.stalled_until - now));
        }
        if !wire.is_connected() {
            self.link.connect(wire);
        }
        for heard in self.link.act(wire, self.read_bytes) {
            match heard {
                Heard::Open => self.subscribe(),
                Heard::Text(text) => self.on_text(&text),
                Heard::Close(code) => {
                    assert!(matches!(code, Some(4008 | 1011)), "a subscriber is closed with {code:?}");
                    self.oracle.count("subscriber was closed as slow");
                }
                Heard::End => {
                    self.oracle.count("subscriber lost its connection");
                    return self.lost(wire);
                }
            }
        }
        if self.done {
            wire.close();
            self.oracle.lock().subscribing -= 1;
            return;
        }
        self.acts += 1;
        if self.drops > 0 && self.acts.is_multiple_of(16) && wire.rng().bool() {
            self.drops -= 1;
            self.oracle.count("subscriber dropped its connection");
            wire.abort();
            return self.lost(wire);
        }
        if wire.rng().u32(0..64) == 0 {
            self.stalled_until = now + (1 << wire.rng().u32(20..32));
        }
        if self.link.is_open() && !self.asked_account && self.has_all() {
            self.asked_account = true;
            self.link.send(&format!("{{\"id\":{ACCOUNT},\"method\":\"account\"}}"));
            self.link.flush(wire);
        }
        wire.wake_after(if self.link.may_have_more() { self.read_every } else { PATIENCE });
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn describe(&self) -> String {
        format!("a subscriber of {:?} {}: subscribed {}, {:?}", self.wants, self.how, self.subscribed, self.trackers)
    }
}
