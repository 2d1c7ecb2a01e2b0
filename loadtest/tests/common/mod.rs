//! What the measurements of the release server share: where its binary is, how it is started, and strace.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]

pub(crate) mod faulty;
pub(crate) mod witness;

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use ringload::cli::{CommandLine, Task};
use ringload::clients::{Clients, ClientsOptions, Door, End, Message, Outbox, Workload};
use ringload::report::Report;
use ringload::server::{Server, ServerCommand};
use ringload::target::{Target, Wire};
use ringwire_ring::{Clock, Instant, Wait};

/// The release binary of this name: where the environment variable says, or beside this test.
pub(crate) fn binary(name: &str, variable: &str, package: &str) -> PathBuf {
    if let Some(path) = env::var_os(variable) {
        return path.into();
    }
    let own = env::current_exe().expect("a test knows its own file");
    let folder = own.parent().and_then(|deps| deps.parent()).expect("a test lies in target/PROFILE/deps");
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is not there: build it with `cargo build --release --package {package}`, or say in {variable} where it is",
        path.display()
    );
    path
}

/// The release server.
pub(crate) fn ringwire() -> PathBuf {
    binary("ringwire", "RINGWIRE_BIN", "ringwire-server")
}

/// How to start the release server with so many shards, to answer at `path`.
pub(crate) fn ringwire_command(shards: usize, path: &str) -> ServerCommand {
    let program = ringwire();
    let program = program.to_str().expect("a path in UTF-8");
    let text = format!("ringwire={program} serve --listen 127.0.0.1:{{port}} --shards {shards} --feed none");
    ServerCommand::parse(&text, &format!("ws://127.0.0.1:{{port}}{path}")).expect("a valid command")
}

/// What `ringload` reports when it is started with these arguments behind the workload's name and the target.
pub(crate) fn ringload(workload: &str, target: &str, flags: &str) -> Report {
    let words = [workload, target].into_iter().chain(flags.split_whitespace()).map(str::to_owned);
    let line =
        CommandLine::parse(&words.collect::<Vec<_>>()).unwrap_or_else(|fault| panic!("{workload} {flags}: {fault}"));
    let Task::Run(job) = line.task else { panic!("{workload} {flags} is no run") };
    job.run().unwrap_or_else(|reason| panic!("{workload} {flags}: {reason}"))
}

/// The release server, with no feed, and its URL at `path`.
pub(crate) fn start_ringwire(shards: usize, path: &str) -> (Server, Target) {
    let server = Server::start(&ringwire_command(shards, path), None).unwrap_or_else(|reason| panic!("{reason}"));
    let target = Target::parse(&server.url).expect("a valid URL");
    (server, target)
}

/// The release server with one shard, encrypted with a certificate that only the target trusts, at `path`.
pub(crate) fn start_secure_ringwire(path: &str) -> (Server, Target) {
    let folder = env::temp_dir().join(format!("ringload-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for certificate and key");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("a file can be written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file can be written");
    let mut command = ringwire_command(1, path);
    let files = format!("{},{}", certificate.display(), key.display());
    // Hands are shaken for so long that the first would be pinged while the last are awaited.
    let no_pings = folder.join("no-pings.toml");
    std::fs::write(&no_pings, "[timeouts]\nping_interval_ms = 0\n").expect("a file can be written");
    let config = no_pings.display().to_string();
    command.command.extend(["--tls".to_owned(), files, "--config".to_owned(), config]);
    let server = Server::start(&command, None).unwrap_or_else(|reason| panic!("{reason}"));
    let wire = Wire::new(Some(&certificate), false).expect("a certificate to trust");
    let url = server.url.replace("ws://127.0.0.1", "wss://localhost");
    let target = Target::parse_with(&url, wire).expect("a valid URL");
    std::fs::remove_dir_all(&folder).expect("what has been read can go");
    (server, target)
}

/// strace, counting the system calls of all threads of a process.
pub(crate) struct Strace {
    child: Child,
    /// Kept open: strace ends if nobody takes what it says.
    _says: BufReader<std::process::ChildStderr>,
    counts: PathBuf,
}

impl Strace {
    /// Attaches to a process.
    pub(crate) fn attach(pid: u32) -> Self {
        let counts = env::temp_dir().join(format!("ringload-strace-{pid}"));
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-U", "calls,name", "-o"]).arg(&counts).args(["-p", &pid.to_string()]);
        let spawned = command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("strace: {error} (Debian's package strace has it)"));
        let mut says = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        says.read_line(&mut line).expect("strace says that it has attached");
        assert!(
            line.contains("attached"),
            "strace could not attach: {line} (it needs the same user and kernel.yama.ptrace_scope = 0, or root)"
        );
        Self { child, _says: says, counts }
    }

    /// Detaches, and says how many calls of each kind there were.
    pub(crate) fn finish(mut self) -> BTreeMap<String, u64> {
        let interrupt = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(interrupt.expect("there is a kill").success(), "strace was there to be interrupted");
        self.child.wait().expect("strace ends");
        let text = std::fs::read_to_string(&self.counts).expect("strace has written its counts");
        std::fs::remove_file(&self.counts).expect("its file can go");
        parse_counts(&text)
    }
}

/// Reads strace's table of calls and names.
fn parse_counts(text: &str) -> BTreeMap<String, u64> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let calls = words.next()?.parse().ok()?;
        Some((words.next()?.to_owned(), calls))
    });
    lines.filter(|(name, _)| name != "total").collect()
}

/// Opens so many connections, some at a time, and ends each at once.
pub(crate) fn open_and_end(target: &Target, connections: usize) {
    const AT_A_TIME: usize = 8;
    let mut clients = Clients::new(ClientsOptions::new(AT_A_TIME, Clock::start())).expect("io_uring");
    let at_once = connections.min(AT_A_TIME);
    let door = Arc::new(Door::new(target.clone()));
    let mut visits = Visits { door, to_open: connections - at_once, to_end: connections };
    for _ in 0..at_once {
        clients.outbox().open(&visits.door);
    }
    while visits.to_end > 0 {
        clients.turn(Wait::Forever, &mut visits).expect("the kernel goes on");
    }
}

struct Visits {
    door: Arc<Door>,
    to_open: usize,
    to_end: usize,
}

impl Workload for Visits {
    fn on_open(&mut self, out: &mut Outbox<'_>, link: usize, _: Instant) {
        out.abort(link);
    }

    fn on_message(&mut self, _: &mut Outbox<'_>, _: usize, _: Message<'_>, _: Instant) {}

    fn on_ended(&mut self, out: &mut Outbox<'_>, _: usize, end: &End) {
        assert_eq!(*end, End::Closed, "the server accepts");
        self.to_end -= 1;
        if self.to_open > 0 {
            self.to_open -= 1;
            out.open(&self.door);
        }
    }
}
