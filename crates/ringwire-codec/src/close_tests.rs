//! Every state and every event of the closing handshake; every close code.

use super::CloseAction::{Finish, Ignore, Transmit};
use super::CloseEvent::{
    CloseTransmitted, DeadlinePassed, LocalClose, Opened, PeerClose, PeerViolation, TransportClosed,
};
use super::Phase::{Closed, Connecting, LocalClosing, Open, RemoteClosing};
use super::*;

const AWAY: CloseCode = CloseCode::GOING_AWAY;
const EVENTS: [CloseEvent; 7] = [
    Opened,
    LocalClose(AWAY),
    PeerClose(Some(CloseCode::NORMAL)),
    PeerViolation(CloseCode::PROTOCOL_ERROR),
    CloseTransmitted,
    DeadlinePassed,
    TransportClosed,
];

#[test]
fn every_event_in_every_state() {
    let (stay, end) = (Ignore, (Closed, Finish));
    let normal = Some(CloseCode::NORMAL);
    let table = [
        (Connecting, [(Open, stay), end, (Connecting, stay), end, (Connecting, stay), end, end]),
        (
            Open,
            [
                (Open, stay),
                (LocalClosing, Transmit(Some(AWAY))),
                (RemoteClosing, Transmit(normal)),
                (RemoteClosing, Transmit(Some(CloseCode::PROTOCOL_ERROR))),
                (Open, stay),
                (Open, stay),
                end,
            ],
        ),
        (LocalClosing, [(LocalClosing, stay), (LocalClosing, stay), end, end, (LocalClosing, stay), end, end]),
        (
            RemoteClosing,
            [(RemoteClosing, stay), (RemoteClosing, stay), (RemoteClosing, stay), (RemoteClosing, stay), end, end, end],
        ),
        (Closed, [(Closed, stay); 7]),
    ];
    for (phase, row) in table {
        for (event, want) in EVENTS.into_iter().zip(row) {
            assert_eq!(phase.on(event), want, "{phase:?} on {event:?}");
        }
    }
}

#[test]
fn an_empty_close_is_answered_with_an_empty_close() {
    assert_eq!(Open.on(PeerClose(None)), (RemoteClosing, Transmit(None)));
}

#[test]
fn at_most_one_close_frame_is_ever_sent_and_every_walk_can_end() {
    // All walks of five events from the start.
    for mut walk in 0..EVENTS.len().pow(5) {
        let (mut phase, mut sent, mut finished) = (Connecting, 0, 0);
        for _ in 0..5 {
            let (next, action) = phase.on(EVENTS[walk % EVENTS.len()]);
            walk /= EVENTS.len();
            sent += usize::from(matches!(action, Transmit(_)));
            finished += usize::from(action == Finish);
            phase = next;
        }
        assert!(sent <= 1 && finished <= 1);
        let (ended, _) = phase.on(TransportClosed);
        assert_eq!(ended, Closed);
    }
}

#[test]
fn messages_are_sent_only_while_open_and_read_until_the_peers_close() {
    let phases = [Connecting, Open, LocalClosing, RemoteClosing, Closed];
    assert_eq!(phases.map(Phase::may_transmit_messages), [false, true, false, false, false]);
    assert_eq!(phases.map(Phase::may_receive), [false, true, true, false, false]);
}

#[test]
fn only_registered_and_private_codes_may_be_sent() {
    let allowed = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
    for code in allowed {
        assert!(CloseCode::new(code).may_be_sent(), "{code}");
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        assert!(!CloseCode::new(code).may_be_sent(), "{code}");
    }
}

#[test]
fn some_codes_belong_to_one_side() {
    assert!(CloseCode::EXTENSION_REQUIRED.may_be_sent_by(Role::Client));
    assert!(!CloseCode::EXTENSION_REQUIRED.may_be_sent_by(Role::Server));
    assert!(CloseCode::TRY_AGAIN_LATER.may_be_sent_by(Role::Server));
    assert!(!CloseCode::TRY_AGAIN_LATER.may_be_sent_by(Role::Client));
    assert!(!CloseCode::NO_STATUS.may_be_sent_by(Role::Server));
}

#[test]
fn a_close_payload_is_empty_or_a_code_and_a_reason() {
    assert_eq!(CloseFrame::parse(&[]), Ok(None));
    assert_eq!(CloseFrame::parse(&[3]), Err(Violation::CloseTooShort));
    assert_eq!(CloseFrame::parse(&[3, 232]), Ok(Some(CloseFrame { code: CloseCode::NORMAL, reason: "" })));
    assert_eq!(CloseFrame::parse(b"\x0F\xA8slow"), Ok(Some(CloseFrame { code: CloseCode::new(4008), reason: "slow" })));
    assert_eq!(CloseFrame::parse(&[3, 237]), Err(Violation::CloseCodeInvalid));
    assert_eq!(CloseFrame::parse(&[3, 232, 0xFF]), Err(Violation::CloseReasonNotUtf8));
}

#[test]
fn a_code_is_shown_with_its_name() {
    assert_eq!(CloseCode::GOING_AWAY.to_string(), "1001 going away");
    assert_eq!(CloseCode::new(4008).to_string(), "4008");
}
