//! Percent-encoding (RFC 3986 §2.1) and queries in the form that HTML forms use.

use std::borrow::Cow;

/// `text` with its `%XX` undone; `None` if a `%` has no two hex digits behind it or the result is not UTF-8.
pub fn decode_percent(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let [high, low, after @ ..] = after else { return None };
        decoded.push(hex_digit(*high)? << 4 | hex_digit(*low)?);
        rest = after;
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// The parameters of a query, decoded; `+` is a space. A parameter that cannot be decoded is given as it is, one
/// without `=` has an empty value.
pub fn query_pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode_form(name), decode_form(value))
    })
}

fn decode_form(text: &str) -> Cow<'_, str> {
    if !text.contains('+') {
        return decode_percent(text).unwrap_or(Cow::Borrowed(text));
    }
    let spaced = text.replace('+', " ");
    let decoded = decode_percent(&spaced).map(Cow::into_owned);
    decoded.map_or(Cow::Borrowed(text), Cow::Owned)
}

/// The value of an ASCII hex digit.
pub(super) const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_undone() {
        assert_eq!(decode_percent("/a/b"), Some(Cow::Borrowed("/a/b")));
        assert_eq!(decode_percent("%2Fa%2f%D0%B6+").as_deref(), Some("/a/ж+"));
        for wrong in ["%", "%4", "%zz", "%+4", "%FF"] {
            assert_eq!(decode_percent(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn query_parameters_are_decoded() {
        let pairs: Vec<_> = query_pairs("streams=a/b&&x=1%202+3&flag&y=%zz&k%3D=v=w").collect();
        let want = [("streams", "a/b"), ("x", "1 2 3"), ("flag", ""), ("y", "%zz"), ("k=", "v=w")];
        assert_eq!(pairs, want.map(|(k, v)| (Cow::Borrowed(k), Cow::Borrowed(v))));
    }
}
