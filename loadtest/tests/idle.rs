//! What idle connections cost the release server: memory, descriptors, CPU time.

#![forbid(unsafe_code)]

mod common;

use std::time::Duration;

use common::{ringwire_command, start_ringwire};
use ringload::connect::Connector;
use ringload::meter::micros;
use ringload::report::Report;
use ringload::server::Server;
use ringload::target::Target;
use ringload::workload::idle::{self, IdleOptions};
use ringwire_ring::linux::raise_descriptor_limit;

/// Longer than the server's handshake timeout, whose entries in its timer wheel are forgotten then.
const SETTLE: Duration = Duration::from_secs(12);

/// More handshakes than the server has receive buffers. They are its own and not its connections', and their memory is
/// there once each has been used; the empty server that connections are counted against has used them.
const HANDSHAKES: usize = 2_048;

/// Opens connections one after the other, and ends each at once.
fn use_every_buffer(target: &Target) {
    let mut connector = Connector::new(target);
    for _ in 0..HANDSHAKES {
        connector.open().expect("the server accepts");
    }
}

fn hold(server: &Server, target: &Target, connections: usize, settle: Duration) -> Report {
    let limit = raise_descriptor_limit().expect("the limit can be asked for");
    assert!(limit >= 19_950, "RLIMIT_NOFILE is {limit}, and a ring of this test needs 19,950: raise its hard limit");
    let process = server.process().expect("the server runs");
    let options = IdleOptions {
        target: target.clone(),
        connections,
        settle,
        time: Duration::from_secs(3),
        server: Some(process),
    };
    let report = idle::run(&options).expect("all connections open");
    println!("{}", report.to_text());
    assert_eq!(report.accounts.ended, 0, "{:?}", report.accounts);
    // All have closed at once, and the next client is served.
    Connector::new(target).open().expect("the server accepts");
    report
}

/// Bytes of resident memory that each of so many idle connections adds to an empty server. While they are silent the
/// server must use no CPU time.
fn bytes_each(connections: usize) -> u64 {
    let (server, target) = start_ringwire(1, "/echo");
    let process = server.process().expect("the server runs");
    use_every_buffer(&target);
    let before = process.resident_bytes().expect("the server runs");
    let report = hold(&server, &target, connections, SETTLE);
    let after = report.cost.server_resident_bytes.expect("the server runs");
    let each = after.saturating_sub(before) / connections as u64;
    let cpu = report.cost.server_cpu.expect("the server runs");
    println!("{each} bytes each ({before} before, {after} after), {:.0} us of CPU time in 3 s", micros(cpu));
    // A single tick of the scheduler's clock is a millisecond and more.
    assert!(cpu < Duration::from_millis(1), "{} us of CPU time while nothing happened", micros(cpu));
    each
}

#[test]
#[ignore = "release measurement, run by cargo xtask test"]
fn an_idle_connection_costs_at_most_512_bytes_and_no_cpu() {
    // The allocator asks for huge pages, of which one more or less is 116 bytes per connection: hence a second try.
    let first = bytes_each(18_000);
    if first > 512 {
        let second = bytes_each(18_000);
        assert!(second <= 512, "{first} bytes each, and {second} in the second try");
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
