//! The Linux driver against real sockets on loopback, with standard-library clients.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use ringwire_ring::linux::{Ring, RingOptions};
use ringwire_ring::{
    Clock, Completion, Data, Driver, Event, Lease, ListenOptions, Op, Shared, Socket, Staged, Wait, Waker,
};

const BUFFERS: u16 = 8;
const BUFFER_BYTES: u32 = 4096;

fn ring() -> Ring {
    ring_of(true)
}

/// A ring whose buffers are filled as this kernel can, or as kernels before 6.12 do it: one receive in each.
fn ring_of(incremental_buffers: bool) -> Ring {
    let options = RingOptions {
        submission_entries: 8,
        sockets_max: 64,
        receive_buffers: BUFFERS,
        receive_buffer_bytes: BUFFER_BYTES,
        incremental_buffers,
        clock: Clock::start(),
    };
    Ring::new(&options).expect("this machine has io_uring")
}

/// Enters until `done` has seen what it waits for; a test never waits longer than ten seconds.
fn turns(ring: &mut Ring, mut done: impl FnMut(&mut Ring, Completion) -> bool) {
    let deadline = ring.now() + Duration::from_secs(10);
    let mut finished = false;
    while !finished {
        assert!(ring.now() < deadline, "nothing came for ten seconds");
        ring.enter(Wait::Until(deadline)).expect("enter");
        while let Some(completion) = ring.complete() {
            finished |= done(ring, completion);
        }
    }
}

/// A connection to the ring, and its client.
fn connect(ring: &mut Ring) -> (Socket, TcpStream) {
    let options = ListenOptions {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        backlog: 16,
        notsent_lowat_bytes: None,
        user_timeout: None,
        congestion_control: None,
    };
    let (listener, address) = ring.listen(&options).expect("listen");
    let accept = ring.submit(Op::Accept(listener), 99).expect("room");
    let client = TcpStream::connect(address).expect("connect");
    client.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
    let mut accepted = None;
    turns(ring, |_, completion| match completion.event {
        Event::Accepted(socket) => {
            assert_eq!((completion.token, completion.context, completion.more), (accept, 99, true));
            accepted = Some(socket.expect("accepted"));
            true
        }
        _ => false,
    });
    ring.submit(Op::Cancel(accept), 0).expect("room");
    turns(ring, |_, completion| completion.token == accept && !completion.more);
    ring.close_listener(listener);
    (accepted.expect("accepted"), client)
}

fn close_socket(ring: &mut Ring, socket: Socket) {
    ring.submit(Op::Close(socket), 0).expect("room");
    turns(ring, |_, completion| matches!(completion.event, Event::Closed));
    assert_eq!((ring.in_flight(), ring.leased()), (0, 0));
}

#[test]
fn what_is_transmitted_whole_has_no_completion() {
    let mut ring = ring();
    let (socket, mut client) = connect(&mut ring);
    let mut staged = Staged::default();
    ring.stage().append(&mut staged, &[b"staged ", b"bytes"]);
    let words: Arc<[AtomicU64]> = [*b"xxshared", *b" bytesyy"].map(|w| AtomicU64::new(u64::from_ne_bytes(w))).into();
    for data in [
        Data::Staged(staged),
        Data::Shared(Shared::new(words, 2, 14)),
        Data::Owned { bytes: b"__owned bytes".to_vec(), start: 2 },
    ] {
        let len = data.len();
        ring.submit(Op::Transmit(socket, data), 1).expect("room");
        ring.enter(Wait::No).expect("enter");
        assert!(ring.complete().is_none());
        assert_eq!(ring.in_flight(), 0);
        let mut read = vec![0; len];
        client.read_exact(&mut read).expect("read");
        assert!(read.ends_with(b" bytes"), "{read:?}");
    }
    close_socket(&mut ring, socket);
}

#[test]
fn what_does_not_fit_comes_back_with_its_count_and_a_send_finishes_it() {
    let mut ring = ring();
    let (socket, mut client) = connect(&mut ring);
    let all: Vec<u8> = (0..32_000_000u32).map(|i| (i % 251) as u8).collect();
    let data = Data::Owned { bytes: all.clone(), start: 0 };
    ring.submit(Op::Transmit(socket, data), 7).expect("room");
    let mut came_back = None;
    turns(&mut ring, |_, completion| {
        assert_eq!((completion.context, completion.more), (7, false));
        let Event::Short { data, sent, error } = completion.event else { panic!("{completion:?}") };
        assert!(error.is_none(), "{error:?}");
        came_back = Some((data, sent));
        true
    });
    let (data, sent) = came_back.expect("a short transmission");
    assert!(sent > 0 && sent < all.len(), "{sent}");
    let Data::Owned { bytes, start: 0 } = data else { panic!("the same data") };
    // Nothing more fits now.
    ring.submit(Op::Transmit(socket, Data::Owned { bytes: b"no".to_vec(), start: 0 }), 8).expect("room");
    turns(&mut ring, |_, completion| matches!(completion.event, Event::Short { sent: 0, error: None, .. }));
    ring.submit(Op::Send(socket, Data::Owned { bytes, start: sent }), 9).expect("room");
    let reader = std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut read = vec![0; 32_000_000];
            client.read_exact(&mut read).map(|()| read)
        });
        turns(&mut ring, |_, completion| match completion.event {
            Event::Sent(_, result) => {
                result.expect("sent");
                true
            }
            _ => false,
        });
        reader.join().expect("reader")
    });
    assert!(reader.expect("read") == all, "every byte once, in order");
    close_socket(&mut ring, socket);
}

#[test]
fn an_operation_submitted_while_completions_are_read_is_not_ended_by_a_transmission_before_it() {
    let mut ring = ring();
    let (socket, mut client) = connect(&mut ring);
    let fill = Data::Owned { bytes: vec![1; 32_000_000], start: 0 };
    ring.submit(Op::Transmit(socket, fill), 0).expect("room");
    // These take the place that the short transmission has left, before its turn's completions are all read.
    let mut in_kernel = 0;
    turns(&mut ring, |ring, completion| match completion.event {
        Event::Short { sent, .. } => {
            in_kernel = sent;
            ring.submit(Op::Receive(socket), 5).expect("room");
            let more = Data::Owned { bytes: vec![2; 32_000_000], start: 0 };
            ring.submit(Op::Transmit(socket, more), 6).expect("room");
            true
        }
        _ => false,
    });
    assert_eq!(ring.in_flight(), 2);
    client.write_all(b"heard?").expect("write");
    let (mut heard, mut came_back) = (false, false);
    turns(&mut ring, |ring, completion| {
        match completion.event {
            Event::Received(mut lease) => {
                assert_eq!((completion.context, lease.bytes() == b"heard?"), (5, true));
                ring.release(lease);
                heard = true;
            }
            Event::Short { sent, .. } => {
                assert_eq!(completion.context, 6);
                in_kernel += sent;
                came_back = true;
            }
            event => panic!("{event:?}"),
        }
        heard && came_back
    });
    client.read_exact(&mut vec![0; in_kernel]).expect("read");
    client.shutdown(Shutdown::Write).expect("shutdown");
    turns(&mut ring, |_, completion| matches!(completion.event, Event::EndOfStream));
    close_socket(&mut ring, socket);
}

#[test]
fn a_turn_may_submit_more_than_the_queue_holds_and_complete_some_of_it_at_once() {
    let mut ring = ring();
    let (leaving, _client) = connect(&mut ring);
    let (socket, mut client) = connect(&mut ring);
    let close = ring.submit(Op::Close(leaving), 1).expect("room");
    // A wait for room completes at once, in the system call that a full submission queue takes.
    let waits: Vec<_> = (0..20).map(|_| ring.submit(Op::Writable(socket), 2).expect("room")).collect();
    let hello = Data::Owned { bytes: b"hello".to_vec(), start: 0 };
    ring.submit(Op::Transmit(socket, hello), 3).expect("room");
    let mut ended = Vec::new();
    turns(&mut ring, |_, completion| {
        ended.push(completion.token);
        ended.len() == waits.len() + 1
    });
    assert!(ended.contains(&close) && waits.iter().all(|wait| ended.contains(wait)));
    client.read_exact(&mut [0; 5]).expect("read");
    close_socket(&mut ring, socket);
}

#[test]
fn a_shutdown_completes_and_the_peer_sees_the_end() {
    let mut ring = ring();
    let (socket, mut client) = connect(&mut ring);
    let shutdown = ring.submit(Op::Shutdown(socket), 5).expect("room");
    turns(&mut ring, |_, completion| {
        assert_eq!((completion.token, completion.context), (shutdown, 5));
        matches!(completion.event, Event::ShutDown)
    });
    assert_eq!(client.read(&mut [0; 8]).expect("the end"), 0);
    close_socket(&mut ring, socket);
}

#[test]
fn receives_continue_after_the_buffers_ran_out() {
    [true, false].into_iter().for_each(runs_out);
}

fn runs_out(incremental_buffers: bool) {
    let mut ring = ring_of(incremental_buffers);
    let (socket, mut client) = connect(&mut ring);
    let total = usize::from(BUFFERS) * BUFFER_BYTES as usize * 4;
    let sent: Vec<u8> = (0..total).map(|i| (i % 241) as u8).collect();
    client.write_all(&sent).expect("write");
    client.shutdown(Shutdown::Write).expect("shutdown");
    ring.submit(Op::Receive(socket), 3).expect("room");
    let (mut received, mut held, mut ran_out) = (Vec::new(), Vec::new(), 0);
    turns(&mut ring, |ring, completion| match completion.event {
        Event::Received(mut lease) => {
            received.extend_from_slice(lease.bytes());
            held.push(lease);
            if !completion.more {
                ring.submit(Op::Receive(socket), 3).expect("room");
            }
            false
        }
        Event::NoBuffers => {
            ran_out += 1;
            held.drain(..).for_each(|lease| ring.release(lease));
            ring.submit(Op::Receive(socket), 3).expect("room");
            false
        }
        Event::EndOfStream => true,
        event => panic!("{event:?}"),
    });
    assert!(ran_out > 0, "the test wants the buffers to run out");
    assert!(received == sent, "every byte once, in order");
    held.drain(..).for_each(|lease| ring.release(lease));
    close_socket(&mut ring, socket);
}

#[test]
fn a_fill_receives_behind_what_is_there_and_no_more_than_it_may() {
    let mut ring = ring();
    let (socket, mut client) = connect(&mut ring);
    client.write_all(b"one two").expect("write");
    let fill = |ring: &mut Ring, bytes: Vec<u8>, most| {
        let token = ring.submit(Op::Fill(socket, bytes, most), 4).expect("room");
        let mut filled = None;
        turns(ring, |_, completion| {
            assert_eq!((completion.token, completion.context, completion.more), (token, 4, false));
            let Event::Filled(bytes, result) = completion.event else { panic!("{:?}", completion.event) };
            filled = Some((bytes, result.expect("received")));
            true
        });
        filled.expect("a completion")
    };
    let mut bytes = Vec::with_capacity(100);
    bytes.extend_from_slice(b"front ");
    let place = bytes.as_ptr();
    let (bytes, came) = fill(&mut ring, bytes, 4);
    assert_eq!((&bytes[..], came, bytes.as_ptr()), (&b"front one "[..], 4, place));
    // There is room for less than it may receive.
    let mut full = Vec::with_capacity(12);
    full.extend_from_slice(&bytes);
    let room = full.capacity() - full.len();
    let (bytes, came) = fill(&mut ring, full, 100);
    assert_eq!((came, &bytes[10..]), (room.min(3), &b"two"[..room.min(3)]));
    client.shutdown(Shutdown::Write).expect("shutdown");
    let (bytes, came) = fill(&mut ring, Vec::with_capacity(10), 10);
    assert!(came < 10 && bytes.len() == came);
    assert_eq!(fill(&mut ring, Vec::with_capacity(10), 10), (Vec::new(), 0), "the end of the stream");
    close_socket(&mut ring, socket);
}

#[test]
fn a_cancelled_fill_gives_its_memory_back() {
    let mut ring = ring();
    let (socket, _client) = connect(&mut ring);
    let mut bytes = Vec::with_capacity(1000);
    bytes.extend_from_slice(b"what was there");
    let fill = ring.submit(Op::Fill(socket, bytes, 100), 5).expect("room");
    ring.submit(Op::Cancel(fill), 0).expect("room");
    turns(&mut ring, |_, completion| {
        let Event::Filled(bytes, Err(error)) = completion.event else { panic!("{:?}", completion.event) };
        assert_eq!((&bytes[..], error.raw_os_error()), (&b"what was there"[..], Some(libc::ECANCELED)));
        true
    });
    close_socket(&mut ring, socket);
}

/// Sends `bytes` and gives what the ring receives of it, still leased.
fn receive(ring: &mut Ring, client: &mut TcpStream, bytes: &[u8]) -> Vec<Lease> {
    client.write_all(bytes).expect("write");
    let mut leases: Vec<Lease> = Vec::new();
    turns(ring, |_, completion| {
        let Event::Received(lease) = completion.event else { panic!("{completion:?}") };
        leases.push(lease);
        leases.iter().map(|lease| lease.len).sum::<usize>() == bytes.len()
    });
    leases
}

#[test]
fn what_is_leased_stays_as_it_is_whatever_comes_after() {
    [true, false].into_iter().for_each(stays);
}

fn stays(incremental_buffers: bool) {
    let mut ring = ring_of(incremental_buffers);
    let (socket, mut client) = connect(&mut ring);
    let receiving = ring.submit(Op::Receive(socket), 3).expect("room");
    let mut held = receive(&mut ring, &mut client, b"the first");
    for turn in 0..200_u8 {
        // Odd lengths, so that receives end at every place of the memory.
        for lease in receive(&mut ring, &mut client, &vec![turn; 1 + 997 * usize::from(turn) % 3001]) {
            assert!(lease.buffer[..lease.len].iter().all(|&byte| byte == turn), "turn {turn}");
            ring.release(lease);
        }
    }
    let bytes: Vec<u8> = held.iter_mut().flat_map(|lease| lease.bytes().to_vec()).collect();
    assert_eq!(bytes, b"the first");
    held.into_iter().for_each(|lease| ring.release(lease));
    ring.submit(Op::Cancel(receiving), 0).expect("room");
    turns(&mut ring, |_, completion| completion.token == receiving && !completion.more);
    close_socket(&mut ring, socket);
}

#[test]
fn each_receive_takes_a_buffer_of_its_own_where_nothing_else_is_wanted() {
    let mut ring = ring_of(false);
    assert!(!ring.features().incremental_buffers);
    let (socket, mut client) = connect(&mut ring);
    let receiving = ring.submit(Op::Receive(socket), 3).expect("room");
    let mut leases: Vec<Lease> = Vec::new();
    for turn in 0..BUFFERS {
        leases.extend(receive(&mut ring, &mut client, &[turn as u8; 10]));
    }
    let mut places: Vec<usize> = leases.iter().map(|lease| lease.buffer.as_ptr().addr()).collect();
    places.sort_unstable();
    assert!(places.windows(2).all(|pair| pair[1] - pair[0] == BUFFER_BYTES as usize), "{places:x?}");
    leases.into_iter().for_each(|lease| ring.release(lease));
    ring.submit(Op::Cancel(receiving), 0).expect("room");
    turns(&mut ring, |_, completion| completion.token == receiving && !completion.more);
    close_socket(&mut ring, socket);
}

#[test]
fn each_turn_receives_into_the_same_memory_where_the_kernel_can() {
    let mut ring = ring();
    if !ring.features().incremental_buffers {
        return;
    }
    let (socket, mut client) = connect(&mut ring);
    let receiving = ring.submit(Op::Receive(socket), 3).expect("room");
    let mut places = Vec::new();
    for turn in 0..10_u8 {
        client.write_all(&[turn; 10]).expect("write");
        let mut received = 0;
        turns(&mut ring, |ring, completion| {
            let Event::Received(lease) = completion.event else { panic!("{completion:?}") };
            places.push(lease.buffer.as_ptr().addr());
            received += lease.len;
            ring.release(lease);
            received == 10
        });
    }
    // Ten bytes may come in two receives, but not always.
    assert!(places.iter().filter(|&&place| place == places[0]).count() >= 5, "{places:?}");
    ring.submit(Op::Cancel(receiving), 0).expect("room");
    turns(&mut ring, |_, completion| completion.token == receiving && !completion.more);
    close_socket(&mut ring, socket);
}

#[test]
fn a_cancelled_receive_completes_once_and_a_stale_cancel_does_nothing() {
    let mut ring = ring();
    let (socket, _client) = connect(&mut ring);
    let receive = ring.submit(Op::Receive(socket), 5).expect("room");
    ring.submit(Op::Cancel(receive), 0).expect("room");
    turns(&mut ring, |_, completion| {
        assert_eq!((completion.token, completion.more), (receive, false));
        matches!(completion.event, Event::ReceiveFailed(_))
    });
    let second = ring.submit(Op::Receive(socket), 6).expect("room");
    ring.submit(Op::Cancel(receive), 0).expect("room");
    ring.enter(Wait::No).expect("enter");
    assert!(ring.complete().is_none());
    ring.submit(Op::Cancel(second), 0).expect("room");
    turns(&mut ring, |_, completion| completion.token == second);
    close_socket(&mut ring, socket);
}

#[test]
fn both_kinds_of_wake_end_a_wait() {
    let mut ring = ring();
    let waker = ring.waker();
    for _ in 0..3 {
        waker.wake();
        turns(&mut ring, |_, completion| matches!(completion.event, Event::Woken));
    }
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut other = self::ring();
            other.submit(Op::Wake(waker), 0).expect("room");
            other.enter(Wait::No).expect("enter");
            assert!(other.complete().is_none());
        });
        turns(&mut ring, |_, completion| matches!(completion.event, Event::Woken));
    });
}

#[test]
fn a_full_socket_says_when_it_has_room() {
    let mut ring = ring();
    let (socket, mut client) = connect(&mut ring);
    let fill = Data::Owned { bytes: vec![1; 32_000_000], start: 0 };
    ring.submit(Op::Transmit(socket, fill), 0).expect("room");
    let mut in_kernel = 0;
    turns(&mut ring, |_, completion| match completion.event {
        Event::Short { sent, .. } => {
            in_kernel = sent;
            true
        }
        _ => false,
    });
    ring.submit(Op::Writable(socket), 4).expect("room");
    ring.enter(Wait::No).expect("enter");
    assert!(ring.complete().is_none(), "no room yet");
    client.read_exact(&mut vec![0; in_kernel]).expect("read");
    turns(&mut ring, |_, completion| match completion.event {
        Event::Writable(result) => {
            result.expect("room");
            true
        }
        _ => false,
    });
    close_socket(&mut ring, socket);
}

#[test]
fn dropping_a_ring_with_operations_in_flight_ends_them() {
    let mut ring = ring();
    let (socket, mut client) = connect(&mut ring);
    ring.submit(Op::Receive(socket), 0).expect("room");
    let stuck = Data::Owned { bytes: vec![1; 32_000_000], start: 0 };
    ring.submit(Op::Send(socket, stuck), 0).expect("room");
    ring.enter(Wait::No).expect("enter");
    drop(ring);
    let mut rest = Vec::new();
    // The connection ends: cleanly or by a reset, but it ends.
    let _ = client.read_to_end(&mut rest);
    assert!(rest.len() < 32_000_000);
}

#[test]
fn a_direct_descriptor_says_who_is_at_the_other_end() {
    let mut ring = ring();
    if !ring.knows_peers() {
        eprintln!("skipped: {}", ring.features());
        return;
    }
    for (listen, connect) in
        [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "127.0.0.1"), ("[::]:0", "::1")]
    {
        let address = listen.parse().expect("an address");
        let options = ListenOptions {
            address,
            backlog: 16,
            notsent_lowat_bytes: None,
            user_timeout: None,
            congestion_control: None,
        };
        let (listener, bound) = ring.listen(&options).expect("listen");
        let accept = ring.submit(Op::Accept(listener), 0).expect("room");
        let to = SocketAddr::new(connect.parse().expect("an IP address"), bound.port());
        let client = TcpStream::connect(to).expect("connect");
        let mut socket = None;
        turns(&mut ring, |_, completion| {
            let Event::Accepted(accepted) = completion.event else { return false };
            socket = Some(accepted.expect("accepted"));
            true
        });
        ring.submit(Op::Cancel(accept), 0).expect("room");
        turns(&mut ring, |_, completion| completion.token == accept && !completion.more);
        let socket = socket.expect("accepted");
        // It runs in the enter that submits it, whether or not the peer and the listener are still there.
        for gone in [false, true] {
            let token = ring.submit(Op::PeerAddress(socket, listener), 7).expect("room");
            ring.enter(Wait::No).expect("enter");
            let completion = ring.complete().expect("at once");
            assert_eq!((completion.token, completion.context, completion.more), (token, 7, false));
            let Event::PeerAddress(Ok(peer)) = completion.event else { panic!("{completion:?}") };
            assert_eq!(peer, client.local_addr().expect("its address"), "{listen}, gone: {gone}");
            assert!(ring.complete().is_none());
            if !gone {
                ring.close_listener(listener);
                client.shutdown(Shutdown::Both).expect("shutdown");
            }
        }
        drop(client);
        close_socket(&mut ring, socket);
    }
}
