//! Links of the Markdown files: a relative link names a file or folder of the checkout, an anchor a heading.

use std::collections::BTreeSet;

use super::{Finding, SourceFile};

/// Checks the links of every Markdown file.
pub(crate) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let documents = files.iter().filter(|file| file.path.ends_with(".md"));
    documents.flat_map(|document| check_links(document, files)).collect()
}

fn check_links(document: &SourceFile, files: &[SourceFile]) -> Vec<Finding> {
    let broken = |(line, link): (usize, String)| {
        let message = match resolve(&document.path, &link, files) {
            Resolved::Well => return None,
            Resolved::NoFile => format!("link to {link}: there is no such file"),
            Resolved::NoHeading => format!("link to {link}: there is no such heading"),
        };
        Some(Finding::fault(&document.path, line, message))
    };
    links(&document.text).into_iter().filter_map(broken).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolved {
    Well,
    NoFile,
    NoHeading,
}

fn resolve(from: &str, link: &str, files: &[SourceFile]) -> Resolved {
    if link.contains("://") || link.starts_with("mailto:") {
        return Resolved::Well;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() { from.to_owned() } else { join(from, path) };
    let folder = format!("{target}/");
    if !files.iter().any(|file| file.path == target || file.path.starts_with(&folder)) && !target.is_empty() {
        return Resolved::NoFile;
    }
    let document = files.iter().find(|file| file.path == target && target.ends_with(".md"));
    match document {
        Some(document) if !anchor.is_empty() && !anchors(&document.text).contains(anchor) => Resolved::NoHeading,
        _ => Resolved::Well,
    }
}

/// `link` as seen from the folder of the file `from`, relative to the root.
fn join(from: &str, link: &str) -> String {
    let mut parts: Vec<&str> = if link.starts_with('/') { Vec::new() } else { from.split('/').collect() };
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// The inline links of a document, with their lines; none from code.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let spans: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for (at, _) in spans.match_indices("](") {
            let target = spans[at + 2..].split(')').next().unwrap_or_default();
            // A title may follow the address.
            let address = target.split_whitespace().next().unwrap_or_default().trim_matches(['<', '>']);
            found.push((number, address.to_owned()));
        }
    }
    found
}

/// The headings of a document, as they are linked to.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter(|(_, line)| line.starts_with('#'));
    headings
        .map(|(_, line)| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            title
                .chars()
                .filter_map(|c| match c {
                    ' ' => Some('-'),
                    c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
                    _ => None,
                })
                .collect()
        })
        .collect()
}

/// Lines, numbered from 1, that stand outside fenced code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((index + 1, line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source_file;

    fn faults(text: &str) -> Vec<usize> {
        let files = [
            source_file("docs/a.md", text),
            source_file("docs/b.md", "# The Life, of a message\n"),
            source_file("README.md", ""),
            source_file("docs/decisions/one.md", ""),
        ];
        check(&files).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn links_to_what_is_there_are_well() {
        let text = "# Top\n[b](b.md) [r](../README.md \"title\") [d](decisions/) [h](b.md#the-life-of-a-message) [t](#top)\n\
                    [w](https://example.org/x) [m](mailto:a@b.c)\n";
        assert_eq!(faults(text), [0; 0]);
    }

    #[test]
    fn a_link_to_nothing_is_a_fault() {
        assert_eq!(faults("x\n[b](c.md)\n"), [2]);
        assert_eq!(faults("[b](b.md) and ![picture](images/c.png)\n"), [1]);
    }

    #[test]
    fn an_anchor_without_a_heading_is_a_fault() {
        assert_eq!(faults("[b](b.md#the-death)\n"), [1]);
        assert_eq!(faults("# Top\n[b](#bottom)\n"), [2]);
    }

    #[test]
    fn code_is_no_link() {
        assert_eq!(faults("`a[0](x.md)`\n```\n[b](c.md)\n```\n"), [0; 0]);
    }
}
