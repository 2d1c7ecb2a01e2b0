//! What each service of the port agrees to in the opening handshake, chosen by path and subprotocol.
//!
//! A path is a service; where a path has several, the subprotocol tells them apart, in the server's order of
//! preference. A client that names none gets the first.

use std::sync::Arc;

use ringwire_codec::handshake::{OriginPolicy, Policy};
use ringwire_codec::http::Request;
use ringwire_hub::LaneId;

use super::native::Form;
use crate::lanes::{COMBINED, RAW};
use crate::routes::Route;

/// Subprotocol of messages that are payloads and nothing else.
pub const RAW_SUBPROTOCOL: &str = "ringwire.raw.1";
/// Subprotocol of messages that are `{"stream":..,"data":..}`.
pub const COMBINED_SUBPROTOCOL: &str = "ringwire.combined.1";

/// Subprotocol of the native protocol in text.
pub const JSON_SUBPROTOCOL: &str = "ringwire.json.1";
/// Subprotocol of the native protocol in binary records.
pub const BINARY_SUBPROTOCOL: &str = "ringwire.bin.1";

/// The policies of all services.
#[derive(Clone, Debug)]
pub(super) struct Agreements {
    /// Where there is no subprotocol to choose.
    plain: Arc<Policy>,
    /// Of `/ws/<topic>`.
    topic: Arc<Policy>,
    /// Of `/stream`.
    streams: Arc<Policy>,
    /// Of `/connect`.
    native: Arc<Policy>,
}

impl Agreements {
    /// Services that have `common` in common.
    pub(super) fn new(common: &Policy) -> Self {
        let with = |subprotocols: &[&str]| {
            let subprotocols = subprotocols.iter().map(|&name| name.to_owned()).collect();
            Arc::new(Policy { subprotocols, ..common.clone() })
        };
        Self {
            plain: with(&[]),
            topic: with(&[RAW_SUBPROTOCOL, COMBINED_SUBPROTOCOL]),
            streams: with(&[COMBINED_SUBPROTOCOL]),
            native: with(&[JSON_SUBPROTOCOL, BINARY_SUBPROTOCOL]),
        }
    }

    /// The policy of the service that a request is for.
    pub(super) fn policy(&self, request: &Request<'_>) -> &Arc<Policy> {
        match Route::parse(request.path(), request.query()) {
            Ok(Route::Subscribe(_)) => &self.topic,
            Ok(Route::Combined(_)) => &self.streams,
            Ok(Route::Connect) => &self.native,
            _ => &self.plain,
        }
    }

    /// Which pages are let in: the same for all services.
    pub(super) fn origin(&self) -> &OriginPolicy {
        &self.plain.origin
    }
}

/// The form in which `/ws/<topic>` sends messages, by the subprotocol agreed on.
pub(super) fn lane(subprotocol: Option<&str>) -> LaneId {
    if subprotocol == Some(COMBINED_SUBPROTOCOL) { COMBINED } else { RAW }
}

/// The form in which `/connect` speaks, by the subprotocol agreed on.
pub(super) fn form(subprotocol: Option<&str>) -> Form {
    if subprotocol == Some(BINARY_SUBPROTOCOL) { Form::Binary } else { Form::Json }
}
