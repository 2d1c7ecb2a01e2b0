//! Server-Sent Events (the HTML standard, §9.2): `GET /sse/<topic>`, for `EventSource`, curl and whatever reads lines.
//!
//! The entries come from the topic's [`SSE`] lane, as everybody's come from theirs: each is a ready chunk of the response,
//! with the place behind it as its id. A browser that has lost its connection comes again by itself, with the last id in
//! `Last-Event-ID`, and is served from there on. What stands in front of the entries is one event that says where they
//! begin.
//!
//! A comment every 15 seconds keeps proxies from cutting a stream that is silent.

use std::collections::VecDeque;
use std::time::Duration;

use ringwire_codec::CloseCode;
use ringwire_codec::http::Request;
use ringwire_engine::{ConnectionId, Context, Peer, Response, SendError};
use ringwire_hub::{Begin, Start, Subscribed, Topic, TopicName, Wanted};
use ringwire_ring::Instant;

use super::Service;
use super::session::Role;
use crate::broker::Mail;
use crate::lanes::SSE;
use crate::native::epoch::{Epoch, Position};
use crate::native::reply::{self, State};

/// Time between two comments of a stream; below the 60 seconds after which common proxies cut idle connections.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A line that begins with a colon is a comment.
const COMMENT: &[u8] = b":\n\n";

/// When which stream gets its next comment. All have the same interval, so the order in which they were opened is the
/// order in which they are due. A stream that ends keeps its place until that is due.
#[derive(Debug, Default)]
pub(super) struct Heartbeats(VecDeque<(Instant, ConnectionId)>);

impl Heartbeats {
    fn begin(&mut self, cx: &mut Context<'_, Mail>, connection: ConnectionId) {
        let at = cx.now() + HEARTBEAT;
        self.0.push_back((at, connection));
        cx.tick_at(at);
    }

    /// Sends the comments that are due.
    pub(super) fn beat(&mut self, cx: &mut Context<'_, Mail>) {
        let now = cx.now();
        while let Some(&(_, connection)) = self.0.front().filter(|(at, _)| *at <= now) {
            self.0.pop_front();
            match cx.send_chunk(connection, COMMENT) {
                // One that has enough to read needs none.
                Ok(()) | Err(SendError::Full) => self.0.push_back((now + HEARTBEAT, connection)),
                Err(SendError::Gone | SendError::Closing) => {}
            }
        }
        if let Some((at, _)) = self.0.front() {
            cx.tick_at(*at);
        }
    }
}

impl Service {
    /// Lets in who asks for the events of a topic. The head of the stream, or why there is none.
    pub(super) fn events(
        &mut self,
        cx: &mut Context<'_, Mail>,
        connection: ConnectionId,
        name: &TopicName,
        peer: &Peer,
        request: &Request<'_>,
    ) -> Result<Response, Response> {
        let start = start(request)?;
        let now_us = cx.wall_clock_us();
        let grant = self.grant(request, now_us)?;
        let pass = self.admit_subscriber(grant, peer, std::slice::from_ref(name), now_us)?;
        let topic = self.open(name)?;
        self.sessions.insert(connection, Role::Events(Box::new((topic, start))));
        self.passes.insert(connection, pass);
        self.passes.await_expiry(cx);
        // Proxies that gather what they pass on are asked not to (nginx has a name for that).
        let head = Response::new(200, "text/event-stream", &b""[..]);
        Ok(head.header("Cache-Control", "no-store").header("X-Accel-Buffering", "no"))
    }

    /// Such a stream is open.
    pub(super) fn events_opened(&mut self, cx: &mut Context<'_, Mail>, connection: ConnectionId) {
        let Some(session) = self.sessions.get_mut(connection) else { return };
        let Role::Events(events) = std::mem::replace(&mut session.role, Role::Subscriber(0)) else { return };
        let (topic, start) = *events;
        let wanted = Wanted { start, ..self.broker.rules.rule_for(topic.name()).wanted(SSE) };
        match self.fanout.subscribe_to(session.subscriber(), &topic, &wanted) {
            Ok(subscribed) => {
                session.role = Role::Subscriber(1);
                self.broker.count_subscribed(1);
                let _ = cx.send_chunk(connection, &beginning(&topic, &subscribed));
                if subscribed.is_ready {
                    cx.ready(connection);
                }
                self.heartbeats.begin(cx, connection);
            }
            // The head is out. Who comes again is told more, or served.
            Err(error) => cx.close(connection, CloseCode::TRY_AGAIN_LATER, &error.to_string()),
        }
    }
}

/// Where a stream is to begin: behind the event that the client had last, as a browser says by itself that comes again; else
/// where the address says.
fn start(request: &Request<'_>) -> Result<Start, Response> {
    let after = |position: Position| Start::After { epoch: position.epoch.0, seq: position.seq };
    if let Some(id) = request.header("Last-Event-ID").filter(|id| !id.is_empty()) {
        // A browser cannot do better than to say it: an id of another server's is a place that is lost.
        return Ok(id.parse().map_or(Start::After { epoch: 0, seq: u64::MAX }, after));
    }
    match request.query_param("since").as_deref() {
        None | Some("") => Ok(Start::Head),
        Some(since) => since.parse().map(after).map_err(|_| {
            let words = "since is the id of an event, as in /sse/<topic>?since=k3f9-1001; without it, the stream begins \
                         with what comes next\n";
            Response::text(400, words)
        }),
    }
}

/// The event that says where a stream begins. It has an id, so that who loses it at once misses nothing either; unless a
/// snapshot is still to come.
fn beginning(topic: &Topic, subscribed: &Subscribed) -> Vec<u8> {
    let keyed = topic.options().is_keyed();
    let epoch = Epoch(topic.options().epoch);
    let state = match subscribed.begin {
        Begin::New => State::New,
        Begin::Resumed => State::Resumed,
        Begin::Reset => State::Reset,
    };
    let begins = reply::Subscribed {
        topic: topic.name().as_str(),
        id: topic.id().index() as u32,
        epoch,
        seq: subscribed.seq,
        head: subscribed.head,
        keyed,
    };
    let mut event = Vec::with_capacity(256);
    if !keyed || subscribed.begin == Begin::Resumed {
        event.extend_from_slice(format!("id: {}\n", Position { epoch, seq: subscribed.seq }).as_bytes());
    }
    event.extend_from_slice(b"event: subscribed\ndata: {\"type\":\"subscribed\",");
    let mut members = Vec::with_capacity(128);
    begins.write(&mut members, state);
    event.extend_from_slice(&members[1..]);
    event.extend_from_slice(b"\n\n");
    event
}
