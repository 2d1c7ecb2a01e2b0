//! How HTTP requests are answered: at once, later, or with a stream.
//!
//! An answer that takes time holds its connection up: what comes behind the request is held, and its receive goes on only
//! so that a reset is noticed. A stream is a response whose body is pulled from the handler, as a WebSocket's frames are:
//! the engine writes the head and the last chunk, and what is pulled goes out unchanged.
//!
//! What handlers say of a connection while they are called about another takes effect at the end of the turn: answers
//! given and streams ended are *settled* there, before the turn transmits.

use ringwire_codec::http::{Request, Version};
use ringwire_ring::Driver;

use crate::connection::{Life, Protocol};
use crate::context::{Context, Core, SendError};
use crate::handler::{CloseReason, Handler, Peer, Response, Side, Timeout};
use crate::http::{self, Framing};
use crate::shard::Shard;
use crate::slab::ConnectionId;
use crate::teardown::Leave;

/// The answer to an HTTP request.
#[derive(Debug)]
pub enum Answer {
    /// This, at once.
    Now(Response),
    /// It takes time: [`Context::respond`] gives it in a later call, within [`Timeouts::answer`](crate::Timeouts::answer);
    /// after that the peer gets 504. Until then no further request of the connection is looked at. If the connection
    /// ends first, [`Handler::on_close`] says so, and is the last call about the request. A peer that has only shut its
    /// side of the stream still gets its answer, and one that has sent more behind its request is not read from, so that
    /// its leaving is noticed no earlier than the answer.
    Later,
    /// This head at once, without a length, and then a body without end: as a WebSocket, the connection gets `on_open`,
    /// `poll_transmit`, `on_short`, `on_drained` and `on_close`. It ends with [`Context::end_stream`], with the peer's end of
    /// stream, or with a deadline of a WebSocket's; it is not pinged, and what the peer sends is dropped.
    ///
    /// What is put in [`Transmit`](crate::Transmit) goes out unchanged, so it must be whole chunks as RFC 9112 §7.1 has
    /// them; [`Context::send_chunk`] makes one. A body that the response has is the first chunk.
    ///
    /// HTTP/1.0 knows no chunks and gets 505; HEAD gets the head only; a server that drains answers 503. Then the
    /// connection gets its `on_close` without `on_open`.
    Stream(Response),
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Answer::Now(response)
    }
}

/// What follows an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Perhaps another request.
    Request,
    /// The end of the connection.
    Leave(Leave),
}

/// What of a request its answer depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    keep_alive: bool,
    head_only: bool,
    version: Version,
}

/// A request whose answer takes time.
#[derive(Debug)]
pub(crate) struct Awaited {
    asked: Asked,
    /// What the handler has answered in this turn.
    answer: Option<Response>,
}

/// The chunk that ends a body (RFC 9112 §7.1).
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// How a stream ends from this side.
const ENDED: CloseReason = CloseReason::Clean { by: Side::Local, code: None };

impl<M> Context<'_, M> {
    /// Answers the request of this connection that was to be answered [later](Answer::Later). It goes out at the end of
    /// the turn.
    ///
    /// # Errors
    /// [`SendError::Gone`]: the connection has ended, or no request of it waits for an answer.
    pub fn respond(&mut self, connection: ConnectionId, response: Response) -> Result<(), SendError> {
        let found = self.core.live(connection).ok_or(SendError::Gone)?;
        let Protocol::Http(state) = &mut found.protocol else { return Err(SendError::Gone) };
        let awaited = state.awaited.as_mut().filter(|awaited| awaited.answer.is_none()).ok_or(SendError::Gone)?;
        awaited.answer = Some(response);
        self.core.settled.push(connection);
        Ok(())
    }

    /// Sends these bytes as one chunk of a [stream](Answer::Stream), in front of what is pulled at the end of the turn.
    /// No bytes are no chunk.
    ///
    /// # Errors
    /// As [`send`](Self::send) has them; [`SendError::Closing`] also for a connection that is no stream.
    pub fn send_chunk(&mut self, connection: ConnectionId, bytes: &[u8]) -> Result<(), SendError> {
        let backlog_bytes_max = self.core.options.limits.backlog_bytes_max;
        let stamp = self.core.stamp;
        let found = self.core.live(connection).ok_or(SendError::Gone)?;
        if !matches!(found.protocol, Protocol::Stream { open: true }) {
            return Err(SendError::Closing);
        }
        if found.waiting_bytes() + found.staged.len() > backlog_bytes_max {
            return Err(SendError::Full);
        }
        found.session.message = stamp;
        self.stage_chunk(connection.slot, bytes);
        Ok(())
    }

    /// Ends a [stream](Answer::Stream): what was sent before still goes out, then the last chunk; nothing more is pulled.
    /// Any other connection is left as it is.
    pub fn end_stream(&mut self, connection: ConnectionId) {
        if self.core.live(connection).is_some() && self.end_chunks(connection.slot) {
            self.core.settled.push(connection);
        }
    }

    fn stage_chunk(&mut self, slot: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.stage(slot, &[format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"]);
        }
    }

    /// Stages the last chunk of a stream. `false`: it is no stream, or has it already.
    fn end_chunks(&mut self, slot: u32) -> bool {
        let Protocol::Stream { open } = &mut self.core.slab.at(slot).protocol else { return false };
        let was_open = std::mem::take(open);
        if was_open {
            self.stage(slot, &[LAST_CHUNK]);
        }
        was_open
    }
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Has a request answered.
    pub(crate) fn on_whole_request(&mut self, slot: u32, request: &Request<'_>, body: &mut [u8]) {
        let id = self.core.slab.id(slot);
        let peer = self.peer(slot, request);
        let head_only = request.method() == "HEAD";
        let asked = Asked { keep_alive: request.keep_alive(), head_only, version: request.version() };
        match self.with_handler(|handler, cx| handler.on_http(cx, id, &peer, request, body)) {
            Answer::Now(response) => self.answer(slot, response, asked),
            Answer::Later => self.await_answer(slot, asked),
            Answer::Stream(response) => self.stream(slot, &response, asked, &peer),
        }
    }

    fn answer(&mut self, slot: u32, response: Response, asked: Asked) {
        let connection = self.core.slab.at(slot);
        let waiting_bytes = connection.waiting_bytes() + connection.staged.len();
        let overrun = waiting_bytes >= self.core.options.limits.backlog_high_bytes;
        let then = match (asked.keep_alive, overrun || self.ending.is_some()) {
            (true, false) => Then::Request,
            (true, true) => Then::Leave(Leave::Linger),
            (false, _) => Then::Leave(Leave::Close),
        };
        self.respond(slot, response, then, asked.head_only);
    }

    /// Answers a request, and ends the connection behind the answer if no other may follow.
    pub(crate) fn respond(&mut self, slot: u32, response: Response, then: Then, head_only: bool) {
        self.write(slot, &response, then, head_only);
        if let Then::Leave(leave) = then {
            self.finish_slot(slot, &CloseReason::EndOfStream, leave);
        }
    }

    fn write(&mut self, slot: u32, response: &Response, then: Then, head_only: bool) {
        let head = self.head(response, Framing::Length, then == Then::Request);
        let body: &[u8] = if head_only || !http::has_body(response.status) { &[] } else { &response.body };
        self.with_handler(|_, cx| cx.stage(slot, &[&head, body]));
    }

    fn head(&mut self, response: &Response, framing: Framing, keep_alive: bool) -> Vec<u8> {
        let mut head = Vec::with_capacity(256);
        let date = self.date.at(self.core.now, || self.driver.wall_clock_us());
        http::write_head(response, framing, keep_alive, date, &mut head);
        head
    }

    fn await_answer(&mut self, slot: u32, asked: Asked) {
        self.http_state(slot).awaited = Some(Awaited { asked, answer: None });
        self.core.slab.at(slot).flags.opened = true;
        let timeout = self.core.timeouts(slot).answer;
        self.core.set_deadline(slot, timeout);
    }

    /// The time for an answer has passed. What the handler says to it from now on is for nobody, so no request may follow.
    pub(crate) fn on_answer_late(&mut self, slot: u32) {
        let Some(awaited) = &self.http_state(slot).awaited else { return };
        if awaited.answer.is_some() {
            return;
        }
        let head_only = awaited.asked.head_only;
        let response = Response::text(504, "the server took too long to answer; try again later\n");
        self.write(slot, &response, Then::Leave(Leave::Linger), head_only);
        self.finish_slot(slot, &CloseReason::TimedOut(Timeout::Answer), Leave::Linger);
    }

    /// Answers a request with a stream, if that can be.
    fn stream(&mut self, slot: u32, response: &Response, asked: Asked, peer: &Peer) {
        self.core.slab.at(slot).flags.opened = true;
        let leave = Then::Leave(Leave::Linger);
        if asked.version == Version::Http10 {
            let words = "this is a stream, which HTTP/1.0 cannot carry: use HTTP/1.1\n";
            return self.respond(slot, Response::text(505, words), leave, asked.head_only);
        }
        if self.ending.is_some() {
            return self.respond(slot, Response::text(503, "the server is going away\n"), leave, asked.head_only);
        }
        if !self.admit_client(slot, peer) {
            return;
        }
        let head = self.head(response, Framing::Chunked, false);
        if asked.head_only || !http::has_body(response.status) {
            self.with_handler(|_, cx| cx.stage(slot, &[&head]));
            return self.finish_slot(slot, &ENDED, Leave::Close);
        }
        self.core.slab.at(slot).protocol = Protocol::Stream { open: true };
        self.core.handshake_over(slot);
        self.start_session(slot);
        let id = self.core.slab.id(slot);
        self.with_handler(|handler, cx| {
            cx.stage(slot, &[&head]);
            cx.stage_chunk(slot, &response.body);
            handler.on_open(cx, id);
        });
    }

    /// This side has had enough of a stream: ends it, with its last chunk if that is still to come.
    pub(crate) fn close_stream(&mut self, slot: u32) {
        self.with_handler(|_, cx| cx.end_chunks(slot));
        self.finish_slot(slot, &ENDED, Leave::Close);
    }

    /// The peer of a served connection has shut its side: what it asked for still goes out.
    pub(crate) fn on_peer_done(&mut self, slot: u32) {
        if self.core.awaits_answer(slot) {
            // Whoever goes on behind the answer finds the end again.
            self.core.slab.at(slot).flags.paused = true;
            return;
        }
        self.with_handler(|_, cx| cx.end_chunks(slot));
        self.finish_slot(slot, &CloseReason::EndOfStream, Leave::Close);
    }

    /// Gives the answers that handlers have given, and ends the streams that they have ended.
    pub(crate) fn settle(&mut self) {
        let mut settled = std::mem::take(&mut self.core.settled);
        for id in settled.drain(..) {
            let Some(connection) = self.core.live(id) else { continue };
            match &mut connection.protocol {
                Protocol::Stream { .. } => self.close_stream(id.slot),
                Protocol::Http(state) => {
                    let Some(Awaited { asked, answer: Some(response) }) = state.awaited.take() else { continue };
                    connection.flags.opened = false;
                    self.answer(id.slot, response, asked);
                    self.await_request(id.slot);
                }
                Protocol::WebSocket { .. } => {}
            }
        }
        if self.core.settled.is_empty() {
            self.core.settled = settled;
        }
    }

    /// Goes on with a connection whose answer has been given, in the next turn if something is held.
    fn await_request(&mut self, slot: u32) {
        let connection = self.core.slab.at(slot);
        if connection.life != Life::Live {
            return;
        }
        if connection.flags.paused {
            self.core.pace.defer(slot);
        }
        let timeout = self.core.timeouts(slot).keep_alive;
        self.core.set_deadline(slot, timeout);
    }
}

impl<M> Core<M> {
    /// Whether the connection's last request has not been answered yet.
    pub(crate) fn awaits_answer(&mut self, slot: u32) -> bool {
        matches!(&self.slab.at(slot).protocol, Protocol::Http(state) if state.awaited.is_some())
    }
}
