//! `ringwire subscribe`: each message as a line on standard output.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::time::Duration;

use ringwire_codec::CloseCode;

use super::connect::connect;
use super::link::Progress;
use super::reporter::Reporter;
use super::wire::Wire;
use super::{interrupted, run};
use crate::cli::SubscribeConfig;
use crate::failure::Failure;

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
        let wire = connect(&config.url, &config.connect, None).await?;
        let printer = Printer {
            out: BufWriter::with_capacity(OUTPUT_BYTES, io::stdout()),
            reporter: Reporter::new(config.rate),
            left: config.count.unwrap_or(u64::MAX),
            is_quiet: config.quiet,
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

/// Writes lines until it has had enough of them, or its reader has.
struct Printer {
    out: BufWriter<io::Stdout>,
    reporter: Reporter,
    left: u64,
    is_quiet: bool,
    fault: Option<io::Error>,
}

impl Printer {
    fn print(&mut self, payload: &[u8]) {
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
