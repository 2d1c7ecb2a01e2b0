//! Every message is accounted for: against a server that drops, repeats, swaps or corrupts every so-manieth delivery, the
//! report counts exactly what the server did, of each kind, whatever the workload.

#![forbid(unsafe_code)]

mod common;

use common::faulty::{Behavior, Ending, Fault, FaultKind, Faulty, Truth};
use common::ringload;
use ringload::measure::Accounts;

/// Workloads with a rate, so that a fault does not slow down what follows, and closed loops that go on after some. A
/// payload of 97 bytes, so that corruption moves through all of it.
const RUNS: [(&str, &str, &str); 6] = [
    ("echo", "/echo", "--connections 2 --rate 4000 --bytes 97"),
    ("echo", "/echo", "--connections 2 --rate 4000 --bytes 97 --payload json"),
    ("echo", "/echo", "--connections 3 --depth 16 --messages 3000 --bytes 97"),
    ("fanout", "/", "--subscribers 3 --rate 1500 --bytes 97"),
    ("fanout", "/", "--subscribers 3 --window 4 --bytes 97"),
    (
        "trading",
        "/",
        "--subscribers 4 --topics 3 --topics-each 2 --publishers 2 --rate 800 --opening 1 --news-every 0 \
         --book-bytes 97 --trade-bytes 97",
    ),
];

/// What a workload says of a server with this fault, and what the server did.
fn against(kind: FaultKind, (workload, path, flags): (&str, &str, &str)) -> (Accounts, Truth) {
    let server = Faulty::start(Behavior { fault: Some(Fault { kind, nth: 7 }), ..Behavior::default() });
    let flags = format!("{flags} --seconds 0.5 --warm-up 0.1 --settle 0.05");
    let report = ringload(workload, &format!("{}{path}", server.url()), &flags);
    let truth = server.finish();
    assert!(truth.received > 100, "{workload}: {} messages", truth.received);
    (report.accounts, truth)
}

/// What a report must say: what arrived and was not as it should be, of all that was to arrive.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    lost: u64,
    repeated: u64,
    out_of_order: u64,
    corrupted: u64,
    arrived: u64,
}

fn counts(accounts: &Accounts) -> Counts {
    assert_eq!((accounts.unknown, accounts.ended), (0, 0), "{accounts:?}");
    let Accounts { lost, repeated, out_of_order, corrupted, arrived, expected, .. } = *accounts;
    assert_eq!(arrived + lost + corrupted, expected, "{accounts:?}");
    Counts { lost, repeated, out_of_order, corrupted, arrived }
}

/// Runs all workloads against a server with this fault, each against its own, and holds their counts against what the
/// truth says they must be.
fn each_against(kind: FaultKind, expected: impl Fn(&Truth) -> Counts + Sync) {
    std::thread::scope(|scope| {
        for run in RUNS {
            let expected = &expected;
            scope.spawn(move || {
                let (accounts, truth) = against(kind, run);
                assert_eq!(counts(&accounts), expected(&truth), "{run:?}: {accounts:?}");
            });
        }
    });
}

/// Messages that went out, of which so many were not whole or not for the first time.
fn out(truth: &Truth, but: u64) -> u64 {
    truth.held.len() as u64 - but
}

#[test]
fn each_dropped_message_is_lost() {
    each_against(FaultKind::Drop, |truth| {
        assert!(truth.dropped > 10, "{}", truth.dropped);
        Counts { lost: truth.dropped, arrived: out(truth, 0), ..Counts::default() }
    });
}

#[test]
fn each_repeated_message_is_repeated() {
    each_against(FaultKind::Repeat, |truth| {
        assert!(truth.repeated > 10, "{}", truth.repeated);
        Counts { repeated: truth.repeated, arrived: out(truth, truth.repeated), ..Counts::default() }
    });
}

#[test]
fn each_swapped_message_is_out_of_order_and_one_without_a_next_is_lost() {
    each_against(FaultKind::Swap, |truth| {
        assert!(truth.swapped > 10, "{}", truth.swapped);
        let (out_of_order, lost) = (truth.swapped, truth.dropped);
        Counts { out_of_order, lost, arrived: out(truth, 0), ..Counts::default() }
    });
}

#[test]
fn each_corrupted_message_is_corrupted_wherever_the_byte_is() {
    each_against(FaultKind::Corrupt, |truth| {
        assert!(truth.corrupted > 10, "{}", truth.corrupted);
        Counts { corrupted: truth.corrupted, arrived: out(truth, truth.corrupted), ..Counts::default() }
    });
}

#[test]
fn a_server_that_hangs_up_ends_the_run_with_what_was_measured() {
    let server = Faulty::start(Behavior { ending: Some(Ending::HangsUp(500)), ..Behavior::default() });
    let flags = "--connections 1 --depth 2 --seconds 30 --warm-up 0 --settle 0";
    let report = ringload("echo", &format!("{}/echo", server.url()), flags);
    let (accounts, truth) = (&report.accounts, server.finish());
    assert_eq!((truth.received, accounts.ended), (500, 1), "{accounts:?}");
    assert!(accounts.arrived > 100 && accounts.arrived <= truth.held.len() as u64, "{accounts:?}");
    assert_eq!((report.messages, accounts.lost), (accounts.arrived, accounts.expected - accounts.arrived));
}
