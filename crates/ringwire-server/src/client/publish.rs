//! `ringwire publish`: each line of standard input as a message.
//!
//! It ends once the server has answered the close, which it does after everything before it: so what was counted
//! has been published. Lines that are UTF-8 are text messages, others binary ones; empty lines are left out.

use std::time::Duration;

use ringwire_codec::CloseCode;
use tokio::io::{AsyncReadExt, Stdin, stdin};

use super::connect::connect;
use super::link::Progress;
use super::reporter::Reporter;
use super::wire::{PeerClose, Wire};
use super::{interrupted, run};
use crate::cli::PublishConfig;
use crate::failure::Failure;
use crate::feed::lines::{LINE_BYTES_MAX, Lines};

/// How long nothing may move while the rest goes out and the server's answer to the close is awaited.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
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
            reporter: Reporter::new(config.rate),
        };
        sender.send_all().await?;
        sender.finish().await?;
        let count = sender.reporter.rate.messages;
        eprintln!("ringwire: published {count} {}", if count == 1 { "message" } else { "messages" });
        Ok(())
    })
}

struct Sender {
    wire: Wire,
    stdin: Stdin,
    chunk: Vec<u8>,
    lines: Lines,
    reporter: Reporter,
}

impl Sender {
    /// Returns when standard input has ended, or a signal came.
    async fn send_all(&mut self) -> Result<(), Failure> {
        let mut interrupt = std::pin::pin!(interrupted()?);
        loop {
            let has_room = self.wire.output_bytes() < OUTPUT_BYTES_HIGH;
            tokio::select! {
                progress = self.wire.progress() => {
                    if let Some(close) = received(&mut self.wire, progress)? {
                        return Err(Failure::new(format!("{close}; {} messages were sent before, and not all of them \
                            may have been published", self.reporter.rate.messages)));
                    }
                }
                count = self.stdin.read(&mut self.chunk), if has_room => {
                    let count = count.map_err(|error| Failure::new(format!("cannot read standard input: {error}")))?;
                    match count {
                        0 => self.lines.end(),
                        count => self.lines.push(&self.chunk[..count]),
                    }
                    self.send_lines()?;
                    if count == 0 {
                        return Ok(());
                    }
                }
                () = self.reporter.due() => self.reporter.print(),
                () = &mut interrupt => return Ok(()),
            }
        }
    }

    fn send_lines(&mut self) -> Result<(), Failure> {
        let too_long = |_| Failure::new(format!("a line has at most {LINE_BYTES_MAX} bytes"));
        while let Some(line) = self.lines.next_line().map_err(too_long)? {
            self.reporter.rate.count(line.bytes.len());
            self.wire.outbox().send_line(line.bytes);
        }
        Ok(())
    }

    /// Sends what is left, closes, and waits for the server's answer.
    async fn finish(&mut self) -> Result<(), Failure> {
        self.wire.outbox().close(Some(CloseCode::NORMAL), "");
        loop {
            let progress = tokio::time::timeout(CLOSE_TIMEOUT, self.wire.progress())
                .await
                .map_err(|_| Failure::new("the server does not answer: not all messages may have been published"))?;
            if let Some(close) = received(&mut self.wire, progress)? {
                return close.verdict();
            }
        }
    }
}

/// What became of the connection: how the server closed, if it did.
fn received(wire: &mut Wire, progress: std::io::Result<Progress>) -> Result<Option<PeerClose>, Failure> {
    match progress {
        Ok(Progress::Received) => {
            wire.messages(|_, _| ()).map_err(|rule| Failure::new(format!("the server breaks the protocol: {rule}")))
        }
        Ok(Progress::Sent) => Ok(None),
        Ok(Progress::EndOfStream) => Err(Failure::new("the server is gone: not all messages may have been published")),
        Err(error) => {
            Err(Failure::new(format!("the connection broke: {error}; not all messages may have been published")))
        }
    }
}
