//! `ringwire record`: what is published, as binary records with their times, into a file that `--feed` plays.
//!
//! It subscribes over the native protocol in records (`ringwire.bin.1` at `/connect`), and writes each entry as it came,
//! behind the time at which it came; skips and gaps too, so that the file says what is not in it. The file is written
//! after each read of the socket, so what an interrupt leaves is whole.

use std::borrow::Cow;
use std::fs::File;
use std::io::Write;
use std::time::Duration;

use ringwire_codec::{CloseCode, Message, Opcode};
use ringwire_hub::TopicName;
use ringwire_ring::wall_clock_us;
use serde::Deserialize;

use super::connect::connect;
use super::link::Progress;
use super::reporter::Reporter;
use super::wire::Wire;
use super::{interrupted, run};
use crate::cli::RecordConfig;
use crate::failure::Failure;
use crate::feed::recording::RecordingWriter;
use crate::json;
use crate::native::record::{Record, RecordKind, records};

/// How long the server may take to answer our close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The subprotocol of records.
const SUBPROTOCOL: &str = "ringwire.bin.1";

/// Records until the count is reached, the server closes, or a signal comes.
///
/// # Errors
/// If the file cannot be written, the server does not let it subscribe, or the connection breaks.
pub fn record(config: &RecordConfig) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("--to {}: {error}", config.to.display()));
    let file = File::create_new(&config.to).map_err(failed)?;
    let connect_flags =
        crate::cli::ConnectFlags { subprotocol: vec![SUBPROTOCOL.to_owned()], ..config.connect.clone() };
    let recorder = Recorder {
        file,
        writer: RecordingWriter::default(),
        out: Vec::new(),
        left: config.count.unwrap_or(u64::MAX),
        reporter: Reporter::new(config.rate),
        fault: None,
    };
    run(async {
        let mut wire = connect(&config.url, &connect_flags, None).await?;
        let mut request = Vec::new();
        Record::control(&subscription(&config.topics)).append_to(&mut request);
        wire.outbox().send(Opcode::Binary, &request);
        receive(wire, recorder, &failed).await
    })
}

/// The request to subscribe to these patterns.
fn subscription(topics: &[String]) -> Vec<u8> {
    let mut request = b"{\"id\":1,\"method\":\"subscribe\",\"params\":{\"topics\":[".to_vec();
    for (nth, topic) in topics.iter().enumerate() {
        if nth > 0 {
            request.push(b',');
        }
        json::write_string(&mut request, topic);
    }
    request.extend_from_slice(b"]}}");
    request
}

async fn receive(
    mut wire: Wire,
    mut recorder: Recorder,
    failed: &impl Fn(std::io::Error) -> Failure,
) -> Result<(), Failure> {
    let mut interrupt = std::pin::pin!(interrupted()?);
    while recorder.left > 0 {
        tokio::select! {
            progress = wire.progress() => match progress {
                Ok(Progress::Received) => {
                    let at_ns = wall_clock_us() * 1000;
                    let closed = wire.messages(|message, _| recorder.take(at_ns, message));
                    recorder.flush().map_err(failed)?;
                    if let Some(fault) = recorder.fault.take() {
                        return Err(Failure::new(fault));
                    }
                    if !matches!(closed, Ok(None)) {
                        wire.finish(CLOSE_TIMEOUT).await;
                    }
                    let closed = closed.map_err(|rule| Failure::new(format!("the server breaks the protocol: {rule}")))?;
                    if let Some(close) = closed {
                        return close.verdict();
                    }
                }
                Ok(Progress::Sent) => {}
                Ok(Progress::EndOfStream) => return Err(Failure::new("the server is gone: the stream ended without a close")),
                Err(error) => return Err(Failure::new(format!("the connection broke: {error}"))),
            },
            () = recorder.reporter.due() => recorder.reporter.print(),
            () = &mut interrupt => break,
        }
    }
    wire.outbox().close(Some(CloseCode::NORMAL), "");
    wire.finish(CLOSE_TIMEOUT).await;
    Ok(())
}

/// Writes what comes.
struct Recorder {
    file: File,
    writer: RecordingWriter,
    out: Vec<u8>,
    left: u64,
    reporter: Reporter,
    fault: Option<String>,
}

/// What the server says apart from entries.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    result: Option<Vec<About<'a>>>,
    #[serde(borrow)]
    error: Option<Fault<'a>>,
    #[serde(flatten, borrow)]
    about: About<'a>,
}

/// A topic and its number.
#[derive(Deserialize)]
struct About<'a> {
    #[serde(borrow)]
    topic: Option<Cow<'a, str>>,
    id: Option<u32>,
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error: Option<Fault<'a>>,
}

#[derive(Deserialize)]
struct Fault<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
}

impl Recorder {
    fn take(&mut self, at_ns: u64, message: &Message<'_>) {
        for record in records(message.bytes()) {
            match record {
                Ok(record) if record.kind == RecordKind::Control => self.hear(at_ns, record.payload),
                Ok(record) if self.left > 0 => {
                    if !self.writer.write(&mut self.out, at_ns, &record) {
                        self.fault = Some(format!("the server sent an entry of topic {}, unnamed", record.topic));
                    }
                    if matches!(record.kind, RecordKind::Message | RecordKind::Update | RecordKind::Remove) {
                        self.left -= 1;
                        self.reporter.rate.count(record.payload.len());
                    }
                }
                Ok(_) => {}
                Err(fault) => self.fault = Some(format!("the server breaks the protocol: {fault}")),
            }
        }
    }

    /// Takes note of what topics' numbers are, and of refusals.
    fn hear(&mut self, at_ns: u64, json: &[u8]) {
        let mut json = json.to_vec();
        let Ok(said) = simd_json::from_slice::<Said<'_>>(&mut json) else { return };
        let Said { result, error, about } = said;
        let mut refused = error.map(|fault| fault.message.into_owned());
        let is_subscribed = about.kind.as_deref() == Some("subscribed");
        for about in result.into_iter().flatten().chain(is_subscribed.then_some(about)) {
            if let (Some(topic), Some(id)) = (&about.topic, about.id)
                && let Ok(topic) = TopicName::new(topic)
            {
                self.writer.bind(&mut self.out, at_ns, id, &topic);
            }
            if let (Some(topic), Some(fault)) = (about.topic, about.error) {
                refused = Some(format!("{topic}: {}", fault.message));
            }
        }
        if let Some(words) = refused {
            self.fault = Some(format!("the server refuses: {words}"));
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let result = self.file.write_all(&self.out);
        self.out.clear();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_asked_for_as_they_are_written() {
        let request = subscription(&["book.>".to_owned(), "a\"b".to_owned()]);
        let expected = r#"{"id":1,"method":"subscribe","params":{"topics":["book.>","a\"b"]}}"#;
        assert_eq!(String::from_utf8(request).unwrap(), expected);
    }
}
