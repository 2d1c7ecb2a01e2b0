//! A server that is the client of another one.

use super::wait;
use crate::support::Server;

/// A server that connects to `upstream`, with these keys.
fn client_of(upstream: &Server, path: &str, keys: &str) -> Server {
    let url = format!("ws://{}{path}", upstream.address);
    let server = Server::start_configured(&format!("[[upstream]]\nurl = {url:?}\n{keys}\n"));
    wait("it is connected", || server.get("/health").body.contains("\"state\":\"running\",\"connections\":1"));
    server
}

#[test]
fn messages_of_an_upstream_server_go_where_they_say() {
    let first = Server::start(&[]);
    let keys = "topic = \"copy.{/stream}\"\ndata_at = \"/data\"\nseq_at = \"/data/n\"";
    let second = client_of(&first, "/stream?streams=a/b", keys);
    first.await_topic("b", "\"subscribers\":1");
    let (mut a, mut b) = (second.socket("/ws/copy.a"), second.socket("/ws/copy.b"));
    first.publish("a", "{ \"p\": 1.50, \"n\":7 }");
    first.publish("b", "no JSON");
    assert_eq!(a.text(), "{ \"p\": 1.50, \"n\":7 }");
    assert_eq!(b.text(), "\"no JSON\"");
    assert!(second.get("/health").body.contains("\"published\":2,\"dropped\":0"));
    assert!(second.get("/metrics").body.contains("ringwire_source_published_total{kind=\"upstream\",source=\"ws://"));
}

#[test]
fn what_is_subscribed_to_by_a_text_is_published_with_its_keys() {
    let first = Server::start_configured("[[topics]]\nmatch = \"book\"\nkind = \"keyed\"\n");
    let keys = "subscribe = ['{\"id\":1,\"method\":\"subscribe\",\"params\":{\"topics\":\"book\",\"snapshot\":false}}']\n\
                topic_at = \"/topic\"\nkey_at = \"/key\"\ndata_at = \"/data\"\n\
                [[topics]]\nmatch = \"book\"\nkind = \"keyed\"";
    let mut second = client_of(&first, "/connect", keys);
    first.await_topic("book", "\"subscribers\":1");
    let mut subscriber = second.socket("/stream?streams=book");
    assert_eq!(first.request("POST", "/publish/book?key=b:1", &[], b"{\"q\":\"0.70\"}").status, 200);
    assert_eq!(subscriber.text(), "{\"stream\":\"book\",\"data\":{\"q\":\"0.70\"},\"key\":\"b:1\"}");
    // The answer to the subscription names no topic.
    let said = second.process.line().expect("it is said");
    let want = "a message is not published, there is no /topic in it that could be used: \"{\\\"id\\\":1,";
    assert!(said.contains(want) && said.contains("dropped (1 so far for this reason)"), "{said}");
    assert!(second.get("/metrics").body.contains(",why=\"unmapped\"} 1\n"));
}

#[test]
fn a_connection_that_ends_is_made_anew() {
    let first = Server::start(&[]);
    let address = first.address.to_string();
    let second = client_of(&first, "/ws/a", "topic = \"a\"");
    let mut subscriber = second.socket("/ws/a");
    first.await_topic("a", "\"subscribers\":1");
    first.publish("a", "before");
    assert_eq!(subscriber.text(), "before");
    drop(first);
    wait("its end is noticed", || {
        let health = second.get("/health").body;
        health.contains("\"status\":\"degraded\"") && health.contains("\"state\":\"retrying\",\"error\":\"")
    });
    let again = Server::start(&["--listen", &address]);
    wait("it is connected again", || second.get("/health").body.contains("\"state\":\"running\",\"connections\":1"));
    again.await_topic("a", "\"subscribers\":1");
    again.publish("a", "after");
    assert_eq!(subscriber.text(), "after");
}

#[test]
fn a_faulty_upstream_is_said_before_the_server_starts() {
    let lines = Server::refuses("[[upstream]]\nurl = \"http://a\"\ntopic = \"a.{/b\"\nkey_at = \"b\"\n[[upstream]]\n");
    let all = lines.join("\n");
    for want in [
        "upstream[0].url = \"http://a\": ",
        "upstream[0].topic = \"a.{/b\": a brace is opened and not closed",
        "upstream[0].key_at = \"b\": a JSON pointer is needed",
        "upstream[1].url: this is needed",
        "upstream[1].topic: either topic",
    ] {
        assert!(all.contains(want), "{want}: {all}");
    }
}

#[test]
fn an_upstream_inside_tls_is_known_by_its_certificate() {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let folder = std::env::temp_dir().join(format!("ringwire-upstream-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.join(name));
    std::fs::write(&certificate, own.cert.pem()).expect("a file");
    std::fs::write(&key, own.signing_key.serialize_pem()).expect("a file");
    let files = format!("{},{}", certificate.display(), key.display());
    let first = Server::start(&["--tls", &files, "--tls-optional"]);
    let upstream = |keys: &str| {
        let url = format!("wss://{}/ws/a", first.address);
        Server::start_configured(&format!("[[upstream]]\nurl = {url:?}\ntopic = \"a\"\n{keys}\n"))
    };
    let mut stranger = upstream("");
    let said = stranger.process.line().expect("it is said");
    assert!(said.contains("the certificate of 127.0.0.1") && said.contains("it is tried again"), "{said}");
    let friend = upstream(&format!("ca = {certificate:?}"));
    let mut subscriber = friend.socket("/ws/a");
    first.await_topic("a", "\"subscribers\":1");
    first.publish("a", "secret");
    assert_eq!(subscriber.text(), "secret");
    let _ = std::fs::remove_dir_all(&folder);
}
