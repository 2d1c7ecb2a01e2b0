//! A recorded market: its topics, instants and lengths. The messages themselves are stamped ones of the same lengths.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::check_payload_bytes;
use crate::payload::stamp::PAYLOAD_BYTES_MIN;
use crate::pubsub::{Action, What};

/// What a recording takes at least from its end to its beginning, when it is replayed again and again.
const PAUSE: Duration = Duration::from_millis(100);

/// A recording.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) topics: Vec<String>,
    events: Vec<Event>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Event {
    at: Duration,
    topic: usize,
    bytes: usize,
}

impl Trace {
    /// Reads a file, a line `{"ts":nanoseconds,"topic":"..","data":..}` for each message.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let fault = |reason: String| format!("--trace {}: {reason}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
        Self::parse(&text).map_err(fault)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut trace = Self { topics: Vec::new(), events: Vec::new() };
        let mut first = None;
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let fault = |reason: &str| format!("line {}: {reason}", number + 1);
            let value: serde_json::Value = serde_json::from_str(line).map_err(|error| fault(&error.to_string()))?;
            let ts = value.get("ts").and_then(serde_json::Value::as_u64);
            let topic = value.get("topic").and_then(serde_json::Value::as_str);
            let (Some(ts), Some(topic), Some(data)) = (ts, topic, value.get("data")) else {
                return Err(fault("an object with `ts` (nanoseconds), `topic` and `data` is needed"));
            };
            let first = *first.get_or_insert(ts);
            let since = ts.checked_sub(first).ok_or_else(|| fault("`ts` is before the first line's"))?;
            let at = Duration::from_nanos(since);
            if trace.events.last().is_some_and(|event| event.at > at) {
                return Err(fault("`ts` is before the line's above"));
            }
            let topic = trace.topics.iter().position(|known| known == topic).unwrap_or_else(|| {
                trace.topics.push(topic.to_owned());
                trace.topics.len() - 1
            });
            // A stamp takes more than the shortest data.
            let bytes = data.to_string().len().max(PAYLOAD_BYTES_MIN);
            check_payload_bytes("`data`", bytes).map_err(|reason| fault(&reason))?;
            trace.events.push(Event { at, topic, bytes });
        }
        if trace.events.is_empty() { Err("it has no messages".to_owned()) } else { Ok(trace) }
    }

    pub(super) fn bytes_max(&self) -> usize {
        self.events.iter().map(|event| event.bytes).max().unwrap_or_default()
    }

    /// Its messages at so many times the speed, again and again. Flow n is topic n.
    pub(super) fn replay(this: Arc<Self>, speed: f64) -> impl Iterator<Item = Action> + Send {
        let span = this.events.last().map_or(Duration::ZERO, |event| event.at) + PAUSE;
        (0u32..).flat_map(move |round| {
            let trace = Arc::clone(&this);
            (0..trace.events.len()).map(move |nth| {
                let Event { at, topic, bytes } = trace.events[nth];
                let at = (span * round + at).div_f64(speed);
                Action { at, what: What::Publish { flow: topic, bytes } }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "{\"ts\":1000,\"topic\":\"a\",\"data\":{\"p\":\"012345678901234567890123456789012345678901234567890123456789\"}}\n\n{\"ts\":3000,\"topic\":\"b\",\"data\":[1,2]}\n";

    #[test]
    fn messages_keep_their_distances_topics_and_lengths_but_for_the_shortest() {
        let trace = Arc::new(Trace::parse(TEXT).unwrap());
        assert_eq!((&trace.topics[..], trace.bytes_max()), (&["a".to_owned(), "b".to_owned()][..], 68));
        let actions: Vec<Action> = Trace::replay(trace, 2.0).take(3).collect();
        let again = (Duration::from_nanos(2000) + PAUSE).div_f64(2.0);
        let action = |at: Duration, flow: usize, bytes: usize| Action { at, what: What::Publish { flow, bytes } };
        assert_eq!(
            actions,
            [action(Duration::ZERO, 0, 68), action(Duration::from_nanos(1000), 1, 44), action(again, 0, 68)]
        );
    }

    #[test]
    fn faults_name_their_line() {
        for (text, words) in [
            ("{\"ts\":1,\"topic\":\"a\"}", "line 1: an object with"),
            ("{\"ts\":5,\"topic\":\"a\",\"data\":1}\n{\"ts\":4,\"topic\":\"a\",\"data\":1}", "line 2: `ts` is before"),
            ("nonsense", "line 1: "),
            ("", "no messages"),
        ] {
            let fault = Trace::parse(text).unwrap_err();
            assert!(fault.contains(words), "{text}: {fault}");
        }
    }
}
