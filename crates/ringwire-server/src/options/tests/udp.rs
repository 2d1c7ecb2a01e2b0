//! `[[udp]]`.

use ringwire_ring::linux::Multicast;

use super::{faults_of_file, file};

#[test]
fn a_port_has_defaults_but_for_address_and_topic() {
    let ports = file("[[udp]]\naddress = \"0.0.0.0:9000\"\ntopic = \"a\"\nmulticast = \"239.1.1.1\"\n").unwrap().udp;
    let [port] = &ports[..] else { panic!("one port") };
    assert_eq!((port.topic.as_str(), port.is_text, port.socket.datagram_bytes_max), ("a", true, 65_507));
    let group = Multicast::V4("239.1.1.1".parse().unwrap(), "0.0.0.0".parse().unwrap());
    assert_eq!(port.socket.multicast, Some(group));
    assert_eq!(file("").unwrap().udp, []);
}

#[test]
fn faulty_ports_say_what_is_wrong() {
    let text = "[[udp]]\npayload = \"json\"\n[[udp]]\naddress = \"9000\"\ntopic = \"a b\"\n\
                [[udp]]\naddress = \"[::]:1\"\ntopic = \"a\"\nmulticast = \"239.1.1.1\"\ninterface = \"eth0\"\n\
                [[udp]]\naddress = \"0.0.0.0:1\"\ntopic = \"a\"\nmulticast = \"10.0.0.1\"\ninterface = \"10.0.0.1\"\n";
    let faults = faults_of_file(text);
    for (at, want) in [
        "udp[0].address: this is needed, as in address = \"127.0.0.1:9000\"",
        "udp[0].topic: this is needed",
        "udp[0].payload = \"json\": `text` or `binary` is needed",
        "udp[1].address = \"9000\": an IP address and a port are needed",
        "udp[1].topic = \"a b\": ",
        "udp[2].interface = \"eth0\": the IPv4 address of an interface",
        "udp[2].multicast: the group and the address are of different versions",
        "udp[3].multicast = \"10.0.0.1\": the address of a multicast group is needed",
        "udp[3].interface = \"10.0.0.1\": an interface is chosen for a group only",
    ]
    .into_iter()
    .enumerate()
    {
        assert!(faults[at].starts_with(want), "{}", faults[at]);
    }
    assert_eq!(faults.len(), 9);
}
