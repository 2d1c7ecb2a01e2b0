//! Where a client's requests are heard, one after the other, and answered.

use std::sync::Arc;

use ringwire_codec::CloseCode;
use ringwire_engine::{ConnectionId, Context, MessageKind, SendError};
use ringwire_hub::{PatternMap, Subscriber, Topic, TopicName};

use super::answers::Answers;
use super::client::{Client, Form};
use crate::auth::{Credentials, FLOOD};
use crate::broker::{Broker, Mail};
use crate::native::fault::Fault;
use crate::native::record::{Flags, Record, RecordKind, records};
use crate::native::reply::{self, Connected, Limits};
use crate::native::request::{Connect, Id, Incoming, Parser, Request};
use crate::options::NativeOptions;
use crate::service::admission::Passes;
use crate::service::fanout::Fanout;

/// Longest message that is read, in bytes. A payload of [`PAYLOAD_BYTES_MAX`](crate::lanes::PAYLOAD_BYTES_MAX) in a record of
/// its own fits.
pub const MESSAGE_BYTES_MAX: usize = (1 << 20) + 1024;
/// Answers are sent once they are so long, before the rest of a message is read.
const ANSWER_BYTES: usize = 64 * 1024;

/// All that it takes to serve a request.
pub(super) struct Desk<'a, 'c> {
    pub(super) cx: &'a mut Context<'c, Mail>,
    pub(super) broker: &'a Broker,
    pub(super) fanout: &'a mut Fanout,
    pub(super) passes: &'a mut Passes,
    pub(super) watchers: &'a mut PatternMap<Subscriber>,
    pub(super) options: &'a NativeOptions,
    pub(super) client: &'a mut Client,
    pub(super) connection: ConnectionId,
    pub(super) who: Subscriber,
    pub(super) answers: &'a mut Answers,
    pub(super) now_us: u64,
    /// The connection is being closed.
    pub(super) is_over: bool,
}

impl Desk<'_, '_> {
    /// Hears a text message.
    pub(super) fn hear_text(&mut self, parser: &mut Parser, text: &str) {
        if self.client.form == Form::Binary {
            self.refuse(Id::None, &Fault::NotRecords);
        } else if text.len() > MESSAGE_BYTES_MAX {
            self.refuse(Id::None, &Fault::TooLarge(text.len(), MESSAGE_BYTES_MAX));
        } else {
            parser.requests(text, |incoming| self.hear(incoming));
        }
        self.send();
    }

    /// Hears a binary message.
    pub(super) fn hear_binary(&mut self, parser: &mut Parser, bytes: &[u8]) {
        if self.client.form == Form::Json {
            self.refuse(Id::None, &Fault::NotText);
        } else if bytes.len() > MESSAGE_BYTES_MAX {
            self.refuse(Id::None, &Fault::TooLarge(bytes.len(), MESSAGE_BYTES_MAX));
        } else {
            for record in records(bytes) {
                match record {
                    Ok(record) => self.hear_record(parser, &record),
                    Err(fault) => self.refuse(Id::None, &Fault::Record(fault)),
                }
                if self.is_over {
                    return;
                }
            }
        }
        self.send();
    }

    fn hear_record(&mut self, parser: &mut Parser, record: &Record<'_>) {
        match record.kind {
            RecordKind::Message | RecordKind::Update | RecordKind::Remove if !record.flags.has(Flags::SNAPSHOT) => {
                self.client.is_fresh = false;
                self.publish_record(record);
                self.send_much();
            }
            RecordKind::Control => match std::str::from_utf8(record.payload) {
                Ok(text) => parser.requests(text, |incoming| self.hear(incoming)),
                Err(error) => self.refuse(Id::None, &Fault::NotJson(error.to_string())),
            },
            _ => self.refuse(Id::None, &Fault::RecordKind),
        }
    }

    /// Hears one request. Whether to go on.
    fn hear(&mut self, incoming: Incoming<'_>) -> bool {
        let Incoming { id, request } = incoming;
        let was_fresh = std::mem::replace(&mut self.client.is_fresh, false);
        match request {
            Ok(Request::Publish(publish)) => self.publish(id, &publish),
            other => {
                let allowed = self.count_request();
                match allowed.and(other).and_then(|request| self.serve(id, request, was_fresh)) {
                    Ok(()) => {}
                    Err(fault) => self.refuse(id, &fault),
                }
            }
        }
        self.send_much();
        !self.is_over
    }

    /// Serves what is not a publish.
    fn serve(&mut self, id: Id<'_>, request: Request<'_>, was_fresh: bool) -> Result<(), Fault> {
        match request {
            Request::Subscribe(request) => self.subscribe(id, &request)?,
            Request::Unsubscribe(topics) => self.unsubscribe(id, &topics)?,
            Request::Connect(request) if was_fresh => self.connect(id, request)?,
            Request::Connect(_) => return Err(Fault::Connected),
            Request::History(request) => self.history(id, request)?,
            Request::Presence(topic) => self.presence(id, topic)?,
            Request::Account => self.account(id),
            Request::Bind(topic) => self.bind(id, topic)?,
            Request::Refresh(token) => self.refresh(id, token)?,
            Request::Ping => {
                let now_us = self.now_us;
                self.answer(id, |out| {
                    out.extend_from_slice(b"{\"time\":");
                    crate::json::write_number(out, now_us);
                    out.push(b'}');
                });
            }
            Request::Publish(_) => unreachable!("publishes are heard before"),
        }
        Ok(())
    }

    fn connect(&mut self, id: Id<'_>, request: Connect<'_>) -> Result<(), Fault> {
        if let Some(token) = request.token {
            let credentials = Credentials { token: Some(token.into()), ..Credentials::default() };
            let grant = self.broker.access.authenticate(&credentials, self.now_us)?;
            // Where tokens are not looked at, who shows one is the guest that they were.
            if grant.is_authenticated() {
                self.passes.renew(self.cx, self.broker, self.connection, &grant)?;
                self.client.grant = grant;
            }
        }
        let name = self.client.name();
        let connected = Connected {
            client: &name,
            time_us: self.now_us,
            heartbeat_ms: self.options.heartbeat.as_millis() as u64,
            expires_us: self.client.grant.expires_us,
            limits: Limits {
                topics: self.options.topics_max,
                message_bytes: MESSAGE_BYTES_MAX,
                pending_publishes: self.options.pending_publishes_max,
            },
        };
        self.answer(id, |out| connected.write(out));
        Ok(())
    }

    fn refresh(&mut self, id: Id<'_>, token: &str) -> Result<(), Fault> {
        let credentials = Credentials { token: Some(token.into()), ..Credentials::default() };
        let grant = self.broker.access.authenticate(&credentials, self.now_us)?;
        let grant = self.client.grant.renewed(grant)?;
        self.passes.renew(self.cx, self.broker, self.connection, &grant)?;
        // What may be published may have changed with it.
        self.client.publishing.clear();
        self.answer(id, |out| {
            out.extend_from_slice(b"{\"expires\":");
            match grant.expires_us {
                Some(expires_us) => crate::json::write_number(out, expires_us),
                None => out.extend_from_slice(b"null"),
            }
            out.push(b'}');
        });
        self.client.grant = grant;
        self.end_forbidden();
        Ok(())
    }

    /// A number for a topic, to publish with.
    fn bind(&mut self, id: Id<'_>, name: &str) -> Result<(), Fault> {
        let name = topic_name(name)?;
        self.client.grant.may_publish(&self.broker.rules, &name)?;
        let topic = self.broker.open(&name)?;
        let number = topic.id().index() as u32;
        let max = self.options.topics_max;
        if self.client.handles.len() >= max && !self.client.handles.contains_key(&number) {
            return Err(Fault::TooMany("bound topics", max));
        }
        self.client.handles.insert(number, name);
        self.answer(id, |out| {
            reply::topic(out, topic.name().as_str());
            reply::field(out, "id", u64::from(number));
            reply::epoch(out, epoch(&topic));
            out.push(b'}');
        });
        Ok(())
    }

    /// Counts a request against the connection's limit.
    fn count_request(&mut self) -> Result<(), Fault> {
        let (Some(rate), Some(limit)) = (&mut self.client.requests, self.options.requests) else { return Ok(()) };
        rate.take(self.now_us).map_err(|after_ms| Fault::TooFast("requests", limit.per_second, after_ms))
    }

    /// Answers a request with what `body` writes.
    pub(super) fn answer(&mut self, id: Id<'_>, body: impl FnOnce(&mut Vec<u8>)) {
        self.answers.json(|out| reply::result(out, id, body));
    }

    /// Answers a request with an error.
    pub(super) fn refuse(&mut self, id: Id<'_>, fault: &Fault) {
        self.answers.json(|out| reply::error(out, id, fault));
    }

    /// Sends what has been answered, if that is much.
    pub(super) fn send_much(&mut self) {
        if self.answers.bytes().len() >= ANSWER_BYTES {
            self.send();
        }
    }

    /// Sends what has been answered. Who does not read the answers is let go: they are not kept without a limit.
    pub(super) fn send(&mut self) {
        if self.try_send() == Err(SendError::Full) {
            self.is_over = true;
            let words = "read the answers to your requests before sending more";
            self.cx.close(self.connection, CloseCode::new(FLOOD), words);
        }
    }

    /// Sends what there is to say, or drops it if too much waits for the client to read.
    pub(super) fn try_send(&mut self) -> Result<(), SendError> {
        if self.answers.bytes().is_empty() || self.is_over {
            return Ok(());
        }
        let kind = match self.client.form {
            Form::Json => MessageKind::Text,
            Form::Binary => MessageKind::Binary,
        };
        let sent = self.cx.send(self.connection, kind, self.answers.bytes());
        self.is_over = matches!(sent, Err(SendError::Gone | SendError::Closing));
        self.answers.clear();
        sent
    }
}

/// A name as it was written, as a topic's.
pub(super) fn topic_name(name: &str) -> Result<TopicName, Fault> {
    if name.contains(['*', '>']) {
        return Err(Fault::OneTopic(name.to_owned()));
    }
    TopicName::new(name).map_err(|error| Fault::Name(name.to_owned(), error))
}

/// The topic's epoch.
pub(super) fn epoch(topic: &Arc<Topic>) -> crate::native::epoch::Epoch {
    crate::native::epoch::Epoch(topic.options().epoch)
}
