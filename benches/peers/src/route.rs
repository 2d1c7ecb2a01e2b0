//! What a connection is for, from the path it asks for; what is asked for under no known path is answered 404 here.
//!
//! The libraries' handshakes do not all let a server look at the path before they agree. So the head of the request is
//! read first, and given to the library again with the rest of the stream behind it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;
const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// What a connection is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// `/echo`: each message goes back.
    Echo,
    /// `/ws/TOPIC`: what is published to the topic.
    Subscribe(String),
    /// `/pub/TOPIC`: each message is published.
    Publish(String),
}

impl Purpose {
    fn of(path: &str) -> Option<Self> {
        if path == "/echo" {
            return Some(Self::Echo);
        }
        let topic = |prefix| path.strip_prefix(prefix).filter(|topic: &&str| !topic.is_empty()).map(str::to_owned);
        topic("/ws/").map(Self::Subscribe).or_else(|| topic("/pub/").map(Self::Publish))
    }
}

/// A stream some of whose bytes were read before.
#[derive(Debug)]
pub(crate) struct Rewound<S> {
    head: BytesMut,
    stream: S,
}

/// Reads a request's head and says what it asks for. `None` if that is nothing here, or there is no head.
pub(crate) async fn route<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
) -> io::Result<Option<(Purpose, Rewound<S>)>> {
    let mut head = BytesMut::with_capacity(1024);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > HEAD_BYTES_MAX || stream.read_buf(&mut head).await? == 0 {
            return Ok(None);
        }
    }
    let line = head[..].split(|&byte| byte == b'\r').next().and_then(|line| std::str::from_utf8(line).ok());
    let path = line.and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    match Purpose::of(path) {
        Some(purpose) => Ok(Some((purpose, Rewound { head, stream }))),
        None => {
            stream.write_all(NOT_FOUND).await?;
            stream.shutdown().await?;
            Ok(None)
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.head.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let count = self.head.len().min(buffer.remaining());
        buffer.put_slice(&self.head[..count]);
        self.head.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
