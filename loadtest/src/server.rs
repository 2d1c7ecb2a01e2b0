//! A server under test, as a child process: started on its core, known to listen, ended with its guard.
//!
//! Its workers end with it. What it says on its error output is kept in a file without a name, and its last lines are
//! told if it does not start or dies.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ringwire_ring::Clock;
use ringwire_ring::linux::pin_to_core;
use rustix::process::{Pid, Signal, kill_process};

use crate::measure::Process;

/// How long a server may take until it listens.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often it is tried meanwhile.
const RETRY: Duration = Duration::from_millis(20);

/// How much of what a server said last is told.
const LAST_WORDS_BYTES: u64 = 2000;

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
    /// Reads `NAME=PROGRAM ARGUMENT...`. Arguments are parted by spaces, except within `'` or `"`. It answers at `url`.
    ///
    /// # Errors
    /// If name, program or a closing quote is missing.
    pub fn parse(text: &str, url: &str) -> Result<Self, String> {
        let fault = |words: &str| format!("--server '{text}': {words}");
        let Some((name, command)) = text.split_once('=').filter(|(name, _)| is_name(name)) else {
            return Err(fault("`NAME=COMMAND with {port}` is needed"));
        };
        let command = words(command).ok_or_else(|| fault("a quote is not closed"))?;
        if command.is_empty() {
            return Err(fault("the program is missing"));
        }
        Ok(Self { name: name.to_owned(), url: url.to_owned(), command })
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace)
}

/// Parts a command as a shell would, as far as spaces and quotes go; none if a quote is not closed.
fn words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (Some(_) | None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// A server that runs. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    errors: File,
    /// Where it answers.
    pub url: String,
}

impl Server {
    /// Starts a server on a free port of 127.0.0.1 and waits until it listens. With a `core`, it is pinned to it; the
    /// calling thread stays where it is.
    ///
    /// # Errors
    /// Why it did not start, or did not listen in time.
    pub fn start(server: &ServerCommand, core: Option<usize>) -> Result<Self, String> {
        let fault = |error: io::Error| format!("{}: {}: {error}", server.name, server.command[0]);
        let port = free_port().map_err(fault)?;
        let with_port = |text: &str| text.replace("{port}", &port.to_string());
        let errors = nameless_file().map_err(fault)?;
        let arguments = server.command[1..].iter().map(|argument| with_port(argument));
        let mut command = Command::new(with_port(&server.command[0]));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(errors.try_clone().map_err(fault)?);
        // A process begins on the cores of the thread that starts it, so a thread of its own starts it.
        let spawn = || match core.map(pin_to_core).transpose() {
            Ok(_) => command.spawn().map_err(fault),
            Err(error) => Err(format!("core {}: {error}", core.unwrap_or_default())),
        };
        let child = std::thread::scope(|scope| scope.spawn(spawn).join());
        let child = child.unwrap_or_else(|_| Err("the thread that starts the server broke down".to_owned()))?;
        let mut this = Self { child, errors, url: with_port(&server.url) };
        this.wait_until_it_listens(port).map_err(|reason| format!("{}: {reason}", server.name))?;
        Ok(this)
    }

    /// How it ended, with its last words; none if it runs. Its sockets go before it is gone itself, so whoever has
    /// lost a connection gives it a moment.
    pub fn end(&mut self, moment: Duration) -> Option<String> {
        let clock = Clock::start();
        loop {
            if let Some(status) = self.child.try_wait().ok().flatten() {
                return Some(format!("{status}{}", self.last_words()));
            }
            if Duration::from_nanos(clock.now().as_nanos()) >= moment {
                return None;
            }
            std::thread::park_timeout(RETRY);
        }
    }

    /// What it said last on its error output, on lines of their own.
    fn last_words(&mut self) -> String {
        let mut said = Vec::new();
        let length = self.errors.metadata().map_or(0, |metadata| metadata.len());
        let from = self.errors.seek(SeekFrom::Start(length.saturating_sub(LAST_WORDS_BYTES)));
        if from.and_then(|_| self.errors.read_to_end(&mut said)).is_err() || said.is_empty() {
            return String::new();
        }
        let said = String::from_utf8_lossy(&said);
        let last: Vec<&str> = said.trim_end().lines().rev().take(5).collect();
        last.iter().rev().map(|line| format!("\n    {line}")).collect()
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
            if let Some(end) = self.end(Duration::ZERO) {
                return Err(format!("it ended before it listened: {end}"));
            }
            if TcpStream::connect(address).is_ok() {
                return Ok(());
            }
            // A foreign server says nothing when it is ready, so it is asked again and again.
            std::thread::park_timeout(RETRY);
        }
        Err(format!("it does not listen on {address} after {} s{}", PATIENCE.as_secs(), self.last_words()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its process's number is its own until it is waited for. It may have ended by itself, and its workers too.
        let tree = self.process().map_or_else(|_| Vec::new(), |process| process.tree());
        let pids = tree.iter().filter_map(|process| Pid::from_raw(i32::try_from(process.pid()).ok()?));
        for pid in pids {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on now.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A file that is gone when nobody has it open any more.
fn nameless_file() -> io::Result<File> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("ringload-{}-{number}", std::process::id()));
    let file = File::options().read(true).append(true).create_new(true).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

#[cfg(test)]
pub(crate) mod tests {
    use ringwire_ring::linux::allowed_cores;

    use super::*;

    const URL: &str = "tcp://127.0.0.1:{port}";

    fn server(command: &str) -> ServerCommand {
        ServerCommand::parse(&format!("x={command}"), URL).unwrap()
    }

    #[test]
    fn a_command_is_read_in_its_parts() {
        let server = ServerCommand::parse("floor=target/floor tcp-echo --listen=:{port} ", URL).unwrap();
        assert_eq!((server.name.as_str(), server.url.as_str()), ("floor", URL));
        assert_eq!(server.command, ["target/floor", "tcp-echo", "--listen=:{port}"]);
        for (text, words) in [
            ("floor", "NAME=COMMAND"),
            ("=x", "NAME=COMMAND"),
            ("floor ws://h x --a=1", "NAME=COMMAND"),
            ("floor= ", "program"),
            ("floor=sh -c 'x", "quote"),
        ] {
            assert!(ServerCommand::parse(text, URL).unwrap_err().contains(words), "{text}");
        }
    }

    #[test]
    fn quotes_hold_words_together() {
        assert_eq!(words("sh -c 'exec \"a b\"  c' \"it's\" ''").unwrap(), ["sh", "-c", "exec \"a b\"  c", "it's", ""]);
    }

    #[test]
    fn a_server_that_cannot_start_or_ends_at_once_says_so_with_its_last_words() {
        let fault = Server::start(&server("/does/not/exist"), None).unwrap_err();
        assert!(fault.contains("/does/not/exist"), "{fault}");
        let fault = Server::start(&server("sh -c 'echo no such flag >&2; exit 3'"), None).unwrap_err();
        assert!(fault.contains("ended before it listened: exit status: 3\n    no such flag"), "{fault}");
    }

    /// Where the processes of tests find what they are to do.
    const ROLE: &str = "RINGLOAD_TEST_SERVER";

    /// No test: what a test below runs as another process. It listens on the port that it is told, and then waits or dies.
    #[test]
    #[ignore = "a process of other tests"]
    fn plays_a_server() {
        let Ok(role) = std::env::var(ROLE) else { return };
        let (port, role) = role.split_once(' ').expect("a port and what to do");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse().expect("a port"))).expect("it is free");
        if role == "dies" {
            // The first asks whether it listens.
            drop((listener.accept(), listener.accept()));
            eprintln!("no more memory");
            std::process::exit(3);
        }
        std::thread::park_timeout(Duration::from_secs(60));
    }

    /// How to run that.
    pub(crate) fn player(role: &str) -> String {
        let own = std::env::current_exe().expect("a test knows its own file");
        let test = "--exact server::tests::plays_a_server --ignored --nocapture";
        format!("env '{ROLE}={{port}} {role}' '{}' {test}", own.display())
    }

    #[test]
    fn who_starts_a_server_on_a_core_stays_where_it_is() {
        let before = allowed_cores().unwrap();
        let server = Server::start(&server(&player("waits")), Some(before[0])).unwrap();
        assert_eq!(allowed_cores().unwrap(), before);
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        let cores = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("its cores");
        assert_eq!(cores.trim(), before[0].to_string());
    }

    #[test]
    fn workers_end_with_their_server() {
        // The shell is the server's process, and its child holds the port.
        let worker = player("waits").replace('\'', "\"");
        let server = Server::start(&server(&format!("sh -c '{worker} & wait'")), None).unwrap();
        let address: SocketAddr = server.url.trim_start_matches("tcp://").parse().expect("an address");
        // One that accepts nothing takes some connections and then answers no more; only a port of nobody's refuses.
        let is_free = || {
            let connected = TcpStream::connect_timeout(&address, RETRY);
            connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        };
        assert!(!is_free());
        drop(server);
        // The kernel closes a killed worker's socket before long.
        let clock = Clock::start();
        while !is_free() {
            assert!(Duration::from_nanos(clock.now().as_nanos()) < PATIENCE, "a worker lives on");
            std::thread::park_timeout(RETRY);
        }
    }
}
