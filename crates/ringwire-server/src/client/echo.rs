//! `ringwire echo`: each message back to the server, for suites that judge clients.

use std::time::Duration;

use ringwire_codec::Opcode;

use super::connect::connect;
use super::link::Progress;
use super::{interrupted, run};
use crate::cli::EchoConfig;
use crate::failure::Failure;

/// How long the server may take to end the connection once it is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Echoes until the server closes or a signal comes.
///
/// # Errors
/// If the connection could not be made or broke, or the server broke the protocol.
pub fn echo(config: &EchoConfig) -> Result<(), Failure> {
    run(async {
        let mut wire = connect(&config.url, &config.connect, None).await?;
        let mut interrupt = std::pin::pin!(interrupted()?);
        loop {
            let progress = tokio::select! {
                progress = wire.progress() => progress,
                () = &mut interrupt => {
                    wire.outbox().close(None, "");
                    wire.finish(CLOSE_TIMEOUT).await;
                    return Ok(());
                }
            };
            match progress {
                Ok(Progress::Received) => {
                    let closed = wire.messages(|message, outbox| {
                        let opcode = if message.is_text() { Opcode::Text } else { Opcode::Binary };
                        outbox.send(opcode, message.bytes());
                    });
                    if !matches!(closed, Ok(None)) {
                        wire.finish(CLOSE_TIMEOUT).await;
                        let rule = |rule| Failure::new(format!("the server breaks the protocol: {rule}"));
                        return closed.map(|_| ()).map_err(rule);
                    }
                }
                Ok(Progress::Sent) => {}
                Ok(Progress::EndOfStream) => return Err(Failure::new("the server is gone without a close")),
                Err(error) => return Err(Failure::new(format!("the connection broke: {error}"))),
            }
        }
    })
}
