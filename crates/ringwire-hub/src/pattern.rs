//! Patterns of topic names, and a map of them that is asked with a name.
//!
//! A name is read as segments with `.` between them: `book.BTC-USD` has two. In a pattern, `*` stands for exactly one
//! segment and a last `>` for one or more, as in NATS: `book.*` and `book.>` match it, `>` matches every name. Names
//! whose first segment begins with `$` are the server's own, and match only where the pattern's first segment says so
//! letter for letter.
//!
//! [`PatternMap`] is a tree of segments. Finding what matches a name follows at most three branches at each segment, so
//! it depends on the patterns that match parts of the name, and not on how many patterns or names there are.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::name::{NAME_BYTES_MAX, NameError, TopicName};

/// Most segments of a pattern: a bound on how deep a search goes.
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

    /// The name, if the pattern has no wildcards.
    pub fn as_name(&self) -> Option<TopicName> {
        TopicName::new(&self.0).ok()
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

    /// What every name that it matches begins with.
    pub(crate) fn prefix(&self) -> &str {
        self.0.find(['*', '>']).map_or(&self.0, |end| &self.0[..end])
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

/// Values by pattern, found by name. A value may be there for several patterns, and several times for one: each
/// insertion is undone by one removal.
#[derive(Debug)]
pub struct PatternMap<T> {
    root: Node<T>,
    len: usize,
}

#[derive(Debug)]
struct Node<T> {
    children: BTreeMap<Box<str>, Node<T>>,
    /// Values of the pattern that ends here, with how often each was inserted.
    values: BTreeMap<T, u32>,
}

impl<T: Ord> Default for PatternMap<T> {
    fn default() -> Self {
        Self { root: Node::default(), len: 0 }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { children: BTreeMap::new(), values: BTreeMap::new() }
    }
}

impl<T: Ord> PatternMap<T> {
    /// Adds `value` under `pattern`.
    pub fn insert(&mut self, pattern: &Pattern, value: T) {
        let mut node = &mut self.root;
        for segment in pattern.as_str().split('.') {
            if !node.children.contains_key(segment) {
                node.children.insert(segment.into(), Node::default());
            }
            node = node.children.get_mut(segment).expect("the child was found or made");
        }
        *node.values.entry(value).or_default() += 1;
        self.len += 1;
    }

    /// Undoes one insertion of `value` under `pattern`. Says whether there was one.
    pub fn remove(&mut self, pattern: &Pattern, value: &T) -> bool {
        let mut segments = pattern.as_str().split('.');
        let removed = self.root.remove(&mut segments, value);
        self.len -= usize::from(removed);
        removed
    }

    /// Calls `found` with each value under each pattern that matches `name`.
    pub fn matching<'m>(&'m self, name: &TopicName, mut found: impl FnMut(&'m T)) {
        if self.len > 0 {
            self.root.matching(0, Some(name.as_str()), &mut found);
        }
    }

    /// Insertions that have not been undone.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<T: Ord> Node<T> {
    fn remove<'s>(&mut self, segments: &mut impl Iterator<Item = &'s str>, value: &T) -> bool {
        let Some(segment) = segments.next() else {
            let Some(count) = self.values.get_mut(value) else { return false };
            *count -= 1;
            if *count == 0 {
                self.values.remove(value);
            }
            return true;
        };
        let Some(child) = self.children.get_mut(segment) else { return false };
        let removed = child.remove(segments, value);
        if child.children.is_empty() && child.values.is_empty() {
            self.children.remove(segment);
        }
        removed
    }

    /// `rest` is what of the name follows, from segment `nth` on; nothing, behind the last one.
    fn matching<'m>(&'m self, nth: usize, rest: Option<&str>, found: &mut impl FnMut(&'m T)) {
        let Some(rest) = rest else { return self.values.keys().for_each(found) };
        let (segment, after) = rest.split_once('.').map_or((rest, None), |(segment, after)| (segment, Some(after)));
        if let Some(child) = self.children.get(segment) {
            child.matching(nth + 1, after, found);
        }
        if is_own(nth, segment) {
            return;
        }
        if let Some(child) = self.children.get(ONE) {
            child.matching(nth + 1, after, found);
        }
        if let Some(child) = self.children.get(REST) {
            child.values.keys().for_each(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).unwrap()
    }

    fn name(text: &str) -> TopicName {
        TopicName::new(text).unwrap()
    }

    #[test]
    fn wildcards_match_segments_as_in_nats() {
        for (text, matching, other) in [
            ("a.b", vec!["a.b"], vec!["a", "a.b.c", "a.B"]),
            ("a.*", vec!["a.b", "a."], vec!["a", "a.b.c", "b.a"]),
            ("*.b", vec!["a.b", "x.b"], vec!["b", "a.b.b"]),
            ("a.>", vec!["a.b", "a.b.c"], vec!["a", "b.a"]),
            (">", vec!["a", "a.b"], vec!["$presence.a"]),
            ("*.>", vec!["a.b", "a.b.c"], vec!["a", "$presence.a"]),
            ("$presence.*", vec!["$presence.a"], vec!["$presence", "presence.a"]),
        ] {
            matching.iter().for_each(|found| assert!(pattern(text).matches(&name(found)), "{text} {found}"));
            other.iter().for_each(|found| assert!(!pattern(text).matches(&name(found)), "{text} {found}"));
        }
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        for (text, error) in [
            ("a*", PatternError::WildcardInSegment),
            ("a.b>", PatternError::WildcardInSegment),
            (">.a", PatternError::RestNotLast),
            ("", PatternError::Name(NameError::Empty)),
            ("a/b.*", PatternError::Name(NameError::Byte { at: 1 })),
            (&["*"; 33].join("."), PatternError::TooManySegments),
            (&"a".repeat(256), PatternError::Name(NameError::TooLong)),
        ] {
            assert_eq!(Pattern::new(text), Err(error), "{text}");
        }
        assert!(Pattern::new(&["*"; 32].join(".")).is_ok());
    }

    #[test]
    fn what_was_removed_is_not_found_and_leaves_nothing() {
        let mut map = PatternMap::default();
        for _ in 0..2 {
            map.insert(&pattern("a.>"), 1);
        }
        map.insert(&pattern("a.*.c"), 2);
        assert!(map.remove(&pattern("a.>"), &1) && !map.remove(&pattern("a.>"), &2) && !map.remove(&pattern("b"), &1));
        let mut found = Vec::new();
        map.matching(&name("a.b.c"), |value| found.push(*value));
        assert_eq!((found, map.len()), (vec![2, 1], 2));
        assert!(map.remove(&pattern("a.>"), &1) && map.remove(&pattern("a.*.c"), &2));
        assert!(map.root.children.is_empty() && map.is_empty());
    }

    fn segments() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(vec!["a", "b", "$c", "*"]), 1..5).prop_map(|list| list.join("."))
    }

    proptest! {
        #[test]
        fn the_map_finds_what_a_search_through_all_patterns_finds(
            patterns in prop::collection::vec((segments(), any::<bool>()), 0..20),
            text in segments(),
        ) {
            let patterns: Vec<Pattern> =
                patterns.iter().map(|(text, rest)| pattern(&format!("{text}{}", if *rest { ".>" } else { "" }))).collect();
            let name = name(&text.replace('*', "a"));
            let mut map = PatternMap::default();
            patterns.iter().enumerate().for_each(|(nth, pattern)| map.insert(pattern, nth));
            let mut found = Vec::new();
            map.matching(&name, |nth| found.push(*nth));
            found.sort_unstable();
            let want: Vec<usize> = (0..patterns.len()).filter(|nth| patterns[*nth].matches(&name)).collect();
            prop_assert_eq!(found, want);
        }

        #[test]
        fn a_pattern_that_contains_another_matches_all_that_it_matches(
            ours in segments(), rest in any::<bool>(), theirs in segments(), text in segments(),
        ) {
            let ours = pattern(&format!("{ours}{}", if rest { ".>" } else { "" }));
            let (theirs, name) = (pattern(&theirs), name(&text.replace('*', "b")));
            prop_assert!(ours.contains(&ours) && theirs.contains(&theirs));
            if ours.contains(&theirs) && theirs.matches(&name) {
                prop_assert!(ours.matches(&name), "{} {} {}", ours, theirs, name);
            }
        }
    }
}
