//! The report as one HTML file: pictures of what was measured, every fact of the run, and loudly what makes it doubtful.
//!
//! A [`Page`] is plain data; `render` writes it. The pictures are SVG made here, the style and a small script are in the
//! file, so it opens from a disk or an attachment, and a policy in it forbids it to load anything. All is readable
//! without the script, without colours and on a phone.
//!
//! What this must never do: show a figure and hide that the run was void.

mod chart;
mod heat;
mod of_comparison;
mod of_find_max;
pub(crate) mod of_report;
mod scale;
mod svg;
mod table;
pub mod units;

use std::fmt::Write as _;

pub use chart::{COLORS, Chart, Line, Stroke};
pub use heat::{Cell, HeatMap, Slice};
pub use of_report::{curve, latency_over_time, percentiles};
pub use scale::{Axis, Scale, Tick, Unit};
pub use table::{Bar, Interval, Row, Table};

use svg::escape;

/// Colours and strokes of pictures, also for files of their own.
pub(crate) const CHART_STYLE: &str = include_str!("chart.css");
const PAGE_STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Nothing is loaded from anywhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath \
                    d='M2 13C8 13 10 11 14 3' fill='none' stroke='%233d7be0' stroke-width='2.4'/%3E%3C/svg%3E";

/// A report, ready to be written.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// What was measured: `trading against ws://…`.
    pub title: String,
    /// When and for how long, in one line.
    pub subtitle: String,
    /// What is to be known before any figure.
    pub notices: Vec<Notice>,
    /// The most important figures.
    pub headlines: Vec<Headline>,
    /// Pictures and tables.
    pub panels: Vec<Panel>,
    /// All that is known of the run.
    pub facts: Vec<FactGroup>,
}

/// A sentence that is said loudly.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Of which kind.
    pub tone: Tone,
    /// The sentence.
    pub text: String,
}

/// The kind of a notice, and of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// The result means nothing.
    Void,
    /// Messages were lost, repeated, out of order or changed, or there is no result.
    Fault,
    /// An objective was missed.
    Missed,
    /// The result is to be taken with care.
    Doubt,
    /// An objective was met.
    Met,
}

/// A figure of the first line.
#[derive(Clone, Debug)]
pub struct Headline {
    /// What it is.
    pub label: String,
    /// The figure with its unit.
    pub value: String,
    /// What belongs to it.
    pub detail: String,
}

/// A picture or a table with its title.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Its title.
    pub title: String,
    /// How to read it.
    pub note: String,
    /// What it shows.
    pub body: Body,
    /// How much room it has.
    pub width: Width,
}

/// How much room a panel has on a wide page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Half of it.
    Half,
    /// All of it.
    Full,
}

/// What a panel shows.
#[derive(Clone, Debug)]
pub enum Body {
    /// Lines.
    Chart(Chart),
    /// Latency over time.
    Heat(HeatMap),
    /// Rows and columns.
    Table(Table),
    /// Shares.
    Bars(Vec<Bar>),
    /// Ratios.
    Intervals(Vec<Interval>),
}

/// Facts of one kind.
#[derive(Clone, Debug)]
pub struct FactGroup {
    /// Of which kind.
    pub title: String,
    /// Name and value.
    pub facts: Vec<(String, String)>,
}

impl Tone {
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Void => "void",
            Self::Fault => "fault",
            Self::Missed => "missed",
            Self::Doubt => "doubt",
            Self::Met => "met",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Void => "VOID",
            Self::Fault => "FAULT",
            Self::Missed => "MISSED",
            Self::Doubt => "DOUBT",
            Self::Met => "MET",
        }
    }
}

impl Page {
    /// The page as a file.
    pub fn render(&self) -> String {
        let mut html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
             content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<meta \
             http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n<title>{} – ringload</title>\n<link rel=\"icon\" \
             href=\"{ICON}\">\n<style>\n{CHART_STYLE}{PAGE_STYLE}</style>\n</head>\n<body>\n",
            escape(&self.title)
        );
        let _ = write!(
            html,
            "<header><p class=\"brand\">ringload</p><h1>{}</h1><p class=\"dim\">{}</p></header>\n<main>\n",
            escape(&self.title),
            escape(&self.subtitle)
        );
        self.render_notices(&mut html);
        self.render_headlines(&mut html);
        html += "<div class=\"panels\">\n";
        for panel in &self.panels {
            panel.render(&mut html);
        }
        html += "</div>\n";
        self.render_facts(&mut html);
        let _ = write!(html, "</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n");
        html
    }

    fn render_notices(&self, html: &mut String) {
        if self.notices.is_empty() {
            return;
        }
        *html += "<ul class=\"notices\" aria-label=\"Verdicts and doubts\">\n";
        for notice in &self.notices {
            let (class, word) = (notice.tone.class(), notice.tone.word());
            let _ = writeln!(html, "<li class=\"{class}\"><b>{word}</b> <span>{}</span></li>", escape(&notice.text));
        }
        *html += "</ul>\n";
    }

    fn render_headlines(&self, html: &mut String) {
        if self.headlines.is_empty() {
            return;
        }
        *html += "<dl class=\"headlines\">\n";
        for headline in &self.headlines {
            let _ = writeln!(
                html,
                "<div><dt>{}</dt><dd>{}</dd><dd class=\"dim\">{}</dd></div>",
                escape(&headline.label),
                escape(&headline.value),
                escape(&headline.detail)
            );
        }
        *html += "</dl>\n";
    }

    fn render_facts(&self, html: &mut String) {
        if self.facts.is_empty() {
            return;
        }
        *html += "<section class=\"facts\"><h2>Facts of the run</h2><div>\n";
        for group in &self.facts {
            let _ = write!(html, "<section><h3>{}</h3><dl>", escape(&group.title));
            for (name, value) in &group.facts {
                let _ = write!(html, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
            }
            *html += "</dl></section>\n";
        }
        *html += "</div></section>\n";
    }
}

impl Panel {
    fn render(&self, html: &mut String) {
        let class = match self.width {
            Width::Half => "half",
            Width::Full => "full",
        };
        let body = match &self.body {
            Body::Chart(chart) => chart.to_html(),
            Body::Heat(map) => map.to_html(),
            Body::Table(rows) => table::table(rows),
            Body::Bars(bars) => table::bars(bars),
            Body::Intervals(intervals) => table::intervals(intervals),
        };
        let note =
            if self.note.is_empty() { String::new() } else { format!("<p class=\"note\">{}</p>", escape(&self.note)) };
        let _ =
            writeln!(html, "<section class=\"panel {class}\"><h2>{}</h2>{note}{body}</section>", escape(&self.title));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        Page {
            title: "echo against <ws://h>".to_owned(),
            notices: vec![Notice { tone: Tone::Void, text: "the generator was the bottleneck".to_owned() }],
            headlines: vec![Headline { label: "p99".into(), value: "12 us".into(), detail: String::new() }],
            facts: vec![FactGroup { title: "machine".into(), facts: vec![("kernel".into(), "6.1".into())] }],
            ..Page::default()
        }
    }

    #[test]
    fn that_a_run_is_void_is_said_before_any_figure() {
        let html = page().render();
        let at = |words: &str| html.find(words).unwrap_or_else(|| panic!("{words} in {html}"));
        assert!(at("<b>VOID</b>") < at("12 us") && at("12 us") < at("6.1"));
    }

    #[test]
    fn nothing_is_loaded_from_anywhere() {
        let html = page().render();
        for way in ["src=", "@import", "url(", "href=\"http", "fetch(", "<link rel=\"stylesheet"] {
            assert!(!html.contains(way), "{way}");
        }
        assert!(html.contains("default-src 'none'") && html.contains("echo against &lt;ws://h&gt;"));
    }
}
