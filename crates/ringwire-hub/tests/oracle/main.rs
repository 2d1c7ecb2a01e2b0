//! The hub against a naive model: every topic a plain list of its entries, every subscriber a loop over its frames.
//!
//! A case is a random sequence of publishes (messages, updates, removals), notes that arrive late, pulls with random
//! budgets, kernels that take a part, turns, subscriptions of every kind that come, resume and go, time, and restarts of
//! the server, with the same epoch or another. The world serves a subscriber only when the hub said so, and sends notes
//! only where the hub said so. What a receiver must see is in `client`; that the account balances is asked after each
//! step; at the end everything in flight arrives, nothing is pending, and every receiver's state is the topic's.

mod client;
mod frames;
mod model;
mod world;

use proptest::prelude::*;
use ringwire_hub::{Mode, SlowPolicy};

use world::{Asked, From, SHARDS, SLOTS, TOPICS, World};

/// A step.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Publish {
        topic: usize,
        key: u8,
        removes: bool,
        bytes: usize,
    },
    Burst {
        topic: usize,
        count: usize,
    },
    Note {
        shard: usize,
    },
    Turn {
        shard: usize,
    },
    Pull {
        shard: usize,
        slot: usize,
        budget: usize,
    },
    /// A note, if there is one, a pull, and what the kernel takes of it.
    Serve {
        shard: usize,
        slot: usize,
        budget: usize,
        taken_permille: usize,
    },
    Complete {
        shard: usize,
        slot: usize,
        taken_permille: usize,
    },
    Subscribe {
        shard: usize,
        slot: usize,
        asked: Asked,
    },
    Unsubscribe {
        shard: usize,
        slot: usize,
        nth: usize,
    },
    Leave {
        shard: usize,
        slot: usize,
    },
    Wait {
        us: u64,
    },
    Restart {
        same_epoch: bool,
    },
}

fn asked() -> impl Strategy<Value = Asked> {
    let from = prop_oneof![
        3 => Just(From::Head),
        1 => Just(From::First),
        1 => (0..60u64).prop_map(From::Back),
        3 => Just(From::Resume),
    ];
    let slow = prop_oneof![Just(SlowPolicy::Latest), Just(SlowPolicy::Drop), Just(SlowPolicy::Disconnect)];
    let interval_us = prop_oneof![4 => Just(0), 1 => 1_000..200_000u64];
    let max_age_us = prop_oneof![4 => Just(u64::MAX), 1 => 1_000..500_000u64];
    let mode = prop_oneof![Just(Mode::All), Just(Mode::Latest)];
    let rest = (mode, slow, interval_us, max_age_us, from, prop::bool::weighted(0.8));
    (0..TOPICS, 0..frames::LANES.len(), rest).prop_map(
        |(topic, lane, (mode, slow, interval_us, max_age_us, from, snapshot))| Asked {
            topic,
            lane,
            mode,
            slow,
            interval_us,
            max_age_us,
            from,
            snapshot,
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let (topic, shard) = (0..TOPICS, 0..SHARDS);
    let who = (shard.clone(), 0..SLOTS);
    prop_oneof![
        8 => (topic.clone(), 0..9u8, prop::bool::weighted(0.2), prop_oneof![0..80usize, 0..2_000usize])
            .prop_map(|(topic, key, removes, bytes)| Op::Publish { topic, key, removes, bytes }),
        4 => (topic, 1..150usize).prop_map(|(topic, count)| Op::Burst { topic, count }),
        8 => (who.clone(), prop_oneof![1..1_500usize, Just(usize::MAX)], 1..1_000usize).prop_map(
            |((shard, slot), budget, taken_permille)| Op::Serve { shard, slot, budget, taken_permille }
        ),
        6 => shard.clone().prop_map(|shard| Op::Note { shard }),
        4 => shard.prop_map(|shard| Op::Turn { shard }),
        10 => (who.clone(), prop_oneof![0..200usize, 0..5_000usize, Just(usize::MAX)])
            .prop_map(|((shard, slot), budget)| Op::Pull { shard, slot, budget }),
        10 => (who.clone(), prop_oneof![Just(0), Just(1_000), 0..=1_000usize])
            .prop_map(|((shard, slot), taken_permille)| Op::Complete { shard, slot, taken_permille }),
        5 => (who.clone(), asked()).prop_map(|((shard, slot), asked)| Op::Subscribe { shard, slot, asked }),
        1 => (who.clone(), 0..4usize).prop_map(|((shard, slot), nth)| Op::Unsubscribe { shard, slot, nth }),
        1 => who.prop_map(|(shard, slot)| Op::Leave { shard, slot }),
        3 => prop_oneof![0..150_000u64, 0..3_000_000u64].prop_map(|us| Op::Wait { us }),
        1 => prop::bool::weighted(0.7).prop_map(|same_epoch| Op::Restart { same_epoch }),
    ]
}

fn run(is_kept: bool, ops: &[Op]) {
    let mut world = World::new(is_kept);
    for op in ops {
        world.step(op);
        world.check_accounts();
    }
    world.settle();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_entry_is_explained_when_the_log_keeps_all(ops in proptest::collection::vec(op(), 0..200)) {
        run(true, &ops);
    }

    #[test]
    fn every_entry_is_explained_when_the_log_keeps_little(ops in proptest::collection::vec(op(), 0..200)) {
        run(false, &ops);
    }
}
