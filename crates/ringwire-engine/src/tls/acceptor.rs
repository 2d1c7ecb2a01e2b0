//! The server's side: from certificate and key to sessions, and to other certificates while it runs.

use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, UnbufferedServerConnection, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, RootCertStore, ServerConfig, SupportedCipherSuite};

use super::{ALPN_HTTP_1_1, Session, SetupError, WallClock, provider};

/// What a server shows of itself and asks of its clients. PEM (RFC 7468), as files have it.
#[derive(Clone, Default)]
pub struct ServerTls {
    /// The server's certificate, then those between it and its authority's.
    pub certificate_pem: Vec<u8>,
    /// Its private key (PKCS #8, PKCS #1 or SEC 1), not encrypted.
    pub key_pem: Vec<u8>,
    /// What is asked of clients.
    pub client_certificates: ClientCertificates,
}

/// What is asked of clients.
#[derive(Clone, Debug, Default)]
pub enum ClientCertificates {
    /// Nothing.
    #[default]
    None,
    /// A certificate of one of these authorities (PEM), if they have one. One of another authority ends the handshake.
    Optional(Vec<u8>),
    /// A certificate of one of these authorities (PEM).
    Required(Vec<u8>),
}

/// Makes the sessions of a listener. Cheap to clone: all clones are one acceptor.
#[derive(Clone)]
pub struct Acceptor {
    current: Arc<RwLock<Current>>,
}

/// What new connections get.
#[derive(Clone)]
struct Current {
    config: Arc<ServerConfig>,
    /// SHA-256 of the certificate.
    fingerprint: Vec<u8>,
}

impl fmt::Debug for ServerTls {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("client_certificates", &self.client_certificates).finish_non_exhaustive()
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

impl Acceptor {
    /// An acceptor that speaks TLS 1.3 and 1.2 (with forward secrecy and authenticated encryption only).
    ///
    /// Sessions can be resumed by tickets for 12 hours at most: the server keeps nothing of them but the tickets' key,
    /// which is made at random, used for 6 hours, and gone with the process or the next [`replace`](Self::replace).
    ///
    /// # Errors
    /// What is wrong with the certificate, the key or the authorities.
    pub fn new(tls: &ServerTls) -> Result<Self, SetupError> {
        Ok(Self { current: Arc::new(RwLock::new(Current::new(tls)?)) })
    }

    /// Uses another certificate from the next connection on. Those there are stay as they are; tickets given to them are
    /// worth nothing any more, so that who must show a certificate shows it to the new authorities.
    ///
    /// # Errors
    /// What is wrong with what is new; then all stays as it was.
    pub fn replace(&self, tls: &ServerTls) -> Result<(), SetupError> {
        let next = Current::new(tls)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// A session for a connection that has come in. A few KiB.
    pub fn session(&self) -> Session {
        let config = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).config);
        Session::server(UnbufferedServerConnection::new(config).expect("the configuration sets no fragment size"))
    }

    /// SHA-256 of the certificate in use, as openssl and browsers show it: pairs of digits with colons between them.
    pub fn fingerprint(&self) -> String {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let pairs: Vec<String> = current.fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
        pairs.join(":")
    }
}

impl Current {
    fn new(tls: &ServerTls) -> Result<Self, SetupError> {
        let provider = provider();
        let certified = certified_key(tls, &provider)?;
        let leaf = certified.end_entity_cert().map_err(|error| SetupError(error.to_string()))?;
        let fingerprint = sha256(&provider, leaf);
        Ok(Self { config: Arc::new(config(tls, certified, provider)?), fingerprint })
    }
}

/// The hash that the cipher suites with AES-128 use.
fn sha256(provider: &CryptoProvider, bytes: &[u8]) -> Vec<u8> {
    let is_it = |suite: &&SupportedCipherSuite| suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256;
    let suite = provider.cipher_suites.iter().find(is_it).and_then(SupportedCipherSuite::tls13);
    let hash = suite.expect("every provider must have this suite (RFC 8446 §9.1)").common.hash_provider;
    hash.hash(bytes).as_ref().to_vec()
}

fn config(tls: &ServerTls, certified: CertifiedKey, provider: Arc<CryptoProvider>) -> Result<ServerConfig, SetupError> {
    let builder = ServerConfig::builder_with_details(Arc::clone(&provider), Arc::new(WallClock))
        .with_safe_default_protocol_versions()
        .map_err(|error| SetupError(error.to_string()))?;
    let builder = match &tls.client_certificates {
        ClientCertificates::None => builder.with_no_client_auth(),
        ClientCertificates::Optional(pem) | ClientCertificates::Required(pem) => {
            let roots = roots(pem, "the clients' authorities")?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let is_optional = matches!(tls.client_certificates, ClientCertificates::Optional(_));
            let verifier = if is_optional { verifier.allow_unauthenticated() } else { verifier };
            let verifier = verifier.build().map_err(|error| SetupError(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(Only(Arc::new(certified))));
    // The server's order: whoever would have a client choose badly is left without a say (RFC 9325 §4.2.1).
    config.ignore_client_order = true;
    config.alpn_protocols = vec![ALPN_HTTP_1_1.to_vec()];
    // All that a session's resumption needs is in its ticket: shards share a key, not a cache.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(|error| SetupError(error.to_string()))?;
    Ok(config)
}

/// The certificate and its key, which must fit each other.
fn certified_key(tls: &ServerTls, provider: &CryptoProvider) -> Result<CertifiedKey, SetupError> {
    let chain = certificates(&tls.certificate_pem, "the certificate")?;
    let key = PrivateKeyDer::from_pem_slice(&tls.key_pem).map_err(|_| {
        let text = String::from_utf8_lossy(&tls.key_pem);
        SetupError(match text {
            text if text.contains("ENCRYPTED") => {
                "the key is encrypted; write it without a passphrase: openssl pkey -in KEY -out PLAIN".to_owned()
            }
            text if text.contains("BEGIN CERTIFICATE") => "the key's file holds a certificate, no key".to_owned(),
            _ => "the key's file holds no private key in PEM (-----BEGIN PRIVATE KEY-----)".to_owned(),
        })
    })?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        SetupError(match error {
            rustls::Error::InconsistentKeys(_) => "the key is not the certificate's: they do not fit".to_owned(),
            error => format!("the certificate or its key cannot be used: {error}"),
        })
    })
}

/// The certificates in `pem`, at least one. `what` says whose they are.
pub(super) fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|error| SetupError(format!("{what}: not well-formed PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(SetupError(format!("{what}: no certificate in PEM there (-----BEGIN CERTIFICATE-----)")));
    }
    Ok(certificates)
}

/// The authorities in `pem`.
pub(super) fn roots(pem: &[u8], what: &str) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, what)? {
        roots.add(certificate).map_err(|error| SetupError(format!("{what}: {error}")))?;
    }
    Ok(roots)
}

/// The one certificate, whatever name is asked for: which names it is good for is the client's to judge.
#[derive(Debug)]
struct Only(Arc<CertifiedKey>);

impl ResolvesServerCert for Only {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        SERVER_NAME.set(hello.server_name().map(Box::from));
        Some(Arc::clone(&self.0))
    }
}

thread_local! {
    /// The name in the ClientHello that was last looked at. Unbuffered sessions do not tell it; the resolver is called
    /// within their processing, on the same thread, so whoever takes it right behind that has the session's own.
    static SERVER_NAME: Cell<Option<Box<str>>> = const { Cell::new(None) };
}

/// The name asked for in the ClientHello that has just been processed on this thread, if one was.
pub(super) fn take_server_name() -> Option<Box<str>> {
    SERVER_NAME.take()
}
