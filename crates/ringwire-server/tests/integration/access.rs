//! Who is let in: each denial over real sockets, with its status or close code and words that say what to do.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ringwire_ring::wall_clock_us;

use crate::support::{Answer, PATIENCE, Received, Server, Socket, ringwire};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "another secret that is long enough";

/// A token of these claims; what they do not say is added: it is of user `u1` and expires in a minute.
fn token(secret: &str, header: &str, claims: &str) -> String {
    let expires = wall_clock_us() / 1_000_000 + 60;
    let claims = match claims {
        "" => format!(r#"{{"sub":"u1","exp":{expires}}}"#),
        _ if claims.contains("\"exp\"") => format!("{{{claims}}}"),
        _ => format!(r#"{{"sub":"u1","exp":{expires},{claims}}}"#),
    };
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

pub(crate) fn hs256(claims: &str) -> String {
    token(SECRET, r#"{"alg":"HS256"}"#, claims)
}

/// A server that takes tokens of [`SECRET`], with more configuration.
pub(crate) fn server(more: &str) -> Server {
    Server::start_configured(&format!("[auth]\nhmac_secret = \"{SECRET}\"\nleeway_ms = 0\n{more}"))
}

fn publish(server: &Server, topic: &str, token: &str) -> Answer {
    let authorization = format!("Bearer {token}");
    let headers: &[_] = if token.is_empty() { &[] } else { &[("Authorization", authorization.as_str())] };
    server.request("POST", &format!("/publish/{topic}"), headers, b"x")
}

/// The answer to an opening handshake, with the token in the query.
fn open(server: &Server, path: &str, token: &str) -> Result<Socket, Answer> {
    let token = if token.is_empty() { String::new() } else { format!("token={token}") };
    let mark = if path.contains('?') { '&' } else { '?' };
    Socket::try_open(server.address, &format!("{path}{mark}{token}"), &[])
}

/// A folder of this test's own, gone when it ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringwire-access-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }

    /// Puts a file in the place of another at once.
    fn replace(&self, name: &str, text: &str) -> PathBuf {
        let (new, file) = (self.0.join(format!("{name}.new")), self.0.join(name));
        std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &file)).expect("a file can be written");
        file
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn jwks(keys: &[(&str, &str)]) -> String {
    let key = |(kid, secret): &(&str, &str)| {
        format!(r#"{{"kty":"oct","kid":"{kid}","alg":"HS256","k":"{}"}}"#, URL_SAFE_NO_PAD.encode(secret))
    };
    format!(r#"{{"keys":[{}]}}"#, keys.iter().map(key).collect::<Vec<_>>().join(","))
}

fn config_with_jwks(file: &Path) -> String {
    format!("[auth]\njwks_file = \"{}\"\npublish = [\">\"]\n", file.display())
}

#[test]
fn each_bad_token_is_told_what_is_wrong_with_it() {
    let server = server("");
    for (token, words) in [
        (String::new(), "this needs a token"),
        ("nothing".to_owned(), "no key or token of this server"),
        ("a.b.c".to_owned(), "no JWT"),
        (token(OTHER, r#"{"alg":"HS256"}"#, ""), "signature is wrong"),
        (token(SECRET, r#"{"alg":"none"}"#, ""), "alg is not taken"),
        (token(SECRET, r#"{"alg":"RS256"}"#, ""), "another alg"),
        (hs256(r#""sub":"u1""#).replace('.', "..").replacen("..", ".", 1), "no JWT"),
        (hs256(r#""exp":1000"#), "expired"),
        (hs256(r#""exp":"soon""#), "claims are not as they must be"),
        (hs256(r#""nbf":99999999999"#), "not valid yet"),
        (hs256(r#""aud":"others""#), "auth.audience"),
    ] {
        let post = publish(&server, "a", &token);
        let bearer = if token.is_empty() {
            "Bearer realm=\"ringwire\""
        } else {
            "Bearer realm=\"ringwire\", error=\"invalid_token\""
        };
        assert_eq!((post.status, post.header("www-authenticate")), (401, Some(bearer)), "{words}");
        assert!(post.body.contains(words), "{words} is not in: {}", post.body);
        for path in ["/ws/a", "/stream?streams=a/b", "/pub/a"] {
            let answer = open(&server, path, &token).err().expect("refused");
            assert_eq!(answer.status, 401, "{path}: {words}");
            assert!(answer.body.contains(words), "{path}: {words} is not in: {}", answer.body);
        }
    }
}

#[test]
fn a_token_without_expiry_is_taken_only_where_that_is_said() {
    let without = || format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#), URL_SAFE_NO_PAD.encode("{}"));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), without().as_bytes());
    let token = format!("{}.{}", without(), URL_SAFE_NO_PAD.encode(signature));
    let refused = open(&server(""), "/ws/a", &token).err().expect("refused");
    assert!(refused.status == 401 && refused.body.contains("auth.expiry_required"), "{}", refused.body);
    assert!(open(&server("expiry_required = false\n"), "/ws/a", &token).is_ok());
}

#[test]
fn a_token_opens_its_topics_and_no_others() {
    let server = server("");
    let token = hs256(r#""subscribe":["book.>"],"publish":["book.*"]"#);
    let mut subscriber = open(&server, "/ws/book.a", &token).unwrap_or_else(|answer| panic!("{}", answer.body));
    assert_eq!(publish(&server, "book.a", &token).status, 200);
    assert_eq!(subscriber.text(), "x");
    for (path, words) in [
        ("/ws/chat", "chat: this is not among what the token or key may subscribe to"),
        ("/stream?streams=book.a/chat", "chat: this is not among what the token or key may subscribe to"),
        ("/pub/book.a.b", "book.a.b: this is not among what the token or key may publish to"),
        ("/pub/$presence.book.a", "nobody may publish to this topic"),
    ] {
        let answer = open(&server, path, &token).err().expect("refused");
        assert_eq!(answer.status, 403, "{path}");
        assert!(answer.body.contains(words), "{path}: {}", answer.body);
    }
    let events = server.get(&format!("/sse/chat?token={token}"));
    assert!(events.status == 403 && events.body.contains("chat: this is not among"), "{}", events.body);
    assert_eq!(server.get("/sse/book.a").status, 401, "without a token");
    let post = publish(&server, "chat", &token);
    assert!(post.status == 403 && post.body.contains("chat: this is not among"), "{}", post.body);
}

#[test]
fn topics_are_listed_for_who_may_subscribe_to_them() {
    let server = server("");
    let all = hs256(r#""publish":[">"]"#);
    for topic in ["book.a", "chat"] {
        assert_eq!(publish(&server, topic, &all).status, 200);
    }
    let names = |token: &str| {
        let authorization = format!("Bearer {token}");
        let body = server.request("GET", "/topics", &[("Authorization", &authorization)], b"").body;
        ["book.a", "chat"].map(|name| body.contains(name))
    };
    assert_eq!(names(&all), [true, true]);
    assert_eq!(names(&hs256(r#""subscribe":["book.>"]"#)), [true, false]);
    assert_eq!(server.get("/topics").body, "{\"topics\":[]}\n");
    assert_eq!(server.request("GET", "/topics", &[("Authorization", "Bearer x")], b"").status, 401);
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn guests_do_what_a_rule_opens_to_anyone() {
    let server = server(
        "[[topics]]\nmatch = \"open.>\"\nsubscribe = \"anyone\"\npublish = \"anyone\"\n\
         [[topics]]\nmatch = \"shut.>\"\nsubscribe = \"nobody\"\npublish = \"nobody\"\n",
    );
    let mut guest = open(&server, "/ws/open.a", "").unwrap_or_else(|answer| panic!("{}", answer.body));
    assert_eq!(publish(&server, "open.a", "").status, 200);
    assert_eq!(guest.text(), "x");
    assert_eq!(open(&server, "/ws/other", "").err().expect("refused").status, 401);
    let all = hs256(r#""publish":[">"]"#);
    let words = [publish(&server, "shut.a", &all), open(&server, "/ws/shut.a", &all).err().expect("refused")];
    assert_eq!(words.map(|answer| (answer.status, answer.body.contains("nobody may"))), [(403, true); 2]);
}

#[test]
fn api_keys_are_taken_from_each_place_they_may_stand_in() {
    let server = Server::start_configured(
        "[[auth.api_keys]]\nname = \"desk\"\nsecret = \"0123456789abcdef\"\npublish = [\"book.>\"]\n",
    );
    for (name, value) in [
        ("Authorization", "Bearer 0123456789abcdef"),
        ("Authorization", "ApiKey 0123456789abcdef"),
        ("X-API-Key", "0123456789abcdef"),
    ] {
        assert_eq!(server.request("POST", "/publish/book.a", &[(name, value)], b"x").status, 200, "{name}: {value}");
    }
    assert!(open(&server, "/pub/book.a", "0123456789abcdef").is_ok());
    assert_eq!(open(&server, "/pub/chat", "0123456789abcdef").err().expect("refused").status, 403);
    let wrong = server.request("POST", "/publish/book.a", &[("X-API-Key", "0123456789abcdeF")], b"x");
    assert!(wrong.status == 401 && wrong.body.contains("no key or token of this server"), "{}", wrong.body);
}

#[test]
fn a_connection_ends_when_its_token_does() {
    let server = server("publish = [\">\"]\n");
    for path in ["/ws/a", "/stream?streams=a", "/pub/a"] {
        let expires = (wall_clock_us() + 700_000) as f64 / 1e6;
        let mut socket = open(&server, path, &hs256(&format!(r#""exp":{expires}"#)))
            .unwrap_or_else(|answer| panic!("{}", answer.body));
        let stays = open(&server, path, &hs256("")).unwrap_or_else(|answer| panic!("{}", answer.body));
        let Received::Close(code, reason) = socket.receive() else { panic!("not closed") };
        assert_eq!(code, 4001, "{path}");
        assert!(reason.contains("expired"), "{reason}");
        assert!(wall_clock_us() as f64 / 1e6 >= expires, "not before");
        assert_eq!(stays.close(), 1000, "others stay");
    }
    let expires = (wall_clock_us() + 700_000) as f64 / 1e6;
    let events = server.get(&format!("/sse/a?token={}", hs256(&format!(r#""exp":{expires}"#))));
    assert_eq!(events.status, 200);
    assert!(wall_clock_us() as f64 / 1e6 >= expires, "the stream ends, and not before");
}

#[test]
fn keys_are_rotated_by_replacing_their_file() {
    let folder = Folder::new("rotate");
    let file = folder.replace("jwks.json", &jwks(&[("old", SECRET)]));
    let mut server = Server::start_configured(&config_with_jwks(&file));
    let [old, new] = [(SECRET, "old"), (OTHER, "new")]
        .map(|(secret, kid)| token(secret, &format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#), ""));
    let live = open(&server, "/ws/a", &old).unwrap_or_else(|answer| panic!("{}", answer.body));
    let refused = publish(&server, "a", &new);
    assert!(refused.status == 401 && refused.body.contains("kid"), "{}", refused.body);

    folder.replace("jwks.json", &jwks(&[("old", SECRET), ("new", OTHER)]));
    server.process.signal("HUP");
    let line = server.process.line().expect("it says so");
    assert_eq!(line, "ringwire: SIGHUP: tokens are verified with 2 keys");
    assert_eq!([publish(&server, "a", &old).status, publish(&server, "a", &new).status], [200, 200]);

    folder.replace("jwks.json", "{\"keys\":[]}");
    let line = server.process.line().expect("it says so");
    assert!(line.contains("THE KEYS OF TOKENS STAY AS THEY WERE") && line.contains("jwks.json"), "{line}");
    assert_eq!(publish(&server, "a", &new).status, 200);

    folder.replace("jwks.json", &jwks(&[("new", OTHER)]));
    let line = server.process.line().expect("it looks at the file by itself");
    assert_eq!(line, "ringwire: a file of keys has changed: tokens are verified with 1 key");
    assert_eq!([publish(&server, "a", &old).status, publish(&server, "a", &new).status], [401, 200]);
    assert_eq!(live.close(), 1000, "who is in stays in");
}

#[test]
fn keys_that_cannot_be_used_are_named_at_the_start() {
    let folder = Folder::new("faulty");
    let private = folder.replace("key.pem", "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n");
    for (key, file, words) in [
        ("public_key_file", private.display().to_string(), "key.pem: this is a private key"),
        ("jwks_file", folder.0.join("none").display().to_string(), "cannot read"),
    ] {
        let config = folder.replace("config.toml", &format!("[auth]\n{key} = \"{file}\"\n"));
        let mut command = ringwire();
        command.args(["--listen", "127.0.0.1:0", "--feed", "none", "--config"]).arg(config);
        let (lines, status) = crate::support::Process::start(command).end();
        assert_eq!(status.code(), Some(2), "{lines:?}");
        assert!(lines.concat().contains(words), "{words} is not in: {lines:?}");
    }
}

#[test]
fn a_user_has_so_many_connections_on_all_shards() {
    let server = server("[users]\nconnections_max = 3\n");
    let mut open_ones: Vec<Socket> =
        (0..3).map(|_| open(&server, "/ws/a", &hs256("")).unwrap_or_else(|answer| panic!("{}", answer.body))).collect();
    let refused = open(&server, "/ws/a", &hs256("")).err().expect("refused");
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    assert!(refused.body.contains("3 connections"), "{}", refused.body);
    let other = hs256(&format!(r#""sub":"u2","exp":{}"#, wall_clock_us() / 1_000_000 + 60));
    assert!(open(&server, "/ws/a", &other).is_ok());
    assert_eq!(open_ones.pop().expect("three").close(), 1000);
    // The server takes the seat back when it has closed, which is after the client has seen the answer.
    let clock = ringwire_ring::Clock::start();
    while open(&server, "/ws/a", &hs256("")).is_err() {
        assert!(clock.now().since(ringwire_ring::Instant::default()) < PATIENCE, "the seat stays taken");
    }
}

#[test]
fn who_publishes_too_fast_or_too_much_is_told() {
    let server = Server::start_configured(
        "[[topics]]\nmatch = \"slow\"\npublish_per_second_max = 1\npublish_burst = 2\n\
         [[topics]]\nmatch = \"short\"\nentry_bytes_max = 3\n",
    );
    let mut publisher = server.socket("/pub/slow");
    (0..50).for_each(|_| publisher.send_text("x"));
    let Received::Close(code, reason) = publisher.receive() else { panic!("not closed") };
    assert_eq!(code, 4029);
    assert!(reason.contains("go slower"), "{reason}");
    let refused = (0..50).map(|_| server.publish("slow", "x")).find(|answer| answer.status != 200).expect("refused");
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));

    let mut publisher = server.socket("/pub/short");
    publisher.send_text("abcd");
    let Received::Close(code, reason) = publisher.receive() else { panic!("not closed") };
    assert!(code == 1009 && reason.contains("at most 3 bytes"), "{code} {reason}");
    assert_eq!([server.publish("short", "abc").status, server.publish("short", "abcd").status], [200, 413]);
}
