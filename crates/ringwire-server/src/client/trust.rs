//! Whom a client trusts, what it shows of itself, and what to say where trust ends.

use std::io;
use std::path::Path;

use ringwire_codec::handshake::Url;
use ringwire_engine::tls::{CertificateFault, Connector, Roots, Session, TlsError};

use crate::cli::ConnectFlags;
use crate::failure::Failure;

/// A session with the host of `url`.
///
/// # Errors
/// Which file cannot be read or used, and why.
pub(super) fn session(url: &Url, flags: &ConnectFlags) -> Result<Session, Failure> {
    let roots = match &flags.ca {
        None => Roots::System,
        Some(file) => Roots::Pem(read("--ca", file)?),
    };
    let connector = match &flags.cert {
        None => Connector::new(&roots),
        Some(files) => {
            let (certificate, key) = files.split_once(',').unwrap_or((files, files));
            let (certificate, key) = (read("--cert", Path::new(certificate))?, read("--cert", Path::new(key))?);
            Connector::with_certificate(&roots, &certificate, &key)
        }
    };
    let session = connector.and_then(|connector| connector.session(url.host()));
    session.map_err(|error| Failure::usage(format!("{url}: {error}")))
}

fn read(flag: &str, file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::usage(format!("{flag}: cannot read {}: {error}", file.display())))
}

/// What is wrong and what would help, if TLS has failed.
pub(super) fn advice(url: &Url, error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<TlsError>()?;
    let help = match error {
        TlsError::Certificate(fault) => return Some(about_certificate(url, fault)),
        TlsError::NotTls => return Some("no TLS is spoken there: is it ws://?".to_owned()),
        TlsError::Alert(name) if name == "certificate_required" || name == "bad_certificate" => {
            "; it wants a certificate of an authority that it trusts: --cert CERT.pem,KEY.pem"
        }
        TlsError::Alert(name) if name == "unknown_ca" => "; it does not know who issued the certificate in --cert",
        TlsError::Alert(name) if name == "internal_error" => "; it may have as many connections as it takes",
        TlsError::Alert(_) | TlsError::Protocol(_) | TlsError::TooLong | TlsError::KeysExhausted => "",
    };
    Some(format!("{error}{help}"))
}

fn about_certificate(url: &Url, fault: &CertificateFault) -> String {
    let help = match fault {
        CertificateFault::Expired => "it must be renewed there, unless this machine's clock is wrong",
        CertificateFault::NotYetValid => "is this machine's clock right?",
        CertificateFault::WrongName(_) => "ask for one of its names, if that is whom you mean",
        CertificateFault::UnknownIssuer => {
            "if you know the server, name its authority's certificate, or its own if that is self-signed, with --ca"
        }
        CertificateFault::AuthorityAsServer => "the server must show a certificate of its own",
        CertificateFault::Other(_) => "it must be replaced there",
    };
    format!("the certificate of {} {fault}; {help}", url.host())
}
