//! Where things stand in JSON text. The parser gives values, and unescapes in place; what is passed on byte for byte is
//! found here, in the text as it came.
//!
//! These functions find, they do not judge: what they are given is known to be JSON ([`member`]), or will be parsed
//! afterwards ([`objects`]).

/// The value of `name` in the object at the front of `json`, if a member's name is written so, without escapes. What is at
/// the front is one valid JSON object, and white space before it; what is behind the member is not looked at.
pub(crate) fn member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let start = find(json.as_bytes(), name)?;
    json.get(start..skip_value(json.as_bytes(), start))
}

/// The text from where the value of `name` begins: what [`member`] is at the front of.
pub(super) fn from_member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    json.get(find(json.as_bytes(), name)?..)
}

/// Where the value of `name` begins.
fn find(bytes: &[u8], name: &str) -> Option<usize> {
    let mut at = skip_space(bytes, 0);
    if bytes.get(at) != Some(&b'{') {
        return None;
    }
    loop {
        at = skip_space(bytes, at + 1);
        if bytes.get(at) != Some(&b'"') {
            return None;
        }
        let end = skip_string(bytes, at);
        let is_it = bytes.get(at + 1..end - 1) == Some(name.as_bytes());
        let start = skip_space(bytes, skip_space(bytes, end) + 1);
        if is_it {
            return Some(start);
        }
        at = skip_space(bytes, skip_value(bytes, start));
        if bytes.get(at) != Some(&b',') {
            return None;
        }
    }
}

/// The values of a text that holds one or several, one behind the other. Where brackets or quotes do not close, the
/// rest is one piece; nothing but white space is left out.
pub(crate) fn objects(text: &str) -> impl Iterator<Item = &str> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let bytes = text.as_bytes();
        at = skip_space(bytes, at);
        if at >= bytes.len() {
            return None;
        }
        let start = at;
        at = match bytes[at] {
            b'{' | b'[' => skip_value(bytes, at),
            // No request: all of its line belongs to one complaint.
            _ => bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |line| at + line),
        };
        // Brackets and quotes are ASCII, so these are places between characters.
        text.get(start..at)
    })
}

/// The elements of the array that is `json`, white space around it allowed. Nothing, if it is none: if a bracket or a comma
/// is missing, or an element. What is within an element is not looked at.
pub(crate) fn elements(json: &str) -> Option<Vec<&str>> {
    let bytes = json.as_bytes();
    let mut at = skip_space(bytes, 0);
    if bytes.get(at) != Some(&b'[') {
        return None;
    }
    let mut elements = Vec::new();
    at = skip_space(bytes, at + 1);
    if bytes.get(at) == Some(&b']') && skip_space(bytes, at + 1) == bytes.len() {
        return Some(elements);
    }
    loop {
        let end = skip_value(bytes, at);
        elements.push(json.get(at..end).filter(|element| !element.is_empty())?);
        at = skip_space(bytes, end);
        match bytes.get(at)? {
            b',' => at = skip_space(bytes, at + 1),
            b']' if skip_space(bytes, at + 1) == bytes.len() => return Some(elements),
            _ => return None,
        }
    }
}

/// The end of the value that begins at `at`; of the text, if it does not end.
fn skip_value(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at) {
        Some(b'"') => skip_string(bytes, at),
        Some(b'{' | b'[') => skip_container(bytes, at),
        _ => {
            let rest = bytes.get(at..).unwrap_or_default();
            let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
            at + rest.iter().position(ends).unwrap_or(rest.len())
        }
    }
}

fn skip_container(bytes: &[u8], at: usize) -> usize {
    let (mut at, mut depth) = (at, 0usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = skip_string(bytes, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// The end of the string whose opening quote is at `at`.
fn skip_string(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    // Long texts by the vector, which a loop over a fixed number of bytes becomes.
    let ends = |chunk: &[u8; 16]| chunk.iter().fold(false, |ends, byte| ends | (*byte == b'"') | (*byte == b'\\'));
    while bytes.get(at..).and_then(|rest| rest.first_chunk()).is_some_and(|chunk| !ends(chunk)) {
        at += 16;
    }
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn skip_space(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_members_value_is_found_as_it_was_written() {
        let json =
            " {\"a\" : {\"data\":1}, \"b\":\"\\\"data\\\":2\",\n\"data\":\t[ {\"x\":\"]\\\\\"} , 1.50 ] ,\"c\":null} ";
        assert_eq!(member(json, "data"), Some("[ {\"x\":\"]\\\\\"} , 1.50 ]"));
        assert_eq!(member(json, "a"), Some("{\"data\":1}"));
        assert_eq!(member(json, "b"), Some("\"\\\"data\\\":2\""));
        assert_eq!(member(json, "c"), Some("null"));
        assert_eq!(member(json, "x"), None);
    }

    #[test]
    fn what_stands_behind_an_object_is_not_looked_at() {
        let json = r#"{"params":{"a":"]}"} ,"data":1}"#;
        let params = from_member(json, "params").unwrap();
        assert_eq!(params, r#"{"a":"]}"} ,"data":1}"#);
        assert_eq!((member(params, "a"), member(params, "data")), (Some("\"]}\""), None));
    }

    #[test]
    fn long_strings_end_at_their_first_quote_that_is_not_escaped() {
        for length in 0..70 {
            for inside in ["", "\\\"", "\\\\"] {
                let text = format!("\"{}{inside}{}\"", "x".repeat(length), "é".repeat(9));
                assert_eq!(member(&format!("{{\"a\":{text},\"b\":1}}"), "a"), Some(text.as_str()));
            }
        }
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for json in ["[]", "[\"data\",1]", "{}", "1", "\"data\""] {
            assert_eq!(member(json, "data"), None, "{json}");
        }
    }

    #[test]
    fn a_name_written_with_escapes_is_not_found() {
        assert_eq!(member("{\"d\\u0061ta\":1}", "data"), None);
    }

    fn split(text: &str) -> Vec<&str> {
        objects(text).collect()
    }

    #[test]
    fn several_objects_are_told_apart_also_with_line_breaks_inside() {
        assert_eq!(split("{\"a\":1}"), ["{\"a\":1}"]);
        assert_eq!(split("{\"a\":\n\"}\\\"{\"}\n\n{ }\r\n"), ["{\"a\":\n\"}\\\"{\"}", "{ }"]);
        assert_eq!(split("{}{}"), ["{}", "{}"]);
        assert_eq!(split(" \n"), [""; 0]);
    }

    #[test]
    fn what_does_not_close_is_one_piece_and_what_is_no_object_one_line() {
        assert_eq!(split("{\"a\":[}\n{}"), ["{\"a\":[}\n{}"]);
        assert_eq!(split("{\"a\n{}"), ["{\"a\n{}"]);
        assert_eq!(split("hello\n{}"), ["hello", "{}"]);
        assert_eq!(split("}\n\"a\" {}\n1"), ["}", "\"a\" {}", "1"]);
    }

    #[test]
    fn elements_of_an_array_are_told_apart() {
        assert_eq!(elements(" [ {\"a\":[1,\"],\"]} , 2,\"x\"]\n"), Some(vec!["{\"a\":[1,\"],\"]}", "2", "\"x\""]));
        assert_eq!(elements("[]"), Some(vec![]));
        for other in ["", "{}", "[", "[1", "[1,]", "[,1]", "[1 2]", "[{}{}]", "[1]]", "[1] 2", "[\"a]"] {
            assert_eq!(elements(other), None, "{other}");
        }
    }

    proptest! {
        /// Whatever a text is: pieces come in order, are not empty, and leave out white space only.
        #[test]
        fn pieces_of_any_text_leave_out_white_space_only(text in "[\\{\\}\\[\\]\", \n\\\\a:é]{0,60}") {
            let joined: String = objects(&text).collect();
            let bare = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert!(objects(&text).all(|piece| !piece.is_empty()));
            prop_assert_eq!(bare(&joined), bare(&text));
        }
    }
}
