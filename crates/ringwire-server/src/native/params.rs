//! The params of each method, read out of a parser's tape: every field with its type, its range and its name.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringwire_hub::{IDEMPOTENCY_KEY_BYTES_MAX, KEY_BYTES_MAX};

use super::epoch::{Epoch, Position};
use super::fault::{Fault, wants};
use super::fields::{self, Value, needed, put};
use super::request::{Body, Connect, History, INFO_BYTES_MAX, Method, Mode, Publish, Subscribe};
use super::scan;

/// Longest name that a client gives itself, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Most rounds a second that a subscriber may ask for.
const RATE_MAX: u32 = 1000;
/// Largest bound of staleness, in ms.
const AGE_MS_MAX: u32 = 3_600_000;

/// `raw` is the text from the params on.
pub(super) fn publish<'t, 'a: 't>(
    members: impl Iterator<Item = (&'a str, Value<'t, 'a>)>,
    raw: &'a str,
) -> Result<Publish<'a>, Fault> {
    let method = Method::Publish;
    let (mut topic, mut key, mut data, mut base64, mut remove) = (None, None, None, None, None);
    let (mut idempotency_key, mut source_seq, mut bound) = (None, None, None);
    for (name, value) in members {
        match name {
            "topic" => put("topic", &mut topic, fields::text("topic", value))?,
            "key" => put("key", &mut key, fields::text_of("key", value, 1..=KEY_BYTES_MAX, wants::KEY))?,
            "data" => put("data", &mut data, Ok(value))?,
            "base64" => put("base64", &mut base64, fields::flag("base64", value))?,
            "remove" => put("remove", &mut remove, fields::flag("remove", value))?,
            "idempotency_key" => {
                let bytes = 1..=IDEMPOTENCY_KEY_BYTES_MAX;
                let key = fields::text_of("idempotency_key", value, bytes, wants::IDEMPOTENCY_KEY);
                put("idempotency_key", &mut idempotency_key, key)?;
            }
            "source_seq" => {
                let number = fields::number("source_seq", value, 0..=u64::MAX, wants::SEQ);
                put("source_seq", &mut source_seq, number)?;
            }
            "bound" => put("bound", &mut bound, fields::flag("bound", value))?,
            other => return Err(Fault::Field(method, other.to_owned())),
        }
    }
    let body = match (remove.unwrap_or(false), data) {
        (true, Some(_)) => return Err(Fault::Wrong("data", wants::NO_DATA)),
        (true, None) => needed(method, "key", key).map(|_| Body::Remove)?,
        (false, None) => return Err(Fault::Missing(method, "data")),
        (false, Some(value)) if base64.unwrap_or(false) => {
            let text = fields::text_of("data", value, 0..=usize::MAX, wants::BASE64)?;
            let bytes = STANDARD.decode(text).map_err(|_| Fault::Wrong("data", wants::BASE64))?;
            Body::Bytes(bytes.into())
        }
        (false, Some(_)) => Body::Json(scan::member(raw, "data").ok_or(Fault::Wrong("data", wants::PLAIN_DATA))?),
    };
    let (topic, bound) = (needed(method, "topic", topic)?, bound.unwrap_or(false));
    if bound && key.is_none() {
        return Err(Fault::Missing(method, "key"));
    }
    Ok(Publish { topic, key, body, idempotency_key, source_seq, bound })
}

pub(super) fn subscribe<'t, 'a: 't>(
    members: impl Iterator<Item = (&'a str, Value<'t, 'a>)>,
    raw: &'a str,
) -> Result<Subscribe<'a>, Fault> {
    let method = Method::Subscribe;
    let (mut topics, mut mode, mut rate, mut max_age_ms) = (None, None, None, None);
    let (mut since, mut history, mut snapshot, mut info) = (None, None, None, None);
    for (name, value) in members {
        match name {
            "topics" => put("topics", &mut topics, fields::texts("topics", value))?,
            "mode" => put("mode", &mut mode, read_mode(value))?,
            "rate" => put("rate", &mut rate, fields::number("rate", value, 1..=RATE_MAX, wants::RATE))?,
            "max_age_ms" => {
                let number = fields::number("max_age_ms", value, 1..=AGE_MS_MAX, wants::AGE);
                put("max_age_ms", &mut max_age_ms, number)?;
            }
            "since" => put("since", &mut since, read_since(value))?,
            "history" => {
                let number = fields::number("history", value, 0..=u32::MAX, wants::COUNT);
                put("history", &mut history, number)?;
            }
            "snapshot" => put("snapshot", &mut snapshot, fields::flag("snapshot", value))?,
            "info" => put("info", &mut info, read_info(raw))?,
            other => return Err(Fault::Field(method, other.to_owned())),
        }
    }
    let (mode, since) = (mode.unwrap_or_default(), since.unwrap_or_default());
    let topics = needed(method, "topics", topics)?;
    Ok(Subscribe { topics, mode, rate, max_age_ms, since, history, snapshot, info })
}

fn read_mode(value: Value<'_, '_>) -> Result<Mode, Fault> {
    match fields::text("mode", value) {
        Ok("all") => Ok(Mode::All),
        Ok("latest") => Ok(Mode::Latest),
        _ => Err(Fault::Wrong("mode", wants::MODE)),
    }
}

fn read_info(raw: &str) -> Result<&str, Fault> {
    scan::member(raw, "info").filter(|info| info.len() <= INFO_BYTES_MAX).ok_or(Fault::Wrong("info", wants::INFO))
}

fn read_since<'a>(value: Value<'_, 'a>) -> Result<Vec<(&'a str, Position)>, Fault> {
    let topics = fields::object("since", value, wants::SINCE)?;
    topics.map(|(topic, position)| Ok((topic, read_position(position)?))).collect()
}

fn read_position(value: Value<'_, '_>) -> Result<Position, Fault> {
    let (mut epoch, mut seq) = (None, None);
    for (name, value) in fields::object("since", value, wants::SINCE)? {
        match name {
            "epoch" => {
                let wrong = Fault::Wrong("epoch", wants::EPOCH);
                let read = fields::text("epoch", value).ok().and_then(|text| text.parse::<Epoch>().ok());
                put("epoch", &mut epoch, read.ok_or(wrong))?;
            }
            "seq" => put("seq", &mut seq, fields::number("seq", value, 0..=u64::MAX, wants::SEQ))?,
            _ => return Err(Fault::Wrong("since", wants::SINCE)),
        }
    }
    match (epoch, seq) {
        (Some(epoch), Some(seq)) => Ok(Position { epoch, seq }),
        _ => Err(Fault::Wrong("since", wants::SINCE)),
    }
}

pub(super) fn connect<'t, 'a: 't>(
    members: impl Iterator<Item = (&'a str, Value<'t, 'a>)>,
) -> Result<Connect<'a>, Fault> {
    let (mut token, mut name) = (None, None);
    for (member, value) in members {
        match member {
            "token" => put("token", &mut token, fields::text("token", value))?,
            "name" => put("name", &mut name, fields::text_of("name", value, 0..=NAME_BYTES_MAX, wants::NAME))?,
            other => return Err(Fault::Field(Method::Connect, other.to_owned())),
        }
    }
    Ok(Connect { token, name })
}

pub(super) fn history<'t, 'a: 't>(
    members: impl Iterator<Item = (&'a str, Value<'t, 'a>)>,
) -> Result<History<'a>, Fault> {
    let (mut topic, mut from, mut limit) = (None, None, None);
    for (name, value) in members {
        match name {
            "topic" => put("topic", &mut topic, fields::text("topic", value))?,
            "from" => put("from", &mut from, fields::number("from", value, 0..=u64::MAX, wants::SEQ))?,
            "limit" => put("limit", &mut limit, fields::number("limit", value, 0..=u32::MAX, wants::COUNT))?,
            other => return Err(Fault::Field(Method::History, other.to_owned())),
        }
    }
    Ok(History { topic: needed(Method::History, "topic", topic)?, from, limit })
}

/// The only field that a method takes.
pub(super) fn only<'t, 'a: 't, T>(
    method: Method,
    field: &'static str,
    members: impl Iterator<Item = (&'a str, Value<'t, 'a>)>,
    read: impl Fn(&'static str, Value<'t, 'a>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mut found = None;
    for (name, value) in members {
        if name != field {
            return Err(Fault::Field(method, name.to_owned()));
        }
        put(field, &mut found, read(field, value))?;
    }
    needed(method, field, found)
}

/// A method that takes nothing.
pub(super) fn none<'t, 'a: 't>(
    method: Method,
    mut members: impl Iterator<Item = (&'a str, Value<'t, 'a>)>,
) -> Result<(), Fault> {
    members.next().map_or(Ok(()), |(name, _)| Err(Fault::Field(method, name.to_owned())))
}
