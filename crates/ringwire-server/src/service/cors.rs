//! What pages of other origins may do over HTTP (the Fetch standard's CORS protocol).
//!
//! The origin policy that decides on WebSockets decides here too: a page that is let in may read what is served, and
//! ask before it publishes. Whether it may publish is [`auth`](crate::auth)'s decision, made when it does.

use ringwire_codec::handshake::OriginPolicy;
use ringwire_codec::http::Request;
use ringwire_engine::{Peer, Response};

/// How long a browser may remember the answer to a preflight: two hours is the most that browsers do.
const PREFLIGHT_SECONDS: &str = "7200";

/// Adds what lets a page of the request's origin read `response`, if the policy lets it in.
pub(super) fn share(response: Response, request: &Request<'_>, peer: &Peer, policy: &OriginPolicy) -> Response {
    // Also where there is no Origin: a cache must not give a page what was made for a program.
    let response = if *policy == OriginPolicy::Any { response } else { response.header("Vary", "Origin") };
    let Some(origin) = request.header("origin").filter(|_| policy.admits(request, peer.encrypted)) else {
        return response;
    };
    let allowed = if *policy == OriginPolicy::Any { "*" } else { origin };
    response.header("Access-Control-Allow-Origin", allowed)
}

/// Answers OPTIONS: which methods there are, and to a preflight whether a page may use them.
pub(super) fn preflight(request: &Request<'_>, peer: &Peer, policy: &OriginPolicy, methods: &'static str) -> Response {
    let response = Response { status: 204, headers: Vec::new(), body: (&[][..]).into() };
    let response = response.header("Allow", format!("{methods}, OPTIONS"));
    if request.header("origin").is_none() || request.header("access-control-request-method").is_none() {
        return response;
    }
    if !policy.admits(request, peer.encrypted) {
        return foreign();
    }
    response
        .header("Access-Control-Allow-Methods", methods)
        .header("Access-Control-Allow-Headers", "Authorization, Content-Type, X-API-Key, Idempotency-Key, Source-Seq")
        .header("Access-Control-Max-Age", PREFLIGHT_SECONDS)
}

/// Words for a page that is not let in.
pub(super) fn foreign() -> Response {
    Response::text(403, "pages of this origin are not let in (origin.allow of the server's configuration)\n")
}
