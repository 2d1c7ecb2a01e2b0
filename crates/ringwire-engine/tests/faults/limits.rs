//! More than there is room for: connections, descriptors, memory.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use ringwire_engine::codec::Opcode;
use ringwire_engine::{CloseReason, EngineOptions};

use crate::support::client::{Client, Heard};
use crate::support::server::{Server, options, take_turn};

fn room_for_ten() -> EngineOptions {
    let mut options = options();
    options.limits.connections_max = 10;
    options
}

#[test]
fn a_connection_over_the_limit_gets_503() {
    let server = Server::start(room_for_ten());
    let mut clients: Vec<_> = (0..10).map(|_| server.open()).collect();
    for _ in 0..20 {
        let mut eleventh = server.connect();
        if crate::SECURE {
            // It is not worth a handshake: an alert says that the fault is the server's.
            let error = eleventh.try_write(b"GET").expect_err("refused").to_string();
            assert!(error.contains("InternalError"), "{error}");
            continue;
        }
        eleventh.write(&Client::upgrade(server.address(), "/"));
        let answer = eleventh.answer();
        assert_eq!((answer.status, answer.retry_after.as_deref()), (503, Some("1")));
        assert_eq!(eleventh.hear(), Heard::End(None));
    }
    for client in &mut clients {
        client.echo("still here");
    }
    clients.pop().expect("ten").leave();
    server.wait(|seen| seen.reasons.len() == 1, |_| ());
    // The slot is free a turn later; who comes too early is refused, not lost.
    let served = (0..100).any(|_| {
        let mut next = server.connect();
        if next.try_write(&Client::upgrade(server.address(), "/")).is_err() || next.status() == Some(503) {
            return false;
        }
        next.opened();
        next.echo("in their place");
        next.leave();
        true
    });
    assert!(served);
    clients.into_iter().for_each(Client::leave);
    server.wait_empty();
    server.finish();
}

#[test]
fn even_the_places_for_refusals_may_be_taken() {
    let mut options = room_for_ten();
    options.listen[0].timeouts.close = std::time::Duration::from_millis(500);
    let server = Server::start(options);
    // They keep their sockets, so that refusing each takes a place until its time is over.
    let crowd: Vec<_> = (0..200).map(|_| server.connect()).collect();
    drop(crowd);
    server.wait_empty();
    server.finish();
}

/// What the test below runs in a process of its own: a server that serves until its standard input ends.
#[test]
#[ignore = "a part of more_connections_than_descriptors"]
fn serve_until_standard_input_ends() {
    let server = Server::start(options());
    println!("address {}", server.address());
    // Whatever comes first, an end or an error, is the end.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    // Those who were served have just left, and the next one is served once their places are free.
    server.wait_empty();
    server.finish();
}

#[test]
fn more_connections_than_descriptors() {
    const DESCRIPTORS: usize = 100;
    if crate::SECURE {
        // TLS takes none, and the process below would have an authority of its own.
        return;
    }
    let _turn = take_turn();
    let program = std::env::current_exe().expect("this program's path");
    let (_, modules) = module_path!().split_once("::").expect("it is a module of a test");
    let command = format!("ulimit -n {DESCRIPTORS} && exec \"$0\" --ignored --exact --nocapture \"$1\"");
    let mut child = Command::new("sh")
        .args(["-c", &command])
        .arg(program)
        .arg(format!("{modules}::serve_until_standard_input_ends"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sh runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let said = lines.find_map(|line| Some(line.split_once("address ")?.1.to_owned()));
    let address: SocketAddr = said.expect("the server says where it is").parse().expect("an address");

    let mut served = Vec::new();
    let mut turned_away = 0;
    for _ in 0..2 * DESCRIPTORS {
        let mut client = Client::connect(address);
        // Beyond the places for refusals the kernel has no descriptor, and ends the connection itself.
        let _ = client.try_write(&Client::upgrade(address, "/"));
        match client.status() {
            Some(101) => served.push(client),
            Some(503) | None => turned_away += 1,
            other => panic!("unexpected status {other:?}"),
        }
    }
    assert!(served.len() >= 30 && served.len() < DESCRIPTORS, "{} served", served.len());
    assert_eq!(served.len() + turned_away, 2 * DESCRIPTORS);
    drop(served);
    drop(child.stdin.take());
    // It goes on talking, and must find someone who listens.
    lines.for_each(drop);
    assert!(child.wait().expect("the server ends").success(), "its audit is good");
}

const MIB: usize = 1 << 20;

#[test]
fn a_message_over_the_memory_budget_is_shed() {
    let mut options = options();
    options.limits.memory_bytes_max = 4 * MIB;
    let server = Server::start(options);
    let mut thin = server.open();
    let frame = thin.frame(true, Opcode::Binary, &[5; 300_000]);
    let (half, other_half) = frame.split_at(200_000);
    thin.write(half);
    let mut hoarder = server.open();
    let hoard = hoarder.frame(true, Opcode::Binary, &vec![1; 8 * MIB]);
    // It is cut off while it writes.
    let _ = hoarder.try_write(&hoard[..hoard.len() - 1]);
    assert_eq!(server.ended(1), [CloseReason::Shed]);
    thin.write(other_half);
    assert_eq!(thin.hear(), Heard::Binary(vec![5; 300_000]));
    thin.leave();
    drop(hoarder);
    server.finish();
}

#[test]
fn shedding_goes_down_to_seven_eighths_of_the_budget() {
    let mut options = options();
    options.limits.memory_bytes_max = 4 * MIB;
    let server = Server::start(options);
    let mut clients: Vec<_> = (0..10).map(|_| server.open()).collect();
    for client in &mut clients {
        let frame = client.frame(true, Opcode::Binary, &[5; 450_000]);
        client.write(&frame[..400_000]);
    }
    // Nine fit into the budget, and eight into seven eighths of it.
    assert_eq!(server.ended(2), [CloseReason::Shed, CloseReason::Shed]);
    drop(clients);
    server.finish();
}

#[test]
fn only_the_connection_that_holds_most_is_shed() {
    let mut options = options();
    options.limits.memory_bytes_max = 8 * MIB;
    let server = Server::start(options);
    let mut deaf = server.open();
    deaf.send(Opcode::Binary, &vec![2; 5 * MIB]);
    server.wait(|seen| seen.message_bytes == 5 * MIB, |_| ());
    // What waits for the deaf one and the unfinished messages of these are too much together.
    let mut thin: Vec<_> = (0..16).map(|_| server.open()).collect();
    let frames: Vec<_> = thin.iter_mut().map(|client| client.frame(true, Opcode::Binary, &[5; 450_000])).collect();
    for (client, frame) in thin.iter_mut().zip(&frames) {
        client.write(&frame[..400_000]);
    }
    assert_eq!(server.ended(1), [CloseReason::Shed]);
    for (mut client, frame) in thin.into_iter().zip(frames) {
        client.write(&frame[400_000..]);
        assert_eq!(client.hear(), Heard::Binary(vec![5; 450_000]));
        client.leave();
    }
    assert_eq!(server.seen(|seen| seen.reasons.iter().filter(|&reason| *reason == CloseReason::Shed).count()), 1);
    drop(deaf);
    server.finish();
}
