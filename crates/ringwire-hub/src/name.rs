//! Names of topics.
//!
//! A name goes unescaped into URLs, JSON strings and log lines, so the bytes that mean something there are refused;
//! so are the wildcards of patterns (`*`, `>`). What exchanges use fits: `trades.BTC-USD`, `btcusdt@depth5@100ms`,
//! `!ticker@arr`.

use std::fmt;
use std::sync::Arc;

/// Longest name of a topic.
pub const NAME_BYTES_MAX: usize = 255;

/// Bytes that are printable but not allowed in a name.
const REFUSED: &[u8] = b"/?#%&+\"\\*<>";

/// A valid name of a topic: 1 to 255 bytes of printable ASCII other than space and `/ ? # % & + " \ * < >`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Checks `name`.
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        match name.bytes().position(|byte| !byte.is_ascii_graphic() || REFUSED.contains(&byte)) {
            Some(at) => Err(NameError::Byte { at }),
            None => Ok(Self(name.into())),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a name is not one of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// It has no bytes.
    Empty,
    /// It has more than [`NAME_BYTES_MAX`] bytes.
    TooLong,
    /// The byte at index `at` is not allowed.
    Byte {
        /// Index of the first such byte.
        at: usize,
    },
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a topic's name is not empty"),
            Self::TooLong => write!(f, "a topic's name has at most {NAME_BYTES_MAX} bytes"),
            Self::Byte { at } => {
                write!(f, "byte {at} of the topic's name is not printable ASCII other than / ? # % & + \" \\ * < >")
            }
        }
    }
}

impl std::error::Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_exchanges_are_valid() {
        for name in ["trades.BTC-USD", "btcusdt@depth5@100ms", "!ticker@arr", "a", "orderbook.50.BTCUSDT", "x:y_z~"] {
            assert_eq!(TopicName::new(name).map(|name| name.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn every_byte_that_means_something_elsewhere_is_refused() {
        for byte in (0..=b' ').chain(REFUSED.iter().copied()).chain([0x7F]) {
            assert_eq!(TopicName::new(&format!("ab{}", byte as char)), Err(NameError::Byte { at: 2 }), "{byte}");
        }
        assert_eq!(TopicName::new("caf\u{e9}"), Err(NameError::Byte { at: 3 }));
    }

    #[test]
    fn length_of_a_name_is_1_to_255() {
        assert_eq!(TopicName::new(""), Err(NameError::Empty));
        assert!(TopicName::new(&"a".repeat(255)).is_ok());
        assert_eq!(TopicName::new(&"a".repeat(256)), Err(NameError::TooLong));
    }
}
