//! Starting and ending: what the server says, how it drains, and with which words it does not start.

use std::net::TcpListener;

use crate::support::{Process, Received, Server, Socket, ringwire};

/// What a command that fails at once says, and its exit code.
fn failure(flags: &[&str]) -> (String, i32) {
    let mut command = ringwire();
    command.args(flags);
    let (lines, status) = Process::start(command).end();
    (lines.join("\n"), status.code().expect("an exit code"))
}

/// Has the server drain, which must close all of these with 1001; what it said.
fn drained(server: Server, mut sockets: Vec<Socket>) -> Vec<String> {
    server.process.signal("TERM");
    for socket in &mut sockets {
        let Received::Close(code, _) = socket.receive() else { panic!("not closed") };
        assert_eq!(code, 1001);
    }
    for socket in sockets {
        socket.answer_close();
    }
    let (lines, status) = server.process.end();
    assert!(status.success(), "{status}: {lines:?}");
    lines
}

/// How often each shard's thread has gone to sleep: gave up its core of itself (`voluntary_ctxt_switches`, proc(5)).
fn sleeps(server: &Server) -> Vec<u64> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.process.id())).expect("the process lives");
    let sleeps = tasks.filter_map(|task| {
        let status = std::fs::read_to_string(task.ok()?.path().join("status")).ok()?;
        let field = |name: &str| Some(status.lines().find_map(|line| line.strip_prefix(name))?.trim().to_owned());
        let is_shard = field("Name:")?.strip_prefix("ringwire-")?.parse::<usize>().is_ok();
        is_shard.then(|| field("voluntary_ctxt_switches:")?.parse().ok())?
    });
    sleeps.collect()
}

#[test]
fn it_says_where_it_listens_and_on_what() {
    let server = Server::start(&[]);
    let line = &server.announcement[0];
    for part in ["ringwire: listening on http://127.0.0.1:", "2 shards", "io_uring: kernel "] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}

#[test]
fn beyond_loopback_it_does_not_start_unless_something_protects_it() {
    let (words, code) = failure(&["--listen", "0.0.0.0:0", "--feed", "none"]);
    assert_eq!(code, 2);
    for part in ["--listen", "0.0.0.0:0", "[auth]", "--publish-token", "--insecure"] {
        assert!(words.contains(part), "{part} is not in: {words}");
    }
}

#[test]
fn insecure_beyond_loopback_publishing_is_closed_and_it_says_so() {
    let mut command = ringwire();
    command.args(["--listen", "127.0.0.1:0", "--listen", "0.0.0.0:0", "--shards", "1", "--feed", "none", "--insecure"]);
    let mut process = Process::start(command);
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line| line != "ready") {
        lines.push(process.line().expect("it starts"));
    }
    assert!(lines.iter().any(|line| line.contains("publishing is closed")), "{lines:?}");
    let address = lines[0].split_once("http://").expect("an address").1.split(' ').next().expect("an address");
    let server = Server { process, address: address.parse().expect("an address"), announcement: lines };
    let answer = server.publish("a", "x");
    assert_eq!(answer.status, 403);
    assert!(answer.body.contains("--publish-token"), "{}", answer.body);
}

#[test]
fn a_drain_closes_each_connection_with_1001() {
    let server = Server::start(&[]);
    let mut sockets: Vec<_> =
        ["/ws/a", "/stream?streams=a/b", "/pub/a", "/echo"].map(|target| server.socket(target)).into();
    sockets.extend((0..20).map(|_| server.socket("/ws/a")));
    let lines = drained(server, sockets);
    assert!(lines.iter().any(|line| line.contains("SIGTERM: draining")), "{lines:?}");
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut server = Server::start(&[]);
    let socket = server.socket("/echo");
    server.process.signal("INT");
    assert!(server.process.line().is_some_and(|line| line.contains("SIGINT: draining")));
    // The socket does not answer the close, so the drain would take its time.
    server.process.signal("INT");
    let (lines, status) = server.process.end();
    assert_eq!(status.code(), Some(1));
    assert!(lines.iter().any(|line| line.contains("ending at once")), "{lines:?}");
    drop(socket);
}

/// What is published, to see how often shards sleep. One that may does so after nearly each.
const PUBLISHED: usize = 20;

#[test]
fn shards_that_never_sleep_serve_one_another_and_end() {
    let server = Server::start(&["--spin"]);
    // Sixteen of them, so that both shards have some: what one publishes goes to the other by mail.
    let mut sockets: Vec<_> = (0..16).map(|_| server.socket("/ws/a")).collect();
    server.await_topic("a", "\"subscribers\":16");
    let before = sleeps(&server);
    for _ in 0..PUBLISHED {
        assert_eq!(server.publish("a", "x").status, 200);
        for socket in &mut sockets {
            assert_eq!(socket.text(), "x");
        }
    }
    let after = sleeps(&server);
    assert_eq!(after.len(), 2, "two shards");
    // The kernel may have a thread wait for memory or a lock now and then.
    let slept: u64 = after.iter().sum::<u64>() - before.iter().sum::<u64>();
    assert!(slept < PUBLISHED as u64 / 2, "slept {slept} times: {before:?}, {after:?}");
    drained(server, sockets);
}

#[test]
fn a_congestion_control_that_the_kernel_does_not_have_is_named_with_those_that_it_has() {
    let flags = ["--listen", "127.0.0.1:0", "--feed", "none", "--congestion-control", "nosuch"];
    let (words, code) = failure(&flags);
    assert_eq!(code, 1);
    assert!(words.contains("127.0.0.1:0") && words.contains("no congestion control `nosuch`; it has "), "{words}");
}

#[test]
fn a_busy_port_is_named() {
    let server = Server::start(&[]);
    let address = server.address.to_string();
    let (words, code) = failure(&["--listen", &address, "--feed", "none"]);
    assert_eq!(code, 1);
    assert!(words.contains(&address) && words.contains("another program"), "{words}");
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = other.local_addr().expect("an address").to_string();
    assert!(failure(&["--listen", &address, "--feed", "none"]).0.contains("another program"));
}

#[test]
fn after_a_kill_it_starts_at_once_on_the_same_port() {
    let mut server = Server::start(&[]);
    for _ in 0..20 {
        let sockets = ["/ws/a", "/pub/a", "/echo", "/connect"].map(|target| server.socket(target));
        let mut command = ringwire();
        command.args(["serve", "--listen", &server.address.to_string(), "--feed", "none", "--shards", "2"]);
        // Killed and reaped, with its connections open.
        drop(server);
        server = Server::of(Process::start(command));
        drop(sockets);
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let (words, code) = failure(&["--listen", "127.0.0.1:0", "--feed", "nowhere.jsonl"]);
    assert_eq!(code, 1);
    assert!(words.contains("--feed nowhere.jsonl: No such file"), "{words}");
}

#[test]
fn all_faults_of_the_command_line_are_told_at_once() {
    let (words, code) = failure(&["serve", "--listen", "nowhere", "--shards", "many", "--speed", "-3"]);
    assert_eq!(code, 2);
    for flag in ["--listen nowhere", "--shards many", "--speed -3"] {
        assert!(words.contains(flag), "{flag} is not in: {words}");
    }
}
