//! What is read again while the server runs: the certificate on SIGHUP, keys of tokens on SIGHUP and when a file of
//! theirs has changed. What cannot be used changes nothing, and is said loudly.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::{KeyFiles, KeySet};
use crate::broker::Broker;
use crate::tls::Certificate;

/// How often files of keys are looked at.
pub(super) const PERIOD: Duration = Duration::from_secs(2);

/// What may be read again.
#[derive(Debug)]
pub(super) struct Renewal {
    certificate: Option<Certificate>,
    keys: Option<(KeyFiles, Arc<Broker>)>,
}

impl Renewal {
    /// These, where there is something to read.
    pub(super) fn new(certificate: Option<Certificate>, keys: KeyFiles, broker: Arc<Broker>) -> Self {
        Self { certificate, keys: (!keys.is_empty()).then_some((keys, broker)) }
    }

    /// Whether a hangup means anything.
    pub(super) fn heeds_hangup(&self) -> bool {
        self.certificate.is_some() || self.keys.is_some()
    }

    /// Whether there are files of keys to look at.
    pub(super) fn has_keys(&self) -> bool {
        self.keys.is_some()
    }

    /// Reads everything again. Gives what there is to say of it.
    pub(super) fn all(&mut self) -> Vec<String> {
        let certificate = self.certificate.as_ref().map(|certificate| match certificate.reload() {
            Ok(words) => words,
            Err(words) => format!("THE CERTIFICATE STAYS AS IT WAS: {words}"),
        });
        let keys = self.keys.as_mut().map(|(files, broker)| replace(files.read(), broker));
        certificate.into_iter().chain(keys).collect()
    }

    /// Reads the keys again if one of their files has changed. Gives what there is to say of it.
    pub(super) fn changed_keys(&mut self) -> Option<String> {
        let (files, broker) = self.keys.as_mut()?;
        files.read_if_changed().map(|keys| replace(keys, broker))
    }
}

fn replace(keys: Result<KeySet, String>, broker: &Broker) -> String {
    match keys {
        Ok(keys) => {
            let count = keys.len();
            broker.access.replace_keys(keys);
            format!("tokens are verified with {count} {}", if count == 1 { "key" } else { "keys" })
        }
        Err(words) => format!("THE KEYS OF TOKENS STAY AS THEY WERE: {words}"),
    }
}
