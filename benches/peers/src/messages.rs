//! The three purposes, for libraries whose sockets are a `Stream` and a `Sink` of messages.
//!
//! All that is there is answered before anything is flushed, so that what came in one read leaves in one write; that is
//! what `feed` is for.

use futures_util::{FutureExt, Sink, SinkExt, Stream, StreamExt};

use crate::topics::{Inbox, Topic, take};

/// A library's socket.
pub(crate) trait Socket<M, E>: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin {}
impl<M, E, S: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin> Socket<M, E> for S {}

/// Each message that `is_data` goes back.
pub(crate) async fn echo<M, E>(mut socket: impl Socket<M, E>, is_data: fn(&M) -> bool) -> Result<(), E> {
    loop {
        let next = match socket.next().now_or_never() {
            Some(next) => next,
            None => {
                socket.flush().await?;
                socket.next().await
            }
        };
        match next {
            Some(message) => {
                let message = message?;
                if is_data(&message) {
                    socket.feed(message).await?;
                }
            }
            None => return Ok(()),
        }
    }
}

/// Each message that `is_data` is published.
pub(crate) async fn publish<M, E>(
    mut socket: impl Socket<M, E>,
    is_data: fn(&M) -> bool,
    publish: impl Fn(M),
) -> Result<(), E> {
    while let Some(message) = socket.next().await {
        let message = message?;
        if is_data(&message) {
            publish(message);
        }
    }
    Ok(())
}

/// What comes into the inbox goes out; what comes in is read and dropped.
pub(crate) async fn subscribe<M, E>(mut socket: impl Socket<M, E>, mut inbox: impl Inbox<M> + Unpin) -> Result<(), E> {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            goes_on = take(&mut inbox, &mut batch) => {
                if !goes_on {
                    return Ok(());
                }
                for message in batch.drain(..) {
                    socket.feed(message).await?;
                }
                socket.flush().await?;
            }
            message = socket.next() => match message {
                Some(message) => drop(message?),
                None => return Ok(()),
            },
        }
    }
}

/// Both ends of a topic, for libraries without publishing of their own.
pub(crate) fn publish_to<M: Clone>(topic: std::sync::Arc<Topic<M>>) -> impl Fn(M) {
    move |message| topic.publish(&message)
}
