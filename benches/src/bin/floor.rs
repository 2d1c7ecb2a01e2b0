//! `floor KIND`: a raw TCP server, to measure against. See [`ringwire_benches::floor`].

#![forbid(unsafe_code)]

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use ringwire_benches::floor::epoll::EpollEcho;
use ringwire_benches::floor::fanout::epoll::EpollFanout;
use ringwire_benches::floor::fanout::ring::RingFanout;
use ringwire_benches::floor::ring::{RingEcho, SendPath};
use ringwire_benches::floor::tokio;
use ringwire_ring::linux::pin_to_core;

const HELP: &str = "\
floor tcp-echo            on ringwire's own io_uring driver
    --send transmit|ordinary   the engine's send path, or sends that complete [transmit]
floor epoll-echo          on epoll, level-triggered
floor tokio-uring-echo    on tokio-uring
floor tcp-fanout          what one connection sends, to all others, on ringwire's own io_uring driver
floor epoll-fanout        the same on epoll, level-triggered
    --port P              of 127.0.0.1; 0 lets the kernel pick one [0]
    --core N              pin to this core

Prints where it listens, then `ready`. Ends on SIGTERM.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("floor: {reason}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<(), String> {
    let Some((kind, rest)) = arguments.split_first() else { return Err(format!("which one?\n\n{HELP}")) };
    let (mut port, mut path) = (0, None);
    for pair in rest.chunks(2) {
        let [name, value] = pair else { return Err(format!("{} needs a value\n\n{HELP}", pair[0])) };
        let number = || value.parse::<u16>().map_err(|_| format!("{name} {value}: a number is needed"));
        match (name.as_str(), value.as_str()) {
            ("--port", _) => port = number()?,
            ("--core", _) => pin_to_core(number()?.into()).map_err(|error| format!("--core {value}: {error}"))?,
            ("--send", "transmit") => path = Some(SendPath::Transmit),
            ("--send", "ordinary") => path = Some(SendPath::Ordinary),
            _ => return Err(format!("{name} {value} is not known\n\n{HELP}")),
        }
    }
    if path.is_some() && kind != "tcp-echo" {
        return Err(format!("--send is for tcp-echo, and this is {kind}"));
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match kind.as_str() {
        "tcp-echo" => {
            let path = path.unwrap_or(SendPath::Transmit);
            let (echo, address, features) = RingEcho::listen(address, path)?;
            announce(kind, address, &format!("send {path:?}, {features}"));
            echo.run().map_err(|error| error.to_string())
        }
        "epoll-echo" => {
            let (echo, address) = EpollEcho::listen(address).map_err(|error| error.to_string())?;
            announce(kind, address, "level-triggered");
            echo.run().map_err(|error| error.to_string())
        }
        "tokio-uring-echo" => tokio::run(address, |address| announce(kind, address, "tokio-uring 0.5, COOP_TASKRUN"))
            .map_err(|error| error.to_string()),
        "tcp-fanout" => {
            let (fanout, address, features) = RingFanout::listen(address)?;
            announce(kind, address, &features);
            fanout.run().map_err(|error| error.to_string())
        }
        "epoll-fanout" => {
            let (fanout, address) = EpollFanout::listen(address).map_err(|error| error.to_string())?;
            announce(kind, address, "level-triggered");
            fanout.run().map_err(|error| error.to_string())
        }
        _ => Err(format!("there is no `{kind}`\n\n{HELP}")),
    }
}

fn announce(kind: &str, address: SocketAddr, about: &str) {
    println!("floor: {kind} on {address} ({about})\nready");
}
