//! Whether a peer keeps its contract, told by benches/peers/python/check.py.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use super::{PeerCommand, Speech};
use crate::context::Context;
use crate::process::{self, Deadline, Guarded};
use crate::provision;

/// From the start of the process until it listens.
const START_LIMIT: Duration = Duration::from_secs(20);
/// For the check, on a machine that is busy.
const CHECK_LIMIT: Duration = Duration::from_secs(120);

/// A peer that listens. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    _process: Guarded,
    port: u16,
}

/// Starts the peer, and has it checked. An error says what it did wrong.
pub(super) fn check(context: &Context, peer: &PeerCommand, deadline: Deadline) -> Result<(), String> {
    let python = provision::python_peers(context, deadline)?;
    let running = Running::start(context, peer, deadline)?;
    let mut checker = context.command(python);
    checker.env("PYTHONDONTWRITEBYTECODE", "1").arg("benches/peers/python/check.py");
    if peer.speech == Speech::SocketIo {
        checker.arg("--socketio");
    }
    checker.arg(format!("ws://127.0.0.1:{}", running.port));
    let log = provision::log(context, &format!("peers-check-{}", peer.name))?;
    process::run_quietly(&mut checker, &log, deadline.within(CHECK_LIMIT))
        .map_err(|error| format!("it breaks the contract: {error}"))
}

impl Running {
    /// Starts the peer on a free port of 127.0.0.1, and waits until it listens.
    fn start(context: &Context, peer: &PeerCommand, deadline: Deadline) -> Result<Self, String> {
        let deadline = deadline.within(START_LIMIT);
        let port = free_port().map_err(|error| format!("no free port: {error}"))?;
        let mut words = peer.words.iter().map(|word| word.replace("{port}", &port.to_string()));
        let mut command = context.command(words.next().ok_or("it has no command")?);
        let log = provision::log(context, &format!("peers-{}", peer.name))?;
        let unwritable = |error| format!("cannot write {}: {error}", log.display());
        let said = File::create(&log).map_err(unwritable)?;
        let also = said.try_clone().map_err(unwritable)?;
        let mut process = Guarded::spawn(command.args(words).stdin(Stdio::null()).stdout(said).stderr(also))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        while TcpStream::connect(address).is_err() {
            if let Some(status) = process.ended()? {
                return Err(format!("it ended with {status} before it listened\n{}", process::tail(&log)));
            }
            if deadline.has_passed() {
                return Err(format!("it does not listen on {address}\n{}", process::tail(&log)));
            }
            process::pause();
        }
        Ok(Self { _process: process, port })
    }
}

/// A port that nobody listens on now.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(words: &[&str]) -> PeerCommand {
        PeerCommand {
            name: "tested",
            speech: Speech::Paths,
            words: words.iter().map(|&word| word.to_owned()).collect(),
        }
    }

    #[test]
    fn a_peer_that_ends_before_it_listens_is_reported_with_its_words() {
        let context = Context::of_this_checkout();
        let deadline = Deadline::after(Duration::from_secs(10));
        let error = Running::start(&context, &peer(&["ls", "/{port}"]), deadline).expect_err("ls is no server");
        assert!(error.contains("before it listened") && error.contains("No such file"), "{error}");
    }

    #[test]
    fn a_peer_that_does_not_listen_in_its_time_is_ended() {
        let context = Context::of_this_checkout();
        let deadline = Deadline::after(Duration::from_millis(100));
        let error = Running::start(&context, &peer(&["sleep", "60"]), deadline).expect_err("sleep is no server");
        assert!(error.contains("does not listen"), "{error}");
    }
}
