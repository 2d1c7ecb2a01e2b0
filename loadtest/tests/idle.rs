//! What idle connections cost the release server: memory, descriptors, CPU time.

#![forbid(unsafe_code)]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use common::{open_and_end, ringwire_command, start_ringwire, start_secure_ringwire};
use ringload::adapter::path::Path;
use ringload::live::Progress;
use ringload::measure::micros;
use ringload::report::Report;
use ringload::run::Load;
use ringload::server::Server;
use ringload::target::{Protocol, Target, Wire};
use ringload::workload::idle::IdleOptions;
use ringload::workload::{Options, Place};
use ringwire_codec::deflate::{Deflate, DeflateOptions};
use ringwire_codec::extension::{Extension, Negotiator};
use ringwire_codec::handshake::ClientHandshake;
use ringwire_codec::http::Response;
use ringwire_codec::{Decoder, DecoderLimits, Event, MaskKey, Opcode, Role, encode_message};
use ringwire_ring::linux::raise_descriptor_limit;

/// Longer than the server's handshake timeout, whose entries in its timer wheel are forgotten then.
const SETTLE: Duration = Duration::from_secs(12);

/// More handshakes than the server has receive buffers. They are its own and not its connections', and their memory is
/// there once each has been used; the empty server that connections are counted against has used them.
const HANDSHAKES: usize = 2_048;

fn hold(server: &Server, target: &Target, connections: usize, settle: Duration) -> Report {
    let limit = raise_descriptor_limit().expect("the limit can be asked for");
    assert!(limit >= 19_950, "RLIMIT_NOFILE is {limit}, and a ring of this test needs 19,950: raise its hard limit");
    let load = Load {
        threads: vec![None],
        settle: Duration::ZERO,
        warm_up: settle,
        time: Duration::from_secs(3),
        spin: false,
        seed: 1,
        slos: Vec::new(),
        server: Some(server.process().expect("the server runs")),
        progress: Progress::Off,
    };
    let place = Place { target: target.clone(), adapter: Arc::new(Path) };
    let report =
        IdleOptions { connections, visits_before: Duration::ZERO }.run(&place, &load).expect("all connections open");
    println!("{}", report.to_text());
    assert_eq!(report.accounts.ended, 0, "{:?}", report.accounts);
    // All have closed at once, and the next client is served.
    open_and_end(target, 1);
    report
}

/// Bytes of resident memory that each of so many idle connections adds to an empty server. While they are silent the
/// server must use no CPU time.
fn bytes_each(connections: usize, wire: Wire) -> u64 {
    let (server, mut target) = start_ringwire(1, "/echo");
    target.wire = wire;
    bytes_each_on(&server, &target, connections)
}

/// A single tick of the scheduler's clock is a millisecond and more.
const SILENT: Duration = Duration::from_millis(1);
/// While a hypervisor has a core, its time is that of who ran there: who was not silent is asked again, so often in all.
const SILENCES: usize = 3;

fn bytes_each_on(server: &Server, target: &Target, connections: usize) -> u64 {
    let process = server.process().expect("the server runs");
    open_and_end(target, HANDSHAKES);
    let before = process.resident_bytes().expect("the server runs");
    let mut report = hold(server, target, connections, SETTLE);
    let after = report.cost.server.expect("the server runs").resident_bytes;
    let each = after.saturating_sub(before) / connections as u64;
    println!("{each} bytes each ({before} before, {after} after)");
    for silence in 1..=SILENCES {
        let cpu = report.cost.server_cpu().expect("the server runs");
        println!("{:.0} us of CPU time in 3 s", micros(cpu));
        if cpu < SILENT {
            break;
        }
        assert!(silence < SILENCES, "{} us of CPU time while nothing happened", micros(cpu));
        report = hold(server, target, connections, SETTLE);
    }
    each
}

#[test]
#[ignore = "release measurement, run by cargo xtask test"]
fn an_idle_connection_costs_at_most_256_bytes_and_no_cpu() {
    // Some 200 are usual. The allocator asks for huge pages, of which one more or less is 116 bytes per connection.
    let first = bytes_each(18_000, Wire::default());
    if first > 256 {
        let second = bytes_each(18_000, Wire::default());
        assert!(second <= 256, "{first} bytes each, and {second} in the second try");
    }
}

#[test]
#[ignore = "release measurement, run by cargo xtask test"]
fn an_idle_connection_inside_tls_costs_at_most_12_kib_and_no_cpu() {
    let (server, target) = start_secure_ringwire("/echo");
    let each = bytes_each_on(&server, &target, 4_000);
    assert!(each <= 12 * 1024, "{each} bytes each");
}

#[test]
#[ignore = "release measurement, run by cargo xtask test"]
fn an_idle_connection_that_may_compress_costs_at_most_1_kib() {
    let wire = Wire::new(None, true).expect("no file is read");
    let each = bytes_each(18_000, wire);
    assert!(each <= 1024, "{each} bytes each");
}

/// zlib takes 268 KB to compress and 44 KB to inflate with its defaults (its manual, zconf.h).
const ZLIB_BYTES: u64 = (268 + 44) * 1024;
const TAKEOVER_CONNECTIONS: usize = 200;
/// Some 50 KiB each on the wire: more than the receive buffers hold.
const EXCHANGES: usize = 800;

#[test]
#[ignore = "release measurement, run by cargo xtask test"]
fn a_connection_with_context_takeover_costs_at_most_what_zlib_takes_and_a_tenth() {
    let file = std::env::temp_dir().join(format!("ringload-takeover-{}.toml", std::process::id()));
    std::fs::write(&file, "[deflate]\nserver_no_context_takeover = false\nclient_no_context_takeover = false\n")
        .expect("a file in the folder for such");
    let mut command = ringwire_command(1, "/echo");
    command.command.extend(["--config".to_owned(), file.to_str().expect("a path in UTF-8").to_owned()]);
    let server = Server::start(&command, None).unwrap_or_else(|reason| panic!("{reason}"));
    std::fs::remove_file(&file).expect("the server has read it");
    let options = DeflateOptions { server_no_context_takeover: false, ..DeflateOptions::DEFAULT };
    let offer = Arc::new(Deflate::new(DeflateOptions { client_no_context_takeover: false, ..options }));
    let mut target = Target::parse(&server.url).expect("a valid URL");
    target.wire.deflate = Some(offer);
    // Longer than a window, so that each connection fills both of its own.
    let numbers: Vec<String> = (0..20_000u64).map(|n| (n * 7919 % 99_991).to_string()).collect();
    let text = numbers.join(",");
    let process = server.process().expect("the server runs");
    // What is received lies in the shard's buffers, whose memory is there once each has been filled.
    let mut first = Compressed::open(&target);
    (0..EXCHANGES).for_each(|_| exchange(&mut first, &text));
    let before = process.resident_bytes().expect("the server runs");
    let open = |_| {
        let mut opened = Compressed::open(&target);
        exchange(&mut opened, &text);
        opened
    };
    let connections: Vec<Compressed> = (0..TAKEOVER_CONNECTIONS).map(open).collect();
    let after = process.resident_bytes().expect("the server runs");
    let each = (after - before) / connections.len() as u64;
    println!("{each} bytes each with context takeover ({before} before, {after} after); zlib's own: {ZLIB_BYTES}");
    assert!(each <= ZLIB_BYTES * 11 / 10, "{each} bytes each");
}

/// An open connection whose messages are compressed both ways, on a socket that waits.
struct Compressed {
    stream: TcpStream,
    extension: Box<dyn Extension>,
}

impl Compressed {
    fn open(target: &Target) -> Self {
        let Protocol::WebSocket(url) = &target.protocol else { panic!("{target} is no WebSocket") };
        let mut stream = TcpStream::connect(target.address).expect("the server accepts");
        let extension = target.wire.deflate.as_deref().map(|deflate| deflate as &dyn Negotiator);
        let handshake = ClientHandshake { extension, ..ClientHandshake::new(url, [7; 16]) };
        stream.write_all(&handshake.request()).expect("the request is taken");
        let mut head = Vec::new();
        loop {
            let mut bytes = [0; 1024];
            let read = stream.read(&mut bytes).expect("the server answers");
            assert!(read > 0, "the connection stays");
            head.extend_from_slice(&bytes[..read]);
            if let Some((response, _)) = Response::parse(&head).expect("a good answer") {
                let established = handshake.verify(&response).expect("the server accepts");
                let extension = established.extension.expect("permessage-deflate was agreed on");
                return Self { stream, extension };
            }
        }
    }
}

/// Sends a message and reads it back, both compressed. The connection is idle then.
fn exchange(opened: &mut Compressed, text: &str) {
    let Compressed { stream, extension } = opened;
    let extension = extension.as_mut();
    let (mut frame, mut scratch) = (Vec::new(), Vec::new());
    let mask = Some(MaskKey::new([1, 2, 3, 4]));
    encode_message(&mut frame, Opcode::Text, text.as_bytes(), mask, extension, &mut scratch);
    assert_eq!(frame[0], 0xC1, "it goes out compressed");
    stream.write_all(&frame).expect("the server reads");
    let mut decoder = Decoder::new(Role::Client, DecoderLimits::default());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let mut read = stream.read(&mut buffer).expect("the echo comes");
        assert!(read > 0, "the connection stays");
        let mut rest = &mut buffer[..read];
        while !rest.is_empty() {
            let step = decoder.decode_with(rest, Some(&mut *extension)).expect("the server keeps to the protocol");
            read = step.consumed;
            if let Some(Event::Message(message)) = step.event {
                assert!(message.bytes() == text.as_bytes());
                return;
            }
            rest = &mut rest[read..];
        }
    }
}

#[test]
#[ignore = "release measurement, run by cargo xtask test"]
fn two_shards_hold_36000_connections_under_20000_descriptors() {
    let mut command = ringwire_command(2, "/echo");
    let limited = ["sh", "-c", "ulimit -n 20000 && exec \"$0\" \"$@\""].map(str::to_owned);
    command.command.splice(0..0, limited);
    let server = Server::start(&command, None).unwrap_or_else(|reason| panic!("{reason}"));
    let target = Target::parse(&server.url).expect("a valid URL");
    hold(&server, &target, 36_000, Duration::from_secs(1));
}
