//! Rust source as far as the checks need it: code without comments and literals, and words in it.

/// `text` with every comment, string and character literal replaced by spaces. Lines stay where they are.
pub(crate) fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match literal_or_comment(rest, code.chars().next_back()) {
            0 => {
                code.push(first);
                rest = &rest[first.len_utf8()..];
            }
            bytes => {
                code.extend(rest[..bytes].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
                rest = &rest[bytes..];
            }
        }
    }
    code
}

/// The numbers (from 1) of the lines on which `word` stands as a word of its own.
pub(crate) fn lines_with_word(code: &str, word: &str) -> Vec<usize> {
    let has = |line: &str| {
        line.match_indices(word).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = line[at + word.len()..].chars().next();
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
    };
    code.lines().enumerate().filter(|(_, line)| has(line)).map(|(index, _)| index + 1).collect()
}

/// The numbers (from 1) of the lines on which a path begins with `name::`.
pub(crate) fn lines_with_path(code: &str, name: &str) -> Vec<usize> {
    let start = format!("{name}::");
    let has = |line: &str| {
        line.match_indices(&start)
            .any(|(at, _)| !line[..at].chars().next_back().is_some_and(|before| is_word(before) || before == ':'))
    };
    code.lines().enumerate().filter(|(_, line)| has(line)).map(|(index, _)| index + 1).collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the literal or comment that `rest` begins with; 0 if it begins with neither.
fn literal_or_comment(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if let Some(after) = rest.strip_prefix('"') {
        return 1 + string(after);
    }
    if before.is_none_or(|before| !is_word(before)) {
        for prefix in ["br", "cr", "r"] {
            if let Some(length) = rest.strip_prefix(prefix).and_then(raw_string) {
                return prefix.len() + length;
            }
        }
    }
    if rest.starts_with('\'') { character(rest) } else { 0 }
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// From after the opening quote to after the closing one.
fn string(after: &str) -> usize {
    let mut escaped = false;
    for (at, c) in after.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    after.len()
}

/// `#"..."#` with any number of hashes, from the first hash or quote on.
fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let body = rest[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    Some(hashes + 1 + body.find(&close).map_or(body.len(), |at| at + close.len()))
}

/// A character literal; 0 for a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            // The escaped character may itself be a quote.
            let from = chars.next().map_or(rest.len(), |(at, c)| at + c.len_utf8());
            rest[from..].find('\'').map_or(0, |at| from + at + 1)
        }
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_stay() {
        let text = "let a = \"unsafe \\\" x\"; // unsafe\n/* unsafe /* in */ unsafe */ let b = 'u';\n";
        let code = code_only(text);
        assert_eq!(code.lines().count(), text.lines().count());
        assert!(lines_with_word(&code, "unsafe").is_empty(), "{code}");
        assert!(code.contains("let a =") && code.contains("let b =") && !code.contains('u'), "{code}");
    }

    #[test]
    fn raw_strings_and_quotes_as_characters_do_not_swallow_code() {
        let code = code_only("r#\"a \" unsafe\"#; br\"x\"; '\"'; '\\''; b'\"'; unsafe {}\n");
        assert_eq!(lines_with_word(&code, "unsafe"), [1]);
        assert_eq!(code.matches("unsafe").count(), 1);
    }

    #[test]
    fn lifetimes_are_code() {
        let text = "fn f<'a>(x: &'a str) -> &'a str { unsafe { x } }";
        assert_eq!(code_only(text), text);
    }

    #[test]
    fn a_word_is_not_found_inside_another() {
        assert!(lines_with_word("#![forbid(unsafe_code)]", "unsafe").is_empty());
        assert_eq!(lines_with_word("a\nunsafe{}\n", "unsafe"), [2]);
    }

    #[test]
    fn a_path_is_found_by_its_first_segment_only() {
        assert_eq!(lines_with_path("use libc::c_int;\n", "libc"), [1]);
        assert!(lines_with_path("use std::libc::c_int; my_libc::x();\n", "libc").is_empty());
    }
}
