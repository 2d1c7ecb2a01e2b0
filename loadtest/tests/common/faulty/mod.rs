//! A WebSocket server in the test's own process that is slow and wrong just as it is told, and writes down what it did.
//!
//! It speaks the contract of path-based servers: `/echo` sends each message back, `/ws/<topic>` gets what is published at
//! `/pub/<topic>`, other paths are 404. [`Behavior`] says how long messages are held and what is done to them;
//! [`Truth`] is what the server really did, by its own clock, message by message. A test compares a report with that, and
//! not with what was ordered: a server that the machine held up says so.
//!
//! What it must never do: share code with what it judges beyond the codec, which has its own judges.

pub(crate) mod behavior;
mod connection;
mod server;
pub(crate) mod truth;

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use ringload::target::Target;

pub(crate) use behavior::{Behavior, Ending, Fault, FaultKind, Greeting, Hold, Stall};
pub(crate) use truth::{Latencies, Truth};

/// A server that runs. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Faulty {
    address: SocketAddr,
    /// The server ends when this closes.
    alive: Option<UnixStream>,
    thread: Option<JoinHandle<Truth>>,
}

impl Faulty {
    /// Starts a server on a free port of 127.0.0.1.
    pub(crate) fn start(behavior: Behavior) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let (alive, ends) = UnixStream::pair().expect("a pair of sockets");
        let thread = std::thread::Builder::new().name("faulty".to_owned());
        let thread = thread.spawn(move || server::run(behavior, listener, ends)).expect("a thread");
        Self { address, alive: Some(alive), thread: Some(thread) }
    }

    /// Its URL, without a path.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// What is at this path.
    pub(crate) fn target(&self, path: &str) -> Target {
        Target::parse(&format!("{}{path}", self.url())).expect("a URL")
    }

    /// Its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the server, and says what it did.
    pub(crate) fn finish(mut self) -> Truth {
        drop(self.alive.take());
        let thread = self.thread.take().expect("it is joined once");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            // If it panicked, it has said so.
            let _ = thread.join();
        }
    }
}
