//! A simulated publisher: it pipelines, and publishes again under the same idempotency key what was not acknowledged
//! when its connection broke.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;
use ringwire_sim::{Peer, Wire};
use simd_json::OwnedValue;
use simd_json::prelude::*;

use crate::link::{Heard, Link};
use crate::oracle::{Entry, Oracle};

#[derive(Clone, Debug)]
struct Publish {
    number: u64,
    topic: String,
    entry: Entry,
}

#[derive(Debug)]
pub(crate) struct Publisher {
    name: usize,
    link: Link,
    oracle: Oracle,
    /// To be published yet.
    waiting: VecDeque<Publish>,
    /// Published and not acknowledged, by number.
    pending: BTreeMap<u64, Publish>,
    pending_max: usize,
    pause: Duration,
    done: bool,
}

impl Publisher {
    pub(crate) fn new(name: usize, address: SocketAddr, topics: &[&str], oracle: Oracle, rng: &mut Rng) -> Self {
        let count = rng.u64(1..80);
        let waiting = (0..count).map(|number| publish(name, number, topics, rng)).collect();
        let pending_max = 1 << rng.u32(0..6);
        let pause = Duration::from_nanos(1 << rng.u32(10..27));
        oracle.lock().publishing += 1;
        let link = Link::new(address, rng);
        Self { name, link, oracle, waiting, pending: BTreeMap::new(), pending_max, pause, done: false }
    }

    fn send(&mut self, publish: &Publish) {
        let Publish { number, topic, entry } = publish;
        let what = match entry {
            Entry::Message(value) => format!("\"data\":{{\"v\":{value}}}"),
            Entry::Update(key, value) => format!("\"key\":\"{key}\",\"data\":{{\"v\":{value}}}"),
            Entry::Remove(key) => format!("\"key\":\"{key}\",\"remove\":true"),
        };
        let name = self.name;
        self.link.send(&format!(
            "{{\"id\":{number},\"method\":\"publish\",\"params\":{{\"topic\":\"{topic}\",{what},\
             \"idempotency_key\":\"{name}.{number}\"}}}}"
        ));
    }

    fn on_text(&mut self, text: &str) {
        for line in text.lines() {
            let answer: OwnedValue = simd_json::from_slice(&mut line.as_bytes().to_vec()).expect("JSON");
            let Some(number) = answer.get_u64("id") else { continue };
            let publish = self.pending.remove(&number).expect("an answer to what was asked");
            if let Some(seq) = answer.get("result").and_then(|result| result.get_u64("seq")) {
                self.oracle.lock().published(&publish.topic, seq, &publish.entry);
                continue;
            }
            let code = answer.get("error").and_then(|error| error.get_u64("code"));
            assert_eq!((code, matches!(publish.entry, Entry::Remove(_))), (Some(404), true), "{publish:?}: {line}");
            self.oracle.count("nothing to remove");
        }
    }
}

/// A random entry to a random topic. Values tell entries apart.
fn publish(name: usize, number: u64, topics: &[&str], rng: &mut Rng) -> Publish {
    let topic = topics[rng.usize(..topics.len())];
    let value = name as u64 * 1_000_000 + number;
    let key = format!("k{}", rng.u32(0..6));
    let entry = match (topic.starts_with("book"), rng.u32(0..10)) {
        (false, _) | (true, 0) => Entry::Message(value),
        (true, 1) => Entry::Remove(key),
        (true, _) => Entry::Update(key, value),
    };
    Publish { number, topic: topic.to_owned(), entry }
}

impl Peer for Publisher {
    fn act(&mut self, wire: &mut Wire<'_>) {
        if !wire.is_connected() {
            self.link.connect(wire);
        }
        let mut ended = false;
        for heard in self.link.act(wire, usize::MAX / 2) {
            match heard {
                Heard::Open => {
                    let again: Vec<Publish> = self.pending.values().cloned().collect();
                    again.iter().for_each(|publish| self.send(publish));
                }
                Heard::Text(text) => self.on_text(&text),
                Heard::Close(code) => panic!("a publisher is closed with {code:?}"),
                Heard::End => ended = true,
            }
        }
        if ended {
            self.oracle.count("publisher lost its connection");
            return wire.wake_after(self.pause);
        }
        if self.link.is_open() {
            if self.waiting.is_empty() && self.pending.is_empty() {
                wire.close();
                self.oracle.lock().publishing -= 1;
                self.done = true;
                return;
            }
            let room = self.pending_max.saturating_sub(self.pending.len()).min(1 + wire.rng().usize(0..4));
            for _ in 0..room {
                let Some(publish) = self.waiting.pop_front() else { break };
                self.send(&publish);
                self.pending.insert(publish.number, publish);
            }
        }
        if !self.waiting.is_empty() || self.link.waiting_bytes() > 0 || self.link.may_have_more() {
            wire.wake_after(self.pause);
        }
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn describe(&self) -> String {
        format!("publisher {}: {} to publish, {} pending", self.name, self.waiting.len(), self.pending.len())
    }
}
