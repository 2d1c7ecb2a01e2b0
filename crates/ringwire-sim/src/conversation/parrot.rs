//! The server of a conversation: what it answers depends on what it was asked, and on nothing else.

use std::sync::Arc;

use ringwire_codec::deflate::{Deflate, DeflateOptions, InflationLimit};
use ringwire_codec::handshake::{OriginPolicy, Policy};
use ringwire_codec::http::Request;
use ringwire_codec::{CloseCode, Message};
use ringwire_engine::{
    Accept, Answer, CloseReason, ConnectionId, Context, Handler, MessageKind, Opening, Peer, Response, Upgrade,
};

use crate::echo::Connections;

/// Marks answers to HEAD, which announce a body and have none.
pub(super) const HEAD_ONLY: &str = "X-Head";

/// Repeats what it hears. A text that begins with `!c` makes it close, `!p` ping, and `!b` say it 20 times at once.
#[derive(Debug)]
pub(super) struct Parrot {
    open: Connections,
    policy: Arc<Policy>,
}

impl Parrot {
    pub(super) fn new() -> Self {
        // With contexts, and with a ratio that is reached below the limit on messages.
        let deflate = Deflate::new(DeflateOptions {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            inflation: InflationLimit { ratio_max: 4, floor_bytes: 1024 },
            ..DeflateOptions::DEFAULT
        });
        let policy = Policy {
            subprotocols: vec!["b".to_owned(), "a".to_owned()],
            origin: OriginPolicy::SameOrigin,
            extension: Some(Arc::new(deflate)),
        };
        Self { open: Connections::default(), policy: Arc::new(policy) }
    }

    pub(super) fn assert_nothing_left(&self) {
        self.open.assert_nothing_left();
    }
}

impl Handler for Parrot {
    type Mail = ();

    fn policy(&mut self, _: &Peer, _: &Request<'_>) -> Arc<Policy> {
        Arc::clone(&self.policy)
    }

    fn on_upgrade(&mut self, _: &mut Context<'_, ()>, id: ConnectionId, opening: &Opening<'_>) -> Upgrade {
        let request = opening.request;
        if request.decoded_path().is_none_or(|path| path == "/refused") {
            return Response::text(403, "not here\n").into();
        }
        self.open.upgraded(id);
        // A peer's text in the head of the answer must not become more than a value.
        let headers = request.query_param("say").map(|words| ("X-Said", words.into_owned())).into_iter().collect();
        Accept { headers }.into()
    }

    fn on_open(&mut self, cx: &mut Context<'_, ()>, id: ConnectionId) {
        self.open.opened(id);
        cx.send_text(id, "hello").expect("an open connection takes a message");
    }

    fn on_message(&mut self, cx: &mut Context<'_, ()>, id: ConnectionId, message: Message<'_>) {
        self.open.assert_open(id);
        let kind = if message.is_text() { MessageKind::Text } else { MessageKind::Binary };
        let bytes = message.bytes();
        match bytes.get(..2).filter(|_| kind == MessageKind::Text) {
            Some(b"!c") => cx.close(id, CloseCode::new(4000), "as you wish"),
            Some(b"!p") => cx.ping(id, bytes).expect("an open connection takes a ping"),
            Some(b"!b") => {
                for _ in 0..20 {
                    cx.send(id, kind, bytes).expect("what it holds back is still little");
                }
            }
            _ => cx.send_back(id, message).expect("a peer that is behind is not heard"),
        }
    }

    fn on_pong(&mut self, cx: &mut Context<'_, ()>, id: ConnectionId, payload: &[u8]) {
        self.open.assert_open(id);
        // A pong may come while this side closes, when nothing may be said any more.
        let _ = cx.send_binary(id, payload);
    }

    fn on_close(&mut self, cx: &mut Context<'_, ()>, id: ConnectionId, _: &CloseReason) {
        self.open.closed(id);
        assert!(cx.send_text(id, "too late").is_err(), "nothing is sent to a connection that has ended");
    }

    fn on_http(
        &mut self,
        _: &mut Context<'_, ()>,
        _: ConnectionId,
        peer: &Peer,
        request: &Request<'_>,
        body: &mut [u8],
    ) -> Answer {
        // Where the peer itself is depends on the network.
        let client = peer.address.filter(|_| peer.proxy.is_some()).map_or(String::new(), |client| format!("{client} "));
        let words = format!("{client}{} {} {}", request.method(), request.path(), body.escape_ascii());
        let response = Response::text(200, words);
        if request.method() == "HEAD" { response.header(HEAD_ONLY, "1").into() } else { response.into() }
    }
}
