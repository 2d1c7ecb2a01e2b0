//! Whose connection or request it is, as trusted proxies say: the PROXY protocol in front of a connection,
//! `X-Forwarded-For` and `X-Forwarded-Proto` in a request.
//!
//! They are believed only if the connection comes from an address that its listener trusts. A PROXY header must be there
//! or must not, as the listener's options say; it is never guessed at, since a proxy that sends none would let its
//! clients make one up. It is taken off before anything else looks at the bytes.

use std::net::{IpAddr, SocketAddr};

use ringwire_codec::http::Request;
use ringwire_codec::proxy::{self, Source};
use ringwire_ring::Driver;

use crate::admission::ADDRESS_WORDS;
use crate::connection::{HttpState, Life, Protocol};
use crate::handler::{Handler, Peer};
use crate::options::ListenerOptions;
use crate::shard::Shard;

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Takes a PROXY header off the front of a trusted connection that must have one, if `bytes` are still part of it.
    /// Gives how many of them; `None` if all, or if the connection has ended.
    pub(crate) fn take_proxy_header(&mut self, slot: u32, bytes: &[u8]) -> Option<usize> {
        let Some(state) = self.awaiting_header(slot) else { return Some(0) };
        let had = state.buffer.len();
        // A header that came whole, as most do, is read where it lies.
        let parsed = if had == 0 {
            proxy::parse(bytes)
        } else {
            let room = proxy::HEADER_BYTES_MAX - had.min(proxy::HEADER_BYTES_MAX);
            state.buffer.extend_from_slice(&bytes[..bytes.len().min(room)]);
            proxy::parse(&state.buffer)
        };
        match parsed {
            Ok(None) => {
                if had == 0 {
                    state.buffer.extend_from_slice(bytes);
                }
                None
            }
            Ok(Some(header)) => {
                state.buffer = Vec::new();
                state.awaits_header = false;
                self.on_proxy_header(slot, header.source);
                // Who is refused inside TLS learns it from what is behind the header.
                (self.core.slab.at(slot).life == Life::Live).then_some(header.header_bytes - had)
            }
            Err(error) => {
                self.refuse(slot, 400, &format!("{error}\n"));
                None
            }
        }
    }

    /// The state of a connection whose first bytes must be a PROXY header.
    fn awaiting_header(&mut self, slot: u32) -> Option<&mut HttpState> {
        match &mut self.core.slab.at(slot).protocol {
            Protocol::Http(state) => Some(&mut **state).filter(|state| state.awaits_header),
            Protocol::WebSocket { .. } | Protocol::Stream { .. } => None,
        }
    }

    /// A trusted peer has said whose connection it is. Refuses it if that one has too many.
    fn on_proxy_header(&mut self, slot: u32, source: Source) {
        let Source::Client { client, .. } = source else { return };
        if let Protocol::Http(state) = &mut self.core.slab.at(slot).protocol {
            state.proxy = state.address.replace(client);
        }
        if !self.admit_address(slot, client) {
            self.turn_away(slot, 429, ADDRESS_WORDS);
        }
    }

    /// What is known of the peer that sends this request.
    pub(crate) fn peer(&mut self, slot: u32, request: &Request<'_>) -> Peer {
        let connection = self.core.slab.at(slot);
        let listener = usize::from(connection.listener);
        let Protocol::Http(state) = &connection.protocol else { unreachable!("requests come before frames") };
        let (address, proxy) = (state.address, state.proxy);
        let tls = connection.tls.as_ref().and_then(|session| session.facts());
        let options = &self.core.options.listen[listener];
        let is_behind_proxy = proxy.or(address).is_some_and(|sender| options.trusts(sender.ip()));
        let encrypted = if is_behind_proxy { forwarded_proto(request) } else { Some(connection.tls.is_some()) };
        let client = address.and_then(|address| forwarded_for(options, address, request));
        match client {
            Some(client) => Peer { listener, address: Some(client), proxy: proxy.or(address), tls, encrypted },
            None => Peer { listener, address, proxy, tls, encrypted },
        }
    }
}

/// The client that `X-Forwarded-For` names: the last hop that is not a trusted proxy, or the first of all if every one
/// is. `None` if `sender` is not trusted, or there is no such field. Each proxy appends whom it heard, so what stands
/// left of an address that is not trusted may have been made up by it.
fn forwarded_for(options: &ListenerOptions, sender: SocketAddr, request: &Request<'_>) -> Option<SocketAddr> {
    if !options.trusts(sender.ip()) {
        return None;
    }
    let hops: Vec<&str> = request.headers().list("x-forwarded-for").collect();
    let mut client = None;
    for hop in hops.into_iter().rev() {
        let Some(address) = hop_address(hop) else { break };
        client = Some(address);
        if !options.trusts(address.ip()) {
            break;
        }
    }
    client
}

/// Whether the client's connection is encrypted, as `X-Forwarded-Proto` says. `None` if proxies do not say, or each says
/// something else.
fn forwarded_proto(request: &Request<'_>) -> Option<bool> {
    let is =
        |scheme: &str, one: &str, other: &str| scheme.eq_ignore_ascii_case(one) || scheme.eq_ignore_ascii_case(other);
    let mut hops = request.headers().list("x-forwarded-proto").map(|scheme| match scheme {
        scheme if is(scheme, "https", "wss") => Some(true),
        scheme if is(scheme, "http", "ws") => Some(false),
        _ => None,
    });
    let first = hops.next()?;
    hops.all(|hop| hop == first).then_some(first).flatten()
}

/// An address as proxies write it: bare, with a port, IPv6 with or without brackets. Without a port it is 0.
fn hop_address(hop: &str) -> Option<SocketAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let address = match bare.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, 0),
        Err(_) => hop.parse().ok()?,
    };
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(sender: &str, field: &str) -> Option<String> {
        let mut options = ListenerOptions::from(SocketAddr::from(([127, 0, 0, 1], 0)));
        options.proxies = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{field}\r\n");
        let (request, _) = Request::parse(head.as_bytes()).unwrap().expect("whole");
        let sender = SocketAddr::new(sender.parse().unwrap(), 1);
        forwarded_for(&options, sender, &request).map(|client| client.to_string())
    }

    fn of(hops: &str) -> Option<String> {
        client("10.0.0.1", &format!("X-Forwarded-For: {hops}\r\n"))
    }

    #[test]
    fn the_last_hop_that_is_not_trusted_is_the_client() {
        assert_eq!(of("192.0.2.1").as_deref(), Some("192.0.2.1:0"));
        assert_eq!(of("203.0.113.9, 192.0.2.1, 10.1.1.1, fd00::1").as_deref(), Some("192.0.2.1:0"));
        assert_eq!(of("192.0.2.1\r\nX-Forwarded-For: 10.0.0.9").as_deref(), Some("192.0.2.1:0"), "over all fields");
        assert_eq!(of("10.0.0.7, 10.0.0.8").as_deref(), Some("10.0.0.7:0"), "all are proxies");
    }

    #[test]
    fn a_proxy_says_whether_its_client_is_encrypted_unless_it_contradicts_itself() {
        for (field, want) in [
            ("X-Forwarded-Proto: https\r\n", Some(true)),
            ("X-Forwarded-Proto: http\r\n", Some(false)),
            ("X-Forwarded-Proto: WSS, https\r\n", Some(true)),
            ("X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n", None),
            ("X-Forwarded-Proto: gopher\r\n", None),
            ("", None),
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{field}\r\n");
            let (request, _) = Request::parse(head.as_bytes()).unwrap().expect("whole");
            assert_eq!(forwarded_proto(&request), want, "{field}");
        }
    }

    #[test]
    fn nobody_else_is_believed() {
        assert_eq!(client("192.0.2.66", "X-Forwarded-For: 10.0.0.5\r\n"), None);
        assert_eq!(client("10.0.0.1", ""), None);
    }

    #[test]
    fn what_is_no_address_ends_the_chain() {
        assert_eq!(of("unknown"), None);
        assert_eq!(of("192.0.2.1, _hidden, 10.0.0.9").as_deref(), Some("10.0.0.9:0"));
    }

    #[test]
    fn addresses_come_in_every_form_that_proxies_write() {
        for (hop, want) in [
            ("192.0.2.1:4711", "192.0.2.1:4711"),
            ("2001:db8::1", "[2001:db8::1]:0"),
            ("[2001:db8::1]", "[2001:db8::1]:0"),
            ("[2001:db8::1]:4711", "[2001:db8::1]:4711"),
            ("::ffff:192.0.2.1", "192.0.2.1:0"),
        ] {
            assert_eq!(of(hop).as_deref(), Some(want), "{hop}");
        }
    }
}
