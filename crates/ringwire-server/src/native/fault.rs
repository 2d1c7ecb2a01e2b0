//! Every error of the native protocol: its code, and words that say what was wrong and what to do.
//!
//! One enum, one table: [`Fault::code`] and `Display` are all there is to an error, besides when to come again. Codes
//! are those of HTTP where HTTP has one; `docs/protocol.md` lists them, and a test holds the two together.

use std::borrow::Cow;
use std::fmt;

use ringwire_hub::{NameError, OpenError};

use super::record::RecordFault;
use super::request::{ID_BYTES_MAX, INFO_BYTES_MAX, Method};
use crate::auth::Denial;

/// What each code means, in the order of the specification.
pub const CODES: [(u16, &str); 9] = [
    (400, "bad request"),
    (401, "unauthenticated"),
    (403, "forbidden"),
    (404, "no such topic, no such method"),
    (409, "already done"),
    (410, "position lost"),
    (413, "too large"),
    (429, "too many"),
    (503, "not now"),
];

/// Longest quotation of what a peer sent, in bytes.
const QUOTE_BYTES_MAX: usize = 40;

/// Why a request was refused. Nothing of it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The message is not JSON; what the parser says.
    NotJson(String),
    /// A request is JSON, but no object.
    NotAnObject,
    /// A binary message where only text is spoken.
    NotText,
    /// A text message where only records are spoken.
    NotRecords,
    /// A record that is none.
    Record(RecordFault),
    /// A record of a type that only the server sends.
    RecordKind,
    /// The request's id is neither a whole number nor a short text.
    Id,
    /// The request names no method.
    NoMethod,
    /// A field that the method needs is missing.
    Missing(Method, &'static str),
    /// A field is of another type, or out of its range.
    Wrong(&'static str, &'static str),
    /// A field is there twice, under one name or two.
    Twice(&'static str),
    /// The method has no such field.
    Field(Method, String),
    /// A topic's name is not valid.
    Name(String, NameError),
    /// A name is no pattern; what is wrong with it.
    Pattern(String, Cow<'static, str>),
    /// A pattern where one topic is meant.
    OneTopic(String),
    /// What the topic's kind forbids.
    Kind(&'static str),
    /// A record that publishes nothing: a text that is not UTF-8, or a key where there is none, or none where there is.
    Entry,
    /// The sender may not.
    Denied(Denial),
    /// There is no such method.
    Method(String),
    /// There is no such topic.
    NoTopic(String),
    /// There is no such key in the topic, or it is another's.
    NoKey(String),
    /// The connection is not subscribed to it.
    NotSubscribed(String),
    /// No topic has this id on this connection.
    TopicId(u32),
    /// `connect` came before.
    Connected,
    /// The connection is subscribed to it.
    Subscribed(String),
    /// The entries asked for are no longer held; the first that is.
    Lost(u64),
    /// So many bytes, of at most so many.
    TooLarge(usize, usize),
    /// Faster than so many a second of something; come again after so many ms.
    TooFast(&'static str, u32, u32),
    /// The topic has all the keys that it may have.
    Keys(u32),
    /// More than so many of something at once.
    TooMany(&'static str, usize),
    /// Entry `seq` was published, but is not on disk, where it should be.
    NotKept(u64),
    /// The server cannot, for a while; why.
    NotNow(Cow<'static, str>),
}

impl Fault {
    /// Its code.
    pub fn code(&self) -> u16 {
        match self {
            Self::NotJson(_)
            | Self::NotAnObject
            | Self::NotText
            | Self::NotRecords
            | Self::Record(_)
            | Self::RecordKind
            | Self::Id
            | Self::NoMethod
            | Self::Missing(..)
            | Self::Wrong(..)
            | Self::Twice(_)
            | Self::Field(..)
            | Self::Name(..)
            | Self::Pattern(..)
            | Self::OneTopic(_)
            | Self::Kind(_)
            | Self::Entry => 400,
            Self::Denied(denial) => denial.status(),
            Self::Method(_) | Self::NoTopic(_) | Self::NoKey(_) | Self::NotSubscribed(_) | Self::TopicId(_) => 404,
            Self::Connected | Self::Subscribed(_) => 409,
            Self::Lost(_) => 410,
            Self::TooLarge(..) => 413,
            Self::TooFast(..) | Self::Keys(_) | Self::TooMany(..) => 429,
            Self::NotKept(_) | Self::NotNow(_) => 503,
        }
    }

    /// Whether the same request may succeed later.
    pub fn may_retry(&self) -> bool {
        matches!(self, Self::TooFast(..) | Self::NotNow(_)) || self.after_ms().is_some()
    }

    /// When to come again, if that is known.
    pub fn after_ms(&self) -> Option<u32> {
        match self {
            Self::TooFast(_, _, after_ms) => Some(*after_ms),
            Self::Denied(denial) => denial.after_ms(),
            _ => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(why) => write!(
                f,
                "this is not JSON ({why}): send one JSON object, or several with a line break between them"
            ),
            Self::NotAnObject => f.write_str("a request is a JSON object, as {\"id\":1,\"method\":\"ping\"}"),
            Self::NotText => f.write_str("this connection speaks text; for binary records, name the subprotocol ringwire.bin.1"),
            Self::NotRecords => f.write_str(
                "this connection speaks binary records: put JSON into a control record, or name the subprotocol ringwire.json.1",
            ),
            Self::Record(fault) => write!(f, "{fault}"),
            Self::RecordKind => {
                f.write_str("a client sends records of the types 1, 2, 3 (publishes) and 6 (JSON), and no others")
            }
            Self::Id => write!(f, "an id is a whole number from 0 to 2^53 or a string of at most {ID_BYTES_MAX} bytes"),
            Self::NoMethod => write!(f, "the request names no method, one of {}", Method::NAMES),
            Self::Missing(method, field) => write!(f, "{method} needs {field:?} in its params"),
            Self::Wrong(field, wants) => write!(f, "{field:?} is to be {wants}"),
            Self::Twice(field) => write!(f, "{field:?} is given twice: give it once, under one name"),
            Self::Field(method, field) => {
                write!(f, "{method} knows no {:?}: {}", quote(field), method.fields())
            }
            Self::Name(name, error) => write!(f, "{:?} is no topic: {error}", quote(name)),
            Self::Pattern(name, why) => write!(f, "{:?} is no pattern: {why}", quote(name)),
            Self::OneTopic(name) => write!(f, "{:?} is a pattern, and this takes one topic by its name", quote(name)),
            Self::Kind(words) => f.write_str(words),
            Self::Entry => f.write_str(
                "the record publishes nothing: an update and a removal have a key, a message has none, and text is UTF-8",
            ),
            Self::Denied(denial) => denial.fmt(f),
            Self::Method(name) => write!(f, "there is no method {:?}: use one of {}", quote(name), Method::NAMES),
            Self::NoTopic(name) => {
                write!(f, "there is no topic {}: it comes to be when it is subscribed to or published to", quote(name))
            }
            Self::NoKey(key) => write!(f, "there is no key {:?} to remove, or it is bound to another connection", quote(key)),
            Self::NotSubscribed(name) => write!(f, "this connection is not subscribed to {}: subscribe first", quote(name)),
            Self::TopicId(id) => {
                write!(f, "no topic has the id {id} on this connection: subscribe or bind, and take the id from there")
            }
            Self::Connected => f.write_str(
                "connect comes once, before all other requests: use refresh for a new token, or open another connection",
            ),
            Self::Subscribed(name) => {
                write!(f, "this connection is subscribed to {} already: unsubscribe first to change how", quote(name))
            }
            Self::Lost(first) => write!(f, "these entries are no longer held: the first that is has seq {first}"),
            Self::TooLarge(bytes, max) => write!(f, "{bytes} bytes are too large: at most {max} are taken"),
            Self::TooFast(what, rate, _) => write!(f, "too many {what}: at most {rate} a second; wait"),
            Self::Keys(max) => write!(f, "the topic has {max} keys, and no more are taken: remove some"),
            Self::TooMany(what, max) => write!(f, "too many {what}: at most {max} are taken"),
            Self::NotKept(seq) => {
                write!(f, "published as entry {seq}, but not on disk: the journal is degraded, see /health")
            }
            Self::NotNow(why) => write!(f, "not now: {why}; try again later"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<Denial> for Fault {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl From<OpenError> for Fault {
    fn from(error: OpenError) -> Self {
        Self::NotNow(error.to_string().into())
    }
}

/// A part of what a peer sent that is short enough to be sent back.
fn quote(text: &str) -> Cow<'_, str> {
    if text.len() <= QUOTE_BYTES_MAX {
        return text.into();
    }
    let cut = (0..=QUOTE_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}..", &text[..cut]).into()
}

/// What a value is to be, as in "is to be ..".
pub(crate) mod wants {
    use super::INFO_BYTES_MAX;
    use ringwire_hub::{IDEMPOTENCY_KEY_BYTES_MAX, KEY_BYTES_MAX};

    pub(crate) const TEXT: &str = "a string";
    pub(crate) const FLAG: &str = "true or false";
    pub(crate) const OBJECT: &str = "an object";
    pub(crate) const SEQ: &str = "a whole number from 0 to 2^64 - 1";
    pub(crate) const TOPICS: &str = "a topic or an array of topics, each a string";
    pub(crate) const MODE: &str = "\"all\" or \"latest\"";
    pub(crate) const RATE: &str = "a whole number from 1 to 1000: rounds a second";
    pub(crate) const AGE: &str = "a whole number of ms from 1 to 3600000";
    pub(crate) const SINCE: &str = "an object of {\"<topic>\":{\"epoch\":\"..\",\"seq\":0}}";
    pub(crate) const EPOCH: &str = "a string of digits and lowercase letters, as the server gave it";
    pub(crate) const COUNT: &str = "a whole number from 0 to 4294967295";
    pub(crate) const BASE64: &str = "a string in base64 (RFC 4648 §4) where \"base64\" is true";
    pub(crate) const PLAIN_DATA: &str = "a field whose name is written without escapes";
    pub(crate) const NO_DATA: &str = "left out where \"remove\" is true";
    pub(crate) const KEY: &str = "a string of 1 to 255 bytes";
    pub(crate) const IDEMPOTENCY_KEY: &str = "a string of 1 to 64 bytes";
    pub(crate) const INFO: &str = "JSON of at most 1024 bytes";
    pub(crate) const NAME: &str = "a string of at most 64 bytes";

    const _: () = assert!(KEY_BYTES_MAX == 255 && IDEMPOTENCY_KEY_BYTES_MAX == 64 && INFO_BYTES_MAX == 1024);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_sent_is_quoted_only_in_part() {
        let fault = Fault::Method("é".repeat(1000));
        assert!(fault.to_string().len() < 250, "{fault}");
        assert!(fault.to_string().contains(&format!("{}..", "é".repeat(20))));
    }

    #[test]
    fn every_code_is_in_the_table() {
        let faults = [
            Fault::NotAnObject,
            Fault::Denied(Denial::TokenMissing),
            Fault::Denied(Denial::PublishForbidden),
            Fault::Method("x".into()),
            Fault::Connected,
            Fault::Lost(7),
            Fault::TooLarge(2, 1),
            Fault::TooMany("topics", 1),
            Fault::NotNow("full".into()),
        ];
        let codes = faults.map(|fault| fault.code());
        assert_eq!(codes, CODES.map(|(code, _)| code));
    }

    #[test]
    fn only_what_passes_by_itself_says_when_to_come_again() {
        let fast = Fault::TooFast("requests", 100, 500);
        assert_eq!((fast.may_retry(), fast.after_ms()), (true, Some(500)));
        assert_eq!(Fault::TooMany("topics", 1024).after_ms(), None);
        assert!(!Fault::TooMany("topics", 1024).may_retry());
    }
}
