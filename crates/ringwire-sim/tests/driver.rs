//! The simulated driver keeps the rules of `Driver`, and punishes callers who do not.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringwire_ring::{
    Completion, Data, Driver, Event, ListenOptions, Op, OpToken, Socket, Staged, SubmitError, Wait, Waker,
};
use ringwire_sim::{Faults, KernelOptions, Peer, Read, SimDriver, Wire, World};

/// What the client shall do, and what it got.
#[derive(Debug, Default)]
struct Script {
    write: Vec<u8>,
    read: Vec<u8>,
    paused: bool,
    finish: bool,
    abort: bool,
    ended: bool,
}

/// A client that does what a test's script says, and looks at it every millisecond.
struct Scripted {
    script: Arc<Mutex<Script>>,
    address: SocketAddr,
    done: bool,
}

impl Peer for Scripted {
    fn act(&mut self, wire: &mut Wire<'_>) {
        if !wire.is_connected() {
            wire.connect(self.address);
        }
        let mut script = self.script.lock().expect("no panic");
        let written = wire.write(&script.write);
        script.write.drain(..written);
        while !script.paused && !script.ended {
            match wire.read(&mut script.read, 1000) {
                Read::Bytes(_) => {}
                Read::Nothing => break,
                Read::End | Read::Refused | Read::Reset { .. } => script.ended = true,
            }
        }
        if script.abort {
            wire.abort();
            self.done = true;
        } else if script.finish && script.write.is_empty() {
            script.finish = false;
            wire.finish();
        } else if script.ended {
            wire.close();
            self.done = true;
        } else {
            wire.wake_after(Duration::from_millis(1));
        }
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn describe(&self) -> String {
        format!("{:?}", self.script)
    }
}

struct Bench {
    world: World,
    driver: SimDriver,
    script: Arc<Mutex<Script>>,
    socket: Socket,
}

impl Bench {
    /// A driver without faults, a client connected to it.
    fn new() -> Self {
        let world = World::new(7, Faults::default(), false);
        let options =
            KernelOptions { sockets_max: 4, operations_max: 3, receive_buffers: 2, receive_buffer_bytes: 100 };
        let mut driver = world.driver(&options);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listen = ListenOptions {
            address,
            backlog: 4,
            notsent_lowat_bytes: None,
            user_timeout: None,
            congestion_control: None,
        };
        let (listener, address) = driver.listen(&listen).expect("listen");
        let script = Arc::<Mutex<Script>>::default();
        let peer = Scripted { script: Arc::clone(&script), address, done: false };
        world.add_peer(Box::new(peer), Duration::ZERO);
        let accept = driver.submit(Op::Accept(listener), 99).expect("room");
        let mut bench = Self { world, driver, script, socket: Socket(u32::MAX) };
        let completion = bench.wait();
        let Event::Accepted(Ok(socket)) = completion.event else { panic!("{completion:?}") };
        assert_eq!((completion.token, completion.context, completion.more), (accept, 99, true));
        bench.submit(Op::Cancel(accept));
        let completion = bench.wait();
        assert!(matches!(completion.event, Event::Accepted(Err(_))) && !completion.more);
        bench.drain();
        bench.driver.close_listener(listener);
        bench.socket = socket;
        bench
    }

    fn submit(&mut self, op: Op<ringwire_sim::SimWaker>) -> OpToken {
        self.driver.submit(op, 5).expect("room")
    }

    fn drain(&mut self) {
        let left = self.driver.complete();
        assert!(left.is_none(), "not expected: {left:?}");
    }

    /// Enters until something completes; the rest must be drained by the caller.
    fn wait(&mut self) -> Completion {
        self.try_wait(Duration::from_secs(10)).expect("a completion within ten seconds")
    }

    fn try_wait(&mut self, time: Duration) -> Option<Completion> {
        let deadline = self.world.now() + time;
        self.drain();
        self.driver.enter(Wait::Until(deadline)).expect("enter");
        self.driver.complete()
    }

    /// Lets the client work.
    fn pass(&mut self, time: Duration) {
        self.world.pass(time);
    }

    fn read(&self) -> Vec<u8> {
        self.script.lock().expect("no panic").read.clone()
    }
}

fn owned(bytes: &[u8]) -> Data {
    Data::Owned { bytes: bytes.to_vec(), start: 0 }
}

#[test]
fn what_is_transmitted_whole_has_no_completion() {
    let mut bench = Bench::new();
    let mut staged = Staged::default();
    bench.driver.stage().append(&mut staged, &[b"staged ", b"bytes"]);
    bench.submit(Op::Transmit(bench.socket, Data::Staged(staged)));
    assert_eq!(bench.driver.in_flight(), 1);
    bench.driver.enter(Wait::No).expect("enter");
    assert_eq!(bench.driver.staged(&staged), b"staged bytes");
    bench.drain();
    assert_eq!(bench.driver.in_flight(), 0);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.read(), b"staged bytes");
}

#[test]
fn what_does_not_fit_comes_back_with_its_count_and_a_send_finishes_it() {
    let mut bench = Bench::new();
    let all: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
    bench.submit(Op::Transmit(bench.socket, owned(&all)));
    bench.driver.enter(Wait::No).expect("enter");
    let Some(Completion { event: Event::Short { data, sent, error: None }, more: false, .. }) = bench.driver.complete()
    else {
        panic!("a short transmission completes with its enter")
    };
    assert!(sent > 0 && sent < all.len());
    bench.drain();
    let Data::Owned { bytes, .. } = data else { panic!("the same data") };
    bench.submit(Op::Send(bench.socket, Data::Owned { bytes, start: sent }));
    let completion = bench.wait();
    assert!(matches!(completion.event, Event::Sent(_, Ok(()))), "{completion:?}");
    bench.pass(Duration::from_secs(1));
    assert!(bench.read() == all, "every byte once, in order");
}

#[test]
fn receives_continue_after_the_buffers_ran_out() {
    let mut bench = Bench::new();
    let sent: Vec<u8> = (0..5000u32).map(|i| (i % 241) as u8).collect();
    bench.script.lock().expect("no panic").write = sent.clone();
    bench.script.lock().expect("no panic").finish = true;
    bench.submit(Op::Receive(bench.socket));
    let (mut received, mut ran_out) = (Vec::new(), 0);
    loop {
        // Let more arrive than the buffers hold.
        bench.pass(Duration::from_millis(100));
        let mut next = Some(bench.wait());
        let mut held = Vec::new();
        let mut ended = false;
        while let Some(completion) = next {
            match completion.event {
                Event::Received(mut lease) => {
                    received.extend_from_slice(lease.bytes());
                    held.push(lease);
                }
                Event::NoBuffers => {
                    assert!(!completion.more);
                    ran_out += 1;
                }
                Event::EndOfStream => ended = true,
                event => panic!("{event:?}"),
            }
            next = bench.driver.complete();
        }
        held.into_iter().for_each(|lease| bench.driver.release(lease));
        if ended {
            break;
        }
        if bench.driver.in_flight() == 0 {
            bench.submit(Op::Receive(bench.socket));
        }
    }
    assert!(ran_out > 0, "the test wants the buffers to run out");
    assert!(received == sent, "every byte once, in order");
}

#[test]
fn a_cancelled_receive_completes_once_and_a_stale_cancel_does_nothing() {
    let mut bench = Bench::new();
    let receive = bench.submit(Op::Receive(bench.socket));
    bench.submit(Op::Cancel(receive));
    let completion = bench.wait();
    assert!(matches!(completion.event, Event::ReceiveFailed(_)) && !completion.more);
    assert_eq!(completion.token, receive);
    bench.drain();
    let second = bench.submit(Op::Receive(bench.socket));
    assert_ne!(second, receive);
    bench.submit(Op::Cancel(receive));
    assert!(bench.try_wait(Duration::from_secs(1)).is_none());
    assert_eq!(bench.driver.in_flight(), 1);
}

#[test]
fn both_kinds_of_wake_end_a_wait() {
    let mut bench = Bench::new();
    let waker = bench.driver.waker();
    assert!(bench.try_wait(Duration::from_secs(1)).is_none());
    waker.wake();
    assert!(matches!(bench.wait().event, Event::Woken));
    bench.drain();
    bench.submit(Op::Wake(waker));
    assert!(matches!(bench.wait().event, Event::Woken));
}

#[test]
fn a_full_socket_says_when_it_has_room() {
    let mut bench = Bench::new();
    bench.script.lock().expect("no panic").paused = true;
    bench.submit(Op::Transmit(bench.socket, owned(&[1; 100_000])));
    assert!(matches!(bench.wait().event, Event::Short { .. }));
    bench.pass(Duration::from_secs(1));
    bench.drain();
    bench.submit(Op::Transmit(bench.socket, owned(&[1; 100_000])));
    while bench.try_wait(Duration::from_secs(1)).is_some_and(|c| !matches!(c.event, Event::Short { sent: 0, .. })) {
        bench.pass(Duration::from_secs(1));
        bench.drain();
        bench.submit(Op::Transmit(bench.socket, owned(&[1; 100_000])));
    }
    bench.drain();
    bench.submit(Op::Writable(bench.socket));
    assert!(bench.try_wait(Duration::from_secs(1)).is_none(), "no room yet");
    bench.script.lock().expect("no panic").paused = false;
    assert!(matches!(bench.wait().event, Event::Writable(Ok(()))));
}

#[test]
fn a_reset_shows_once_and_then_the_stream_has_ended() {
    let mut bench = Bench::new();
    bench.script.lock().expect("no panic").abort = true;
    bench.submit(Op::Receive(bench.socket));
    assert!(matches!(bench.wait().event, Event::ReceiveFailed(error) if error.raw_os_error() == Some(104)));
    bench.drain();
    bench.submit(Op::Receive(bench.socket));
    assert!(matches!(bench.wait().event, Event::EndOfStream));
    bench.drain();
    bench.submit(Op::Transmit(bench.socket, owned(b"x")));
    let Event::Short { sent: 0, error: Some(error), .. } = bench.wait().event else { panic!("broken") };
    assert_eq!(error.raw_os_error(), Some(32));
}

#[test]
fn a_close_frees_the_descriptor_and_nothing_is_left() {
    let mut bench = Bench::new();
    bench.submit(Op::Transmit(bench.socket, owned(b"bye")));
    bench.driver.enter(Wait::No).expect("enter");
    bench.drain();
    assert_eq!(bench.world.open_sockets(0), 1);
    bench.submit(Op::Close(bench.socket));
    assert!(matches!(bench.wait().event, Event::Closed));
    bench.world.assert_nothing_left(0);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.read(), b"bye");
    assert!(bench.script.lock().expect("no panic").ended && bench.world.is_finished());
}

#[test]
fn an_operation_over_the_limit_is_refused_and_comes_back() {
    let mut bench = Bench::new();
    bench.submit(Op::Receive(bench.socket));
    bench.submit(Op::Writable(bench.socket));
    bench.submit(Op::Send(bench.socket, owned(&[1; 100_000])));
    let refused = bench.driver.submit(Op::Transmit(bench.socket, owned(b"x")), 0).expect_err("three are in flight");
    assert!(matches!(refused, (SubmitError::Full, Op::Transmit(_, Data::Owned { bytes, start: 0 })) if bytes == b"x"));
    assert_eq!(bench.driver.in_flight(), 3);
}

macro_rules! punished {
    ($($name:ident: $words:literal, $break_rule:expr;)*) => {$(
        #[test]
        #[should_panic(expected = $words)]
        fn $name() {
            let mut bench = Bench::new();
            let break_rule: fn(&mut Bench) = $break_rule;
            break_rule(&mut bench);
        }
    )*};
}

punished! {
    two_transmissions_in_one_turn_are_punished: "is sent on while in flight", |bench| {
        bench.submit(Op::Transmit(bench.socket, owned(b"a")));
        bench.submit(Op::Transmit(bench.socket, owned(b"b")));
    };
    a_transmission_before_the_last_one_is_known_to_be_over_is_punished: "is sent on while in flight", |bench| {
        bench.submit(Op::Transmit(bench.socket, owned(b"a")));
        bench.driver.enter(Wait::No).expect("enter");
        bench.submit(Op::Transmit(bench.socket, owned(b"b")));
    };
    a_transmission_during_a_send_is_punished: "is sent on while in flight", |bench| {
        bench.submit(Op::Send(bench.socket, owned(&[1; 100_000])));
        bench.driver.enter(Wait::No).expect("enter");
        bench.drain();
        bench.submit(Op::Transmit(bench.socket, owned(b"b")));
    };
    a_second_receive_is_punished: "is received from while in flight", |bench| {
        bench.submit(Op::Receive(bench.socket));
        bench.submit(Op::Receive(bench.socket));
    };
    a_close_with_something_in_flight_is_punished: "is closed while in flight", |bench| {
        let receive = bench.submit(Op::Receive(bench.socket));
        bench.submit(Op::Cancel(receive));
        bench.submit(Op::Close(bench.socket));
    };
    a_socket_that_is_closed_may_not_be_used: "is used but not open", |bench| {
        bench.submit(Op::Close(bench.socket));
        assert!(matches!(bench.wait().event, Event::Closed));
        bench.submit(Op::Receive(bench.socket));
    };
    a_socket_that_is_being_closed_may_not_be_used: "is used while in flight", |bench| {
        bench.submit(Op::Close(bench.socket));
        bench.submit(Op::Receive(bench.socket));
    };
    sending_after_a_shutdown_is_punished: "sending after a shutdown", |bench| {
        bench.submit(Op::Shutdown(bench.socket));
        bench.submit(Op::Transmit(bench.socket, owned(b"a")));
    };
    a_staged_range_of_another_turn_is_punished: "in its own turn", |bench| {
        let mut staged = Staged::default();
        bench.driver.stage().append(&mut staged, &[b"old"]);
        bench.driver.enter(Wait::No).expect("enter");
        bench.drain();
        bench.submit(Op::Transmit(bench.socket, Data::Staged(staged)));
    };
    completions_left_at_enter_are_punished: "drained before the next enter", |bench| {
        bench.driver.waker().wake();
        bench.driver.enter(Wait::No).expect("enter");
        bench.driver.enter(Wait::No).expect("enter");
    };
    a_lease_never_released_is_found: "leases leaked", |bench| {
        bench.script.lock().expect("no panic").write = b"hello".to_vec();
        let receive = bench.submit(Op::Receive(bench.socket));
        let completion = bench.wait();
        bench.submit(Op::Cancel(receive));
        while bench.wait().more {}
        bench.drain();
        bench.submit(Op::Close(bench.socket));
        assert!(matches!(bench.wait().event, Event::Closed));
        drop(completion);
        bench.world.assert_nothing_left(0);
    };
    a_descriptor_left_open_is_found: "descriptors leaked", |bench| bench.world.assert_nothing_left(0);
}
