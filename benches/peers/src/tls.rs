//! rustls under a peer, with the provider that ringwire has.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// From a chain of certificates and its key, both PEM.
pub(crate) fn acceptor(certificate: &str, key: &str) -> Result<TlsAcceptor, String> {
    let fault = |error: &dyn std::fmt::Display| format!("--tls {certificate} {key}: {error}");
    let chain = CertificateDer::pem_file_iter(certificate).map_err(|error| fault(&error))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|error| fault(&error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| fault(&error))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    Ok(TlsAcceptor::from(Arc::new(config.map_err(|error| fault(&error))?)))
}
