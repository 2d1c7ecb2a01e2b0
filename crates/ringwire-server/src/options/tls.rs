//! `[tls]`, and `tls` of each `[[listen]]`: which certificate, and which ports are encrypted.

use std::path::PathBuf;

use toml::Value;

use crate::config::Section;

/// How the server is encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// What the server shows of itself; without one, nothing is encrypted.
    pub identity: Option<Identity>,
    /// Whose certificates clients must show, or may.
    pub clients: Option<ClientAuthority>,
    /// For each listener, in their order, whether it is encrypted.
    pub listeners: Vec<Encryption>,
}

/// What the server shows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A certificate made at the start, for trying things out.
    SelfSigned,
    /// A certificate and its key, in PEM. They may be one file.
    Files {
        /// The certificate, and those between it and its authority's.
        certificate: PathBuf,
        /// The private key.
        key: PathBuf,
    },
}

/// Who vouches for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuthority {
    /// Certificates of authorities, in PEM.
    pub file: PathBuf,
    /// Whether a client must have a certificate of theirs.
    pub required: bool,
}

/// Whether a listener's connections are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// No.
    Off,
    /// All of them.
    Required,
    /// Those that begin that way.
    Optional,
}

/// Reads the section, and `listeners`: what each listener says, if it says something.
pub(super) fn tls(section: &mut Section<'_>, listeners: &[Option<Encryption>]) -> TlsOptions {
    let identity = identity(section);
    let file = section.optional_text("client_authority", a_path);
    let required = section.optional_text("client_certificates", |text| match text {
        "required" => Ok(true),
        "optional" => Ok(false),
        _ => Err("`required` or `optional` is needed".to_owned()),
    });
    if required.is_some() && file.is_none() {
        let words = "there is nobody to vouch for clients: name their authority's file in tls.client_authority";
        section.fault("client_certificates", words);
    }
    let by_default = if section.switch("optional", false) { Encryption::Optional } else { Encryption::Required };
    match &identity {
        Some(_) => {}
        None if file.is_some() => section.fault("client_authority", NO_IDENTITY),
        None if by_default == Encryption::Optional => section.fault("optional", NO_IDENTITY),
        None if listeners.iter().flatten().any(|listener| *listener != Encryption::Off) => {
            section.fault("certificate", "a [[listen]] says that it is encrypted, but there is no certificate");
        }
        None => {}
    }
    let by_default = if identity.is_some() { by_default } else { Encryption::Off };
    TlsOptions {
        identity,
        clients: file.map(|file| ClientAuthority { file, required: required.unwrap_or(true) }),
        listeners: listeners.iter().map(|listener| listener.unwrap_or(by_default)).collect(),
    }
}

/// What is missing where something is said that makes sense with TLS only.
const NO_IDENTITY: &str = "this needs TLS: give a certificate with --tls CERT.pem,KEY.pem, or --tls self-signed";

fn identity(section: &mut Section<'_>) -> Option<Identity> {
    let self_signed = section.switch("self_signed", false);
    let certificate = section.optional_text("certificate", a_path);
    let key = section.optional_text("key", a_path);
    match (self_signed, certificate, key) {
        (false, None, None) => None,
        (true, None, None) => Some(Identity::SelfSigned),
        (true, _, _) => {
            section.fault("self_signed", "a certificate of its own and one from a file contradict each other");
            None
        }
        (false, Some(certificate), key) => {
            let key = key.unwrap_or_else(|| certificate.clone());
            Some(Identity::Files { certificate, key })
        }
        (false, None, Some(_)) => {
            section.fault("key", "there is a key, but no certificate");
            None
        }
    }
}

/// Reads `tls` of a listener.
pub(super) fn encryption(value: &Value) -> Result<Encryption, String> {
    match value.as_str() {
        Some("off") => Ok(Encryption::Off),
        Some("required") => Ok(Encryption::Required),
        Some("optional") => Ok(Encryption::Optional),
        _ => Err("\"off\", \"required\" or \"optional\" is needed".to_owned()),
    }
}

/// Reads the name of a file.
pub(super) fn a_path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("the name of a file is needed".to_owned()) } else { Ok(PathBuf::from(text)) }
}
