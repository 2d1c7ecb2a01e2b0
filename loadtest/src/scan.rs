//! JSON read in place (RFC 8259): a [`Value`] is the bytes that it was written in.
//!
//! Servers' messages and lines of recordings are looked into for a member or two, so nothing is built of the rest. What
//! is skipped is told apart by its strings and brackets only: text that is no JSON may pass as a value, and then says
//! nothing of what was looked for.
//!
//! What this file must never do: read outside of its input, or panic, whatever that is.

use std::borrow::Cow;

/// A value, in the bytes that it was written in, without the white space around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Value<'a>(&'a [u8]);

impl<'a> Value<'a> {
    /// The one value that this is, with white space around it; or `None` if it is none or more than one.
    pub(crate) fn parse(input: &'a [u8]) -> Option<Self> {
        let (value, rest) = Self::first(input)?;
        trim(rest).is_empty().then_some(value)
    }

    /// The value that the input begins with, and what is behind it.
    fn first(input: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let input = trim(input);
        let (value, rest) = input.split_at(value_bytes(input)?);
        Some((Value(value), rest))
    }

    /// Its bytes.
    pub(crate) fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The members of an object, in order: each name as it was written, with quotes, and its value. Nothing if it is
    /// no object.
    pub(crate) fn members(self) -> impl Iterator<Item = (Value<'a>, Value<'a>)> {
        let mut rest = self.inside(b'{');
        std::iter::from_fn(move || {
            let (name, behind) = Value::first(rest)?;
            let (value, behind) = Value::first(trim(behind).strip_prefix(b":")?)?;
            rest = after_comma(behind);
            (name.0.first() == Some(&b'"')).then_some((name, value))
        })
    }

    /// The elements of an array, in order. Nothing if it is none.
    pub(crate) fn items(self) -> impl Iterator<Item = Value<'a>> {
        let mut rest = self.inside(b'[');
        std::iter::from_fn(move || {
            let (value, behind) = Value::first(rest)?;
            rest = after_comma(behind);
            Some(value)
        })
    }

    /// An object's member.
    pub(crate) fn get(self, name: &str) -> Option<Value<'a>> {
        self.members().find(|(written, _)| written.is_text(name)).map(|(_, value)| value)
    }

    /// What a JSON pointer (RFC 6901) such as `/data/0/time` points at.
    pub(crate) fn at(self, pointer: &str) -> Option<Value<'a>> {
        let mut tokens = pointer.split('/');
        if !tokens.next()?.is_empty() {
            return None;
        }
        tokens.try_fold(self, |value, token| {
            let token = token.replace("~1", "/").replace("~0", "~");
            match value.0.first()? {
                b'[' => value.items().nth(token.parse().ok()?),
                _ => value.get(&token),
            }
        })
    }

    /// A string's text. What is escaped wrongly is not in it.
    pub(crate) fn text(self) -> Option<Cow<'a, str>> {
        let written = std::str::from_utf8(self.0).ok()?.strip_prefix('"')?.strip_suffix('"')?;
        Some(if written.contains('\\') { Cow::Owned(unescape(written)) } else { Cow::Borrowed(written) })
    }

    /// A number; also one that was written as a string, as exchanges do.
    pub(crate) fn number(self) -> Option<f64> {
        self.digits()?.parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// A whole number from 0 to 2^64 - 1.
    pub(crate) fn integer(self) -> Option<u64> {
        self.digits()?.parse().ok()
    }

    fn digits(self) -> Option<&'a str> {
        let text = std::str::from_utf8(self.0).ok()?;
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        text.starts_with(|c: char| c.is_ascii_digit() || c == '-').then_some(text)
    }

    fn is_text(self, text: &str) -> bool {
        self.text().is_some_and(|own| own == text)
    }

    /// What is between the brackets.
    fn inside(self, open: u8) -> &'a [u8] {
        match self.0 {
            [first, inside @ .., _] if *first == open => inside,
            _ => &[],
        }
    }
}

/// Appends a text as a JSON string, with its quotes.
pub(crate) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    write_escaped(out, text);
    out.push('"');
}

/// Appends a text as it is written inside a JSON string.
pub(crate) fn write_escaped(out: &mut String, text: &str) {
    use std::fmt::Write as _;
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

fn trim(mut input: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = input {
        input = rest;
    }
    input
}

/// What follows a comma; nothing if none is there.
fn after_comma(input: &[u8]) -> &[u8] {
    trim(input).strip_prefix(b",").unwrap_or(&[])
}

/// Length of the value that the input begins with.
fn value_bytes(input: &[u8]) -> Option<usize> {
    match input.first()? {
        b'"' => string_bytes(input),
        b'{' | b'[' => {
            let (mut at, mut depth) = (0, 0usize);
            loop {
                match input.get(at)? {
                    b'"' => at += string_bytes(&input[at..])? - 1,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        // A number, `true`, `false` or `null`, as far as it is looked at.
        b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
            let goes_on = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
            Some(input.iter().position(|byte| !goes_on(byte)).unwrap_or(input.len()))
        }
        _ => None,
    }
}

/// Length of the string that the input begins with, quotes included.
fn string_bytes(input: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match input.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn unescape(written: &str) -> String {
    let mut text = String::with_capacity(written.len());
    let mut rest = written;
    while let Some((before, escape)) = rest.split_once('\\') {
        text.push_str(before);
        let mut behind = escape.chars();
        match behind.next() {
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('u') => {
                let (c, bytes) = unicode(behind.as_str());
                text.extend(c);
                rest = &behind.as_str()[bytes..];
                continue;
            }
            Some(c) => text.push(c),
            None => {}
        }
        rest = behind.as_str();
    }
    text + rest
}

/// The character behind `\u`, of one unit or of two (RFC 8259 §7), and how many bytes say it.
fn unicode(digits: &str) -> (Option<char>, usize) {
    let unit = |text: &str| text.get(..4).and_then(|hex| u16::from_str_radix(hex, 16).ok());
    let Some(first) = unit(digits) else { return (None, 0) };
    let second = digits.get(4..).and_then(|rest| rest.strip_prefix("\\u")).and_then(unit);
    match char::decode_utf16([first].into_iter().chain(second)).next() {
        Some(Ok(c)) => (Some(c), if c.len_utf16() == 2 { 10 } else { 4 }),
        _ => (None, 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value<'_> {
        Value::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn members_and_items_are_found_where_they_are() {
        let text = value(r#" { "a" : [1, {"b":"]}\""} ,[]], "c\u0064":-2.5e1,"e":null } "#);
        assert_eq!(text.members().count(), 3);
        assert_eq!(text.get("a").unwrap().items().count(), 3);
        assert_eq!(text.at("/a/1/b").unwrap().text().unwrap(), "]}\"");
        assert_eq!(text.get("cd").unwrap().number(), Some(-25.0));
        assert_eq!(text.get("e").unwrap().bytes(), b"null");
        assert_eq!((text.get("f"), text.at("/a/7"), text.at("a"), text.at("/a/x")), (None, None, None, None));
        assert_eq!(text.at(""), Some(text));
        assert_eq!(value(r#"{"a/b":{"~":7}}"#).at("/a~1b/~0").unwrap().integer(), Some(7));
    }

    #[test]
    fn texts_are_read_as_they_were_written() {
        let text = "a\"\\\n\u{1}\u{436}\u{1F600}/";
        let mut written = String::new();
        write_string(&mut written, text);
        assert_eq!(value(&written).text().unwrap(), text);
        assert_eq!(value(r#""\u0436\ud83d\ude00\/\t\b\f\r""#).text().unwrap(), "ж\u{1F600}/\t\u{8}\u{c}\r");
        assert_eq!(value(r#""\ud83dx\u12""#).text().unwrap(), "x12", "what is no character is left out");
        assert_eq!(value("7").text(), None);
    }

    #[test]
    fn numbers_may_be_in_quotes() {
        assert_eq!(
            (value("17").integer(), value("\"17\"").integer(), value("17.5").integer()),
            (Some(17), Some(17), None)
        );
        assert_eq!((value("-1").integer(), value("-1").number()), (None, Some(-1.0)));
        assert_eq!((value("null").number(), value("\"inf\"").number(), value("1e999").number()), (None, None, None));
    }

    #[test]
    fn what_is_no_single_value_is_none() {
        for text in ["", " ", "{", "[1", "\"a", "\"a\\\"", "1 2", "{}{}", "{}]", ",", "}", "\"\\", "hello", "<html>"] {
            assert_eq!(Value::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn no_input_reads_outside_of_itself() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..20_000 {
            let bytes: Vec<u8> =
                (0..random.usize(0..12)).map(|_| *random.choice(b"{}[]\",:\\u0d8a7 -").unwrap()).collect();
            if let Some(value) = Value::parse(&bytes) {
                let _ = (value.members().count(), value.items().count(), value.text(), value.number());
                let _ = (value.at("/0/a"), value.get("a"));
            }
        }
    }
}
