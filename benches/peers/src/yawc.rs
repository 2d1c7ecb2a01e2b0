//! yawc, behind hyper, as its documentation has it: an echo only, for permessage-deflate.

use std::convert::Infallible;

use ::yawc::{CompressionLevel, OpCode, Options, WebSocket};
use futures_util::{SinkExt, StreamExt};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

pub(crate) async fn echo(stream: impl crate::Stream, deflate: bool) {
    let service = service_fn(move |mut request| async move {
        let options = if deflate {
            let level = Options::default().with_compression_level(CompressionLevel::fast());
            // Without sizes its answer names client_max_window_bits without a value, which no answer may (RFC 7692 §7.1.2.2).
            let windows = level.with_server_max_window_bits(15).with_client_max_window_bits(15);
            windows.server_no_context_takeover().client_no_context_takeover()
        } else {
            Options::default()
        };
        let (response, upgraded) =
            WebSocket::upgrade_with_options(&mut request, options).expect("our own client upgrades");
        tokio::spawn(async move {
            let Ok(mut socket) = upgraded.await else { return };
            while let Some(frame) = socket.next().await {
                if matches!(frame.opcode(), OpCode::Text | OpCode::Binary) && socket.send(frame).await.is_err() {
                    return;
                }
            }
        });
        Ok::<_, Infallible>(response)
    });
    // Its end is the connection's.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}
