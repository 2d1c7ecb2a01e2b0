//! The opening handshake, client's side.

use std::io;
use std::time::Duration;

use ringwire_codec::deflate::{Deflate, DeflateOptions};
use ringwire_codec::extension::Negotiator;
use ringwire_codec::handshake::{ClientHandshake, HandshakeError, Url, UrlError};
use ringwire_codec::http::{Response, is_header};
use ringwire_engine::tls::Session;

use super::link::{Link, Progress};
use super::random::Random;
use super::trust;
use super::wire::Wire;
use crate::cli::ConnectFlags;
use crate::failure::Failure;

/// How long connecting and the handshake may take, all in all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest head of a response, and most of a refusal's body that is shown.
const RESPONSE_BYTES_MAX: usize = 64 * 1024;

/// One connection can afford what makes messages smallest: contexts on both sides.
const DEFLATE: DeflateOptions =
    DeflateOptions { server_no_context_takeover: false, client_no_context_takeover: false, ..DeflateOptions::DEFAULT };
/// Header fields that the handshake itself writes.
const OWN_FIELDS: [&str; 4] = ["host", "upgrade", "connection", "content-length"];

/// Opens a WebSocket to `url`, with a publish token if the server needs one.
///
/// # Errors
/// What is wrong with the URL or the flags, that nobody listens there, or the server's words if it refuses.
pub(crate) async fn connect(url: &str, flags: &ConnectFlags, token: Option<&str>) -> Result<Wire, Failure> {
    let parsed = Url::parse(url).map_err(|fault| {
        let hint = match fault {
            UrlError::UserInfo => "; send it with --header \"Authorization: ...\"",
            _ => "",
        };
        Failure::usage(format!("{url}: {fault}{hint}"))
    })?;
    let offer = Offer::new(flags, token)?;
    let session = parsed.is_secure().then(|| trust::session(&parsed, flags)).transpose()?;
    let opening = tokio::time::timeout(CONNECT_TIMEOUT, open(&parsed, session, &offer)).await;
    opening.unwrap_or_else(|_| Err(Failure::new(format!("{parsed}: no answer within {} s", CONNECT_TIMEOUT.as_secs()))))
}

/// What the request says beyond its URL.
struct Offer {
    headers: Vec<(String, String)>,
    subprotocols: Vec<String>,
    extension: Option<Box<dyn Negotiator>>,
}

impl Offer {
    fn new(flags: &ConnectFlags, token: Option<&str>) -> Result<Self, Failure> {
        let mut headers = flags.header.iter().map(|line| header(line)).collect::<Result<Vec<_>, _>>()?;
        headers.extend(token.map(|token| ("Authorization".to_owned(), format!("Bearer {token}"))));
        if let Some(wrong) = flags.subprotocol.iter().find(|name| !is_header(name, "")) {
            return Err(Failure::usage(format!("--subprotocol {wrong}: a token is needed, such as graphql-ws")));
        }
        // Each stands once (§4.1).
        let is_twice = |at: usize| flags.subprotocol[..at].contains(&flags.subprotocol[at]);
        if let Some(at) = (0..flags.subprotocol.len()).find(|&at| is_twice(at)) {
            return Err(Failure::usage(format!("--subprotocol {}: it is offered twice", flags.subprotocol[at])));
        }
        let deflate = || Box::new(Deflate::new(DEFLATE)) as Box<dyn Negotiator>;
        let extension = (!flags.no_deflate).then(deflate);
        Ok(Self { headers, subprotocols: flags.subprotocol.clone(), extension })
    }
}

/// A header as it is written on the command line.
fn header(line: &str) -> Result<(String, String), Failure> {
    let fault = |words: &str| Failure::usage(format!("--header {line}: {words}"));
    let (name, value) = line.split_once(':').ok_or_else(|| fault("a name, a colon and a value are needed"))?;
    let value = value.trim();
    let lower = name.to_ascii_lowercase();
    if OWN_FIELDS.contains(&&*lower) || lower.starts_with("sec-websocket-") {
        return Err(fault("the handshake writes this field itself"));
    }
    if !is_header(name, value) {
        return Err(fault("this is no header field"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

async fn open(url: &Url, session: Option<Session>, offer: &Offer) -> Result<Wire, Failure> {
    let fault = |what: &str, error: &dyn std::fmt::Display| Failure::new(format!("{url}: {what}: {error}"));
    let broke = |error: io::Error| match trust::advice(url, &error) {
        Some(words) => Failure::new(format!("{url}: {words}")),
        None => fault("the connection broke", &error),
    };
    let mut link = Link::connect(url, session).await.map_err(|error| fault("cannot connect", &error))?;
    link.secure().await.map_err(broke)?;
    let mut random = Random::new();
    let headers: Vec<_> = offer.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let subprotocols: Vec<_> = offer.subprotocols.iter().map(String::as_str).collect();
    let handshake = ClientHandshake {
        headers: &headers,
        subprotocols: &subprotocols,
        extension: offer.extension.as_deref(),
        ..ClientHandshake::new(url, random.bytes())
    };
    link.send(&handshake.request());
    let mut input = Vec::with_capacity(4096);
    loop {
        let ended = match link.progress(&mut input).await.map_err(broke)? {
            Progress::Sent => continue,
            Progress::Received => false,
            Progress::EndOfStream => true,
        };
        let parsed = Response::parse(&input).map_err(|error| fault("this is no HTTP server", &error))?;
        let Some((response, head_bytes)) = parsed else {
            if ended || input.len() > RESPONSE_BYTES_MAX {
                let words = "this is no WebSocket server: it did not answer the handshake";
                return Err(Failure::new(format!("{url}: {words}")));
            }
            continue;
        };
        return match handshake.verify(&response) {
            Ok(established) => Ok(Wire::new(link, input[head_bytes..].to_vec(), established.extension, random)),
            Err(HandshakeError::Refused(status)) => {
                let reason = format!("{url}: refused with {status} {}", response.reason());
                let body_bytes = response.content_length().unwrap_or(u64::MAX);
                let body = rest_of_body(&mut link, input[head_bytes..].to_vec(), body_bytes).await;
                Err(Failure::new(format!("{reason}\n{body}").trim_end()))
            }
            Err(error) => Err(fault("this is no WebSocket server", &error)),
        };
    }
}

/// The words of a refusal, as far as they come.
async fn rest_of_body(link: &mut Link, mut body: Vec<u8>, body_bytes: u64) -> String {
    let wanted = usize::try_from(body_bytes).unwrap_or(usize::MAX).min(RESPONSE_BYTES_MAX);
    while body.len() < wanted {
        match link.progress(&mut body).await {
            Ok(Progress::EndOfStream) | Err(_) => break,
            Ok(Progress::Received | Progress::Sent) => {}
        }
    }
    body.truncate(wanted);
    String::from_utf8_lossy(&body).into_owned()
}
