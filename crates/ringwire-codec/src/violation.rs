//! What a peer can do wrong on an open connection: one name per rule.

use std::fmt;

use crate::CloseCode;

/// A rule of RFC 6455 or a limit of this side that the peer broke. The connection must be failed (§7.1.7): a close
/// frame with [`close_code`](Violation::close_code), then the end; nothing more is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Violation {
    /// RSV2 or RSV3 is set (§5.2).
    ReservedBit,
    /// RSV1 is set and no extension was agreed, or the frame is a control frame or a continuation (§5.2, RFC 7692 §6).
    UnexpectedRsv1,
    /// An opcode that the RFC reserves: 3-7, 11-15 (§5.2).
    ReservedOpcode,
    /// A close, ping or pong without FIN (§5.5).
    ControlFragmented,
    /// A close, ping or pong with more than 125 bytes of payload (§5.5).
    ControlTooLong,
    /// A length written in more bytes than it needs (§5.2).
    LengthNotMinimal,
    /// A 64-bit length with its top bit set (§5.2).
    LengthTopBit,
    /// A client's frame without a mask (§5.1).
    UnmaskedFromClient,
    /// A server's frame with a mask (§5.1).
    MaskedFromServer,
    /// A continuation with no message to continue (§5.4).
    NothingToContinue,
    /// A text or binary frame before the fragmented message before it ended (§5.4).
    MessageInterrupted,
    /// A frame over [`DecoderLimits::frame_bytes_max`](crate::DecoderLimits::frame_bytes_max).
    FrameTooBig,
    /// A message over [`DecoderLimits::message_bytes_max`](crate::DecoderLimits::message_bytes_max).
    MessageTooBig,
    /// A message in more than [`DecoderLimits::fragments_max`](crate::DecoderLimits::fragments_max) frames.
    TooManyFragments,
    /// Text that is not UTF-8 (§8.1).
    TextNotUtf8,
    /// A close frame with a payload of one byte (§5.5.1).
    CloseTooShort,
    /// A close code that no peer may send (§7.4).
    CloseCodeInvalid,
    /// A close reason that is not UTF-8 (§5.5.1, §8.1).
    CloseReasonNotUtf8,
    /// A payload that the agreed extension cannot read.
    ExtensionData,
}

impl Violation {
    /// The code that the close frame answering it carries (§7.4.1).
    pub const fn close_code(self) -> CloseCode {
        match self {
            Violation::ReservedBit
            | Violation::UnexpectedRsv1
            | Violation::ReservedOpcode
            | Violation::ControlFragmented
            | Violation::ControlTooLong
            | Violation::LengthNotMinimal
            | Violation::LengthTopBit
            | Violation::UnmaskedFromClient
            | Violation::MaskedFromServer
            | Violation::NothingToContinue
            | Violation::MessageInterrupted
            | Violation::CloseTooShort
            | Violation::CloseCodeInvalid => CloseCode::PROTOCOL_ERROR,
            Violation::TextNotUtf8 | Violation::CloseReasonNotUtf8 | Violation::ExtensionData => {
                CloseCode::INVALID_PAYLOAD
            }
            Violation::FrameTooBig | Violation::MessageTooBig => CloseCode::MESSAGE_TOO_BIG,
            Violation::TooManyFragments => CloseCode::POLICY_VIOLATION,
        }
    }

    /// The rule in words, short enough for a close reason.
    pub const fn as_str(self) -> &'static str {
        match self {
            Violation::ReservedBit => "reserved bit RSV2 or RSV3 set",
            Violation::UnexpectedRsv1 => "RSV1 set without an extension that allows it",
            Violation::ReservedOpcode => "reserved opcode",
            Violation::ControlFragmented => "fragmented control frame",
            Violation::ControlTooLong => "control frame over 125 bytes",
            Violation::LengthNotMinimal => "payload length not in its shortest form",
            Violation::LengthTopBit => "top bit of a 64-bit payload length set",
            Violation::UnmaskedFromClient => "client frame without a mask",
            Violation::MaskedFromServer => "server frame with a mask",
            Violation::NothingToContinue => "continuation without a message to continue",
            Violation::MessageInterrupted => "new message before the fragmented one ended",
            Violation::FrameTooBig => "frame over the size limit",
            Violation::MessageTooBig => "message over the size limit",
            Violation::TooManyFragments => "message in more frames than the limit",
            Violation::TextNotUtf8 => "text is not UTF-8",
            Violation::CloseTooShort => "close frame with one byte of payload",
            Violation::CloseCodeInvalid => "close code that may not be sent",
            Violation::CloseReasonNotUtf8 => "close reason is not UTF-8",
            Violation::ExtensionData => "payload that the extension cannot read",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Violation {}
