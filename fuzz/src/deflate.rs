//! permessage-deflate on any bytes: what is inflated is what another inflater makes of it, whatever the pieces, and what
//! was compressed comes back.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
use ringwire_codec::deflate::{Deflate, DeflateOptions, InflationLimit, WindowBits};
use ringwire_codec::extension::{Extension, ExtensionError, ExtensionParams, Negotiator, Output};

const MESSAGE_BYTES_MAX: usize = 40_000;
const INFLATION: InflationLimit = InflationLimit { ratio_max: 100, floor_bytes: 5000 };
/// What an extension holds while a message is under way: its window, and an inflater's state.
const INBOUND_BYTES_MAX: usize = 100 * 1024;

/// Options that a byte stands for: its three low bits are a window's, then two for takeover.
pub fn options(byte: u8) -> DeflateOptions {
    let bits = WindowBits::new(8 + byte % 8).expect("8 to 15");
    DeflateOptions {
        server_no_context_takeover: byte & 8 != 0,
        client_no_context_takeover: byte & 16 != 0,
        client_max_window_bits: bits,
        server_max_window_bits: bits,
        inflation: INFLATION,
        ..DeflateOptions::DEFAULT
    }
}

/// Inflates two messages, the second of which may refer to the first. `data` is a byte of [`options`], one that says how
/// much of the stream is the first message, then [cuts and the stream](crate::cuts).
pub fn check_inflate(data: &[u8]) {
    let [options_byte, share, rest @ ..] = data else { return };
    let (pieces, stream) = crate::cuts(rest);
    let options = options(*options_byte);
    let (first, second) = stream.split_at(stream.len() * usize::from(*share) / 256);
    let whole = [first, second].map(|message| vec![message]);
    let cut = [split_like(first, &pieces), split_like(second, &pieces)];
    let single = [first, second].map(|message| message.chunks(1).collect());
    let ours = inflate(options, whole);
    assert_eq!(inflate(options, cut), ours);
    assert_eq!(inflate(options, single), ours);
    // With a smaller window it depends on the library what a stream may refer to that breaks the agreement.
    if options.client_max_window_bits == WindowBits::MAX {
        check_against_other(&ours, [first, second], !options.client_no_context_takeover);
    }
}

/// The message in pieces as long as these.
fn split_like<'a>(mut message: &'a [u8], pieces: &[&[u8]]) -> Vec<&'a [u8]> {
    let mut split = Vec::new();
    for piece in pieces {
        let (front, rest) = message.split_at(piece.len().min(message.len()));
        split.push(front);
        message = rest;
    }
    split.push(message);
    split
}

/// A server's extension for a client that offers all there is.
pub fn session(options: DeflateOptions) -> Box<dyn Extension> {
    let offer = ExtensionParams { name: "permessage-deflate", params: vec![("client_max_window_bits", None)] };
    Deflate::new(options).accept(&offer).expect("the offer is good").extension
}

/// What comes of each message, up to the first that is refused.
fn inflate(options: DeflateOptions, messages: [Vec<&[u8]>; 2]) -> Vec<Result<Vec<u8>, ExtensionError>> {
    let mut extension = session(options);
    let mut results = Vec::new();
    for pieces in messages {
        let mut message = Vec::new();
        let mut out = Output::new(&mut message, MESSAGE_BYTES_MAX);
        let count = pieces.len();
        let mut decode = |(index, piece)| extension.decode(piece, index + 1 == count, &mut out);
        let result = pieces.into_iter().enumerate().try_for_each(&mut decode);
        assert!(extension.memory_bytes() <= INBOUND_BYTES_MAX, "{} bytes", extension.memory_bytes());
        assert!(message.len() <= MESSAGE_BYTES_MAX);
        results.push(result.map(|()| message));
        if result.is_err() {
            break;
        }
    }
    results
}

/// The same with miniz_oxide, which keeps all output of a connection in one buffer that streams may refer to.
fn check_against_other(ours: &[Result<Vec<u8>, ExtensionError>], messages: [&[u8]; 2], takes_over: bool) {
    let mut buffer = vec![0; 2 * MESSAGE_BYTES_MAX + 2 * ROOM];
    let mut start = 0;
    for (ours, message) in ours.iter().zip(messages) {
        let begin = if takes_over { start } else { 0 };
        let buffer = if takes_over { &mut buffer[..] } else { &mut buffer[start..] };
        let (end, theirs) = other(buffer, begin, message);
        let theirs_bytes = &buffer[begin..end];
        match ours {
            Ok(bytes) => assert_eq!((theirs, theirs_bytes), (Verdict::Whole, &bytes[..])),
            Err(ExtensionError::TooBig) => assert!(theirs_bytes.len() > INFLATION.floor_bytes, "{theirs:?}"),
            Err(ExtensionError::Malformed) => assert_ne!(theirs, Verdict::Whole),
        }
        start = if takes_over { end } else { start + end };
    }
}

/// More than the limit, so that what passes it is seen to.
const ROOM: usize = 1000;

/// How often a message may go on behind a block that said it was the last.
const RESTARTS_MAX: usize = 15;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Whole,
    Malformed,
    TooBig,
}

/// Inflates a message behind what the buffer holds up to `start`; gives where it ends.
fn other(buffer: &mut [u8], start: usize, message: &[u8]) -> (usize, Verdict) {
    let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
    let limit = (start + MESSAGE_BYTES_MAX + ROOM).min(buffer.len());
    let (mut at, mut state, mut has_ended, mut restarts) = (start, DecompressorOxide::new(), false, 0);
    let mut take = |mut input: &[u8], at: &mut usize, has_ended: &mut bool| {
        while !input.is_empty() {
            if std::mem::take(has_ended) {
                state = DecompressorOxide::new();
                restarts += 1;
                if restarts > RESTARTS_MAX {
                    return Err(Verdict::Malformed);
                }
            }
            let (status, taken, written) = decompress(&mut state, input, &mut buffer[..limit], *at, flags);
            input = &input[taken..];
            *at += written;
            match status {
                TINFLStatus::Done => *has_ended = true,
                TINFLStatus::NeedsMoreInput => {}
                TINFLStatus::HasMoreOutput => return Err(Verdict::TooBig),
                _ => return Err(Verdict::Malformed),
            }
        }
        Ok(())
    };
    if let Err(verdict) = take(message, &mut at, &mut has_ended) {
        return (at, verdict);
    }
    if has_ended || message.is_empty() {
        return (at, Verdict::Whole);
    }
    let end = at;
    // What the sender took off, and a block that says it is the last.
    let rest = take(&[0, 0, 0xFF, 0xFF, 1, 0, 0, 0xFF, 0xFF], &mut at, &mut has_ended);
    (end, if rest.is_ok() && has_ended && at == end { Verdict::Whole } else { Verdict::Malformed })
}

/// Compresses the pieces as messages one after the other and reads them back, both ways.
pub fn check_round_trip(data: &[u8]) {
    let [server, client, rest @ ..] = data else { return };
    let (pieces, _) = crate::cuts(rest);
    let unlimited = |byte: u8| DeflateOptions {
        inflation: InflationLimit::NONE,
        threshold_bytes: 1,
        takeover_threshold_bytes: 1,
        ..options(byte)
    };
    let (server, client) = (Deflate::new(unlimited(*server)), Deflate::new(unlimited(*client)));
    let offers = client.offer();
    let agreed = ExtensionParams::parse_list(&offers).find_map(|offer| server.accept(&offer));
    let agreed = agreed.expect("a server agrees to what a client offers");
    let answers: Vec<_> = ExtensionParams::parse_list(&agreed.header_value).collect();
    let [answer] = &answers[..] else { panic!("one answer: {}", agreed.header_value) };
    let mut client = client.confirm(answer).expect("a client confirms the answer to its own offer");
    let mut server = agreed.extension;
    assert_eq!(client.deflate(), server.deflate(), "both sides agree on the same");
    for message in pieces {
        pass(&mut *client, &mut *server, message);
        pass(&mut *server, &mut *client, message);
    }
}

fn pass(from: &mut dyn Extension, to: &mut dyn Extension, message: &[u8]) {
    let mut packed = Vec::new();
    if !from.encode(message, &mut packed) {
        return;
    }
    assert!(!packed.ends_with(&[0, 0, 0xFF, 0xFF]), "the tail is taken off");
    let mut unpacked = Vec::new();
    let mut out = Output::new(&mut unpacked, message.len());
    assert_eq!(to.decode(&packed, true, &mut out), Ok(()));
    assert_eq!(unpacked, message);
}
