//! tokio-tungstenite, as its `echo-server` example has it; what is published is one message that all share, and several
//! are written at once.

use std::sync::OnceLock;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::messages;
use crate::route::Purpose;
use crate::topics::{Subscription, Topics};

pub(crate) async fn serve(purpose: Purpose, stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), Error> {
    static TOPICS: OnceLock<Topics<Message>> = OnceLock::new();
    let topics = TOPICS.get_or_init(Topics::new);
    let socket = tokio_tungstenite::accept_async(stream).await?;
    let is_data = |message: &Message| message.is_text() || message.is_binary();
    match purpose {
        Purpose::Echo => messages::echo(socket, is_data).await,
        Purpose::Subscribe(topic) => messages::subscribe(socket, Subscription::new(topics.topic(&topic))).await,
        Purpose::Publish(topic) => messages::publish(socket, is_data, messages::publish_to(topics.topic(&topic))).await,
    }
}
