//! Agreeing on permessage-deflate, as server and as client (RFC 7692 §5, §7.1).

use std::fmt;
use std::sync::Arc;

use super::params::Element;
use super::pool::Pool;
use super::session::Session;
use super::{DeflateOptions, Parameters, WindowBits};
use crate::Role;
use crate::extension::{Agreed, Extension, ExtensionParams, Negotiator};

/// Negotiates permessage-deflate, and owns the contexts that its connections share. To be made once per shard: what a
/// connection borrows comes from here, and must not be waited for.
pub struct Deflate {
    pool: Arc<Pool>,
}

impl Deflate {
    /// A negotiator with these options, and a pool that is empty yet.
    pub fn new(options: DeflateOptions) -> Self {
        Self { pool: Arc::new(Pool::new(options)) }
    }

    /// Its options.
    pub fn options(&self) -> &DeflateOptions {
        self.pool.options()
    }

    /// What the pool keeps now, in bytes: at most a few contexts.
    pub fn pooled_bytes(&self) -> usize {
        self.pool.memory_bytes()
    }

    fn session(&self, role: Role, agreed: Parameters) -> Box<dyn Extension> {
        Box::new(Session::new(role, agreed, Arc::clone(&self.pool)))
    }

    /// What this side asks for as a client, first what it likes best. What a server may be unable to do is asked for
    /// once, and then left out.
    fn offers(&self) -> impl Iterator<Item = Element> {
        let options = self.options();
        let smaller = |bits: WindowBits| (bits < WindowBits::MAX).then_some(bits);
        let plain = Element {
            client_no_context_takeover: options.client_no_context_takeover,
            client_max_window_bits: Some(smaller(options.client_max_window_bits)),
            ..Element::default()
        };
        let wanted = Element {
            server_no_context_takeover: options.server_no_context_takeover,
            server_max_window_bits: smaller(options.server_max_window_bits),
            ..plain
        };
        std::iter::once(wanted).chain((plain != wanted).then_some(plain))
    }
}

impl fmt::Debug for Deflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflate").field("options", self.options()).finish_non_exhaustive()
    }
}

impl Negotiator for Deflate {
    fn offer(&self) -> String {
        self.offers().map(|offer| offer.to_string()).collect::<Vec<_>>().join(", ")
    }

    fn accept(&self, offer: &ExtensionParams<'_>) -> Option<Agreed> {
        let offer = Element::parse(offer).ok()?;
        let own = self.options();
        let server_max_window_bits = offer
            .server_max_window_bits
            .map_or(own.server_max_window_bits, |bits| bits.min(own.server_max_window_bits));
        // A client that does not offer the parameter must not be given one (§7.1.2.2).
        let client_max_window_bits = offer
            .client_max_window_bits
            .map_or(WindowBits::MAX, |bits| bits.unwrap_or(WindowBits::MAX).min(own.client_max_window_bits));
        let agreed = Parameters {
            server_no_context_takeover: offer.server_no_context_takeover || own.server_no_context_takeover,
            client_no_context_takeover: offer.client_no_context_takeover || own.client_no_context_takeover,
            server_max_window_bits,
            client_max_window_bits,
        };
        let answer = Element {
            server_no_context_takeover: agreed.server_no_context_takeover,
            client_no_context_takeover: agreed.client_no_context_takeover,
            server_max_window_bits: (offer.server_max_window_bits.is_some()
                || server_max_window_bits < WindowBits::MAX)
                .then_some(server_max_window_bits),
            client_max_window_bits: (client_max_window_bits < WindowBits::MAX).then_some(Some(client_max_window_bits)),
        };
        Some(Agreed { header_value: answer.to_string(), extension: self.session(Role::Server, agreed) })
    }

    fn confirm(&self, answer: &ExtensionParams<'_>) -> Option<Box<dyn Extension>> {
        let answer = Element::parse_answer(answer).ok()?;
        let agreed = self.offers().find_map(|offer| agreement(&offer, &answer))?;
        Some(self.session(Role::Client, agreed))
    }
}

/// What follows from a server's answer, if it answers this offer.
fn agreement(offer: &Element, answer: &Element) -> Option<Parameters> {
    // What was asked of the server must be in the answer; it may promise more (§7.1.1.1, §7.1.2.1).
    if offer.server_no_context_takeover && !answer.server_no_context_takeover {
        return None;
    }
    let server_max_window_bits = answer.server_max_window_bits.unwrap_or(WindowBits::MAX);
    if offer.server_max_window_bits.is_some_and(|wanted| server_max_window_bits > wanted) {
        return None;
    }
    // What it asks of the client must be within what the client offered (§7.1.2.2).
    let offered = offer.client_max_window_bits.map(|bits| bits.unwrap_or(WindowBits::MAX));
    let client_max_window_bits = match (offered, answer.client_max_window_bits.flatten()) {
        (None, Some(_)) => return None,
        (Some(offered), Some(wanted)) if wanted > offered => return None,
        (_, Some(wanted)) => wanted,
        (offered, None) => offered.unwrap_or(WindowBits::MAX),
    };
    Some(Parameters {
        server_no_context_takeover: answer.server_no_context_takeover,
        client_no_context_takeover: offer.client_no_context_takeover || answer.client_no_context_takeover,
        server_max_window_bits,
        client_max_window_bits,
    })
}
