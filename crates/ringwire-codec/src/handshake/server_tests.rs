//! Each rule of the server's side of the opening handshake.

use super::*;
use crate::extension::Extension;

const FIELDS: [(&str, &str); 5] = [
    ("Host", "server.example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
];

/// The RFC's request (§1.2), with a field replaced (`Some`) or left out (`None`), and others added.
fn request(changed: Option<(&str, Option<&str>)>, added: &[(&str, &str)]) -> String {
    let mut head = String::from("GET /chat HTTP/1.1\r\n");
    for (name, value) in FIELDS {
        let value = match changed {
            Some((changed, value)) if changed == name => value,
            _ => Some(value),
        };
        head.extend(value.map(|value| format!("{name}: {value}\r\n")));
    }
    head.extend(added.iter().map(|(name, value)| format!("{name}: {value}\r\n")));
    head + "\r\n"
}

fn decide<'p>(head: &str, policy: &'p Policy) -> Result<Accepted<'p>, Refusal> {
    accept(&Request::parse(head.as_bytes()).unwrap().unwrap().0, policy)
}

fn refusal(head: &str) -> Refusal {
    decide(head, &Policy::default()).expect_err("a request to be refused")
}

#[test]
fn the_rfcs_request_is_accepted_with_its_key() {
    let policy = Policy::default();
    let accepted = decide(&request(None, &[]), &policy).unwrap();
    let response = String::from_utf8(accepted.response(&[("X-Shard", "1")])).unwrap();
    assert_eq!(
        response,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-Shard: 1\r\n\r\n"
    );
}

#[test]
fn tokens_are_compared_without_case_and_may_stand_in_lists() {
    let browser = request(Some(("Connection", Some("keep-alive, UPGRADE"))), &[]);
    assert!(decide(&browser, &Policy::default()).is_ok());
    assert!(decide(&request(Some(("Upgrade", Some("WebSocket"))), &[]), &Policy::default()).is_ok());
}

#[test]
fn each_missing_field_is_named_in_the_refusal() {
    let cases = [
        ("Upgrade", Refusal::UPGRADE),
        ("Connection", Refusal::CONNECTION),
        ("Sec-WebSocket-Key", Refusal::KEY),
        ("Sec-WebSocket-Version", Refusal::VERSION),
    ];
    for (name, want) in cases {
        assert_eq!(refusal(&request(Some((name, None)), &[])), want, "{name}");
    }
    assert_eq!(refusal(&request(Some(("Host", Some(""))), &[])), Refusal::HOST);
}

#[test]
fn other_methods_versions_and_bodies_are_refused() {
    let head = request(None, &[]);
    assert_eq!(refusal(&head.replace("GET", "POST")), Refusal::METHOD);
    assert_eq!(refusal(&head.replace("HTTP/1.1", "HTTP/1.0")), Refusal::HTTP_VERSION);
    assert_eq!(refusal(&request(None, &[("Content-Length", "1")])), Refusal::BODY);
    assert_eq!(refusal(&request(None, &[("Transfer-Encoding", "chunked")])), Refusal::BODY);
    assert!(decide(&request(None, &[("Content-Length", "0")]), &Policy::default()).is_ok());
}

#[test]
fn a_key_is_16_bytes_in_base64_and_stands_once() {
    for wrong in ["", "AAAA", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZSEh", "!GhlIHNhbXBsZSBub25jZQ=="] {
        assert_eq!(refusal(&request(Some(("Sec-WebSocket-Key", Some(wrong))), &[])), Refusal::KEY, "{wrong}");
    }
    let twice = request(None, &[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]);
    assert_eq!(refusal(&twice), Refusal::KEY);
}

#[test]
fn another_version_is_answered_with_426_and_the_version_spoken() {
    for version in ["8", "14", "13, 8", ""] {
        let refusal = refusal(&request(Some(("Sec-WebSocket-Version", Some(version))), &[]));
        assert_eq!((refusal.status, refusal.headers[0]), (426, ("Sec-WebSocket-Version", "13")), "{version}");
    }
}

#[test]
fn the_servers_order_of_subprotocols_decides() {
    let policy = Policy { subprotocols: vec!["v2".into(), "v1".into()], ..Policy::default() };
    let chosen = |offer: &str| {
        let head = request(None, &[("Sec-WebSocket-Protocol", offer)]);
        decide(&head, &policy).unwrap().subprotocol.map(str::to_owned)
    };
    assert_eq!(chosen("v1, v2").as_deref(), Some("v2"));
    assert_eq!(chosen("v0,v1").as_deref(), Some("v1"));
    assert_eq!(chosen("V1, v3"), None, "subprotocols are compared with case");
    let two_fields = request(None, &[("Sec-WebSocket-Protocol", "x"), ("Sec-WebSocket-Protocol", "v1")]);
    let accepted = decide(&two_fields, &policy).unwrap();
    assert!(String::from_utf8(accepted.response(&[])).unwrap().contains("Sec-WebSocket-Protocol: v1\r\n"));
}

#[test]
fn origins_are_checked_against_the_policy() {
    let list = OriginPolicy::List(vec!["https://desk.example.com".into(), "null".into()]);
    let cases = [
        (OriginPolicy::Any, "http://evil.example", true),
        (OriginPolicy::SameOrigin, "http://server.example.com", true),
        (OriginPolicy::SameOrigin, "https://SERVER.example.com:443", true),
        (OriginPolicy::SameOrigin, "http://server.example.com:8080", false),
        (OriginPolicy::SameOrigin, "http://evil.example", false),
        (OriginPolicy::SameOrigin, "null", false),
        (list.clone(), "https://desk.example.com", true),
        (list.clone(), "http://desk.example.com", false),
        (list.clone(), "https://desk.example.com.evil.example", false),
        (list.clone(), "null", true),
    ];
    for (origin, header, welcome) in cases {
        let policy = Policy { origin, ..Policy::default() };
        let decision = decide(&request(None, &[("Origin", header)]), &policy);
        assert_eq!(decision.map(|_| ()), if welcome { Ok(()) } else { Err(Refusal::ORIGIN) }, "{policy:?} {header}");
    }
    let policy = Policy { origin: list, ..Policy::default() };
    assert!(decide(&request(None, &[]), &policy).is_ok(), "clients that are no browsers send none");
    let two = request(None, &[("Origin", "https://desk.example.com"), ("Origin", "http://evil.example")]);
    assert_eq!(decide(&two, &policy).map(|_| ()), Err(Refusal::ORIGIN));
}

#[test]
fn host_with_a_port_is_the_same_origin_as_the_page_from_it() {
    assert!(is_same_origin("http://127.0.0.1:8080", "127.0.0.1:8080", None));
    assert!(is_same_origin("https://h", "h:443", None));
    assert!(!is_same_origin("https://h:80", "h", None));
    assert!(!is_same_origin("ftp://h", "h", None));
}

#[test]
fn a_page_over_http_is_not_the_same_origin_as_what_is_encrypted_nor_the_reverse() {
    for (origin, encrypted) in [("http://server.example.com", false), ("https://server.example.com", true)] {
        let policy = Policy { origin: OriginPolicy::SameOrigin, ..Policy::default() };
        let head = request(None, &[("Origin", origin)]);
        let (request, _) = Request::parse(head.as_bytes()).unwrap().unwrap();
        let over = |encrypted| accept_over(&request, &policy, encrypted).map(|_| ());
        assert_eq!(over(Some(encrypted)), Ok(()), "{origin}");
        assert_eq!(over(Some(!encrypted)), Err(Refusal::ORIGIN), "{origin}");
        assert_eq!(over(None), Ok(()), "{origin}: nobody knows");
    }
}

#[test]
fn a_request_that_tries_websocket_is_told_from_plain_http() {
    let wants = |head: &str| wants_upgrade(&Request::parse(head.as_bytes()).unwrap().unwrap().0);
    assert!(wants(&request(None, &[])));
    assert!(wants(&request(Some(("Upgrade", None)), &[])), "a key alone shows the intent");
    assert!(!wants("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n\r\n"));
}

#[test]
#[should_panic(expected = "not a header value")]
fn an_extra_header_cannot_start_another_line() {
    let policy = Policy::default();
    decide(&request(None, &[]), &policy).unwrap().response(&[("X", "a\r\nSet-Cookie: b")]);
}

#[derive(Debug)]
struct Upper;

impl Extension for Upper {
    fn decode(
        &mut self,
        piece: &[u8],
        _last: bool,
        out: &mut crate::extension::Output<'_>,
    ) -> Result<(), crate::extension::ExtensionError> {
        out.push(&piece.to_ascii_uppercase())
    }

    fn encode(&mut self, payload: &[u8], out: &mut Vec<u8>) -> bool {
        out.extend(payload.to_ascii_lowercase());
        true
    }
}

/// Takes an offer of `x-upper` whose level is at most 3.
#[derive(Debug)]
pub(crate) struct UpperNegotiator;

impl Negotiator for UpperNegotiator {
    fn offer(&self) -> String {
        "x-upper; level=3".into()
    }

    fn accept(&self, offer: &ExtensionParams<'_>) -> Option<Agreed> {
        let level: u8 = match (offer.name, &offer.params[..]) {
            ("x-upper", [("level", Some(level))]) => level.parse().ok().filter(|level| *level <= 3)?,
            _ => return None,
        };
        Some(Agreed { header_value: format!("x-upper; level={level}"), extension: Box::new(Upper) })
    }

    fn confirm(&self, answer: &ExtensionParams<'_>) -> Option<Box<dyn Extension>> {
        self.accept(answer).map(|agreed| agreed.extension)
    }
}

#[test]
fn the_first_offer_that_the_extension_takes_is_agreed() {
    let policy = Policy { extension: Some(Arc::new(UpperNegotiator)), ..Policy::default() };
    let offers = [("Sec-WebSocket-Extensions", "x-upper; level=9, y"), ("Sec-WebSocket-Extensions", "x-upper;level=2")];
    let accepted = decide(&request(None, &offers), &policy).unwrap();
    let response = String::from_utf8(accepted.response(&[])).unwrap();
    assert!(response.contains("\r\nSec-WebSocket-Extensions: x-upper; level=2\r\n"), "{response}");
    assert!(decide(&request(None, &[]), &policy).unwrap().extension.is_none(), "none is agreed unasked");
}
