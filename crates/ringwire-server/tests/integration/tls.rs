//! The server's certificate, the clients' trust, and what they say to each other where it ends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use ringwire_codec::handshake::{ClientHandshake, Url};
use ringwire_codec::http::Response;
use ringwire_codec::{Decoder, DecoderLimits, Event, Message, Role};
use ringwire_engine::tls::{CertificateFault, Connector, Roots, Session, TlsError};

use crate::support::{PATIENCE, Process, Server, ringwire};

/// A folder with the files of one test, gone with it.
struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("ringwire-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for a test's files");
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).expect("a test's file");
        self.path(name)
    }

    /// Writes a certificate with its key, and gives the value for `--tls` or `--cert`.
    fn identity(&self, name: &str, (certificate, key): (String, String)) -> String {
        let certificate = self.write(&format!("{name}.pem"), &certificate);
        format!("{certificate},{}", self.write(&format!("{name}.key"), &key))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Vouches for servers and clients.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate"))
    }

    /// A certificate and its key, in PEM.
    fn issue(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    fn server(&self) -> (String, String) {
        self.issue(&["localhost", "127.0.0.1", "::1"], |_| ())
    }

    fn connector(&self) -> Connector {
        Connector::new(&Roots::Pem(self.0.pem().into_bytes())).expect("an authority")
    }
}

/// A subscriber over TLS, that blocks.
struct Subscriber {
    stream: TcpStream,
    session: Session,
    decoder: Decoder,
    plain: Vec<u8>,
}

impl Subscriber {
    fn open(address: SocketAddr, connector: &Connector, target: &str) -> Result<Self, TlsError> {
        let stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let session = connector.session("localhost").expect("a name");
        let decoder = Decoder::new(Role::Client, DecoderLimits::default());
        let mut subscriber = Self { stream, session, decoder, plain: Vec::new() };
        while subscriber.session.is_handshaking() {
            subscriber.send(b"");
            if subscriber.session.is_handshaking() {
                subscriber.fill()?;
            }
        }
        let url = Url::parse(&format!("wss://localhost{target}")).expect("a URL");
        let handshake = ClientHandshake::new(&url, *b"a nonce for test");
        subscriber.send(&handshake.request());
        loop {
            if let Some((response, head_bytes)) = Response::parse(&subscriber.plain).expect("an HTTP response") {
                assert_eq!(response.status(), 101);
                subscriber.plain.drain(..head_bytes);
                return Ok(subscriber);
            }
            subscriber.fill()?;
        }
    }

    fn send(&mut self, plain: &[u8]) {
        let mut bytes = Vec::new();
        self.session.transmit(plain, &mut bytes).expect("keys");
        self.stream.write_all(&bytes).expect("the server reads");
    }

    fn fill(&mut self) -> Result<(), TlsError> {
        let mut bytes = [0; 16 * 1024];
        let count = self.stream.read(&mut bytes).expect("something comes in time");
        assert!(count > 0, "the stream ended");
        self.session.receive(&mut bytes[..count], &mut self.plain).map(drop)
    }

    fn text(&mut self) -> String {
        loop {
            let mut at = 0;
            while at < self.plain.len() {
                let step = self.decoder.decode(&mut self.plain[at..]).expect("the server keeps to the protocol");
                at += step.consumed;
                if let Some(Event::Message(Message::Text(text))) = step.event {
                    let text = text.as_str().to_owned();
                    self.plain.drain(..at);
                    return text;
                }
            }
            self.plain.clear();
            self.fill().expect("TLS");
        }
    }
}

#[test]
fn a_certificate_is_swapped_under_500_live_connections() {
    const CONNECTIONS: usize = 500;
    let files = Files::new("swap");
    let (old, new) = (Authority::new("the old one"), Authority::new("the new one"));
    let tls = files.identity("server", old.server());
    let mut server = Server::start(&["--tls", &tls, "--tls-optional"]);
    let mut subscribers: Vec<_> = (0..CONNECTIONS)
        .map(|_| Subscriber::open(server.address, &old.connector(), "/ws/a").expect("it is trusted"))
        .collect();
    let mut all_hear = |server: &Server, words: &str| {
        assert_eq!(server.publish("a", words).status, 200);
        for subscriber in &mut subscribers {
            assert_eq!(subscriber.text(), words);
        }
    };
    all_hear(&server, "before");
    let unknown = Some(TlsError::Certificate(CertificateFault::UnknownIssuer));
    assert_eq!(Subscriber::open(server.address, &new.connector(), "/ws/a").err(), unknown);

    files.identity("server", new.server());
    server.process.signal("HUP");
    let line = server.process.line().expect("it says so");
    assert!(line.contains("SIGHUP: new connections get the certificate SHA-256 "), "{line}");
    assert!(Subscriber::open(server.address, &new.connector(), "/ws/a").is_ok());
    assert_eq!(Subscriber::open(server.address, &old.connector(), "/ws/a").err(), unknown);
    all_hear(&server, "after");

    files.write("server.pem", "no certificate");
    server.process.signal("HUP");
    let line = server.process.line().expect("it says so");
    assert!(line.contains("THE CERTIFICATE STAYS AS IT WAS") && line.contains("server.pem"), "{line}");
    assert!(Subscriber::open(server.address, &new.connector(), "/ws/a").is_ok());
    all_hear(&server, "at last");
}

/// A client of the command line: what it says, and its exit code.
fn run(words: &[&str], input: &str) -> (String, Option<i32>) {
    let (theirs, mut ours) = std::io::pipe().expect("a pipe");
    let mut command = ringwire();
    command.args(words).stdin(theirs);
    let process = Process::start(command);
    // Who is refused does not read it.
    let _ = ours.write_all(input.as_bytes());
    drop(ours);
    let (lines, status) = process.end();
    (lines.join("\n"), status.code())
}

#[test]
fn the_command_lines_clients_speak_wss() {
    let files = Files::new("clients");
    let authority = Authority::new("an authority");
    let ca = files.write("ca.pem", &authority.0.pem());
    let server = Server::start(&["--tls", &files.identity("server", authority.server()), "--tls-optional"]);
    let port = server.address.port();
    let mut command = ringwire();
    let url = format!("wss://localhost:{port}/ws/a");
    command.args(["subscribe", &url, "--ca", &ca, "--count", "2000"]).stdin(Stdio::null());
    let subscriber = Process::start(command);
    server.await_topic("a", "\"subscribers\":1");
    let lines: Vec<String> = (0..2000).map(|number| format!("{number} {}.", "x".repeat(number))).collect();
    let (said, code) = run(&["publish", &format!("wss://127.0.0.1:{port}/pub/a"), "--ca", &ca], &lines.join("\n"));
    assert_eq!((said.as_str(), code), ("ringwire: published 2000 messages", Some(0)));
    let (heard, status) = subscriber.end();
    assert!(heard == lines && status.success());
}

#[test]
fn a_client_that_does_not_trust_says_why_and_what_would_help() {
    let files = Files::new("trust");
    let authority = Authority::new("an authority");
    let ca = files.write("ca.pem", &authority.0.pem());
    let stranger = files.write("stranger.pem", &Authority::new("a stranger").0.pem());
    let subscribe = |server: &Server, host: &str, ca: &str| {
        let (said, code) = run(&["subscribe", &format!("wss://{host}:{}/ws/a", server.address.port()), "--ca", ca], "");
        assert_eq!(code, Some(1), "{said}");
        said
    };
    let expired = authority.issue(&["localhost"], |params| params.not_after = rcgen::date_time_ymd(2001, 1, 1));
    let server = Server::start(&["--tls", &files.identity("expired", expired), "--tls-optional"]);
    assert!(subscribe(&server, "localhost", &ca).contains("has expired; it must be renewed there"));
    let server = Server::start(&["--tls", &files.identity("good", authority.server()), "--tls-optional"]);
    assert!(subscribe(&server, "localhost", &stranger).contains("issued by nobody who is trusted; if you know"));
    let named = authority.issue(&["a.example"], |_| ());
    let server = Server::start(&["--tls", &files.identity("named", named), "--tls-optional"]);
    assert!(
        subscribe(&server, "localhost", &ca).contains("is for another name: "),
        "{}",
        subscribe(&server, "localhost", &ca)
    );
    let server = Server::start(&[]);
    assert!(subscribe(&server, "localhost", &ca).contains("no TLS is spoken there: is it ws://?"));
    let (said, code) = run(&["subscribe", "wss://localhost:1/", "--ca", &files.path("missing.pem")], "");
    assert!(said.contains("--ca: cannot read") && code == Some(2), "{said}");
}

#[test]
fn a_port_that_is_encrypted_says_so_to_who_is_not() {
    let files = Files::new("required");
    let authority = Authority::new("an authority");
    let mut command = ringwire();
    let tls = files.identity("server", authority.server());
    command.args(["--listen", "127.0.0.1:0", "--shards", "1", "--feed", "none", "--tls", &tls]);
    let mut process = Process::start(command);
    let line = process.line().expect("it says where it listens");
    let url = line.split_once("https://").and_then(|(_, rest)| rest.split(' ').next()).expect("an address");
    while process.line().expect("it gets ready") != "ready" {}
    let (said, code) = run(&["subscribe", &format!("ws://{url}/ws/a")], "");
    assert!(said.contains("400") && said.contains("use https:// or wss://") && code == Some(1), "{said}");
}

#[test]
fn a_client_without_the_certificate_that_is_asked_for_is_told_so() {
    let files = Files::new("client-certificates");
    let authority = Authority::new("an authority");
    let ca = files.write("ca.pem", &authority.0.pem());
    let client =
        |params: &mut CertificateParams| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let own = files.identity("client", authority.issue(&[], client));
    let tls = files.identity("server", authority.server());
    let server = Server::start(&["--tls", &tls, "--tls-optional", "--tls-client-ca", &ca]);
    let url = format!("wss://localhost:{}/pub/a", server.address.port());
    let (said, code) = run(&["publish", &url, "--ca", &ca], "x\n");
    assert!(said.contains("certificate_required") && said.contains("--cert CERT.pem,KEY.pem"), "{said}");
    assert_eq!(code, Some(1));
    assert_eq!(run(&["publish", &url, "--ca", &ca, "--cert", &own], "x\n").1, Some(0));
}

#[test]
fn what_is_wrong_with_files_is_said_with_their_names() {
    let files = Files::new("files");
    let authority = Authority::new("an authority");
    let good = files.identity("good", authority.server());
    files.identity("other", authority.server());
    let (certificate, other_key) = (files.path("good.pem"), files.path("other.key"));
    for (tls, words) in [
        (format!("{},{}", files.path("none.pem"), files.path("good.key")), "none.pem: No such file"),
        (format!("{certificate},{other_key}"), "do not fit"),
        (certificate.clone(), "holds a certificate, no key"),
    ] {
        let (said, code) = run(&["--listen", "127.0.0.1:0", "--tls", &tls], "");
        assert!(said.contains("--tls") && said.contains(words) && code == Some(2), "{said}");
    }
    let (said, _) = run(&["--listen", "127.0.0.1:0", "--tls", &good, "--tls-client-ca", &other_key], "");
    assert!(said.contains("the clients' authorities"), "{said}");
}

#[test]
fn a_certificate_made_here_is_trusted_by_who_is_given_it() {
    let server = Server::start(&["--tls", "self-signed", "--tls-optional"]);
    let said = server.announcement.join("\n");
    for part in ["https://127.0.0.1:", "certificate SHA-256 ", "to try things out", "--insecure"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    let files = Files::new("self-signed");
    let url = format!("wss://localhost:{}/ws/a", server.address.port());
    let ca = files.write("other.pem", &Authority::new("another").0.pem());
    assert!(run(&["subscribe", &url, "--ca", &ca], "").0.contains("issued by nobody"));
    // What the announcement says, but for openssl, which need not be here.
    if let Ok(shown) = Command::new("openssl")
        .args(["s_client", "-showcerts", "-connect", &server.address.to_string()])
        .stdin(Stdio::null())
        .output()
    {
        let ca = files.write("cert.pem", &String::from_utf8_lossy(&shown.stdout));
        let (said, code) = run(&["publish", &url.replace("/ws/", "/pub/"), "--ca", &ca], "x\n");
        assert_eq!(code, Some(0), "{said}");
    }
}
