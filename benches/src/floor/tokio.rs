//! Raw TCP echo on tokio-uring: a task per connection that reads and writes in turn, as its own examples do.

use std::io;
use std::net::SocketAddr;

use tokio_uring::net::{TcpListener, TcpStream};

use super::RECEIVE_BYTES;

/// Echoes for ever on `address`. `announce` is told which address that is.
///
/// # Errors
/// If the address is not free, or the runtime breaks down.
pub fn run(address: SocketAddr, announce: impl FnOnce(SocketAddr)) -> io::Result<()> {
    // Completions interrupt nobody: the one flag of the engine's that tokio-uring's runtime works with, since its
    // loop sleeps in epoll and not in io_uring_enter, which is where deferred work would run.
    let mut uring = tokio_uring::uring_builder();
    uring.setup_coop_taskrun();
    tokio_uring::builder().entries(1024).uring_builder(&uring).start(async {
        let listener = TcpListener::bind(address)?;
        announce(listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio_uring::spawn(async move {
                // The peer's end of the connection is the echo's.
                let _ = echo(&stream).await;
            });
        }
    })
}

async fn echo(stream: &TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; RECEIVE_BYTES];
    loop {
        let (received, filled) = stream.read(buffer).await;
        let received = received?;
        if received == 0 {
            return Ok(());
        }
        let (sent, slice) = stream.write_all(tokio_uring::buf::BoundedBuf::slice(filled, ..received)).await;
        sent?;
        buffer = slice.into_inner();
    }
}
