//! What comes in: publishers of every kind, and topics that come and go under them.

mod http;
mod udp;
mod unix;
mod upstream;

use crate::support::{PATIENCE, Server};
use ringwire_ring::{Clock, Instant};

/// Asks until `is_so`.
fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let clock = Clock::start();
    while !is_so() {
        assert!(clock.now().since(Instant::default()) < PATIENCE, "{what}");
    }
}

#[test]
fn a_publishers_topic_that_was_let_go_is_opened_again() {
    let config = "[hub]\ntopics_idle_ms = 1\n[[topics]]\nmatch = \"a\"\nretention.age_ms = 500\n";
    let server = Server::start_configured(config);
    let mut publisher = server.socket("/pub/a");
    publisher.send_text("1");
    // It may be published and let go before anybody looks.
    wait("it is published", || server.get("/metrics").body.contains("\nringwire_published_total 1\n"));
    wait("an idle topic is let go", || !server.get("/topics").body.contains("\"a\""));
    let mut subscriber = server.socket("/ws/a");
    publisher.send_text("2");
    assert_eq!(subscriber.text(), "2");
    server.await_topic("a", "\"seq\":1");
}
