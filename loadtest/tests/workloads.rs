//! Each workload against the release server, for a second or two: everything arrives, and what is found is of the right
//! size. What it costs is measured elsewhere.

#![forbid(unsafe_code)]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use common::{ringload, start_ringwire};
use ringload::json::Json;
use ringload::report::Report;
use ringload::server::Server;

/// Runs a workload against a new server, below this path.
fn run(workload: &str, path: &str, flags: &str) -> Report {
    run_at(workload, path, flags).1
}

fn run_at(workload: &str, path: &str, flags: &str) -> (Server, Report) {
    let (server, target) = start_ringwire(1, path);
    let report =
        ringload(workload, &target.to_string(), &format!("{flags} --warm-up 0.2 --server-pid {}", server.pid()));
    println!("{}", report.to_text());
    assert!(report.accounts.are_clean(), "{:?}", report.accounts);
    (server, report)
}

fn finding<'r>(report: &'r Report, name: &str) -> &'r Json {
    let found = report.findings.iter().find(|(known, _)| *known == name);
    &found.unwrap_or_else(|| panic!("{name} is not among {:?}", report.findings)).1
}

fn number(value: &Json) -> f64 {
    match value {
        Json::Integer(number) => *number as f64,
        Json::Number(number) => *number,
        other => panic!("{other} is no number"),
    }
}

fn series(report: &Report, name: &str) -> u64 {
    report.series.iter().find(|series| series.name == name).map_or(0, |series| series.corrected.count())
}

#[test]
#[ignore = "release measurement, run by cargo xtask test"]
fn a_game_has_all_its_ticks_and_their_jitter() {
    let report = run("game", "/", "--rooms 3 --players 4 --state-rate 20 --input-rate 30 --seconds 2");
    // 3 rooms, 20 states a second to 4 players each, 30 inputs a second of each player to one host; one more or less of
    // each, as the interval falls.
    assert!(series(&report, "state").abs_diff(480) <= 12, "{} states", series(&report, "state"));
    assert!(series(&report, "input").abs_diff(720) <= 12, "{} inputs", series(&report, "input"));
    let Json::Object(jitter) = finding(&report, "jitter_us") else { panic!("a histogram is wanted") };
    let count = jitter.iter().find(|(name, _)| name == "count").map(|(_, count)| number(count));
    // The first tick of each player follows none.
    assert!(count.is_some_and(|count| (456.0..=492.0).contains(&count)), "{jitter:?}");
    let share = number(finding(&report, "late_tick_share"));
    assert_eq!(share, number(finding(&report, "late_ticks")) / series(&report, "state") as f64);
}

#[test]
#[ignore = "release measurement, run by cargo xtask test"]
fn a_meeting_has_chat_with_and_without_files_and_people_who_come_and_go() {
    let flags = "--rooms 4 --file-rooms 2 --participants 6 --stay 2 --chat-rate 120 --file-bytes-per-second 1_000_000";
    let report = run("meeting", "/", &format!("{flags} --seconds 4 --threads 2"));
    for name in ["chat", "chat beside file", "presence", "join"] {
        assert!(series(&report, name) > 0, "nothing of {name}");
    }
    // Two files of 61 chunks a second, each to some six.
    let chunks = series(&report, "file");
    assert!((1_500..6_000).contains(&chunks), "{chunks} chunks");
    assert!(number(finding(&report, "chat_p99_ratio")) > 0.0);
}

#[test]
#[ignore = "release measurement, run by cargo xtask test"]
fn slow_subscribers_are_held_beside_none() {
    let flags = "--subscribers 50 --slow-share 20% --slow-bytes-per-second 5000 --rate 200 --rounds 2 --seconds 1";
    let report = run("slow", "/", flags);
    // 40 prompt ones hear 200 a second; accounts are of all four runs.
    let delivered = series(&report, "delivery");
    assert!(delivered.abs_diff(8_000) <= 80, "{delivered} deliveries in the median run");
    assert!(report.accounts.arrived > 4 * 8_000, "{:?}", report.accounts);
    for name in ["p99_us_without_slow", "p99_us_beside_slow"] {
        assert!(matches!(finding(&report, name), Json::List(rounds) if rounds.len() == 2), "{name}");
    }
    let [least, ratio, most] =
        ["p99_ratio_least", "p99_ratio", "p99_ratio_most"].map(|name| number(finding(&report, name)));
    assert!(least <= most && ratio > 0.0, "{least}, {ratio}, {most}");
    assert!(number(finding(&report, "slow_messages")) < 10.0 * 200.0 * 1.5, "they have not read all");
}

#[test]
#[ignore = "release measurement, run by cargo xtask test"]
fn a_storm_ends_every_connection_that_it_began() {
    let report = run("storm", "/echo", "--concurrency 8 --seconds 1");
    assert!(report.messages > 100, "{} connections", report.messages);
    assert_eq!(series(&report, "connect").abs_diff(series(&report, "whole")) / 8, 0);
    assert!(number(finding(&report, "server_cpu_us_per_connection")) > 1.0);
    let report = run("storm", "/echo", "--rate 200 --seconds 1 --threads 2");
    assert!(report.messages.abs_diff(200) <= 20, "{} connections in a second", report.messages);
    assert_eq!(series(&report, "whole"), 200);
}

/// Sends back what comes on one connection after the other, until `stop`.
fn echo_in_turn(listener: &TcpListener, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut bytes = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut bytes) {
            if stream.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
    }
}

#[test]
fn a_storm_over_raw_tcp_ends_every_connection_that_it_began() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let stop = AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        scope.spawn(|| echo_in_turn(&listener, &stop));
        let report = ringload("storm", &format!("tcp://{address}"), "--concurrency 4 --seconds 0.3 --warm-up 0");
        stop.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(address));
        report
    });
    assert!(report.accounts.are_clean(), "{:?}", report.accounts);
    assert!(report.messages > 10 && series(&report, "whole") >= report.messages, "{} connections", report.messages);
}

#[test]
#[ignore = "release measurement, run by cargo xtask test"]
fn a_herd_that_was_cut_off_is_back_and_hears_again() {
    let flags = "--connections 200 --rounds 2 --seconds 4 --threads 2 --topics 5 --rate 50";
    let report = run("reconnect", "/", flags);
    assert_eq!(series(&report, "ready"), 400);
    assert_eq!(number(finding(&report, "not_back")), 0.0);
    let Json::List(all) = finding(&report, "all_ready_ms") else { panic!("a list is wanted") };
    let slowest = report.series[0].corrected.max() as f64 / 1e6;
    let last = all.iter().map(number).fold(0.0, f64::max);
    assert!(all.len() == 2 && (last - slowest).abs() < 1.0, "{all:?} and {slowest} ms");
    // 50 publishes a second to a fifth of 200 each, but for who is away.
    let delivered = series(&report, "delivery");
    assert!((4_000..=8_000).contains(&delivered), "{delivered} deliveries");
}

#[test]
#[ignore = "release measurement, run by cargo xtask test"]
fn a_herd_with_a_stagger_comes_back_over_that_time() {
    let report = run("reconnect", "/", "--connections 100 --rounds 1 --seconds 3 --stagger 1");
    let Json::List(all) = finding(&report, "all_ready_ms") else { panic!("a list is wanted") };
    assert!((900.0..2_500.0).contains(&number(&all[0])), "{all:?}");
    assert_eq!(series(&report, "ready"), 100);
}

#[test]
#[ignore = "release measurement, run by cargo xtask test"]
fn a_pipeline_counts_bytes_each_way() {
    let report = run("pipeline", "/echo", "--connections 2 --seconds 1");
    let rate = number(finding(&report, "mb_per_second_each_way"));
    let counted = report.messages as f64 * 65_536.0 / 1e6 / report.cost.elapsed.as_secs_f64();
    assert!((rate - counted).abs() < 1e-6 * counted && rate > 10.0, "{rate} MB/s");
    assert_eq!(report.workload, "pipeline");
}
