//! What the tests with real sockets share: the server as a process, HTTP, and a WebSocket client.
//!
//! Every wait is bounded by [`PATIENCE`]. Each test starts the binary on a port of its own, and its process ends
//! with the test, however that ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use ringwire_codec::deflate::Deflate;
use ringwire_codec::extension::{Extension, Negotiator};
use ringwire_codec::handshake::{ClientHandshake, Url};
use ringwire_codec::http::Response;
use ringwire_codec::{CloseCode, Decoder, DecoderLimits, Event, MaskKey, Message, Opcode, Role};
use ringwire_codec::{encode_close, encode_frame};

/// How long anything may take. It only passes where a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A command of the binary, with no token from outside.
pub(crate) fn ringwire() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringwire"));
    command.env_remove("RINGWIRE_PUBLISH_TOKEN").env_remove("RINGWIRE_HMAC_SECRET");
    command
}

/// A process whose output is read line by line; it is killed when dropped.
pub(crate) struct Process {
    child: Child,
    output: BufReader<UnixStream>,
}

impl Process {
    /// Starts `command`, with standard output and standard error both to be read here.
    pub(crate) fn start(mut command: Command) -> Self {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        ours.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let errors = theirs.try_clone().expect("a socket can be doubled");
        let (output, errors) = (Stdio::from(OwnedFd::from(theirs)), Stdio::from(OwnedFd::from(errors)));
        let child = command.stdout(output).stderr(errors).spawn().expect("the binary starts");
        // The command holds the other ends; without them the process's end is the stream's.
        drop(command);
        Self { child, output: BufReader::new(ours) }
    }

    /// The next line, or `None` at the end of the process.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.output.read_line(&mut line).expect("the process says something in time") {
            0 => None,
            _ => Some(line.trim_end().to_owned()),
        }
    }

    /// Lines up to the process's end.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        let clock = ringwire_ring::Clock::start();
        let mut lines = Vec::new();
        while let Some(line) = self.line() {
            lines.push(line);
            let waited = clock.now().since(ringwire_ring::Instant::default());
            assert!(waited < PATIENCE, "the process does not end: {lines:?}");
        }
        lines
    }

    /// Sends a signal, as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.expect("`kill` runs").success());
    }

    /// What it says until it ends, and how it ends.
    pub(crate) fn end(mut self) -> (Vec<String>, ExitStatus) {
        let lines = self.rest();
        (lines, self.child.wait().expect("a child can be waited for"))
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Memory now in use, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the process lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says VmRSS");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server on a port of its own.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// What it said before `ready`.
    pub(crate) announcement: Vec<String>,
}

impl Server {
    /// Starts `ringwire serve` with two shards, no feed and `flags`, and waits until it is ready.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_with("none", flags)
    }

    /// The same with a configuration file of this text.
    pub(crate) fn start_configured(text: &str) -> Self {
        let file = configuration(text);
        let server = Self::start(&["--config", file.to_str().expect("UTF-8")]);
        std::fs::remove_file(file).expect("the file is there");
        server
    }

    /// What a server says that does not start with this configuration.
    pub(crate) fn refuses(text: &str) -> Vec<String> {
        let file = configuration(text);
        let mut command = ringwire();
        command.args(["serve", "--listen", "127.0.0.1:0", "--feed", "none", "--config"]).arg(&file);
        let (lines, status) = Process::start(command).end();
        std::fs::remove_file(file).expect("the file is there");
        assert!(!status.success(), "it serves: {lines:?}");
        lines
    }

    /// The same with a feed.
    pub(crate) fn start_with(feed: &str, flags: &[&str]) -> Self {
        Self::start_on(2, feed, flags)
    }

    /// The same with so many shards.
    pub(crate) fn start_on(shards: usize, feed: &str, flags: &[&str]) -> Self {
        let mut command = ringwire();
        command.args(["serve", "--listen", "127.0.0.1:0", "--feed", feed]).args(flags);
        command.args(["--shards", &shards.to_string()]);
        Self::of(Process::start(command))
    }

    /// A server that is starting, once it is ready.
    pub(crate) fn of(mut process: Process) -> Self {
        let mut announcement = Vec::new();
        loop {
            let line = process.line().unwrap_or_else(|| panic!("the server ended: {announcement:?}"));
            if line == "ready" {
                break;
            }
            announcement.push(line);
        }
        let address =
            announcement.iter().find_map(|line| line.split_once("http://")?.1.split(' ').next()?.parse().ok());
        Self { address: address.expect("it says where it listens"), process, announcement }
    }

    /// A request with a method, headers and a body.
    pub(crate) fn request(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = connect(self.address);
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).expect("the request goes out");
        let mut input = Vec::new();
        stream.read_to_end(&mut input).expect("the answer comes whole");
        Answer::parse(&input)
    }

    /// The answer to these bytes, up to the length that its head says.
    pub(crate) fn exchange(&self, request: &[u8]) -> Answer {
        let mut stream = connect(self.address);
        stream.write_all(request).expect("the request goes out");
        let mut input = Vec::new();
        loop {
            if let Some((response, head_bytes)) = Response::parse(&input).expect("an HTTP response") {
                let body_bytes = usize::try_from(response.content_length().unwrap_or(0)).expect("a short body");
                if input.len() >= head_bytes + body_bytes {
                    return Answer::parse(&input[..head_bytes + body_bytes]);
                }
            }
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk).expect("an answer comes");
            assert!(count > 0, "the answer does not come whole: {input:?}");
            input.extend_from_slice(&chunk[..count]);
        }
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.request("GET", target, &[], b"")
    }

    pub(crate) fn publish(&self, topic: &str, body: &str) -> Answer {
        self.request("POST", &format!("/publish/{topic}"), &[], body.as_bytes())
    }

    /// Asks `/topics` until `topic` is listed with `want`, as in `"subscribers":3`.
    pub(crate) fn await_topic(&self, topic: &str, want: &str) {
        let clock = ringwire_ring::Clock::start();
        let name = format!("\"name\":\"{topic}\"");
        let mut body = String::new();
        while clock.now().since(ringwire_ring::Instant::default()) < PATIENCE {
            body = self.get("/topics").body;
            if body.split('{').any(|entry| entry.contains(&name) && entry.contains(want)) {
                return;
            }
        }
        panic!("{topic} never had {want}: {body}");
    }

    pub(crate) fn socket(&self, target: &str) -> Socket {
        Socket::open(self.address, target)
    }
}

/// A file with this text.
fn configuration(text: &str) -> std::path::PathBuf {
    static FILES: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = FILES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let file = std::env::temp_dir().join(format!("ringwire-test-{}-{number}.toml", std::process::id()));
    std::fs::write(&file, text).expect("a file can be written");
    file
}

/// An HTTP response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    fn parse(input: &[u8]) -> Self {
        let (head, head_bytes) = Response::parse(input).expect("an HTTP response").expect("a whole head");
        let body = String::from_utf8(input[head_bytes..].to_vec()).expect("a text");
        let lines = std::str::from_utf8(&input[..head_bytes]).expect("a head is text").lines().skip(1);
        let fields = lines.filter_map(|line| line.split_once(": "));
        let headers = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Self { status: head.status(), headers, body }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream.set_nodelay(true).expect("a socket has options");
    stream
}

/// What a [`Socket`] received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Text(String),
    Binary(Vec<u8>),
    /// A close frame, with its code (1005: none) and reason.
    Close(u16, String),
}

/// A WebSocket client that blocks.
pub(crate) struct Socket {
    stream: TcpStream,
    decoder: Decoder,
    /// What was agreed on with the server.
    extension: Option<Box<dyn Extension>>,
    /// Bytes that came after the handshake.
    received_bytes: usize,
    input: Vec<u8>,
    pending: std::collections::VecDeque<Received>,
}

impl Socket {
    /// Opens a WebSocket.
    pub(crate) fn open(address: SocketAddr, target: &str) -> Self {
        Self::try_open(address, target, &[]).unwrap_or_else(|answer| panic!("{target}: {answer:?}"))
    }

    /// Opens a WebSocket with more headers, or gives the refusal.
    pub(crate) fn try_open(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Result<Self, Answer> {
        let (socket, head) = Self::handshake(address, target, headers, None);
        socket.ok_or(head)
    }

    /// Opens a WebSocket with more headers; it, and the server's response.
    pub(crate) fn open_with(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> (Self, Answer) {
        let (socket, head) = Self::handshake(address, target, headers, None);
        (socket.unwrap_or_else(|| panic!("{target}: {head:?}")), head)
    }

    /// Opens a WebSocket that offers `deflate`, which the server must take.
    pub(crate) fn open_deflate(address: SocketAddr, target: &str, deflate: &Deflate) -> Self {
        let (socket, head) = Self::handshake(address, target, &[], Some(deflate));
        let socket = socket.unwrap_or_else(|| panic!("{target}: {head:?}"));
        assert!(socket.extension.is_some(), "the server agrees on compression");
        socket
    }

    fn handshake(
        address: SocketAddr,
        target: &str,
        headers: &[(&str, &str)],
        deflate: Option<&Deflate>,
    ) -> (Option<Self>, Answer) {
        let mut stream = connect(address);
        let url = Url::parse(&format!("ws://{address}{target}")).expect("a URL");
        let protocols: Vec<&str> =
            headers.iter().filter(|(name, _)| *name == "Sec-WebSocket-Protocol").map(|(_, value)| *value).collect();
        let subprotocols: Vec<&str> = protocols.iter().flat_map(|list| list.split(", ")).collect();
        let headers: Vec<_> = headers.iter().copied().filter(|(name, _)| *name != "Sec-WebSocket-Protocol").collect();
        let handshake = ClientHandshake {
            subprotocols: &subprotocols,
            headers: &headers,
            extension: deflate.map(|deflate| deflate as &dyn Negotiator),
            ..ClientHandshake::new(&url, *b"a nonce for test")
        };
        stream.write_all(&handshake.request()).expect("the request goes out");
        let mut input = Vec::new();
        loop {
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk).expect("an answer comes");
            input.extend_from_slice(&chunk[..count]);
            let Some((response, head_bytes)) = Response::parse(&input).expect("an HTTP response") else { continue };
            let body_bytes = usize::try_from(response.content_length().unwrap_or(0)).expect("a short body");
            if response.status() != 101 && input.len() < head_bytes + body_bytes {
                continue;
            }
            let Ok(established) = handshake.verify(&response) else {
                return (None, Answer::parse(&input));
            };
            let rest = input.split_off(head_bytes);
            let head = Answer::parse(&input);
            let limits =
                DecoderLimits { frame_bytes_max: 1 << 30, message_bytes_max: 1 << 30, ..DecoderLimits::default() };
            let mut socket = Self {
                stream,
                decoder: Decoder::new(Role::Client, limits),
                extension: established.extension,
                received_bytes: rest.len(),
                input: rest,
                pending: Default::default(),
            };
            socket.decode();
            return (Some(socket), head);
        }
    }

    /// The next message or close.
    pub(crate) fn receive(&mut self) -> Received {
        loop {
            if let Some(received) = self.pending.pop_front() {
                return received;
            }
            self.input.resize(64 * 1024, 0);
            let count = self.stream.read(&mut self.input).expect("something comes in time");
            assert!(count > 0, "the stream ended without a close");
            self.input.truncate(count);
            self.received_bytes += count;
            self.decode();
        }
    }

    /// Bytes that came after the handshake.
    pub(crate) fn received_bytes(&self) -> usize {
        self.received_bytes
    }

    /// What was agreed on with the server.
    pub(crate) fn extension(&self) -> Option<&dyn Extension> {
        self.extension.as_deref()
    }

    /// The next message, which must be text.
    pub(crate) fn text(&mut self) -> String {
        match self.receive() {
            Received::Text(text) => text,
            other => panic!("not text: {other:?}"),
        }
    }

    /// Whether something has been received that was not asked for yet; looks at the socket for `wait` at most.
    pub(crate) fn has_more(&mut self, wait: Duration) -> bool {
        self.stream.set_read_timeout(Some(wait)).expect("a timeout can be set");
        let is_there = !self.pending.is_empty() || self.stream.peek(&mut [0]).is_ok();
        self.stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        is_there
    }

    pub(crate) fn send_text(&mut self, text: &str) {
        self.send(Opcode::Text, text.as_bytes());
    }

    pub(crate) fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut frame = Vec::new();
        encode_frame(&mut frame, opcode, payload, Some(MaskKey::new([1, 2, 3, 4])));
        self.stream.write_all(&frame).expect("the frame goes out");
    }

    /// The socket, to write to beside this client.
    pub(crate) fn writer(&self) -> TcpStream {
        self.stream.try_clone().expect("a second handle")
    }

    /// Answers a close that was received.
    pub(crate) fn answer_close(mut self) {
        self.send(Opcode::Close, &[]);
    }

    /// Closes and waits for the answer, past messages that come before it.
    pub(crate) fn close(mut self) -> u16 {
        self.send(Opcode::Close, &encode_close(Some(CloseCode::NORMAL), ""));
        loop {
            if let Received::Close(code, _) = self.receive() {
                return code;
            }
        }
    }

    fn decode(&mut self) {
        let mut rest = &mut self.input[..];
        while !rest.is_empty() {
            let step = self
                .decoder
                .decode_with(rest, self.extension.as_deref_mut())
                .expect("the server keeps to the protocol");
            let consumed = step.consumed;
            let received = match step.event {
                Some(Event::Message(Message::Text(text))) => Some(Received::Text(text.as_str().to_owned())),
                Some(Event::Message(Message::Binary(bytes))) => Some(Received::Binary(bytes.to_vec())),
                Some(Event::Close(None)) => Some(Received::Close(1005, String::new())),
                Some(Event::Close(Some(frame))) => Some(Received::Close(frame.code.value(), frame.reason.to_owned())),
                Some(Event::Ping(_) | Event::Pong(_)) | None => None,
            };
            self.pending.extend(received);
            rest = &mut rest[consumed..];
        }
        self.input.clear();
    }
}
