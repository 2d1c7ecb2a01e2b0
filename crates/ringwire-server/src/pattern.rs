//! Patterns of topic names, as the rules of `[[topics]]` and the claims of tokens have them.
//!
//! A name is read as segments with `.` between them. `*` stands for exactly one segment and a last `>` for one or more,
//! as in NATS. Names whose first segment begins with `$` match only where the pattern's first segment says so.

use std::fmt;
use std::sync::Arc;

use ringwire_hub::{NAME_BYTES_MAX, NameError, TopicName};

/// Most segments of a pattern.
pub const PATTERN_SEGMENTS_MAX: usize = 32;

const ONE: &str = "*";
const REST: &str = ">";

/// A valid pattern. A topic's name is one, which matches itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// Checks `text`.
    ///
    /// # Errors
    /// Why it is no pattern.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        if text.len() > NAME_BYTES_MAX {
            return Err(PatternError::Name(NameError::TooLong));
        }
        let count = text.split('.').count();
        if count > PATTERN_SEGMENTS_MAX && text.contains(['*', '>']) {
            return Err(PatternError::TooManySegments);
        }
        for (nth, segment) in text.split('.').enumerate() {
            match segment {
                ONE => {}
                REST if nth + 1 == count => {}
                REST => return Err(PatternError::RestNotLast),
                _ if segment.contains(['*', '>']) => return Err(PatternError::WildcardInSegment),
                _ => {}
            }
        }
        // What is left when wildcards are taken as letters must be a name.
        TopicName::new(&text.replace(['*', '>'], "x")).map_err(PatternError::Name)?;
        Ok(Self(text.into()))
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it matches `name`.
    pub fn matches(&self, name: &TopicName) -> bool {
        let (mut pattern, mut name) = (self.0.split('.'), name.as_str().split('.').enumerate());
        loop {
            match (pattern.next(), name.next()) {
                (None, None) => return true,
                (Some(want), Some((nth, segment))) if want == ONE || want == REST => {
                    if is_own(nth, segment) {
                        return false;
                    }
                    if want == REST {
                        return true;
                    }
                }
                (Some(want), Some((_, segment))) if want == segment => {}
                _ => return false,
            }
        }
    }

    /// Whether it matches every name that `other` matches.
    pub fn contains(&self, other: &Pattern) -> bool {
        let (mut ours, mut theirs) = (self.0.split('.'), other.0.split('.').enumerate());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (Some(REST), Some((nth, segment))) => return !is_own(nth, segment),
                (Some(ONE), Some((nth, segment))) if segment != REST && !is_own(nth, segment) => {}
                (Some(want), Some((_, segment))) if want == segment && want != REST => {}
                _ => return false,
            }
        }
    }
}

/// A segment that wildcards do not stand for.
fn is_own(nth: usize, segment: &str) -> bool {
    nth == 0 && segment.starts_with('$')
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// Apart from its wildcards, it is no name of a topic.
    Name(NameError),
    /// A wildcard is a part of a segment.
    WildcardInSegment,
    /// `>` stands before the end.
    RestNotLast,
    /// It has wildcards and more than [`PATTERN_SEGMENTS_MAX`] segments.
    TooManySegments,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::WildcardInSegment => {
                f.write_str("a wildcard (* or >) is a segment of its own, as in book.* or book.>")
            }
            Self::RestNotLast => f.write_str("the wildcard > stands only at the end, as in book.>"),
            Self::TooManySegments => write!(f, "a pattern has at most {PATTERN_SEGMENTS_MAX} segments"),
        }
    }
}

impl std::error::Error for PatternError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_segments_as_in_nats() {
        let name = |text: &str| TopicName::new(text).unwrap();
        for (text, matching, other) in [
            ("a.b", vec!["a.b"], vec!["a", "a.b.c", "a.B"]),
            ("a.*", vec!["a.b", "a."], vec!["a", "a.b.c", "b.a"]),
            ("a.>", vec!["a.b", "a.b.c"], vec!["a", "b.a"]),
            (">", vec!["a", "a.b"], vec!["$presence.a"]),
            ("$presence.*", vec!["$presence.a"], vec!["$presence", "presence.a"]),
        ] {
            let pattern = Pattern::new(text).unwrap();
            matching.iter().for_each(|found| assert!(pattern.matches(&name(found)), "{text} {found}"));
            other.iter().for_each(|found| assert!(!pattern.matches(&name(found)), "{text} {found}"));
        }
    }
}
