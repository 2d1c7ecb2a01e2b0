//! The client's side: from trusted authorities to sessions.

use std::fmt;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::acceptor::roots;
use super::{ALPN_HTTP_1_1, Session, SetupError, WallClock, provider};

/// Who may vouch for a server.
#[derive(Clone, Debug)]
pub enum Roots {
    /// The authorities that the system trusts.
    System,
    /// These (PEM), and nobody else.
    Pem(Vec<u8>),
}

/// Makes a client's sessions. They are verified: there is no way around that.
#[derive(Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl Connector {
    /// A connector that trusts `roots`.
    ///
    /// # Errors
    /// If there are no authorities there.
    pub fn new(trusted: &Roots) -> Result<Self, SetupError> {
        Self::build(trusted, None)
    }

    /// The same, with a certificate (PEM, its chain behind it) and its key (PEM) to show to servers that ask for one.
    ///
    /// # Errors
    /// If there are no authorities, or the certificate and the key cannot be used.
    pub fn with_certificate(trusted: &Roots, certificate_pem: &[u8], key_pem: &[u8]) -> Result<Self, SetupError> {
        Self::build(trusted, Some((certificate_pem, key_pem)))
    }

    fn build(trusted: &Roots, own: Option<(&[u8], &[u8])>) -> Result<Self, SetupError> {
        let roots = match trusted {
            Roots::System => system_roots()?,
            Roots::Pem(pem) => roots(pem, "the authorities")?,
        };
        let builder = ClientConfig::builder_with_details(provider(), Arc::new(WallClock))
            .with_safe_default_protocol_versions()
            .map_err(|error| SetupError(error.to_string()))?
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain: Vec<CertificateDer<'static>> =
                    super::acceptor::certificates(certificate, "the certificate")?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|error| SetupError(format!("the certificate's key: {error}")))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| SetupError(error.to_string()))?
            }
        };
        config.alpn_protocols = vec![ALPN_HTTP_1_1.to_vec()];
        Ok(Self { config: Arc::new(config) })
    }

    /// A session with the server of this name, or address (IPv6 without brackets). It has output at once.
    ///
    /// # Errors
    /// If no certificate could be for such a name.
    pub fn session(&self, server: &str) -> Result<Session, SetupError> {
        let name = ServerName::try_from(server.to_owned())
            .map_err(|_| SetupError(format!("{server} is not a name that a certificate could be for")))?;
        let machine = UnbufferedClientConnection::new(Arc::clone(&self.config), name)
            .map_err(|error| SetupError(error.to_string()))?;
        Ok(Session::client(machine))
    }
}

/// What the system trusts: `SSL_CERT_FILE` and `SSL_CERT_DIR` if they are set, its own places otherwise.
fn system_roots() -> Result<RootCertStore, SetupError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some systems carry certificates that are no longer well-formed; the others still count.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        return Err(SetupError(format!(
            "this system has no trusted authorities{why}; install its ca-certificates, or name a file with some"
        )));
    }
    Ok(roots)
}
