//! What is agreed on, and what is not (RFC 7692 §5, §7.1).

use std::sync::Arc;

use ringwire_codec::deflate::{Deflate, DeflateOptions, Parameters, WindowBits};
use ringwire_codec::extension::{ExtensionParams, Negotiator};
use ringwire_codec::handshake::{self, ClientHandshake, Policy, Url};
use ringwire_codec::http::{Request, Response};

use crate::support::bits;

const TAKEOVER: DeflateOptions =
    DeflateOptions { server_no_context_takeover: false, client_no_context_takeover: false, ..DeflateOptions::DEFAULT };

/// The server's answer to a list of offers, or none.
fn answer(options: DeflateOptions, offers: &str) -> Option<String> {
    let policy = Policy { extension: Some(Arc::new(Deflate::new(options))), ..Policy::default() };
    let head = format!(
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: {offers}\r\n\r\n"
    );
    let accepted = handshake::accept(&Request::parse(head.as_bytes()).unwrap().unwrap().0, &policy);
    accepted.expect("an extension is never why a handshake fails").extension.map(|agreed| agreed.header_value)
}

#[test]
fn by_default_a_server_agrees_to_no_context_takeover_on_both_sides() {
    let want = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert_eq!(answer(DeflateOptions::default(), "permessage-deflate; client_max_window_bits").as_deref(), Some(want));
    assert_eq!(answer(DeflateOptions::default(), "permessage-deflate").as_deref(), Some(want));
}

#[test]
fn a_server_answers_each_parameter_as_the_rfc_says() {
    let small = DeflateOptions { server_max_window_bits: bits(11), client_max_window_bits: bits(10), ..TAKEOVER };
    let cases = [
        (TAKEOVER, "", ""),
        (TAKEOVER, "; server_no_context_takeover", "; server_no_context_takeover"),
        (TAKEOVER, "; client_no_context_takeover", "; client_no_context_takeover"),
        (TAKEOVER, "; server_max_window_bits=8", "; server_max_window_bits=8"),
        (TAKEOVER, "; server_max_window_bits=15", "; server_max_window_bits=15"),
        (TAKEOVER, "; server_max_window_bits=\"12\"", "; server_max_window_bits=12"),
        (TAKEOVER, "; client_max_window_bits", ""),
        (TAKEOVER, "; client_max_window_bits=9", "; client_max_window_bits=9"),
        (small, "; server_max_window_bits=15", "; server_max_window_bits=11"),
        (small, "; server_max_window_bits=9", "; server_max_window_bits=9"),
        (small, "", "; server_max_window_bits=11"),
        (small, "; client_max_window_bits", "; server_max_window_bits=11; client_max_window_bits=10"),
        (small, "; client_max_window_bits=12", "; server_max_window_bits=11; client_max_window_bits=10"),
        (small, "; client_max_window_bits=8", "; server_max_window_bits=11; client_max_window_bits=8"),
    ];
    for (options, offer, want) in cases {
        let want = format!("permessage-deflate{want}");
        assert_eq!(answer(options, &format!("permessage-deflate{offer}")), Some(want), "{offer}");
    }
}

const INVALID: [&str; 18] = [
    "; unknown",
    "; server_no_context_takeover=1",
    "; client_no_context_takeover=\"\"",
    "; server_no_context_takeover; server_no_context_takeover",
    "; client_no_context_takeover; client_no_context_takeover",
    "; server_max_window_bits",
    "; server_max_window_bits=7",
    "; server_max_window_bits=16",
    "; server_max_window_bits=010",
    "; server_max_window_bits=+9",
    "; server_max_window_bits=ten",
    "; server_max_window_bits=10; server_max_window_bits=10",
    "; client_max_window_bits=7",
    "; client_max_window_bits=16",
    "; client_max_window_bits=08",
    "; client_max_window_bits; client_max_window_bits=10",
    "; Server_No_Context_Takeover",
    "; client_max_window_bits=256",
];

#[test]
fn an_invalid_offer_is_declined() {
    for offer in INVALID {
        assert_eq!(answer(TAKEOVER, &format!("permessage-deflate{offer}")), None, "{offer}");
    }
    assert_eq!(answer(TAKEOVER, "permessage-inflate"), None);
    assert_eq!(answer(TAKEOVER, "x-webkit-deflate-frame"), None);
}

#[test]
fn of_several_offers_the_first_that_is_valid_is_agreed_on() {
    for offer in INVALID {
        let offers = format!("permessage-deflate{offer}, permessage-deflate; server_max_window_bits=9");
        assert_eq!(answer(TAKEOVER, &offers).as_deref(), Some("permessage-deflate; server_max_window_bits=9"));
    }
    // RFC 7692 §7.1.3.
    let offers = "permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate";
    assert_eq!(answer(TAKEOVER, offers).as_deref(), Some("permessage-deflate; server_max_window_bits=10"));
}

#[test]
fn a_client_offers_what_it_wants_and_then_what_any_server_can_do() {
    let offer = |options| Deflate::new(options).offer();
    assert_eq!(offer(TAKEOVER), "permessage-deflate; client_max_window_bits");
    assert_eq!(
        offer(DeflateOptions::default()),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits, \
         permessage-deflate; client_no_context_takeover; client_max_window_bits"
    );
    let small = DeflateOptions { server_max_window_bits: bits(9), client_max_window_bits: bits(10), ..TAKEOVER };
    assert_eq!(
        offer(small),
        "permessage-deflate; server_max_window_bits=9; client_max_window_bits=10, \
         permessage-deflate; client_max_window_bits=10"
    );
}

fn confirm(options: DeflateOptions, answer: &str) -> Option<Parameters> {
    let answer = format!("permessage-deflate{answer}");
    let answer = ExtensionParams::parse_list(&answer).next()?;
    Deflate::new(options).confirm(&answer).map(|extension| extension.deflate().unwrap())
}

const FULL: Parameters = Parameters {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: WindowBits::MAX,
    client_max_window_bits: WindowBits::MAX,
};

#[test]
fn a_client_follows_an_answer_within_its_offer() {
    assert_eq!(confirm(TAKEOVER, ""), Some(FULL));
    let all = "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=8; \
               client_max_window_bits=9";
    let want = Parameters {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: bits(8),
        client_max_window_bits: bits(9),
    };
    assert_eq!(confirm(TAKEOVER, all), Some(want), "a server may ask for more and promise more than was offered");
    let small = DeflateOptions { client_max_window_bits: bits(10), ..TAKEOVER };
    let kept = Parameters { client_max_window_bits: bits(10), ..FULL };
    assert_eq!(confirm(small, ""), Some(kept), "what the client promised holds");
    let asking = DeflateOptions { server_max_window_bits: bits(10), ..TAKEOVER };
    assert_eq!(confirm(asking, "").unwrap().server_max_window_bits, WindowBits::MAX, "it answers the second offer");
}

#[test]
fn a_client_refuses_an_answer_that_is_invalid_or_beyond_its_offer() {
    for answer in INVALID {
        assert_eq!(confirm(TAKEOVER, answer), None, "{answer}");
    }
    assert_eq!(confirm(TAKEOVER, "; client_max_window_bits"), None, "an answer has a number");
    let small = DeflateOptions { client_max_window_bits: bits(10), ..TAKEOVER };
    assert_eq!(confirm(small, "; client_max_window_bits=11"), None);
}

#[test]
fn both_sides_agree_on_the_same_through_a_whole_handshake() {
    let url = Url::parse("ws://h/").unwrap();
    let own = DeflateOptions { server_max_window_bits: bits(12), client_max_window_bits: bits(11), ..TAKEOVER };
    let client = Deflate::new(own);
    let handshake = ClientHandshake { extension: Some(&client), ..ClientHandshake::new(&url, [7; 16]) };
    let request = handshake.request();
    for server in [DeflateOptions::default(), TAKEOVER] {
        let policy = Policy { extension: Some(Arc::new(Deflate::new(server))), ..Policy::default() };
        let accepted = handshake::accept(&Request::parse(&request).unwrap().unwrap().0, &policy).unwrap();
        let response = accepted.response(&[]);
        let established = handshake.verify(&Response::parse(&response).unwrap().unwrap().0).unwrap();
        let want = Parameters {
            server_no_context_takeover: server.server_no_context_takeover,
            client_no_context_takeover: server.client_no_context_takeover,
            server_max_window_bits: bits(12),
            client_max_window_bits: bits(11),
        };
        assert_eq!(established.extension.unwrap().deflate(), Some(want));
        assert_eq!(accepted.extension.unwrap().extension.deflate(), Some(want));
    }
}
