//! The documents that tables of records stand in: docs/performance.md, between markers, and benches/records/README.md,
//! which is nothing else. What stands outside of the markers is written by hand and is not touched.

use std::fs;
use std::path::Path;

use super::record::Record;
use super::rows::{self, GROUPS};
use super::tables::{self, Recorded};
use crate::context::Context;

/// Where tables stand between markers, and where records are, as seen from the root of the checkout.
const PERFORMANCE: &str = "docs/performance.md";
pub(crate) const RECORDS: &str = "benches/records";
/// Of the records' folder.
const ALL: &str = "README.md";

/// All rows with their records.
pub(crate) fn recorded(folder: &Path) -> Result<Vec<Recorded>, String> {
    let with_record = |row: rows::Row| Record::of_row(folder, &row.name).map(|record| (row, record));
    rows::all().into_iter().map(with_record).collect()
}

/// Makes the tables anew from the records.
pub(crate) fn write(context: &Context) -> Result<(), String> {
    let all = recorded(&context.root.join(RECORDS))?;
    for (path, text) in wanted(context, &all)? {
        let file = context.root.join(&path);
        fs::write(&file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    }
    Ok(())
}

/// The documents as they must be: paths and texts.
fn wanted(context: &Context, all: &[Recorded]) -> Result<[(String, String); 2], String> {
    let file = context.root.join(PERFORMANCE);
    let text = fs::read_to_string(&file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let text = with_tables(&text, all).map_err(|error| format!("{PERFORMANCE}: {error}"))?;
    Ok([(PERFORMANCE.to_owned(), text), (format!("{RECORDS}/{ALL}"), tables::of_all(all))])
}

/// The text with each group's table between its markers.
fn with_tables(text: &str, all: &[Recorded]) -> Result<String, String> {
    let mut text = text.to_owned();
    for (group, name) in GROUPS {
        let (begin, end) = (format!("<!-- bench {name} -->\n"), format!("<!-- end of bench {name} -->\n"));
        let from = text.find(&begin).ok_or_else(|| format!("there is no {}", begin.trim()))? + begin.len();
        let to = text[from..].find(&end).ok_or_else(|| format!("there is no {} behind its begin", end.trim()))? + from;
        text.replace_range(from..to, &tables::of_group(group, all));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::{Role, record_of};

    #[test]
    fn the_documents_say_what_the_records_say() {
        let context = Context::of_this_checkout();
        let all = recorded(&context.root.join(RECORDS)).unwrap();
        for (path, text) in wanted(&context, &all).unwrap() {
            let is = fs::read_to_string(context.root.join(&path)).unwrap_or_default();
            assert!(is == text, "{path} is not what the records say: run `cargo xtask bench --tables`");
        }
    }

    #[test]
    fn every_record_in_the_folder_is_that_of_its_row() {
        let folder = Context::of_this_checkout().root.join(RECORDS);
        for (row, record) in recorded(&folder).unwrap() {
            assert!(record.is_none_or(|record| record.row == row.name), "{}", row.name);
        }
    }

    #[test]
    fn what_stands_outside_of_the_markers_stays() {
        let blocks: String = GROUPS
            .iter()
            .map(|(_, name)| format!("<!-- bench {name} -->\nold\n<!-- end of bench {name} -->\nby hand\n"))
            .collect();
        let row = rows::all().into_iter().find(|row| row.name == "storm").unwrap();
        let record = record_of("storm", &[("ringwire", Role::Ringwire, &[1.0])]);
        let text = with_tables(&format!("# Top\n{blocks}"), &[(row, Some(record))]).unwrap();
        assert!(text.starts_with("# Top\n<!-- bench echo -->\n<!-- end") && !text.contains("old"), "{text}");
        assert_eq!(text.matches("by hand\n").count(), GROUPS.len());
        assert!(text.contains("| 64 at a time"), "{text}");
        let again = with_tables(&text, &[]).unwrap();
        assert!(!again.contains("| 64 at a time"), "{again}");
    }

    #[test]
    fn a_document_without_a_marker_is_told_which() {
        let fault = with_tables("<!-- bench echo -->\n", &[]).unwrap_err();
        assert!(fault.contains("end of bench echo"), "{fault}");
        assert!(with_tables("", &[]).unwrap_err().contains("<!-- bench echo -->"));
    }
}
