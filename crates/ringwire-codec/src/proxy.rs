//! The PROXY protocol, version 2: what a proxy writes in front of a connection to say whose it is
//! (haproxy.org, proxy-protocol.txt §2.2).
//!
//! [`parse`] looks at the front of a stream, as much of it as there is, and decides as early as the bytes allow. Whether
//! to believe a header is not decided here: anyone can write one.
//!
//! What this module must never do: take a header for good of which a byte is wrong, or wait for more than
//! [`HEADER_BYTES_MAX`].

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// What every header starts with. No request and no TLS record does.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Longest header that is read, its signature included. Addresses take 52 bytes, what proxies add some hundreds; the
/// format would allow 64 KiB.
pub const HEADER_BYTES_MAX: usize = 4096;

/// Signature, version and command, family and transport, length.
const FIXED_BYTES: usize = 16;

/// A header that was read whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Whose connection it is.
    pub source: Source,
    /// Bytes of the header; what follows is the connection's.
    pub header_bytes: usize,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The proxy's own, a health check say (`LOCAL`).
    Local,
    /// Somebody's, of whom the proxy says nothing that this side knows (`UNSPEC`, or not TCP over IP).
    Unknown,
    /// A client's.
    Client {
        /// Where the client is. An IPv4 address in IPv6's form is given as IPv4.
        client: SocketAddr,
        /// Where it has connected to.
        destination: SocketAddr,
    },
}

/// What is wrong with the front of a stream that should be a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyError {
    /// Does not start with [`SIGNATURE`].
    NoSignature,
    /// Not version 2.
    Version,
    /// Neither `LOCAL` nor `PROXY`.
    Command,
    /// A family and transport that the format has no meaning for.
    Family,
    /// Over [`HEADER_BYTES_MAX`].
    TooLong,
    /// Shorter than the addresses that it should hold.
    AddressesCut,
    /// What follows the addresses is not a sequence of fields (type, length, value).
    FieldsMalformed,
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProxyError::NoSignature => "no PROXY protocol header (version 2)",
            ProxyError::Version => "a PROXY protocol header that is not of version 2",
            ProxyError::Command => "a PROXY protocol header whose command is neither LOCAL nor PROXY",
            ProxyError::Family => "a PROXY protocol header with an undefined address family",
            ProxyError::TooLong => "a PROXY protocol header of more than 4096 bytes",
            ProxyError::AddressesCut => "a PROXY protocol header that is too short for its addresses",
            ProxyError::FieldsMalformed => "a PROXY protocol header with malformed fields behind its addresses",
        })
    }
}

impl std::error::Error for ProxyError {}

/// Reads the header at the front of `input`. `None`: what is there is right, but not whole.
///
/// # Errors
/// The first rule that the bytes break. They are then no header's, whatever follows.
pub fn parse(input: &[u8]) -> Result<Option<ProxyHeader>, ProxyError> {
    let signed = input.len().min(SIGNATURE.len());
    if input[..signed] != SIGNATURE[..signed] {
        return Err(ProxyError::NoSignature);
    }
    let is_local = match input.get(12) {
        None => return Ok(None),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(byte) if byte >> 4 != 2 => return Err(ProxyError::Version),
        Some(_) => return Err(ProxyError::Command),
    };
    let Some(&family) = input.get(13) else { return Ok(None) };
    // Address and port bytes, twice; a family whose addresses mean nothing here has none.
    let address_bytes = match family {
        _ if is_local => 0,
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => 0,
        0x11 => 4,
        0x21 => 16,
        _ => return Err(ProxyError::Family),
    };
    let Some(&[high, low]) = input.get(14..FIXED_BYTES).and_then(<[u8]>::first_chunk) else { return Ok(None) };
    let header_bytes = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if header_bytes > HEADER_BYTES_MAX {
        return Err(ProxyError::TooLong);
    }
    let addresses_end = if address_bytes > 0 { FIXED_BYTES + 2 * address_bytes + 4 } else { FIXED_BYTES };
    if header_bytes < addresses_end {
        return Err(ProxyError::AddressesCut);
    }
    let Some(header) = input.get(..header_bytes) else { return Ok(None) };
    let source = match address_bytes {
        0 if is_local => Source::Local,
        0 => Source::Unknown,
        _ => {
            check_fields(&header[addresses_end..])?;
            client(&header[FIXED_BYTES..addresses_end], address_bytes)
        }
    };
    Ok(Some(ProxyHeader { source, header_bytes }))
}

/// Client's and destination's address, then client's and destination's port.
fn client(bytes: &[u8], address_bytes: usize) -> Source {
    let (client, rest) = bytes.split_at(address_bytes);
    let (destination, ports) = rest.split_at(address_bytes);
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    Source::Client {
        client: SocketAddr::new(ip(client), port(0)),
        destination: SocketAddr::new(ip(destination), port(2)),
    }
}

fn ip(bytes: &[u8]) -> IpAddr {
    match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
        (Ok(four), _) => IpAddr::from(four),
        (_, Ok(sixteen)) => IpAddr::from(sixteen).to_canonical(),
        _ => unreachable!("addresses have 4 or 16 bytes"),
    }
}

/// Fields say nothing that is needed here, but what follows the header must start where they end.
fn check_fields(mut fields: &[u8]) -> Result<(), ProxyError> {
    while !fields.is_empty() {
        let &[_, high, low] = fields.first_chunk().ok_or(ProxyError::FieldsMalformed)?;
        let end = 3 + usize::from(u16::from_be_bytes([high, low]));
        fields = fields.get(end..).ok_or(ProxyError::FieldsMalformed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).expect("a short body").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, body].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 7, 0xC0, 0x01, 0x1F, 0x90];

    fn v6() -> Vec<u8> {
        let ip = |last: u16| [0x2001u16, 0xdb8, 0, 0, 0, 0, 0, last].map(u16::to_be_bytes).concat();
        [&ip(1)[..], &ip(2), &[0, 80, 1, 187]].concat()
    }

    /// What comes of `input`, whole and a byte at a time, which must be the same.
    fn parsed(input: &[u8]) -> Result<ProxyHeader, ProxyError> {
        let whole = parse(input).transpose().expect("decided");
        let by_bytes = (0..=input.len()).find_map(|len| parse(&input[..len]).transpose()).expect("decided");
        assert_eq!(whole, by_bytes, "a split changes nothing");
        whole
    }

    #[test]
    fn tcp_over_ipv4_and_ipv6_names_both_ends() {
        let input = [header(0x21, 0x11, &V4), b"GET / HTTP".to_vec()].concat();
        let want = Source::Client {
            client: "192.0.2.1:49153".parse().unwrap(),
            destination: "198.51.100.7:8080".parse().unwrap(),
        };
        assert_eq!(parsed(&input), Ok(ProxyHeader { source: want, header_bytes: 28 }));
        let want = Source::Client {
            client: "[2001:db8::1]:80".parse().unwrap(),
            destination: "[2001:db8::2]:443".parse().unwrap(),
        };
        assert_eq!(parsed(&header(0x21, 0x21, &v6())), Ok(ProxyHeader { source: want, header_bytes: 52 }));
    }

    #[test]
    fn an_ipv4_client_in_the_form_of_ipv6_is_an_ipv4_client() {
        let mut body = v6();
        body[..16].copy_from_slice(&"::ffff:192.0.2.9".parse::<std::net::Ipv6Addr>().unwrap().octets());
        let Ok(ProxyHeader { source: Source::Client { client, .. }, .. }) = parsed(&header(0x21, 0x21, &body)) else {
            panic!("a client")
        };
        assert_eq!(client, "192.0.2.9:80".parse().unwrap());
    }

    #[test]
    fn local_and_unspecified_connections_name_nobody_whatever_they_carry() {
        for family in [0x00, 0x11, 0x99] {
            let header = header(0x20, family, &[7; 100]);
            assert_eq!(parsed(&header), Ok(ProxyHeader { source: Source::Local, header_bytes: 116 }));
        }
        // UNSPEC, and what the format defines and this side has no use for: datagrams, UNIX sockets.
        for family in [0x00, 0x12, 0x22, 0x31, 0x32] {
            let header = header(0x21, family, &[7; 30]);
            assert_eq!(parsed(&header), Ok(ProxyHeader { source: Source::Unknown, header_bytes: 46 }));
        }
        assert_eq!(parsed(&header(0x21, 0, &[])).map(|header| header.header_bytes), Ok(16));
    }

    #[test]
    fn fields_behind_the_addresses_are_skipped() {
        let fields = [&[0x04, 0, 2, 1, 1][..], &[0xEA, 0, 0], &[0x20, 1, 0], &[9; 256]].concat();
        let input = header(0x21, 0x11, &[&V4[..], &fields].concat());
        assert_eq!(parsed(&input).map(|header| header.header_bytes), Ok(28 + fields.len()));
        for cut in [&[0x04][..], &[0x04, 0], &[0x04, 0, 1], &[0x04, 0, 0, 1], &[0x20, 1, 0, 9]] {
            let input = header(0x21, 0x11, &[&V4[..], cut].concat());
            assert_eq!(parsed(&input), Err(ProxyError::FieldsMalformed), "{cut:?}");
        }
    }

    #[test]
    fn every_byte_of_the_signature_counts() {
        for at in 0..SIGNATURE.len() {
            let mut input = header(0x21, 0x11, &V4);
            input[at] ^= 0x20;
            assert_eq!(parsed(&input), Err(ProxyError::NoSignature));
            assert_eq!(parse(&input[..=at]), Err(ProxyError::NoSignature), "it is known at once");
            assert_eq!(parse(&input[..at]), Ok(None));
        }
        assert_eq!(parsed(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), Err(ProxyError::NoSignature));
    }

    #[test]
    fn what_the_format_does_not_define_is_refused() {
        for (command, error) in [(0x11, ProxyError::Version), (0x31, ProxyError::Version), (0x22, ProxyError::Command)]
        {
            assert_eq!(parsed(&header(command, 0x11, &V4)), Err(error), "{command:#x}");
        }
        for family in [0x01, 0x10, 0x13, 0x20, 0x30, 0x41, 0xFF] {
            assert_eq!(parsed(&header(0x21, family, &[0; 40])), Err(ProxyError::Family), "{family:#x}");
        }
    }

    #[test]
    fn addresses_that_do_not_fit_are_refused_by_the_length() {
        for (family, body) in [(0x11, &V4[..]), (0x21, &v6())] {
            let input = header(0x21, family, &body[..body.len() - 1]);
            assert_eq!(parse(&input[..16]), Err(ProxyError::AddressesCut));
        }
    }

    #[test]
    fn a_header_over_the_limit_is_refused_by_its_length() {
        let of = |body: usize| header(0x20, 0, &vec![0; body]);
        assert_eq!(parsed(&of(HEADER_BYTES_MAX - 16)).map(|header| header.header_bytes), Ok(HEADER_BYTES_MAX));
        assert_eq!(parse(&of(HEADER_BYTES_MAX - 15)[..16]), Err(ProxyError::TooLong));
    }
}
