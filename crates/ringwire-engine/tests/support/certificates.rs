//! Certificates made for a test: an authority, and what it vouches for.

use std::sync::{Arc, OnceLock};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use ringwire_engine::tls::{Acceptor, ClientCertificates, ServerTls};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

/// Vouches for servers and clients.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key.
pub(crate) struct Identity {
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
    pub(crate) certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(rcgen::DnType::CommonName, "an authority for tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("a certificate") }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server's certificate for these names.
    pub(crate) fn server(&self, names: &[&str]) -> Identity {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        self.identity(CertificateParams::new(names).expect("names"), ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for `localhost` that is good from one year to another.
    pub(crate) fn server_in_years(&self, from: i32, to: i32) -> Identity {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        self.identity(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client's certificate.
    pub(crate) fn client(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        self.identity(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn identity(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Identity {
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            certificate: certificate.der().clone(),
            key: PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS #8"),
        }
    }

    /// A client that trusts this authority, speaks these versions, and shows `own` to who asks.
    pub(crate) fn client_config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Identity>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
        let builder = builder.expect("versions").with_root_certificates(roots);
        Arc::new(match own {
            None => builder.with_no_client_auth(),
            Some(own) => builder
                .with_client_auth_cert(vec![own.certificate.clone()], own.key.clone_key())
                .expect("an identity that fits"),
        })
    }
}

impl Identity {
    /// What a server needs to be this.
    pub(crate) fn server_tls(&self, client_certificates: ClientCertificates) -> ServerTls {
        let (certificate_pem, key_pem) = (self.certificate_pem.clone().into(), self.key_pem.clone().into());
        ServerTls { certificate_pem, key_pem, client_certificates }
    }

    /// A server that is this and asks nothing of its clients.
    pub(crate) fn acceptor(&self) -> Acceptor {
        Acceptor::new(&self.server_tls(ClientCertificates::None)).expect("a certificate and its key")
    }
}

/// One authority with one server, for tests that want nothing special of them.
pub(crate) fn usual() -> &'static (Authority, Identity) {
    static USUAL: OnceLock<(Authority, Identity)> = OnceLock::new();
    USUAL.get_or_init(|| {
        let authority = Authority::new();
        let server = authority.server(&["localhost", "127.0.0.1", "::1"]);
        (authority, server)
    })
}

/// A client's TLS that trusts the usual authority.
pub(crate) fn usual_client() -> ClientConnection {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| usual().0.client_config(rustls::ALL_VERSIONS, None));
    connection(config)
}

/// A connection to `localhost`.
pub(crate) fn connection(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(Arc::clone(config), "localhost".try_into().expect("a name")).expect("a client")
}
