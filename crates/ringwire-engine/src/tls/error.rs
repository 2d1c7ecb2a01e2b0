//! Why TLS cannot be set up, and why a connection's TLS has ended.

use std::fmt;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

/// Files or names that TLS cannot be set up with. Says which, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupError(pub(super) String);

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SetupError {}

/// Why a connection's TLS cannot go on. Nothing can be received or sent afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsError {
    /// The peer's certificate is not to be trusted.
    Certificate(CertificateFault),
    /// The peer has ended the connection with an alert, named here (RFC 8446 §6.2).
    Alert(String),
    /// What came is no TLS.
    NotTls,
    /// What came breaks a rule of TLS, or nothing in common was found. Says what.
    Protocol(String),
    /// The peer needs more memory for one handshake message than a connection may have.
    TooLong,
    /// The keys have encrypted as much as is safe, and TLS 1.2 has no way to renew them.
    KeysExhausted,
}

/// What is wrong with a peer's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateFault {
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It is for other names; these.
    WrongName(Vec<String>),
    /// It was not issued by an authority that is trusted.
    UnknownIssuer,
    /// It is an authority's certificate, used as a server's own.
    AuthorityAsServer,
    /// Something else, in words.
    Other(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Certificate(fault) => write!(f, "the peer's certificate {fault}"),
            TlsError::Alert(name) => write!(f, "the peer ended TLS with the alert {name}"),
            TlsError::NotTls => f.write_str("TLS failed: what came is no TLS"),
            TlsError::Protocol(words) => write!(f, "TLS failed: {words}"),
            TlsError::TooLong => f.write_str("TLS failed: a handshake message is too long"),
            TlsError::KeysExhausted => f.write_str("TLS ended: the keys have been used for as long as is safe"),
        }
    }
}

impl std::error::Error for TlsError {}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertificateFault::Expired => f.write_str("has expired"),
            CertificateFault::NotYetValid => f.write_str("is not valid yet"),
            CertificateFault::WrongName(names) if names.is_empty() => f.write_str("is for another name"),
            CertificateFault::WrongName(names) => write!(f, "is for another name: {}", names.join(", ")),
            CertificateFault::UnknownIssuer => f.write_str("was issued by nobody who is trusted"),
            CertificateFault::AuthorityAsServer => {
                f.write_str("is an authority's, not a server's: it may only sign others")
            }
            CertificateFault::Other(words) => write!(f, "is not valid: {words}"),
        }
    }
}

impl From<Error> for TlsError {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidCertificate(fault) => TlsError::Certificate(fault.into()),
            Error::AlertReceived(alert) => TlsError::Alert(alert_name(alert)),
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => TlsError::NotTls,
            other => TlsError::Protocol(other.to_string()),
        }
    }
}

impl From<CertificateError> for CertificateFault {
    fn from(error: CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => CertificateFault::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                CertificateFault::NotYetValid
            }
            CertificateError::NotValidForName => CertificateFault::WrongName(Vec::new()),
            CertificateError::NotValidForNameContext { presented, .. } => CertificateFault::WrongName(presented),
            // An authority of the right name, and another key: one that was made anew, as a rule.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => CertificateFault::UnknownIssuer,
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                CertificateFault::AuthorityAsServer
            }
            other => CertificateFault::Other(other.to_string()),
        }
    }
}

/// The name of an alert as its registry has it (RFC 8446 §6), for which openssl and browsers are searched as well.
fn alert_name(alert: AlertDescription) -> String {
    let mut name = String::new();
    for char in format!("{alert:?}").chars() {
        if char.is_ascii_uppercase() && !name.is_empty() && !name.ends_with(|last: char| last.is_ascii_uppercase()) {
            name.push('_');
        }
        name.push(char);
    }
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_has_the_name_of_its_registry() {
        assert_eq!(alert_name(AlertDescription::HandshakeFailure), "handshake_failure");
        assert_eq!(alert_name(AlertDescription::UnknownCA), "unknown_ca");
        assert_eq!(alert_name(AlertDescription::CertificateRequired), "certificate_required");
    }

    #[test]
    fn a_certificates_fault_is_told_apart() {
        let fault = |error| TlsError::from(Error::InvalidCertificate(error));
        assert_eq!(fault(CertificateError::Expired), TlsError::Certificate(CertificateFault::Expired));
        assert_eq!(fault(CertificateError::UnknownIssuer), TlsError::Certificate(CertificateFault::UnknownIssuer));
        assert_eq!(fault(CertificateError::NotValidForName).to_string(), "the peer's certificate is for another name");
    }
}
