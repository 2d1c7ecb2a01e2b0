//! `ringwire subscribe`: each message as a line on standard output.
//!
//! With topics it speaks the native protocol: what is pushed is printed, but for heartbeats, and a topic that may not be
//! subscribed to is told on standard error.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::time::Duration;

use ringwire_codec::CloseCode;
use simd_json::OwnedValue;
use simd_json::prelude::*;

use super::connect::connect;
use super::link::Progress;
use super::reporter::Reporter;
use super::wire::Wire;
use super::{interrupted, run};
use crate::cli::SubscribeConfig;
use crate::failure::Failure;
use crate::json::write_string;

/// How long the server may take to answer our close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes that are gathered before they are written; what was received is always written before more is waited for.
const OUTPUT_BYTES: usize = 256 * 1024;

/// Prints messages until the count is reached, the server closes, or a signal comes.
///
/// # Errors
/// If the connection could not be made, broke, or was closed by the server for another reason than that all is well.
pub fn subscribe(config: &SubscribeConfig) -> Result<(), Failure> {
    run(async {
        let mut wire = connect(&config.url, &config.connect, None).await?;
        if !config.topic.is_empty() {
            wire.outbox().send_line(&request(config));
        }
        let printer = Printer {
            out: BufWriter::with_capacity(OUTPUT_BYTES, io::stdout()),
            reporter: Reporter::new(config.rate),
            left: config.count.unwrap_or(u64::MAX),
            is_quiet: config.quiet,
            is_native: !config.topic.is_empty(),
            refusal: None,
            fault: None,
        };
        receive(wire, printer).await
    })
}

async fn receive(mut wire: Wire, mut printer: Printer) -> Result<(), Failure> {
    let mut interrupt = std::pin::pin!(interrupted()?);
    while !printer.is_done() {
        tokio::select! {
            progress = wire.progress() => match progress {
                Ok(Progress::Received) => {
                    let closed = wire.messages(|message, _| printer.print(message.bytes()));
                    printer.flush();
                    if let Some(words) = printer.refusal.take() {
                        return Err(Failure::new(words));
                    }
                    if !matches!(closed, Ok(None)) {
                        wire.finish(CLOSE_TIMEOUT).await;
                    }
                    let closed = closed.map_err(|rule| Failure::new(format!("the server breaks the protocol: {rule}")))?;
                    if let Some(close) = closed {
                        printer.fault_of_output()?;
                        return if printer.is_done() { Ok(()) } else { close.verdict() };
                    }
                }
                Ok(Progress::Sent) => {}
                Ok(Progress::EndOfStream) => return Err(Failure::new("the server is gone: the stream ended without a close")),
                Err(error) => return Err(Failure::new(format!("the connection broke: {error}"))),
            },
            () = printer.reporter.due() => printer.reporter.print(),
            () = &mut interrupt => break,
        }
    }
    wire.outbox().close(Some(CloseCode::NORMAL), "");
    wire.finish(CLOSE_TIMEOUT).await;
    printer.fault_of_output()
}

/// What the answer to the request begins with.
const ANSWER: &[u8] = b"{\"id\":1,";
/// What a heartbeat begins with.
const HEARTBEAT: &[u8] = b"{\"type\":\"heartbeat\"";

/// The request to subscribe.
fn request(config: &SubscribeConfig) -> Vec<u8> {
    let mut out = b"{\"id\":1,\"method\":\"subscribe\",\"params\":{\"topics\":".to_vec();
    for (nth, topic) in config.topic.iter().enumerate() {
        out.push(if nth == 0 { b'[' } else { b',' });
        write_string(&mut out, topic);
    }
    out.push(b']');
    if config.latest {
        out.extend_from_slice(b",\"mode\":\"latest\"");
    }
    if let Some(history) = config.history {
        out.extend_from_slice(format!(",\"history\":{history}").as_bytes());
    }
    out.extend_from_slice(b"}}");
    out
}

/// Tells of each topic that is refused. If all are, or the request is, the words for it.
fn refusal(answer: &[u8]) -> Option<String> {
    let answer = simd_json::to_owned_value(&mut answer.to_vec()).ok()?;
    let words = |value: &OwnedValue| value.get("error")?.get_str("message").map(str::to_owned);
    if let Some(words) = words(&answer) {
        return Some(format!("the server refuses: {words}"));
    }
    let topics = answer.get_array("result")?;
    let refused: Vec<String> = topics.iter().filter_map(words).collect();
    if refused.len() == topics.len() {
        return Some(format!("the server refuses: {}", refused.join("; ")));
    }
    refused.iter().for_each(|words| eprintln!("ringwire: the server refuses: {words}"));
    None
}

/// Writes lines until it has had enough of them, or its reader has.
struct Printer {
    out: BufWriter<io::Stdout>,
    reporter: Reporter,
    left: u64,
    is_quiet: bool,
    /// The server speaks the native protocol.
    is_native: bool,
    /// Why nothing will come.
    refusal: Option<String>,
    fault: Option<io::Error>,
}

impl Printer {
    fn print(&mut self, payload: &[u8]) {
        if !self.is_native {
            return self.print_line(payload);
        }
        // Several objects of the native protocol may come in one message.
        for line in payload.split(|byte| *byte == b'\n') {
            if self.is_push(line) {
                self.print_line(line);
            }
        }
    }

    fn print_line(&mut self, payload: &[u8]) {
        if self.is_done() {
            return;
        }
        self.left -= 1;
        self.reporter.rate.count(payload.len());
        if !self.is_quiet {
            let result = self.out.write_all(payload).and_then(|()| self.out.write_all(b"\n"));
            self.fault = result.err();
        }
    }

    /// Whether an object of the native protocol is to be printed; what is answered is heeded here.
    fn is_push(&mut self, object: &[u8]) -> bool {
        if object.starts_with(ANSWER) {
            self.refusal = refusal(object);
        }
        !object.starts_with(ANSWER) && !object.starts_with(HEARTBEAT)
    }

    fn flush(&mut self) {
        if self.fault.is_none() {
            self.fault = self.out.flush().err();
        }
    }

    fn is_done(&self) -> bool {
        self.left == 0 || self.fault.is_some()
    }

    /// That the reader of a pipe has gone is no fault of ours.
    fn fault_of_output(&self) -> Result<(), Failure> {
        match &self.fault {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Failure::new(format!("cannot write to standard output: {error}")))
            }
            _ => Ok(()),
        }
    }
}
