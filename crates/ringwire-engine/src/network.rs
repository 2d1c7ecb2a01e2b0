//! Networks of IP addresses, as people write them: `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.7`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// The first of them.
    first: IpAddr,
    /// How many bits they share.
    prefix: u8,
}

/// What is wrong with a network's text; `Display` names the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkError {
    text: String,
    fault: Fault,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    Address,
    Prefix(u8),
    HostBits(Network),
}

impl Network {
    /// Whether `address` is one of them. An IPv4 address in IPv6's form (`::ffff:192.0.2.1`) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
                bits(address.to_canonical()) & self.mask() == bits(self.first)
            }
            _ => false,
        }
    }

    /// The bits that they share, at the top of 128.
    fn mask(&self) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0)
    }
}

/// An address's bits at the top of 128.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl From<IpAddr> for Network {
    /// The network of this address alone.
    fn from(address: IpAddr) -> Self {
        let first = address.to_canonical();
        Self { first, prefix: if first.is_ipv4() { 32 } else { 128 } }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let error = |fault| NetworkError { text: text.to_owned(), fault };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| error(Fault::Address))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(digits) => {
                let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
                number.filter(|&prefix| prefix <= most).ok_or_else(|| error(Fault::Prefix(most)))?
            }
        };
        // IPv4 in IPv6's form is IPv4.
        let (first, prefix) = match address.to_canonical() {
            canonical if canonical.is_ipv4() && most == 128 && prefix >= 96 => (canonical, prefix - 96),
            canonical if canonical.is_ipv4() == address.is_ipv4() => (canonical, prefix),
            _ => (address, prefix),
        };
        let network = Self { first, prefix };
        let start = bits(first) & network.mask();
        if start != bits(first) {
            let first = match first {
                IpAddr::V4(_) => IpAddr::from(((start >> 96) as u32).to_be_bytes()),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(start)),
            };
            return Err(error(Fault::HostBits(Self { first, prefix })));
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, fault } = self;
        match fault {
            Fault::Address => write!(
                f,
                "{text:?} is no network: write an IP address, or one and the length of a prefix, as in 10.0.0.0/8 or \
                 2001:db8::/32"
            ),
            Fault::Prefix(most) => write!(f, "{text:?}: behind the slash stands a prefix's length, 0 to {most}"),
            Fault::HostBits(network) => {
                write!(f, "{text:?} has bits set behind its prefix: write {network}, or a longer prefix")
            }
        }
    }
}

impl std::error::Error for NetworkError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    fn contains(text: &str, address: &str) -> bool {
        network(text).contains(address.parse().expect("an address"))
    }

    #[test]
    fn a_network_has_the_addresses_with_its_prefix() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("::1", "::1", "::2"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.0"),
        ] {
            assert!(contains(text, inside), "{text} has {inside}");
            assert!(!contains(text, outside), "{text} has not {outside}");
        }
        assert!(contains("10.0.0.0/8", "::ffff:10.0.0.1"), "IPv4 in IPv6's form is IPv4");
        assert!(Network::from("192.0.2.7".parse::<IpAddr>().unwrap()).contains("192.0.2.7".parse().unwrap()));
    }

    #[test]
    fn what_is_written_back_reads_the_same() {
        for (text, written) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ] {
            assert_eq!(network(text).to_string(), written);
            assert_eq!(network(written), network(text));
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_what_to_write() {
        let error = |text: &str| text.parse::<Network>().unwrap_err().to_string();
        for text in ["", "localhost", "10.0.0/8", "10.0.0.0.0", "1::2::3/8", " 10.0.0.0/8"] {
            assert!(error(text).contains(&format!("{text:?} is no network")), "{}", error(text));
        }
        for text in ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/8/8", "10.0.0.0/1000"] {
            assert!(error(text).contains("0 to 32"), "{}", error(text));
        }
        assert!(error("::/129").contains("0 to 128"));
        assert!(error("10.1.2.3/8").contains("write 10.0.0.0/8"), "{}", error("10.1.2.3/8"));
        assert!(error("2001:db8::1/32").contains("write 2001:db8::/32"));
    }
}
