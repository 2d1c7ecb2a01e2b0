//! Whose connection it is: the peer's address, and what trusted proxies say.

use std::net::SocketAddr;

use ringwire_engine::codec::proxy::SIGNATURE;
use ringwire_engine::{EngineOptions, Network, Peer, ProxyHeader};

use crate::support::client::{Client, Heard};
use crate::support::server::{Server, options};

/// Trusts 127.0.0.2, and nothing else of loopback.
fn behind_proxies() -> EngineOptions {
    let mut options = options();
    options.listen[0].proxies = vec!["127.0.0.2".parse().unwrap(), "10.0.0.0/8".parse::<Network>().unwrap()];
    options
}

/// The same, where the proxies send headers.
fn behind_headers() -> EngineOptions {
    let mut options = behind_proxies();
    options.listen[0].proxy_header = ProxyHeader::Required;
    options
}

/// What a proxy sends in front of a connection of its own.
fn local_header() -> Vec<u8> {
    [&SIGNATURE[..], &[0x20, 0, 0, 0]].concat()
}

fn proxy(server: &Server) -> Client {
    Client::connect_from("127.0.0.2".parse().unwrap(), server.address())
}

fn header(client: [u8; 4], port: u16) -> Vec<u8> {
    let body = [&client[..], &[198, 51, 100, 1], &port.to_be_bytes(), &[1, 187]].concat();
    let field = [0x04, 0, 3, 0, 0, 0];
    let length = u16::try_from(body.len() + field.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[0x21, 0x11], &length, &body, &field].concat()
}

/// Who the handler was told it is, of the WebSocket that was accepted last.
fn last_peer(server: &Server) -> Peer {
    server.seen(|seen| seen.peers.last().cloned().expect("a peer"))
}

fn address(text: &str) -> Option<SocketAddr> {
    Some(text.parse().expect("an address"))
}

#[test]
fn a_handler_is_told_who_asks() {
    for listen in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
        let mut options = options();
        options.listen[0].address = listen.parse().unwrap();
        let server = Server::start(options);
        let mut at = server.address();
        if at.ip().is_unspecified() {
            at.set_ip("127.0.0.1".parse().unwrap());
        }
        let mut client = Client::connect(at);
        client.write(&Client::upgrade(at, "/"));
        client.opened();
        let own = client.stream().local_addr().expect("its address");
        assert_eq!(last_peer(&server), Peer { address: Some(own), ..last_peer(&server) }, "{listen}");
        assert_eq!(last_peer(&server).proxy, None);
        client.leave();
        server.wait_empty();
        server.drain(std::time::Duration::from_secs(5));
        server.join();
    }
}

#[test]
fn a_trusted_proxy_names_the_client_of_a_connection_in_any_split() {
    let server = Server::start(behind_headers());
    for pieces in [usize::MAX, 1, 17] {
        let mut client = proxy(&server);
        let own = client.stream().local_addr().expect("its address");
        let mut bytes = header([203, 0, 113, 7], 4711);
        bytes.extend(Client::upgrade(server.address(), "/"));
        for piece in bytes.chunks(pieces.min(bytes.len())) {
            client.write(piece);
        }
        client.opened();
        let peer = last_peer(&server);
        assert_eq!((peer.address, peer.proxy), (address("203.0.113.7:4711"), Some(own)));
        client.echo("through");
        client.leave();
    }
    server.finish();
}

#[test]
fn a_proxys_own_connections_and_plain_ones_keep_its_address() {
    let plain = [b"".to_vec(), b"\r\n\r\n".to_vec()];
    for (options, starts) in [(behind_headers(), &[local_header()][..]), (behind_proxies(), &plain)] {
        keeps_its_address(Server::start(options), starts);
    }
}

fn keeps_its_address(server: Server, starts: &[Vec<u8>]) {
    for start in starts {
        let mut client = proxy(&server);
        let own = client.stream().local_addr().expect("its address");
        for byte in start {
            client.write(&[*byte]);
        }
        client.write(&Client::upgrade(server.address(), "/"));
        client.opened();
        let peer = last_peer(&server);
        assert_eq!((peer.address, peer.proxy), (Some(own), None));
        client.leave();
    }
    server.finish();
}

#[test]
fn a_header_from_elsewhere_is_a_bad_request() {
    let server = Server::start(behind_headers());
    is_bad(server.connect());
    server.finish();
}

#[test]
fn a_header_that_is_not_asked_for_is_a_bad_request_whoever_sends_it() {
    let server = Server::start(behind_proxies());
    is_bad(proxy(&server));
    server.finish();
}

fn is_bad(mut client: Client) {
    client.write(&header([203, 0, 113, 7], 4711));
    assert_eq!(client.answer().status, 400);
    assert_eq!(client.hear(), Heard::End(None));
}

#[test]
fn a_header_that_is_malformed_or_required_and_missing_gets_400_with_words() {
    let server = Server::start(behind_headers());
    let mut wrong = header([203, 0, 113, 7], 4711);
    wrong[13] = 0x13;
    let upgrade = Client::upgrade(server.address(), "/");
    for (bytes, words) in [(&wrong[..], "undefined address family"), (&upgrade, "no PROXY protocol header")] {
        let mut client = proxy(&server);
        client.write(bytes);
        let answer = client.answer();
        assert!(answer.status == 400 && answer.body.contains(words), "{answer:?}");
        assert_eq!(client.hear(), Heard::End(None));
    }
    // Nobody else needs one.
    server.open().leave();
    server.finish();
}

#[test]
fn forwarded_for_is_believed_of_trusted_peers_only() {
    let server = Server::start(behind_proxies());
    let upgrade = String::from_utf8(Client::upgrade(server.address(), "/")).expect("ASCII");
    let upgrade = upgrade.replacen("\r\n", "\r\nX-Forwarded-For: 203.0.113.9, 198.51.100.3, 10.1.1.1\r\n", 1);
    let mut trusted = proxy(&server);
    trusted.write(upgrade.as_bytes());
    trusted.opened();
    let own = trusted.stream().local_addr().expect("its address");
    let peer = last_peer(&server);
    assert_eq!((peer.address, peer.proxy), (address("198.51.100.3:0"), Some(own)));
    let mut other = server.connect();
    other.write(upgrade.as_bytes());
    other.opened();
    let own = other.stream().local_addr().expect("its address");
    let peer = last_peer(&server);
    assert_eq!((peer.address, peer.proxy), (Some(own), None));
    trusted.leave();
    other.leave();
    server.finish();
}

#[test]
fn connections_through_a_proxy_count_for_the_clients_that_it_names() {
    let mut options = behind_headers();
    options.limits.address_connections_max = Some(1);
    let server = Server::start(options);
    let through = |client: [u8; 4]| {
        let mut connection = proxy(&server);
        let mut bytes = header(client, 1);
        bytes.extend(Client::upgrade(server.address(), "/"));
        connection.write(&bytes);
        connection
    };
    let mut clients: Vec<_> = (1..=5).map(|host| through([203, 0, 113, host])).collect();
    clients.iter_mut().for_each(Client::opened);
    let mut second = through([203, 0, 113, 3]);
    assert_eq!(second.answer().status, 429);
    assert_eq!(second.hear(), Heard::End(None));
    drop(second);
    // The same, named by the request.
    let upgrade = String::from_utf8(Client::upgrade(server.address(), "/")).expect("ASCII");
    for (host, status) in [(4, 429), (44, 101)] {
        let mut connection = proxy(&server);
        let field = format!("\r\nX-Forwarded-For: 203.0.113.{host}\r\n");
        connection.write(&local_header());
        connection.write(upgrade.replacen("\r\n", &field, 1).as_bytes());
        assert_eq!(connection.status(), Some(status), "{host}");
        if status == 101 {
            connection.opened();
            connection.leave();
        }
    }
    clients.into_iter().for_each(Client::leave);
    server.wait_empty();
    server.finish();
}
