//! System calls of the release server, counted by strace.

#![forbid(unsafe_code)]

mod common;

use common::{Strace, ringload, start_ringwire};

/// Calls that a connection's beginning and end may cost, and those that strace's arrival interrupts.
const BESIDES: u64 = 20;

#[test]
#[ignore = "release measurement, run by cargo xtask test"]
fn an_echo_costs_one_enter_and_nothing_else() {
    const MESSAGES: u64 = 5_000;
    let (server, _) = start_ringwire(1, "/echo");
    let strace = Strace::attach(server.pid());
    let flags = format!("--connections 1 --messages {MESSAGES} --seconds 60 --warm-up 0 --settle 0");
    let report = ringload("echo", &server.url, &flags);
    let mut calls = strace.finish();
    assert!(report.accounts.are_clean() && report.accounts.expected >= MESSAGES, "{:?}", report.accounts);
    let enters = calls.remove("io_uring_enter").unwrap_or(0);
    let others: u64 = calls.values().sum();
    println!("{} messages: {enters} io_uring_enter, others {calls:?}", report.accounts.expected);
    assert!(enters as f64 <= 1.05 * report.accounts.expected as f64, "{enters} for {}", report.accounts.expected);
    assert!(others <= BESIDES, "{calls:?}");
}

#[test]
#[ignore = "release measurement, run by cargo xtask test"]
fn a_publish_to_50_subscribers_costs_at_most_a_tenth_of_a_call_per_delivery() {
    const SUBSCRIBERS: usize = 50;
    let (server, _) = start_ringwire(1, "/");
    let strace = Strace::attach(server.pid());
    let flags = format!("--subscribers {SUBSCRIBERS} --rate 200 --seconds 3 --warm-up 0");
    let report = ringload("fanout", &server.url, &flags);
    let calls = strace.finish();
    assert!(report.accounts.are_clean(), "{:?}", report.accounts);
    assert!(report.accounts.expected >= 500 * SUBSCRIBERS as u64, "{:?}", report.accounts);
    let all: u64 = calls.values().sum();
    let each = all as f64 / report.accounts.arrived as f64;
    println!("{} deliveries: {each:.4} calls each, {calls:?}", report.accounts.arrived);
    assert!(each <= 0.1, "{each} calls per delivery: {calls:?}");
}
