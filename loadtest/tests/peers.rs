//! ringload against servers that nobody here wrote: what its own server may have in common with it, these have not.
//!
//! The step `peers` of `cargo xtask test` makes some of the servers of benches/peers and says in `RINGWIRE_PEERS` how each is
//! started: a line each, `NAME PROGRAM ARGUMENT...`, as `cargo xtask peers` prints them.

#![forbid(unsafe_code)]

mod common;

use common::ringload;
use ringload::report::Report;
use ringload::server::{Server, ServerCommand};

/// Those that keep the contract of paths, each started, with a name.
fn peers(path: &str) -> Vec<(String, Server)> {
    let lines = std::env::var("RINGWIRE_PEERS").expect("RINGWIRE_PEERS says how peers are started");
    // Their programs and scripts are named as seen from the root of the checkout.
    std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).expect("the checkout is there");
    let url = format!("ws://127.0.0.1:{{port}}{path}");
    let start = |line: &str| {
        let (name, command) = line.split_once(' ').expect("NAME PROGRAM ARGUMENT...");
        let command = ServerCommand::parse(&format!("{name}={}", command.trim()), &url).expect("a valid command");
        (name.to_owned(), Server::start(&command, None).unwrap_or_else(|reason| panic!("{reason}")))
    };
    let peers: Vec<_> = lines.lines().map(start).collect();
    assert!(peers.len() >= 3, "three or more are wanted: {lines:?}");
    peers
}

/// Runs the workload against each, and holds that all arrived, once, in order and unchanged, that no connection ended,
/// and that the server was found to work for it.
fn runs_clean(workload: &str, path: &str, flags: &str, holds: impl Fn(&str, &Report)) {
    for (name, server) in peers(path) {
        let flags = format!("{flags} --seconds 2 --warm-up 0.5 --server-pid {}", server.pid());
        let report = ringload(workload, &server.url, &flags);
        println!("{name}\n{}", report.to_text());
        assert!(report.accounts.are_clean(), "{name}: {:?}", report.accounts);
        assert!(report.cost.server_cpu().is_some_and(|cpu| !cpu.is_zero()), "{name}: costs nothing");
        assert!(report.series.iter().any(|series| series.corrected.max() > 0), "{name}: takes no time");
        holds(&name, &report);
    }
}

#[test]
#[ignore = "needs servers that cargo xtask test --only peers makes"]
fn an_echo_runs_clean_against_servers_of_others() {
    runs_clean("echo", "/echo", "--connections 20 --depth 4 --bytes 300", |name, report| {
        assert!(report.messages > 500, "{name}: {} messages", report.messages);
    });
    runs_clean("echo", "/echo", "--connections 3 --bytes 70000 --payload json", |name, report| {
        assert!(report.messages > 20, "{name}: {} messages", report.messages);
    });
}

#[test]
#[ignore = "needs servers that cargo xtask test --only peers makes"]
fn trading_runs_clean_against_servers_of_others() {
    let flags = "--topics 5 --publishers 2 --subscribers 20 --topics-each 2 --rate 100 --news-every 1";
    runs_clean("trading", "", flags, |name, report| {
        // 2 s of 100 a second, each to some 8 of 20 subscribers, and the opening's burst.
        assert!(report.messages > 500, "{name}: {} messages", report.messages);
    });
}

#[test]
#[ignore = "needs servers that cargo xtask test --only peers makes"]
fn a_game_runs_clean_against_servers_of_others() {
    runs_clean("game", "", "--rooms 2 --players 4 --input-rate 30 --state-rate 20", |name, report| {
        // 2 s of 20 states to 2 rooms of 4, and 30 inputs of as many players to their hosts.
        let measured: u64 = report.series.iter().map(|series| series.corrected.count()).sum();
        assert!(measured.abs_diff(2 * (20 + 30) * 8) <= 20, "{name}: {measured} latencies");
    });
}
