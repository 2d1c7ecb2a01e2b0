//! The client's connection against a scripted server: streams in memory and a clock that the test moves, so that no wait
//! takes time.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ringwire_client::{Client, Connecting, Error, Event, Options, Publish, Stream, Subscribe, Token, TokenFuture};
use ringwire_codec::handshake::{Policy, Url, accept};
use ringwire_codec::http::Request;
use ringwire_codec::{CloseCode, Decoder, DecoderLimits, Message, Opcode, Role, encode_close, encode_frame};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// More than any wait of the client; nothing that is awaited takes longer.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a stream holds that is not read.
const STREAM_BYTES: usize = 4096;

/// A server's connections, one after the other.
struct Server {
    streams: mpsc::UnboundedReceiver<DuplexStream>,
}

/// The server's side of one connection.
struct Peer {
    stream: DuplexStream,
    decoder: Decoder,
    requests: std::collections::VecDeque<Value>,
    close: Option<u16>,
}

impl Server {
    /// A server, and options that lead to it.
    fn start() -> (Self, Options) {
        let (accepted, streams) = mpsc::unbounded_channel();
        let connector = move |_: &Url| -> Connecting {
            let (ours, theirs) = duplex(STREAM_BYTES);
            let outcome = accepted.send(theirs).map_err(|_| std::io::Error::other("nobody listens"));
            Box::pin(async move { outcome.map(|()| Box::new(ours) as Box<dyn Stream>) })
        };
        (Self { streams }, Options { connector: Some(Arc::new(connector)), ..Options::default() })
    }

    /// The next connection, its opening handshake made.
    async fn accept(&mut self) -> Peer {
        let mut stream = soon(self.streams.recv()).await.expect("the client connects");
        let mut input = Vec::new();
        let response = loop {
            assert!(soon(stream.read_buf(&mut input)).await.expect("a request") > 0);
            if let Some((request, _)) = Request::parse(&input).expect("a request") {
                let policy = Policy { subprotocols: vec!["ringwire.json.1".into()], ..Policy::default() };
                break accept(&request, &policy).expect("an opening handshake").response(&[]);
            }
        };
        stream.write_all(&response).await.expect("the client reads");
        let decoder = Decoder::new(Role::Server, DecoderLimits::default());
        Peer { stream, decoder, requests: Default::default(), close: None }
    }

    /// The next connection, its client let in.
    async fn welcome(&mut self) -> (Peer, Value) {
        let mut peer = self.accept().await;
        let params = peer.let_in(json!({ "client": "c1", "time": 1, "heartbeat_ms": 10_000 })).await;
        (peer, params)
    }
}

impl Peer {
    /// Answers `connect`; its params.
    async fn let_in(&mut self, session: Value) -> Value {
        let request = self.asked("connect").await;
        self.say(&json!({ "id": request["id"], "result": session })).await;
        request["params"].clone()
    }

    async fn say(&mut self, message: &Value) {
        self.frame(Opcode::Text, message.to_string().as_bytes()).await;
    }

    async fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut frame = Vec::new();
        encode_frame(&mut frame, opcode, payload, None);
        soon(self.stream.write_all(&frame)).await.expect("the client reads");
    }

    async fn close(mut self, code: u16) {
        self.frame(Opcode::Close, &encode_close(Some(CloseCode::new(code)), "")).await;
        // Until its end, as a client may still be writing.
        while self.read().await {}
    }

    /// Reads once; whether there was something.
    async fn read(&mut self) -> bool {
        let mut input = Vec::new();
        let count = soon(self.stream.read_buf(&mut input)).await.unwrap_or(0);
        let mut rest = &mut input[..];
        while !rest.is_empty() {
            let step = self.decoder.decode(rest).expect("the client keeps to RFC 6455");
            match step.event {
                Some(ringwire_codec::Event::Message(Message::Text(text))) => {
                    self.requests.push_back(serde_json::from_str(text.as_str()).expect("JSON"));
                }
                Some(ringwire_codec::Event::Close(frame)) => self.close = frame.map(|frame| frame.code.value()),
                _ => {}
            }
            let consumed = step.consumed;
            rest = &mut rest[consumed..];
        }
        count > 0
    }

    /// The next request, which must be of this method.
    async fn asked(&mut self, method: &str) -> Value {
        while self.requests.is_empty() {
            assert!(self.read().await, "no {method} came");
        }
        let request = self.requests.pop_front().expect("it is not empty");
        assert_eq!(request["method"], method, "{request}");
        request
    }

    async fn subscribed(&mut self, seq: u64, state: &str) -> Value {
        let request = self.asked("subscribe").await;
        let result = json!([{ "topic": "a", "epoch": "e1", "seq": seq, "head": seq, "state": state, "kind": "plain" }]);
        self.say(&json!({ "id": request["id"], "result": result })).await;
        request["params"].clone()
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it takes no longer")
}

/// A client with a session, and the server's side of it.
async fn connected(server: &mut Server, options: Options) -> (Client, Peer) {
    let (client, (peer, _)) = tokio::join!(Client::connect("ws://test/connect", options), server.welcome());
    (client.expect("a session"), peer)
}

fn message(seq: u64) -> Value {
    json!({ "topic": "a", "type": "message", "seq": seq, "ts": 1, "data": seq })
}

async fn seq(subscription: &mut ringwire_client::Subscription) -> u64 {
    loop {
        match soon(subscription.next()).await.expect("an event") {
            Event::Entry(entry) => return entry.seq,
            Event::Subscribed(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_says_who_it_is_subscribes_and_publishes() {
    let (mut server, options) = Server::start();
    let options = Options { token: Token::Fixed("secret".into()), name: Some("test".into()), ..options };
    let (client, (mut peer, params)) = tokio::join!(Client::connect("ws://test/connect", options), server.welcome());
    let client = client.expect("a session");
    assert_eq!(params, json!({ "token": "secret", "name": "test" }));
    let mut subscription = client.subscribe(Subscribe::to("a")).await.expect("a subscription");
    peer.subscribed(0, "new").await;
    let acknowledged = client.publish(Publish::json("a", "{\"n\": 1}")).await.expect("it is open");
    let publish = peer.asked("publish").await;
    assert_eq!(publish["params"]["data"], json!({ "n": 1 }));
    peer.say(&json!({ "id": publish["id"], "result": { "seq": 1, "epoch": "e1" } })).await;
    peer.say(&message(1)).await;
    assert_eq!((soon(acknowledged).await.expect("an answer").seq, seq(&mut subscription).await), (1, 1));
    let account = subscription.account().await.expect("it is open");
    assert_eq!((account[0].delivered, account[0].is_balanced()), (1, true));
    client.close().await;
    while peer.read().await {}
    assert_eq!((peer.close, subscription.next().await), (Some(1000), None));
    assert!(matches!(client.ping().await, Err(Error::Closed(_))));
}

#[tokio::test(start_paused = true)]
async fn after_a_loss_the_client_comes_back_and_resumes() {
    let (mut server, options) = Server::start();
    let (client, mut peer) = connected(&mut server, options).await;
    let mut subscription = client.subscribe(Subscribe::to("a")).await.expect("a subscription");
    peer.subscribed(0, "new").await;
    peer.say(&message(1)).await;
    assert_eq!(seq(&mut subscription).await, 1);
    for code in [None, Some(1001), Some(1012), Some(4008), Some(4029)] {
        match code {
            None => drop(peer),
            Some(code) => peer.close(code).await,
        }
        (peer, _) = server.welcome().await;
        let params = peer.subscribed(1, "resumed").await;
        assert_eq!(params["since"], json!({ "a": { "epoch": "e1", "seq": 1 } }), "{code:?}");
    }
    peer.say(&message(2)).await;
    assert_eq!(seq(&mut subscription).await, 2);
}

#[tokio::test(start_paused = true)]
async fn after_a_final_close_the_client_ends() {
    for code in [1000, 1002, 1008, 1009, 4001, 4003] {
        let (mut server, options) = Server::start();
        let (client, peer) = connected(&mut server, options).await;
        let mut subscription = client.subscribe(Subscribe::to("a")).await.expect("a subscription");
        peer.close(code).await;
        assert_eq!(soon(subscription.next()).await, None, "{code}");
        assert!(server.streams.recv().await.is_none(), "{code}: its task is gone");
    }
}

#[tokio::test(start_paused = true)]
async fn goaway_says_when_to_come_back() {
    let (mut server, options) = Server::start();
    let (_client, mut peer) = connected(&mut server, options).await;
    peer.say(&json!({ "type": "goaway", "why": "restart", "after_ms": 30_000, "jitter_ms": 1000 })).await;
    let begun = Instant::now();
    peer.close(1012).await;
    server.welcome().await;
    let waited = begun.elapsed().as_secs_f64();
    assert!((29.9..31.1).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_asked_and_then_given_up() {
    let (mut server, options) = Server::start();
    let (_client, mut peer) = connected(&mut server, options).await;
    let begun = Instant::now();
    peer.asked("ping").await;
    assert_eq!(begun.elapsed().as_secs(), 12);
    assert!(!peer.read().await, "it asks once");
    assert_eq!(begun.elapsed().as_secs(), 25);
    server.welcome().await;
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_does_not_read_stops_the_reading_and_loses_nothing() {
    let (mut server, options) = Server::start();
    let (client, mut peer) = connected(&mut server, options).await;
    let mut subscription = client.subscribe(Subscribe::to("a").capacity(2)).await.expect("a subscription");
    peer.subscribed(0, "new").await;
    // Far more than subscription, input buffer and stream hold together.
    const COUNT: u64 = 5000;
    let write = async {
        for seq in 1..=COUNT {
            peer.say(&message(seq)).await;
        }
    };
    let mut write = std::pin::pin!(write);
    let stalls = timeout(Duration::from_secs(60), &mut write).await;
    assert!(stalls.is_err(), "the client reads on without a reader");
    let read = async {
        for wanted in 1..=COUNT {
            assert_eq!(seq(&mut subscription).await, wanted);
        }
    };
    tokio::join!(write, read);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_dropped_is_unsubscribed_and_holds_up_nothing() {
    let (mut server, options) = Server::start();
    let (client, mut peer) = connected(&mut server, options).await;
    let subscription = client.subscribe(Subscribe::to("a").capacity(1)).await.expect("a subscription");
    peer.subscribed(0, "new").await;
    for seq in 1..=3 {
        peer.say(&message(seq)).await;
    }
    drop(subscription);
    assert_eq!(peer.asked("unsubscribe").await["params"], json!(["a"]));
}

/// Gives `token 1`, `token 2`, ..
fn tokens() -> Token {
    let count = std::sync::atomic::AtomicU32::new(0);
    Token::Get(Arc::new(move || -> TokenFuture {
        let count = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        Box::pin(async move { Ok(format!("token {count}")) })
    }))
}

#[tokio::test(start_paused = true)]
async fn a_token_is_kept_until_it_expires_and_refreshed_before_that() {
    let (mut server, options) = Server::start();
    let (_client, peer) = connected(&mut server, Options { token: tokens(), ..options }).await;
    drop(peer);
    let (peer, params) = server.welcome().await;
    assert_eq!(params["token"], "token 1");
    peer.close(4001).await;
    let mut peer = server.accept().await;
    let request = peer.asked("connect").await;
    assert_eq!(request["params"]["token"], "token 2");
    peer.say(&json!({ "id": request["id"], "error": { "code": 401, "message": "expired" } })).await;
    let mut peer = server.accept().await;
    let session = json!({ "client": "c1", "time": 1_000_000, "expires": 101_000_000 });
    assert_eq!(peer.let_in(session).await["token"], "token 3");
    let begun = Instant::now();
    assert_eq!(peer.asked("refresh").await["params"], json!({ "token": "token 4" }));
    assert_eq!(begun.elapsed().as_secs(), 80);
}

#[tokio::test(start_paused = true)]
async fn a_first_attempt_that_fails_says_why() {
    let connect = |options| Client::connect("ws://test/connect", options);
    let (server, options) = Server::start();
    drop(server);
    assert!(matches!(connect(options).await, Err(Error::Closed(why)) if why.contains("nobody listens")));
    let (mut server, options) = Server::start();
    let refuse = async {
        let mut peer = server.accept().await;
        let request = peer.asked("connect").await;
        peer.say(&json!({ "id": request["id"], "error": { "code": 401, "message": "no such token" } })).await;
        peer
    };
    let (refused, _peer) = tokio::join!(connect(options), refuse);
    assert!(matches!(refused, Err(Error::Refused(refusal)) if refusal.code == 401));
    assert_eq!(Client::connect("wss://test/", Options::default()).await.err(), Some(Error::NoTls));
    assert!(matches!(Client::connect("http://test/", Options::default()).await, Err(Error::Url(_))));
}
