//! Datagrams from another program's socket.

use std::net::{SocketAddr, UdpSocket};

use super::wait;
use crate::support::{Received, Server};

/// A server with these ports, and where they are.
fn server(ports: &[&str]) -> (Server, Vec<SocketAddr>) {
    let table = |keys: &&str| format!("[[udp]]\naddress = \"127.0.0.1:0\"\n{keys}\n");
    let server = Server::start_configured(&ports.iter().map(table).collect::<String>());
    let said = server.announcement.iter().filter_map(|line| line.strip_prefix("ringwire: udp "));
    let addresses = said.map(|rest| rest.split(' ').next().expect("an address").parse().expect("one that is"));
    let addresses = addresses.collect();
    (server, addresses)
}

#[test]
fn each_datagram_is_an_entry_of_its_ports_topic() {
    let (server, ports) = server(&["topic = \"trades.X\"", "topic = \"bytes\"\npayload = \"binary\""]);
    let mut texts = server.socket("/stream?streams=trades.X");
    let mut bytes = server.socket("/ws/bytes");
    let feed = UdpSocket::bind("127.0.0.1:0").expect("a port");
    for payload in [&b"{\"p\":1.50}"[..], b"", b"plain"] {
        feed.send_to(payload, ports[0]).expect("it goes out");
        feed.send_to(payload, ports[1]).expect("it goes out");
        assert_eq!(bytes.receive(), Received::Binary(payload.to_vec()));
    }
    for data in ["{\"p\":1.50}", "\"\"", "\"plain\""] {
        assert_eq!(texts.text(), format!("{{\"stream\":\"trades.X\",\"data\":{data}}}"));
    }
    feed.send_to(&[0xFF, 0], ports[1]).expect("it goes out");
    assert_eq!(bytes.receive(), Received::Binary(vec![0xFF, 0]));
    let health = server.get("/health").body;
    assert!(health.contains("\"status\":\"ok\"") && health.contains("\"published\":4,\"dropped\":0"), "{health}");
}

#[test]
fn what_is_too_long_or_no_text_is_dropped_and_said() {
    let (mut server, ports) = server(&["topic = \"a\"\ndatagram_bytes_max = 8"]);
    let mut subscriber = server.socket("/ws/a");
    let feed = UdpSocket::bind("127.0.0.1:0").expect("a port");
    for payload in [&b"123456789"[..], b"\xFF", b"\xFE", b"12345678"] {
        feed.send_to(payload, ports[0]).expect("it goes out");
    }
    assert_eq!(subscriber.text(), "12345678");
    assert!(server.get("/health").body.contains("\"published\":1,\"dropped\":3"));
    let said = [server.process.line(), server.process.line()].map(|line| line.expect("it is said"));
    assert!(said[0].contains("a datagram of 9 bytes is longer than 8 (datagram_bytes_max): dropped"), "{said:?}");
    assert!(said[1].contains("no text") && said[1].contains("payload = \"binary\""), "{said:?}");
}

#[test]
fn a_burst_comes_whole_and_in_order() {
    let (server, ports) = server(&["topic = \"a\""]);
    let mut subscriber = server.socket("/ws/a");
    let feed = UdpSocket::bind("127.0.0.1:0").expect("a port");
    for nth in 0..2000 {
        feed.send_to(format!("{nth}").as_bytes(), ports[0]).expect("it goes out");
    }
    for nth in 0..2000 {
        assert_eq!(subscriber.text(), format!("{nth}"));
    }
    server.await_topic("a", "\"seq\":2000");
    wait("all are counted", || server.get("/health").body.contains("\"published\":2000,\"dropped\":0"));
}

#[test]
fn a_port_that_is_taken_is_said_before_the_server_is_ready() {
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it is bound");
    let lines = Server::refuses(&format!("[[udp]]\naddress = \"{address}\"\ntopic = \"a\"\n"));
    let want = format!("ringwire: udp {address}: cannot receive there: Address already in use (os error 98)");
    assert_eq!(lines, [want]);
}
