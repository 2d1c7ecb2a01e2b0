//! The whole server in the simulator: shards of the real application on a simulated ring, network and clock, with
//! publishers and subscribers that speak the native protocol and hold it to its promises.
//!
//! Publishers keep a list of what was acknowledged: the oracle. Subscribers of every kind (all, latest, at a rate, by
//! pattern) read slowly, stall, lose their connections and resume. At the end each must have exactly the oracle's
//! entries but for those that were told as skipped or lost, the oracle's snapshots, its state, and an account that
//! balances. A failing seed is run alone by `RINGWIRE_SIM_SEED=<seed> cargo test -p ringwire-server --test sim`.

#![forbid(unsafe_code)]

mod harness;
mod link;
mod oracle;
mod publisher;
mod subscriber;
mod tracker;

use std::collections::BTreeMap;

const SEEDS: u64 = 300;

/// Says how to repeat the seed, if it is dropped by a panic.
struct FailedSeed(u64);

impl Drop for FailedSeed {
    fn drop(&mut self) {
        eprintln!("to repeat: RINGWIRE_SIM_SEED={} cargo test -p ringwire-server --test sim", self.0);
    }
}

#[test]
fn the_server_keeps_its_promises_on_every_shard() {
    if let Ok(seed) = std::env::var("RINGWIRE_SIM_SEED") {
        let outcome = harness::run(seed.parse().expect("RINGWIRE_SIM_SEED is a number"), true);
        println!("{outcome:#?}");
        return;
    }
    let mut counts = BTreeMap::<&str, u64>::new();
    for seed in 0..SEEDS {
        let failed = FailedSeed(seed);
        for (what, count) in harness::run(seed, false).1 {
            *counts.entry(what).or_default() += count;
        }
        std::mem::forget(failed);
    }
    println!("{counts:#?}");
    for what in [
        "heartbeat",
        "nothing to remove",
        "publisher lost its connection",
        "subscriber dropped its connection",
        "subscriber got all",
        "subscriber lost its connection",
        "subscriber was told of gaps",
        "subscriber was told of skips",
    ] {
        assert!(counts.get(what).copied().unwrap_or(0) >= 5, "{what} too seldom: {counts:#?}");
    }
}

#[test]
fn a_seed_repeats_its_run() {
    for seed in [1, 2, 3] {
        assert_eq!(harness::run(seed, false), harness::run(seed, false));
    }
}
