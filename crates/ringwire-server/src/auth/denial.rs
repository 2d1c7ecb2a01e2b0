//! Why somebody may not. Its text is for them to read, and says what to do.

use std::fmt;

use ringwire_codec::CloseCode;

/// Close code: the token has expired; come again with a new one.
pub const TOKEN_EXPIRED: u16 = 4001;
/// Close code: this may not be; coming again does not help.
pub const FORBIDDEN: u16 = 4003;
/// Close code: too much or too many; come again later.
pub const FLOOD: u16 = 4029;

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// Neither token nor key was presented, and one is needed.
    TokenMissing,
    /// What was presented is neither a key of the server nor, where tokens are taken, a token.
    TokenWrong,
    /// The token is longer than [`TOKEN_BYTES_MAX`](super::TOKEN_BYTES_MAX).
    TokenTooLong,
    /// The token is no JWT.
    TokenMalformed,
    /// The token is signed in a way that is not taken, or says that it is not signed.
    AlgorithmRefused,
    /// The token is signed in another way than its key is for.
    AlgorithmOfOtherKey,
    /// No key of the server has the token's `kid`.
    KeyUnknown,
    /// The token has no `kid`, and too many keys are for its algorithm.
    KeyUnnamed,
    /// The signature is not that of the server's key.
    SignatureWrong,
    /// A claim has another type than it must have, or a pattern in it is none.
    ClaimsMalformed,
    /// The token's `exp` is over.
    Expired,
    /// The token has no `exp`.
    ExpiryMissing,
    /// The token's `nbf` is to come.
    NotYetValid,
    /// The token's `iss` is not the one that is configured.
    IssuerWrong,
    /// The token's `aud` does not name this server.
    AudienceWrong,
    /// A token that renews another is of another user.
    OtherUser,
    /// The sender is a page of another origin.
    ForeignOrigin,
    /// Nobody may publish, as nothing says who may.
    Closed,
    /// The token or key does not allow to subscribe to the topic.
    SubscribeForbidden,
    /// The token or key does not allow to publish to the topic.
    PublishForbidden,
    /// Nobody may subscribe to the topic.
    NobodySubscribes,
    /// Nobody may publish to the topic.
    NobodyPublishes,
    /// The user has all the connections that a user may have.
    TooManyConnections {
        /// How many that is.
        max: u32,
    },
    /// Too much was published.
    TooFast {
        /// When it may be tried again, in milliseconds.
        after_ms: u32,
    },
    /// The table of those who publish is full.
    TooManyPublishers,
}

impl Denial {
    /// The HTTP status that says it (RFC 9110 §15.5.2, §15.5.4; RFC 6585 §4), which is also the native protocol's error
    /// code.
    pub fn status(self) -> u16 {
        match self {
            Self::TokenMissing
            | Self::TokenWrong
            | Self::TokenTooLong
            | Self::TokenMalformed
            | Self::AlgorithmRefused
            | Self::AlgorithmOfOtherKey
            | Self::KeyUnknown
            | Self::KeyUnnamed
            | Self::SignatureWrong
            | Self::ClaimsMalformed
            | Self::Expired
            | Self::ExpiryMissing
            | Self::NotYetValid
            | Self::IssuerWrong
            | Self::AudienceWrong => 401,
            Self::OtherUser
            | Self::ForeignOrigin
            | Self::Closed
            | Self::SubscribeForbidden
            | Self::PublishForbidden
            | Self::NobodySubscribes
            | Self::NobodyPublishes => 403,
            Self::TooManyConnections { .. } | Self::TooFast { .. } => 429,
            Self::TooManyPublishers => 503,
        }
    }

    /// The code of the close frame that ends a connection for it.
    pub fn close_code(self) -> CloseCode {
        match (self, self.status()) {
            (Self::Expired, _) => CloseCode::new(TOKEN_EXPIRED),
            (_, 429) => CloseCode::new(FLOOD),
            (_, 503) => CloseCode::TRY_AGAIN_LATER,
            _ => CloseCode::new(FORBIDDEN),
        }
    }

    /// When it may be tried again, in milliseconds, if waiting helps.
    pub fn after_ms(self) -> Option<u32> {
        match self {
            Self::TooFast { after_ms } => Some(after_ms),
            Self::TooManyConnections { .. } | Self::TooManyPublishers => Some(1000),
            _ => None,
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TokenMissing => {
                "this needs a token: send `Authorization: Bearer TOKEN` or ?token=TOKEN, or in `connect`"
            }
            Self::TokenWrong => "what was presented is no key or token of this server; ask its operator for one",
            Self::TokenTooLong => "the token is longer than 8192 bytes; put less into it",
            Self::TokenMalformed => {
                "the token is no JWT: header, claims and signature are needed, each in base64url, with dots between"
            }
            Self::AlgorithmRefused => "the token's alg is not taken: sign it with HS256, RS256, ES256 or EdDSA",
            Self::AlgorithmOfOtherKey => {
                "the server's key is for another alg than the token's: sign it with the key and the alg that the server \
                 was given"
            }
            Self::KeyUnknown => "no key of the server has the token's kid: sign it with a current key",
            Self::KeyUnnamed => "several keys of the server may be the token's: name one in its header, as kid",
            Self::SignatureWrong => {
                "the token's signature is wrong: it was signed with another key, or changed on its way"
            }
            Self::ClaimsMalformed => {
                "the token's claims are not as they must be: exp and nbf are numbers, sub is a text of at most 255 bytes, \
                 subscribe and publish are lists of patterns such as book.>, and ringwire.info has at most 1024 bytes"
            }
            Self::Expired => "the token has expired; get a new one",
            Self::ExpiryMissing => {
                "the token has no exp: sign it with one, or have the server take tokens without (auth.expiry_required)"
            }
            Self::NotYetValid => "the token is not valid yet (nbf): wait, or set the clock that signs",
            Self::IssuerWrong => "the token's iss is not the one that this server trusts (auth.issuer)",
            Self::AudienceWrong => "the token's aud does not name this server (auth.audience)",
            Self::OtherUser => "a token that renews another has the same sub; to be somebody else, connect anew",
            Self::ForeignOrigin => {
                "pages of other origins may not publish here: start the server with --publish-token and present it"
            }
            Self::Closed => {
                "publishing is closed: the server listens beyond this machine; start it with --publish-token TOKEN, \
                 or with --insecure-publish to let anyone publish"
            }
            Self::SubscribeForbidden => {
                "this is not among what the token or key may subscribe to; get one whose subscribe has a pattern for it"
            }
            Self::PublishForbidden => {
                "this is not among what the token or key may publish to; get one whose publish has a pattern for it"
            }
            Self::NobodySubscribes => "nobody may subscribe to this topic (subscribe in its [[topics]] rule)",
            Self::NobodyPublishes => "nobody may publish to this topic (publish in its [[topics]] rule)",
            Self::TooManyConnections { max } => {
                return write!(f, "this user has {max} connections and may have no more; close one");
            }
            Self::TooFast { after_ms } => return write!(f, "too much at once: wait {after_ms} ms and go slower"),
            Self::TooManyPublishers => "too many publish at once; try again later",
        })
    }
}

impl std::error::Error for Denial {}
