//! tokio-tungstenite, as its `echo-server` example has it.

use futures_util::{SinkExt, StreamExt};

pub(crate) async fn echo(stream: impl crate::Stream) {
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
}
