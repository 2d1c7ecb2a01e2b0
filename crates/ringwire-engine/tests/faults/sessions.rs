//! How long an open WebSocket lives, and what it is told at its end.

use std::time::Duration;

use ringwire_engine::codec::{CloseCode, Opcode};
use ringwire_engine::ring::Clock;
use ringwire_engine::{CloseReason, EngineOptions, Side, Timeout};

use crate::support::client::{Client, Heard};
use crate::support::server::{Ask, Server, options, pause};

const SILENCE: Duration = Duration::from_millis(300);

fn pinging() -> EngineOptions {
    let mut options = options();
    options.listen[0].timeouts.ping = Some(SILENCE);
    options.listen[0].timeouts.pong = SILENCE;
    options
}

fn closed(code: u16, words: &str) -> Heard {
    Heard::Close(Some(code), words.to_owned())
}

#[test]
fn a_silent_peer_is_pinged_and_stays_as_long_as_it_answers() {
    let server = Server::start(pinging());
    let mut client = server.open();
    for _ in 0..4 {
        assert_eq!(client.hear(), Heard::Ping(vec![]));
        client.send(Opcode::Pong, b"");
    }
    server.wait(|seen| seen.pongs.len() == 4, |_| ());
    client.leave();
    server.finish();
}

#[test]
fn a_peer_that_does_not_answer_a_ping_gets_1011() {
    let server = Server::start(pinging());
    let clock = Clock::start();
    let mut client = server.open();
    assert_eq!(client.hear(), Heard::Ping(vec![]));
    assert_eq!(client.hear(), closed(1011, "no answer to a ping in time"));
    assert_eq!(client.hear(), Heard::End(None));
    // The ping may come an eighth early.
    let took = clock.now().since(Default::default());
    assert!(took > SILENCE * 15 / 8 && took < SILENCE * 2 + Duration::from_secs(2), "{took:?}");
    assert_eq!(server.ended(1), [CloseReason::TimedOut(Timeout::Pong)]);
    drop(client);
    server.finish();
}

#[test]
fn any_byte_is_a_sign_of_life() {
    let server = Server::start(pinging());
    let mut client = server.open();
    let frame = client.frame(true, Opcode::Text, b"a long time");
    for byte in frame {
        client.write(&[byte]);
        pause(SILENCE / 5);
    }
    // A ping would have come first.
    assert_eq!(client.hear(), Heard::Text("a long time".to_owned()));
    client.leave_unheard();
    server.finish();
}

#[test]
fn a_peer_that_never_reads_ends_by_the_pong_deadline() {
    let mut options = pinging();
    options.notsent_lowat_bytes = Some(32 * 1024);
    options.limits.backlog_high_bytes = 64 * 1024;
    options.limits.backlog_bytes_max = 4 << 20;
    options.listen[0].timeouts.close = SILENCE;
    let server = Server::start(options);
    let mut deaf = server.open();
    deaf.stream().set_write_timeout(Some(SILENCE / 2)).expect("timeout");
    let frame = deaf.frame(true, Opcode::Binary, &vec![3; 64 * 1024]);
    while deaf.write_part(&frame) {}
    assert_eq!(server.ended(1), [CloseReason::TimedOut(Timeout::Pong)]);
    server.wait_empty();
    drop(deaf);
    server.finish();
}

#[test]
fn a_peer_that_says_nothing_but_takes_what_it_is_sent_lives() {
    let mut options = pinging();
    options.notsent_lowat_bytes = Some(32 * 1024);
    // It has not much to take at once.
    options.limits.backlog_bytes_max = 64 * 1024;
    let server = Server::start(options);
    let mut client = server.open();
    socket2::SockRef::from(client.stream()).set_recv_buffer_size(64 * 1024).expect("buffer size");
    client.echo("open");
    let messages = 40;
    server.post_all(|| Ask::FeedAll(messages));
    let mut taken = 0;
    while taken < messages {
        // It answers no ping.
        match client.hear() {
            Heard::Binary(_) => taken += 1,
            Heard::Ping(_) => {}
            other => panic!("{other:?} after {taken} messages"),
        }
        pause(SILENCE / 6);
    }
    assert_eq!(server.seen(|seen| seen.reasons.clone()), []);
    client.leave_unheard();
    server.finish();
}

#[test]
fn the_application_can_ping_and_sees_the_pong() {
    let server = Server::start(options());
    let mut client = server.open();
    client.echo("open");
    server.post_all(|| Ask::PingAll(b"are you there?"));
    assert_eq!(client.hear(), Heard::Ping(b"are you there?".to_vec()));
    client.send(Opcode::Pong, b"are you there?");
    client.send(Opcode::Pong, b"unasked");
    server.wait(|seen| seen.pongs == [b"are you there?".to_vec(), b"unasked".to_vec()], |_| ());
    client.leave();
    server.finish();
}

#[test]
fn an_idle_peer_is_closed_with_1000_however_many_pings_it_sends() {
    let mut options = options();
    options.listen[0].timeouts.idle = Some(SILENCE);
    let server = Server::start(options);
    let mut client = server.open();
    let clock = Clock::start();
    // Messages keep it.
    for _ in 0..4 {
        pause(SILENCE / 2);
        client.echo("not idle");
    }
    assert!(clock.now().since(Default::default()) > SILENCE);
    let end = loop {
        client.send(Opcode::Ping, b"p");
        match client.hear() {
            Heard::Pong(_) => pause(SILENCE / 10),
            other => break other,
        }
    };
    assert_eq!(end, closed(1000, "no message for too long"));
    client.send_close(CloseCode::NORMAL);
    assert_eq!(server.ended(1), [CloseReason::Clean { by: Side::Local, code: Some(CloseCode::NORMAL) }]);
    drop(client);
    server.finish();
}

#[test]
fn a_lifetime_ends_with_1001_however_busy_the_peer() {
    let mut options = options();
    options.listen[0].timeouts.lifetime = Some(2 * SILENCE);
    let server = Server::start(options);
    let clock = Clock::start();
    let mut client = server.open();
    let end = loop {
        client.send_text("busy");
        match client.hear() {
            Heard::Text(_) => pause(SILENCE / 20),
            other => break other,
        }
    };
    assert_eq!(end, closed(1001, "connected for long enough"));
    let took = clock.now().since(Default::default());
    assert!(took >= SILENCE * 3 / 2 && took < 2 * SILENCE + Duration::from_secs(2), "{took:?}");
    client.send_close(CloseCode::GOING_AWAY);
    assert_eq!(server.ended(1), [CloseReason::Clean { by: Side::Local, code: Some(CloseCode::GOING_AWAY) }]);
    drop(client);
    server.finish();
}

#[test]
fn listeners_have_deadlines_of_their_own() {
    let mut options = options();
    let mut second = options.listen[0].clone();
    second.timeouts.idle = Some(SILENCE);
    options.listen.push(second);
    let server = Server::start(options);
    let mut patient = server.open();
    let mut hasty = Client::open(server.addresses()[1], "/");
    assert_eq!(hasty.hear(), closed(1000, "no message for too long"));
    drop(hasty);
    patient.echo("still here");
    patient.leave();
    server.finish();
}

#[test]
fn control_frames_over_the_limit_end_with_1008() {
    let mut options = options();
    options.limits.control_frames_per_second_max = 20;
    let server = Server::start(options);
    for opcode in [Opcode::Ping, Opcode::Pong] {
        let mut client = server.open();
        // Within the limit, over more than a second: messages in between do not count.
        for _ in 0..24 {
            client.send(opcode, b"");
            client.send_text("between");
            while client.hear() != Heard::Text("between".to_owned()) {}
            pause(Duration::from_millis(60));
        }
        let flood = client.frame(true, opcode, b"").repeat(1000);
        let _ = client.try_write(&flood);
        let end = std::iter::repeat_with(|| client.hear()).find(|heard| !matches!(heard, Heard::Pong(_)));
        assert_eq!(end, Some(closed(1008, "too many pings or pongs")));
        client.finish_sending();
        while !matches!(client.hear(), Heard::End(_)) {}
    }
    assert_eq!(server.ended(2), [CloseReason::Flood, CloseReason::Flood]);
    server.finish();
}

#[test]
fn a_code_that_may_not_be_sent_goes_out_as_1011() {
    let server = Server::start(options());
    for code in [0, 999, 1004, 1005, 1006, 1010, 1015, 2999, 5000] {
        let mut client = server.open();
        client.echo("open");
        server.post_all(|| Ask::CloseAll(CloseCode::new(code)));
        assert_eq!(client.hear(), closed(1011, "as the test wants"), "{code}");
        client.send_close(CloseCode::INTERNAL_ERROR);
        assert_eq!(client.hear(), Heard::End(None));
    }
    server.finish();
}

#[test]
fn what_a_peer_sends_behind_its_close_is_ignored() {
    let server = Server::start(options());
    let mut client = server.open();
    let mut bytes = client.frame(true, Opcode::Close, &1000u16.to_be_bytes());
    bytes.extend(client.frame(true, Opcode::Text, b"late"));
    bytes.extend([0xFF; 100]);
    client.write(&bytes);
    assert_eq!(client.hear(), closed(1000, ""));
    assert!(matches!(client.hear(), Heard::End(_)));
    assert_eq!(server.ended(1), [CloseReason::Clean { by: Side::Remote, code: Some(CloseCode::NORMAL) }]);
    assert_eq!(server.seen(|seen| seen.message_bytes), 0);
    drop(client);
    server.finish();
}

#[test]
fn a_peer_that_has_shut_its_side_gets_what_it_asked_for() {
    let mut options = options();
    options.notsent_lowat_bytes = Some(32 * 1024);
    options.limits.backlog_high_bytes = 64 * 1024;
    options.limits.backlog_bytes_max = 16 << 20;
    let server = Server::start(options);
    // A few, and more than the server reads before the peer does.
    for messages in [3, 100] {
        let mut client = server.open();
        let frames: Vec<u8> = (0..messages).flat_map(|_| client.frame(true, Opcode::Binary, &[7; 100_000])).collect();
        let mut writer = client.writer();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::io::Write::write_all(&mut writer, &frames).expect("the server reads again");
                writer.finish();
            });
            pause(Duration::from_millis(200));
            for n in 0..messages {
                assert_eq!(client.hear(), Heard::Binary(vec![7; 100_000]), "{n} of {messages}");
            }
            assert_eq!(client.hear(), Heard::End(None));
        });
    }
    assert_eq!(server.ended(2), [CloseReason::EndOfStream, CloseReason::EndOfStream]);
    server.finish();
}
