//! Who gets in: connections of an address and of the process, handshakes in progress, requests that are too much.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ringwire_engine::codec::Opcode;
use ringwire_engine::ring::Clock;
use ringwire_engine::{CloseReason, EngineOptions, Limits};

use crate::support::client::{Client, Heard};
use crate::support::server::{Server, WHICH_SHARD, options, pause};

/// A loopback address that is not the usual one.
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Asks for a WebSocket until it is granted: places of those who leave are free a moment later.
fn open_soon(connect: impl Fn() -> Client) -> Client {
    for _ in 0..200 {
        let mut client = connect();
        if client.status() == Some(101) {
            client.opened();
            return client;
        }
        pause(Duration::from_millis(20));
    }
    panic!("the place does not come free");
}

fn asking(server: &Server, from: Option<IpAddr>) -> Client {
    let mut client = match from {
        Some(from) => Client::connect_from(from, server.address()),
        None => server.connect(),
    };
    // Inside TLS, who is one too many gets no further than its handshake.
    let _ = client.try_write(&Client::upgrade(server.address(), "/"));
    client
}

/// A connection that is one too many is told so, inside TLS with an alert, and ends.
fn assert_turned_away(server: &Server, status: u16) {
    let mut client = server.connect();
    if crate::SECURE {
        let error = client.try_write(&Client::upgrade(server.address(), "/")).expect_err("an alert");
        assert!(error.to_string().contains("InternalError"), "{error}");
        return;
    }
    client.write(&Client::upgrade(server.address(), "/"));
    let answer = client.answer();
    assert_eq!((answer.status, answer.retry_after.as_deref()), (status, Some("1")), "{answer:?}");
    assert_eq!(client.hear(), Heard::End(None));
}

#[test]
fn an_address_over_its_limit_gets_429_and_others_do_not() {
    let mut options = options();
    options.limits.address_connections_max = Some(2);
    // All shards count together.
    options.shards = Some(2);
    let server = Server::start(options);
    let mut clients: Vec<_> = (0..2).map(|_| server.open()).collect();
    for _ in 0..10 {
        assert_turned_away(&server, 429);
    }
    let mut other = Client::connect_from(OTHER, server.address());
    other.write(&Client::upgrade(server.address(), "/"));
    other.opened();
    other.echo("from elsewhere");
    other.leave();
    clients.pop().expect("two").leave();
    open_soon(|| asking(&server, None)).leave();
    clients.into_iter().for_each(Client::leave);
    server.wait_empty();
    server.finish();
}

#[test]
fn the_process_has_as_many_connections_as_it_may() {
    let mut options = options();
    options.limits.process_connections_max = Some(5);
    options.shards = Some(2);
    let server = Server::start(options);
    let mut clients: Vec<_> = (0..5).map(|_| server.open()).collect();
    for _ in 0..10 {
        assert_turned_away(&server, 503);
    }
    clients.pop().expect("five").leave();
    open_soon(|| asking(&server, None)).leave();
    clients.into_iter().for_each(Client::leave);
    server.wait_empty();
    server.finish();
}

/// Opens a WebSocket from another address, though one address has more connections than it may.
fn assert_others_get_in(server: &Server) {
    let mut other = asking(server, Some(OTHER));
    assert_eq!(other.status(), Some(101));
    other.opened();
    other.echo("from elsewhere");
    other.leave();
}

#[test]
fn who_is_turned_away_and_says_nothing_is_no_handshake_in_progress() {
    let mut options = few_handshakes();
    options.limits.address_connections_max = Some(1);
    let server = Server::start(options);
    let first = server.open();
    let silent: Vec<_> = (0..30).map(|_| server.connect()).collect();
    for _ in 0..3 {
        assert_others_get_in(&server);
    }
    first.leave();
    drop(silent);
    server.wait_empty();
    server.finish();
}

#[test]
fn who_is_turned_away_takes_nobodys_place() {
    for process_connections_max in [None, Some(5)] {
        let mut options = options();
        options.limits.address_connections_max = Some(1);
        options.limits.connections_max = 100;
        options.limits.process_connections_max = process_connections_max;
        // They are seen out for longer than the test takes.
        options.listen[0].timeouts.close = Duration::from_secs(100);
        let server = Server::start(options);
        let first = server.open();
        let refused: Vec<_> = (0..200).map(|_| server.connect()).collect();
        // Beyond those that are told why, they just end.
        let most = 1 + Limits::REFUSALS as usize;
        let few = (0..400).any(|_| {
            pause(Duration::from_millis(25));
            server.connections() <= most
        });
        assert!(few, "{} connections", server.connections());
        assert_others_get_in(&server);
        first.leave();
        drop(refused);
        server.wait_empty();
        server.finish();
    }
}

fn few_handshakes() -> EngineOptions {
    let mut options = options();
    options.limits.handshakes_max = 10;
    options
}

#[test]
fn who_does_not_finish_a_request_keeps_nobody_out() {
    let server = Server::start(few_handshakes());
    let mut slow: Vec<_> = (0..50)
        .map(|_| {
            let mut client = server.connect();
            let _ = client.try_write(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ");
            client
        })
        .collect();
    let mut clients: Vec<_> = (0..20).map(|_| server.open()).collect();
    clients.iter_mut().for_each(|client| client.echo("served"));
    // The oldest have gone without a word; the youngest may still finish.
    for gone in &mut slow[..40] {
        assert!(matches!(gone.hear(), Heard::End(_)));
    }
    assert!(server.connections() <= 30, "{}", server.connections());
    clients.into_iter().for_each(Client::leave);
    drop(slow);
    server.finish();
}

#[test]
fn requests_that_are_whole_are_no_handshakes_in_progress() {
    let server = Server::start(few_handshakes());
    let visit = |mut visitor: Client| {
        visitor.write(b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(visitor.answer().status, 200);
        visitor
    };
    let visitors: Vec<_> = (0..30).map(|_| visit(server.connect())).collect();
    let mut visitors: Vec<_> = visitors.into_iter().map(visit).collect();
    // Which is the oldest is known to a tick of the wheel, in which the requests before must not have begun.
    pause(Duration::from_millis(100));
    // Further requests that are not whole are. Each that sends one away is seen before the next comes.
    for (begun, visitor) in visitors.iter_mut().enumerate() {
        visitor.write(b"GET /second HTTP/1.1\r\n");
        server.wait_for_connections(30 - (begun + 1).saturating_sub(10));
    }
    for gone in &mut visitors[..20] {
        assert!(matches!(gone.hear(), Heard::End(_)));
    }
    for visitor in &mut visitors[20..] {
        visitor.write(b"Host: a\r\n\r\n");
        assert_eq!(visitor.answer().body, "GET /second ");
    }
    drop(visitors);
    server.finish();
}

#[test]
fn header_fields_and_targets_over_their_limits_get_431_and_414() {
    let mut options = options();
    options.limits.headers_max = 20;
    options.limits.target_bytes_max = 100;
    let server = Server::start(options);
    let request = |target: usize, fields: usize| {
        let target = "t".repeat(target - 1);
        format!("GET /{target} HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(fields - 1))
    };
    for (target, fields, status) in [(100, 20, 200), (101, 20, 414), (100, 21, 431)] {
        let mut client = server.connect();
        client.write(request(target, fields).as_bytes());
        assert_eq!(client.answer().status, status, "{target} bytes, {fields} fields");
    }
    server.finish();
}

#[test]
fn over_the_memory_of_the_process_the_connection_that_holds_most_goes_whichever_shard_has_it() {
    const MIB: usize = 1 << 20;
    let mut options = options();
    options.shards = Some(2);
    options.limits.process_memory_bytes_max = 6 * MIB;
    let server = Server::start(options);
    // The one that must go is alone on its shard; the sum is passed by the other's.
    let (mut fat, mut thin) = (None, Vec::new());
    let mut others = Vec::new();
    while fat.is_none() || thin.len() < 16 {
        let mut client = server.open();
        client.send(Opcode::Text, WHICH_SHARD);
        let is_first = client.hear() == Heard::Text("0".to_owned());
        match (is_first, &fat) {
            (true, None) => fat = Some(client),
            (true, Some(_)) => others.push(client),
            (false, _) => thin.push(client),
        }
    }
    let mut fat = fat.expect("one");
    let hoard = fat.frame(true, Opcode::Binary, &vec![1; 5 * MIB]);
    fat.write(&hoard[..4 * MIB]);
    // Its shard has read all of that, and sleeps.
    pause(Duration::from_millis(300));
    let frames: Vec<_> = thin.iter_mut().map(|client| client.frame(true, Opcode::Binary, &[5; 250_000])).collect();
    let clock = Clock::start();
    for (client, frame) in thin.iter_mut().zip(&frames) {
        client.write(&frame[..200_000]);
    }
    assert_eq!(server.ended(1), [CloseReason::Shed]);
    // It was told, and did not come upon it by itself when a deadline woke it.
    assert!(clock.now().since(Default::default()) < Duration::from_secs(5));
    for (mut client, frame) in thin.into_iter().zip(frames) {
        client.write(&frame[200_000..]);
        assert_eq!(client.hear(), Heard::Binary(vec![5; 250_000]));
        client.leave();
    }
    assert!(matches!(fat.hear(), Heard::End(_)));
    others.into_iter().for_each(Client::leave);
    assert_eq!(server.seen(|seen| seen.reasons.iter().filter(|&reason| *reason == CloseReason::Shed).count()), 1);
    server.finish();
}
