//! The classic first WebSocket: `cargo run --release --example hello`, then open ws://127.0.0.1:8081/ws.
//!
//! Each client gets `{"hello":"websocket","msg_id":"1"}`, a second later `"2"`, and so on. JSON objects that it sends are
//! parsed where they were received, and printed. What is not JSON ends that client's connection, and no other.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use ringwire_engine::codec::{CloseCode, Message, http::Request};
use ringwire_engine::ring::{Instant, linux::Termination};
use ringwire_engine::{
    Accept, Answer, ConnectionId, Context, EngineOptions, Handler, Opening, Peer, Response, SendError, Upgrade, start,
};
use simd_json::prelude::*;

const PERIOD: Duration = Duration::from_secs(1);

/// When which client gets which message next. Clients that have gone are forgotten when their turn comes.
#[derive(Default)]
struct Hello {
    due: BTreeMap<(Instant, usize), (ConnectionId, u64)>,
}

impl Hello {
    /// Sends message `number`, and plans the one after it.
    fn greet(&mut self, cx: &mut Context<'_, ()>, connection: ConnectionId, number: u64, at: Instant) {
        let greeting = format!(r#"{{"hello":"websocket","msg_id":"{number}"}}"#);
        let next = match cx.send_text(connection, &greeting) {
            Ok(()) => number + 1,
            // It reads too slowly: it gets this one later.
            Err(SendError::Full) => number,
            Err(SendError::Gone | SendError::Closing) => return,
        };
        self.due.insert((at + PERIOD, connection.slot()), (connection, next));
        cx.tick_at(at + PERIOD);
    }
}

impl Handler for Hello {
    type Mail = ();

    fn on_upgrade(&mut self, _cx: &mut Context<'_, ()>, _connection: ConnectionId, opening: &Opening<'_>) -> Upgrade {
        if opening.request.path() == "/ws" { Accept::default().into() } else { not_found().into() }
    }

    fn on_open(&mut self, cx: &mut Context<'_, ()>, connection: ConnectionId) {
        let now = cx.now();
        self.greet(cx, connection, 1, now);
    }

    fn on_tick(&mut self, cx: &mut Context<'_, ()>) {
        while let Some(entry) = self.due.first_entry() {
            let (at, _) = *entry.key();
            if at > cx.now() {
                return cx.tick_at(at);
            }
            let (connection, number) = entry.remove();
            self.greet(cx, connection, number, at);
        }
    }

    fn on_message(&mut self, cx: &mut Context<'_, ()>, connection: ConnectionId, message: Message<'_>) {
        match simd_json::to_borrowed_value(message.into_bytes()) {
            // Nobody may be listening on the other end of stdout: that is no reason to stop.
            Ok(value) if value.is_object() => drop(writeln!(std::io::stdout(), "{}", value.encode())),
            Ok(_) => cx.close(connection, CloseCode::UNSUPPORTED_DATA, "a JSON object is wanted"),
            Err(error) => cx.close(connection, CloseCode::INVALID_PAYLOAD, &format!("this is not JSON: {error}")),
        }
    }

    fn on_http(
        &mut self,
        _cx: &mut Context<'_, ()>,
        _connection: ConnectionId,
        _peer: &Peer,
        request: &Request<'_>,
        _body: &mut [u8],
    ) -> Answer {
        if request.path() == "/ws" {
            return Response::text(426, "/ws speaks WebSocket\n").header("Upgrade", "websocket").into();
        }
        not_found().into()
    }
}

fn not_found() -> Response {
    Response::text(404, "there is only /ws here\n")
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let termination = Termination::block()?;
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8081".to_owned()).parse::<std::net::SocketAddr>()?;
    let engine =
        start(EngineOptions { listen: vec![address.into()], ..EngineOptions::default() }, |_| Hello::default())?;
    println!("hello on ws://{}/ws", engine.addresses()[0]);
    Ok(engine.run_until(&termination, Duration::from_secs(5))?)
}
