//! Plain and encrypted, on one port and on two.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ringwire_engine::codec::Opcode;
use ringwire_engine::tls::Transport;
use ringwire_engine::{EngineOptions, ProxyHeader};

use crate::support::certificates::{usual, usual_client};
use crate::support::client::{Client, Heard, PATIENCE};
use crate::support::server::{Server, options};

fn either() -> EngineOptions {
    let mut options = options();
    options.listen[0].transport = Transport::Either(usual().1.acceptor());
    options
}

fn plain(address: SocketAddr) -> Client {
    Client::connect_with(address, None)
}

fn upgrade(mut client: Client, address: SocketAddr) -> Client {
    client.write(&Client::upgrade(address, "/"));
    client.opened();
    client
}

/// Whoever connects is a proxy that sends headers.
fn behind_headers(options: &mut EngineOptions) {
    options.listen[0].proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    options.listen[0].proxy_header = ProxyHeader::Required;
}

/// PROXY, version 2, TCP over IPv4, from 192.0.2.7:4711.
fn header() -> Vec<u8> {
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(), &[192, 0, 2, 7, 127, 0, 0, 1, 18, 103, 1, 187]].concat()
}

/// All that a server says to these bytes.
fn answer_to(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("the server takes connections");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    stream.write_all(bytes).expect("the server reads");
    let mut answer = Vec::new();
    // It may end with a reset where bytes of ours were left unread.
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn plain_and_encrypted_share_a_port() {
    let server = Server::start(either());
    let address = server.address();
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(upgrade(plain(address), address));
        clients.push(upgrade(Client::connect_with(address, Some(usual_client())), address));
    }
    for client in &mut clients {
        client.echo("on one port");
    }
    clients.into_iter().for_each(Client::leave);
    server.finish();
}

#[test]
fn what_is_not_encrypted_is_told_so_in_plain_words() {
    let server = Server::start(options());
    for request in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let answer = String::from_utf8(answer_to(server.address(), request.as_bytes())).expect("text");
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"), "{answer}");
    }
    server.finish();
}

#[test]
fn tls_on_a_plain_port_is_told_so_in_plain_words() {
    let mut options = options();
    options.listen.push(SocketAddr::from(([127, 0, 0, 1], 0)).into());
    let server = Server::start(options);
    let answer = answer_to(server.addresses()[1], &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]);
    let answer = String::from_utf8(answer).expect("text");
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("no TLS"), "{answer}");
    server.finish();
}

#[test]
fn a_proxys_header_comes_before_tls() {
    let mut options = either();
    behind_headers(&mut options);
    let server = Server::start(options);
    let address = server.address();
    let mut client = Client::connect_with(address, Some(usual_client()));
    (&mut client.stream()).write_all(&header()).expect("the server reads");
    client.write(b"GET /peer HTTP/1.1\r\nHost: a\r\n\r\n");
    let body = client.answer().body;
    assert!(body.contains("192.0.2.7:4711") && body.contains("TLSv1.3"), "{body}");
    drop(client);
    server.wait_empty();
    server.drain(Duration::from_secs(5));
    server.join();
}

#[test]
fn who_is_one_too_many_behind_a_proxy_is_told_in_its_language() {
    let mut options = either();
    behind_headers(&mut options);
    options.limits.address_connections_max = Some(1);
    let server = Server::start(options);
    let address = server.address();
    let mut first = plain(address);
    first.write(&header());
    let first = upgrade(first, address);
    // In one segment with the header, as a proxy sends it.
    let alert = answer_to(address, &[&header()[..], &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]].concat());
    assert_eq!(alert, [0x15, 3, 3, 0, 2, 2, 80], "internal_error");
    let words = answer_to(address, &[&header()[..], b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
    assert!(words.starts_with(b"HTTP/1.1 429 "), "{}", words.escape_ascii());
    first.leave();
    server.wait_empty();
    server.drain(Duration::from_secs(5));
    server.join();
}

/// Status of the answer to a page of this scheme, on the server's own host.
fn of_page(mut client: Client, server: &Server, scheme: &str, more: &str) -> Option<u16> {
    let address = server.address();
    let upgrade = String::from_utf8(Client::upgrade(address, "/same")).expect("ASCII");
    let origin = format!("\r\nOrigin: {scheme}://{address}\r\n{more}");
    client.write(upgrade.replacen("\r\n", &origin, 1).as_bytes());
    client.status()
}

#[test]
fn a_page_of_the_same_host_is_of_the_same_origin_if_it_is_as_encrypted() {
    let server = Server::start(either());
    let address = server.address();
    let encrypted = || Client::connect_with(address, Some(usual_client()));
    assert_eq!(of_page(plain(address), &server, "http", ""), Some(101));
    assert_eq!(of_page(encrypted(), &server, "http", ""), Some(403));
    assert_eq!(of_page(plain(address), &server, "https", ""), Some(403));
    assert_eq!(of_page(encrypted(), &server, "https", ""), Some(101));
    // Who is not trusted is not believed.
    assert_eq!(of_page(plain(address), &server, "https", "X-Forwarded-Proto: https\r\n"), Some(403));
    server.finish();
}

#[test]
fn behind_a_proxy_it_is_the_proxy_that_knows_how_a_page_is_encrypted() {
    let mut options = either();
    options.listen[0].proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    let server = Server::start(options);
    let address = server.address();
    for (scheme, said, status) in [
        ("https", "X-Forwarded-Proto: https\r\n", 101),
        ("http", "X-Forwarded-Proto: https\r\n", 403),
        ("https", "X-Forwarded-Proto: http\r\n", 403),
        ("https", "", 101),
        ("http", "", 101),
    ] {
        assert_eq!(of_page(plain(address), &server, scheme, said), Some(status), "{scheme} {said}");
    }
    server.finish();
}

#[test]
fn what_is_known_of_tls_reaches_the_application() {
    let server = Server::start(options());
    let mut client = server.connect();
    client.write(b"GET /peer HTTP/1.1\r\nHost: a\r\n\r\n");
    let body = client.answer().body;
    for part in ["TLSv1.3", "TLS13_AES_128_GCM_SHA256", "server_name: Some(\"localhost\")", "resumed: false"] {
        assert!(body.contains(part), "{part} is not in {body}");
    }
    drop(client);
    server.finish();
}

#[test]
fn keys_are_renewed_in_mid_stream() {
    let server = Server::start(options());
    let mut client = server.open();
    for round in 0..5 {
        client.writer().with_tls(|tls| tls.refresh_traffic_keys().expect("TLS 1.3"));
        let message = vec![round; 70_000];
        client.send(Opcode::Binary, &message);
        assert_eq!(client.hear(), Heard::Binary(message));
    }
    client.leave();
    server.finish();
}
