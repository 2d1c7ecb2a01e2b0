//! Certificates that clients must show or may, and what is wrong with files.

use ringwire_engine::tls::{
    Acceptor, CertificateFault, ClientCertificates, Connector, Roots, Session, Stream, TlsError, Transport,
};

use crate::support::certificates::{Authority, Identity, connection, usual};
use crate::support::client::Client;
use crate::support::server::{Server, options};

/// What a client with this identity gets of `GET /peer`, or how it is turned away.
fn ask(server: &Server, authority: &Authority, own: Option<&Identity>) -> Result<String, String> {
    let config = authority.client_config(rustls::ALL_VERSIONS, own);
    let mut client = Client::connect_with(server.address(), Some(connection(&config)));
    let sent = client.try_write(b"GET /peer HTTP/1.1\r\nHost: a\r\n\r\n");
    sent.map_err(|error| error.to_string())?;
    // In TLS 1.3 a client learns only now what the server thinks of its certificate.
    client.try_answer().map(|answer| answer.body).map_err(|error| error.to_string())
}

#[test]
fn a_clients_certificate_is_asked_for() {
    let (authority, server_identity) = usual();
    let (known, strangers) = (authority.client("known"), Authority::new().client("a stranger"));
    for (is_required, name) in [(true, "required"), (false, "optional")] {
        let pem = authority.pem().into_bytes();
        let clients = if is_required { ClientCertificates::Required(pem) } else { ClientCertificates::Optional(pem) };
        let acceptor = Acceptor::new(&server_identity.server_tls(clients)).expect("certificates");
        let mut options = options();
        options.listen[0].transport = Transport::Tls(acceptor.clone());
        let server = Server::start(options);
        let body = ask(&server, authority, Some(&known)).expect("it is let in");
        assert!(body.contains(&format!("client_certificate: Some({})", known.certificate.len())), "{name}: {body}");
        let refusal = ask(&server, authority, Some(&strangers)).expect_err("nobody vouches for it");
        assert!(refusal.contains("UnknownCA") || refusal.contains("DecryptError"), "{name}: {refusal}");
        match ask(&server, authority, None) {
            Ok(body) => assert!(!is_required && body.contains("client_certificate: None"), "{name}: {body}"),
            Err(refusal) => assert!(is_required && refusal.contains("CertificateRequired"), "{name}: {refusal}"),
        }
        acceptor.replace(&server_identity.server_tls(ClientCertificates::None)).expect("for the audit's client");
        server.finish();
    }
}

/// What a client that trusts `authority` says to a server that is `identity`.
fn verdict(authority: &Authority, identity: &Identity, name: &str) -> Result<(), TlsError> {
    let connector = Connector::new(&Roots::Pem(authority.pem().into_bytes())).expect("an authority");
    let mut client = connector.session(name).expect("a name");
    let mut server = identity.acceptor().session();
    let mut said = Vec::new();
    for _ in 0..10 {
        exchange(&mut client, &mut server, &mut said)?;
        exchange(&mut server, &mut client, &mut said)?;
    }
    assert!(!client.is_handshaking());
    Ok(())
}

fn exchange(from: &mut Session, to: &mut Session, said: &mut Vec<u8>) -> Result<Stream, TlsError> {
    let mut bytes = Vec::new();
    from.transmit(&[], &mut bytes).expect("nothing that needs keys");
    to.receive(&mut bytes, said)
}

#[test]
fn a_client_tells_what_is_wrong_with_a_servers_certificate() {
    let authority = Authority::new();
    let fault = |identity: &Identity, name: &str| match verdict(&authority, identity, name) {
        Err(TlsError::Certificate(fault)) => Some(fault),
        Ok(()) => None,
        Err(other) => panic!("{other}"),
    };
    let good = authority.server(&["localhost", "127.0.0.1", "::1"]);
    for name in ["localhost", "127.0.0.1", "::1"] {
        assert_eq!(fault(&good, name), None, "{name}");
    }
    assert!(matches!(fault(&good, "example.com"), Some(CertificateFault::WrongName(names)) if names.len() == 3));
    assert_eq!(fault(&authority.server_in_years(2001, 2002), "localhost"), Some(CertificateFault::Expired));
    assert_eq!(fault(&authority.server_in_years(2200, 2201), "localhost"), Some(CertificateFault::NotYetValid));
    assert_eq!(fault(&Authority::new().server(&["localhost"]), "localhost"), Some(CertificateFault::UnknownIssuer));
}

#[test]
fn what_is_wrong_with_files_is_said() {
    let (authority, server) = usual();
    let none = ClientCertificates::None;
    let refusal = |change: &dyn Fn(&mut ringwire_engine::tls::ServerTls)| {
        let mut tls = server.server_tls(none.clone());
        change(&mut tls);
        Acceptor::new(&tls).expect_err("a fault").to_string()
    };
    let key = || server.key_pem.clone().into_bytes();
    let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (said, words) in [
        (refusal(&|tls| tls.certificate_pem.clear()), "no certificate in PEM"),
        (refusal(&|tls| tls.certificate_pem = key()), "no certificate in PEM"),
        (refusal(&|tls| tls.key_pem.clear()), "no private key"),
        (refusal(&|tls| tls.key_pem = tls.certificate_pem.clone()), "holds a certificate, no key"),
        (refusal(&|tls| tls.key_pem = encrypted.to_vec()), "without a passphrase"),
        (refusal(&|tls| tls.key_pem = authority.server(&["a"]).key_pem.into_bytes()), "do not fit"),
        (refusal(&|tls| tls.client_certificates = ClientCertificates::Required(key())), "authorities"),
    ] {
        assert!(said.contains(words), "{said}");
    }
}
