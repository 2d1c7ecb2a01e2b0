//! `ringwire.json.1`, read and written: texts to values and back. Nothing here knows what they mean for a subscription.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::{Error, Refusal};
use crate::event::{Data, Entry, EntryKind, Event, Gap, Position, Skip, Snapshot, SnapshotEntry, Subscribed};
use crate::event::{TopicKind, TopicState};
use crate::options::{Body, Publish, Subscribe};

/// What a server says in one line.
#[derive(Debug)]
pub(crate) enum Said<'a> {
    /// To a request.
    Answer(u64, Result<&'a RawValue, Refusal>),
    /// Of a topic.
    Push(Arc<str>, Event),
    /// Of a topic, that it cannot be had; of one that this pattern matches.
    Refused(Arc<str>, Option<Arc<str>>, Refusal),
    /// Everything of these topics has been sent, up to these entries.
    Heartbeat(BTreeMap<Cow<'a, str>, u64>),
    /// It will close: come back after so long, and a random part of the second more.
    GoAway(Duration, Duration),
    /// What this client does not know, or has not asked for.
    Other,
}

/// All members that a message of the server may have.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Line<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<ErrorBody>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    topic: Cow<'a, str>,
    pattern: Option<Arc<str>>,
    epoch: Option<Arc<str>>,
    seq: u64,
    head: u64,
    ts: u64,
    source_seq: Option<u64>,
    key: Option<Arc<str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    base64: bool,
    from: u64,
    to: u64,
    count: u64,
    why: Option<Arc<str>>,
    first: bool,
    last: bool,
    state: Option<Arc<str>>,
    #[serde(rename = "kind")]
    topic_kind: Option<Arc<str>>,
    #[serde(borrow)]
    at: BTreeMap<Cow<'a, str>, u64>,
    after_ms: u64,
    jitter_ms: u64,
}

#[derive(Deserialize)]
struct Item<'a> {
    key: Arc<str>,
    seq: u64,
    #[serde(default)]
    ts: u64,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    base64: bool,
}

#[derive(Deserialize)]
struct ErrorBody {
    code: u16,
    message: String,
    #[serde(default)]
    retry: bool,
    after_ms: Option<u64>,
}

/// What `connect` is answered with.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Session {
    /// The server's time in µs.
    pub(crate) time: u64,
    pub(crate) heartbeat_ms: Option<u64>,
    /// When the token does, in µs.
    pub(crate) expires: Option<u64>,
    #[serde(default)]
    pub(crate) limits: Limits,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Limits {
    pub(crate) message_bytes: Option<usize>,
    pub(crate) pending_publishes: Option<usize>,
}

/// What `subscribe` is answered with, for each topic or pattern.
pub(crate) enum Begun {
    Topic(Subscribed),
    Pattern,
    Refused(Arc<str>, Refusal),
}

/// Reads one line.
pub(crate) fn read(line: &str) -> Result<Said<'_>, Error> {
    let line: Line<'_> = serde_json::from_str(line).map_err(|error| Error::Protocol(error.to_string()))?;
    // Pushes have ids too: of their topics.
    let id = line.id.filter(|_| line.kind.is_empty());
    if let Some(id) = id.and_then(|id| id.get().parse().ok()) {
        return match (line.result, line.error) {
            (_, Some(error)) => Ok(Said::Answer(id, Err(error.into()))),
            (Some(result), None) => Ok(Said::Answer(id, Ok(result))),
            (None, None) => Err(Error::Protocol("an answer without result and error".to_owned())),
        };
    }
    let topic: Arc<str> = (&*line.topic).into();
    let event = match &*line.kind {
        "message" => Event::Entry(line.entry(topic.clone(), EntryKind::Message)?),
        "update" => Event::Entry(line.entry(topic.clone(), EntryKind::Update)?),
        "remove" => Event::Entry(line.entry(topic.clone(), EntryKind::Remove)?),
        "skip" => {
            let why = line.why.unwrap_or_default();
            Event::Skip(Skip { topic: topic.clone(), from: line.from, to: line.to, count: line.count, why })
        }
        "gap" => {
            Event::Gap(Gap { topic: topic.clone(), from: line.from, to: line.to, why: line.why.unwrap_or_default() })
        }
        "snapshot" => Event::Snapshot(line.snapshot(topic.clone())?),
        "subscribed" => Event::Subscribed(line.subscribed(topic.clone())),
        "error" if !topic.is_empty() => {
            let error = line.error.ok_or_else(|| Error::Protocol("an error without its words".to_owned()))?;
            return Ok(Said::Refused(topic, line.pattern, error.into()));
        }
        "heartbeat" => return Ok(Said::Heartbeat(line.at)),
        "goaway" => {
            return Ok(Said::GoAway(Duration::from_millis(line.after_ms), Duration::from_millis(line.jitter_ms)));
        }
        _ => return Ok(Said::Other),
    };
    Ok(Said::Push(topic, event))
}

impl Line<'_> {
    fn entry(self, topic: Arc<str>, kind: EntryKind) -> Result<Entry, Error> {
        Ok(Entry {
            topic,
            kind,
            seq: self.seq,
            ts_us: self.ts,
            source_seq: self.source_seq,
            key: self.key.unwrap_or_default(),
            data: data(self.data, self.base64)?,
        })
    }

    fn snapshot(self, topic: Arc<str>) -> Result<Snapshot, Error> {
        let items: Vec<Item<'_>> = result(self.data.ok_or_else(|| Error::Protocol("a snapshot without data".into()))?)?;
        let entry = |item: Item<'_>| {
            let data = data(item.data, item.base64)?;
            Ok(SnapshotEntry { key: item.key, seq: item.seq, ts_us: item.ts, data })
        };
        let entries = items.into_iter().map(entry).collect::<Result<_, Error>>()?;
        let epoch = self.epoch.unwrap_or_default();
        Ok(Snapshot { topic, epoch, seq: self.seq, first: self.first, last: self.last, entries })
    }

    fn subscribed(self, topic: Arc<str>) -> Subscribed {
        let state = match self.state.as_deref() {
            Some("resumed") => TopicState::Resumed,
            Some("reset") => TopicState::Reset,
            _ => TopicState::New,
        };
        let kind = if self.topic_kind.as_deref() == Some("keyed") { TopicKind::Keyed } else { TopicKind::Plain };
        let epoch = self.epoch.unwrap_or_default();
        let id = self.id.and_then(|id| id.get().parse().ok()).unwrap_or_default();
        Subscribed { topic, pattern: self.pattern, epoch, seq: self.seq, head: self.head, state, kind, id }
    }
}

fn data(raw: Option<&RawValue>, is_base64: bool) -> Result<Data, Error> {
    let Some(raw) = raw else { return Ok(Data::default()) };
    if !is_base64 {
        return Ok(Data::json(raw.get()));
    }
    let text: Cow<'_, str> = result(raw)?;
    STANDARD.decode(text.as_bytes()).map(Data::bytes).map_err(|error| Error::Protocol(format!("base64: {error}")))
}

/// Reads a result as what it is to be.
pub(crate) fn result<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T, Error> {
    serde_json::from_str(raw.get()).map_err(|error| Error::Protocol(error.to_string()))
}

/// Reads the answer to `subscribe`.
pub(crate) fn begun(raw: &RawValue) -> Result<Vec<Begun>, Error> {
    let one = |line: Line<'_>| {
        let topic: Arc<str> = (&*line.topic).into();
        match line {
            Line { error: Some(error), .. } => Begun::Refused(topic, error.into()),
            Line { ref state, .. } if state.as_deref() == Some("pattern") => Begun::Pattern,
            line => Begun::Topic(line.subscribed(topic)),
        }
    };
    Ok(result::<Vec<Line<'_>>>(raw)?.into_iter().map(one).collect())
}

/// Reads the items of a history, which are as pushes.
pub(crate) fn items(raw: &RawValue) -> Result<Vec<Entry>, Error> {
    let lines: Vec<&RawValue> = result(raw)?;
    let entry = |raw: &RawValue| match read(raw.get())? {
        Said::Push(_, Event::Entry(entry)) => Ok(entry),
        _ => Err(Error::Protocol("an item of the history is no entry".to_owned())),
    };
    lines.into_iter().map(entry).collect()
}

/// A request as its text.
pub(crate) fn request(id: u64, method: &str, params: &impl Serialize) -> String {
    #[derive(Serialize)]
    struct Request<'a, P> {
        id: u64,
        method: &'a str,
        params: &'a P,
    }
    serde_json::to_string(&Request { id, method, params }).expect("what a request is made of can be written")
}

#[derive(Serialize)]
struct SubscribeParams<'a> {
    topics: &'a [Arc<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age_ms: Option<u128>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    since: BTreeMap<&'a str, Since<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Since<'a> {
    epoch: &'a str,
    seq: u64,
}

/// A subscription to `topics`, which begin where `known` says, or where `options` does.
pub(crate) fn subscribe(
    id: u64,
    topics: &[Arc<str>],
    options: &Subscribe,
    known: &BTreeMap<Arc<str>, Position>,
) -> String {
    let said = options.since.iter().map(|(topic, position)| (topic.as_str(), position));
    let places = known.iter().map(|(topic, position)| (&**topic, position));
    let info: Option<&RawValue> = options.info.as_deref().and_then(|json| serde_json::from_str(json).ok());
    let params = SubscribeParams {
        topics,
        mode: options.latest.then_some("latest"),
        rate: options.rate,
        max_age_ms: options.max_age.map(|age| age.as_millis()),
        history: options.history.filter(|_| known.is_empty()),
        since: said.chain(places).map(|(topic, position)| (topic, place(position))).collect(),
        snapshot: (!options.snapshot).then_some(false),
        info,
    };
    request(id, "subscribe", &params)
}

fn place(position: &Position) -> Since<'_> {
    Since { epoch: &position.epoch, seq: position.seq }
}

#[derive(Serialize)]
struct PublishParams<'a> {
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remove: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bound: Option<bool>,
}

/// A publish.
///
/// # Errors
/// If its JSON is none.
pub(crate) fn publish(id: u64, publish: &Publish) -> Result<String, Error> {
    let not_json = |error: serde_json::Error| {
        let message = format!("what is published to {} is no JSON: {error}", publish.topic);
        Error::Refused(Refusal { code: 400, message, retry: false, after: None })
    };
    let quoted;
    let (data, base64, remove) = match &publish.body {
        Body::Json(json) => (Some(serde_json::from_str(json.trim()).map_err(not_json)?), None, None),
        Body::Bytes(base64) => {
            quoted = format!("\"{base64}\"");
            (Some(serde_json::from_str(&quoted).map_err(not_json)?), Some(true), None)
        }
        Body::Remove => (None, None, Some(true)),
    };
    let params = PublishParams {
        topic: &publish.topic,
        key: publish.key.as_deref(),
        data,
        base64,
        remove,
        idempotency_key: publish.idempotency_key.as_deref(),
        source_seq: publish.source_seq,
        bound: publish.bound.then_some(true),
    };
    Ok(request(id, "publish", &params))
}

impl From<ErrorBody> for Refusal {
    fn from(body: ErrorBody) -> Self {
        let after = body.after_ms.map(Duration::from_millis);
        Self { code: body.code, message: body.message, retry: body.retry, after }
    }
}
