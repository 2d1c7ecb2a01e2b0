//! `ringwire publish`: each line of standard input as a message.
//!
//! It ends once the server has answered the close, which it does after everything before it: so what was counted
//! has been published. Lines that are UTF-8 are text messages, others binary ones; empty lines are left out.
//!
//! With `--ndjson` each line is a publish of the native protocol ([`Requests`]), and what is counted has been acknowledged.

use std::time::Duration;

use ringwire_codec::CloseCode;
use ringwire_ring::Clock;
use tokio::io::{AsyncReadExt, Stdin, stdin};

use super::connect::connect;
use super::link::Progress;
use super::reporter::Reporter;
use super::requests::Requests;
use super::wire::{PeerClose, Wire};
use super::{interrupted, run};
use crate::cli::PublishConfig;
use crate::failure::Failure;
use crate::feed::lines::{LINE_BYTES_MAX, Lines};

/// How long nothing may move while the rest goes out and the server's answers are awaited.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// What is said then.
const NO_ANSWER: &str = "the server does not answer: not all messages may have been published (--ndjson is for a URL of \
                         /connect)";
/// Bytes waiting to be sent above which standard input is not read.
const OUTPUT_BYTES_HIGH: usize = 256 * 1024;
/// Bytes of one read of standard input.
const CHUNK_BYTES: usize = 64 * 1024;

/// Publishes until standard input ends or a signal comes, and says how many messages that were.
///
/// # Errors
/// If the connection could not be made, broke, or was closed by the server.
pub fn publish(config: &PublishConfig) -> Result<(), Failure> {
    run(async {
        let wire = connect(&config.url, &config.connect, config.token.as_deref()).await?;
        let mut sender = Sender {
            wire,
            stdin: stdin(),
            chunk: vec![0; CHUNK_BYTES],
            lines: Lines::default(),
            requests: config.ndjson.then(Requests::default),
            reporter: Reporter::new(config.rate),
        };
        let result = async {
            sender.send_all().await?;
            sender.finish().await
        };
        let result = result.await;
        sender.verdict(result)
    })
}

struct Sender {
    wire: Wire,
    stdin: Stdin,
    chunk: Vec<u8>,
    lines: Lines,
    /// What the server is to acknowledge, with `--ndjson`.
    requests: Option<Requests>,
    reporter: Reporter,
}

impl Sender {
    /// Returns when standard input has ended and all of it is on its way, or a signal came.
    async fn send_all(&mut self) -> Result<(), Failure> {
        let mut interrupt = std::pin::pin!(interrupted()?);
        let mut has_ended = false;
        let clock = Clock::start();
        let mut moved = clock.now();
        loop {
            let is_all = self.send_lines()?;
            if is_all && has_ended {
                return Ok(());
            }
            let reads = is_all && !has_ended && self.wire.output_bytes() < OUTPUT_BYTES_HIGH;
            let patience = ANSWER_TIMEOUT.saturating_sub(clock.now().since(moved));
            tokio::select! {
                progress = self.wire.progress() => {
                    moved = clock.now();
                    if let Some(close) = self.receive(progress)? {
                        return Err(Failure::new(format!("{close}; {} messages were sent before, and not all of them \
                            may have been published", self.reporter.rate.messages)));
                    }
                }
                count = self.stdin.read(&mut self.chunk), if reads => {
                    let count = count.map_err(|error| Failure::new(format!("cannot read standard input: {error}")))?;
                    match count {
                        0 => self.lines.end(),
                        count => self.lines.push(&self.chunk[..count]),
                    }
                    has_ended = count == 0;
                }
                () = tokio::time::sleep(patience), if !is_all => return Err(Failure::new(NO_ANSWER)),
                () = self.reporter.due() => self.reporter.print(),
                () = &mut interrupt => return Ok(()),
            }
        }
    }

    /// Sends the lines that are there, as many as may be without an answer. Whether that was all.
    fn send_lines(&mut self) -> Result<bool, Failure> {
        let too_long = |_| Failure::new(format!("a line has at most {LINE_BYTES_MAX} bytes"));
        while self.requests.as_ref().is_none_or(Requests::has_room) {
            let Some(line) = self.lines.next_line().map_err(too_long)? else { return Ok(true) };
            let message = match &mut self.requests {
                Some(requests) => requests.request(&line),
                None => Some(line.bytes),
            };
            if let Some(message) = message {
                self.reporter.rate.count(line.bytes.len());
                self.wire.outbox().send_line(message);
            }
        }
        Ok(false)
    }

    /// Waits for the answers that are still to come, closes, and waits for the server's close.
    async fn finish(&mut self) -> Result<(), Failure> {
        loop {
            if self.requests.as_ref().is_none_or(|requests| requests.waiting == 0) {
                self.wire.outbox().close(Some(CloseCode::NORMAL), "");
            }
            let progress = tokio::time::timeout(ANSWER_TIMEOUT, self.wire.progress())
                .await
                .map_err(|_| Failure::new(NO_ANSWER))?;
            if let Some(close) = self.receive(progress)? {
                return close.verdict();
            }
        }
    }

    /// Heeds what has become of the connection: how the server closed, if it did.
    fn receive(&mut self, progress: std::io::Result<Progress>) -> Result<Option<PeerClose>, Failure> {
        match progress {
            Ok(Progress::Received) => {
                let Self { wire, requests, .. } = self;
                let mut fault = None;
                let closed = wire.messages(|message, _| {
                    let heard = match requests {
                        Some(requests) => requests.hear(message.bytes()),
                        None => Err(unexpected(message.bytes())),
                    };
                    fault = fault.take().or(heard.err());
                });
                let closed = closed.map_err(|rule| Failure::new(format!("the server breaks the protocol: {rule}")))?;
                fault.map_or(Ok(closed), |words| Err(Failure::new(words)))
            }
            Ok(Progress::Sent) => Ok(None),
            Ok(Progress::EndOfStream) => {
                Err(Failure::new("the server is gone: not all messages may have been published"))
            }
            Err(error) => {
                Err(Failure::new(format!("the connection broke: {error}; not all messages may have been published")))
            }
        }
    }

    /// Says how many messages were published, if that is known, and whether all went well.
    fn verdict(&self, result: Result<(), Failure>) -> Result<(), Failure> {
        let count = match &self.requests {
            Some(requests) => requests.published,
            None if result.is_err() => return result,
            None => self.reporter.rate.messages,
        };
        eprintln!("ringwire: published {count} {}", if count == 1 { "message" } else { "messages" });
        result?;
        match self.requests.as_ref().map_or(0, |requests| requests.refused) {
            0 => Ok(()),
            1 => Err(Failure::new("1 line was not published")),
            refused => Err(Failure::new(format!("{refused} lines were not published"))),
        }
    }
}

/// What is to be said of a server that sends messages, as none does to a publisher.
fn unexpected(message: &[u8]) -> String {
    let start = String::from_utf8_lossy(&message[..message.len().min(200)]);
    format!(
        "the server says {start}: what was sent may not have been published; lines as they are go to a URL of \
         /pub/<topic>, and with --ndjson to one of /connect"
    )
}
