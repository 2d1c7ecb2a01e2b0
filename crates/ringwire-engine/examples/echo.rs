//! Sends every message back: `cargo run --release --example echo`, then open a WebSocket to ws://127.0.0.1:8080/.

use std::time::Duration;

use ringwire_engine::codec::Message;
use ringwire_engine::ring::linux::Termination;
use ringwire_engine::{Accept, ConnectionId, Context, EngineOptions, Handler, Opening, Upgrade, start};

struct Echo;

impl Handler for Echo {
    type Mail = ();

    fn on_upgrade(&mut self, _cx: &mut Context<'_, ()>, _connection: ConnectionId, _opening: &Opening<'_>) -> Upgrade {
        Accept::default().into()
    }

    fn on_message(&mut self, cx: &mut Context<'_, ()>, connection: ConnectionId, message: Message<'_>) {
        // A peer that reads too little is not read from, so this is refused only if it is gone or leaving.
        let _ = cx.send_back(connection, message);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let termination = Termination::block()?;
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned()).parse::<std::net::SocketAddr>()?;
    let engine = start(EngineOptions { listen: vec![address.into()], ..EngineOptions::default() }, |_| Echo)?;
    println!("echo on ws://{} with {} shards, {}", engine.addresses()[0], engine.shards(), engine.features());
    Ok(engine.run_until(&termination, Duration::from_secs(5))?)
}
