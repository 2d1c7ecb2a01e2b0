//! The opening handshake, client's side.

use std::time::Duration;

use ringwire_codec::handshake::{ClientHandshake, HandshakeError, Url};
use ringwire_codec::http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::wire::Wire;
use crate::failure::Failure;

/// How long connecting and the handshake may take, all in all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest head of a response, and most of a refusal's body that is shown.
const RESPONSE_BYTES_MAX: usize = 64 * 1024;

/// Opens a WebSocket to `url`, with a publish token if the server needs one.
///
/// # Errors
/// What is wrong with the URL, that nobody listens there, or the server's words if it refuses.
pub(super) async fn connect(url: &str, token: Option<&str>) -> Result<Wire, Failure> {
    let parsed = Url::parse(url).map_err(|fault| Failure::usage(format!("{url}: {fault}")))?;
    if parsed.is_secure() {
        return Err(Failure::usage(format!("{url}: wss:// is not supported yet; use ws://")));
    }
    let opening = tokio::time::timeout(CONNECT_TIMEOUT, open(&parsed, token)).await;
    opening.unwrap_or_else(|_| Err(Failure::new(format!("{parsed}: no answer within {} s", CONNECT_TIMEOUT.as_secs()))))
}

async fn open(url: &Url, token: Option<&str>) -> Result<Wire, Failure> {
    let fault = |what: &str, error: &dyn std::fmt::Display| Failure::new(format!("{url}: {what}: {error}"));
    let mut stream =
        TcpStream::connect((url.host(), url.port())).await.map_err(|error| fault("cannot connect", &error))?;
    stream.set_nodelay(true).map_err(|error| fault("cannot connect", &error))?;
    let mut random = fastrand::Rng::new();
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
    let handshake =
        ClientHandshake { headers: &headers, ..ClientHandshake::new(url, std::array::from_fn(|_| random.u8(..))) };
    stream.write_all(&handshake.request()).await.map_err(|error| fault("cannot send the request", &error))?;
    let mut input = Vec::with_capacity(4096);
    loop {
        let count = stream.read_buf(&mut input).await.map_err(|error| fault("cannot read the answer", &error))?;
        if count == 0 || input.len() > RESPONSE_BYTES_MAX {
            return Err(Failure::new(format!("{url}: this is no WebSocket server: it did not answer the handshake")));
        }
        let parsed = Response::parse(&input).map_err(|error| fault("this is no HTTP server", &error))?;
        let Some((response, head_bytes)) = parsed else { continue };
        return match handshake.verify(&response) {
            Ok(_) => Ok(Wire::new(stream, &input[head_bytes..], random)),
            Err(HandshakeError::Refused(status)) => {
                let reason = format!("{url}: refused with {status} {}", response.reason());
                let body_bytes = response.content_length().unwrap_or(u64::MAX);
                let body = rest_of_body(&mut stream, input[head_bytes..].to_vec(), body_bytes).await;
                Err(Failure::new(format!("{reason}\n{body}").trim_end()))
            }
            Err(error) => Err(fault("this is no WebSocket server", &error)),
        };
    }
}

/// The words of a refusal, as far as they come.
async fn rest_of_body(stream: &mut TcpStream, mut body: Vec<u8>, body_bytes: u64) -> String {
    let wanted = usize::try_from(body_bytes).unwrap_or(usize::MAX).min(RESPONSE_BYTES_MAX);
    while body.len() < wanted {
        match stream.read_buf(&mut body).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    body.truncate(wanted);
    String::from_utf8_lossy(&body).into_owned()
}
