//! `peers NAME`: echo servers on other libraries, to measure ringwire against side by side.
//!
//! Each is what its library's own documentation shows for an echo, on tokio's single-threaded runtime. Plain by
//! default; `--tls CERT.pem KEY.pem` puts rustls (the ring provider, as ringwire has it) under it, and `--deflate`
//! agrees on permessage-deflate without context takeover, where the library has it. The package stands outside of the
//! workspace, so that nothing of ringwire depends on its peers.

#![forbid(unsafe_code)]

mod fastwebsockets_echo;
mod tungstenite_echo;
mod yawc_echo;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

const HELP: &str = "\
peers fastwebsockets|tungstenite|yawc
    --port P              of 127.0.0.1 [8090]
    --tls CERT.pem KEY.pem
    --deflate             permessage-deflate without context takeover, level 1 (yawc only)
";

/// What a connection runs on.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

#[derive(Clone, Copy)]
enum Peer {
    Fastwebsockets,
    Tungstenite,
    Yawc { deflate: bool },
}

struct Options {
    peer: Peer,
    port: u16,
    tls: Option<TlsAcceptor>,
}

fn main() -> ExitCode {
    let run = || {
        let options = options(&std::env::args().skip(1).collect::<Vec<_>>())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
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
    let (mut port, mut tls, mut deflate) = (8090, None, false);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs more"));
        match word.as_str() {
            "--port" => port = value()?.parse().map_err(|_| "--port: a number is needed")?,
            "--tls" => tls = Some(acceptor(value()?, value()?)?),
            "--deflate" => deflate = true,
            _ => return Err(format!("{word} is not known")),
        }
    }
    let peer = match (name.as_str(), deflate) {
        ("fastwebsockets", false) => Peer::Fastwebsockets,
        ("tungstenite", false) => Peer::Tungstenite,
        ("yawc", deflate) => Peer::Yawc { deflate },
        (_, true) => return Err(format!("{name} has no permessage-deflate")),
        _ => return Err(format!("there is no `{name}`")),
    };
    Ok(Options { peer, port, tls })
}

fn acceptor(certificate: &str, key: &str) -> Result<TlsAcceptor, String> {
    let fault = |error: &dyn std::fmt::Display| format!("--tls {certificate} {key}: {error}");
    let chain = CertificateDer::pem_file_iter(certificate).map_err(|error| fault(&error))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|error| fault(&error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| fault(&error))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    Ok(TlsAcceptor::from(Arc::new(config.map_err(|error| fault(&error))?)))
}

async fn serve(options: Options) -> std::io::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, options.port))).await?;
    println!("peers: listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let peer = options.peer;
        match options.tls.clone() {
            None => drop(tokio::spawn(echo(peer, stream))),
            Some(tls) => drop(tokio::spawn(async move {
                // A client that breaks off in the handshake is none of ours.
                if let Ok(stream) = tls.accept(stream).await {
                    echo(peer, stream).await;
                }
            })),
        }
    }
}

async fn echo(peer: Peer, stream: impl Stream) {
    match peer {
        Peer::Fastwebsockets => fastwebsockets_echo::echo(stream).await,
        Peer::Tungstenite => tungstenite_echo::echo(stream).await,
        Peer::Yawc { deflate } => yawc_echo::echo(stream, deflate).await,
    }
}
