//! `ringwire publish --ndjson`: lines for many topics, each acknowledged or told of.

use crate::client::publish;
use crate::support::Server;

#[test]
fn each_line_is_published_to_its_topic_and_acknowledged() {
    const LINES: usize = 10_000;
    let server = Server::start_configured("[[topics]]\nmatch = \"k\"\nkind = \"keyed\"\n");
    let mut subscriber = server.socket("/stream?streams=k");
    let line = |nth: usize| match nth % 2 {
        0 => format!("{{\"topic\":\"k\",\"key\":\"k{nth}\",\"data\":[{nth}.50]}}\n"),
        _ => format!("{{\"topic\":\"a\",\"data\":{nth}}}\n"),
    };
    let input: String = (0..LINES).map(line).collect();
    let (lines, code) = publish(&server, "/connect", &["--ndjson"], input.as_bytes());
    assert_eq!((lines, code), (vec![format!("ringwire: published {LINES} messages")], Some(0)));
    let topics = server.get("/topics").body;
    assert_eq!(topics.matches(&format!("\"seq\":{}", LINES / 2)).count(), 2, "{topics}");
    assert_eq!(subscriber.text(), "{\"stream\":\"k\",\"data\":[0.50],\"key\":\"k0\"}");
}

#[test]
fn a_line_that_is_refused_is_told_of_and_the_others_are_published() {
    let server = Server::start(&[]);
    let input =
        b"{\"topic\":\"a\",\"data\":1}\n\nnonsense\n[1]\n{\"topic\":\"a b\",\"data\":1}\n{\"topic\":\"a\",\"data\":2}";
    let (lines, code) = publish(&server, "/connect", &["--ndjson"], input);
    assert_eq!(code, Some(1));
    let told = ["line 3: it is no JSON", "line 4: it is JSON, but no object", "line 5: the server refuses it: \"a b\""];
    for words in told.into_iter().chain(["published 2 messages", "3 lines were not published"]) {
        assert_eq!(lines.iter().filter(|line| line.starts_with(&format!("ringwire: {words}"))).count(), 1, "{lines:?}");
    }
    assert!(server.get("/topics").body.contains("\"name\":\"a\",\"seq\":2"));
}

#[test]
fn lines_that_go_where_they_are_not_published_are_no_success() {
    let server = Server::start(&[]);
    let (lines, code) = publish(&server, "/connect", &[], b"{\"topic\":\"a\",\"data\":1}\n");
    assert_eq!(code, Some(1));
    assert!(lines.len() == 1 && lines[0].contains("with --ndjson to one of /connect"), "{lines:?}");
}
