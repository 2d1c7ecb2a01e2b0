//! fastwebsockets, behind hyper, as its `echo_server` example has it.

use std::convert::Infallible;

use fastwebsockets::{FragmentCollector, OpCode, WebSocketError, upgrade};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

pub(crate) async fn echo(stream: impl crate::Stream) {
    let service = service_fn(|mut request| async move {
        let (response, upgraded) = upgrade::upgrade(&mut request).expect("our own client upgrades");
        tokio::spawn(tokio::task::unconstrained(messages(upgraded)));
        Ok::<_, Infallible>(response)
    });
    // Its end is the connection's.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

async fn messages(upgraded: upgrade::UpgradeFut) -> Result<(), WebSocketError> {
    let mut socket = FragmentCollector::new(upgraded.await?);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}
