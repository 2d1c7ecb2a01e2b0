//! Connections that speak the native protocol, on one shard.
//!
//! A [`Client`] is what is known of one of them; a `Desk` is where its requests are heard, with all that it takes to serve
//! them. Requests are served as they come, and what is answered to one message goes out in one, in front of entries:
//! so a subscription is known to its client before its first entry. Entries are pulled, like everybody's.
//!
//! What it must never do: queue anything for a client without a limit, or answer in another order than it was asked.

mod answers;
mod beat;
mod client;
mod desk;
mod history;
mod presence;
mod publish;
mod revoke;
mod subscribe;

use ringwire_codec::Message;
use ringwire_engine::{ConnectionId, Context};
use ringwire_hub::{PatternMap, Subscriber, TopicId};

use self::answers::Answers;
use self::beat::Beats;
pub(super) use self::client::{Client, Form};
use self::desk::Desk;
pub use self::desk::MESSAGE_BYTES_MAX;
pub(super) use self::publish::refusal;
use super::Service;
use super::session::Role;
use crate::broker::Mail;
use crate::native::push;
use crate::native::request::Parser;
use crate::options::NativeOptions;

/// Close code of a server that goes away and comes back (RFC 6455 §7.4.1 leaves it to the registry: "service restart").
const RESTART: u16 = 1012;
/// How long a server is away that restarts, as its clients are told.
const AWAY_MS: u64 = 1000;
/// Over how long they are to spread their coming back.
const AWAY_JITTER_MS: u64 = 3000;

/// What the connections of a shard share.
#[derive(Debug)]
pub(super) struct Native {
    pub(super) options: NativeOptions,
    parser: Parser,
    answers: Answers,
    beats: Beats,
    /// Who is subscribed to which patterns.
    watchers: PatternMap<Subscriber>,
    /// Who waits for the disk.
    waiting: Vec<ConnectionId>,
}

impl Native {
    pub(super) fn new(options: NativeOptions) -> Self {
        Self {
            options,
            parser: Parser::default(),
            answers: Answers::default(),
            beats: Beats::default(),
            watchers: PatternMap::default(),
            waiting: Vec::new(),
        }
    }
}

impl Service {
    /// A connection that speaks the native protocol is open.
    pub(super) fn native_opened(&mut self, cx: &mut Context<'_, Mail>, connection: ConnectionId) {
        self.native.beats.begin(cx.now() + self.native.options.heartbeat, connection);
        if let Some(at) = self.native.beats.next() {
            cx.tick_at(at);
        }
    }

    /// A message of such a connection has come.
    pub(super) fn native_message(&mut self, cx: &mut Context<'_, Mail>, id: ConnectionId, message: &Message<'_>) {
        self.at_desk(cx, id, |desk, parser| match message {
            Message::Text(text) => desk.hear_text(parser, text.as_str()),
            Message::Binary(bytes) => desk.hear_binary(parser, bytes),
        });
    }

    /// Such a connection has ended: what it has goes.
    pub(super) fn native_closed(&mut self, cx: &mut Context<'_, Mail>, connection: ConnectionId) {
        self.at_desk(cx, connection, |desk, _| desk.leave_all());
    }

    /// A topic has been opened that patterns of this shard match.
    pub(super) fn native_topic_opened(&mut self, cx: &mut Context<'_, Mail>, topic: TopicId) {
        let Some(topic) = self.broker.hub.by_id(topic) else { return };
        let mut watching = Vec::new();
        self.native.watchers.matching(topic.name(), |who| watching.push(*who));
        watching.sort_unstable();
        watching.dedup();
        for connection in watching.into_iter().filter_map(|who| self.sessions.of_subscriber(who)).collect::<Vec<_>>() {
            self.at_desk(cx, connection, |desk, _| {
                desk.opened(&topic);
                desk.send();
            });
        }
    }

    /// Sends the heartbeats that are due.
    pub(super) fn native_tick(&mut self, cx: &mut Context<'_, Mail>) {
        while let Some(connection) = self.native.beats.take_due(cx.now()) {
            let is_there = self.at_desk(cx, connection, |desk, _| desk.beat());
            if is_there {
                self.native.beats.begin(cx.now() + self.native.options.heartbeat, connection);
            }
        }
        if let Some(at) = self.native.beats.next() {
            cx.tick_at(at);
        }
    }

    /// More is on disk than before: answers those who waited for it.
    pub(super) fn native_durable(&mut self, cx: &mut Context<'_, Mail>) {
        for connection in std::mem::take(&mut self.native.waiting) {
            self.at_desk(cx, connection, |desk, _| {
                desk.client.is_waiting = false;
                desk.acknowledge_durable();
                desk.send();
            });
        }
    }

    /// Tells all such connections that the server goes away, and closes them.
    pub(super) fn native_go_away(&mut self, cx: &mut Context<'_, Mail>) {
        for connection in self.sessions.natives() {
            self.at_desk(cx, connection, |desk, _| desk.go_away());
        }
    }

    /// Serves one connection. Whether it is there, and speaks the native protocol.
    fn at_desk(
        &mut self,
        cx: &mut Context<'_, Mail>,
        connection: ConnectionId,
        serve: impl FnOnce(&mut Desk<'_, '_>, &mut Parser),
    ) -> bool {
        let Some(session) = self.sessions.get_mut(connection) else { return false };
        let who = session.subscriber();
        let Role::Native(client) = &mut session.role else { return false };
        let Native { options, parser, answers, watchers, waiting, .. } = &mut self.native;
        let now_us = cx.wall_clock_us();
        answers.begin(client.form);
        let mut desk = Desk {
            cx,
            broker: &self.broker,
            fanout: &mut self.fanout,
            passes: &mut self.passes,
            watchers,
            options,
            client,
            connection,
            who,
            answers,
            now_us,
            is_over: false,
        };
        serve(&mut desk, parser);
        if !client.pending.is_empty() && !std::mem::replace(&mut client.is_waiting, true) {
            waiting.push(connection);
        }
        true
    }
}

impl Desk<'_, '_> {
    /// Sends a heartbeat: of each topic whose entries have all been sent, and some since the last one, the last. Who has much
    /// to read yet needs none.
    fn beat(&mut self) {
        let mut at: Vec<(std::sync::Arc<str>, u64)> = Vec::new();
        self.fanout.caught_up(self.who, |topic, seq| at.push((topic.name().as_str().into(), seq)));
        let now_us = self.now_us;
        self.answers.json(|out| push::heartbeat(out, now_us, at.iter().map(|(name, seq)| (&**name, *seq))));
        let _ = self.try_send();
    }

    fn go_away(&mut self) {
        self.answers.json(|out| push::goaway(out, AWAY_MS, AWAY_JITTER_MS));
        self.send();
        let code = ringwire_codec::CloseCode::new(RESTART);
        self.cx.close(self.connection, code, "the server goes away and comes back: reconnect");
    }
}
