//! HTTP endpoints: the page, health, topics, publish; and the words for whoever asks for something else.

use ringwire_codec::http::Request;
use ringwire_engine::{Context, Peer, Response};
use serde::Serialize;

use super::admission::Unpublished;
use super::{Service, cors};
use crate::auth::{Credentials, Denial, Grant};
use crate::broker::{Mail, Refused};
use crate::ingest::source::SourceHealth;
use crate::journal::JournalHealth;
use crate::page;
use crate::routes::{Route, RouteFault, Speech};
use crate::status::FeedState;

/// Answer of `/health`.
#[derive(Serialize)]
struct Health<'a> {
    /// `ok`, or `degraded` if the feed or a source has failed or the journal is not well.
    status: &'static str,
    version: &'static str,
    shards: usize,
    topics: usize,
    subscriptions: u64,
    /// What is published from besides clients' connections.
    sources: Vec<SourceHealth<'a>>,
    feed: FeedHealth,
    #[serde(skip_serializing_if = "Option::is_none")]
    journal: Option<JournalHealth>,
}

#[derive(Serialize)]
struct FeedHealth {
    #[serde(flatten)]
    state: FeedState,
    events: u64,
}

/// Answer of `/topics`.
#[derive(Serialize)]
struct Topics<'a> {
    topics: Vec<TopicHealth<'a>>,
}

#[derive(Serialize)]
struct TopicHealth<'a> {
    name: &'a str,
    /// Number of the last message; 0 before the first.
    seq: u64,
    subscribers: u64,
    /// Messages that subscribers did not get because they read too slowly: the sum over them.
    gap: u64,
}

impl Service {
    /// Answers a request for `route`.
    pub(super) fn answer(
        &mut self,
        cx: &mut Context<'_, Mail>,
        route: Route,
        peer: &Peer,
        request: &Request<'_>,
        body: &mut [u8],
    ) -> Response {
        let methods = match route.speech() {
            Speech::Get => "GET, HEAD",
            Speech::Post => "POST",
            Speech::Socket => "GET",
        };
        match (route.speech(), request.method()) {
            (_, "OPTIONS") => return cors::preflight(request, peer, self.agreements.origin(), methods),
            (Speech::Get, "GET" | "HEAD") | (Speech::Post, "POST") => {}
            (Speech::Get | Speech::Post, _) => return wrong_method(methods),
            (Speech::Socket, _) => return socket_only(),
        }
        match route {
            Route::Page => page::page(request.header("If-None-Match")),
            Route::Script => page::script(request.header("If-None-Match")),
            Route::Health => self.health(),
            Route::Metrics => self.metrics(cx),
            Route::Topics => {
                self.grant(request, cx.wall_clock_us()).map_or_else(|denied| denied, |grant| self.topics(&grant))
            }
            Route::PublishOnce(name) => match self.publish_once(cx, &name, peer, request, body) {
                Ok(response) | Err(response) => response,
            },
            Route::Events(_) => wrong_method(methods),
            Route::PublishBatch => match self.publish_batch(cx, peer, request, body) {
                Ok(response) | Err(response) => response,
            },
            Route::Connect | Route::Echo | Route::Subscribe(_) | Route::Combined(_) | Route::PublishSocket(_) => {
                socket_only()
            }
        }
    }

    fn health(&self) -> Response {
        let broker = &self.broker;
        let state = broker.status.feed();
        let journal = broker.journal.as_ref().map(|journal| journal.health());
        let is_well = !matches!(state, FeedState::Failed { .. })
            && broker.sources.iter().all(|source| source.is_well())
            && journal.as_ref().is_none_or(|journal| journal.state == "ok");
        json(&Health {
            status: if is_well { "ok" } else { "degraded" },
            version: env!("CARGO_PKG_VERSION"),
            shards: broker.shards.get(),
            topics: broker.hub.len(),
            subscriptions: broker.subscriptions(),
            feed: FeedHealth { state, events: broker.status.feed_events() },
            sources: broker.sources.iter().map(|source| source.health()).collect(),
            journal,
        })
    }

    /// The topics that may be subscribed to.
    fn topics(&self, grant: &Grant) -> Response {
        let mut topics = self.broker.hub.topics();
        topics.retain(|topic| grant.may_subscribe(&self.broker.rules, topic.name()).is_ok());
        let topics = topics.iter().map(|topic| TopicHealth {
            name: topic.name().as_str(),
            seq: topic.last_seq(),
            subscribers: topic.subscriptions(),
            gap: topic.gap(),
        });
        json(&Topics { topics: topics.collect() })
    }
}

/// What a request shows of its sender.
pub(super) fn credentials<'a>(request: &Request<'a>) -> Credentials<'a> {
    Credentials {
        host: request.header("Host"),
        origin: request.header("Origin"),
        authorization: request.header("Authorization"),
        api_key: request.header("X-API-Key"),
        token: request.query_param("token"),
    }
}

/// Words for a path that is not served.
pub(super) fn fault(fault: &RouteFault) -> Response {
    Response::text(fault.status(), format!("{fault}\n"))
}

/// Words for who may not (RFC 6750 §3; RFC 9110 §10.2.3 for when to come again).
pub(super) fn denied(denial: Denial) -> Response {
    refusal(denial, format!("{denial}\n"))
}

/// The same about a topic.
pub(super) fn denied_topic(denial: Denial, name: &ringwire_hub::TopicName) -> Response {
    refusal(denial, format!("{name}: {denial}\n"))
}

fn refusal(denial: Denial, words: String) -> Response {
    let response = Response::text(denial.status(), words);
    match (denial, denial.after_ms()) {
        (Denial::TokenMissing, _) => response.header("WWW-Authenticate", "Bearer realm=\"ringwire\""),
        (_, Some(after_ms)) => response.header("Retry-After", after_ms.div_ceil(1000).to_string()),
        _ if denial.status() == 401 => {
            response.header("WWW-Authenticate", "Bearer realm=\"ringwire\", error=\"invalid_token\"")
        }
        _ => response,
    }
}

/// Words for what is too long, or too much.
pub(super) fn unpublished(why: Unpublished) -> Response {
    match why {
        Unpublished::TooLong { .. } => Response::text(413, format!("{why}\n")),
        Unpublished::Denied(denial) => denied(denial),
    }
}

/// Words for who asks for a WebSocket where there is none.
pub(super) fn no_socket_here() -> Response {
    Response::text(
        400,
        "this path is plain HTTP; WebSocket is at /connect, /ws/<topic>, /stream, /pub/<topic> and /echo\n",
    )
}

/// Words for who asks for no WebSocket where there is one (RFC 9110 §15.5.22).
fn socket_only() -> Response {
    let hint = "this path is a WebSocket: open it with one, as in\n  ringwire subscribe ws://HOST/ws/<topic>\n\
                To publish over HTTP: POST /publish/<topic>\n";
    Response::text(426, hint).header("Upgrade", "websocket")
}

fn wrong_method(allow: &'static str) -> Response {
    Response::text(405, format!("this path takes {allow}\n")).header("Allow", format!("{allow}, OPTIONS"))
}

/// Words for what a topic does not take.
pub(super) fn refused(refused: Refused) -> Response {
    Response::text(refused.status(), format!("{refused}\n"))
}

fn json(value: &impl Serialize) -> Response {
    let mut body = simd_json::to_vec(value).expect("plain values are written to memory");
    body.push(b'\n');
    Response::json(200, body).header("Cache-Control", "no-store")
}
