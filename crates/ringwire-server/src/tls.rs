//! The server's certificate: from files or made here, read again on request.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use ringwire_engine::tls::{Acceptor, ClientCertificates, ServerTls, Transport};
use ringwire_ring::wall_clock_us;

use crate::failure::Failure;
use crate::options::{ClientAuthority, Encryption, Identity, TlsOptions};

/// Names that a certificate made here is for.
const SELF_SIGNED_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// No file with certificates or a key is longer.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A server's certificate, and where it came from.
#[derive(Debug)]
pub(crate) struct Certificate {
    acceptor: Acceptor,
    identity: Identity,
    clients: Option<ClientAuthority>,
}

impl Certificate {
    /// Reads or makes what the options name; none if they name nothing.
    ///
    /// # Errors
    /// Which file cannot be read or used, and why.
    pub(crate) fn open(options: &TlsOptions) -> Result<Option<Self>, Failure> {
        let Some(identity) = options.identity.clone() else { return Ok(None) };
        let clients = options.clients.clone();
        let acceptor = load(&identity, clients.as_ref())
            .and_then(|tls| Acceptor::new(&tls).map_err(|error| at(&identity, &error)))
            .map_err(|words| Failure::usage(format!("--tls: {words}")))?;
        Ok(Some(Self { acceptor, identity, clients }))
    }

    /// How a listener uses it.
    pub(crate) fn transport(&self, encryption: Encryption) -> Transport {
        match encryption {
            Encryption::Off => Transport::Plain,
            Encryption::Required => Transport::Tls(self.acceptor.clone()),
            Encryption::Optional => Transport::Either(self.acceptor.clone()),
        }
    }

    /// Reads the files again, for connections from now on. Gives what there is to say of it: that it was done, or why
    /// all stays as it was.
    pub(crate) fn reload(&self) -> Result<String, String> {
        if self.identity == Identity::SelfSigned {
            return Ok("the certificate was made at the start and stays; there is no file to read again".to_owned());
        }
        let tls = load(&self.identity, self.clients.as_ref())?;
        self.acceptor.replace(&tls).map_err(|error| at(&self.identity, &error))?;
        Ok(format!("new connections get the certificate SHA-256 {}", self.acceptor.fingerprint()))
    }

    /// What the server says of it at its start.
    pub(crate) fn announcement(&self, address: &SocketAddr) -> Vec<String> {
        let fingerprint = format!("certificate SHA-256 {}", self.acceptor.fingerprint());
        match &self.identity {
            Identity::Files { .. } => vec![fingerprint],
            Identity::SelfSigned => vec![
                fingerprint,
                format!("nobody vouches for it; made just now for {}, to try things out", SELF_SIGNED_NAMES.join(", ")),
                "browsers ask whether to go on, and curl needs --insecure; or have clients trust just this one:"
                    .to_owned(),
                format!("  openssl s_client -connect {address} </dev/null | openssl x509 >cert.pem"),
                "  curl --cacert cert.pem ... / ringwire subscribe --ca cert.pem ...".to_owned(),
            ],
        }
    }
}

fn load(identity: &Identity, clients: Option<&ClientAuthority>) -> Result<ServerTls, String> {
    let (certificate_pem, key_pem) = match identity {
        Identity::SelfSigned => self_signed()?,
        Identity::Files { certificate, key } => (read(certificate)?, read(key)?),
    };
    let client_certificates = match clients {
        None => ClientCertificates::None,
        Some(ClientAuthority { file, required: true }) => ClientCertificates::Required(read(file)?),
        Some(ClientAuthority { file, required: false }) => ClientCertificates::Optional(read(file)?),
    };
    Ok(ServerTls { certificate_pem, key_pem, client_certificates })
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", file.display());
    let metadata = std::fs::metadata(file).map_err(cannot)?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(format!("{} is too long for a certificate or a key", file.display()));
    }
    std::fs::read(file).map_err(cannot)
}

/// A certificate and its key that nobody vouches for, for a year.
fn self_signed() -> Result<(Vec<u8>, Vec<u8>), String> {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let cannot = |error: rcgen::Error| format!("cannot make a certificate: {error}");
    let mut params = CertificateParams::new(SELF_SIGNED_NAMES.map(str::to_owned)).map_err(cannot)?;
    params.distinguished_name.push(DnType::CommonName, "ringwire, self-signed");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_micros(wall_clock_us());
    // Clocks differ.
    (params.not_before, params.not_after) = (now - DAY, now + 365 * DAY);
    let key = KeyPair::generate().map_err(cannot)?;
    let certificate = params.self_signed(&key).map_err(cannot)?;
    Ok((certificate.pem().into_bytes(), key.serialize_pem().into_bytes()))
}

/// The words with the files that they may be about.
fn at(identity: &Identity, error: &dyn std::fmt::Display) -> String {
    match identity {
        Identity::SelfSigned => error.to_string(),
        Identity::Files { certificate, key } if certificate == key => format!("{}: {error}", certificate.display()),
        Identity::Files { certificate, key } => format!("{}, {}: {error}", certificate.display(), key.display()),
    }
}
