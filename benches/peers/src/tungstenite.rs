//! tokio-tungstenite, as its `echo-server` example has it; what is published is one message that all share, and several
//! are written at once.
//!
//! Each read clears the whole read buffer first, and each connection has one, so it is smaller than the 128 KiB of the
//! default: its documentation advises 4 KiB where much is not read.

use std::sync::OnceLock;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::messages;
use crate::route::Purpose;
use crate::topics::{Subscription, Topics};

pub(crate) async fn serve(purpose: Purpose, stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), Error> {
    static TOPICS: OnceLock<Topics<Message>> = OnceLock::new();
    let topics = TOPICS.get_or_init(Topics::new);
    let read_buffer_size = if matches!(purpose, Purpose::Subscribe(_)) { 4 << 10 } else { 16 << 10 };
    let config = WebSocketConfig::default().read_buffer_size(read_buffer_size);
    let socket = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await?;
    let is_data = |message: &Message| message.is_text() || message.is_binary();
    match purpose {
        Purpose::Echo => messages::echo(socket, is_data).await,
        Purpose::Subscribe(topic) => messages::subscribe(socket, Subscription::new(topics.topic(&topic))).await,
        Purpose::Publish(topic) => messages::publish(socket, is_data, messages::publish_to(topics.topic(&topic))).await,
    }
}
