//! Which way of receiving datagrams keeps up: a thread of its own that takes many in one call, or a task of a runtime.
//!
//! `datagrams SECONDS RATE..`: for each rate, in datagrams of 100 bytes a second, each way receives what a thread of this
//! process sends over loopback, and publishes each into a topic as the server's ports do. Printed: what came, what the
//! kernel lost, and the time that the receiving thread was on a core for each datagram. docs/decisions/0013-ways-in.md
//! holds what that came to.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringwire_codec::{Opcode, encode_frame};
use ringwire_hub::{Entry, Hub, Topic, TopicName, TopicSetup};
use ringwire_ring::linux::{Datagram, DatagramOptions, Datagrams};
use ringwire_ring::{Clock, Instant, wall_clock_us};

/// What the kernel keeps, for both ways: the default of a port of the server.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// Datagrams that a task takes before others get their turn.
const BATCH: u32 = 64;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|word| word.parse::<u64>().expect("SECONDS RATE.., all numbers"));
    let seconds = arguments.next().unwrap_or(3);
    println!("{:>9} {:>8} {:>10} {:>9} {:>8}", "rate", "way", "came", "lost", "ns each");
    for rate in arguments {
        for (way, receive) in [("thread", thread as fn(Run) -> Came), ("runtime", runtime)] {
            let Came { came, lost, on_core_ns } = measure(receive, rate, Duration::from_secs(seconds));
            println!("{rate:>9} {way:>8} {came:>10} {lost:>9} {:>8}", on_core_ns / came.max(1));
        }
    }
}

/// What a receiver needs.
struct Run {
    socket: Datagrams,
    topic: Arc<Topic>,
    is_over: Arc<AtomicBool>,
}

/// What a run came to.
struct Came {
    came: u64,
    lost: u64,
    on_core_ns: u64,
}

fn measure(receive: fn(Run) -> Came, rate: u64, time: Duration) -> Came {
    let options = DatagramOptions {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        datagram_bytes_max: 65_507,
        receive_buffer_bytes: RECEIVE_BUFFER_BYTES,
        multicast: None,
    };
    let socket = Datagrams::open(&options).expect("a port");
    let to = socket.address();
    let name = TopicName::new("a").expect("a name");
    let topic = Hub::new(1).open(&name, TopicSetup::default).expect("room for one").topic;
    let is_over = Arc::new(AtomicBool::new(false));
    let run = Run { socket, topic, is_over: Arc::clone(&is_over) };
    let receiver = std::thread::Builder::new().spawn(move || receive(run)).expect("a thread");
    send(to, rate, time);
    is_over.store(true, Ordering::Relaxed);
    receiver.join().expect("it ends")
}

/// Sends at a rate: each millisecond what is due by then.
fn send(to: SocketAddr, rate: u64, time: Duration) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.connect(to).expect("a peer");
    let (clock, payload) = (Clock::start(), [b'x'; 100]);
    let mut sent = 0;
    loop {
        let elapsed = clock.now().since(Instant::default());
        if elapsed >= time {
            return;
        }
        let due = u64::try_from(u128::from(rate) * elapsed.as_micros() / 1_000_000).expect("a short run");
        while sent < due {
            let _ = socket.send(&payload);
            sent += 1;
        }
        // Nothing comes, so this is a sleep.
        socket.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout can be set");
        let _ = socket.recv(&mut [0]);
    }
}

fn publish(topic: &Topic, scratch: &mut Vec<u8>, payload: &[u8]) {
    let encode = |_, _, _, out: &mut Vec<u8>| encode_frame(out, Opcode::Binary, payload, None);
    topic.publish(wall_clock_us(), &Entry::MESSAGE, scratch, encode).expect("it is taken");
}

/// A thread of its own: as the server does it.
fn thread(run: Run) -> Came {
    let Run { mut socket, topic, is_over } = run;
    let (mut came, mut scratch) = (0, Vec::new());
    loop {
        let taken = socket.receive(|datagram| {
            if let Datagram::Whole(payload) = datagram {
                publish(&topic, &mut scratch, payload);
                came += 1;
            }
        });
        if taken.expect("a socket") == 0 {
            if is_over.load(Ordering::Relaxed) {
                return Came { came, lost: socket.lost().expect("Linux counts"), on_core_ns: on_core_ns() };
            }
            socket.wait(Some(Duration::from_millis(50))).expect("a socket");
        }
    }
}

/// A task of a runtime of one thread, as the control plane is.
fn runtime(run: Run) -> Came {
    let Run { mut socket, topic, is_over } = run;
    let copy = socket.as_fd().try_clone_to_owned().expect("a copy");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let came = runtime.block_on(async {
        let copy = UdpSocket::from(copy);
        copy.set_nonblocking(true).expect("an option");
        let reader = tokio::net::UdpSocket::from_std(copy).expect("a socket");
        let (mut came, mut scratch, mut room) = (0, Vec::new(), vec![0; 65_507]);
        loop {
            let ready = tokio::time::timeout(Duration::from_millis(50), reader.readable()).await;
            if ready.is_err() && is_over.load(Ordering::Relaxed) {
                return came;
            }
            for _ in 0..BATCH {
                let Ok(bytes) = reader.try_recv(&mut room) else { break };
                publish(&topic, &mut scratch, &room[..bytes]);
                came += 1;
            }
            tokio::task::yield_now().await;
        }
    });
    Came { came, lost: socket.lost().expect("Linux counts"), on_core_ns: on_core_ns() }
}

/// For how long this thread was on a core.
fn on_core_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says it");
    text.split(' ').next().and_then(|ns| ns.parse().ok()).expect("a number comes first")
}
