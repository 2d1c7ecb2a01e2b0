//! An engine in this process with a handler that keeps accounts, and the audit that every test ends with.
//!
//! The handler ([`Probe`]) echoes messages. [`Server::finish`] checks what must hold after any fault: the next client
//! is served, no connection is left, `on_close` was called once for each connection that was accepted, and once the
//! engine has ended, no descriptor is left either.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, mpsc};
use std::time::Duration;

use ringwire_engine::codec::deflate::{Deflate, DeflateOptions};
use ringwire_engine::codec::{
    CloseCode, Message,
    handshake::{OriginPolicy, Policy},
    http::Request,
};
use ringwire_engine::{
    Accept, Answer, CloseReason, ConnectionId, Context, Engine, EngineOptions, Handler, Opening, Peer, Response,
    SendError, Transmit, Upgrade, start,
};

use ringwire_engine::tls::{TlsFacts, Transport};

use super::answers::Answers;
use super::census::{descriptors, wait_for_sockets};
use super::certificates;
use super::client::{Client, PATIENCE};

/// An engine with a [`Probe`] on each shard.
pub(crate) struct Server {
    engine: Engine<Ask>,
    accounts: Arc<Accounts>,
    descriptors_before: usize,
    _turn: MutexGuard<'static, ()>,
}

/// What the probes have seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Connections accepted by `on_upgrade`.
    pub(crate) upgraded: usize,
    /// Of these, told of `on_open`.
    pub(crate) opened: usize,
    /// How those ended that have.
    pub(crate) reasons: Vec<CloseReason>,
    /// Calls for connections that were not open.
    pub(crate) strays: usize,
    /// Payload bytes that came in as messages.
    pub(crate) message_bytes: usize,
    /// Messages whose echo was refused, though the connection was open.
    pub(crate) refused: usize,
    /// Calls of `on_drained`.
    pub(crate) drained: usize,
    /// Who asked for the WebSockets that were accepted.
    pub(crate) peers: Vec<Peer>,
    /// The most payload bytes that came in as messages or bodies in one turn.
    pub(crate) turn_bytes_max: usize,
    /// Messages that [`Ask::Fill`] found room for.
    pub(crate) filled: usize,
    /// Payloads of pongs that came in.
    pub(crate) pongs: Vec<Vec<u8>>,
    /// HTTP requests that came in.
    pub(crate) requests: usize,
    /// Of these, those that were to be answered later.
    pub(crate) awaited: usize,
    /// Answers to them that the engine did not take.
    pub(crate) unwanted: usize,
    /// Calls of `on_short`.
    pub(crate) shorts: usize,
}

#[derive(Default)]
struct Accounts {
    seen: Mutex<Seen>,
    changed: Condvar,
}

/// What a test may ask of a shard.
pub(crate) enum Ask {
    /// How many connections it has.
    Connections(mpsc::Sender<usize>),
    /// To close all that are open.
    CloseAll(CloseCode),
    /// To ping all that are open.
    PingAll(&'static [u8]),
    /// To send so many messages of 64 KiB to all that are open, each batch as soon as the one before is out.
    FeedAll(usize),
    /// To send messages of [`FILLING_BYTES`] to all that are open, as many as find room.
    Fill,
    /// To answer all requests that are to be answered later.
    Answer,
    /// To put so many events into all streams.
    Publish(usize),
    /// To send this chunk to all streams.
    SendChunk(&'static [u8]),
    /// To end all streams.
    EndStreams,
    /// To do nothing until the other end is dropped, so that what peers send meanwhile comes in one turn.
    Wait(mpsc::Receiver<()>),
}

/// Length of the messages of [`Ask::Fill`].
pub(crate) const FILLING_BYTES: usize = 4096;
/// A message that begins so is not echoed.
pub(crate) const NO_ECHO: &[u8] = b"no echo";

/// A message that begins so goes back with other messages around it, as the byte behind says: see [`send_among`].
pub(crate) const AMONG: &[u8] = b"among";

/// The message behind which its connection is pulled for without end.
pub(crate) const PULL: &[u8] = b"pull";

/// The message that is answered with the number of the connection's shard.
pub(crate) const WHICH_SHARD: &[u8] = b"which shard?";

/// Echoes, and keeps accounts.
struct Probe {
    accounts: Arc<Accounts>,
    /// Payload bytes of this turn's messages and bodies.
    turn_bytes: usize,
    /// Messages that are still to be sent.
    feeds: HashMap<ConnectionId, usize>,
    /// Connections accepted and not ended, and whether they were opened.
    open: HashMap<ConnectionId, bool>,
    answers: Answers,
    /// Agreed to at `/deflate`, and at `/takeover`.
    deflate: [Arc<Policy>; 2],
}

/// Sends a message back behind another one, before one, behind itself, before so many that all must wait, changed, before
/// the end, or a copy of it as if it were the message.
fn send_among(cx: &mut Context<'_, Ask>, connection: ConnectionId, bytes: &mut [u8]) -> Result<(), SendError> {
    let how = bytes[AMONG.len()];
    match how {
        b'>' => cx.send_text(connection, "other")?,
        b'2' => cx.send_binary(connection, bytes)?,
        b'!' => bytes.fill(b'!'),
        b'c' => return cx.send_back(connection, Message::Binary(&mut bytes.to_vec())),
        _ => {}
    }
    cx.send_back(connection, Message::Binary(bytes))?;
    match how {
        b'<' => cx.send_text(connection, "other"),
        b'm' => cx.send_binary(connection, &[b'm'; 300_000]),
        b'.' => {
            cx.close(connection, CloseCode::NORMAL, "");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// One shard that is not pinned, and no more memory than a test needs.
pub(crate) fn options() -> EngineOptions {
    let mut options = EngineOptions { shards: Some(1), pin: false, ..EngineOptions::default() };
    options.limits.connections_max = 2000;
    options.receive_buffers = 64;
    if crate::SECURE {
        options.listen[0].transport = Transport::Tls(certificates::usual().1.acceptor());
    }
    options
}

/// Waits until no other test runs: what this process has of descriptors and memory is one test's.
pub(crate) fn take_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|failed_before| failed_before.into_inner())
}

impl Server {
    pub(crate) fn start(options: EngineOptions) -> Self {
        let turn = take_turn();
        let descriptors_before = descriptors();
        let accounts = Arc::new(Accounts::default());
        let shared = Arc::clone(&accounts);
        let make = move |_| Probe::new(Arc::clone(&shared));
        let engine = start(options, make).expect("the engine starts");
        Self { engine, accounts, descriptors_before, _turn: turn }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.engine.addresses()[0]
    }

    /// Where it listens, all of it.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        self.engine.addresses()
    }

    /// A connection, before any handshake.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// An open WebSocket.
    pub(crate) fn open(&self) -> Client {
        Client::open(self.address(), "/")
    }

    /// Posts to every shard.
    pub(crate) fn post_all(&self, ask: impl Fn() -> Ask) {
        for shard in 0..self.engine.shards() {
            assert!(self.engine.handle().post(shard, ask()).is_ok(), "the mailbox has room");
        }
    }

    /// Has the one shard begin its next turn only when `all` has been done, so that what comes of it comes in one turn, or few.
    pub(crate) fn at_once(&self, all: impl FnOnce()) {
        let (go_on, until) = mpsc::channel();
        let until = Mutex::new(Some(until));
        self.post_all(|| Ask::Wait(until.lock().expect("nobody panics").take().expect("one shard")));
        all();
        drop(go_on);
    }

    /// Starts to drain.
    pub(crate) fn drain(&self, within: Duration) {
        self.engine.handle().drain(within);
    }

    /// Connections of all shards.
    pub(crate) fn connections(&self) -> usize {
        let (answer, answers) = mpsc::channel();
        self.post_all(|| Ask::Connections(answer.clone()));
        drop(answer);
        (0..self.engine.shards()).map(|_| answers.recv_timeout(PATIENCE).expect("the shard answers")).sum()
    }

    /// Waits until what was seen satisfies `enough`, and gives what `read` makes of it.
    pub(crate) fn wait<R>(&self, enough: impl Fn(&Seen) -> bool, read: impl FnOnce(&Seen) -> R) -> R {
        let seen = self.accounts.seen.lock().expect("no holder panics");
        let (seen, waited) =
            self.accounts.changed.wait_timeout_while(seen, PATIENCE, |seen| !enough(seen)).expect("no holder panics");
        assert!(!waited.timed_out(), "it did not come to this: {seen:?}");
        read(&seen)
    }

    /// What was seen up to now.
    pub(crate) fn seen<R>(&self, read: impl FnOnce(&Seen) -> R) -> R {
        read(&self.accounts.seen.lock().expect("no holder panics"))
    }

    /// Waits until so many connections have ended, and says how.
    pub(crate) fn ended(&self, count: usize) -> Vec<CloseReason> {
        self.wait(|seen| seen.reasons.len() >= count, |seen| seen.reasons.clone())
    }

    /// Waits until no connection is left.
    pub(crate) fn wait_empty(&self) {
        self.wait_for_connections(0);
    }

    /// Waits until so many connections are left.
    pub(crate) fn wait_for_connections(&self, count: usize) {
        // A connection that has ended is soon closed too; each question takes a turn of the shard.
        for _ in 0..200 {
            if self.connections() == count {
                return;
            }
            pause(Duration::from_millis(50));
        }
        panic!("{} connections are left, not {count}", self.connections());
    }

    /// The audit, by when no client may be left: the next client is served, nothing is left, and the engine ends well.
    pub(crate) fn finish(self) {
        // No connection is left that the engine has forgotten: what its port has are its listeners.
        let listeners = self.engine.shards();
        let mut next = self.open();
        next.echo("and now the next one");
        next.leave();
        self.wait_empty();
        wait_for_sockets(self.address().port(), listeners);
        self.engine.handle().drain(Duration::from_secs(5));
        self.join();
    }

    /// Waits for the end of an engine that drains, and checks the accounts.
    pub(crate) fn join(self) {
        let Self { engine, accounts, descriptors_before, _turn } = self;
        let address = engine.addresses()[0];
        engine.join().expect("no shard fails");
        assert!(TcpStream::connect(address).is_err(), "somebody still listens on {address}");
        wait_for_sockets(address.port(), 0);
        let seen = accounts.seen.lock().expect("no holder panics");
        assert_eq!(seen.strays, 0, "every call names an open connection, and on_close comes once");
        assert_eq!(seen.reasons.len(), seen.upgraded, "every accepted connection gets its on_close");
        assert_eq!(seen.refused, 0, "a peer that is behind is not read from, so each echo finds room");
        // There may be fewer: what a test before this one has closed can go late.
        let (before, after) = (descriptors_before, descriptors());
        assert!(after <= before, "{after} descriptors are open, {before} were before");
    }
}

/// Lets time pass for a peer that does nothing.
pub(crate) fn pause(duration: Duration) {
    let (_silent, silence) = mpsc::channel::<()>();
    assert!(silence.recv_timeout(duration).is_err(), "nobody breaks the silence");
}

/// What is known of a peer, in words.
fn about(peer: &Peer) -> String {
    let mut words = format!("address: {:?}, ", peer.address);
    if let Some(tls) = &peer.tls {
        let TlsFacts { version, cipher_suite, alpn, server_name, resumed, client_certificate } = tls;
        let certificate = client_certificate.as_ref().map(Vec::len);
        words += &format!("{version}, {cipher_suite}, alpn: {alpn:?}, server_name: {server_name:?}, ");
        words += &format!("resumed: {resumed}, client_certificate: {certificate:?}");
    }
    words
}

impl Probe {
    fn new(accounts: Arc<Accounts>) -> Self {
        let policy = |no_context_takeover| {
            let options = DeflateOptions {
                server_no_context_takeover: no_context_takeover,
                client_no_context_takeover: no_context_takeover,
                ..DeflateOptions::default()
            };
            Arc::new(Policy { extension: Some(Arc::new(Deflate::new(options))), ..Policy::default() })
        };
        let deflate = [policy(true), policy(false)];
        let (answers, feeds, open) = (Answers::default(), HashMap::new(), HashMap::new());
        Self { accounts, turn_bytes: 0, feeds, open, answers, deflate }
    }

    /// Sends what is still to be sent, until the connection takes no more.
    fn feed(&mut self, cx: &mut Context<'_, Ask>, connection: ConnectionId) {
        let Some(left) = self.feeds.get_mut(&connection) else { return };
        while *left > 0 && cx.send_binary(connection, &[9; 64 * 1024]).is_ok() {
            *left -= 1;
        }
    }

    fn note(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.accounts.seen.lock().expect("no holder panics"));
        self.accounts.changed.notify_all();
    }
}

impl Handler for Probe {
    type Mail = Ask;

    /// Two services at `/two`, told apart by subprotocol; compression at `/deflate` and `/takeover`; at `/same`, pages of
    /// the same origin only.
    fn policy(&mut self, _peer: &Peer, request: &Request<'_>) -> Arc<Policy> {
        match request.path() {
            "/deflate" => return Arc::clone(&self.deflate[0]),
            "/takeover" => return Arc::clone(&self.deflate[1]),
            "/same" => return Arc::new(Policy { origin: OriginPolicy::SameOrigin, ..Policy::default() }),
            _ => {}
        }
        let subprotocols = if request.path() == "/two" { vec!["second".into(), "first".into()] } else { Vec::new() };
        Arc::new(Policy { subprotocols, ..Policy::default() })
    }

    fn on_upgrade(&mut self, _cx: &mut Context<'_, Ask>, connection: ConnectionId, opening: &Opening<'_>) -> Upgrade {
        if opening.request.path() == "/refused" {
            return Response::text(403, "not here\n").into();
        }
        if let Some(status) = opening.request.path().strip_prefix("/refused/") {
            let status = status.parse().expect("a status");
            return Response::text(status, "in my own words\n").header("Retry-After", "7").into();
        }
        let stray = self.open.insert(connection, false).is_some();
        self.note(|seen| {
            seen.upgraded += 1;
            seen.peers.push(opening.peer.clone());
            seen.strays += usize::from(stray);
        });
        let service = opening.subprotocol.unwrap_or("none");
        Accept { headers: vec![("X-Service", format!("{service} at {}", opening.request.path()))] }.into()
    }

    fn on_open(&mut self, cx: &mut Context<'_, Ask>, connection: ConnectionId) {
        self.answers.on_open(cx, connection);
        let stray = self.open.insert(connection, true) != Some(false);
        self.note(|seen| {
            seen.opened += 1;
            seen.strays += usize::from(stray);
        });
    }

    fn on_message(&mut self, cx: &mut Context<'_, Ask>, connection: ConnectionId, message: Message<'_>) {
        let stray = self.open.get(&connection) != Some(&true);
        let message_bytes = message.bytes().len();
        self.turn_bytes += message_bytes;
        if message.bytes() == WHICH_SHARD {
            let answer = cx.shard().to_string();
            return cx.send_text(connection, &answer).expect("it is open");
        }
        let sent = match message.bytes() {
            PULL => {
                self.answers.pull_endlessly(cx, connection);
                Ok(())
            }
            bytes if bytes.starts_with(NO_ECHO) => Ok(()),
            bytes if bytes.starts_with(AMONG) => send_among(cx, connection, message.into_bytes()),
            _ => cx.send_back(connection, message),
        };
        self.note(|seen| {
            seen.strays += usize::from(stray);
            seen.message_bytes += message_bytes;
            seen.refused += usize::from(sent == Err(SendError::Full));
        });
    }

    fn on_turn_end(&mut self, _cx: &mut Context<'_, Ask>) {
        let turn_bytes = std::mem::take(&mut self.turn_bytes);
        if turn_bytes > 0 {
            self.note(|seen| seen.turn_bytes_max = seen.turn_bytes_max.max(turn_bytes));
        }
    }

    fn on_drained(&mut self, cx: &mut Context<'_, Ask>, connection: ConnectionId) {
        let stray = self.open.get(&connection) != Some(&true);
        self.note(|seen| {
            seen.drained += 1;
            seen.strays += usize::from(stray);
        });
        self.feed(cx, connection);
    }

    fn on_close(&mut self, _cx: &mut Context<'_, Ask>, connection: ConnectionId, reason: &CloseReason) {
        let stray = self.open.remove(&connection).is_none();
        self.answers.on_close(connection);
        self.note(|seen| {
            seen.strays += usize::from(stray);
            seen.reasons.push(reason.clone());
        });
    }

    fn on_pong(&mut self, _cx: &mut Context<'_, Ask>, connection: ConnectionId, payload: &[u8]) {
        let stray = self.open.get(&connection) != Some(&true);
        self.note(|seen| {
            seen.pongs.push(payload.to_vec());
            seen.strays += usize::from(stray);
        });
    }

    /// At `/later/...` answers when asked to; at `/stream/...` with a stream.
    fn on_http(
        &mut self,
        _cx: &mut Context<'_, Ask>,
        connection: ConnectionId,
        peer: &Peer,
        request: &Request<'_>,
        body: &mut [u8],
    ) -> Answer {
        self.note(|seen| seen.requests += 1);
        self.turn_bytes += body.len();
        if request.path() == "/peer" {
            return Response::text(200, about(peer)).into();
        }
        let body = String::from_utf8_lossy(body);
        let words = format!("{} {} {body}", request.method(), request.target());
        let answer = self.answers.answer(connection, request, words);
        let later = matches!(answer, Answer::Later);
        if later || matches!(answer, Answer::Stream(_)) {
            let stray = self.open.insert(connection, false).is_some();
            self.note(|seen| {
                seen.upgraded += 1;
                seen.awaited += usize::from(later);
                seen.strays += usize::from(stray);
            });
        }
        answer
    }

    fn poll_transmit(&mut self, _cx: &mut Context<'_, Ask>, connection: ConnectionId, out: &mut Transmit) {
        self.answers.poll_transmit(connection, out);
    }

    fn on_short(&mut self, connection: ConnectionId, unsent: usize) -> usize {
        let stray = self.open.get(&connection) != Some(&true);
        self.note(|seen| {
            seen.shorts += 1;
            seen.strays += usize::from(stray);
        });
        self.answers.on_short(connection, unsent)
    }

    fn on_mail(&mut self, cx: &mut Context<'_, Ask>, ask: Ask) {
        match ask {
            // A test that no longer waits for the answer has failed already.
            Ask::Connections(answer) => drop(answer.send(cx.connections())),
            Ask::CloseAll(code) => {
                for &connection in self.open.keys() {
                    cx.close(connection, code, "as the test wants");
                }
            }
            Ask::Fill => {
                for &connection in self.open.keys() {
                    // A bound, for an engine that never has enough.
                    let room = (0..10_000).take_while(|_| cx.send_binary(connection, &[4; FILLING_BYTES]).is_ok());
                    let filled = room.count();
                    self.note(|seen| seen.filled += filled);
                }
            }
            Ask::Answer => {
                for (connection, response) in self.answers.take_waiting() {
                    let answered = cx.respond(connection, response).is_ok();
                    if answered {
                        self.open.remove(&connection);
                    }
                    // One that is answered gets no on_close.
                    self.note(|seen| {
                        seen.upgraded -= usize::from(answered);
                        seen.unwanted += usize::from(!answered);
                    });
                }
            }
            Ask::Publish(count) => self.answers.publish(cx, count),
            Ask::SendChunk(bytes) => {
                for connection in self.answers.streams() {
                    cx.send_chunk(connection, bytes).expect("it is open");
                }
            }
            Ask::EndStreams => self.answers.streams().for_each(|connection| cx.end_stream(connection)),
            Ask::Wait(until) => drop(until.recv_timeout(PATIENCE)),
            Ask::FeedAll(messages) => {
                let open: Vec<_> = self.open.keys().copied().collect();
                for connection in open {
                    self.feeds.insert(connection, messages);
                    self.feed(cx, connection);
                }
            }
            Ask::PingAll(payload) => {
                for &connection in self.open.keys() {
                    cx.ping(connection, payload).expect("it is open");
                }
            }
        }
    }
}
