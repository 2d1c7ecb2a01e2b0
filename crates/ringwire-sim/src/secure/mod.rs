//! TLS on a peer's end of a simulated connection: a session of the engine in the client's role.
//!
//! Sessions draw their keys from the system, not from the seed. All lengths are the same in every run though (the
//! certificate's signatures are Ed25519, which are of one length), and so is everything that happens: only what the bytes
//! are that travel is not, so they are left out of the trace.

use ringwire_engine::tls::{Acceptor, ClientCertificates, Connector, Roots, ServerTls, Session, Stream, TlsError};

use crate::peer::Read;

/// For `localhost`, good from 2000 to 2200; its key is no secret.
const CERTIFICATE: &[u8] = include_bytes!("certificate.pem");
const KEY: &[u8] = include_bytes!("key.pem");

/// A peer's TLS.
#[derive(Debug)]
pub(crate) struct Secure {
    connector: Connector,
    session: Option<Session>,
    /// Ciphertext for which there was no room.
    pub(crate) unsent: Vec<u8>,
    /// What was decrypted and not read.
    plain: Vec<u8>,
    /// How the stream has ended.
    end: Option<Read>,
    /// Nothing more will be written.
    pub(crate) finishes: bool,
}

/// What the server needs.
pub(crate) fn acceptor() -> Acceptor {
    let (certificate_pem, key_pem) = (CERTIFICATE.to_vec(), KEY.to_vec());
    let tls = ServerTls { certificate_pem, key_pem, client_certificates: ClientCertificates::None };
    Acceptor::new(&tls).expect("a certificate and its key")
}

/// What clients need.
pub(crate) fn connector() -> Connector {
    Connector::new(&Roots::Pem(CERTIFICATE.to_vec())).expect("a certificate")
}

impl Secure {
    pub(crate) fn new(connector: Connector) -> Self {
        Self { connector, session: None, unsent: Vec::new(), plain: Vec::new(), end: None, finishes: false }
    }

    /// A connection begins.
    pub(crate) fn begin(&mut self) {
        *self = Self::new(self.connector.clone());
        self.session = Some(self.connector.session("localhost").expect("a name"));
        self.encrypt(&[]);
    }

    /// Takes in what came. Whether hands have been shaken with it.
    pub(crate) fn receive(&mut self, bytes: &mut [u8]) -> bool {
        let session = self.session();
        let was_handshaking = session.is_handshaking();
        let mut plain = Vec::new();
        let outcome = session.receive(bytes, &mut plain);
        let is_shaken = was_handshaking && !session.is_handshaking();
        self.plain.append(&mut plain);
        match outcome {
            Ok(Stream::Open) => {}
            Ok(Stream::Ended) => self.end = Some(Read::End),
            // One connection too many.
            Err(TlsError::Alert(name)) if name == "internal_error" => self.end = Some(Read::Refused),
            Err(error) => panic!("the server's TLS is wrong: {error}"),
        }
        if self.end.is_none() {
            self.encrypt(&[]);
        }
        is_shaken
    }

    /// Moves up to `most` bytes that were decrypted to `out`, or says that the stream has ended.
    pub(crate) fn read(&mut self, out: &mut Vec<u8>, most: usize) -> Option<Read> {
        if self.plain.is_empty() {
            return self.end;
        }
        let count = most.min(self.plain.len());
        out.extend(self.plain.drain(..count));
        Some(Read::Bytes(count))
    }

    /// Encrypts `plain`, if that can be. What the session itself wants said goes in front.
    pub(crate) fn encrypt(&mut self, plain: &[u8]) -> bool {
        let mut out = Vec::new();
        let taken = self.session().transmit(plain, &mut out).is_ok();
        self.unsent.append(&mut out);
        taken
    }

    /// Whether plaintext can be taken.
    pub(crate) fn is_ready(&self) -> bool {
        self.session.as_ref().is_some_and(|session| !session.is_handshaking())
    }

    /// Whether the server has said that nothing more will come.
    pub(crate) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Says that nothing more will be written.
    pub(crate) fn finish(&mut self) {
        let mut out = Vec::new();
        self.session().close(&mut out);
        self.unsent.append(&mut out);
        self.finishes = true;
    }

    fn session(&mut self) -> &mut Session {
        self.session.as_mut().expect("the peer is connected")
    }
}
