//! `peers NAME`: servers on other libraries, to measure ringwire against side by side.
//!
//! Each has one contract: `/echo` sends each message back, `/ws/TOPIC` is sent what is published to the topic, each
//! message to `/pub/TOPIC` is published, and any other path is answered 404. Each is written as its library's own
//! documentation shows, with the best that the library has (see its file), and runs on one thread.
//!
//! Plain by default; `--tls CERT.pem KEY.pem` puts rustls (the ring provider, as ringwire has it) under it, and
//! `--deflate` agrees on permessage-deflate without context takeover, where the library has it. The package stands
//! outside of the workspace, so that nothing of ringwire depends on its peers. Without the feature `all` it is
//! fastwebsockets alone, in the clear.

#![forbid(unsafe_code)]

mod corked;
mod fastwebsockets;
#[cfg(feature = "all")]
mod messages;
mod route;
#[cfg(feature = "all")]
mod sockudo;
#[cfg(feature = "all")]
mod tls;
#[cfg(feature = "all")]
mod tokio_websockets;
mod topics;
#[cfg(feature = "all")]
mod tungstenite;
#[cfg(feature = "all")]
mod yawc;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

const HELP: &str = "\
peers fastwebsockets|tungstenite|tokio-websockets|sockudo|sockudo-ring|yawc
    --port P                 of 127.0.0.1 [8090]
    --tls CERT.pem KEY.pem   not sockudo-ring
    --deflate                permessage-deflate without context takeover, level 1 (yawc only)
yawc knows /echo only. Built without the feature `all`, there is fastwebsockets alone, without --tls.
";

/// What a connection runs on.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    Fastwebsockets,
    #[cfg(feature = "all")]
    Tungstenite,
    #[cfg(feature = "all")]
    TokioWebsockets,
    #[cfg(feature = "all")]
    Sockudo,
    #[cfg(feature = "all")]
    SockudoRing,
    #[cfg(feature = "all")]
    Yawc {
        deflate: bool,
    },
}

struct Options {
    peer: Peer,
    address: SocketAddr,
    #[cfg(feature = "all")]
    tls: Option<tokio_rustls::TlsAcceptor>,
}

fn main() -> ExitCode {
    let run = || {
        let options = options(&std::env::args().skip(1).collect::<Vec<_>>())?;
        #[cfg(feature = "all")]
        if options.peer == Peer::SockudoRing {
            return sockudo::serve_on_a_ring(options.address).map_err(|error| error.to_string());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.and_then(|runtime| runtime.block_on(serve(options))).map_err(|error| error.to_string())
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("peers: {reason}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn options(words: &[String]) -> Result<Options, String> {
    let mut words = words.iter();
    let name = words.next().ok_or("which one?")?;
    let (mut port, mut deflate) = (8090, false);
    #[cfg(feature = "all")]
    let mut tls = None;
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs more"));
        match word.as_str() {
            "--port" => port = value()?.parse().map_err(|_| "--port: a number is needed")?,
            #[cfg(feature = "all")]
            "--tls" => tls = Some(tls::acceptor(value()?, value()?)?),
            "--deflate" => deflate = true,
            _ => return Err(format!("{word} is not known")),
        }
    }
    let peer = match (name.as_str(), deflate) {
        ("fastwebsockets", false) => Peer::Fastwebsockets,
        #[cfg(feature = "all")]
        ("tungstenite", false) => Peer::Tungstenite,
        #[cfg(feature = "all")]
        ("tokio-websockets", false) => Peer::TokioWebsockets,
        #[cfg(feature = "all")]
        ("sockudo", false) => Peer::Sockudo,
        #[cfg(feature = "all")]
        ("sockudo-ring", false) if tls.is_none() => Peer::SockudoRing,
        #[cfg(feature = "all")]
        ("sockudo-ring", false) => return Err("sockudo-ring has no TLS here".to_owned()),
        #[cfg(feature = "all")]
        ("yawc", deflate) => Peer::Yawc { deflate },
        (_, true) => return Err(format!("{name} has no permessage-deflate")),
        _ => return Err(format!("there is no `{name}`")),
    };
    Ok(Options {
        peer,
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        #[cfg(feature = "all")]
        tls,
    })
}

async fn serve(options: Options) -> std::io::Result<()> {
    let listener = TcpListener::bind(options.address).await?;
    println!("peers: listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let peer = options.peer;
        #[cfg(feature = "all")]
        if let Some(tls) = options.tls.clone() {
            tokio::spawn(tokio::task::unconstrained(async move {
                // A client that breaks off in the handshake is none of ours.
                if let Ok(stream) = tls.accept(stream).await {
                    connection(peer, stream).await;
                }
            }));
            continue;
        }
        tokio::spawn(tokio::task::unconstrained(connection(peer, stream)));
    }
}

/// How it ends is the client's affair.
async fn connection(peer: Peer, stream: impl Stream) {
    let Ok(Some((purpose, stream))) = route::route(stream).await else { return };
    match peer {
        Peer::Fastwebsockets => fastwebsockets::serve(purpose, stream).await,
        #[cfg(feature = "all")]
        Peer::Tungstenite => drop(tungstenite::serve(purpose, stream).await),
        #[cfg(feature = "all")]
        Peer::TokioWebsockets => drop(tokio_websockets::serve(purpose, stream).await),
        #[cfg(feature = "all")]
        Peer::Sockudo | Peer::SockudoRing => drop(sockudo::serve(purpose, stream).await),
        #[cfg(feature = "all")]
        Peer::Yawc { deflate } if purpose == route::Purpose::Echo => yawc::echo(stream, deflate).await,
        #[cfg(feature = "all")]
        Peer::Yawc { .. } => {}
    }
}
