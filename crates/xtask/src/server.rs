//! The release server as a child: built, started on a port that the kernel picks, stopped, and killed at the latest
//! when its guard is dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::context::Context;
use crate::process::{self, Deadline, Guarded};

/// From the start of the process to its line `ready`.
const START_LIMIT: Duration = Duration::from_secs(20);
/// From SIGTERM to the end of the process.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Builds the release server and says where its binary is.
pub(crate) fn build(context: &Context, deadline: Deadline) -> Result<PathBuf, String> {
    build_release(context, "ringwire-server", "ringwire", deadline)
}

/// Builds the load generator and says where its binary is.
pub(crate) fn build_ringload(context: &Context, deadline: Deadline) -> Result<PathBuf, String> {
    build_release(context, "ringload", "ringload", deadline)
}

/// Builds this release binary and says where it is.
pub(crate) fn build_release(
    context: &Context,
    package: &str,
    name: &str,
    deadline: Deadline,
) -> Result<PathBuf, String> {
    let mut cargo = context.cargo(&["build", "--release", "--quiet", "--package", package, "--bin", name]);
    process::run(&mut cargo, deadline)?;
    let binary = context.target.join("release").join(name);
    if binary.is_file() { Ok(binary) } else { Err(format!("the build left no {}", binary.display())) }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    process: Guarded,
    log: PathBuf,
    /// `ws://ADDRESS:PORT` or `wss://ADDRESS:PORT`.
    origin: String,
}

impl Server {
    /// Starts `ringwire serve` on a free port of the loopback address, and waits until it is ready. What it prints
    /// goes to the file `log`.
    pub(crate) fn start(binary: &Path, arguments: &[&str], log: &Path, deadline: Deadline) -> Result<Self, String> {
        let deadline = deadline.within(START_LIMIT);
        let file = File::create(log).map_err(|error| format!("cannot write {}: {error}", log.display()))?;
        let second = file.try_clone().map_err(|error| format!("cannot write {}: {error}", log.display()))?;
        let mut command = std::process::Command::new(binary);
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(arguments);
        command.stdin(std::process::Stdio::null()).stdout(file).stderr(second);
        let mut process = Guarded::spawn(&mut command)?;
        loop {
            let said = fs::read_to_string(log).unwrap_or_default();
            if said.lines().any(|line| line.trim() == "ready") {
                let origin = origin_in(&said).ok_or("the server is ready but did not say where it listens")?;
                return Ok(Self { process, log: log.to_owned(), origin });
            }
            if let Some(status) = process.ended()? {
                return Err(format!("the server ended with {status} before it was ready\n{}", process::tail(log)));
            }
            if deadline.has_passed() {
                return Err(format!("the server was not ready in time\n{}", process::tail(log)));
            }
            process::pause();
        }
    }

    /// A WebSocket URL on this server.
    pub(crate) fn websocket_url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// An HTTP URL on this server.
    pub(crate) fn http_url(&self, path: &str) -> String {
        format!("{}{path}", self.origin.replacen("ws", "http", 1))
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        let port = self.origin.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        port.expect("an address that the server says has a port")
    }

    /// Asks the server to drain; an error unless it then ends with success in its time.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        if let Some(status) = self.process.ended()? {
            return Err(format!("the server ended by itself with {status}\n{}", process::tail(&self.log)));
        }
        self.process.terminate()?;
        match self.process.wait(Deadline::after(STOP_LIMIT))? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(format!("on SIGTERM the server ended with {status}\n{}", process::tail(&self.log))),
            None => Err("the server did not end on SIGTERM and was killed".to_owned()),
        }
    }
}

/// Of the first `http://` or `https://` URL in what the server said: where WebSockets are.
fn origin_in(said: &str) -> Option<String> {
    let (before, after) = said.split_once("://")?;
    let scheme = match before.rsplit(' ').next()? {
        "http" => "ws",
        "https" => "wss",
        _ => return None,
    };
    let end = after.find(|c: char| !matches!(c, '0'..='9' | '.' | ':' | '[' | ']')).unwrap_or(after.len());
    let address = &after[..end];
    address.contains(':').then(|| format!("{scheme}://{address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_taken_from_the_first_url() {
        let said = "ringwire: listening on http://127.0.0.1:40913 (2 shards)\nready\n";
        assert_eq!(origin_in(said).as_deref(), Some("ws://127.0.0.1:40913"));
        assert_eq!(origin_in("on https://[::1]:80/\n").as_deref(), Some("wss://[::1]:80"));
        assert_eq!(origin_in("ready\n"), None);
        assert_eq!(origin_in("http://nowhere\n"), None);
    }

    #[test]
    fn a_server_that_ends_before_it_is_ready_is_reported_with_its_words() {
        let log = std::env::temp_dir().join(format!("xtask-server-test-{}.log", std::process::id()));
        let deadline = Deadline::after(Duration::from_secs(10));
        let error = Server::start(Path::new("ls"), &["/"], &log, deadline).expect_err("ls is no server");
        _ = fs::remove_file(&log);
        assert!(error.contains("before it was ready") && error.contains("serve"), "{error}");
    }
}
