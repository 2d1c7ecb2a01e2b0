//! fastwebsockets, behind hyper, as its `echo_server` example has it.
//!
//! The library writes each frame by itself. So an echo's stream is [corked](crate::corked), and what is published is
//! made into a frame once, whose bytes all subscribers share and write together with what else waits for them.

use std::convert::Infallible;
use std::future::ready;
use std::sync::OnceLock;

use ::fastwebsockets::{FragmentCollector, FragmentCollectorRead, Frame, OpCode, Role, WebSocket, WebSocketError};
use ::fastwebsockets::{after_handshake_split, upgrade};
use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::corked::Corked;
use crate::route::Purpose;
use crate::topics::{Subscription, Topic, Topics, take};

pub(crate) async fn serve(purpose: Purpose, stream: impl crate::Stream) {
    let service = service_fn(move |mut request| {
        let answer = upgrade::upgrade(&mut request);
        let purpose = purpose.clone();
        async move {
            let (response, upgraded) = answer?;
            tokio::spawn(tokio::task::unconstrained(async move {
                let stream = upgraded.await?.into_inner();
                messages(purpose, stream).await
            }));
            Ok::<_, WebSocketError>(response)
        }
    });
    // Its end is the connection's.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

async fn messages(purpose: Purpose, stream: TokioIo<Upgraded>) -> Result<(), WebSocketError> {
    static TOPICS: OnceLock<Topics<Bytes>> = OnceLock::new();
    let topics = TOPICS.get_or_init(Topics::new);
    match purpose {
        Purpose::Echo => echo(Corked::new(stream)).await,
        Purpose::Subscribe(topic) => subscribe(stream, Subscription::new(topics.topic(&topic))).await,
        Purpose::Publish(topic) => publish(stream, &topics.topic(&topic)).await,
    }
}

async fn echo(stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), WebSocketError> {
    let mut socket = FragmentCollector::new(WebSocket::after_handshake(stream, Role::Server));
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => {
                socket.into_inner().shutdown().await?;
                return Ok(());
            }
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}

async fn publish(stream: impl AsyncRead + AsyncWrite + Unpin, topic: &Topic<Bytes>) -> Result<(), WebSocketError> {
    let mut socket = FragmentCollector::new(WebSocket::after_handshake(stream, Role::Server));
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => topic.publish(&bytes_of(frame)),
            _ => {}
        }
    }
}

/// What is read is dropped; what answers it (pongs, the close) waits with what is published, and is written with it.
async fn subscribe(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    mut subscription: Subscription<Bytes>,
) -> Result<(), WebSocketError> {
    let (read, mut write) = tokio::io::split(stream);
    // The library's writing half is not used: what is written are frames already.
    let (read, _) = after_handshake_split(read, tokio::io::sink(), Role::Server);
    let mut read = FragmentCollectorRead::new(read);
    let answers = subscription.mailbox();
    let reading = async {
        let mut answer = |frame: Frame<'_>| {
            answers.put(bytes_of(frame));
            ready(Ok::<_, Infallible>(()))
        };
        while read.read_frame(&mut answer).await?.opcode != OpCode::Close {}
        Ok::<_, WebSocketError>(())
    };
    tokio::pin!(reading);
    let (mut batch, mut together, mut is_closing) = (Vec::new(), Vec::new(), false);
    loop {
        tokio::select! {
            biased;
            goes_on = take(&mut subscription, &mut batch) => {
                if !goes_on {
                    return Ok(());
                }
                together.clear();
                batch.drain(..).for_each(|frame| together.extend_from_slice(&frame));
                write.write_all(&together).await?;
                write.flush().await?;
                if is_closing {
                    write.shutdown().await?;
                    return Ok(());
                }
            }
            read = &mut reading, if !is_closing => {
                read?;
                is_closing = true;
            }
        }
    }
}

/// A frame as it is sent.
fn bytes_of(mut frame: Frame<'_>) -> Bytes {
    let mut buffer = Vec::new();
    let length = frame.write(&mut buffer).len();
    buffer.truncate(length);
    Bytes::from(buffer)
}
