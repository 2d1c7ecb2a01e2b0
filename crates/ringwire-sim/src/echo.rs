//! The handler under test that echoes, and checks that the engine keeps its promises to handlers.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use ringwire_codec::http::Request;
use ringwire_codec::{CloseCode, Message};
use ringwire_engine::{
    Accept, Answer, CloseReason, ConnectionId, Context, Handler, MessageKind, Opening, Peer, Response, SendError,
    Timeout, Upgrade,
};
use ringwire_ring::Instant;

use crate::client::{ASK, Log, OVERFLOW, answer};

/// Sends every message back, and answers HTTP requests at once or later.
pub(crate) struct Echo {
    open: Connections,
    /// What is to be answered when.
    waiting: Vec<(Instant, ConnectionId, Response)>,
    /// Payload of the ping sent to each connection.
    pings: BTreeMap<usize, u8>,
    log: Log,
    rng: Rng,
}

impl Echo {
    pub(crate) fn new(log: Log, rng: Rng) -> Self {
        Self { open: Connections::default(), waiting: Vec::new(), pings: BTreeMap::new(), log, rng }
    }

    pub(crate) fn assert_nothing_left(&self) {
        self.open.assert_nothing_left();
    }
}

/// Connections as a handler is told of them: each opens once and closes once, and nothing comes in between.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    by_slot: BTreeMap<usize, (ConnectionId, bool)>,
}

impl Connections {
    pub(crate) fn upgraded(&mut self, id: ConnectionId) {
        let before = self.by_slot.insert(id.slot(), (id, false));
        assert_eq!(before, None, "a slot has one connection at a time");
    }

    pub(crate) fn opened(&mut self, id: ConnectionId) {
        let entry = self.by_slot.get_mut(&id.slot()).expect("an upgrade comes first");
        assert_eq!(*entry, (id, false), "a connection opens once");
        entry.1 = true;
    }

    pub(crate) fn assert_open(&self, id: ConnectionId) {
        assert_eq!(self.by_slot.get(&id.slot()), Some(&(id, true)), "only open connections are heard of");
    }

    pub(crate) fn closed(&mut self, id: ConnectionId) {
        let (known, _) = self.by_slot.remove(&id.slot()).expect("a connection closes once");
        assert_eq!(known, id, "the connection that closes is the one that opened");
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = ConnectionId> {
        self.by_slot.values().filter(|(_, open)| *open).map(|(id, _)| *id)
    }

    pub(crate) fn assert_nothing_left(&self) {
        assert!(self.by_slot.is_empty(), "every connection gets its on_close: {self:?}");
    }
}

/// Counts how a connection ended.
pub(crate) fn count_close(log: &Log, reason: &CloseReason) {
    log.count(match reason {
        CloseReason::Clean { .. } => "on_close: clean",
        CloseReason::Violation(_) => "on_close: violation",
        CloseReason::EndOfStream => "on_close: end of stream",
        CloseReason::Broken(_) => "on_close: broken",
        CloseReason::TimedOut(Timeout::Pong) => "on_close: no pong",
        CloseReason::TimedOut(Timeout::Answer) => "on_close: no answer",
        CloseReason::TimedOut(_) => "on_close: timed out",
        CloseReason::Flood => "on_close: flood",
        CloseReason::Shed => "on_close: shed",
        CloseReason::Tls(_) => "on_close: TLS failed",
    });
}

impl Handler for Echo {
    type Mail = ();

    fn on_upgrade(&mut self, _: &mut Context<'_, ()>, id: ConnectionId, opening: &Opening<'_>) -> Upgrade {
        assert_eq!(opening.request.path(), "/echo");
        self.open.upgraded(id);
        Accept::default().into()
    }

    fn on_open(&mut self, cx: &mut Context<'_, ()>, id: ConnectionId) {
        self.open.opened(id);
        if self.rng.u32(0..4) == 0 {
            let payload = self.rng.u8(..);
            self.pings.insert(id.slot(), payload);
            cx.ping(id, &[payload]).expect("open");
        }
    }

    fn on_message(&mut self, cx: &mut Context<'_, ()>, id: ConnectionId, message: Message<'_>) {
        self.open.assert_open(id);
        let kind = if message.is_text() { MessageKind::Text } else { MessageKind::Binary };
        let asked = std::str::from_utf8(message.bytes()).ok().and_then(|text| text.strip_prefix(ASK));
        if let (MessageKind::Text, Some(code)) = (kind, asked) {
            return cx.close(id, CloseCode::new(code.parse().expect("a code")), "as you wish");
        }
        self.log.count("messages");
        match cx.send_back(id, message) {
            Ok(()) => {}
            Err(SendError::Full) => cx.close(id, CloseCode::new(OVERFLOW), "you read too little"),
            Err(error) => panic!("a message of a connection to which nothing can be sent: {error}"),
        }
    }

    fn on_pong(&mut self, _: &mut Context<'_, ()>, id: ConnectionId, payload: &[u8]) {
        self.open.assert_open(id);
        // A pong that nobody asked for may come as well.
        if self.pings.get(&id.slot()).is_some_and(|ping| payload == [*ping]) {
            self.log.count("pongs for the handler's pings");
        }
    }

    fn on_drained(&mut self, _: &mut Context<'_, ()>, id: ConnectionId) {
        self.open.assert_open(id);
        self.log.count("on_drained");
    }

    fn on_close(&mut self, cx: &mut Context<'_, ()>, id: ConnectionId, reason: &CloseReason) {
        self.open.closed(id);
        self.pings.remove(&id.slot());
        self.waiting.retain(|&(_, waiting, _)| waiting != id);
        count_close(&self.log, reason);
        assert!(cx.send_text(id, "too late").is_err(), "nothing is sent to a connection that has ended");
    }

    fn on_http(
        &mut self,
        cx: &mut Context<'_, ()>,
        id: ConnectionId,
        _: &Peer,
        request: &Request<'_>,
        body: &mut [u8],
    ) -> Answer {
        self.log.count("HTTP requests");
        let response = Response::text(200, answer(request.method(), request.path(), body));
        if self.rng.bool() {
            return response.into();
        }
        // Some take longer than the engine waits.
        let millis = if self.rng.u32(0..8) == 0 { self.rng.u64(0..60_000) } else { self.rng.u64(0..100) };
        let at = cx.now() + Duration::from_millis(millis);
        self.open.upgraded(id);
        self.waiting.push((at, id, response));
        cx.tick_at(at);
        Answer::Later
    }

    fn on_tick(&mut self, cx: &mut Context<'_, ()>) {
        let now = cx.now();
        for (_, id, response) in self.waiting.extract_if(.., |&mut (at, _, _)| at <= now) {
            cx.respond(id, response).expect("who waits no longer has been heard of");
            self.open.closed(id);
            self.log.count("answers given later");
        }
        if let Some(next) = self.waiting.iter().map(|&(at, _, _)| at).min() {
            cx.tick_at(next);
        }
    }
}
