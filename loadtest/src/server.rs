//! A server under test, as a child process: started on its core, known to listen, ended with its guard.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ringwire_ring::Clock;
use ringwire_ring::linux::pin_to_core;

use crate::measure::Process;

/// How long a server may take until it listens.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often it is tried meanwhile.
const RETRY: Duration = Duration::from_millis(20);

/// How to start a server. `{port}` in the URL and in the command stands for the port it is to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerCommand {
    /// What it is called in results.
    pub name: String,
    /// Where it then answers.
    pub url: String,
    /// Program and arguments.
    pub command: Vec<String>,
}

impl ServerCommand {
    /// Reads `NAME URL PROGRAM ARGUMENT...`, parted by spaces.
    ///
    /// # Errors
    /// If one of the three is missing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace().map(str::to_owned);
        let (Some(name), Some(url)) = (words.next(), words.next()) else {
            return Err(format!("--server '{text}': `NAME URL PROGRAM ARGUMENT...` is needed"));
        };
        let command: Vec<String> = words.collect();
        if command.is_empty() {
            return Err(format!("--server '{text}': the program is missing"));
        }
        Ok(Self { name, url, command })
    }
}

/// A server that runs. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it answers.
    pub url: String,
}

impl Server {
    /// Starts a server on a free port of 127.0.0.1 and waits until it listens. With a `core`, the calling thread and
    /// the server are pinned to it: the caller pins itself elsewhere afterwards.
    ///
    /// # Errors
    /// Why it did not start, or did not listen in time.
    pub fn start(server: &ServerCommand, core: Option<usize>) -> Result<Self, String> {
        let fault = |error: io::Error| format!("{}: {}: {error}", server.name, server.command[0]);
        let port = free_port().map_err(fault)?;
        let with_port = |text: &str| text.replace("{port}", &port.to_string());
        if let Some(core) = core {
            pin_to_core(core).map_err(|error| format!("core {core}: {error}"))?;
        }
        let arguments = server.command[1..].iter().map(|argument| with_port(argument));
        let mut command = Command::new(with_port(&server.command[0]));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().map_err(fault)?;
        let mut this = Self { child, url: with_port(&server.url) };
        this.wait_until_it_listens(port).map_err(|reason| format!("{}: {reason}", server.name))?;
        Ok(this)
    }

    /// Its process.
    ///
    /// # Errors
    /// If it has ended.
    pub fn process(&self) -> Result<Process, String> {
        Process::new(self.child.id()).map_err(|error| error.to_string())
    }

    /// Its process's number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_it_listens(&mut self, port: u16) -> Result<(), String> {
        let clock = Clock::start();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        while Duration::from_nanos(clock.now().as_nanos()) < PATIENCE {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("it ended before it listened: {status}"));
            }
            if TcpStream::connect(address).is_ok() {
                return Ok(());
            }
            // A foreign server says nothing when it is ready, so it is asked again and again.
            std::thread::park_timeout(RETRY);
        }
        Err(format!("it does not listen on {address} after {} s", PATIENCE.as_secs()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on now.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_in_its_parts() {
        let server = ServerCommand::parse("floor tcp://127.0.0.1:{port} target/floor tcp-echo --port {port}").unwrap();
        assert_eq!((server.name.as_str(), server.url.as_str()), ("floor", "tcp://127.0.0.1:{port}"));
        assert_eq!(server.command, ["target/floor", "tcp-echo", "--port", "{port}"]);
        assert!(ServerCommand::parse("floor").is_err());
        assert!(ServerCommand::parse("floor tcp://h:1").unwrap_err().contains("program"));
    }

    #[test]
    fn a_server_that_cannot_start_or_ends_at_once_says_so() {
        let server = |command: &str| ServerCommand::parse(&format!("x tcp://127.0.0.1:{{port}} {command}")).unwrap();
        let fault = Server::start(&server("/does/not/exist"), None).unwrap_err();
        assert!(fault.contains("/does/not/exist"), "{fault}");
        let fault = Server::start(&server("false"), None).unwrap_err();
        assert!(fault.contains("ended before it listened"), "{fault}");
    }
}
