//! Where connections go: paths made of the target's own.

use std::fmt::Write as _;

use crate::target::{Protocol, Target};

/// What stands for a topic in texts and paths.
pub(super) const TOPIC: &str = "{topic}";

/// A topic's path in a folder below the target's own path, in front of the target's query.
pub(super) fn below(base: &Target, folder: &str, topic: &str) -> Result<Target, String> {
    let (path, query) = split(base)?;
    let mut target = format!("{}{folder}", path.trim_end_matches('/'));
    percent_encode(&mut target, topic);
    base.at_path(&(target + query))
}

/// The path at which a protocol is spoken, below the target's own; or the target's own, if it ends with that.
pub(super) fn at_endpoint(base: &Target, endpoint: &str) -> Result<Target, String> {
    let (path, query) = split(base)?;
    let path = path.trim_end_matches('/');
    match path.ends_with(endpoint.trim_end_matches('/')) {
        true => base.at_path(&format!("{path}{}{query}", if endpoint.ends_with('/') { "/" } else { "" })),
        false => base.at_path(&format!("{path}{endpoint}{query}")),
    }
}

/// The target with more behind its query.
pub(super) fn with_query(base: &Target, query: &str) -> Result<Target, String> {
    let (path, own) = split(base)?;
    base.at_path(&format!("{path}{own}{}{query}", if own.is_empty() { '?' } else { '&' }))
}

/// The target with a topic where its path or query says `{topic}`.
pub(super) fn at_topic(base: &Target, topic: &str) -> Result<Target, String> {
    let mut encoded = String::new();
    percent_encode(&mut encoded, topic);
    let (path, query) = split(base)?;
    base.at_path(&format!("{path}{query}").replace(TOPIC, &encoded))
}

/// Whether the target's path or query says `{topic}`.
pub(super) fn has_topic(base: &Target) -> bool {
    matches!(&base.protocol, Protocol::WebSocket(url) if url.target().contains(TOPIC))
}

/// Who we are, for protocols that say it in a message: the token that the opening handshake carries too (RFC 6750 §2.1).
pub(super) fn token(base: &Target) -> Option<&str> {
    let fields = base.wire.headers.iter().rev();
    let mut tokens = fields.filter(|(name, _)| name.eq_ignore_ascii_case("Authorization"));
    tokens.find_map(|(_, value)| value.strip_prefix("Bearer "))
}

/// Nothing, unless the target has no messages.
pub(super) fn require_websocket(base: &Target) -> Result<(), String> {
    split(base).map(drop)
}

/// The target's path, and its query with the question mark.
fn split(base: &Target) -> Result<(&str, &str), String> {
    let Protocol::WebSocket(url) = &base.protocol else {
        return Err(format!("{base}: topics need a ws:// or wss:// URL"));
    };
    Ok(url.target().split_at(url.target().find('?').unwrap_or(url.target().len())))
}

/// Appends a topic as one segment of a path (RFC 3986 §3.3).
fn percent_encode(out: &mut String, topic: &str) {
    for byte in topic.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        Target::parse(text).unwrap()
    }

    #[test]
    fn topics_lie_below_the_targets_path_and_before_its_query() {
        let url = |base: &str, topic| below(&target(base), "/ws/", topic).unwrap().to_string();
        assert_eq!(url("ws://127.0.0.1:9", "a"), "ws://127.0.0.1:9/ws/a");
        assert_eq!(url("ws://127.0.0.1:9/", "a"), "ws://127.0.0.1:9/ws/a");
        assert_eq!(url("ws://127.0.0.1:9/x/y?token=t", "a"), "ws://127.0.0.1:9/x/y/ws/a?token=t");
        assert_eq!(url("ws://127.0.0.1:9/", "a b/c?ж"), "ws://127.0.0.1:9/ws/a%20b%2Fc%3F%D0%B6");
    }

    #[test]
    fn an_endpoint_that_the_target_names_is_not_named_twice() {
        let url = |base: &str, endpoint| at_endpoint(&target(base), endpoint).unwrap().to_string();
        for base in ["ws://127.0.0.1:9", "ws://127.0.0.1:9/", "ws://127.0.0.1:9/connect", "ws://127.0.0.1:9/connect/"] {
            assert_eq!(url(base, "/connect"), "ws://127.0.0.1:9/connect");
        }
        for base in ["ws://127.0.0.1:9/a?b=c", "ws://127.0.0.1:9/a/socket.io?b=c"] {
            assert_eq!(url(base, "/socket.io/"), "ws://127.0.0.1:9/a/socket.io/?b=c");
        }
    }

    #[test]
    fn a_query_goes_behind_the_targets_own() {
        let url = |base: &str| with_query(&target(base), "c=d").unwrap().to_string();
        assert_eq!(
            (&*url("ws://127.0.0.1:9/a"), &*url("ws://127.0.0.1:9/a?b")),
            ("ws://127.0.0.1:9/a?c=d", "ws://127.0.0.1:9/a?b&c=d")
        );
    }

    #[test]
    fn a_topic_takes_its_place_in_the_targets_path_or_query() {
        let base = target("ws://127.0.0.1:9/{topic}/live?room={topic}");
        assert!(has_topic(&base) && !has_topic(&target("ws://127.0.0.1:9/topic")));
        assert_eq!(at_topic(&base, "a/b").unwrap().to_string(), "ws://127.0.0.1:9/a%2Fb/live?room=a%2Fb");
    }

    #[test]
    fn the_token_is_the_handshakes() {
        let mut base = target("ws://127.0.0.1:9");
        assert_eq!(token(&base), None);
        base.wire.add_header("Authorization: Basic x").unwrap();
        assert_eq!(token(&base), None);
        base.wire.add_token("a.b").unwrap();
        assert_eq!(token(&base), Some("a.b"));
    }

    #[test]
    fn raw_connections_have_no_paths() {
        let raw = target("tcp://127.0.0.1:9");
        for fault in
            [below(&raw, "/ws/", "a"), at_endpoint(&raw, "/connect"), with_query(&raw, "a"), at_topic(&raw, "a")]
        {
            assert!(fault.unwrap_err().contains("ws://"));
        }
    }
}
