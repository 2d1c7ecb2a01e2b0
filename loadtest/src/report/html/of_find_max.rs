//! The page of a search for the highest rate: the page of its result, with every run of the search.

use super::units::short_number;
use super::{Body, Notice, Page, Panel, Row, Table, Tone, Width};
use crate::find_max::{FindMax, Found, Trial};

impl From<&FindMax> for Page {
    fn from(found: &FindMax) -> Self {
        let mut page = Self::from(&found.report);
        page.title = format!("{}: the highest rate for {}", page.title, found.objective);
        let tone = match found.search.found {
            Found::Sustained { .. } | Found::Unbounded { .. } => Tone::Met,
            Found::NotSustainable { .. } => Tone::Missed,
            Found::GeneratorFirst { .. } => Tone::Void,
        };
        page.notices.insert(0, Notice { tone, text: found.search.found.to_string() });
        let rows = found.search.steps.iter().map(|step| {
            let (tone, word) = match &step.trial {
                Trial::Met(_) => (Tone::Met, "met"),
                Trial::Missed(_) => (Tone::Missed, "missed"),
                Trial::Void(_) => (Tone::Void, "void"),
            };
            let cells = vec![short_number(step.rate), word.to_owned(), step.trial.words().to_owned()];
            Row { cells, tone: Some(tone) }
        });
        let table =
            Table { columns: ["rate", "objective", "measured"].map(str::to_owned).into(), rows: rows.collect() };
        page.panels.insert(
            0,
            Panel {
                title: "The search".to_owned(),
                note: "In the order of the runs. What is below is the run at the highest rate that was met.".to_owned(),
                body: Body::Table(table),
                width: Width::Full,
            },
        );
        page
    }
}
