//! Connections without sockets: extensions as they are agreed on, and messages through them.

use ringwire_codec::deflate::{Deflate, DeflateOptions, InflationLimit, Parameters, WindowBits};
use ringwire_codec::extension::{Extension, ExtensionError, ExtensionParams, Negotiator, Output};

pub(crate) const MESSAGE_BYTES_MAX: usize = 17 << 20;

/// Options that compress everything that gets shorter, and let anything through.
pub(crate) const ALL: DeflateOptions = {
    let mut options = DeflateOptions::DEFAULT;
    options.threshold_bytes = 0;
    options.takeover_threshold_bytes = 0;
    options.inflation = InflationLimit::NONE;
    options
};

pub(crate) fn bits(value: u8) -> WindowBits {
    WindowBits::new(value).unwrap()
}

/// The only element of a header.
pub(crate) fn element(value: &str) -> ExtensionParams<'_> {
    let mut elements = ExtensionParams::parse_list(value);
    let first = elements.next().expect("a well-formed element");
    assert!(elements.next().is_none());
    first
}

/// What a server of these options agrees on with who offers this.
pub(crate) fn server(options: DeflateOptions, offer: &str) -> Box<dyn Extension> {
    Deflate::new(options).accept(&element(offer)).expect("an offer to agree on").extension
}

/// A server without takeover on either side.
pub(crate) fn plain() -> Box<dyn Extension> {
    server(ALL, "permessage-deflate")
}

/// A server that lets the client refer to its messages before, and does so itself.
pub(crate) fn takeover() -> Box<dyn Extension> {
    let options = DeflateOptions { server_no_context_takeover: false, client_no_context_takeover: false, ..ALL };
    server(options, "permessage-deflate")
}

/// Both ends of a connection with these parameters: the server's and the client's.
pub(crate) fn pair(agreed: Parameters, options: DeflateOptions) -> (Box<dyn Extension>, Box<dyn Extension>) {
    let options = DeflateOptions {
        server_no_context_takeover: agreed.server_no_context_takeover,
        client_no_context_takeover: agreed.client_no_context_takeover,
        server_max_window_bits: agreed.server_max_window_bits,
        client_max_window_bits: agreed.client_max_window_bits,
        ..options
    };
    let (server, client) = (Deflate::new(options), Deflate::new(options));
    let offer = client.offer();
    let offer = ExtensionParams::parse_list(&offer).next().unwrap();
    let answer = server.accept(&offer).expect("equal options agree");
    let confirmed = client.confirm(&element(&answer.header_value)).expect("the answer fits");
    assert_eq!((answer.extension.deflate(), confirmed.deflate()), (Some(agreed), Some(agreed)));
    (answer.extension, confirmed)
}

/// Inflates a message that comes in these pieces.
pub(crate) fn decode(extension: &mut dyn Extension, pieces: &[&[u8]]) -> Result<Vec<u8>, ExtensionError> {
    decode_up_to(MESSAGE_BYTES_MAX, extension, pieces).1
}

/// The same with a limit; and what there was of the message at its end, right or wrong.
pub(crate) fn decode_up_to(
    message_bytes_max: usize,
    extension: &mut dyn Extension,
    pieces: &[&[u8]],
) -> (usize, Result<Vec<u8>, ExtensionError>) {
    let mut message = Vec::new();
    let last = pieces.len() - 1;
    for (at, piece) in pieces.iter().enumerate() {
        if let Err(error) = extension.decode(piece, at == last, &mut Output::new(&mut message, message_bytes_max)) {
            return (message.len(), Err(error));
        }
    }
    (message.len(), Ok(message))
}

/// A message as it goes out, if it goes out compressed.
pub(crate) fn encode(extension: &mut dyn Extension, message: &[u8]) -> Option<Vec<u8>> {
    let mut out = b"before".to_vec();
    let is_compressed = extension.encode(message, &mut out);
    assert!(out.starts_with(b"before") && (is_compressed || out.len() == 6), "what was there stays");
    is_compressed.then(|| out.split_off(6))
}

/// Bytes that do not compress.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Trades as an exchange sends them.
pub(crate) fn json(len: usize) -> Vec<u8> {
    let trade = |n: u64| {
        let (price, quantity) = (3_943_000 + n * 7919 % 1000, n * 104_729 % 9973);
        format!(r#"{{"e":"trade","t":{n},"p":"{}.{:02}","q":"0.{quantity:06}"}},"#, price / 100, price % 100)
    };
    let mut text: Vec<u8> = (553_287_559..).flat_map(|n| trade(n).into_bytes()).take(len).collect();
    text.truncate(len);
    text
}
