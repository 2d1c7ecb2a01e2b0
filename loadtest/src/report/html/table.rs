//! Tables, bars and intervals: what is told in HTML rather than drawn.

use std::fmt::Write as _;

use super::Tone;
use super::scale::Scale;
use super::svg::escape;

/// Columns that fit on a phone.
const TIGHT: usize = 3;
/// Columns that fit on half of a page.
pub(super) const HALF: usize = 5;
/// Characters of a line of a cell that are not parted.
const SHORT_CHARS: usize = 24;

/// A table. The first cell of each row is its name; a cell may have several lines. Where a table of many columns does not
/// fit, each row is a block of its own and its cells have their columns' names before them.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Names of the columns, that of the rows' names first.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
}

/// A row of a table.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Its cells, as many as there are columns.
    pub cells: Vec<String>,
    /// What is to be said loudly about it.
    pub tone: Option<Tone>,
}

/// A share as a bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What it is.
    pub name: String,
    /// How long it is, from 0 to 1.
    pub share: f64,
    /// Its value in words.
    pub value: String,
    /// Which colour, as a line's.
    pub color: usize,
}

/// A ratio with its confidence interval.
#[derive(Clone, Debug)]
pub struct Interval {
    /// What it is.
    pub name: String,
    /// The ratio: 1 is no difference.
    pub middle: f64,
    /// Where it lies with confidence; `None` if too little was measured to say.
    pub bounds: Option<(f64, f64)>,
    /// The ratio and what to make of it, in words.
    pub words: String,
    /// Which colour, as a line's.
    pub color: usize,
}

/// The table.
pub(super) fn table(table: &Table) -> String {
    let class = match table.columns.len() {
        columns if columns <= TIGHT => "tight",
        columns if columns <= HALF => "stacked",
        _ => "broad",
    };
    let mut html = format!("<table class=\"{class}\"><thead><tr>");
    for column in &table.columns {
        let _ = write!(html, "<th scope=\"col\">{}</th>", escape(column));
    }
    html += "</tr></thead><tbody>";
    for row in &table.rows {
        let class = row.tone.map_or(String::new(), |tone| format!(" class=\"{}\"", tone.class()));
        let _ = write!(html, "<tr{class}>");
        for (index, (cell, column)) in row.cells.iter().zip(&table.columns).enumerate() {
            let is_short = cell.lines().all(|line| line.chars().count() <= SHORT_CHARS);
            let class = if is_short { " class=\"short\"" } else { "" };
            let (cell, column) = (escape(cell), escape(column));
            let _ = match index {
                0 => write!(html, "<th scope=\"row\"{class}>{cell}</th>"),
                _ => write!(html, "<td data-column=\"{column}\"{class}>{cell}</td>"),
            };
        }
        html += "</tr>";
    }
    html + "</tbody></table>"
}

/// Bars, one below the other.
pub(super) fn bars(bars: &[Bar]) -> String {
    let mut html = "<dl class=\"bars\">".to_owned();
    for bar in bars {
        let share = bar.share.clamp(0.0, 1.0) * 100.0;
        let _ = write!(
            html,
            "<div><dt>{}</dt><dd><span class=\"track\" aria-hidden=\"true\"><i class=\"f{}\" \
             style=\"width:{share:.1}%\"></i></span><b>{}</b></dd></div>",
            escape(&bar.name),
            bar.color % super::chart::COLORS,
            escape(&bar.value)
        );
    }
    html + "</dl>"
}

/// Intervals on one logarithmic scale around 1.
pub(super) fn intervals(intervals: &[Interval]) -> String {
    let values = intervals.iter().flat_map(|one| {
        let (low, high) = one.bounds.unwrap_or((one.middle, one.middle));
        [one.middle, low, high]
    });
    let widest = values.filter(|value| *value > 0.0).map(|value| value.max(1.0 / value)).fold(1.1, f64::max) * 1.05;
    let scale = Scale::Log { from: 1.0 / widest, to: widest };
    let place = |value: f64| scale.place(value) * 100.0;
    let mut html = "<dl class=\"intervals\">".to_owned();
    for one in intervals {
        let color = one.color % super::chart::COLORS;
        let range = one.bounds.map_or(String::new(), |(low, high)| {
            let (low, high) = (place(low), place(high));
            format!("<i class=\"range f{color}\" style=\"left:{low:.1}%;width:{:.1}%\"></i>", high - low)
        });
        let _ = write!(
            html,
            "<div><dt>{}</dt><dd><span class=\"track\" aria-hidden=\"true\"><i class=\"one\"></i>{range}<i class=\"middle \
             f{color}\" style=\"left:{:.1}%\"></i></span><b>{}</b></dd></div>",
            escape(&one.name),
            place(one.middle),
            escape(&one.words)
        );
    }
    html + "</dl>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_carry_their_columns_names_and_rows_their_tone() {
        let html = table(&Table {
            columns: vec!["round".into(), "a<b".into()],
            rows: vec![Row { cells: vec!["1".into(), "<7>".into()], tone: Some(Tone::Void) }],
        });
        assert!(html.contains("<tr class=\"void\"><th scope=\"row\" class=\"short\">1</th>"), "{html}");
        assert!(html.contains("<td data-column=\"a&lt;b\" class=\"short\">&lt;7&gt;</td>"), "{html}");
    }

    #[test]
    fn the_more_columns_a_table_has_the_sooner_it_is_stacked_and_long_cells_may_be_parted() {
        let with = |columns: usize, cell: &str| {
            table(&Table {
                columns: vec!["c".into(); columns],
                rows: vec![Row { cells: vec![cell.to_owned(); columns], tone: None }],
            })
        };
        for (columns, class) in [(3, "tight"), (4, "stacked"), (5, "stacked"), (6, "broad")] {
            assert!(with(columns, "x").starts_with(&format!("<table class=\"{class}\">")));
        }
        let long = "a sentence of more than twenty characters";
        assert!(
            with(2, "12.3 us\n11.1 us to 200 us").contains("class=\"short\"")
                && !with(2, long).contains("class=\"short\"")
        );
    }

    #[test]
    fn a_ratio_of_one_lies_in_the_middle_and_less_lies_to_the_left() {
        let one = |middle, bounds| Interval { name: "n".into(), middle, bounds, words: "w".into(), color: 0 };
        let html = intervals(&[one(1.0, None), one(0.5, Some((0.4, 0.6)))]);
        assert!(html.contains("style=\"left:50.0%\""), "{html}");
        let left: f64 = html.rsplit("style=\"left:").next().unwrap().split('%').next().unwrap().parse().unwrap();
        assert!(left < 50.0, "{html}");
    }

    #[test]
    fn a_bar_is_never_longer_than_its_track() {
        let bar = Bar { name: "core 0".into(), share: 1.7, value: "170 %".into(), color: 0 };
        assert!(bars(&[bar]).contains("width:100.0%"));
    }
}
