//! tokio-websockets, with the limits that its `echo_server` example sets: messages are never split into frames. Its
//! unmasking picks AVX2 or AVX-512 by itself. It flushes before each read, so an echo's stream is
//! [corked](crate::corked).

use std::sync::OnceLock;

use ::tokio_websockets::{Config, Error, Limits, Message, ServerBuilder};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::corked::Corked;
use crate::messages;
use crate::route::Purpose;
use crate::topics::{Subscription, Topics};

pub(crate) async fn serve(purpose: Purpose, stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), Error> {
    static TOPICS: OnceLock<Topics<Message>> = OnceLock::new();
    let topics = TOPICS.get_or_init(Topics::new);
    let builder = ServerBuilder::new().config(Config::default().frame_size(usize::MAX)).limits(Limits::unlimited());
    let is_data = |message: &Message| message.is_text() || message.is_binary();
    match purpose {
        Purpose::Echo => {
            let (_request, socket) = builder.accept(Corked::new(stream)).await?;
            messages::echo(socket, is_data).await
        }
        Purpose::Subscribe(topic) => {
            let (_request, socket) = builder.accept(stream).await?;
            messages::subscribe(socket, Subscription::new(topics.topic(&topic))).await
        }
        Purpose::Publish(topic) => {
            let (_request, socket) = builder.accept(stream).await?;
            messages::publish(socket, is_data, messages::publish_to(topics.topic(&topic))).await
        }
    }
}
