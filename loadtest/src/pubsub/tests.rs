//! What a worker makes of messages, without a server.

use std::sync::Arc;

use ringwire_ring::Instant;

use super::*;
use crate::adapter::path::Path;
use crate::measure::Span;
use crate::payload::stamp::{Payloads, Stamp};
use crate::run::Worker;

const BYTES: usize = 64;

/// Session 0 publishes flow 0 on topic 0, which session 1 hears; session 1 publishes flow 1 on topic 1, which nobody
/// hears. The measured time is all time.
fn worker() -> PubSubWorker {
    worker_at("ws://127.0.0.1:1/").expect("a worker")
}

fn worker_at(target: &str) -> Result<PubSubWorker, String> {
    let place = Place { target: Target::parse(target).expect("a target"), adapter: Arc::new(Path) };
    let scenario = Scenario {
        topics: vec!["a".to_owned(), "b".to_owned()],
        flows: vec![Flow { topic: 0, session: 0, series: 0 }, Flow { topic: 1, session: 1, series: 0 }],
        sessions: vec![Session::default(), Session { subscribes: vec![0], ..Session::default() }],
        bytes_max: BYTES,
    };
    let source = Source::Script(Arc::new(|_| Box::new(std::iter::empty())));
    let model = PubSub::new("test", &place, scenario, source, &["delivery"], Json::Null);
    let recorder = Recorder::new(&["delivery"], Arc::default());
    let mut worker = model.worker(Share { index: 0, count: 1 }, recorder)?;
    let [start, end] = [0, 1_000_000_000].map(Instant::from_nanos);
    worker.start(Span { start, measure_from: start, measure_to: end });
    Ok(worker)
}

/// Messages of a flow, in one.
fn message(flow: u32, numbers: &[u64]) -> Vec<u8> {
    let mut payloads = Payloads::new(BYTES);
    let due = Instant::from_nanos(1000);
    let stamp = |&seq: &u64| Stamp { flow, seq, due, late: std::time::Duration::ZERO };
    numbers.iter().flat_map(|seq| payloads.make(stamp(seq), BYTES).to_vec()).collect()
}

#[test]
fn payloads_in_one_message_are_messages_each_and_their_bytes_count_once() {
    let mut worker = worker();
    let bytes = message(0, &[0, 1, 2]);
    worker.on_payloads(1, &bytes, Instant::from_nanos(5000));
    let found = worker.finish();
    assert_eq!((found.recorded.messages, found.recorded.bytes), (3, bytes.len() as u64));
}

#[test]
fn what_comes_to_who_does_not_hear_it_is_a_fault_but_for_its_own() {
    let mut worker = worker();
    worker.on_payloads(0, &message(0, &[0]), Instant::from_nanos(5000));
    worker.on_payloads(0, &message(7, &[0]), Instant::from_nanos(5000));
    assert!(worker.found.accounts.are_clean() && worker.found.accounts.unknown == 2, "{:?}", worker.found.accounts);
    worker.on_payloads(0, &message(1, &[0]), Instant::from_nanos(5000));
    assert_eq!((worker.found.accounts.misrouted, worker.found.accounts.arrived), (1, 0));
    assert!(!worker.found.accounts.are_clean());
}

#[test]
fn the_live_line_has_what_is_missing_by_now() {
    let mut worker = worker();
    let missing = [&[0, 1][..], &[4], &[2]].map(|numbers| {
        worker.on_payloads(1, &message(0, numbers), Instant::from_nanos(5000));
        worker.missing
    });
    assert_eq!(missing, [0, 2, 1]);
}

#[test]
fn a_relay_takes_no_workload_of_several_topics() {
    let fault = worker_at("tcp://127.0.0.1:1").map(drop).expect_err("two topics");
    assert!(fault.contains("tcp://127.0.0.1:1") && fault.contains("2") && fault.contains("ws://"), "{fault}");
}
