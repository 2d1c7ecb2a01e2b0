//! Each adapter against the release server in the form that it speaks: what several publishers publish to several topics
//! arrives at every subscriber, once, in order and as it was; and what the server refuses is told.

#![forbid(unsafe_code)]

mod common;

use common::{binary, ringload, ringwire_command, start_ringwire};
use ringload::cli::{CommandLine, Task};
use ringload::server::{Server, ServerCommand};

/// Some hundred messages to topics that several sessions hear, on two threads, each of which has publishers.
const TRADING: &str =
    "--publishers 4 --subscribers 10 --topics 6 --rate 400 --threads 2 --seconds 1 --warm-up 0.2 --progress off";

/// Runs the workload with this adapter: all of it arrives.
fn assert_delivers(url: &str, adapter: &str) {
    let report = ringload("trading", url, &format!("{TRADING} {adapter}"));
    let accounts = &report.accounts;
    assert!(accounts.are_clean() && accounts.arrived > 400 && accounts.unknown == 0, "{adapter}: {accounts:?}");
}

#[test]
#[ignore = "needs the release server, run by cargo xtask test"]
fn ringwire_delivers_in_each_of_its_forms() {
    let (_server, base) = start_ringwire(2, "/");
    for adapter in ["path", "ringwire-json", "ringwire-binary"] {
        assert_delivers(&base.to_string(), &format!("--adapter {adapter}"));
    }
}

/// Two who read nothing: their subscriptions are confirmed all the same, and nobody else misses anything.
#[test]
#[ignore = "needs the release server, run by cargo xtask test"]
fn who_reads_nothing_has_subscribed_first() {
    let (_server, base) = start_ringwire(1, "/");
    for adapter in ["path", "ringwire-json", "ringwire-binary"] {
        let flags = format!("--subscribers 3 --slow 2 --seconds 0.5 --warm-up 0 --progress off --adapter {adapter}");
        let report = ringload("fanout", &base.to_string(), &flags);
        assert!(report.accounts.are_clean() && report.accounts.arrived > 100, "{adapter}: {:?}", report.accounts);
    }
}

/// The floors of a fanout: at a rate, saturated, with more on the way than sockets hold, and beside who reads nothing.
#[test]
#[ignore = "needs the release floors, run by cargo xtask test"]
fn relays_deliver() {
    let floor = binary("floor", "RINGWIRE_FLOOR_BIN", "ringwire-benches --bin floor");
    for kind in ["tcp-fanout", "epoll-fanout"] {
        let command = format!("floor={} {kind} --port {{port}}", floor.display());
        let command = ServerCommand::parse(&command, "tcp://127.0.0.1:{port}").expect("a valid command");
        let server = Server::start(&command, None).unwrap_or_else(|reason| panic!("{reason}"));
        // The last keeps 10 MB on the way at most, of which one subscriber may be owed all: less than the floor keeps for it.
        for flags in ["--rate 1000", "--window 64", "--window 64 --bytes 16000 --slow 2"] {
            let common = "--subscribers 10 --seconds 0.5 --warm-up 0 --progress off";
            let report = ringload("fanout", &server.url, &format!("{flags} {common}"));
            let accounts = &report.accounts;
            assert!(accounts.are_clean() && accounts.arrived > 0, "{kind}, {flags}: {accounts:?}");
        }
    }
}

/// A template that says what ringwire's protocol wants, with payloads inside strings: each is delivered as it was published.
#[test]
#[ignore = "needs the release server, run by cargo xtask test"]
fn a_template_of_a_servers_own_protocol_delivers() {
    let (_server, base) = start_ringwire(2, "/connect");
    let subscribe =
        r#"--subscribe-text {"id":1,"method":"subscribe","params":["{topic}"]} --ready-text "topic":"{topic}","id""#;
    for data in ["{payload}", r#""{payload_text}""#] {
        let publish = format!(r#"{{"method":"publish","params":{{"topic":"{{topic}}","data":{data}}}}}"#);
        let template = format!("--adapter template {subscribe} --fault-text \"error\" --publish-template {publish}");
        assert_delivers(&base.to_string(), &template);
    }
}

/// A feed that others publish: what ringwire's demonstration feed says was made at `ts`, in microseconds.
#[test]
#[ignore = "needs the release server, run by cargo xtask test"]
fn a_foreign_feed_is_as_late_as_its_messages_say() {
    let mut command = ringwire_command(1, "/connect");
    let feed = command.command.iter().position(|word| word == "none").expect("--feed none");
    command.command[feed] = "demo".to_owned();
    let server = Server::start(&command, None).unwrap_or_else(|reason| panic!("{reason}"));
    let template = r#"--adapter template --subscribe-text {"id":1,"method":"subscribe","params":["{topic}"]}
        --ready-text "state":"pattern" --timestamp-at /ts:us --topic trades.> --fault-text "error""#;
    let flags = "--rate 0 --subscribers 3 --seconds 1 --warm-up 0.2 --progress off";
    let report = ringload("fanout", &server.url, &format!("{flags} {template}"));
    let accounts = &report.accounts;
    assert!(accounts.are_clean() && accounts.arrived > 30, "{accounts:?}");
    // On one machine with one clock, it is later than nothing and earlier than any clock's fault.
    let latency = &report.series[0].corrected;
    assert!(latency.count() > 20 && latency.max() > 0 && latency.max() < 1_000_000_000, "{:?}", latency.max());
}

#[test]
#[ignore = "needs the release server, run by cargo xtask test"]
fn what_ringwire_refuses_ends_the_run_with_its_words() {
    let (_server, base) = start_ringwire(1, "/");
    for (adapter, topic, words) in [
        ("ringwire-json", "a/b", "400 \"a/b\" is no topic"),
        ("ringwire-binary", "a/b", "400 \"a/b\" is no topic"),
        ("path", "a%", "HTTP 400"),
        ("socketio", "a", "HTTP 404"),
        ("centrifugo", "a", "HTTP 404"),
    ] {
        let words_of = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let line = format!("fanout {base} --adapter {adapter} --topic {topic} --seconds 1 --progress off");
        let Task::Run(job) = CommandLine::parse(&words_of(&line)).expect("a command line").task else {
            panic!("no run")
        };
        let fault = job.run().map(|report| format!("{:?}", report.accounts)).expect_err(adapter);
        assert!(fault.contains(words), "{adapter}: {fault}");
    }
}
