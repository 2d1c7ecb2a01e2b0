//! Every message is accounted for: against servers that keep, repeat, change and swap what they are to send back, or
//! hang up, the report says what happened.

#![forbid(unsafe_code)]

mod common;

use common::ringload;
use ringload::report::Report;
use ringwire_codec::handshake::{Policy, accept};
use ringwire_codec::http::Request;
use ringwire_codec::{Decoder, DecoderLimits, Event, Opcode, Role, encode_frame};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// What a server does to its 100th message; all others it sends as it should.
#[derive(Clone, Copy)]
enum Fault {
    Keeps,
    Repeats,
    Changes,
    /// Sends the 101st before it.
    Swaps,
    HangsUp,
}

/// Which message it is done to.
const NTH: usize = 100;

/// Answers the handshake.
fn shake_hands(stream: &mut TcpStream) {
    let mut head = vec![0; 4096];
    let mut len = 0;
    let response = loop {
        len += stream.read(&mut head[len..]).expect("a request");
        if let Some((request, _)) = Request::parse(&head[..len]).expect("a good request") {
            break accept(&request, &Policy::default()).expect("a good handshake").response(&[]);
        }
    };
    stream.write_all(&response).expect("the answer is taken");
}

/// Calls `each` for every message that comes, until the peer ends the connection or `each` says no.
fn messages(stream: &mut TcpStream, mut each: impl FnMut(&[u8]) -> bool) {
    let mut decoder = Decoder::new(Role::Server, DecoderLimits::default());
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let len = match stream.read(&mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(len) => len,
        };
        let mut at = 0;
        while at < len {
            let step = decoder.decode(&mut bytes[at..len]).expect("good frames");
            at += step.consumed;
            if let Some(Event::Message(message)) = step.event
                && !each(message.bytes())
            {
                return;
            }
        }
        decoder.release();
    }
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(&mut frame, Opcode::Binary, payload, None);
    frame
}

/// What the fault makes of message number `index`: the bytes to send. `kept` is the one to be swapped.
fn answer(fault: Fault, index: usize, payload: &[u8], kept: &mut Vec<u8>) -> Vec<u8> {
    match (fault, index) {
        (Fault::Keeps, NTH) => Vec::new(),
        (Fault::Repeats, NTH) => frame(payload).repeat(2),
        (Fault::Changes, NTH) => {
            let mut payload = payload.to_vec();
            payload[20] ^= 1;
            frame(&payload)
        }
        (Fault::Swaps, NTH) => {
            *kept = frame(payload);
            Vec::new()
        }
        _ => [frame(payload), std::mem::take(kept)].concat(),
    }
}

/// Runs `echo` over one connection with two messages on their way against an echo with this fault.
fn echo_against(fault: Fault) -> Report {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = format!("ws://{}/", listener.local_addr().expect("its address"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().expect("a client");
            shake_hands(&mut stream);
            let mut out = stream.try_clone().expect("a second handle");
            let (mut index, mut kept) = (0, Vec::new());
            messages(&mut stream, |payload| {
                index += 1;
                let bytes = answer(fault, index, payload, &mut kept);
                let hangs_up = matches!(fault, Fault::HangsUp) && index == NTH;
                !hangs_up && out.write_all(&bytes).is_ok()
            });
        });
        ringload("echo", &target, "--connections 1 --depth 2 --messages 1000 --seconds 1 --warm-up 0 --settle 0")
    })
}

#[test]
fn an_echo_that_is_kept_back_is_lost() {
    let accounts = echo_against(Fault::Keeps).accounts;
    assert_eq!((accounts.lost, accounts.repeated, accounts.corrupted, accounts.ended), (1, 0, 0, 0), "{accounts:?}");
    assert_eq!(accounts.arrived + 1, accounts.expected);
}

#[test]
fn an_echo_that_comes_twice_is_repeated() {
    let accounts = echo_against(Fault::Repeats).accounts;
    assert_eq!((accounts.lost, accounts.repeated, accounts.corrupted, accounts.ended), (0, 1, 0, 0), "{accounts:?}");
}

#[test]
fn an_echo_that_is_changed_is_corrupted() {
    let accounts = echo_against(Fault::Changes).accounts;
    assert_eq!((accounts.lost, accounts.repeated, accounts.corrupted, accounts.ended), (0, 0, 1, 0), "{accounts:?}");
}

#[test]
fn an_echo_behind_a_later_one_is_out_of_order() {
    let accounts = echo_against(Fault::Swaps).accounts;
    assert_eq!((accounts.lost, accounts.repeated, accounts.corrupted, accounts.ended), (0, 0, 0, 0), "{accounts:?}");
    assert_eq!(accounts.out_of_order, 1, "{accounts:?}");
}

#[test]
fn a_server_that_hangs_up_ends_the_run_with_what_was_measured() {
    let report = echo_against(Fault::HangsUp);
    assert_eq!(report.accounts.ended, 1, "{:?}", report.accounts);
    assert_eq!(report.messages, NTH as u64 - 1);
    assert!(report.accounts.lost >= 1);
}

/// A fanout server for three subscribers that leaves out one delivery to the second of them.
fn leaky_fanout(listener: &TcpListener) {
    let open = || {
        let (mut stream, _) = listener.accept().expect("a client");
        shake_hands(&mut stream);
        stream
    };
    let mut publisher = open();
    let mut subscribers = [open(), open(), open()];
    let mut index = 0;
    messages(&mut publisher, |payload| {
        index += 1;
        let mut sent = subscribers.iter_mut().enumerate().filter(|(number, _)| index != NTH || *number != 1);
        sent.all(|(_, stream)| stream.write_all(&frame(payload)).is_ok())
    });
}

#[test]
fn a_delivery_that_one_subscriber_misses_is_lost_at_any_pace() {
    for pace in ["--rate 2000", "--window 4"] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let target = format!("ws://{}/", listener.local_addr().expect("its address"));
        let report = std::thread::scope(|scope| {
            scope.spawn(|| leaky_fanout(&listener));
            ringload("fanout", &target, &format!("--subscribers 3 --bytes 64 --seconds 0.3 --warm-up 0.02 {pace}"))
        });
        let accounts = &report.accounts;
        assert!(accounts.expected > 3 * NTH as u64, "{accounts:?}");
        assert_eq!(
            (accounts.lost, accounts.repeated, accounts.corrupted, accounts.ended),
            (1, 0, 0, 0),
            "{accounts:?}"
        );
        assert!(report.latency().count() > 0 && report.latency().count() <= accounts.arrived);
    }
}
