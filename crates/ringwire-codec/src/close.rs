//! How connections end: close codes (RFC 6455 §7.4) and the closing handshake (§7.1).

use std::fmt;

use crate::{Role, Violation};

/// A status code of a close frame (§7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: a server goes down, or a browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that this endpoint does not take.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1005: the close frame had no code. Never on the wire.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: there was no close frame. Never on the wire.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: data that is not what its type says, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a message against the policy of this endpoint.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message too big to process.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1010: the server did not agree to an extension that the client needs. Sent by clients.
    pub const EXTENSION_REQUIRED: Self = Self(1010);
    /// 1011: something unexpected kept the server from doing what was asked.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the server restarts; come back soon. Sent by servers.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: the server is overloaded; come back later. Sent by servers.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got a bad answer. Sent by servers.
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 1015: the TLS handshake failed. Never on the wire.
    pub const TLS_HANDSHAKE: Self = Self(1015);

    /// The code with this number, whether or not it may be sent. Applications have 4000-4999 to themselves.
    pub const fn new(value: u16) -> Self {
        Self(value)
    }

    /// The number.
    pub const fn value(self) -> u16 {
        self.0
    }

    /// Whether the code may stand in a close frame. A peer that sends another breaks the protocol (§7.4.2).
    pub const fn may_be_sent(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// Whether an endpoint of this role may put it in a close frame.
    pub const fn may_be_sent_by(self, role: Role) -> bool {
        match (self, role) {
            (Self::EXTENSION_REQUIRED, Role::Server) => false,
            (Self::SERVICE_RESTART | Self::TRY_AGAIN_LATER | Self::BAD_GATEWAY, Role::Client) => false,
            _ => self.may_be_sent(),
        }
    }

    /// What the code means, if it is registered.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::NORMAL => "normal closure",
            Self::GOING_AWAY => "going away",
            Self::PROTOCOL_ERROR => "protocol error",
            Self::UNSUPPORTED_DATA => "unsupported data",
            Self::NO_STATUS => "no status received",
            Self::ABNORMAL => "abnormal closure",
            Self::INVALID_PAYLOAD => "invalid payload data",
            Self::POLICY_VIOLATION => "policy violation",
            Self::MESSAGE_TOO_BIG => "message too big",
            Self::EXTENSION_REQUIRED => "mandatory extension",
            Self::INTERNAL_ERROR => "internal error",
            Self::SERVICE_RESTART => "service restart",
            Self::TRY_AGAIN_LATER => "try again later",
            Self::BAD_GATEWAY => "bad gateway",
            Self::TLS_HANDSHAKE => "TLS handshake failed",
            _ => return None,
        })
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} {name}", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

/// What a close frame with a payload says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// Why the peer closes.
    pub code: CloseCode,
    /// The same in words, often empty. For logs, not for people who use the program (§5.5.1).
    pub reason: &'a str,
}

impl<'a> CloseFrame<'a> {
    /// Reads the payload of a close frame; `None` if it is empty.
    pub fn parse(payload: &'a [u8]) -> Result<Option<Self>, Violation> {
        if payload.is_empty() {
            return Ok(None);
        }
        let Some((code, reason)) = payload.split_first_chunk::<2>() else { return Err(Violation::CloseTooShort) };
        let code = CloseCode(u16::from_be_bytes(*code));
        if !code.may_be_sent() {
            return Err(Violation::CloseCodeInvalid);
        }
        let reason = std::str::from_utf8(reason).map_err(|_| Violation::CloseReasonNotUtf8)?;
        Ok(Some(Self { code, reason }))
    }
}

/// Where a connection is between its two handshakes (§4, §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The opening handshake is under way.
    Connecting,
    /// Messages flow both ways.
    Open,
    /// This side has sent, or is sending, its close frame and waits for the peer's.
    LocalClosing,
    /// The peer is done: it sent its close frame or broke the protocol. This side's close frame is on its way.
    RemoteClosing,
    /// Nothing more is sent or read.
    Closed,
}

/// What happens to a connection, as far as its end is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseEvent {
    /// The opening handshake succeeded.
    Opened,
    /// This side wants to close.
    LocalClose(CloseCode),
    /// The peer's close frame came, with this code if any.
    PeerClose(Option<CloseCode>),
    /// The peer broke the protocol or a limit; the code is the [`Violation`]'s.
    PeerViolation(CloseCode),
    /// This side's close frame has left.
    CloseTransmitted,
    /// The peer took too long over a handshake.
    DeadlinePassed,
    /// The transport ended.
    TransportClosed,
}

/// What the owner of the connection does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseAction {
    /// Nothing.
    Ignore,
    /// Transmit a close frame with this code; report [`CloseEvent::CloseTransmitted`] when it has left.
    Transmit(Option<CloseCode>),
    /// End the transport.
    Finish,
}

impl Phase {
    /// The closing handshake: what `event` makes of this phase, and what is to be done.
    pub fn on(self, event: CloseEvent) -> (Self, CloseAction) {
        use CloseAction::{Finish, Ignore, Transmit};
        use CloseEvent::{
            CloseTransmitted, DeadlinePassed, LocalClose, Opened, PeerClose, PeerViolation, TransportClosed,
        };
        use Phase::{Closed, Connecting, LocalClosing, Open, RemoteClosing};
        match (self, event) {
            (Connecting, Opened) => (Open, Ignore),
            // Before the opening handshake is done there are no frames: not to send one, nor to wait for one.
            (Connecting, LocalClose(_) | PeerViolation(_) | DeadlinePassed | TransportClosed) => (Closed, Finish),
            (Connecting, PeerClose(_) | CloseTransmitted) => (Connecting, Ignore),

            (Open, LocalClose(code)) => (LocalClosing, Transmit(Some(code))),
            // The answer repeats the peer's code (§5.5.1).
            (Open, PeerClose(code)) => (RemoteClosing, Transmit(code)),
            (Open, PeerViolation(code)) => (RemoteClosing, Transmit(Some(code))),
            (Open, TransportClosed) => (Closed, Finish),
            (Open, Opened | CloseTransmitted | DeadlinePassed) => (Open, Ignore),

            (LocalClosing, PeerClose(_) | PeerViolation(_) | DeadlinePassed | TransportClosed) => (Closed, Finish),
            (LocalClosing, Opened | LocalClose(_) | CloseTransmitted) => (LocalClosing, Ignore),

            (RemoteClosing, CloseTransmitted | DeadlinePassed | TransportClosed) => (Closed, Finish),
            (RemoteClosing, Opened | LocalClose(_) | PeerClose(_) | PeerViolation(_)) => (RemoteClosing, Ignore),

            (
                Closed,
                Opened | LocalClose(_) | PeerClose(_) | PeerViolation(_) | CloseTransmitted | DeadlinePassed
                | TransportClosed,
            ) => (Closed, Ignore),
        }
    }

    /// Whether messages of this side may still be sent.
    pub const fn may_transmit_messages(self) -> bool {
        matches!(self, Phase::Open)
    }

    /// Whether what the peer sends is still to be decoded. Its messages count until its own close frame (§5.5.1).
    pub const fn may_receive(self) -> bool {
        matches!(self, Phase::Open | Phase::LocalClosing)
    }
}

#[cfg(test)]
#[path = "close_tests.rs"]
mod tests;
