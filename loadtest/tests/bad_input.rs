//! What the binary says, and what it ends with, when it is asked for what cannot be: the words name what was wrong and
//! what to do, and what was measured until then is reported.

#![forbid(unsafe_code)]

mod common;

use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use common::faulty::{Behavior, Ending, Faulty, Greeting};
use ringwire_ring::linux::{allowed_cores, pin_to_core};

/// Exit statuses, as the help says them.
const FAULTY: i32 = 1;
const COULD_NOT_RUN: i32 = 2;
const SLO_MISSED: i32 = 3;
const VOID: i32 = 4;

/// Seconds after which a run is taken to hang.
const PATIENCE: &str = "60";

/// What a run of the binary came to.
#[derive(Debug)]
struct Outcome {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Outcome {
    /// It ended with this status and said all these words on the stream for errors, in one line without a panic.
    fn fails(&self, status: i32, words: &[&str]) {
        assert_eq!(self.status, Some(status), "{self:?}");
        assert!(words.iter().all(|words| self.stderr.contains(words)), "{words:?} in {self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
    }

    /// It ended with one of these statuses and its report says these words.
    fn reports(&self, statuses: &[i32], words: &[&str]) {
        assert!(self.status.is_some_and(|status| statuses.contains(&status)), "{self:?}");
        assert!(words.iter().all(|words| self.stdout.contains(words)), "{words:?} in {self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
    }
}

fn run(mut command: Command) -> Outcome {
    let output = command.output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Outcome { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Runs ringload with these arguments, parted by spaces.
fn ringload(arguments: &str) -> Outcome {
    let mut command = Command::new("timeout");
    command.args([PATIENCE, env!("CARGO_BIN_EXE_ringload")]).args(arguments.split(' '));
    run(command)
}

/// What a run says that a hypervisor left its cores to, in one of five tries: any other is void, whatever was asked for.
fn unstolen(mut attempt: impl FnMut() -> Outcome) -> Outcome {
    let is_stolen = |outcome: &Outcome| outcome.stdout.contains("its hypervisor took");
    (1..5).map(|_| attempt()).find(|outcome| !is_stolen(outcome)).unwrap_or_else(attempt)
}

fn server(behavior: Behavior) -> (Faulty, String) {
    let server = Faulty::start(behavior);
    let url = server.url();
    (server, url)
}

/// Short runs.
const BRIEF: &str = "--seconds 0.4 --warm-up 0.1";

#[test]
fn an_unreachable_server_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("ws://{}/echo", listener.local_addr().expect("its address"));
    drop(listener);
    ringload(&format!("echo {url} --connections 1 {BRIEF}")).fails(COULD_NOT_RUN, &[&url, "refused"]);
    ringload("echo ws://no-such-host.invalid/echo").fails(COULD_NOT_RUN, &["no-such-host.invalid"]);
}

#[test]
fn a_wrong_path_says_the_status_and_asks_for_the_path() {
    let (_server, url) = server(Behavior::default());
    for workload in ["echo", "idle"] {
        let outcome = ringload(&format!("{workload} {url}/nowhere --connections 2 {BRIEF}"));
        outcome.fails(COULD_NOT_RUN, &["404", "path", "/nowhere"]);
    }
}

#[test]
fn whoever_is_not_let_in_is_told_by_whom_and_how() {
    let greeted = |greeting| {
        let (_server, url) = server(Behavior { greeting, ..Behavior::default() });
        [
            ringload(&format!("echo {url}/echo --connections 2 {BRIEF}")),
            ringload(&format!("fanout {url} --subscribers 2 {BRIEF}")),
        ]
    };
    for (greeting, words) in [
        (Greeting::Refuses, "403"),
        (Greeting::WrongKey, "Sec-WebSocket-Accept"),
        (Greeting::Foreign, "HTTP"),
        (Greeting::HangsUp, "ended the connection"),
    ] {
        for outcome in greeted(greeting) {
            outcome.fails(COULD_NOT_RUN, &["ws://127.0.0.1", words]);
        }
    }
}

#[test]
fn a_server_that_never_answers_is_waited_for_no_longer_than_said() {
    let (_server, url) = server(Behavior { greeting: Greeting::Silent, ..Behavior::default() });
    ringload(&format!("echo {url}/echo --connections 2 {BRIEF}")).fails(COULD_NOT_RUN, &["no answer", "10 s"]);
}

#[test]
fn what_was_measured_until_the_server_died_is_reported() {
    each_against(
        &Behavior { ending: Some(Ending::Dies(1000)), ..Behavior::default() },
        &[
            "echo {url}/echo --connections 2 --seconds 30",
            "echo {url}/echo --connections 2 --rate 2000 --seconds 30",
            "fanout {url} --subscribers 3 --window 2 --seconds 30",
            "fanout {url} --subscribers 3 --rate 2000 --seconds 30",
        ],
        |outcome| outcome.stdout.contains("of 30.0 s: it ended early") && outcome.stdout.contains(" ended (first: "),
    );
}

#[test]
fn rounds_that_ran_are_reported_though_a_later_one_could_not_run() {
    // A run publishes some 60 messages, so the server dies in the third and the fourth finds nobody.
    each_against(
        &Behavior { ending: Some(Ending::Dies(150)), ..Behavior::default() },
        &["slow {url} --subscribers 5 --slow-share 20% --rate 200 --seconds 0.3"],
        |outcome| outcome.stdout.contains("p99_us_beside_slow") && outcome.stdout.contains("round 2 could not run"),
    );
}

#[test]
fn a_server_that_stops_reading_ends_the_run_with_a_report() {
    each_against(
        &Behavior { ending: Some(Ending::StopsReading(10)), ..Behavior::default() },
        &[
            "echo {url}/echo --connections 2 --seconds 1",
            "echo {url}/echo --connections 2 --rate 2000 --seconds 1",
            "fanout {url} --subscribers 3 --rate 2000 --seconds 1",
        ],
        |outcome| outcome.stdout.contains(" lost") && !outcome.stdout.contains(" 0 lost"),
    );
}

/// Runs all these workloads at once, each against a server of its own, without a warm-up. Each must end as faulty, whether
/// or not it is void as well, and report what was measured and something that is right.
fn each_against(behavior: &Behavior, runs: &[&str], is_right: impl Fn(&Outcome) -> bool + Sync) {
    std::thread::scope(|scope| {
        for workload in runs {
            scope.spawn(|| {
                let (_server, url) = server(behavior.clone());
                let outcome = ringload(&format!("{} --warm-up 0", workload.replace("{url}", &url)));
                outcome.reports(&[FAULTY], &["p99"]);
                assert!(is_right(&outcome), "{outcome:?}");
            });
        }
    });
}

#[test]
fn too_few_descriptors_are_named_with_what_would_do() {
    let (_server, url) = server(Behavior::default());
    let run_with = |limit: u32, arguments: &str| {
        let mut command = Command::new("sh");
        let binary = env!("CARGO_BIN_EXE_ringload");
        command.args(["-c", &format!("ulimit -n {limit} && exec timeout {PATIENCE} {binary} {arguments}")]);
        run(command)
    };
    let arguments = format!("echo {url}/echo --connections 100 {BRIEF}");
    run_with(60, &arguments).fails(COULD_NOT_RUN, &["RLIMIT_NOFILE"]);
    run_with(256, &format!("storm {url}/echo --rate 20 {BRIEF}")).reports(&[0, VOID], &["0 lost"]);
    let idle = format!("idle {url}/echo --connections 100 {BRIEF}");
    run_with(60, &idle).fails(COULD_NOT_RUN, &["RLIMIT_NOFILE"]);
}

#[test]
fn a_rate_that_the_generator_cannot_reach_is_void() {
    let (_server, url) = server(Behavior::default());
    for workload in [format!("echo {url}/echo --connections 2"), format!("fanout {url} --subscribers 2")] {
        let outcome = ringload(&format!("{workload} --rate 5_000_000 {BRIEF}"));
        // What is still on its way when nobody waits any longer is lost, and that outranks it.
        let status = if outcome.stdout.contains(" 0 lost") { VOID } else { FAULTY };
        outcome.reports(&[status], &["VOID", "late"]);
    }
}

#[test]
fn a_generator_whose_core_others_have_is_in_doubt() {
    let (_server, url) = server(Behavior::default());
    let core = *allowed_cores().expect("the cores can be asked for").last().expect("a core");
    let (is_over, waited) = (AtomicBool::new(false), "a thread of the generator waited");
    let outcome = std::thread::scope(|scope| {
        let (begins, begun) = mpsc::channel();
        let is_over = &is_over;
        scope.spawn(move || {
            pin_to_core(core).expect("a core of this machine");
            begins.send(()).expect("the test waits for it");
            while !is_over.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        begun.recv().expect("it begins");
        let measure = || ringload(&format!("echo {url}/echo --connections 1 --spin on --core {core} {BRIEF}"));
        let mut outcome = measure();
        // Beside other tests one run may be too short to show it.
        for _ in 1..3 {
            if outcome.stdout.contains(waited) {
                break;
            }
            outcome = measure();
        }
        is_over.store(true, Ordering::Relaxed);
        outcome
    });
    outcome.reports(&[0, VOID], &["DOUBT", waited]);
}

#[test]
fn a_missed_slo_is_a_status_of_its_own() {
    let (_server, url) = server(Behavior::default());
    let echo = |slo: &str| unstolen(|| ringload(&format!("echo {url}/echo --connections 1 {BRIEF} --slo {slo}")));
    echo("p50<1ns").reports(&[SLO_MISSED], &["MISSED", "p50<1ns"]);
    echo("p50<60s").reports(&[0], &["p50<60s"]);
}

#[test]
fn connections_that_say_nothing_have_a_report_and_a_page_without_latencies() {
    let (_server, url) = server(Behavior::default());
    let page = std::env::temp_dir().join(format!("ringload-idle-{}.html", std::process::id()));
    let arguments = format!("idle {url}/echo --connections 3 --threads 2 --html {} {BRIEF}", page.display());
    let outcome = unstolen(|| ringload(&arguments));
    outcome.reports(&[0], &["idle", "resident_bytes_per_connection"]);
    let html = std::fs::read_to_string(&page).expect("a page");
    std::fs::remove_file(page).expect("it can be removed");
    assert!(html.contains("idle against") && !outcome.stdout.contains("latency"), "{outcome:?}");
}

#[test]
fn an_slo_of_what_is_not_measured_is_refused_before_anything_is_sent() {
    let (server, url) = server(Behavior::default());
    ringload(&format!("echo {url}/echo --slo order.p99<2ms")).fails(COULD_NOT_RUN, &["order", "echo"]);
    ringload(&format!("idle {url}/echo --connections 1 --slo p99<1ms")).fails(COULD_NOT_RUN, &["no latency"]);
    assert_eq!(server.finish().received, 0);
}

#[test]
fn flags_that_nobody_knows_or_that_make_no_sense_are_named() {
    let (_server, url) = server(Behavior::default());
    for (arguments, words) in [
        ("echo", "target is missing"),
        ("echo {url}/echo --conections 3", "--conections"),
        ("echo {url}/echo --connections", "--connections"),
        ("echo {url}/echo --connections 0", "--connections"),
        ("echo {url}/echo --connections many", "many"),
        ("echo {url}/echo --rate 0", "--rate"),
        ("echo {url}/echo --rate -5", "--rate"),
        ("echo {url}/echo --rate NaN", "--rate"),
        ("echo {url}/echo --depth 2 --rate 5", "--depth"),
        ("echo {url}/echo --seconds -1", "--seconds"),
        ("echo {url}/echo --slo p99", "p99"),
        ("echo {url}/echo --slo p99<2", "p99<2"),
        ("echo {url}/echo --slo p101<2ms", "p101"),
        ("echo {url}/echo --server-pid 999999999", "999999999"),
        ("echo {url}/echo --core 4096", "4096"),
        ("echo http://127.0.0.1/", "ws://"),
        ("fanout {url} --window 0", "--window"),
        ("fanout {url} --bytes 10", "--bytes 10"),
        ("fanout {url} --bytes 17000000", "--bytes 17000000"),
        ("game {url} --input-bytes 43", "--input-bytes 43"),
        ("game {url} --input-bytes 48", "--input-bytes 48"),
        ("game {url} --state-bytes 1 --player-bytes 0", "--state-bytes 1 and --player-bytes 0"),
        ("trading {url} --book-bytes 1_100_000", "--book-bytes 1100000"),
        ("trading {url} --order-bytes 20", "--order-bytes 20"),
        ("meeting {url} --chat-bytes 20", "--chat-bytes 20"),
        ("reconnect {url} --bytes 20", "--bytes 20"),
        ("slow {url} --bytes 20", "--bytes 20"),
        ("pipeline {url} --bytes 20_000_000", "--bytes 20000000"),
        ("storm {url} --bytes 20_000_000", "--bytes 20000000"),
        ("dance {url}", "dance"),
        ("compare echo --server nothing", "--server"),
    ] {
        ringload(&arguments.replace("{url}", &url)).fails(COULD_NOT_RUN, &[words]);
    }
}
