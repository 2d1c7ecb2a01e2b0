//! Compression: agreed on by default, made once per published message, and never for those who could not read it.

use ringwire_codec::Opcode;
use ringwire_codec::deflate::{Deflate, DeflateOptions, WindowBits};

use crate::support::{Received, Server, Socket};

/// A client's offer: what a browser offers, or less of a window.
fn offer(server_max_window_bits: u8) -> Deflate {
    Deflate::new(DeflateOptions {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: WindowBits::new(server_max_window_bits).expect("8 to 15"),
        ..DeflateOptions::default()
    })
}

/// JSON of some 2 KiB.
fn book(n: usize) -> String {
    let levels: Vec<String> =
        (0..80).map(|level| format!("[\"{}.{n:02}\",\"{}\"]", 39_000 + level, level * 7)).collect();
    format!("{{\"n\":{n},\"bids\":[{}]}}", levels.join(","))
}

/// A server with this `[deflate]` section.
fn server(name: &str, section: &str) -> Server {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.toml"));
    std::fs::write(&path, format!("[deflate]\n{section}\n")).expect("a file in the folder for tests");
    Server::start(&["--config", path.to_str().expect("UTF-8")])
}

#[test]
fn a_browsers_offer_is_agreed_on_without_takeover() {
    let server = Server::start(&[]);
    for target in ["/ws/a", "/stream?streams=a", "/pub/a", "/echo"] {
        let socket = Socket::open_deflate(server.address, target, &offer(15));
        let agreed = socket.extension().and_then(|extension| extension.deflate()).expect("permessage-deflate");
        assert!(agreed.server_no_context_takeover && agreed.client_no_context_takeover, "{target}");
        assert_eq!(agreed.server_max_window_bits, WindowBits::MAX);
    }
}

#[test]
fn all_subscribers_get_the_same_in_the_form_they_agreed_on() {
    let server = Server::start(&[]);
    let mut plain = [server.socket("/ws/a"), server.socket("/stream?streams=a")];
    let mut packed = ["/ws/a", "/stream?streams=a"].map(|path| Socket::open_deflate(server.address, path, &offer(15)));
    let mut small = ["/ws/a", "/stream?streams=a"].map(|path| Socket::open_deflate(server.address, path, &offer(9)));
    let mut publisher = Socket::open_deflate(server.address, "/pub/a", &offer(15));
    server.await_topic("a", "\"subscribers\":6");
    let rounds = 20;
    for n in 0..rounds {
        publisher.send_text(&book(n));
    }
    publisher.send_text("{}");
    publisher.send(Opcode::Binary, &[0, 1, 2]);
    for sockets in [&mut plain, &mut packed, &mut small] {
        for n in 0..rounds {
            assert_eq!(sockets[0].text(), book(n));
            assert_eq!(sockets[1].text(), format!("{{\"stream\":\"a\",\"data\":{}}}", book(n)));
        }
        assert_eq!(sockets[0].text(), "{}");
        assert_eq!(sockets[0].receive(), Received::Binary(vec![0, 1, 2]));
        assert_eq!(sockets[1].text(), "{\"stream\":\"a\",\"data\":{}}");
        assert_eq!(sockets[1].text(), "{\"stream\":\"a\",\"data\":\"AAEC\",\"base64\":true}");
    }
    for nth in 0..2 {
        let [plain, packed, small] = [&plain, &packed, &small].map(|sockets| sockets[nth].received_bytes());
        assert!(packed < plain / 3, "{packed} of {plain}");
        assert_eq!(small, plain, "a smaller window gets the plain frames");
    }
}

#[test]
fn subscribers_whose_takeover_was_agreed_get_the_same() {
    let server = server("takeover", "server_no_context_takeover = false\nclient_no_context_takeover = false");
    let mut subscriber = Socket::open_deflate(server.address, "/ws/a", &offer(15));
    let mut echo = Socket::open_deflate(server.address, "/echo", &offer(15));
    assert!(!subscriber.extension().and_then(|extension| extension.deflate()).unwrap().server_no_context_takeover);
    for n in 0..10 {
        assert_eq!(server.publish("a", &book(n)).status, 200);
        assert_eq!(subscriber.text(), book(n));
        echo.send_text(&book(1));
        assert_eq!(echo.text(), book(1));
    }
    assert!(echo.received_bytes() < 10 * book(1).len() / 8, "each echo refers to those before");
}

#[test]
fn without_compression_nothing_is_agreed_on() {
    let server = server("disabled", "enabled = false");
    let headers = [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")];
    let (_, head) = Socket::open_with(server.address, "/echo", &headers);
    assert_eq!(head.header("sec-websocket-extensions"), None);
}

#[test]
fn who_comes_when_nobody_was_left_finds_the_compressed_form_again() {
    let server = Server::start(&[]);
    for _ in 0..3 {
        let mut packed = Socket::open_deflate(server.address, "/ws/a", &offer(15));
        server.await_topic("a", "\"subscribers\":1");
        server.publish("a", &book(1));
        assert_eq!(packed.text(), book(1));
        assert!(packed.received_bytes() < book(1).len() / 3);
        drop(packed);
        server.await_topic("a", "\"subscribers\":0");
        server.publish("a", &book(2));
    }
    server.await_topic("a", "\"seq\":6");
}
