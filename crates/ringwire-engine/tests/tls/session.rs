//! Sessions by themselves, as values: a server's and a client's, with nothing between them but a test.

use ringwire_engine::tls::{Connector, Roots, Session, Stream, TlsError};

use crate::support::certificates::usual;

/// Both ends of a connection, and what each has heard.
struct Pair {
    client: Session,
    server: Session,
    heard_by_client: Vec<u8>,
    heard_by_server: Vec<u8>,
}

impl Pair {
    fn new() -> Self {
        let (authority, server) = usual();
        let connector = Connector::new(&Roots::Pem(authority.pem().into_bytes())).expect("an authority");
        Self {
            client: connector.session("localhost").expect("a name"),
            server: server.acceptor().session(),
            heard_by_client: Vec::new(),
            heard_by_server: Vec::new(),
        }
    }

    /// Carries bytes, in pieces whose lengths `cut` gives, until neither has anything to say.
    fn carry(&mut self, cut: &mut dyn FnMut() -> usize) {
        loop {
            let to_server = deliver(&mut self.client, &mut self.server, &mut self.heard_by_server, cut);
            let to_client = deliver(&mut self.server, &mut self.client, &mut self.heard_by_client, cut);
            if !to_server && !to_client {
                return;
            }
        }
    }
}

/// Carries what one has to say to the other. Whether there was anything.
fn deliver(from: &mut Session, to: &mut Session, heard: &mut Vec<u8>, cut: &mut dyn FnMut() -> usize) -> bool {
    let mut bytes = Vec::new();
    from.transmit(&[], &mut bytes).expect("nothing that needs keys");
    say(&mut bytes, to, heard, cut);
    !bytes.is_empty()
}

fn say(bytes: &mut [u8], to: &mut Session, heard: &mut Vec<u8>, cut: &mut dyn FnMut() -> usize) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at_mut(cut().clamp(1, rest.len()));
        assert_eq!(to.receive(piece, heard), Ok(Stream::Open));
        rest = behind;
    }
}

#[test]
fn every_split_of_the_stream_says_the_same() {
    let mut random = fastrand::Rng::with_seed(1);
    let message: Vec<u8> = (0..40_000).map(|_| random.u8(..)).collect();
    for seed in 0..60 {
        // One byte at a time, pieces of one length, and of random ones.
        let cut = |random: &mut fastrand::Rng| match seed {
            0..20 => seed as usize + 1,
            20..40 => random.usize(1..50),
            _ => random.usize(1..30_000),
        };
        let mut random = fastrand::Rng::with_seed(seed);
        let mut pair = Pair::new();
        pair.carry(&mut || cut(&mut random));
        assert!(!pair.client.is_handshaking() && !pair.server.is_handshaking(), "seed {seed}");
        let mut bytes = Vec::new();
        pair.server.transmit(&message, &mut bytes).expect("keys");
        say(&mut bytes, &mut pair.client, &mut pair.heard_by_client, &mut || cut(&mut random));
        assert!(pair.heard_by_client == message, "seed {seed}");
        let mut bytes = Vec::new();
        pair.client.transmit(&message, &mut bytes).expect("keys");
        pair.client.close(&mut bytes);
        let mut rest = &mut bytes[..];
        let mut ended = false;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at_mut(cut(&mut random).min(rest.len()));
            ended = pair.server.receive(piece, &mut pair.heard_by_server) == Ok(Stream::Ended);
            rest = behind;
        }
        assert!(ended && pair.heard_by_server == message, "seed {seed}");
    }
}

#[test]
fn a_session_at_rest_holds_no_buffer() {
    let mut pair = Pair::new();
    pair.carry(&mut || 7);
    let at_rest = pair.server.memory_bytes();
    let mut bytes = Vec::new();
    pair.client.transmit(&[1; 16_000], &mut bytes).expect("keys");
    let (begun, rest) = bytes.split_at_mut(10_000);
    pair.server.receive(begun, &mut pair.heard_by_server).expect("TLS");
    let begun = pair.server.memory_bytes() - at_rest;
    assert!((10_000..20_000).contains(&begun), "a record that has begun is held, and no more: {begun}");
    pair.server.receive(rest, &mut pair.heard_by_server).expect("TLS");
    assert_eq!(pair.heard_by_server, [1; 16_000]);
    assert_eq!(pair.server.memory_bytes(), at_rest);
    assert!(at_rest <= 4096, "{at_rest}");
}

#[test]
fn records_are_as_large_as_there_is_data_for() {
    let mut pair = Pair::new();
    pair.carry(&mut || usize::MAX);
    let mut bytes = Vec::new();
    pair.server.transmit(&[2; 100_000], &mut bytes).expect("keys");
    let mut records = Vec::new();
    let mut rest = &bytes[..];
    while let [_, _, _, high, low, ..] = *rest {
        let length = usize::from(u16::from_be_bytes([high, low]));
        records.push(length);
        rest = &rest[5 + length..];
    }
    assert_eq!(records.len(), 100_000usize.div_ceil(16 * 1024), "{records:?}");
}

#[test]
fn a_handshake_message_without_end_is_refused_while_it_is_short() {
    // A ClientHello of 65,535 bytes, as it says, in records of one byte of payload.
    let mut server = usual().1.acceptor().session();
    let mut heard = Vec::new();
    let first = [0x16, 3, 1, 0, 4, 1, 0, 0xff, 0xff];
    server.receive(&mut first.clone(), &mut heard).expect("a message may begin");
    for sent in 0.. {
        assert!(sent < 20_000, "it goes on for ever");
        match server.receive(&mut [0x16, 3, 1, 0, 1, 0], &mut heard) {
            Ok(_) => assert!(server.memory_bytes() < 256 * 1024, "{server:?}"),
            Err(error) => {
                assert_eq!(error, TlsError::TooLong);
                break;
            }
        }
    }
    assert!(server.memory_bytes() <= 8192, "{server:?}");
}

#[test]
fn what_is_no_tls_is_told_with_an_alert() {
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..300 {
        let mut server = usual().1.acceptor().session();
        let mut bytes: Vec<u8> = (0..random.usize(6..400)).map(|_| random.u8(..)).collect();
        (bytes[0], bytes[1]) = (0x16, 3);
        let mut heard = Vec::new();
        if server.receive(&mut bytes, &mut heard).is_err() {
            let mut out = Vec::new();
            server.transmit(&[], &mut out).expect("no plaintext");
            assert!(out.first().is_none_or(|&first| first == 0x15), "an alert or nothing: {out:?}");
            assert!(server.transmit(b"plaintext", &mut out).is_err());
            assert!(server.receive(&mut bytes, &mut heard).is_err(), "an end is for ever");
        }
        assert!(heard.is_empty());
    }
}

#[test]
fn nothing_is_encrypted_before_the_handshake_is_done() {
    let mut pair = Pair::new();
    let mut out = Vec::new();
    assert!(pair.server.transmit(b"too early", &mut out).is_err());
    assert!(out.is_empty());
}
