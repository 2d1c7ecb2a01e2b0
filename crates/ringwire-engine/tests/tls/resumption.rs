//! Sessions that are resumed, and certificates that change meanwhile.

use std::sync::Arc;

use ringwire_engine::tls::{Acceptor, ClientCertificates, Transport};
use rustls::{ClientConfig, HandshakeKind};

use crate::support::certificates::{Authority, connection, usual};
use crate::support::client::Client;
use crate::support::server::{Server, options};

/// An open WebSocket, and how its hands were shaken.
fn open(server: &Server, config: &Arc<ClientConfig>) -> (Client, Option<HandshakeKind>) {
    let mut client = Client::connect_with(server.address(), Some(connection(config)));
    client.write(&Client::upgrade(server.address(), "/"));
    client.opened();
    // Tickets have come once this has.
    client.echo("hello");
    let kind = client.writer().with_tls(|tls| tls.handshake_kind());
    (client, kind)
}

#[test]
fn a_session_is_resumed_on_any_shard() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut options = options();
        options.shards = Some(2);
        let server = Server::start(options);
        let config = usual().0.client_config(&[version], None);
        let (client, kind) = open(&server, &config);
        assert_eq!(kind, Some(HandshakeKind::Full), "{version:?}");
        client.leave();
        for _ in 0..10 {
            let (client, kind) = open(&server, &config);
            assert_eq!(kind, Some(HandshakeKind::Resumed), "{version:?}");
            client.leave();
        }
        server.finish();
    }
}

#[test]
fn a_new_certificate_is_for_new_connections() {
    let authority = Authority::new();
    let (old, new) = (authority.server(&["localhost"]), authority.server(&["localhost"]));
    let acceptor = old.acceptor();
    let mut options = options();
    options.listen[0].transport = Transport::Tls(acceptor.clone());
    let server = Server::start(options);
    let config = authority.client_config(rustls::ALL_VERSIONS, None);
    let (mut before, _) = open(&server, &config);
    let fingerprint = acceptor.fingerprint();

    acceptor.replace(&new.server_tls(ClientCertificates::None)).expect("a certificate");
    assert_ne!(acceptor.fingerprint(), fingerprint);
    before.echo("still here");
    let (after, kind) = open(&server, &config);
    assert_eq!(kind, Some(HandshakeKind::Full), "tickets of before are worth nothing");
    let shown = |client: &Client| client.writer().with_tls(|tls| tls.peer_certificates().expect("one")[0].clone());
    assert_eq!((shown(&before), shown(&after)), (old.certificate, new.certificate));
    before.leave();
    after.leave();

    // One that does not fit its key changes nothing.
    let mut wrong = authority.server(&["localhost"]).server_tls(ClientCertificates::None);
    wrong.key_pem = authority.server(&["localhost"]).key_pem.into_bytes();
    assert!(acceptor.replace(&wrong).unwrap_err().to_string().contains("do not fit"));
    let (still, kind) = open(&server, &config);
    assert_eq!(kind, Some(HandshakeKind::Resumed));
    still.leave();
    usual_again(&acceptor);
    server.finish();
}

/// The audit's client trusts the usual authority.
fn usual_again(acceptor: &Acceptor) {
    acceptor.replace(&usual().1.server_tls(ClientCertificates::None)).expect("a certificate");
}
