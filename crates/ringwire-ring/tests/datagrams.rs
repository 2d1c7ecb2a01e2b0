//! Datagrams of real sockets on loopback.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use ringwire_ring::linux::{Datagram, DatagramOptions, Datagrams, Multicast};

/// How long a wait may take; it only passes where a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

fn options() -> DatagramOptions {
    DatagramOptions {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        datagram_bytes_max: 1000,
        receive_buffer_bytes: 1 << 18,
        multicast: None,
    }
}

fn receive(socket: &mut Datagrams, count: usize) -> Vec<Result<Vec<u8>, usize>> {
    let mut got = Vec::new();
    while got.len() < count {
        let before = got.len();
        socket.wait(Some(PATIENCE)).unwrap();
        let received = socket.receive(|datagram| {
            got.push(match datagram {
                Datagram::Whole(payload) => Ok(payload.to_vec()),
                Datagram::TooLong(bytes) => Err(bytes),
            });
        });
        assert_eq!(received.unwrap(), got.len() - before);
        assert!(got.len() > before, "nothing came in time");
    }
    got
}

#[test]
fn datagrams_come_whole_and_in_order_and_longer_ones_are_told_by_their_length() {
    let mut socket = Datagrams::open(&options()).unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sent: Vec<Vec<u8>> = (0..200usize).map(|nth| vec![nth as u8; [0, 1, 1000, 1001, 9000][nth % 5]]).collect();
    // Ten at a time, so that no buffer is too small.
    for some in sent.chunks(10) {
        for payload in some {
            sender.send_to(payload, socket.address()).unwrap();
        }
        let want: Vec<_> = some
            .iter()
            .map(|payload| if payload.len() <= 1000 { Ok(payload.clone()) } else { Err(payload.len()) })
            .collect();
        assert_eq!(receive(&mut socket, some.len()), want);
    }
    assert_eq!((socket.receive(|_| panic!("nothing is there")).unwrap(), socket.lost().unwrap()), (0, 0));
}

#[test]
fn what_the_receive_buffer_cannot_hold_is_counted() {
    let mut socket = Datagrams::open(&DatagramOptions { receive_buffer_bytes: 1, ..options() }).unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..100 {
        sender.send_to(&[7; 900], socket.address()).unwrap();
    }
    let mut came = 0;
    while socket.receive(|_| came += 1).unwrap() > 0 {}
    assert!(came < 100);
    assert_eq!(socket.lost().unwrap(), 100 - came);
    assert_eq!(socket.lost().unwrap(), 100 - came, "they are lost once");
}

#[test]
fn the_receive_buffer_is_as_large_as_asked_for_within_the_systems_limit() {
    let socket = Datagrams::open(&DatagramOptions { receive_buffer_bytes: 100_000, ..options() }).unwrap();
    assert_eq!(socket.receive_buffer_bytes().unwrap(), 100_000);
}

#[test]
fn members_of_a_group_get_what_is_sent_to_it() {
    let group = Ipv4Addr::new(239, 255, 77, 1);
    let multicast = Some(Multicast::V4(group, Ipv4Addr::LOCALHOST));
    let first = DatagramOptions { address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), multicast, ..options() };
    let mut first = Datagrams::open(&first).unwrap();
    let port = first.address().port();
    let second = DatagramOptions { address: SocketAddr::from((group, port)), multicast, ..options() };
    let mut second = Datagrams::open(&second).unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    // A machine without a network has no route to a group.
    socket2::SockRef::from(&sender).set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    sender.send_to(b"to all", (group, port)).unwrap();
    for socket in [&mut first, &mut second] {
        assert_eq!(receive(socket, 1), [Ok(b"to all".to_vec())]);
    }
}

#[test]
fn a_wait_ends_at_its_timeout() {
    let socket = Datagrams::open(&options()).unwrap();
    socket.wait(Some(Duration::from_millis(1))).unwrap();
}
