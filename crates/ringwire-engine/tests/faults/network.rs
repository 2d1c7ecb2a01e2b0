//! A peer whose network is gone: nothing comes back, not even a reset.
//!
//! The peer is a process in a network namespace of its own, at the other end of a pair of virtual interfaces, whose end
//! there is taken down. That needs root and ip(8); without them the test says so and ends.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ringwire_engine::CloseReason;
use ringwire_engine::ring::Clock;

use crate::support::client::Client;
use crate::support::server::{Ask, Server, options};

/// Where the server is asked for in the environment of the peer's process.
const ADDRESS: &str = "RINGWIRE_TEST_ADDRESS";

/// A namespace with a pair of interfaces to it. Removed with everything in it when dropped.
struct Elsewhere {
    name: String,
    /// Where this side of the pair is.
    here: Ipv4Addr,
}

impl Elsewhere {
    /// `None` if this process may not make one.
    fn new() -> Option<Self> {
        // Four addresses of this process's own, out of those set aside for tests of this kind (RFC 2544).
        let process = std::process::id();
        let network = Ipv4Addr::new(198, 18, 0, 0).to_bits() + process % 0x8000 * 4;
        let (here, there) = (Ipv4Addr::from_bits(network + 1), Ipv4Addr::from_bits(network + 2));
        let this = Self { name: format!("ringwire-{process}"), here };
        let name = &this.name;
        // Interfaces have short names.
        ip(&format!("netns add {name}"))?;
        ip(&format!("link add rwh{process} type veth peer name rwt{process} netns {name}"))?;
        ip(&format!("addr add {here}/30 dev rwh{process}"))?;
        ip(&format!("link set rwh{process} up"))?;
        ip(&format!("-n {name} addr add {there}/30 dev rwt{process}"))?;
        ip(&format!("-n {name} link set rwt{process} up"))?;
        Some(this)
    }

    fn cut(&self) {
        ip(&format!("-n {} link set rwt{} down", self.name, std::process::id())).expect("the interface goes down");
    }

    /// Runs a test of this program there.
    fn run(&self, test: &str, address: SocketAddr) -> Child {
        let program = std::env::current_exe().expect("this program's path");
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program).args(["--ignored", "--exact", "--nocapture", test]);
        command.env(ADDRESS, address.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.spawn().expect("ip runs")
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = ip(&format!("link delete rwh{}", std::process::id()));
        let _ = ip(&format!("netns delete {}", self.name));
    }
}

fn ip(arguments: &str) -> Option<()> {
    let status = Command::new("ip").args(arguments.split(' ')).stderr(Stdio::null()).status().ok()?;
    status.success().then_some(())
}

/// What the test below runs elsewhere: a peer that stays until its standard input ends.
#[test]
#[ignore = "a part of a_peer_whose_network_is_gone_is_ended_by_what_it_does_not_acknowledge"]
fn connect_and_stay() {
    let address = std::env::var(ADDRESS).expect("an address in the environment").parse().expect("an address");
    let mut client = Client::open(address, "/");
    client.echo("here");
    println!("open");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

#[test]
fn a_peer_whose_network_is_gone_is_ended_by_what_it_does_not_acknowledge() {
    const UNACKNOWLEDGED: Duration = Duration::from_secs(2);
    let Some(elsewhere) = Elsewhere::new() else {
        eprintln!("skipped: making a network namespace needs root and ip(8)");
        return;
    };
    let mut options = options();
    options.listen[0].address = SocketAddr::from((elsewhere.here, 0));
    options.listen[0].timeouts.ping = None;
    options.listen[0].timeouts.unacknowledged = Some(UNACKNOWLEDGED);
    let server = Server::start(options);
    let mut peer = elsewhere.run("network::connect_and_stay", server.address());
    let mut lines = BufReader::new(peer.stdout.take().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("open")), "the peer connects");
    elsewhere.cut();
    let clock = Clock::start();
    server.post_all(|| Ask::PingAll(b"are you there?"));
    assert_eq!(server.ended(1), [CloseReason::Broken(ErrorKind::TimedOut)]);
    let took = clock.now().since(Default::default());
    assert!(took >= UNACKNOWLEDGED && took < 3 * UNACKNOWLEDGED, "{took:?}");
    drop(peer.stdin.take());
    let _ = peer.wait();
    server.finish();
}
