//! What an echo costs the release server, beside the floor: raw TCP on the same driver.

#![forbid(unsafe_code)]

mod common;

use common::{binary, ringwire_command};
use ringload::cli::{CommandLine, Task};
use ringload::compare::{self, Comparison};
use ringwire_ring::linux::allowed_cores;

/// What WebSocket may cost over raw TCP.
const RATIO_MAX: f64 = 1.10;
/// A measurement beside other work may fail; so often in a row it may not.
const TRIES: usize = 2;

fn compare() -> Comparison {
    let cores = allowed_cores().expect("the cores can be asked for");
    assert!(cores.len() >= 2, "server and generator need a core each");
    let ringwire = format!("ringwire={}", ringwire_command(1, "/echo").command.join(" "));
    let floor = binary("floor", "RINGWIRE_FLOOR_BIN", "ringwire-benches --bin floor");
    let floor = format!("floor={} tcp-echo --port {{port}}", floor.display());
    let target = "floor=tcp://127.0.0.1:{port}";
    let servers = ["--server", &ringwire, "--server", &floor, "--target-of", target].map(str::to_owned);
    let mut arguments = vec!["compare".to_owned(), "echo".to_owned()];
    arguments.extend(servers);
    let flags = format!("--server-core {} --load-core {} --rounds 7 --seconds 1 --warm-up 0.3", cores[0], cores[1]);
    arguments.extend(flags.split(' ').map(str::to_owned));
    let line = CommandLine::parse(&arguments).unwrap_or_else(|fault| panic!("{fault}"));
    let Task::Compare(options) = line.task else { panic!("not a comparison") };
    let comparison = compare::run(&options, |_, _| {}).unwrap_or_else(|reason| panic!("{reason}"));
    println!("{}", comparison.to_text());
    comparison
}

#[test]
#[ignore = "release measurement, run by cargo xtask test"]
fn an_echo_costs_at_most_a_tenth_more_cpu_than_raw_tcp() {
    let mut ratios = Vec::new();
    while ratios.len() < TRIES {
        let ratio = compare().cpu_ratio(0, 1).expect("both servers are measured");
        if ratio.median <= RATIO_MAX {
            return;
        }
        ratios.push(ratio);
    }
    panic!("at most {RATIO_MAX} is wanted, and the ratios were {ratios:?}");
}
