//! Sessions that come, go and are cut off while a run goes on, and ticks: what the core of publish and subscribe makes of
//! them, against a server that is slow just as told.

#![forbid(unsafe_code)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::faulty::{Behavior, Ending, Faulty, Hold};
use common::ringload;
use ringload::adapter::path::Path;
use ringload::cli::{self, Flags};
use ringload::json::Json;
use ringload::pubsub::{Action, Flow, PubSub, Scenario, Session, Source, What};
use ringload::report::Report;
use ringload::run;
use ringload::workload::Place;

const SERIES: &[&str] = &["delivery", "join"];

/// What happens, in milliseconds from the start.
type Plot = Vec<(u64, What)>;

/// Session 0 hears topic 0 all the time and publishes on topic 1, session 1 the other way round; whether it `comes_later`
/// is the plot's. Session n has flow n. Also says when each set out that came, and how long it took.
fn play(comes_later: bool, plot: Plot) -> (Report, Vec<(Duration, Duration)>) {
    let (report, joined) = play_against(Behavior::default(), "0.6", comes_later, plot);
    assert!(report.accounts.are_clean(), "{:?}", report.accounts);
    (report, joined)
}

/// The same for so many seconds against a server that behaves so.
fn play_against(
    behavior: Behavior,
    seconds: &str,
    comes_later: bool,
    plot: Plot,
) -> (Report, Vec<(Duration, Duration)>) {
    let server = Faulty::start(behavior);
    let place = Place { target: server.target("/"), adapter: Arc::new(Path) };
    let scenario = Scenario {
        topics: vec!["a".to_owned(), "b".to_owned()],
        flows: vec![Flow { topic: 1, session: 0, series: 0 }, Flow { topic: 0, session: 1, series: 0 }],
        sessions: vec![
            Session { subscribes: vec![0], ..Session::default() },
            Session { subscribes: vec![1], comes_later, ..Session::default() },
        ],
        bytes_max: 64,
    };
    let action = |(at, what)| Action { at: Duration::from_millis(at), what };
    let source = Source::Script(Arc::new(move |_| Box::new(plot.clone().into_iter().map(action))));
    let mut model = PubSub::new("plot", &place, scenario, source, SERIES, Json::Null);
    let joined = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&joined);
    model.watch.joins = Some(1);
    model.watch.on_join = Some(Arc::new(move |set_out, took| seen.lock().expect("no panic").push((set_out, took))));
    let mut flags = Flags::split(&[format!("--seconds={seconds}"), "--progress=off".to_owned()]).expect("flags");
    let load = cli::load(&mut flags, 5.0, 0.0).expect("a load");
    let report = run::run(&model, &load).unwrap_or_else(|reason| panic!("{reason}"));
    let joined = joined.lock().expect("no panic").clone();
    (report, joined)
}

fn publish(flow: usize) -> What {
    What::Publish { flow, bytes: 64 }
}

fn count(report: &Report, name: &str) -> u64 {
    report.series.iter().find(|series| series.name == name).map_or(0, |series| series.corrected.count())
}

#[test]
fn what_is_due_of_one_who_is_coming_follows_when_it_is_there() {
    let (report, joined) =
        play(true, vec![(100, What::Join(1)), (100, publish(1)), (100, publish(1)), (100, publish(1))]);
    assert_eq!((count(&report, "delivery"), count(&report, "join"), report.accounts.arrived), (3, 1, 3));
    let [(set_out, took)] = joined[..] else { panic!("one comes: {joined:?}") };
    assert_eq!(set_out, Duration::from_millis(100));
    // They are late by as much as it took, for those who wait for them; the generator is not late.
    let (delivery, lateness) = (&report.series[0], &report.lateness);
    assert!(u128::from(delivery.corrected.max()) >= took.as_nanos(), "{} after {took:?}", delivery.corrected.max());
    assert!(delivery.uncorrected.max() < delivery.corrected.max());
    assert!(u128::from(lateness.max()) < took.as_nanos() + 50_000_000, "{}", lateness.max());
}

#[test]
fn what_is_due_of_one_who_is_not_there_is_not_sent() {
    let (report, _) = play(
        true,
        vec![(50, publish(1)), (100, What::Join(1)), (300, publish(1)), (301, What::Leave(1)), (400, publish(1))],
    );
    assert_eq!(count(&report, "delivery"), 1);
}

#[test]
fn one_who_is_to_leave_before_it_is_there_comes_first() {
    let (report, joined) =
        play(true, vec![(100, What::Join(1)), (100, publish(1)), (100, What::Leave(1)), (400, publish(1))]);
    assert_eq!((joined.len(), count(&report, "delivery")), (1, 1));
}

#[test]
fn one_who_was_cut_off_comes_back_and_hears_on() {
    let publishes = (0..50).map(|nth| (nth * 10, publish(0)));
    let cut = [(200, What::Cut(1)), (200, What::Join(1)), (200, publish(1))];
    let mut plot: Plot = publishes.chain(cut).collect();
    plot.sort_by_key(|(at, _)| *at);
    let (report, joined) = play(false, plot);
    assert_eq!(joined.len(), 1);
    assert_eq!(joined[0].0, Duration::from_millis(200));
    // What was published meanwhile it was not to hear; but most it was.
    let heard = count(&report, "delivery") - 1;
    assert!((30..=50).contains(&heard), "{heard} of 50, and its own");
}

#[test]
fn one_who_left_is_not_told_what_comes_then() {
    let publishes = (0..50).map(|nth| (nth * 10, publish(0)));
    let mut plot: Plot = publishes.chain([(205, What::Leave(1))]).collect();
    plot.sort_by_key(|(at, _)| *at);
    let (report, _) = play(false, plot);
    assert!((15..35).contains(&count(&report, "delivery")), "{} of 50", count(&report, "delivery"));
}

#[test]
fn one_whose_connection_fails_once_comes_back() {
    // The server closes the connection that sent the first message: session 1's, to publish.
    let behavior = Behavior { ending: Some(Ending::HangsUp(1)), ..Behavior::default() };
    let plot = vec![(50, publish(1)), (250, What::Join(1)), (400, publish(1))];
    let (report, joined) = play_against(behavior, "0.6", false, plot);
    assert_eq!((report.accounts.ended, joined.len()), (1, 1), "{:?}", report.accounts);
    assert_eq!(count(&report, "delivery"), 2, "{:?}", report.accounts);
}

#[test]
fn one_who_is_not_ready_by_the_end_is_a_fault() {
    // Nothing is read any more once session 0 has published: who comes then gets no answer.
    let behavior = Behavior { ending: Some(Ending::StopsReading(1)), ..Behavior::default() };
    let (report, joined) = play_against(behavior, "0.6", true, vec![(50, publish(0)), (200, What::Join(1))]);
    assert_eq!((report.accounts.ended, joined.len()), (1, 0), "{:?}", report.accounts);
    assert_eq!(report.accounts.ended_reason.as_deref(), Some("a session was not ready by the end"));
}

#[test]
fn what_a_server_owes_one_who_came_back_and_sends_it_nothing_of_is_lost() {
    let publishes = |until: u64| (0..until / 20).map(|nth| (nth * 20, publish(0)));
    let coming = |until: u64| -> Plot {
        let mut plot: Plot = publishes(until).chain([(100, What::Join(1))]).collect();
        plot.sort_by_key(|(at, _)| *at);
        plot
    };
    // Session 0 has two connections, and those of session 1 come behind them.
    let forgets = Behavior { forgets_behind: Some(2), ..Behavior::default() };
    let (report, joined) = play_against(forgets.clone(), "2.1", true, coming(2000));
    let accounts = &report.accounts;
    // It is owed what is published a second after it came and later: some 45.
    assert_eq!((joined.len(), accounts.arrived, accounts.lost), (1, 0, accounts.expected), "{accounts:?}");
    assert!((20..=46).contains(&accounts.lost), "{accounts:?}");
    // Within that second a subscription may come into force, and nothing is owed.
    let (report, _) = play_against(forgets, "1", true, coming(800));
    assert!(report.accounts.are_clean(), "{:?}", report.accounts);
}

/// A game of two players, 20 states a second, against a server that keeps each message for so long.
fn game(hold: Hold) -> Report {
    let server = Faulty::start(Behavior { hold, ..Behavior::default() });
    let flags = "--rooms 1 --players 2 --input-rate 20 --seconds 1.5 --warm-up 0 --progress off";
    let report = ringload("game", &server.url(), flags);
    assert!(report.accounts.are_clean(), "{:?}", report.accounts);
    report
}

fn finding(report: &Report, name: &str, member: &str) -> f64 {
    let found = &report.findings.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no {name}")).1;
    let found = match found {
        Json::Object(members) => &members.iter().find(|(known, _)| known == member).expect("a member").1,
        found => found,
    };
    match found {
        Json::Integer(number) => *number as f64,
        Json::Number(number) => *number,
        other => panic!("{other} is no number"),
    }
}

#[test]
fn ticks_that_take_longer_than_an_interval_are_late_and_may_be_even() {
    let report = game(Hold::Constant(Duration::from_millis(60)));
    assert_eq!(finding(&report, "late_tick_share", ""), 1.0);
    assert_eq!(finding(&report, "late_ticks", "") as u64, count(&report, "state"));
    assert!(finding(&report, "jitter_us", "p50") < 20_000.0, "{:?}", report.findings);
    let report = game(Hold::Constant(Duration::from_millis(10)));
    assert!(finding(&report, "late_tick_share", "") < 0.5, "{:?}", report.findings);
}

#[test]
fn ticks_that_take_now_shorter_now_longer_have_jitter() {
    let (usual, rare) = (Duration::from_millis(1), Duration::from_millis(40));
    let report = game(Hold::Bimodal { usual, rare, rare_percent: 30 });
    // A late one is 39 ms further from the one before it, and as much nearer to the next.
    assert!(finding(&report, "jitter_us", "p90") > 30_000.0, "{:?}", report.findings);
    assert!(finding(&report, "late_tick_share", "") < 0.5, "{:?}", report.findings);
}
