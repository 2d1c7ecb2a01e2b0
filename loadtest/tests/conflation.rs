//! What slow subscribers in mode `latest` cost the release server: a keyed topic is published to faster than they read,
//! and no queue may grow for any of them: a subscriber costs at most a connection and the rest of one frame.

#![forbid(unsafe_code)]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use common::{open_and_end, ringwire_command};
use ringload::clients::{Clients, ClientsOptions, Door, End, Message, Outbox, Workload};
use ringload::measure::Process;
use ringload::server::Server;
use ringload::target::Target;
use ringwire_codec::{MaskKey, Opcode, encode_frame};
use ringwire_ring::{Clock, Instant, Wait};

const CONFIG: &str = "[[topics]]\nmatch = \"book.>\"\nkind = \"keyed\"\nslow = \"latest\"\n";
const SUBSCRIBE: &str =
    r#"{"id":1,"method":"subscribe","params":{"topics":["book.X"],"mode":"latest","snapshot":true}}"#;
/// Price levels.
const KEYS: u64 = 1_000;
const PUBLISHES_PER_SECOND: u64 = 5_000;
const SECONDS: u64 = 6;
/// What each subscriber reads, of some 650 KB that are published each second.
const BYTES_PER_SECOND: u64 = 20_000;
/// More handshakes than the server has receive buffers.
const HANDSHAKES: usize = 2_048;
/// What a turn makes for them, and the copies of it that are under way, however many they are.
const TURN_BYTES_MAX: u64 = 12 << 20;
/// What a connection with a subscription may cost: its record, and the rest of a frame of which its socket has taken a
/// part. It is the same however far the subscriber lags.
const CONNECTION_BYTES_MAX: u64 = 2_048;
/// What of this it holds beside its record.
const HELD_BYTES_MAX: u64 = 512;

/// A publisher, and subscribers that read slowly.
#[derive(Default)]
struct Market {
    /// The publisher is the first connection.
    publisher: usize,
    open: usize,
    ended: usize,
    /// What the subscribers have read.
    read_bytes: u64,
}

impl Workload for Market {
    fn on_open(&mut self, out: &mut Outbox<'_>, link: usize, _: Instant) {
        self.open += 1;
        if link != self.publisher {
            let mut frame = Vec::new();
            encode_frame(&mut frame, Opcode::Text, SUBSCRIBE.as_bytes(), Some(MaskKey::new([9, 2, 6, 5])));
            out.send(link, &frame);
        }
    }

    fn on_message(&mut self, _: &mut Outbox<'_>, link: usize, message: Message<'_>, _: Instant) {
        if link != self.publisher {
            self.read_bytes += message.bytes.len() as u64;
            return;
        }
        let told = String::from_utf8_lossy(message.bytes);
        assert!(told.contains(r#""type":"heartbeat""#), "the publisher is told {told}");
    }

    fn on_ended(&mut self, _: &mut Outbox<'_>, link: usize, end: &End) {
        assert_ne!(link, self.publisher, "the publisher's connection ended: {end:?}");
        self.ended += 1;
    }
}

/// Resident memory that the server has gained when so many subscribers have lagged for a while, and what of it their
/// connections hold.
fn growth(subscribers: usize) -> (u64, u64) {
    let folder = std::env::temp_dir().join(format!("ringload-conflation-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the configuration");
    let config = folder.join("topics.toml");
    std::fs::write(&config, CONFIG).expect("a file can be written");
    let mut command = ringwire_command(1, "/connect");
    command.command.extend(["--config".to_owned(), config.display().to_string()]);
    let server = Server::start(&command, None).unwrap_or_else(|reason| panic!("{reason}"));
    let target = Target::parse(&server.url).expect("a valid URL");
    std::fs::remove_dir_all(&folder).expect("what has been read can go");

    let mut clients = Clients::new(ClientsOptions::new(1 + subscribers, Clock::start())).expect("io_uring");
    let mut market = Market::default();
    let door = Arc::new(Door::new(target.clone()));
    market.publisher = clients.outbox().open(&door);
    let process = Process::new(server.pid()).expect("the server runs");
    // The memory of receive buffers, which are the server's, is there once each has been used.
    open_and_end(&target, HANDSHAKES);
    // The log is filled before anything is measured.
    let mut number = 0;
    publish(&mut clients, &mut market, &mut number, SECONDS);
    let before = process.resident_bytes().expect("the server runs");
    for _ in 0..subscribers {
        let link = clients.outbox().open(&door);
        clients.outbox().throttle(link, BYTES_PER_SECOND);
    }
    publish(&mut clients, &mut market, &mut number, SECONDS);
    let after = process.resident_bytes().expect("the server runs");
    let read = market.read_bytes / (subscribers as u64 * SECONDS);
    assert_eq!((market.open, market.ended), (1 + subscribers, 0), "nobody is disconnected");
    assert!(read > BYTES_PER_SECOND / 2, "they read {read} bytes a second each");
    (after.saturating_sub(before), held_bytes(&target))
}

/// What the server says that its connections hold.
fn held_bytes(target: &Target) -> u64 {
    let mut stream = TcpStream::connect(target.address).expect("the server accepts");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("the request goes out");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("the server answers");
    let line = page.lines().find_map(|line| line.strip_prefix("ringwire_connections_held_bytes "));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no such gauge: {page}"))
}

/// Publishes for so many seconds, while others read.
fn publish(clients: &mut Clients, market: &mut Market, number: &mut u64, seconds: u64) {
    let (start, first) = (clients.now(), *number);
    let end = start + Duration::from_secs(seconds);
    while clients.now() < end {
        let now = clients.now();
        let due = first + now.since(start).as_millis() as u64 * PUBLISHES_PER_SECOND / 1000;
        while *number < due {
            // Levels near the touch change more often than those far away.
            let key = (*number * 7919 % KEYS) * (*number * 104_729 % KEYS) / KEYS;
            let text = format!(
                r#"{{"method":"publish","params":{{"topic":"book.X","key":"b:{key:04}","data":{{"q":"{number:012}"}}}}}}"#
            );
            let mut frame = Vec::new();
            encode_frame(&mut frame, Opcode::Text, text.as_bytes(), Some(MaskKey::new([3, 5, 7, 9])));
            clients.outbox().send(market.publisher, &frame);
            *number += 1;
        }
        let wake_at = end.min(now + Duration::from_millis(1));
        clients.turn(Wait::Until(wake_at), market).expect("the kernel goes on");
    }
}

#[test]
#[ignore = "release measurement, run by cargo xtask test"]
fn slow_subscribers_cost_a_connection_and_no_queue() {
    // The first one has the topic keep a log in its form.
    let (one, _) = growth(1);
    println!("1 subscriber at 20 KB/s: {} KiB more", one >> 10);
    for subscribers in [100, 1_000] {
        let (grown, held) = growth(subscribers);
        println!("{subscribers} subscribers at 20 KB/s: {} KiB more, {} held by connections", grown >> 10, held);
        let allowed = one + TURN_BYTES_MAX + subscribers as u64 * CONNECTION_BYTES_MAX;
        assert!(grown <= allowed, "{subscribers} subscribers cost {grown} bytes, at most {allowed} are allowed");
        let allowed = subscribers as u64 * HELD_BYTES_MAX;
        assert!(held <= allowed, "{subscribers} connections hold {held} bytes, at most {allowed} are allowed");
    }
}
