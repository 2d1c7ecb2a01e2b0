//! The Rust client (`ringwire-client`) against the server.

use std::future::Future;
use std::time::Duration;

use ringwire_client::{
    Account, Client, Entry, Event, KeyedState, Options, Publish, Subscribe, Subscription, TopicState,
};

use crate::support::Server;

/// Nothing that is awaited takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

const KEYED: &str = "[[topics]]\nmatch = \"book.>\"\nkind = \"keyed\"\n";

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it takes no longer")
}

/// A client that speaks JSON.
async fn connect(server: &Server) -> Client {
    connect_as(server, false).await
}

/// A client that speaks JSON, or records.
async fn connect_as(server: &Server, binary: bool) -> Client {
    let url = format!("ws://{}/connect", server.address);
    soon(Client::connect(&url, Options { binary, ..Options::default() })).await.expect("a session")
}

async fn subscribe(client: &Client, options: Subscribe) -> Subscription {
    client.subscribe(options).await.expect("the client is open")
}

/// Publishes and waits for the acknowledgement; the seq.
async fn publish(client: &Client, publish: Publish) -> u64 {
    soon(client.publish(publish).await.expect("the client is open")).await.expect("it is taken").seq
}

/// The next entry.
async fn entry(subscription: &mut Subscription) -> Entry {
    loop {
        match soon(subscription.next()).await.expect("the client is open") {
            Event::Entry(entry) => return entry,
            Event::Subscribed(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The account of the only topic.
async fn account(subscription: &Subscription) -> Account {
    let account = subscription.account().await.expect("the client is open").remove(0);
    assert!(account.is_balanced(), "{account:?}");
    account
}

#[tokio::test]
async fn what_one_client_publishes_another_receives_in_order_and_accounted_for() {
    for binary in [false, true] {
        in_order(binary).await;
    }
}

async fn in_order(binary: bool) {
    let server = Server::start(&[]);
    let (publisher, subscriber) = (connect_as(&server, binary).await, connect_as(&server, binary).await);
    let mut subscription = subscribe(&subscriber, Subscribe::to("both.>")).await;
    subscriber.ping().await.expect("it stands behind the subscription");
    let mut acknowledgements = Vec::new();
    for n in 1..=500 {
        let publish = Publish::json("both.a", format!("{{\"n\": {n}}}")).source_seq(n * 10);
        acknowledgements.push(publisher.publish(publish).await.expect("the client is open"));
    }
    for (acknowledgement, wanted) in acknowledgements.into_iter().zip(1..) {
        assert_eq!(soon(acknowledgement).await.expect("it is taken").seq, wanted);
    }
    for n in 1..=500 {
        let entry = entry(&mut subscription).await;
        assert_eq!((entry.seq, entry.source_seq, &*entry.topic), (n, Some(n * 10), "both.a"));
        assert_eq!(entry.data.as_str(), Some(&*format!("{{\"n\": {n}}}")));
    }
    let account = account(&subscription).await;
    assert_eq!((account.from, account.delivered, account.skipped, account.gap), (1, 500, 0, 0));
}

#[tokio::test]
async fn bytes_come_as_bytes_and_a_repeated_key_is_published_once() {
    let server = Server::start(&[]);
    let client = connect(&server).await;
    let mut subscription = subscribe(&client, Subscribe::to("a")).await;
    assert_eq!(publish(&client, Publish::bytes("a", &[0, 255]).idempotency_key("k")).await, 1);
    assert_eq!(publish(&client, Publish::bytes("a", &[0, 255]).idempotency_key("k")).await, 1);
    assert_eq!(publish(&client, Publish::json("a", "[]")).await, 2);
    let first = entry(&mut subscription).await;
    assert_eq!((&first.data.as_bytes()[..], first.data.as_str()), (&[0, 255][..], None));
    assert_eq!(entry(&mut subscription).await.seq, 2);
    let history = soon(client.history("a", 1, 10)).await.expect("it is kept");
    assert_eq!((history.items.len(), history.head, &history.items[0]), (2, 2, &first));
}

#[tokio::test]
async fn a_subscription_goes_on_where_another_stopped() {
    let server = Server::start(&[]);
    let client = connect(&server).await;
    for n in 1..=4 {
        publish(&client, Publish::json("past", n.to_string())).await;
    }
    let mut first = subscribe(&client, Subscribe::to("past").history(2)).await;
    let Some(Event::Subscribed(begun)) = soon(first.next()).await else { panic!("it begins") };
    assert_eq!((begun.seq, begun.head, entry(&mut first).await.seq), (2, 4, 3));
    first.unsubscribe().await;
    let position = ringwire_client::Position { epoch: begun.epoch, seq: 3 };
    let mut second = subscribe(&client, Subscribe::to("past").since("past", position)).await;
    let Some(Event::Subscribed(begun)) = soon(second.next()).await else { panic!("it begins") };
    assert_eq!((begun.state, entry(&mut second).await.seq), (TopicState::Resumed, 4));
}

#[tokio::test]
async fn a_keyed_state_is_the_same_for_who_reads_all_and_who_reads_the_latest() {
    let server = Server::start_configured(KEYED);
    let (publisher, reader) = (connect(&server).await, connect(&server).await);
    let mut all = subscribe(&reader, Subscribe::to("book.X")).await;
    let slow = connect_as(&server, true).await;
    let mut latest = subscribe(&slow, Subscribe::to("book.X").latest().rate(20).capacity(4)).await;
    for n in 0..2000_u32 {
        let key = format!("k{}", n % 50);
        let publish = match n % 7 {
            6 => Publish::remove("book.X", key),
            _ => Publish::json("book.X", n.to_string()).key(key),
        };
        publisher.publish(publish).await.expect("the client is open");
    }
    let last = publish(&publisher, Publish::json("book.X", "\"end\"").key("end")).await;
    let mut states = [KeyedState::new(), KeyedState::new()];
    let mut skipped = Vec::new();
    for (subscription, state) in [&mut all, &mut latest].into_iter().zip(&mut states) {
        while state.get("end").is_none() {
            let event = soon(subscription.next()).await.expect("the client is open");
            state.apply(&event);
        }
        let account = account(subscription).await;
        assert_eq!((account.from + account.published - 1, account.gap), (last, 0));
        skipped.push(account.skipped);
    }
    let [all, latest] = states.map(|state| state.iter().map(|(k, v)| (k.to_owned(), v.clone())).collect::<Vec<_>>());
    assert_eq!(all, latest);
    assert!(skipped[0] == 0 && skipped[1] > 0, "{skipped:?}");
}

#[tokio::test]
async fn what_is_refused_says_so() {
    let server = Server::start(&[]);
    let client = connect(&server).await;
    let mut subscription = subscribe(&client, Subscribe::to_all(["fine", "not fine"])).await;
    let refused = loop {
        if let Event::Refused { topic, error } = soon(subscription.next()).await.expect("an answer") {
            break (topic.to_string(), error.code);
        }
    };
    assert_eq!(refused, ("not fine".to_owned(), 400));
    let acknowledgement = client.publish(Publish::json("no such", "1")).await.expect("the client is open");
    assert!(
        matches!(soon(acknowledgement).await, Err(ringwire_client::Error::Refused(refusal)) if refusal.code == 400)
    );
}

#[tokio::test]
async fn a_bound_key_goes_with_its_client() {
    let server = Server::start_configured(KEYED);
    let (one, other) = (connect(&server).await, connect(&server).await);
    publish(&one, Publish::json("book.hands", "\"up\"").key("one").bound()).await;
    let mut subscription = subscribe(&other, Subscribe::to("book.hands")).await;
    let mut state = KeyedState::new();
    while !state.is_whole() {
        state.apply(&soon(subscription.next()).await.expect("an event"));
    }
    assert!(state.get("one").is_some());
    one.close().await;
    while state.get("one").is_some() {
        state.apply(&soon(subscription.next()).await.expect("an event"));
    }
}
