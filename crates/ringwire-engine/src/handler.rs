//! What an application implements, and what the engine asks of it.

use std::net::SocketAddr;
use std::sync::Arc;

use ringwire_codec::handshake::Policy;
use ringwire_codec::http::Request;
use ringwire_codec::{CloseCode, Message, Violation};
use ringwire_ring::Shared;

use crate::answer::Answer;
use crate::context::Context;
use crate::slab::ConnectionId;
use crate::tls::{TlsError, TlsFacts};

/// The application on one shard. Plain `&mut self`: a shard is one thread, and nothing here is shared.
///
/// For each connection the order is `on_upgrade`, `on_open`, any of the others, `on_close`. A connection that was
/// accepted by `on_upgrade` always gets its `on_close`, even if it breaks before `on_open`. So does one whose request
/// `on_http` answers with a [stream](Answer::Stream), or [later](Answer::Later) if it ends before the answer.
pub trait Handler {
    /// What other shards and threads may post to this one.
    type Mail: Send + 'static;

    /// What the service that this request is for agrees to: subprotocols, pages, an extension. Asked before the
    /// request is judged; without it, any page may connect, and nothing else is agreed on.
    fn policy(&mut self, _peer: &Peer, _request: &Request<'_>) -> Arc<Policy> {
        Arc::new(Policy::default())
    }

    /// A peer asks for a WebSocket. The request has passed the opening handshake's rules (RFC 6455 §4.2.1) and the
    /// [`policy`](Self::policy).
    fn on_upgrade(
        &mut self,
        cx: &mut Context<'_, Self::Mail>,
        connection: ConnectionId,
        opening: &Opening<'_>,
    ) -> Upgrade;

    /// The opening handshake is done, or a stream's head is written: messages, or chunks, may be sent.
    fn on_open(&mut self, _cx: &mut Context<'_, Self::Mail>, _connection: ConnectionId) {}

    /// A whole message has come in. It may be changed in place.
    fn on_message(&mut self, cx: &mut Context<'_, Self::Mail>, connection: ConnectionId, message: Message<'_>);

    /// A pong has come in.
    fn on_pong(&mut self, _cx: &mut Context<'_, Self::Mail>, _connection: ConnectionId, _payload: &[u8]) {}

    /// What waited for the peer to read has gone out; [`Context::send`] takes messages again.
    fn on_drained(&mut self, _cx: &mut Context<'_, Self::Mail>, _connection: ConnectionId) {}

    /// The connection has ended. Called once; the id names nothing afterwards.
    fn on_close(&mut self, _cx: &mut Context<'_, Self::Mail>, _connection: ConnectionId, _reason: &CloseReason) {}

    /// An HTTP request that asks for no WebSocket, with its whole body. A connection has one at a time.
    fn on_http(
        &mut self,
        _cx: &mut Context<'_, Self::Mail>,
        _connection: ConnectionId,
        _peer: &Peer,
        _request: &Request<'_>,
        _body: &mut [u8],
    ) -> Answer {
        Response::text(404, "this port serves WebSocket only\n").into()
    }

    /// Mail from another shard or thread.
    fn on_mail(&mut self, _cx: &mut Context<'_, Self::Mail>, _mail: Self::Mail) {}

    /// The instant asked for with [`Context::tick_at`] has come.
    fn on_tick(&mut self, _cx: &mut Context<'_, Self::Mail>) {}

    /// The turn's completions, mail and ticks have been handled; what follows is [`poll_transmit`](Self::poll_transmit)
    /// for each connection that is ready. The place to act once on what came many times.
    fn on_turn_end(&mut self, _cx: &mut Context<'_, Self::Mail>) {}

    /// The connection can take data and was [made ready](Context::ready), or has room again. Whatever is put in
    /// `out` goes out at once, behind the replies that wait. A call that [closes](Context::close) puts nothing out.
    fn poll_transmit(&mut self, _cx: &mut Context<'_, Self::Mail>, _connection: ConnectionId, _out: &mut Transmit) {}

    /// Of what the last `poll_transmit` of this connection put out, the last `unsent` bytes did not fit. Returns how
    /// many of these must still be sent to end on a frame boundary: the engine keeps those, the rest is the
    /// handler's again and will be asked for by the next `poll_transmit`.
    fn on_short(&mut self, _connection: ConnectionId, unsent: usize) -> usize {
        unsent
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Which of [`EngineOptions::listen`](crate::EngineOptions::listen) it came in on.
    pub listener: usize,
    /// Where the client is: the peer itself, or whom a [trusted](crate::ListenerOptions::proxies) proxy names. The port
    /// is 0 where the proxy names none. `None` where the kernel does not say (before 6.7).
    pub address: Option<SocketAddr>,
    /// The trusted proxy that named it, if one did.
    pub proxy: Option<SocketAddr>,
    /// How its connection is encrypted, if it is.
    pub tls: Option<TlsFacts>,
    /// Whether the client's own connection is encrypted: this one, or, behind a trusted proxy, the one that it names in
    /// `X-Forwarded-Proto`. `None` if the proxy names none.
    pub encrypted: Option<bool>,
}

/// An opening handshake that a handler may accept or reject.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// The request: path, query, headers.
    pub request: &'a Request<'a>,
    /// Who asks.
    pub peer: &'a Peer,
    /// The subprotocol agreed on, the first of the policy's that the client offers.
    pub subprotocol: Option<&'a str>,
}

/// The answer to a request for a WebSocket.
#[derive(Debug)]
pub enum Upgrade {
    /// Go ahead.
    Accept(Accept),
    /// Answer with this instead, and close.
    Reject(Response),
}

/// How a WebSocket is accepted.
#[derive(Debug, Default)]
pub struct Accept {
    /// Further headers of the response.
    pub headers: Vec<(&'static str, String)>,
}

impl From<Accept> for Upgrade {
    fn from(accept: Accept) -> Self {
        Upgrade::Accept(accept)
    }
}

impl From<Response> for Upgrade {
    fn from(response: Response) -> Self {
        Upgrade::Reject(response)
    }
}

/// An HTTP response. The engine adds `Content-Length`, `Connection` and what else the protocol wants.
#[derive(Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Headers, `Content-Type` among them.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: Body,
}

/// Body of a response.
pub type Body = std::borrow::Cow<'static, [u8]>;

impl Response {
    /// A plain text response.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body.into().into_bytes())
    }

    /// A JSON response.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status, "application/json", body.into())
    }

    /// A response with a body of this content type.
    pub fn new(status: u16, content_type: &str, body: impl Into<Body>) -> Self {
        Self { status, headers: vec![("Content-Type", content_type.to_owned())], body: body.into() }
    }

    /// The same with one header more.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// Where [`Handler::poll_transmit`] puts ranges of its logs.
#[derive(Debug, Default)]
pub struct Transmit {
    pieces: Vec<Shared>,
    bytes: usize,
    budget: usize,
}

impl Transmit {
    /// Bytes that may still be put out. The last piece may go over it, so that a frame longer than the budget
    /// still passes.
    pub fn budget(&self) -> usize {
        self.budget.saturating_sub(self.bytes)
    }

    /// Puts out a range of whole, ready frames, or chunks of a stream.
    pub fn shared(&mut self, frames: Shared) {
        self.bytes += frames.len();
        self.pieces.push(frames);
    }

    /// Empties it and sets the budget.
    pub(crate) fn reset(&mut self, budget: usize) {
        self.pieces.clear();
        self.bytes = 0;
        self.budget = budget;
    }

    /// Bytes put out.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What was put out.
    pub(crate) fn pieces(&mut self) -> &mut Vec<Shared> {
        &mut self.pieces
    }
}

/// How a connection ended. Data, not an error: every connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The closing handshake was done.
    Clean {
        /// Who closed first.
        by: Side,
        /// The code of the first close frame; none if it had no body.
        code: Option<CloseCode>,
    },
    /// The peer broke a rule of the protocol; it was told so.
    Violation(Violation),
    /// The peer finished its stream without a closing handshake.
    EndOfStream,
    /// TLS failed after it had been established; the peer was told so, if it could be.
    Tls(TlsError),
    /// The connection broke: the kernel's error.
    Broken(std::io::ErrorKind),
    /// A deadline passed. The end of idle time or of a lifetime is a [clean](Self::Clean) close by this side.
    TimedOut(Timeout),
    /// The peer sent more control frames than [`Limits`](crate::Limits) lets it; it was told so.
    Flood,
    /// The server let it go to stay within its memory.
    Shed,
}

/// One side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This side.
    Local,
    /// The peer.
    Remote,
}

/// Which deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// The opening handshake, or a whole HTTP request, took too long.
    Handshake,
    /// The handler took too long to answer an HTTP request.
    Answer,
    /// The peer gave no sign of life after a ping.
    Pong,
    /// The peer did not answer the close frame, or did not take it.
    Close,
    /// The drain's deadline came first.
    Drain,
}
