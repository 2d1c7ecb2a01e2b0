//! `[[udp]]`: ports whose datagrams are published, each into one topic.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ringwire_hub::TopicName;
use ringwire_ring::linux::{DATAGRAM_BYTES_MAX, DatagramOptions, Multicast};

use crate::config::Section;

/// Most ports. Each has a thread.
pub const UDP_PORTS_MAX: usize = 64;
/// What the kernel keeps of a port by default until it is read.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// Longest payload of a datagram over IPv4.
const BYTES_MAX: usize = 65_507;

/// A port whose datagrams are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpOptions {
    /// Where, and how they are received.
    pub socket: DatagramOptions,
    /// Where they go.
    pub topic: TopicName,
    /// Whether they are texts.
    pub is_text: bool,
}

/// Reads all `[[udp]]`.
pub(super) fn udp(root: &mut Section<'_>) -> Vec<UdpOptions> {
    let ports = root.optional_sections("udp", port);
    if ports.len() > UDP_PORTS_MAX {
        root.fault("udp", &format!("{} ports are too many: at most {UDP_PORTS_MAX} are read", ports.len()));
    }
    ports.into_iter().flatten().collect()
}

/// Reads one; nothing, if what it cannot do without is missing or wrong, which has been reported.
fn port(section: &mut Section<'_>) -> Option<UdpOptions> {
    for (key, example) in [("address", "127.0.0.1:9000"), ("topic", "trades.X")] {
        if !section.has(key) {
            section.fault(key, &format!("this is needed, as in {key} = {example:?}"));
        }
    }
    let address = section.optional_text("address", |text| {
        let words = "an IP address and a port are needed, as in 127.0.0.1:9000; 0.0.0.0 for a multicast group";
        text.parse::<SocketAddr>().map_err(|_| words.to_owned())
    });
    let topic = section.optional_text("topic", super::topic);
    let is_text = section.text("payload", "text", |text| match text {
        "text" => Ok(true),
        "binary" => Ok(false),
        _ => Err("`text` or `binary` is needed".to_owned()),
    });
    let datagram_bytes_max = section.number("datagram_bytes_max", BYTES_MAX, 1..=DATAGRAM_BYTES_MAX);
    let receive_buffer_bytes = section.number("receive_buffer_bytes", RECEIVE_BUFFER_BYTES, 4096..=1 << 30);
    let multicast = multicast(section, address);
    let socket = DatagramOptions { address: address?, datagram_bytes_max, receive_buffer_bytes, multicast };
    Some(UdpOptions { socket, topic: topic?, is_text })
}

fn multicast(section: &mut Section<'_>, address: Option<SocketAddr>) -> Option<Multicast> {
    let group = section.optional_text("multicast", |text| {
        let group = text.parse::<IpAddr>().ok().filter(IpAddr::is_multicast);
        group.ok_or_else(|| "the address of a multicast group is needed, as in 239.1.1.1".to_owned())
    });
    let interface = section.optional_text("interface", |text| match group {
        None => Err("an interface is chosen for a group only: say multicast = \"239.1.1.1\", for example".to_owned()),
        Some(IpAddr::V4(group)) => {
            let words = || "the IPv4 address of an interface of this machine is needed, as in 10.0.0.5".to_owned();
            text.parse::<Ipv4Addr>().map(|own| Multicast::V4(group, own)).map_err(|_| words())
        }
        Some(IpAddr::V6(group)) => {
            let words = || "the number of an interface is needed, as `ip link` shows it".to_owned();
            text.parse::<u32>().map(|number| Multicast::V6(group, number)).map_err(|_| words())
        }
    });
    let group = group?;
    if address.is_some_and(|address| address.is_ipv4() != group.is_ipv4()) {
        section.fault("multicast", "the group and the address are of different versions of IP");
    }
    Some(interface.unwrap_or(match group {
        IpAddr::V4(group) => Multicast::V4(group, Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(group) => Multicast::V6(group, 0),
    }))
}
