//! The task that owns the connection: it opens it, carries messages between it and the [`Core`], and comes back when it is
//! lost.
//!
//! Events that no subscriber has room for stop it from reading, so that memory stays bounded and the server sees who is
//! slow. A server that says nothing for two and a half heartbeats is given up, since a dead network closes nothing.

use std::io;

use ringwire_codec::handshake::Url;
use ringwire_codec::{CloseCode, Opcode};
use tokio::net::TcpStream;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Instant, sleep_until, timeout, timeout_at};

use crate::backoff::Backoff;
use crate::core::{Command, Core, Signal};
use crate::error::Error;
use crate::options::{Options, Stream, Token, TokenFuture};
use crate::protocol::Session;
use crate::random::Random;
use crate::record;
use crate::wire::{Progress, Received, Wire};

const JSON: &str = "ringwire.json.1";
const BINARY: &str = "ringwire.bin.1";
/// A session that stood this long was a good one: the next wait is short again.
const STABLE: Duration = Duration::from_secs(10);
/// How long a last word may take to go out.
const FAREWELL: Duration = Duration::from_secs(1);
/// Output that the socket has not taken, beyond which nothing is put behind it, in bytes.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// The task.
pub(crate) struct Driver {
    url: Url,
    options: Options,
    core: Core,
    commands: mpsc::Receiver<Command>,
    /// Told how the first attempt ends.
    started: Option<oneshot::Sender<Result<(), Error>>>,
    backoff: Backoff,
    random: Random,
    /// The token that did last.
    token: Option<String>,
}

/// How a connection ended.
enum End {
    /// It may be tried again: after this time, if the server has said one.
    Lost(String, Option<Duration>),
    /// It must not be.
    Final(Error),
}

/// What there is to know of one connection.
struct Life {
    wire: Wire,
    heard: Instant,
    heartbeat: Option<Duration>,
    has_asked: bool,
    opened: Option<Instant>,
    /// No session by then, and it is given up.
    opening_until: Instant,
    refresh_at: Option<Instant>,
    refreshing: Option<TokenFuture>,
    comes_back_after: Option<Duration>,
    /// The server's clock at a moment of this one's, in µs.
    server_time: (u64, Instant),
}

impl Driver {
    pub(crate) fn new(
        url: Url,
        options: Options,
        commands: mpsc::Receiver<Command>,
        started: oneshot::Sender<Result<(), Error>>,
    ) -> Self {
        let core = Core::new(&options);
        let backoff = Backoff::new(options.backoff_least, options.backoff_most);
        Self { url, options, core, commands, started: Some(started), backoff, random: Random::new(), token: None }
    }

    /// Lives until it is closed, or the server forbids it to come back.
    pub(crate) async fn run(mut self) {
        let error = loop {
            let end = self.connection().await;
            self.core.lost();
            match end {
                End::Final(error) => break error,
                End::Lost(why, _) if self.started.is_some() => break Error::Closed(why),
                End::Lost(_, asked) => {
                    let spread = self.random.fraction();
                    let wait = asked.unwrap_or_else(|| self.backoff.next(spread));
                    if let Err(error) = self.wait_until(Instant::now() + wait).await {
                        break error;
                    }
                }
            }
        };
        self.core.close(&error);
        if let Some(started) = self.started {
            let _ = started.send(Err(error));
        }
    }

    /// Takes commands until then.
    async fn wait_until(&mut self, until: Instant) -> Result<(), Error> {
        while Instant::now() < until {
            let next = self.core.deadline().map_or(until, |deadline| deadline.min(until));
            tokio::select! {
                command = self.commands.recv(), if self.has_room() => self.command(command)?,
                () = sleep_until(next) => self.core.tick(Instant::now()),
            }
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.core.pending_publishes() < self.options.pending_publishes_max
    }

    fn command(&mut self, command: Option<Command>) -> Result<(), Error> {
        match command {
            None | Some(Command::Close) => Err(Error::Closed("it was closed here".to_owned())),
            Some(command) => {
                self.core.command(command, Instant::now());
                Ok(())
            }
        }
    }

    /// One connection, from its first packet to its end.
    async fn connection(&mut self) -> End {
        let opening_until = Instant::now() + self.options.connect_timeout;
        let opening = open(self.url.clone(), self.options.clone(), self.token.take());
        let mut opening = std::pin::pin!(timeout_at(opening_until, opening));
        let opened = loop {
            let tick = self.core.deadline().unwrap_or(opening_until);
            tokio::select! {
                opened = &mut opening => break opened,
                command = self.commands.recv(), if self.has_room() => if let Err(error) = self.command(command) {
                    return End::Final(error);
                },
                () = sleep_until(tick) => self.core.tick(Instant::now()),
            }
        };
        let (wire, token) = match opened {
            Err(_) => return End::Lost("no connection in time".to_owned(), None),
            Ok(Err(end)) => return end,
            Ok(Ok(open)) => open,
        };
        self.core.hello(token.as_deref(), self.options.name.as_deref());
        self.token = token;
        let now = Instant::now();
        let mut life = Life {
            wire,
            heard: now,
            heartbeat: None,
            has_asked: false,
            opened: None,
            opening_until,
            refresh_at: None,
            refreshing: None,
            comes_back_after: None,
            server_time: (0, now),
        };
        loop {
            if let Err(end) = self.turn(&mut life).await {
                if life.opened.is_some_and(|at| at.elapsed() >= STABLE) {
                    self.backoff.reset();
                }
                return end;
            }
        }
    }

    /// Waits for one thing and does what it asks for.
    async fn turn(&mut self, life: &mut Life) -> Result<(), End> {
        let full = self.hand_on();
        self.transmit(life);
        let now = Instant::now();
        let deadline = [self.core.deadline(), life.deadline()].into_iter().flatten().min();
        let deadline = deadline.unwrap_or(now + Duration::from_secs(3600));
        let has_room = self.has_room();
        tokio::select! {
            progress = life.wire.progress(full.is_none()) => match progress {
                Ok(Progress::Sent) => Ok(()),
                Ok(Progress::Received) => self.receive(life).await,
                Ok(Progress::End) => Err(life.lost("the server is gone".to_owned())),
                Err(error) => Err(life.lost(error.to_string())),
            },
            () = room(full.as_ref()), if full.is_some() => Ok(()),
            command = self.commands.recv(), if has_room => {
                let Err(error) = self.command(command) else { return Ok(()) };
                self.transmit(life);
                farewell(&mut life.wire, CloseCode::NORMAL).await;
                Err(End::Final(error))
            }
            token = refreshed(&mut life.refreshing), if life.refreshing.is_some() => {
                life.refreshing = None;
                // Without one, the server closes when the time is over, and then a token is asked for again.
                if let Ok(token) = token {
                    self.core.refresh(&token);
                    self.token = Some(token);
                }
                Ok(())
            }
            () = sleep_until(deadline) => {
                // Who does not listen cannot say that nothing was said.
                if full.is_some() {
                    life.heard = Instant::now();
                }
                self.tick(life)
            }
        }
    }

    /// Hands events on as far as there is room. Returns who has none for the next one.
    fn hand_on(&mut self) -> Option<mpsc::Sender<crate::event::Event>> {
        while let Some((id, event)) = self.core.events.pop_front() {
            let Some(receiver) = self.core.receiver(id) else { continue };
            match receiver.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Closed(_)) => self.core.unsubscribe(id),
                Err(TrySendError::Full(event)) => {
                    let receiver = receiver.clone();
                    self.core.events.push_front((id, event));
                    return Some(receiver);
                }
            }
        }
        None
    }

    fn transmit(&mut self, life: &mut Life) {
        while life.wire.output_bytes() < OUTPUT_BYTES_MAX {
            let Some(text) = self.core.out.pop_front() else { break };
            if self.options.binary {
                life.wire.send(Opcode::Binary, &record::control(&text));
            } else {
                life.wire.send(Opcode::Text, text.as_bytes());
            }
            if self.core.out.is_empty() {
                self.core.tick(Instant::now());
            }
        }
    }

    async fn receive(&mut self, life: &mut Life) -> Result<(), End> {
        let now = Instant::now();
        (life.heard, life.has_asked) = (now, false);
        let received = match life.wire.messages() {
            Ok(received) => received,
            Err(error) => {
                farewell(&mut life.wire, CloseCode::PROTOCOL_ERROR).await;
                return Err(life.lost(error.to_string()));
            }
        };
        for message in received {
            match message {
                Received::Text(text) => {
                    let signals = self.core.message(&text, now);
                    self.signals(life, signals).await?;
                }
                Received::Binary(bytes) => {
                    let signals = self.core.records(&bytes, now);
                    self.signals(life, signals).await?;
                }
                Received::Close(code, reason) => {
                    farewell(&mut life.wire, CloseCode::NORMAL).await;
                    return Err(self.closed(life, code, reason));
                }
            }
        }
        Ok(())
    }

    /// What a message means for the connection, if it is one of the protocol.
    async fn signals(&mut self, life: &mut Life, signals: Result<Vec<Signal>, Error>) -> Result<(), End> {
        match signals {
            Ok(signals) => signals.into_iter().try_for_each(|signal| self.signal(life, signal)),
            Err(error) => {
                farewell(&mut life.wire, CloseCode::POLICY_VIOLATION).await;
                Err(life.lost(error.to_string()))
            }
        }
    }

    fn signal(&mut self, life: &mut Life, signal: Signal) -> Result<(), End> {
        match signal {
            Signal::Opened(session) => {
                life.begin(&session);
                self.plan_refresh(life, session.expires);
                if let Some(started) = self.started.take() {
                    let _ = started.send(Ok(()));
                }
            }
            Signal::Refreshed(expires) => self.plan_refresh(life, expires),
            Signal::GoAway(after, jitter) => {
                life.comes_back_after = Some(after + jitter.mul_f64(self.random.fraction()));
            }
            Signal::Refused(refusal) => {
                let is_token = refusal.code == 401 && self.forget_token();
                if self.started.is_some() || (!is_token && !refusal.retry) {
                    return Err(End::Final(Error::Refused(refusal)));
                }
                return Err(End::Lost(refusal.message, refusal.after));
            }
        }
        Ok(())
    }

    /// What the server's close code means.
    fn closed(&mut self, life: &Life, code: u16, reason: String) -> End {
        let why = format!("the server closed with {code} {reason}");
        match code {
            4001 if self.forget_token() => End::Lost(why, None),
            1000 | 1002 | 1003 | 1007..=1010 | 4001 | 4003 => End::Final(Error::Closed(why)),
            4029 => End::Lost(why, Some(self.backoff.long(self.random.fraction()))),
            _ => life.lost(why),
        }
    }

    /// The token will do no longer; whether there may be another.
    fn forget_token(&mut self) -> bool {
        self.token = None;
        matches!(self.options.token, Token::Get(_))
    }

    /// A new token is due when four fifths of the time are over.
    fn plan_refresh(&self, life: &mut Life, expires_us: Option<u64>) {
        let (server_us, at) = life.server_time;
        let Some(left_us) = expires_us.and_then(|expires| expires.checked_sub(server_us)) else { return };
        if matches!(self.options.token, Token::Get(_)) {
            let left = Duration::from_micros(left_us).saturating_sub(at.elapsed());
            life.refresh_at = Some(Instant::now() + left.mul_f64(0.8));
        }
    }

    fn tick(&mut self, life: &mut Life) -> Result<(), End> {
        let now = Instant::now();
        self.core.tick(now);
        if life.opened.is_none() && now >= life.opening_until {
            return Err(End::Lost("no session in time".to_owned(), None));
        }
        if life.refresh_at.take_if(|at| *at <= now).is_some()
            && let Token::Get(get) = &self.options.token
        {
            life.refreshing = Some(get());
        }
        let Some(heartbeat) = life.heartbeat else { return Ok(()) };
        if now >= life.heard + heartbeat.mul_f64(2.5) {
            return Err(life.lost("the server is silent".to_owned()));
        }
        if now >= life.heard + heartbeat.mul_f64(1.2) && !life.has_asked {
            life.has_asked = true;
            self.core.ping();
        }
        Ok(())
    }
}

impl Life {
    fn begin(&mut self, session: &Session) {
        let now = Instant::now();
        (self.opened, self.server_time) = (Some(now), (session.time, now));
        self.heartbeat = session.heartbeat_ms.filter(|ms| *ms > 0).map(Duration::from_millis);
    }

    fn lost(&self, why: String) -> End {
        End::Lost(why, self.comes_back_after)
    }

    /// When there is something to look at although nothing comes.
    fn deadline(&self) -> Option<Instant> {
        let opening = self.opened.is_none().then_some(self.opening_until);
        let factor = if self.has_asked { 2.5 } else { 1.2 };
        let silence = self.heartbeat.map(|heartbeat| self.heard + heartbeat.mul_f64(factor));
        [opening, silence, self.refresh_at].into_iter().flatten().min()
    }
}

/// Gets a token, connects, and makes the opening handshake.
async fn open(url: Url, options: Options, known: Option<String>) -> Result<(Wire, Option<String>), End> {
    let lost = |error: io::Error| End::Lost(format!("{url}: {error}"), None);
    let token = match (&options.token, known) {
        (Token::None, _) => None,
        (Token::Fixed(token), _) => Some(token.clone()),
        (Token::Get(_), Some(known)) => Some(known),
        (Token::Get(get), None) => Some(get().await.map_err(|why| End::Lost(format!("no token: {why}"), None))?),
    };
    let stream: Box<dyn Stream> = match &options.connector {
        Some(connector) => connector(&url).await.map_err(lost)?,
        None if url.is_secure() => return Err(End::Final(Error::NoTls)),
        None => {
            let stream = TcpStream::connect((url.host(), url.port())).await.map_err(lost)?;
            stream.set_nodelay(true).map_err(lost)?;
            Box::new(stream)
        }
    };
    let subprotocol = if options.binary { BINARY } else { JSON };
    let wire = Wire::open(stream, &url, subprotocol, options.message_bytes_max).await.map_err(lost)?;
    Ok((wire, token))
}

/// Says good bye, as far as it goes out in a moment.
async fn farewell(wire: &mut Wire, code: CloseCode) {
    wire.close(code);
    let out = async { while wire.output_bytes() > 0 && wire.progress(false).await.is_ok() {} };
    let _ = timeout(FAREWELL, out).await;
}

/// Waits for room; or for the end of who has none, which is found out then.
async fn room(full: Option<&mpsc::Sender<crate::event::Event>>) {
    if let Some(full) = full {
        let _ = full.reserve().await;
    }
}

async fn refreshed(refreshing: &mut Option<TokenFuture>) -> Result<String, String> {
    match refreshing {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
