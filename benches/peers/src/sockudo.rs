//! sockudo-ws, on tokio and on tokio-uring: its own handshake, its own publishing, and `feed`, which it batches.
//!
//! Its pings and its idle timeout are off, as no other server here has any.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use sockudo_ws::io_uring::UringStream;
use sockudo_ws::{Config, Error, Message, PubSub, Role, SubscriberId, WebSocketStream, handshake};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::messages;
use crate::route::{self, Purpose};
use crate::topics::Inbox;

/// Messages that a subscriber takes at once.
const BATCH_MESSAGES: usize = 1024;

pub(crate) async fn serve(purpose: Purpose, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), Error> {
    static TOPICS: OnceLock<PubSub> = OnceLock::new();
    let topics = TOPICS.get_or_init(PubSub::new);
    let config = Config::builder().auto_ping(false).idle_timeout(0).build();
    let leftover = handshake::server_handshake(&mut stream).await?.leftover;
    let socket = WebSocketStream::from_raw_with_leftover(stream, Role::Server, config, leftover);
    let is_data = |message: &Message| matches!(message, Message::Text(_) | Message::Binary(_));
    match purpose {
        Purpose::Echo => messages::echo(socket, is_data).await,
        Purpose::Subscribe(topic) => messages::subscribe(socket, Subscriber::new(topics, &topic)).await,
        Purpose::Publish(topic) => {
            messages::publish(socket, is_data, |message| {
                let _ = topics.publish(&topic, message);
            })
            .await
        }
    }
}

/// Accepts and serves on tokio-uring, for ever.
pub(crate) fn serve_on_a_ring(address: SocketAddr) -> std::io::Result<()> {
    tokio_uring::start(async {
        let listener = tokio_uring::net::TcpListener::bind(address)?;
        println!("peers: listening on {}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio_uring::spawn(async move {
                // How a connection ends is its client's affair.
                if let Ok(Some((purpose, stream))) = route::route(UringStream::new(stream)).await {
                    let _ = serve(purpose, stream).await;
                }
            });
        }
    })
}

/// A subscriber of the library's own publishing, until it is dropped.
struct Subscriber {
    topics: &'static PubSub,
    id: SubscriberId,
    messages: UnboundedReceiver<Message>,
}

impl Subscriber {
    fn new(topics: &'static PubSub, topic: &str) -> Self {
        let (sender, messages) = unbounded_channel();
        let id = topics.create_subscriber(sender);
        topics.subscribe(id, topic);
        Self { topics, id, messages }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.topics.remove_subscriber(self.id);
    }
}

impl Inbox<Message> for Subscriber {
    fn poll_take(&mut self, context: &mut Context<'_>, batch: &mut Vec<Message>) -> Poll<bool> {
        self.messages.poll_recv_many(context, batch, BATCH_MESSAGES).map(|count| count > 0)
    }
}
