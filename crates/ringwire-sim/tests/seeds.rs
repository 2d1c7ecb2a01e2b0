//! The engine on the simulated driver, over a thousand seeds.
//!
//! A failing seed is run alone, with a trace of everything that happened, by
//! `RINGWIRE_SIM_SEED=<seed> cargo test -p ringwire-sim --test seeds`.

use std::collections::BTreeMap;

use ringwire_sim::{Scenario, run};

const SEEDS: u64 = 1000;
/// Fewer where hands are shaken, which takes its time.
const SECURE_SEEDS: u64 = 300;

/// The seed to run alone, if one is asked for.
fn asked() -> Option<u64> {
    let seed = std::env::var("RINGWIRE_SIM_SEED").ok()?;
    Some(seed.parse().expect("RINGWIRE_SIM_SEED is a number"))
}

/// Runs all seeds and returns how often what happened.
fn run_all(scenario: Scenario, seeds: u64) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    if let Some(seed) = asked() {
        println!("{:#?}", run(scenario, seed, true));
        return counts;
    }
    for seed in 0..seeds {
        let failed = FailedSeed(seed);
        for (what, count) in run(scenario, seed, false).counts {
            *counts.entry(what).or_default() += count;
        }
        std::mem::forget(failed);
    }
    counts
}

/// Says how to repeat the seed, if it is dropped by a panic.
struct FailedSeed(u64);

impl Drop for FailedSeed {
    fn drop(&mut self) {
        eprintln!("to repeat: RINGWIRE_SIM_SEED={} cargo test -p ringwire-sim --test seeds", self.0);
    }
}

/// Checks that the runs came across what they are there for.
fn assert_covered(counts: &BTreeMap<&'static str, u64>, what: &[&str]) {
    if asked().is_some() {
        return;
    }
    for what in what {
        let count = counts.get(what).copied().unwrap_or(0);
        assert!(count >= 5, "{what}: {count} times: {counts:#?}");
    }
}

#[test]
fn an_echo_keeps_its_promises() {
    let counts = run_all(Scenario::Echo, SEEDS);
    assert_covered(
        &counts,
        &[
            "opened",
            "closed",
            "violated",
            "half-closed",
            "stalled",
            "client reset",
            "never answered the close",
            "closed because it read too little",
            "refused with 503",
            "refused with 429",
            "refused by the listener",
            "handshake let go",
            "closed by a deadline",
            "came through a proxy",
            "lost by a failing accept",
            "reset by the network",
            "ended by a drain or by shedding",
            "answered",
            "garbage refused",
            "endless head refused",
            "half a request timed out",
            "silence timed out",
            "on_close: clean",
            "on_close: violation",
            "on_close: end of stream",
            "on_close: broken",
            "on_close: timed out",
            "on_close: shed",
            "on_close: flood",
            "on_close: no pong",
            "on_close: no answer",
            "answers given later",
            "given up on",
            "on_drained",
            "messages",
            "pongs for the handler's pings",
        ],
    );
}

#[test]
fn a_fanout_delivers_each_number_once_and_in_order() {
    let counts = run_all(Scenario::Fanout, SEEDS);
    let covered =
        ["got all", "closed", "stalled", "ranges pulled", "pulled data came back", "on_close: clean", "client reset"];
    assert_covered(&counts, &covered);
}

#[test]
fn shards_that_share_a_log_deliver_each_number_once_and_in_order() {
    let counts = run_all(Scenario::Shards, SEEDS);
    assert_covered(&counts, &["got all", "notes posted", "mailbox full", "pulled data came back"]);
}

#[test]
fn an_echo_keeps_its_promises_inside_tls() {
    let counts = run_all(Scenario::SecureEcho, SECURE_SEEDS);
    let covered = [
        "opened",
        "closed",
        "violated",
        "half-closed",
        "stalled",
        "client reset",
        "closed because it read too little",
        "refused by the listener",
        "reset by the network",
        "ended by a drain or by shedding",
        "answered",
        "garbage refused",
        "half a request timed out",
        "silence timed out",
        "on_close: clean",
        "on_close: end of stream",
        "on_close: broken",
        "on_close: shed",
        "on_drained",
        "messages",
    ];
    assert_covered(&counts, &covered);
}

#[test]
fn a_fanout_delivers_each_number_once_and_in_order_inside_tls() {
    let counts = run_all(Scenario::SecureFanout, SECURE_SEEDS);
    assert_covered(&counts, &["got all", "closed", "stalled", "ranges pulled", "on_close: clean", "client reset"]);
}

#[test]
fn a_seed_repeats_exactly() {
    let all = [Scenario::Echo, Scenario::Fanout, Scenario::Shards, Scenario::SecureEcho, Scenario::SecureFanout];
    for scenario in all {
        for seed in asked().map_or(0..10, |seed| seed..seed + 1) {
            assert_eq!(run(scenario, seed, false), run(scenario, seed, false), "{scenario:?} {seed}");
        }
    }
}
