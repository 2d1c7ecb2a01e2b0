//! Requests: what a client's messages ask for, as types.
//!
//! A message is parsed by simd-json on a copy, as it parses in place and takes escapes apart; a publish's `data` and a
//! subscriber's `info` are slices of the message as it came, found by `scan`, and are never written anew.
//! Strings without escapes, numbers and flags are read from the tape, without an allocation. Only lists of topics, and
//! base64, take memory.
//!
//! Known names: `method`, `params`, `id`, and their aliases `op`, `args`, `req_id`. Of a request's other members nothing is
//! taken notice; in `params` an unknown member is an error, so that a misspelt one is not lost.

use std::borrow::Cow;
use std::fmt;

use ringwire_hub::Subject;

use super::epoch::Position;
use super::fault::{Fault, wants};
use super::fields::{self, Value, put};
use super::{params, scan};
use crate::json::JsonCheck;
use crate::lanes::{Payload, Publication};

/// Longest id that is a string, in bytes.
pub const ID_BYTES_MAX: usize = 64;
/// Largest id that is a number: every whole number up to it is one in JavaScript too.
pub const ID_MAX: u64 = 1 << 53;
/// Longest `info` of a subscriber, in bytes of JSON.
pub const INFO_BYTES_MAX: usize = 1024;

/// What a request is answered with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Id<'a> {
    /// It wants no answer.
    #[default]
    None,
    /// At most [`ID_MAX`].
    Number(u64),
    /// At most [`ID_BYTES_MAX`] bytes.
    Text(&'a str),
}

/// One request of a message.
#[derive(Debug, PartialEq)]
pub struct Incoming<'a> {
    /// Its id, as far as it could be read.
    pub id: Id<'a>,
    /// What it asks for.
    pub request: Result<Request<'a>, Fault>,
}

/// What is asked for.
#[derive(Debug, PartialEq)]
pub enum Request<'a> {
    /// Who the client is.
    Connect(Connect<'a>),
    /// To get topics.
    Subscribe(Subscribe<'a>),
    /// To get them no more.
    Unsubscribe(Vec<&'a str>),
    /// To publish.
    Publish(Publish<'a>),
    /// Entries of the past.
    History(History<'a>),
    /// Who is in a topic.
    Presence(&'a str),
    /// A sign of life.
    Ping,
    /// A new token.
    Refresh(&'a str),
    /// What became of the entries of each subscription.
    Account,
    /// A number for a topic, to publish with.
    Bind(&'a str),
}

/// The names of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// [`Request::Connect`].
    Connect,
    /// [`Request::Subscribe`].
    Subscribe,
    /// [`Request::Unsubscribe`].
    Unsubscribe,
    /// [`Request::Publish`].
    Publish,
    /// [`Request::History`].
    History,
    /// [`Request::Presence`].
    Presence,
    /// [`Request::Ping`].
    Ping,
    /// [`Request::Refresh`].
    Refresh,
    /// [`Request::Account`].
    Account,
    /// [`Request::Bind`].
    Bind,
}

/// Params of `connect`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connect<'a> {
    /// What proves who it is.
    pub token: Option<&'a str>,
    /// What it calls itself, for logs.
    pub name: Option<&'a str>,
}

/// How a subscriber wants the entries of its topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Each of them, as long as it keeps up.
    #[default]
    All,
    /// The latest of each key.
    Latest,
}

/// Params of `subscribe`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subscribe<'a> {
    /// Names of topics, and patterns.
    pub topics: Vec<&'a str>,
    /// How.
    pub mode: Mode,
    /// Most rounds a second.
    pub rate: Option<u32>,
    /// Further behind than this, in ms, it is conflated, or skips.
    pub max_age_ms: Option<u32>,
    /// Where to begin, for those of the topics that are named here.
    pub since: Vec<(&'a str, Position)>,
    /// Begin so many entries before the head.
    pub history: Option<u32>,
    /// Whether a keyed topic's snapshot is wanted; if not said, it is.
    pub snapshot: Option<bool>,
    /// What the topics' presence says of it: raw JSON.
    pub info: Option<&'a str>,
}

/// Params of `publish`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Where to.
    pub topic: &'a str,
    /// Which key it sets or removes.
    pub key: Option<&'a str>,
    /// What.
    pub body: Body<'a>,
    /// A repetition of the same is not published again.
    pub idempotency_key: Option<&'a str>,
    /// The publisher's own number.
    pub source_seq: Option<u64>,
    /// The key is to go with the connection.
    pub bound: bool,
}

/// What is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// Raw JSON.
    Json(&'a str),
    /// Bytes that came in base64.
    Bytes(Cow<'a, [u8]>),
    /// Nothing: the key is removed.
    Remove,
}

/// Params of `history`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History<'a> {
    /// Of which topic.
    pub topic: &'a str,
    /// The first entry wanted; without it, as many as `limit` before the head.
    pub from: Option<u64>,
    /// Most entries wanted.
    pub limit: Option<u32>,
}

/// Reads requests, with memory that it keeps from one to the next.
#[derive(Debug, Default)]
pub struct Parser {
    json: JsonCheck,
}

impl Publish<'_> {
    /// What it publishes; its key, if it has one, is `owner`'s from then on, if that is not 0.
    pub fn publication(&self, owner: u64) -> Publication<'_> {
        let payload = match &self.body {
            Body::Json(json) => Payload::Json(json),
            Body::Bytes(bytes) => Payload::Binary(bytes),
            Body::Remove => Payload::Text(""),
        };
        let subject = match self.key {
            None => Subject::Message,
            Some(key) if self.body == Body::Remove => Subject::Remove(key),
            Some(key) => Subject::Update(key),
        };
        let (source_seq, idempotency_key) = (self.source_seq, self.idempotency_key);
        Publication { payload, subject, source_seq, idempotency_key, owner }
    }
}

impl Parser {
    /// Calls `take` with each request of a text message, in order, until it says to stop with `false`.
    pub fn requests(&mut self, message: &str, mut take: impl FnMut(Incoming<'_>) -> bool) {
        if !message.as_bytes().contains(&b'\n') {
            take_one(&mut self.json, message, &mut take);
            return;
        }
        let mut any = false;
        for piece in scan::objects(message) {
            any = true;
            if !take_one(&mut self.json, piece, &mut take) {
                return;
            }
        }
        if !any {
            take_one(&mut self.json, message, &mut take);
        }
    }

    /// Calls `take` with what `json`, the params of a publish, asks for: the form of a line of `POST /publish`.
    pub fn publish<T>(&mut self, json: &str, take: impl FnOnce(Result<Publish<'_>, Fault>) -> T) -> T {
        let mut take = Some(take);
        let parsed = self.json.with_tape(json.as_bytes(), |tape| {
            let take = take.take().expect("the tape is read once");
            take(fields::members(&tape.0).ok_or(Fault::NotAnObject).and_then(|members| params::publish(members, json)))
        });
        match (parsed, take) {
            (Ok(result), _) => result,
            (Err(error), Some(take)) => take(Err(Fault::NotJson(words(&error)))),
            (Err(_), None) => unreachable!("what could be read was taken"),
        }
    }
}

/// Parses one request and hands it on.
fn take_one(json: &mut JsonCheck, text: &str, take: &mut impl FnMut(Incoming<'_>) -> bool) -> bool {
    let parsed = json.with_tape(text.as_bytes(), |tape| take(incoming(&tape.0, text)));
    parsed.unwrap_or_else(|error| take(Incoming { id: Id::None, request: Err(Fault::NotJson(words(&error))) }))
}

/// What the parser says, without what only its authors understand.
fn words(error: &simd_json::Error) -> String {
    format!("{:?} at byte {}", error.error(), error.index())
}

fn incoming<'a>(value: Value<'_, 'a>, text: &'a str) -> Incoming<'a> {
    let Some(members) = fields::members(value) else {
        return Incoming { id: Id::None, request: Err(Fault::NotAnObject) };
    };
    let (mut id, mut method, mut params) = (None, None, None);
    let mut fault = None;
    for (name, value) in members {
        let result = match name {
            "id" | "req_id" => put("id", &mut id, read_id(value)),
            "method" | "op" => put("method", &mut method, fields::text("method", value)),
            "params" | "args" => put("params", &mut params, Ok((name, value))),
            _ => Ok(()),
        };
        fault = fault.or(result.err());
    }
    let request = match (fault, method) {
        (Some(fault), _) => Err(fault),
        (None, None) => Err(Fault::NoMethod),
        (None, Some(name)) => match Method::from_name(name) {
            Some(method) => method.read(params, text),
            None => Err(Fault::Method(name.to_owned())),
        },
    };
    Incoming { id: id.unwrap_or_default(), request }
}

fn read_id<'a>(value: Value<'_, 'a>) -> Result<Id<'a>, Fault> {
    if let Some(number) = fields::whole(value).filter(|number| *number <= ID_MAX) {
        return Ok(Id::Number(number));
    }
    fields::text_of("id", value, 1..=ID_BYTES_MAX, "").map(Id::Text).map_err(|_| Fault::Id)
}

/// A request's params: under which name, and what.
type Params<'t, 'i> = Option<(&'i str, Value<'t, 'i>)>;

impl Method {
    /// All names, for words.
    pub const NAMES: &'static str =
        "connect, subscribe, unsubscribe, publish, history, presence, ping, refresh, account, bind";

    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "publish" => Self::Publish,
            "connect" => Self::Connect,
            "subscribe" => Self::Subscribe,
            "unsubscribe" => Self::Unsubscribe,
            "history" => Self::History,
            "presence" => Self::Presence,
            "ping" => Self::Ping,
            "refresh" => Self::Refresh,
            "account" => Self::Account,
            "bind" => Self::Bind,
            _ => return None,
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Publish => "publish",
            Self::History => "history",
            Self::Presence => "presence",
            Self::Ping => "ping",
            Self::Refresh => "refresh",
            Self::Account => "account",
            Self::Bind => "bind",
        }
    }

    /// The members of its params, for words.
    pub(super) fn fields(self) -> &'static str {
        match self {
            Self::Connect => "it takes token and name",
            Self::Subscribe => "it takes topics, mode, rate, max_age_ms, since, history, snapshot and info",
            Self::Unsubscribe => "it takes topics",
            Self::Publish => "it takes topic, key, data, base64, remove, idempotency_key, source_seq and bound",
            Self::History => "it takes topic, from and limit",
            Self::Presence | Self::Bind => "it takes topic",
            Self::Refresh => "it takes token",
            Self::Ping | Self::Account => "it takes nothing",
        }
    }

    /// Reads its params out of the request that is `text`.
    fn read<'a>(self, given: Params<'_, 'a>, text: &'a str) -> Result<Request<'a>, Fault> {
        if let (Self::Subscribe | Self::Unsubscribe, Some((_, value))) = (self, given)
            && fields::members(value).is_none()
        {
            let topics = fields::texts("topics", value)?;
            return Ok(match self {
                Self::Subscribe => Request::Subscribe(Subscribe { topics, ..Subscribe::default() }),
                _ => Request::Unsubscribe(topics),
            });
        }
        let members = given.map(|(_, value)| fields::object("params", value, wants::OBJECT)).transpose()?;
        let raw = given.and_then(|(name, _)| scan::from_member(text, name)).unwrap_or_default();
        let members = members.into_iter().flatten();
        match self {
            Self::Publish => params::publish(members, raw).map(Request::Publish),
            Self::Subscribe => params::subscribe(members, raw).map(Request::Subscribe),
            Self::Connect => params::connect(members).map(Request::Connect),
            Self::History => params::history(members).map(Request::History),
            Self::Unsubscribe => params::only(self, "topics", members, fields::texts).map(Request::Unsubscribe),
            Self::Presence => params::only(self, "topic", members, fields::text).map(Request::Presence),
            Self::Bind => params::only(self, "topic", members, fields::text).map(Request::Bind),
            Self::Refresh => params::only(self, "token", members, fields::text).map(Request::Refresh),
            Self::Ping => params::none(self, members).map(|()| Request::Ping),
            Self::Account => params::none(self, members).map(|()| Request::Account),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
