//! Publishing over HTTP: one message, or many in one request.
//!
//! `POST /publish/<topic>`: the body is the message; query and headers say what else there is to it. `POST /publish`: each
//! line, or each element of an array, is the params of a publish as the native protocol has them. The lines are published
//! one by one, in order: one that is refused does not keep the others from being published, and the answer has a result
//! for each.
//!
//! On a persistent topic the answer waits until all of it is on disk ([`Durable`](super::durable::Durable)).

use std::borrow::Cow;

use ringwire_codec::http::Request;
use ringwire_engine::{Context, Peer, Response};
use ringwire_hub::{Published, Subject, TopicName};

use super::admission::{self, Unpublished};
use super::native::refusal;
use super::{Service, cors, http};
use crate::auth::Grant;
use crate::broker::Mail;
use crate::json::{write_number, write_string};
use crate::lanes::{Payload, Publication};
use crate::native::fault::Fault;
use crate::native::reply;
use crate::native::request::Publish;
use crate::native::scan;

/// Most messages of one request: what a shard does in one go.
pub const BATCH_MAX: usize = 1000;
/// What the query of `/publish/<topic>` may have.
const PARAMETERS: &str = "key, remove, idempotency_key, source_seq and token";

/// What a request says of its message beside the body.
#[derive(Debug, Default)]
struct Extra<'a> {
    key: Option<Cow<'a, str>>,
    remove: bool,
    idempotency_key: Option<Cow<'a, str>>,
    source_seq: Option<u64>,
}

/// Who publishes, from where, and when.
struct Sender<'a> {
    grant: Grant,
    peer: &'a Peer,
    now_us: u64,
}

impl Service {
    /// Publishes the body.
    pub(super) fn publish_once(
        &mut self,
        cx: &mut Context<'_, Mail>,
        name: &TopicName,
        peer: &Peer,
        request: &Request<'_>,
        body: &[u8],
    ) -> Result<Response, Response> {
        let sender = self.sender(cx, peer, request)?;
        sender.grant.may_publish(&self.broker.rules, name).map_err(|denial| http::denied_topic(denial, name))?;
        let extra = Extra::read(request).map_err(|words| Response::text(400, format!("{words}\n")))?;
        let payload = payload(request.header("Content-Type"), body)?;
        let publication = extra.publication(payload).map_err(|words| Response::text(400, format!("{words}\n")))?;
        let bytes = payload.len();
        admission::may_publish_once(&self.broker, &sender.grant, peer, name, bytes, sender.now_us)
            .map_err(http::unpublished)?;
        let mut topic = self.open(name)?;
        let published = self.fanout.publish(cx, &self.broker, &mut topic, publication).map_err(http::refused)?;
        self.durable.wait_for(published.ticket);
        let mut answer = Vec::new();
        write_published(&mut answer, name, &published);
        answer.push(b'\n');
        Ok(Response::json(200, answer).header("Cache-Control", "no-store"))
    }

    /// Publishes each line of the body, or each element of the array that it is.
    pub(super) fn publish_batch(
        &mut self,
        cx: &mut Context<'_, Mail>,
        peer: &Peer,
        request: &Request<'_>,
        body: &[u8],
    ) -> Result<Response, Response> {
        let sender = self.sender(cx, peer, request)?;
        let lines = lines(body).map_err(|words| Response::text(400, format!("{words}\n")))?;
        if lines.len() > BATCH_MAX {
            let words = format!("{} messages are too many: a request has at most {BATCH_MAX}\n", lines.len());
            return Err(Response::text(413, words));
        }
        let (mut answer, mut codes) = (b"[".to_vec(), Vec::new());
        let mut parser = std::mem::take(&mut self.parser);
        for line in lines {
            answer.extend_from_slice(if codes.is_empty() { b"" } else { b",\n" });
            let result = parser.publish(line, |params| self.publish_params(cx, &sender, &params?, &mut answer));
            if let Err(fault) = &result {
                answer.push(b'{');
                reply::error_member(&mut answer, fault);
                answer.push(b'}');
            }
            codes.push(result.map_or_else(|fault| fault.code(), |()| 200));
        }
        self.parser = parser;
        answer.extend_from_slice(b"]\n");
        Ok(Response::json(status(&codes), answer).header("Cache-Control", "no-store"))
    }

    /// Publishes what one line says, and writes the answer to it.
    fn publish_params(
        &mut self,
        cx: &mut Context<'_, Mail>,
        sender: &Sender<'_>,
        params: &Publish<'_>,
        answer: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let Sender { grant, peer, now_us } = sender;
        let name = TopicName::new(params.topic).map_err(|error| Fault::Name(params.topic.to_owned(), error))?;
        grant.may_publish(&self.broker.rules, &name)?;
        if params.bound {
            return Err(Fault::Kind(
                "a key is bound to a WebSocket connection, and HTTP has none: leave \"bound\" out",
            ));
        }
        let publication = params.publication(0);
        let bytes = publication.payload.len();
        admission::may_publish_once(&self.broker, grant, peer, &name, bytes, *now_us).map_err(|why| match why {
            Unpublished::TooLong { max } => Fault::TooLarge(bytes, max),
            Unpublished::Denied(denial) => denial.into(),
        })?;
        let mut topic = self.broker.open(&name)?;
        let published = self.fanout.publish(cx, &self.broker, &mut topic, publication);
        let published = published.map_err(|refused| refusal(refused, &publication))?;
        self.durable.wait_for(published.ticket);
        write_published(answer, &name, &published);
        Ok(())
    }

    /// Who sent a request that publishes.
    fn sender<'p>(
        &self,
        cx: &Context<'_, Mail>,
        peer: &'p Peer,
        request: &Request<'_>,
    ) -> Result<Sender<'p>, Response> {
        if !self.agreements.origin().admits(request, peer.encrypted) {
            return Err(cors::foreign());
        }
        let now_us = cx.wall_clock_us();
        Ok(Sender { grant: self.grant(request, now_us)?, peer, now_us })
    }
}

impl<'a> Extra<'a> {
    /// Reads query and headers; words for what is wrong with them.
    fn read(request: &Request<'a>) -> Result<Self, String> {
        let mut extra = Self::default();
        let mut source_seq = None;
        for (name, value) in request.query_params() {
            match &*name {
                "key" => once("key", &mut extra.key, value)?,
                "idempotency_key" => once("idempotency_key", &mut extra.idempotency_key, value)?,
                "source_seq" => once("source_seq", &mut source_seq, value)?,
                "remove" => {
                    extra.remove = match &*value {
                        "" | "1" | "true" => true,
                        "0" | "false" => false,
                        _ => return Err(format!("remove={value}: 1 or 0 is needed")),
                    }
                }
                "token" => {}
                _ => return Err(format!("there is no parameter {name:?}: a publish takes {PARAMETERS}")),
            }
        }
        for (header, slot, name) in [
            ("Idempotency-Key", &mut extra.idempotency_key, "idempotency_key"),
            ("Source-Seq", &mut source_seq, "source_seq"),
        ] {
            if let Some(value) = request.header(header) {
                once(name, slot, value.into())?;
            }
        }
        let wrong = |text: &str| format!("source_seq={text}: a whole number from 0 to 2^64 - 1 is needed");
        extra.source_seq = source_seq.map(|text| text.parse().map_err(|_| wrong(&text))).transpose()?;
        Ok(extra)
    }

    /// What `payload` publishes; words, if it cannot be that.
    fn publication<'p>(&'p self, payload: Payload<'p>) -> Result<Publication<'p>, &'static str> {
        let subject = match (&self.key, self.remove) {
            (None, false) => Subject::Message,
            (Some(key), false) => Subject::Update(key),
            (Some(_), true) if !payload.is_empty() => return Err("a removal has no body: leave it out"),
            (Some(key), true) => Subject::Remove(key),
            (None, true) => return Err("a removal needs the key that is removed, as in ?key=b:1&remove=1"),
        };
        let idempotency_key = self.idempotency_key.as_deref();
        Ok(Publication { subject, source_seq: self.source_seq, idempotency_key, ..payload.into() })
    }
}

/// Puts a value where it belongs, unless another is there.
fn once<'a>(name: &str, slot: &mut Option<Cow<'a, str>>, value: Cow<'a, str>) -> Result<(), String> {
    match slot {
        Some(other) if *other != value => Err(format!("{name} is given twice: {other:?} and {value:?}")),
        _ => {
            *slot = Some(value);
            Ok(())
        }
    }
}

/// A body as a message: bytes if it is declared as such, else text.
fn payload<'a>(content_type: Option<&str>, body: &'a [u8]) -> Result<Payload<'a>, Response> {
    let media_type = content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/octet-stream") {
        return Ok(Payload::Binary(body));
    }
    std::str::from_utf8(body).map(Payload::Text).map_err(|_| {
        Response::text(400, "the body is not UTF-8; to publish bytes, send Content-Type: application/octet-stream\n")
    })
}

/// The messages of a batch, each a JSON text.
fn lines(body: &[u8]) -> Result<Vec<&str>, String> {
    let form = "a batch is one JSON object a line, {\"topic\":\"a\",\"data\":{}}, or an array of such";
    let text = std::str::from_utf8(body).map_err(|_| format!("the body is not UTF-8: {form}"))?;
    let lines = match text.trim_ascii_start().starts_with('[') {
        true => {
            scan::elements(text).ok_or_else(|| format!("the array does not end, or has no comma somewhere: {form}"))?
        }
        false => scan::objects(text).collect(),
    };
    if lines.is_empty() { Err(format!("the body is empty: {form}")) } else { Ok(lines) }
}

/// The status of a batch: all were published, some (RFC 4918 §11.1), or none, for the first one's reason.
fn status(codes: &[u16]) -> u16 {
    match codes.iter().filter(|code| **code == 200).count() {
        0 => codes[0],
        some if some < codes.len() => 207,
        _ => 200,
    }
}

fn write_published(out: &mut Vec<u8>, name: &TopicName, published: &Published) {
    out.extend_from_slice(b"{\"topic\":");
    write_string(out, name.as_str());
    out.extend_from_slice(b",\"seq\":");
    write_number(out, published.seq);
    if published.is_duplicate {
        out.extend_from_slice(b",\"duplicate\":true");
    }
    out.push(b'}');
}
