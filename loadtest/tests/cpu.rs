//! What an echo costs the release server, beside the floor: raw TCP on the same driver.

#![forbid(unsafe_code)]

mod common;

use std::time::Duration;

use common::{binary, ringwire_command};
use ringload::compare::{self, CompareOptions, Comparison};
use ringload::server::ServerCommand;
use ringload::target::Wire;
use ringload::workload::echo::Payload;
use ringwire_ring::linux::allowed_cores;

/// What WebSocket may cost over raw TCP.
const RATIO_MAX: f64 = 1.10;
/// A measurement beside other work may fail; so often in a row it may not.
const TRIES: usize = 2;

fn floor_command() -> ServerCommand {
    let program = binary("floor", "RINGWIRE_FLOOR_BIN", "ringwire-benches --bin floor");
    let program = program.to_str().expect("a path in UTF-8");
    let text = format!("floor tcp://127.0.0.1:{{port}} {program} tcp-echo --port {{port}}");
    ServerCommand::parse(&text).expect("a valid command")
}

fn compare() -> Comparison {
    let cores = allowed_cores().expect("the cores can be asked for");
    assert!(cores.len() >= 2, "server and generator need a core each");
    let options = CompareOptions {
        servers: vec![ringwire_command(1, "/echo"), floor_command()],
        server_core: cores[0],
        load_core: cores[1],
        rounds: 7,
        time: Duration::from_secs(1),
        warm_up: Duration::from_millis(300),
        connections: 100,
        depth: 1,
        bytes: 64,
        payload: Payload::Random,
        wire: Wire::default(),
    };
    let comparison = compare::run(&options, |_, _| {}).unwrap_or_else(|reason| panic!("{reason}"));
    println!("{}", comparison.to_text());
    comparison
}

#[test]
#[ignore = "release measurement, run by cargo xtask test"]
fn an_echo_costs_at_most_a_tenth_more_cpu_than_raw_tcp() {
    let mut ratios = Vec::new();
    while ratios.len() < TRIES {
        let ratio = compare().cpu_ratio(0, 1);
        if ratio.median <= RATIO_MAX {
            return;
        }
        ratios.push(ratio);
    }
    panic!("at most {RATIO_MAX} is wanted, and the ratios were {ratios:?}");
}
