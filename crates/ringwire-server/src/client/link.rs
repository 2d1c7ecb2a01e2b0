//! A client's socket: bytes in, bytes out, whatever is between them and the network.
//!
//! [`Link::progress`] waits for whatever the socket can do next, receive or send. It may be dropped at any moment
//! without losing a byte, so a client waits for it beside signals, timers and standard input.

use std::io::{self, ErrorKind};

use ringwire_codec::handshake::Url;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Room for one read.
const INPUT_BYTES: usize = 256 * 1024;

/// A connected socket.
#[derive(Debug)]
pub(super) struct Link {
    stream: TcpStream,
    output: Vec<u8>,
    /// Bytes of `output` that have gone out.
    sent: usize,
}

/// What the socket did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Bytes came.
    Received,
    /// Some of the output went out.
    Sent,
    /// The peer will send nothing more.
    EndOfStream,
}

impl Link {
    /// Connects to the host of `url`. No proxy is asked.
    pub(super) async fn connect(url: &Url) -> io::Result<Self> {
        let stream = TcpStream::connect((url.host(), url.port())).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, output: Vec::new(), sent: 0 })
    }

    /// Puts bytes behind the output.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Bytes that wait to be sent.
    pub(super) fn output_bytes(&self) -> usize {
        self.output.len() - self.sent
    }

    /// Waits for the socket to receive, behind what `input` holds, or to take some of the output. Cancel safe.
    pub(super) async fn progress(&mut self, input: &mut Vec<u8>) -> io::Result<Progress> {
        let waits = if self.output_bytes() > 0 { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        loop {
            let ready = self.stream.ready(waits).await?;
            let (can_read, can_write) = (ready.is_readable() || ready.is_read_closed(), ready.is_writable());
            if can_read && let Some(progress) = self.receive(input)? {
                return Ok(progress);
            }
            if can_write && self.transmit()? {
                return Ok(Progress::Sent);
            }
        }
    }

    fn receive(&mut self, input: &mut Vec<u8>) -> io::Result<Option<Progress>> {
        input.reserve(INPUT_BYTES);
        match self.stream.try_read_buf(input) {
            Ok(0) => Ok(Some(Progress::EndOfStream)),
            Ok(_) => Ok(Some(Progress::Received)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn transmit(&mut self) -> io::Result<bool> {
        match self.stream.try_write(&self.output[self.sent..]) {
            Ok(count) => self.sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        if self.sent == self.output.len() {
            self.output.clear();
            self.sent = 0;
        }
        Ok(true)
    }
}
