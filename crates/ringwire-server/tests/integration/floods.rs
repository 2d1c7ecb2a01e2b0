//! Floods: many peers, or one, that send what costs them little. The server's memory stays bounded, who floods gets the
//! answer that the protocol has for it, and beside it other clients are served ([`Beside`]).
//!
//! The server has one shard, so that the flood and the client beside it share a thread.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ringwire_codec::deflate::{Deflate, DeflateOptions};
use ringwire_codec::http::Response;
use ringwire_codec::{FrameHeader, MaskKey, Opcode};
use ringwire_ring::Clock;

use crate::support::{PATIENCE, Received, Server, Socket};

const MIB: u64 = 1 << 20;

/// With receive buffers of 2 MiB in all, so that which of them a flood touches for the first time is little beside what
/// it costs.
fn server() -> Server {
    server_with("")
}

/// The same with more in its configuration.
fn server_with(config: &str) -> Server {
    static FILES: AtomicUsize = AtomicUsize::new(0);
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("floods-{}-{number}.toml", std::process::id()));
    let config = format!("{config}\n[shards]\nreceive_buffers = 64\n");
    std::fs::write(&file, config).expect("a folder for such files");
    let server = Server::start_on(1, "none", &["--config", file.to_str().expect("a path in UTF-8")]);
    std::fs::remove_file(file).expect("the file is there");
    server
}

/// What a flood did to the rest of the server.
#[derive(Debug)]
struct Beside {
    /// 99th percentile of a client's echoes before the flood.
    quiet: Duration,
    /// The same while it lasted.
    flooded: Duration,
    /// Memory that the server had more at its worst than before.
    grown_bytes: u64,
}

impl Beside {
    /// Lets a client echo by itself for a while, and then beside `flood`.
    fn measure<R: Send>(server: &Server, flood: impl FnOnce() -> R + Send) -> (R, Self) {
        let mut client = server.socket("/echo");
        let (quiet, before) = echoes(server, &mut client, |echoed| echoed < 200);
        let over = AtomicBool::new(false);
        let (result, (flooded, most)) = std::thread::scope(|scope| {
            let flood = scope.spawn(|| {
                let _over = OnDrop(&over);
                flood()
            });
            let beside = echoes(server, &mut client, |echoed| echoed < 20 || !over.load(Ordering::Relaxed));
            (flood.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), beside)
        });
        assert_eq!(client.close(), 1000);
        (result, Self { quiet, flooded, grown_bytes: most.saturating_sub(before) })
    }

    /// The client was served, and the server kept its memory.
    fn assert_bounded(&self, grown_bytes_max: u64) {
        println!("{self:?}");
        // The flood, the client and a server without optimisation share two cores.
        let bound = self.quiet * 20 + Duration::from_millis(500);
        assert!(self.flooded <= bound, "echoes take up to {bound:?} beside the flood: {self:?}");
        assert!(self.grown_bytes <= grown_bytes_max, "more than {grown_bytes_max} bytes: {self:?}");
    }
}

/// Echoes every 2 ms while `go_on` says so. Gives the 99th percentile of how long they took, and the server's memory at
/// its most.
fn echoes(server: &Server, client: &mut Socket, go_on: impl Fn(usize) -> bool) -> (Duration, u64) {
    let clock = Clock::start();
    let (mut took, mut most) = (Vec::new(), 0);
    while go_on(took.len()) {
        let sent = clock.now();
        client.send_text("still served?");
        assert_eq!(client.text(), "still served?");
        took.push(clock.now().since(sent));
        most = most.max(server.process.resident_bytes());
        pause(Duration::from_millis(2));
    }
    took.sort_unstable();
    (took[took.len() * 99 / 100], most)
}

struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn pause(time: Duration) {
    let (_silent, silence) = std::sync::mpsc::channel::<()>();
    assert!(silence.recv_timeout(time).is_err(), "nobody breaks the silence");
}

/// A connection that has sent these bytes.
fn connect(server: &Server, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect_timeout(&server.address, PATIENCE).expect("the server accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream.write_all(bytes).expect("the server reads");
    stream
}

/// The header of a frame whose mask changes nothing.
fn header(fin: bool, opcode: Opcode, payload_bytes: u64) -> FrameHeader {
    FrameHeader { fin, rsv1: false, opcode, mask: Some(MaskKey::new([0; 4])), payload_bytes }
}

/// The same, as bytes.
fn announce(fin: bool, opcode: Opcode, payload_bytes: u64) -> Vec<u8> {
    header(fin, opcode, payload_bytes).encode().to_vec()
}

/// Writes until the server has had enough, and gives the code that it closes with.
fn closed_with(client: &mut Socket, bytes: &[u8]) -> u16 {
    let writer = client.writer();
    std::thread::scope(|scope| {
        // The server closes while this still writes.
        scope.spawn(move || (&writer).write_all(bytes));
        loop {
            if let Received::Close(code, _) = client.receive() {
                return code;
            }
        }
    })
}

#[test]
fn handshakes_that_never_end_cost_little() {
    const PEERS: usize = 600;
    let server = server();
    let head = b"GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nX-Filler: ";
    let (streams, beside) = Beside::measure(&server, || {
        let silent = (0..PEERS).map(|_| connect(&server, b""));
        let stuck = (0..PEERS).map(|_| connect(&server, head));
        let streams: Vec<TcpStream> = silent.chain(stuck).collect();
        pause(Duration::from_millis(300));
        streams
    });
    // A record each, the head of half of them, and what the kernel's and the allocator's pages round up.
    beside.assert_bounded(4 * MIB);
    // And at the same time others get in.
    for _ in 0..20 {
        let mut next = server.socket("/echo");
        next.send_text("let in");
        assert_eq!(next.text(), "let in");
        assert_eq!(next.close(), 1000);
    }
    drop(streams);
}

#[test]
fn handshakes_and_leaving_at_once_leave_nothing() {
    const ROUNDS: usize = 200;
    let server = server();
    let ((), beside) = Beside::measure(&server, || {
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for round in 0..ROUNDS {
                        let socket = server.socket("/echo");
                        if round % 2 == 0 {
                            assert_eq!(socket.close(), 1000);
                        }
                    }
                });
            }
        });
    });
    beside.assert_bounded(4 * MIB);
}

#[test]
fn a_message_in_fragments_without_end_gets_1008() {
    // Up to the limit each fragment is looked at, which takes a server without optimisation a microsecond and more.
    let server = server_with("[limits]\nfragments_max = 8192");
    for payload in [&b""[..], b"x"] {
        let mut bytes = announce(false, Opcode::Binary, 0);
        let mut fragment = announce(false, Opcode::Continuation, payload.len() as u64);
        fragment.extend_from_slice(payload);
        bytes.extend(fragment.repeat(150_000));
        let (code, beside) = Beside::measure(&server, || {
            let mut flooder = server.socket("/echo");
            closed_with(&mut flooder, &bytes)
        });
        assert_eq!(code, 1008);
        beside.assert_bounded(4 * MIB);
    }
}

#[test]
fn frames_that_announce_what_they_do_not_send_cost_nothing() {
    const PEERS: usize = 200;
    let server = server();
    let (sockets, beside) = Beside::measure(&server, || {
        let sockets: Vec<Socket> = (0..PEERS).map(|_| server.socket("/echo")).collect();
        for socket in &sockets {
            // As much as a frame may have, and a byte of it.
            let mut bytes = announce(true, Opcode::Binary, 16 << 20);
            bytes.push(0);
            socket.writer().write_all(&bytes).expect("the server reads");
        }
        pause(Duration::from_millis(300));
        sockets
    });
    beside.assert_bounded(4 * MIB);
    drop(sockets);
    for payload_bytes in [(17 << 20) + 1, u64::MAX >> 1] {
        let mut flooder = server.socket("/echo");
        assert_eq!(closed_with(&mut flooder, &announce(true, Opcode::Binary, payload_bytes)), 1009);
    }
}

#[test]
fn readers_that_do_not_read_hold_a_bounded_backlog() {
    const PEERS: u64 = 8;
    let server = server();
    let message = vec![7; 64 * 1024];
    let mut frame = announce(true, Opcode::Binary, message.len() as u64);
    frame.extend_from_slice(&message);
    let (sockets, beside) = Beside::measure(&server, || {
        let sockets: Vec<Socket> = (0..PEERS).map(|_| server.socket("/echo")).collect();
        for socket in &sockets {
            let writer = socket.writer();
            writer.set_write_timeout(Some(Duration::from_millis(150))).expect("a timeout can be set");
            let mut taken = 0_u64;
            while let Ok(bytes) = (&writer).write(&frame) {
                taken += bytes as u64;
                assert!(taken < 256 * MIB, "a server that takes {taken} bytes from one that does not read takes any");
            }
        }
        sockets
    });
    // For each wait 256 KiB before it is not read from, then what the shard's receive buffers held of it: 2 MiB, and as
    // much again while a vector grows.
    beside.assert_bounded(MIB + PEERS * 6 * MIB);
    drop(sockets);
}

#[test]
fn bombs_are_cut_off_at_1009() {
    let server = server();
    let deflate = Deflate::new(DeflateOptions::DEFAULT);
    for (inflated_bytes, cut_off) in [(1 << 10, false), (1 << 20, false), (16 << 20, true), (1 << 30, true)] {
        let bomb = bomb(inflated_bytes);
        let header = FrameHeader { rsv1: true, ..header(true, Opcode::Binary, bomb.len() as u64) };
        let frame = [&header.encode()[..], &bomb].concat();
        let (received, beside) = Beside::measure(&server, || {
            let mut client = Socket::open_deflate(server.address, "/echo", &deflate);
            let writer = client.writer();
            std::thread::scope(|scope| {
                // The server closes while this still writes.
                scope.spawn(|| (&writer).write_all(&frame));
                client.receive()
            })
        });
        match received {
            Received::Close(code, _) if cut_off => assert_eq!(code, 1009),
            Received::Binary(bytes) if !cut_off => assert_eq!(bytes.len(), inflated_bytes),
            other => panic!("{inflated_bytes} bytes: {other:?}"),
        }
        // Up to a megabyte any ratio passes, in a vector that has grown; an inflater's and a compressor's contexts.
        beside.assert_bounded(12 * MIB);
    }
}

/// A message of so many zeros, compressed. What a megabyte becomes is repeated, as no part of it refers to what is before.
fn bomb(inflated_bytes: usize) -> Vec<u8> {
    let part_bytes = inflated_bytes.min(1 << 20);
    let mut compress = flate2::Compress::new(flate2::Compression::best(), false);
    let mut part = Vec::with_capacity(64 * 1024);
    let status = compress.compress_vec(&vec![0; part_bytes], &mut part, flate2::FlushCompress::Full);
    assert_eq!((status.expect("it compresses"), compress.total_in()), (flate2::Status::Ok, part_bytes as u64));
    let mut bomb = part.repeat(inflated_bytes / part_bytes);
    assert!(bomb.ends_with(&[0, 0, 0xFF, 0xFF]));
    bomb.truncate(bomb.len() - 4);
    bomb
}

#[test]
fn pings_and_pongs_without_end_get_1008() {
    let server = server();
    for opcode in [Opcode::Ping, Opcode::Pong] {
        let frame = [&header(true, opcode, 125).encode()[..], &[b'p'; 125]].concat();
        let bytes = frame.repeat(200_000);
        let (code, beside) = Beside::measure(&server, || closed_with(&mut server.socket("/echo"), &bytes));
        assert_eq!(code, 1008);
        beside.assert_bounded(4 * MIB);
    }
}

#[test]
fn requests_that_never_end_are_answered_and_forgotten() {
    let server = server();
    let ((), beside) = Beside::measure(&server, || {
        let endless = [b"GET / HTTP/1.1\r\nHost: a\r\nX: ".as_slice(), &[b'x'; 64 * 1024]].concat();
        let too_long = b"POST /publish/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n";
        let ambiguous = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let requests = [&endless[..], too_long, ambiguous];
        for _ in 0..100 {
            let statuses = requests.map(|request| status(&mut connect(&server, request)));
            assert_eq!(statuses, [431, 413, 400]);
        }
    });
    beside.assert_bounded(4 * MIB);
}

/// The status of the answer that comes.
fn status(stream: &mut TcpStream) -> u16 {
    let mut input = Vec::new();
    loop {
        if let Some((response, _)) = Response::parse(&input).expect("an HTTP response") {
            return response.status();
        }
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).expect("an answer comes");
        assert!(count > 0, "the stream ends without an answer");
        input.extend_from_slice(&chunk[..count]);
    }
}
