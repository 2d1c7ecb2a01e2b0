//! The server's [`Handler`]: one per shard.
//!
//! It holds the shard's side of the hub and what each connection came for. What flows:
//!
//! - A publish, from a connection here or over HTTP, appends to the topic's log. The shards that the topic must tell
//!   get a note: this one at the end of the turn, the others by mail.
//! - A note wakes, at the end of the turn, each subscriber here that has something pending: once for all publishes
//!   of the turn.
//! - The engine then pulls: whole frames, straight out of the log's segments, as much as the socket takes.
//!
//! What it must never do: queue anything per connection, or block.

mod admission;
mod agreements;
mod cors;
mod durable;
mod fanout;
mod http;
mod metrics;
mod native;
mod publish;
mod session;
mod sse;

use std::sync::Arc;

use ringwire_codec::handshake::Policy;
use ringwire_codec::http::Request;
use ringwire_codec::{CloseCode, Message};
use ringwire_engine::{
    Accept, Answer, CloseReason, ConnectionId, Context, Handler, Opening, Peer, Response, SendError, Transmit, Upgrade,
};
use ringwire_hub::{OpenError, PublishError, ShardId, Topic, TopicName};

use self::admission::{Pass, Passes, Unpublished};
use self::agreements::Agreements;
pub use self::agreements::{BINARY_SUBPROTOCOL, COMBINED_SUBPROTOCOL, JSON_SUBPROTOCOL, RAW_SUBPROTOCOL};
use self::durable::Durable;
use self::fanout::{Fanout, PullOutcome};
pub use self::native::MESSAGE_BYTES_MAX;
use self::native::{Client, Native};
pub use self::publish::BATCH_MAX;
use self::session::{Role, Sessions, Subscribing};
use self::sse::Heartbeats;
use crate::broker::{Broker, Mail, Refused};
use crate::lanes::{COMBINED, Payload, lane_for};
use crate::native::request::Parser;
use crate::options::NativeOptions;
use crate::routes::Route;

/// Close code of a subscriber that reads too slowly, where the policy is to disconnect it. It may come again.
pub const SLOW_CONSUMER: u16 = 4008;

/// The application on one shard.
#[derive(Debug)]
pub struct Service {
    broker: Arc<Broker>,
    fanout: Fanout,
    sessions: Sessions,
    passes: Passes,
    native: Native,
    heartbeats: Heartbeats,
    /// Reads batches.
    parser: Parser,
    agreements: Agreements,
    durable: Durable,
}

impl Service {
    /// The application on shard `shard`, whose connections have slots below `slots`. `common` is what all services
    /// agree to.
    pub fn new(broker: Arc<Broker>, shard: ShardId, slots: u32, native: NativeOptions, common: &Policy) -> Self {
        let (agreements, native) = (Agreements::new(common), Native::new(native));
        let fanout = Fanout::new(shard, slots, broker.deflate);
        let (sessions, passes, durable) = (Sessions::new(slots), Passes::default(), Durable::new(shard));
        let (heartbeats, parser) = (Heartbeats::default(), Parser::default());
        Self { broker, fanout, sessions, passes, native, heartbeats, parser, agreements, durable }
    }

    /// What a connection that asks for `route` is to do and as whom, or why it may not.
    fn role(&self, route: Route, opening: &Opening<'_>, now_us: u64) -> Result<(Role, Option<Pass>), Response> {
        let (request, peer) = (opening.request, opening.peer);
        match route {
            Route::Echo => Ok((Role::Echo, None)),
            Route::Connect => {
                let grant = self.grant(request, now_us)?;
                let form = agreements::form(opening.subprotocol);
                let number = self.broker.next_client();
                let client = Client::new(form, number, grant.clone(), &self.native.options, now_us);
                Ok((Role::Native(Box::new(client)), Some(self.admit_session(grant, peer, now_us)?)))
            }
            Route::Subscribe(name) => self.subscribing(agreements::lane(opening.subprotocol), opening, &[name], now_us),
            Route::Combined(names) => self.subscribing(COMBINED, opening, &names, now_us),
            Route::PublishSocket(name) => {
                let pass = self.admit_publisher(self.grant(request, now_us)?, peer, &name, now_us)?;
                Ok((Role::Publisher(self.open(&name)?), Some(pass)))
            }
            Route::Page
            | Route::Script
            | Route::Health
            | Route::Metrics
            | Route::Topics
            | Route::Events(_)
            | Route::PublishOnce(_)
            | Route::PublishBatch => Err(http::no_socket_here()),
        }
    }

    fn subscribing(
        &self,
        lane: ringwire_hub::LaneId,
        opening: &Opening<'_>,
        names: &[TopicName],
        now_us: u64,
    ) -> Result<(Role, Option<Pass>), Response> {
        let pass = self.admit_subscriber(self.grant(opening.request, now_us)?, opening.peer, names, now_us)?;
        let topics = names.iter().map(|name| self.open(name)).collect::<Result<_, _>>()?;
        Ok((Role::Subscribing(Box::new(Subscribing { lane, topics })), Some(pass)))
    }

    fn open(&self, name: &TopicName) -> Result<Arc<Topic>, Response> {
        self.broker.open(name).map_err(|error| {
            let OpenError::TooMany { .. } = error;
            Response::text(503, format!("{error}\n"))
        })
    }
}

impl Handler for Service {
    type Mail = Mail;

    fn policy(&mut self, _peer: &Peer, request: &Request<'_>) -> Arc<Policy> {
        Arc::clone(self.agreements.policy(request))
    }

    fn on_upgrade(&mut self, cx: &mut Context<'_, Mail>, connection: ConnectionId, opening: &Opening<'_>) -> Upgrade {
        let request = opening.request;
        let route = Route::parse(request.path(), request.query()).map_err(|fault| http::fault(&fault));
        match route.and_then(|route| self.role(route, opening, cx.wall_clock_us())) {
            Ok((role, pass)) => {
                self.sessions.insert(connection, role);
                if let Some(pass) = pass {
                    self.passes.insert(connection, pass);
                    self.passes.await_expiry(cx);
                }
                Accept::default().into()
            }
            Err(response) => response.into(),
        }
    }

    fn on_open(&mut self, cx: &mut Context<'_, Mail>, connection: ConnectionId) {
        let Some(session) = self.sessions.get_mut(connection) else { return };
        if matches!(session.role, Role::Events(_)) {
            return self.events_opened(cx, connection);
        }
        let subscriber = session.subscriber();
        if matches!(session.role, Role::Native(_)) {
            return self.native_opened(cx, connection);
        }
        let Some(wanted) = session.role.begin() else { return };
        let lane = lane_for(wanted.lane, cx.deflate(connection));
        match self.fanout.subscribe(subscriber, lane, &wanted.topics, &self.broker.rules) {
            Ok(is_ready) => {
                let count = u32::try_from(wanted.topics.len()).expect("a connection has at most STREAMS_MAX streams");
                session.role = Role::Subscriber(count);
                self.broker.count_subscribed(u64::from(count));
                if is_ready {
                    cx.ready(connection);
                }
            }
            Err(error) => cx.close(connection, CloseCode::TRY_AGAIN_LATER, &error.to_string()),
        }
    }

    fn on_message(&mut self, cx: &mut Context<'_, Mail>, connection: ConnectionId, message: Message<'_>) {
        let Some(session) = self.sessions.get_mut(connection) else { return };
        match &mut session.role {
            Role::Echo => echo(cx, connection, message),
            Role::Publisher(topic) => {
                let payload = match &message {
                    Message::Text(text) => Payload::Text(text.as_str()),
                    Message::Binary(bytes) => Payload::Binary(bytes),
                };
                if let Err(why) = self.passes.may_publish(connection, payload.len(), cx.wall_clock_us()) {
                    cx.close(connection, unpublished(why), &why.to_string());
                } else if let Err(refused) = self.fanout.publish(cx, &self.broker, topic, payload) {
                    cx.close(connection, close_code(refused), &refused.to_string());
                }
            }
            Role::Native(_) => self.native_message(cx, connection, &message),
            Role::Subscribing(_) | Role::Events(_) | Role::Subscriber(_) => cx.close(
                connection,
                CloseCode::POLICY_VIOLATION,
                "this connection only receives; publish at /pub/<topic> or POST /publish/<topic>",
            ),
        }
    }

    fn on_close(&mut self, cx: &mut Context<'_, Mail>, connection: ConnectionId, _reason: &CloseReason) {
        self.native_closed(cx, connection);
        self.passes.remove(connection);
        let Some(session) = self.sessions.remove(connection) else { return };
        if let Role::Subscriber(count) = session.role {
            self.fanout.unsubscribe(session.subscriber());
            self.broker.count_unsubscribed(u64::from(count));
        }
    }

    fn on_http(
        &mut self,
        cx: &mut Context<'_, Mail>,
        connection: ConnectionId,
        peer: &Peer,
        request: &Request<'_>,
        body: &mut [u8],
    ) -> Answer {
        let route = Route::parse(request.path(), request.query());
        let share = |response, service: &Self| cors::share(response, request, peer, service.agreements.origin());
        if let (Ok(Route::Events(name)), "GET" | "HEAD") = (&route, request.method()) {
            return match self.events(cx, connection, name, peer, request) {
                Ok(head) => Answer::Stream(share(head, self)),
                Err(response) => share(response, self).into(),
            };
        }
        let response = match route {
            Ok(route) => self.answer(cx, route, peer, request, body),
            Err(fault) => http::fault(&fault),
        };
        let response = share(response, self);
        self.durable.answer(self.broker.journal.as_deref(), connection, response)
    }

    fn on_mail(&mut self, cx: &mut Context<'_, Mail>, mail: Mail) {
        match mail {
            Mail::Note(topic) => self.fanout.note(topic),
            Mail::Opened(topic) => self.native_topic_opened(cx, topic),
            Mail::Durable => {
                self.durable.release(self.broker.journal.as_deref(), cx);
                self.native_durable(cx);
            }
            Mail::GoAway => self.native_go_away(cx),
        }
    }

    fn on_tick(&mut self, cx: &mut Context<'_, Mail>) {
        self.fanout.retry(cx);
        self.passes.end_expired(cx);
        self.native_tick(cx);
        self.heartbeats.beat(cx);
    }

    fn on_turn_end(&mut self, cx: &mut Context<'_, Mail>) {
        let mut slow = Vec::new();
        self.fanout.heed_notes(cx, |subscriber| slow.push(subscriber));
        for connection in slow.into_iter().filter_map(|subscriber| self.sessions.of_subscriber(subscriber)) {
            close_slow(cx, connection);
        }
    }

    fn poll_transmit(&mut self, cx: &mut Context<'_, Mail>, connection: ConnectionId, out: &mut Transmit) {
        let Some(session) = self.sessions.get_mut(connection) else { return };
        match self.fanout.pull(cx, session.subscriber(), out) {
            PullOutcome::All => {}
            PullOutcome::More => cx.ready(connection),
            PullOutcome::TooSlow => close_slow(cx, connection),
        }
    }

    fn on_short(&mut self, connection: ConnectionId, unsent: usize) -> usize {
        match self.sessions.get_mut(connection) {
            Some(session) => self.fanout.rewind(session.subscriber(), unsent),
            None => unsent,
        }
    }
}

/// Sends a message back. A peer that does not read what it asked for is let go.
fn echo(cx: &mut Context<'_, Mail>, connection: ConnectionId, message: Message<'_>) {
    match cx.send_back(connection, message) {
        Ok(()) | Err(SendError::Gone | SendError::Closing) => {}
        Err(SendError::Full) => {
            cx.close(connection, CloseCode::POLICY_VIOLATION, "read what is echoed before sending more");
        }
    }
}

fn close_slow(cx: &mut Context<'_, Mail>, connection: ConnectionId) {
    let code = CloseCode::new(SLOW_CONSUMER);
    cx.close(connection, code, "slow consumer: this connection reads too slowly; reconnect to go on");
}

/// The code of the close frame that ends a publisher's connection.
fn unpublished(why: Unpublished) -> CloseCode {
    match why {
        Unpublished::TooLong { .. } => CloseCode::MESSAGE_TOO_BIG,
        Unpublished::Denied(denial) => denial.close_code(),
    }
}

fn close_code(refused: Refused) -> CloseCode {
    match refused {
        Refused::TooLong { .. } | Refused::Log(PublishError::TooLong { .. }) => CloseCode::MESSAGE_TOO_BIG,
        Refused::Log(PublishError::Gone) | Refused::Open(_) => CloseCode::TRY_AGAIN_LATER,
        Refused::Log(_) => CloseCode::POLICY_VIOLATION,
    }
}
