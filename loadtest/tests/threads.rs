//! A run on several threads finds what one on a single thread does: what is published by one is heard by another, and the
//! account is of all.

#![forbid(unsafe_code)]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use common::faulty::{Behavior, Fault, FaultKind, Faulty};
use common::ringload;
use ringload::cli::{CommandLine, Task};
use ringwire_codec::handshake::{Policy, accept};
use ringwire_codec::http::Request;

const BRIEF: &str = "--seconds 0.5 --warm-up 0.1 --settle 0.1 --threads 3";

#[test]
fn every_delivery_of_every_thread_is_accounted_for() {
    for pace in ["--rate 500", "--window 8"] {
        let server = Faulty::start(Behavior::default());
        let report = ringload("fanout", &server.url(), &format!("{BRIEF} --subscribers 10 {pace}"));
        assert!(report.accounts.are_clean() && report.accounts.expected > 100, "{pace}: {:?}", report.accounts);
        assert_eq!(report.accounts.expected % 10, 0, "{pace}: {:?}", report.accounts);
        // A publish spreads over the threads: it counts once.
        let spreads = report.spread.as_ref().map_or(0, |spread| spread.count());
        assert_eq!(spreads, report.latency().count() / 10, "{pace}");
    }
}

#[test]
fn a_delivery_that_one_thread_misses_is_lost() {
    let drops = Fault { kind: FaultKind::Drop, nth: 100 };
    let server = Faulty::start(Behavior { fault: Some(drops), ..Behavior::default() });
    let report = ringload("fanout", &server.url(), &format!("{BRIEF} --subscribers 7 --rate 400"));
    let accounts = &report.accounts;
    assert!(accounts.lost > 0 && accounts.lost + accounts.arrived == accounts.expected, "{accounts:?}");
}

#[test]
fn echoes_of_all_threads_add_up() {
    let server = Faulty::start(Behavior::default());
    let url = format!("{}/echo", server.url());
    for pace in ["--depth 2", "--rate 700"] {
        let report = ringload("echo", &url, &format!("{BRIEF} --connections 8 {pace}"));
        assert!(report.accounts.are_clean() && report.messages > 100, "{pace}: {:?}", report.accounts);
        assert!(report.latency().count() > 100, "{pace}");
    }
}

#[test]
fn so_many_messages_are_those_of_all_threads_together() {
    let server = Faulty::start(Behavior::default());
    // One thread has two of the connections, and so twice as many echoes as each other.
    let flags = "--seconds 20 --warm-up 0 --settle 0.1 --threads 3 --connections 4 --messages 3000";
    let report = ringload("echo", &format!("{}/echo", server.url()), flags);
    assert!(report.messages >= 3000 && report.cost.elapsed.as_secs() < 10, "{}", report.to_text());
}

#[test]
fn a_market_whose_gateways_and_subscribers_are_on_different_threads_loses_nothing() {
    let server = Faulty::start(Behavior::default());
    let flags = format!("{BRIEF} --topics 7 --publishers 4 --subscribers 20 --topics-each 2 --orders 5 --rate 400");
    let report = ringload("trading", &server.url(), &flags);
    assert!(report.accounts.are_clean() && report.accounts.expected > 200, "{:?}", report.accounts);
    let counts: Vec<u64> = report.series.iter().map(|series| series.corrected.count()).collect();
    assert!(counts.len() == 2 && counts.iter().all(|&count| count > 10), "{counts:?}");
}

#[test]
fn threads_without_a_part_are_not_started() {
    let server = Faulty::start(Behavior::default());
    let url = format!("{}/echo", server.url());
    let brief = BRIEF.replace("--threads 3", "--threads 4");
    for pace in ["--depth 1", "--rate 300"] {
        let report = ringload("echo", &url, &format!("{brief} --connections 2 {pace}"));
        assert!(report.accounts.are_clean() && report.messages > 50, "{pace}: {:?}", report.accounts);
    }
}

#[test]
fn a_run_that_ends_early_counts_nothing_behind_its_end() {
    let server = Faulty::start(Behavior::default());
    let url = format!("{}/echo", server.url());
    let report = ringload("echo", &url, "--connections 4 --depth 32 --messages 300 --warm-up 0.1 --settle 0.1");
    assert!(report.accounts.are_clean() && report.accounts.expected >= 428, "{:?}", report.accounts);
    assert!((300..428).contains(&report.messages), "{}", report.messages);
}

#[test]
fn an_objective_of_what_is_not_measured_is_refused_before_the_run() {
    let words = ["echo", "ws://127.0.0.1:1/echo", "--slo", "spread.p99<1ms"].map(str::to_owned);
    let Task::Run(job) = CommandLine::parse(&words).expect("a command line").task else { panic!("not a run") };
    let fault = job.run().expect_err("it is refused");
    assert!(fault.contains("no spread is measured here"), "{fault}");
}

/// Answers the opening handshake that comes.
fn greet(stream: &mut TcpStream) {
    let mut head = Vec::new();
    let mut bytes = [0; 1024];
    let response = loop {
        let len = stream.read(&mut bytes).expect("a request");
        assert!(len > 0, "a whole request");
        head.extend_from_slice(&bytes[..len]);
        if let Some((request, _)) = Request::parse(&head).expect("a request") {
            break accept(&request, &Policy::default()).expect("a WebSocket's").response(&[]);
        }
    };
    stream.write_all(&response).expect("it is taken");
}

#[test]
fn a_connection_that_ends_while_other_threads_are_not_ready_is_why_the_run_cannot_begin() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = format!("ws://{}/echo", listener.local_addr().expect("its address"));
    let flags = ["--connections", "2", "--threads", "2", "--seconds", "0.2", "--progress", "off"];
    let words = ["echo", &target].into_iter().chain(flags).map(str::to_owned).collect::<Vec<_>>();
    let Task::Run(job) = CommandLine::parse(&words).expect("well-formed").task else { panic!("a run") };
    let (run_is_over, is_over) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let [mut first, mut second] = [(); 2].map(|()| listener.accept().expect("both connect").0);
            greet(&mut first);
            // Its thread is ready and waits for the other's, when it ends.
            let _ = is_over.recv_timeout(Duration::from_millis(100));
            drop(first);
            if is_over.recv_timeout(Duration::from_millis(500)) == Err(mpsc::RecvTimeoutError::Timeout) {
                greet(&mut second);
                let _ = is_over.recv_timeout(Duration::from_secs(10));
            }
        });
        let outcome = job.run().map(|report| report.accounts);
        drop(run_is_over);
        assert_eq!(outcome.as_ref().err().map(String::as_str), Some("the server ended the connection"), "{outcome:?}");
    });
}
