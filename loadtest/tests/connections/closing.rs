//! How connections end, and that their places are used again.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use ringload::clients::{Door, End, Message, Outbox, Workload};
use ringwire_codec::Opcode;
use ringwire_ring::{Instant, Wait};

use super::{Ear, clients, echo, frame, listen, masked, shake_hands, until};

/// Opens, says one thing, hears it, closes, and opens again.
struct Storm {
    door: Arc<Door>,
    rounds: usize,
    closed: usize,
    links: Vec<usize>,
}

impl Workload for Storm {
    fn on_open(&mut self, out: &mut Outbox<'_>, link: usize, _: Instant) {
        out.send(link, &masked(Opcode::Binary, format!("round {}", self.closed).as_bytes()));
    }

    fn on_message(&mut self, out: &mut Outbox<'_>, link: usize, message: Message<'_>, _: Instant) {
        assert_eq!(message.bytes, format!("round {}", self.closed).as_bytes());
        out.close(link);
    }

    fn on_ended(&mut self, out: &mut Outbox<'_>, link: usize, end: &End) {
        assert_eq!(*end, End::Closed);
        self.closed += 1;
        self.links.push(link);
        if self.closed < self.rounds {
            out.open(&self.door);
        }
    }
}

#[test]
fn two_thousand_connections_one_after_the_other_use_the_same_places() {
    let (listener, door) = listen("ws");
    let mut clients = clients(2);
    let mut storm = Storm { door: Arc::new(door), rounds: 2_000, closed: 0, links: Vec::new() };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2_000 {
                let mut stream = listener.accept().expect("a client").0;
                shake_hands(&mut stream);
                assert_eq!(echo(&mut stream), Some(1000));
            }
        });
        clients.outbox().open(&Arc::clone(&storm.door));
        until(&mut clients, &mut storm, |storm| storm.closed == 2_000);
    });
    assert!(storm.links.iter().all(|link| *link < 2), "numbers are used again");
    assert!(storm.links[1..].iter().any(|link| *link == storm.links[0]));
}

#[test]
fn a_connection_too_many_waits_for_one_that_ends_or_says_how_many_there_may_be() {
    let (listener, door) = listen("tcp");
    let mut clients = clients(1);
    let mut ear = Ear::default();
    let door = Arc::new(door);
    let first = clients.outbox().open(&door);
    until(&mut clients, &mut ear, |ear| ear.open == [first]);
    let second = clients.outbox().open(&door);
    until(&mut clients, &mut ear, |ear| ear.ends.contains_key(&second));
    let Some(End::NotOpened(reason)) = ear.ends.get(&second) else { panic!("{:?}", ear.ends) };
    assert!(reason.contains("room for 1 connections"), "{reason}");
    clients.outbox().abort(first);
    clients.turn(Wait::No, &mut ear).expect("the kernel goes on");
    assert_eq!(ear.ends.get(&first), Some(&End::Closed));
    ear.open.clear();
    clients.outbox().open(&door);
    until(&mut clients, &mut ear, |ear| !ear.open.is_empty());
    // Nothing is on its way out any more, so there is nothing to wait for.
    ear.ends.clear();
    let third = clients.outbox().open(&door);
    until(&mut clients, &mut ear, |ear| ear.ends.contains_key(&third));
    drop(listener);
}

#[test]
fn a_server_that_agrees_to_a_close_ends_it() {
    let (listener, door) = listen("ws");
    let mut clients = clients(1);
    let mut ear = Ear::default();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut stream = listener.accept().expect("a client").0;
            shake_hands(&mut stream);
            echo(&mut stream)
        });
        let link = clients.outbox().open(&Arc::new(door));
        until(&mut clients, &mut ear, |ear| !ear.open.is_empty());
        let start = clients.now();
        clients.outbox().send(link, &masked(Opcode::Text, b"last words"));
        clients.outbox().close(link);
        clients.outbox().send(link, &masked(Opcode::Text, b"too late"));
        until(&mut clients, &mut ear, |ear| !ear.ends.is_empty());
        assert_eq!(ear.ends.get(&link), Some(&End::Closed));
        assert_eq!(ear.heard.len(), 1, "what was sent before the close came back, what was sent behind it did not");
        assert!(clients.now().since(start) < Duration::from_millis(900), "it was the server that ended it");
        assert_eq!(server.join().expect("the server is well"), Some(1000));
    });
}

#[test]
fn a_server_that_does_not_agree_to_a_close_has_a_second() {
    let (listener, door) = listen("ws");
    let mut clients = clients(1);
    let mut ear = Ear::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = listener.accept().expect("a client").0;
            shake_hands(&mut stream);
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
        });
        let link = clients.outbox().open(&Arc::new(door));
        until(&mut clients, &mut ear, |ear| !ear.open.is_empty());
        let start = clients.now();
        clients.outbox().close(link);
        until(&mut clients, &mut ear, |ear| !ear.ends.is_empty());
        let waited = clients.now().since(start);
        assert!(waited > Duration::from_millis(950) && waited < Duration::from_secs(3), "{waited:?}");
        assert_eq!(ear.ends.get(&link), Some(&End::Closed));
        drop(clients);
    });
}

#[test]
fn a_close_of_the_server_breaks_the_connection_with_its_code_and_reason() {
    let (listener, door) = listen("ws");
    let mut clients = clients(1);
    let mut ear = Ear::default();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut stream = listener.accept().expect("a client").0;
            shake_hands(&mut stream);
            let close = [&1012u16.to_be_bytes()[..], b"see you"].concat();
            let bytes = [frame(Opcode::Text, b"news"), frame(Opcode::Close, &close)].concat();
            stream.write_all(&bytes).expect("it is taken");
            echo(&mut stream)
        });
        let link = clients.outbox().open(&Arc::new(door));
        until(&mut clients, &mut ear, |ear| !ear.ends.is_empty());
        assert_eq!(ear.heard.len(), 1);
        let Some(End::Broken(reason)) = ear.ends.get(&link) else { panic!("{:?}", ear.ends) };
        assert!(reason.contains("1012 service restart see you"), "{reason}");
        clients.turn(Wait::No, &mut ear).expect("the kernel goes on");
        assert_eq!(server.join().expect("the server is well"), Some(1000), "the close was answered");
    });
}
