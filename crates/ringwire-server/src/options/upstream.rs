//! `[[upstream]]`: WebSocket servers that this one is a client of, and what becomes of their messages.

use std::path::PathBuf;
use std::time::Duration;

use ringwire_codec::handshake::Url;
use toml::Value;

use crate::config::Section;
use crate::ingest::mapping::{Mapping, Pointer, Template};

/// Most upstream servers.
pub const UPSTREAMS_MAX: usize = 64;

/// A server that this one is a client of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamOptions {
    /// Where it is.
    pub url: String,
    /// What it is sent first, a text message each.
    pub subscribe: Vec<String>,
    /// What the handshake says besides, as `Name: value`.
    pub headers: Vec<String>,
    /// Subprotocols to offer.
    pub subprotocols: Vec<String>,
    /// Whom to trust, with `wss://`; by default those whom the system trusts.
    pub authorities: Option<PathBuf>,
    /// What its messages are.
    pub mapping: Mapping,
    /// Most topics that its messages may name.
    pub topics_max: usize,
    /// After so long without a sign of life the connection is given up.
    pub silence: Duration,
}

/// Reads all `[[upstream]]`.
pub(super) fn upstream(root: &mut Section<'_>) -> Vec<UpstreamOptions> {
    let all = root.optional_sections("upstream", one);
    if all.len() > UPSTREAMS_MAX {
        root.fault("upstream", &format!("{} are too many: at most {UPSTREAMS_MAX} are read", all.len()));
    }
    all.into_iter().flatten().collect()
}

/// Reads one; nothing, if what it cannot do without is missing or wrong, which has been reported.
fn one(section: &mut Section<'_>) -> Option<UpstreamOptions> {
    if !section.has("url") {
        section.fault("url", "this is needed, as in url = \"wss://stream.example.com/ws\"");
    }
    let url = section
        .optional_text("url", |text| Url::parse(text).map(|_| text.to_owned()).map_err(|fault| fault.to_string()));
    let subscribe = texts(section, "subscribe");
    let headers = section.secret_texts("headers");
    let subprotocols = texts(section, "subprotocols");
    let authorities = section.optional_text("ca", |text| Ok(PathBuf::from(text)));
    let (has_topic, has_topic_at) = (section.has("topic"), section.has("topic_at"));
    let topic = section.optional_text("topic", Template::parse);
    let topic_at = pointer(section, "topic_at").map(Template::from);
    if has_topic == has_topic_at {
        section.fault("topic", "either topic = \"quotes.{/s}\" or topic_at = \"/stream\" is needed");
    }
    let (key, data, seq) = (pointer(section, "key_at"), pointer(section, "data_at"), pointer(section, "seq_at"));
    let topics_max = section.number("topics_max", 10_000, 1..=1_000_000);
    let silence = section.millis("silence_timeout_ms", Duration::from_secs(60), Duration::from_millis(1));
    let mapping = Mapping { topic: topic.or(topic_at)?, key, data, seq };
    Some(UpstreamOptions { url: url?, subscribe, headers, subprotocols, authorities, mapping, topics_max, silence })
}

fn pointer(section: &mut Section<'_>, key: &str) -> Option<Pointer> {
    section.optional_text(key, Pointer::parse)
}

fn texts(section: &mut Section<'_>, key: &str) -> Vec<String> {
    section.any(key, Value::Array(Vec::new()), list)
}

/// A list of texts.
fn list(value: &Value) -> Result<Vec<String>, String> {
    let words = || "a list of texts is needed, each in quotes".to_owned();
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(words);
    value.as_array().ok_or_else(words)?.iter().map(text).collect()
}
