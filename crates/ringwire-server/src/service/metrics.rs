//! `/metrics`: how the server does, in the text format of Prometheus (version 0.0.4).
//!
//! There is no label of a topic, a user or an address: what is here is bounded by the configuration, whatever clients
//! do. `/topics` tells of each topic.

use std::fmt::{Display, Write};

use ringwire_engine::{Context, Response};

use super::Service;
use crate::broker::Mail;
use crate::ingest::source::{Dropped, Source};
use crate::status::FeedState;

/// Content type of the format.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is written.
#[derive(Default)]
struct Page(String);

impl Service {
    /// Answers `/metrics`.
    pub(super) fn metrics(&self, cx: &Context<'_, Mail>) -> Response {
        let (broker, mut page) = (&*self.broker, Page::default());
        let totals = broker.hub.totals();
        page.gauge("ringwire_info", "Always 1; its label is the version.");
        page.value("ringwire_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        page.one_gauge("ringwire_shards", "Shards.", broker.shards);
        page.one_gauge("ringwire_connections", "Connections, WebSocket and HTTP.", cx.process_connections());
        page.one_gauge("ringwire_connections_held_bytes", "Memory that connections hold.", cx.process_held_bytes());
        page.one_gauge("ringwire_topics", "Topics.", totals.topics);
        page.one_gauge("ringwire_subscriptions", "Subscriptions to topics.", broker.subscriptions());
        page.one_counter("ringwire_published_total", "Entries published, and restored at the start.", totals.published);
        let skipped = "Entries that subscribers did not get as later ones took their place, a sum over subscriptions.";
        page.one_counter("ringwire_skipped_total", skipped, totals.skipped);
        let gap = "Entries that subscribers lost as they read too slowly, a sum over subscriptions.";
        page.one_counter("ringwire_gap_total", gap, totals.gap);
        self.write_feed(&mut page);
        write_sources(&mut page, broker.sources.iter().map(|source| &**source));
        self.write_journal(&mut page);
        let response = Response::new(200, FORMAT, page.0.into_bytes());
        response.header("Cache-Control", "no-store")
    }

    fn write_feed(&self, page: &mut Page) {
        let status = &self.broker.status;
        let is_failed = matches!(status.feed(), FeedState::Failed { .. });
        page.one_gauge("ringwire_feed_failed", "1 if the server's feed has stopped at a fault.", u8::from(is_failed));
        page.one_counter("ringwire_feed_events_total", "Events that the feed has published.", status.feed_events());
    }

    fn write_journal(&self, page: &mut Page) {
        let Some(health) = self.broker.journal.as_ref().map(|journal| journal.health()) else { return };
        let is_well = u8::from(health.state == "ok");
        page.one_gauge("ringwire_journal_ok", "1 if all that is published to persistent topics is written.", is_well);
        page.one_gauge("ringwire_journal_bytes", "Bytes of the journal's files.", health.bytes);
        page.one_counter("ringwire_journal_written_bytes_total", "Bytes written.", health.written_bytes);
        page.one_counter("ringwire_journal_writes_total", "Groups of entries written.", health.writes);
        page.one_counter("ringwire_journal_syncs_total", "Syncs.", health.syncs);
        let lost = "Entries published while they could not be written.";
        page.one_counter("ringwire_journal_not_journaled_total", lost, health.not_journaled);
    }
}

fn write_sources<'s>(page: &mut Page, sources: impl Iterator<Item = &'s Source> + Clone) {
    let labels = |source: &'s Source| [("kind", source.kind().word()), ("source", source.name())];
    let mut family = |name, help, is_counter, read: fn(&Source) -> u64| {
        if is_counter {
            page.counter(name, help)
        } else {
            page.gauge(name, help)
        }
        for source in sources.clone() {
            page.value(name, &labels(source), read(source));
        }
    };
    let ok = "1 if a source is as it should be.";
    family("ringwire_source_ok", ok, false, |source| u64::from(source.is_well()));
    let connections = "Connections of a source.";
    family("ringwire_source_connections", connections, false, Source::connections);
    family("ringwire_source_published_total", "Entries published from a source.", true, Source::published);
    family("ringwire_source_bytes_total", "Bytes of payloads published from a source.", true, Source::bytes);
    let name = "ringwire_source_dropped_total";
    page.counter(name, "What came from a source and was not published, and why.");
    for source in sources {
        for why in Dropped::ALL {
            let [kind, source_name] = labels(source);
            page.value(name, &[kind, source_name, ("why", why.word())], source.dropped(why));
        }
    }
}

impl Page {
    fn one_gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.gauge(name, help);
        self.value(name, &[], value);
    }

    fn one_counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.counter(name, help);
        self.value(name, &[], value);
    }

    fn gauge(&mut self, name: &str, help: &str) {
        self.family(name, help, "gauge");
    }

    fn counter(&mut self, name: &str, help: &str) {
        self.family(name, help, "counter");
    }

    fn family(&mut self, name: &str, help: &str, kind: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (nth, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{}\"", if nth == 0 { '{' } else { ',' }, escaped(text));
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

/// A label's value as the format has it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::source::SourceKind;

    #[test]
    fn a_source_is_told_by_its_labels_which_are_escaped() {
        let source = Source::new(SourceKind::Unix, "/a\"b\\c\nd".to_owned());
        source.count(5);
        source.drop_many(Dropped::Malformed, 3, || "a test");
        let mut page = Page::default();
        write_sources(&mut page, [&source].into_iter());
        let labels = "kind=\"unix\",source=\"/a\\\"b\\\\c\\nd\"";
        for line in [
            "# TYPE ringwire_source_published_total counter\n".to_owned(),
            format!("ringwire_source_published_total{{{labels}}} 1\n"),
            format!("ringwire_source_bytes_total{{{labels}}} 5\n"),
            format!("ringwire_source_dropped_total{{{labels},why=\"malformed\"}} 3\n"),
        ] {
            assert!(page.0.contains(&line), "{line}: {}", page.0);
        }
    }
}
