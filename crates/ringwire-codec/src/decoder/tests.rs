//! The rules of the stream, one by one, and that no split of it matters.

mod in_place;

use super::*;
use crate::extension::{ExtensionError, Output};
use crate::{CloseCode, MaskKey, encode_close, encode_frame, encode_message};
use proptest::prelude::*;

const KEY: MaskKey = MaskKey::new([0x37, 0xfa, 0x21, 0x3d]);

/// An event that owns its bytes.
#[derive(Clone, Debug, PartialEq)]
enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Violation(Violation),
}

fn owned(event: Event<'_>) -> Owned {
    match event {
        Event::Message(Message::Text(text)) => {
            let copy = text.as_str().to_owned();
            text.into_bytes().fill(0xFF); // a handler may scribble over what it was lent
            Owned::Text(copy)
        }
        Event::Message(Message::Binary(bytes)) => Owned::Binary(bytes.to_vec()),
        Event::Ping(payload) => Owned::Ping(payload.to_vec()),
        Event::Pong(payload) => Owned::Pong(payload.to_vec()),
        Event::Close(frame) => Owned::Close(frame.map(|frame| (frame.code.value(), frame.reason.to_owned()))),
    }
}

/// Feeds `pieces` one after the other and collects what they bring.
fn feed(decoder: &mut Decoder, pieces: &[&[u8]]) -> Vec<Owned> {
    feed_with(decoder, None, pieces)
}

fn feed_with(decoder: &mut Decoder, mut extension: Option<Box<dyn Extension>>, pieces: &[&[u8]]) -> Vec<Owned> {
    let mut events = Vec::new();
    for piece in pieces {
        if !decode_all(decoder, extension.as_deref_mut(), &mut piece.to_vec(), &mut events) {
            break;
        }
    }
    events
}

/// Decodes what was received in place, and `input`. `false`: the stream broke a rule.
fn decode_all(
    decoder: &mut Decoder,
    mut extension: Option<&mut (dyn Extension + 'static)>,
    input: &mut [u8],
    events: &mut Vec<Owned>,
) -> bool {
    let mut at = 0;
    while at < input.len() || decoder.is_filled() {
        let was_filled = decoder.is_filled();
        match decoder.decode_with(&mut input[at..], extension.as_deref_mut()) {
            Ok(step) => {
                assert!(was_filled || step.consumed > 0, "every call makes progress");
                at += step.consumed;
                events.extend(step.event.map(owned));
            }
            Err(violation) => {
                events.push(Owned::Violation(violation));
                return false;
            }
        }
    }
    decoder.release();
    true
}

fn refused(violation: Violation) -> Vec<Owned> {
    vec![Owned::Violation(violation)]
}

fn server() -> Decoder {
    Decoder::new(
        Role::Server,
        DecoderLimits { frame_bytes_max: 70_000, message_bytes_max: 100_000, ..DecoderLimits::default() },
    )
}

fn client() -> Decoder {
    Decoder::new(Role::Client, DecoderLimits::default())
}

fn frame(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    raw_frame(FrameHeader { fin, rsv1: false, opcode, mask: Some(KEY), payload_bytes: 0 }, payload)
}

fn raw_frame(header: FrameHeader, payload: &[u8]) -> Vec<u8> {
    let mut bytes = FrameHeader { payload_bytes: payload.len() as u64, ..header }.encode().to_vec();
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    if let Some(key) = header.mask {
        unmask(&mut bytes[start..], key);
    }
    bytes
}

/// What the server makes of the frames.
fn events(frames: &[Vec<u8>]) -> Vec<Owned> {
    feed(&mut server(), &[&frames.concat()])
}

fn text(s: &str) -> Owned {
    Owned::Text(s.to_owned())
}

use Opcode::{Binary, Close, Continuation, Ping, Pong, Text as TextOp};

#[test]
fn a_masked_text_message_is_read() {
    assert_eq!(events(&[frame(TextOp, true, b"Hello")]), [text("Hello")]);
}

#[test]
fn a_whole_frame_is_handed_out_in_place() {
    let mut input = frame(Binary, true, &[7; 1000]);
    let payload_at = input[input.len() - 1000..].as_ptr();
    let mut decoder = server();
    let step = decoder.decode(&mut input).unwrap();
    let Some(Event::Message(message)) = step.event else { panic!("a message") };
    assert_eq!(message.bytes().as_ptr(), payload_at);
    assert_eq!(decoder.assembly_bytes(), 0);
}

#[test]
fn a_whole_control_frame_takes_no_memory() {
    let mut input = frame(Ping, true, b"are you there");
    let mut decoder = server();
    assert!(matches!(decoder.decode(&mut input).unwrap().event, Some(Event::Ping(b"are you there"))));
    assert_eq!(decoder.assembly_bytes(), 0);
}

#[test]
fn fragments_are_joined_and_control_frames_may_stand_between_them() {
    let frames = [
        frame(TextOp, false, "при".as_bytes()),
        frame(Ping, true, b"one"),
        frame(Continuation, false, b""),
        frame(Pong, true, b"two"),
        frame(Continuation, true, "вет".as_bytes()),
        frame(Binary, true, b"next"),
    ];
    let want =
        [Owned::Ping(b"one".to_vec()), Owned::Pong(b"two".to_vec()), text("привет"), Owned::Binary(b"next".to_vec())];
    assert_eq!(events(&frames), want);
}

#[test]
fn a_character_may_be_split_between_fragments() {
    let emoji = "😀".as_bytes();
    let frames = [frame(TextOp, false, &emoji[..1]), frame(Continuation, true, &emoji[1..])];
    assert_eq!(events(&frames), [text("😀")]);
}

#[test]
fn a_server_refuses_an_unmasked_frame() {
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, TextOp, b"Hello", None);
    assert_eq!(events(&[bytes]), refused(Violation::UnmaskedFromClient));
}

#[test]
fn a_client_refuses_a_masked_frame_and_reads_an_unmasked_one() {
    let masked = frame(TextOp, true, b"Hello");
    assert_eq!(feed(&mut client(), &[&masked]), refused(Violation::MaskedFromServer));
    let mut plain = Vec::new();
    encode_frame(&mut plain, TextOp, b"Hello", None);
    assert_eq!(feed(&mut client(), &[&plain]), [text("Hello")]);
}

#[test]
fn rsv1_without_an_extension_is_refused() {
    let header = FrameHeader { fin: true, rsv1: true, opcode: TextOp, mask: Some(KEY), payload_bytes: 0 };
    assert_eq!(events(&[raw_frame(header, b"x")]), refused(Violation::UnexpectedRsv1));
}

#[test]
fn a_continuation_without_a_start_is_refused() {
    let violation = Violation::NothingToContinue;
    assert_eq!(events(&[frame(Continuation, true, b"x")]), refused(violation));
    let after_a_message = [frame(TextOp, true, b"x"), frame(Continuation, true, b"y")];
    assert_eq!(events(&after_a_message), [text("x"), Owned::Violation(violation)]);
}

#[test]
fn a_new_message_within_a_fragmented_one_is_refused() {
    let frames = [frame(TextOp, false, b"x"), frame(TextOp, true, b"y")];
    assert_eq!(events(&frames), refused(Violation::MessageInterrupted));
}

#[test]
fn a_frame_over_the_limit_is_refused_by_its_header() {
    let header = FrameHeader { fin: true, rsv1: false, opcode: Binary, mask: Some(KEY), payload_bytes: 70_001 };
    assert_eq!(events(&[header.encode().to_vec()]), refused(Violation::FrameTooBig));
    assert_eq!(events(&[frame(Binary, true, &[0; 70_000])]).len(), 1, "the limit itself is allowed");
}

#[test]
fn the_message_limit_counts_all_fragments_and_speaks_at_the_header() {
    let first = frame(Binary, false, &[0; 60_000]);
    let more = |payload_bytes| {
        FrameHeader { fin: true, rsv1: false, opcode: Continuation, mask: Some(KEY), payload_bytes }.encode().to_vec()
    };
    assert_eq!(events(&[first.clone(), more(40_001)]), refused(Violation::MessageTooBig));
    assert_eq!(events(&[first.clone(), more(40_000)]), [], "the limit itself is allowed");
    assert_eq!(events(&[first, frame(Continuation, true, &[0; 40_000])]).len(), 1);
}

#[test]
fn the_fragment_limit_counts_frames_of_one_message_whatever_they_carry() {
    let limited = || Decoder::new(Role::Server, DecoderLimits { fragments_max: 3, ..DecoderLimits::default() });
    let empty = |opcode, fin| frame(opcode, fin, b"");
    let three =
        [empty(Binary, false), empty(Ping, true), empty(Continuation, false), empty(Continuation, true)].concat();
    let twice = [three.clone(), three].concat();
    let got = feed(&mut limited(), &[&twice]);
    assert_eq!(got, [Owned::Ping(vec![]), Owned::Binary(vec![]), Owned::Ping(vec![]), Owned::Binary(vec![])]);
    let fourth = [empty(Binary, false), empty(Continuation, false).repeat(3)].concat();
    assert_eq!(feed(&mut limited(), &[&fourth]), refused(Violation::TooManyFragments));
    assert_eq!(Violation::TooManyFragments.close_code(), CloseCode::POLICY_VIOLATION);
    assert!(DecoderLimits::default().fragments_max >= 65_536, "conformance suites send as many");
}

#[test]
fn a_header_that_promises_much_allocates_little() {
    let mut decoder = client();
    let header = FrameHeader { fin: true, rsv1: false, opcode: Binary, mask: None, payload_bytes: 16 << 20 };
    feed(&mut decoder, &[&header.encode()[..], &[0; 10]]);
    assert!(decoder.assembly_bytes() < 2048, "{}", decoder.assembly_bytes());
}

#[test]
fn text_that_is_not_utf8_is_refused_whole_and_in_pieces() {
    let wrong = refused(Violation::TextNotUtf8);
    assert_eq!(events(&[frame(TextOp, true, b"\xFF")]), wrong);
    assert_eq!(events(&[frame(TextOp, true, &"ж".as_bytes()[..1])]), wrong, "ends within a character");
    let frames = [frame(TextOp, false, &"ж".as_bytes()[..1]), frame(Continuation, true, b"")];
    assert_eq!(events(&frames), wrong);
    assert_eq!(events(&[frame(Binary, true, b"\xFF")]), [Owned::Binary(vec![0xFF])], "binary may be anything");
}

#[test]
fn wrong_text_is_refused_as_soon_as_its_byte_is_there() {
    // Autobahn 6.4: F4 90 cannot become a character, whatever follows, though the frame is not complete.
    let bytes = frame(TextOp, true, b"abc\xF4\x90\x80\x80 and more that has not arrived");
    let mut decoder = server();
    assert_eq!(feed(&mut decoder, &[&bytes[..6 + 4]]), []);
    assert_eq!(feed(&mut decoder, &[&bytes[10..11]]), refused(Violation::TextNotUtf8));
}

#[test]
fn close_gives_its_code_and_reason_and_ends_the_stream() {
    let payload = encode_close(Some(CloseCode::GOING_AWAY), "bye");
    let frames = [frame(Close, true, &payload), frame(TextOp, true, b"late"), vec![0xFF; 10]];
    assert_eq!(events(&frames), [Owned::Close(Some((1001, "bye".to_owned())))]);
    assert_eq!(events(&[frame(Close, true, b"")]), [Owned::Close(None)]);
}

#[test]
fn wrong_close_payloads_are_refused() {
    let cases: [(&[u8], Violation); 4] = [
        (&[3], Violation::CloseTooShort),
        (&[3, 237], Violation::CloseCodeInvalid),
        (&[0, 0], Violation::CloseCodeInvalid),
        (&[3, 232, 0xFF], Violation::CloseReasonNotUtf8),
    ];
    for (payload, violation) in cases {
        assert_eq!(events(&[frame(Close, true, payload)]), refused(violation));
    }
}

#[test]
fn after_a_violation_the_rest_is_swallowed() {
    let mut decoder = server();
    let bytes = frame(Continuation, true, b"x");
    assert_eq!(feed(&mut decoder, &[&bytes]).len(), 1);
    assert_eq!(feed(&mut decoder, &[&frame(TextOp, true, b"late")]), []);
    let mut whole = server();
    assert_eq!(feed(&mut whole, &[&frame(TextOp, true, b"\xFF")]).len(), 1);
    assert_eq!(feed(&mut whole, &[&frame(TextOp, true, b"late")]), []);
}

#[test]
fn control_frames_of_125_bytes_pass_in_pieces() {
    let bytes = frame(Ping, true, &[9; 125]);
    let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(feed(&mut server(), &pieces), [Owned::Ping(vec![9; 125])]);
}

#[test]
fn an_idle_decoder_is_small_and_owns_nothing() {
    assert!(size_of::<Decoder>() <= 64, "{}", size_of::<Decoder>());
    let mut decoder = server();
    let frames = [frame(Binary, false, &[1; 5000]), frame(Ping, true, b"x"), frame(Continuation, true, &[2; 5000])];
    let bytes = frames.concat();
    assert_eq!(feed(&mut decoder, &[&bytes[..6000]]), [Owned::Ping(b"x".to_vec())]);
    assert!(decoder.assembly_bytes() >= 5000);
    feed(&mut decoder, &[&bytes[6000..]]);
    assert_eq!(decoder.assembly_bytes(), 0, "after the message is released");
}

/// Run lengths, XORed with 0x5A: pairs of (count, byte). Its state spans pieces, and a few bytes become many.
#[derive(Debug, Default)]
struct RunLengths {
    count: Option<u8>,
}

impl Extension for RunLengths {
    fn decode(&mut self, piece: &[u8], last: bool, out: &mut Output<'_>) -> Result<(), ExtensionError> {
        for byte in piece.iter().map(|byte| byte ^ 0x5A) {
            match self.count.take() {
                None => self.count = Some(byte),
                Some(count) => out.push(&vec![byte; usize::from(count)])?,
            }
        }
        if last && self.count.take().is_some() { Err(ExtensionError::Malformed) } else { Ok(()) }
    }

    fn encode(&mut self, payload: &[u8], out: &mut Vec<u8>) -> bool {
        for run in payload.chunk_by(|a, b| a == b).flat_map(|run| run.chunks(255)) {
            out.extend([run.len() as u8 ^ 0x5A, run[0] ^ 0x5A]);
        }
        out.len() < payload.len()
    }
}

/// What a server makes of the pieces that has agreed on the extension.
fn feed_extended(pieces: &[&[u8]]) -> Vec<Owned> {
    feed_with(&mut server(), Some(Box::<RunLengths>::default()), pieces)
}

fn marked(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let rsv1 = opcode != Continuation;
    raw_frame(FrameHeader { fin, rsv1, opcode, mask: Some(KEY), payload_bytes: 0 }, payload)
}

#[test]
fn an_extension_transforms_marked_messages_both_ways_in_any_split() {
    let (mut out, mut scratch) = (Vec::new(), Vec::new());
    let run = "a".repeat(3000);
    encode_message(&mut out, TextOp, run.as_bytes(), Some(KEY), &mut RunLengths::default(), &mut scratch);
    encode_message(&mut out, Binary, b"no runs", Some(KEY), &mut RunLengths::default(), &mut scratch);
    assert_eq!((out[0], out.len()), (0xC1, 6 + 24 + 6 + 7), "the first is marked and short, the second is as it was");
    // The same, in fragments.
    out.extend(marked(Binary, false, &[3 ^ 0x5A, 0, 2 ^ 0x5A]));
    out.extend(frame(Ping, true, b"?"));
    out.extend(marked(Continuation, false, &[0x5A ^ 9]));
    out.extend(marked(Continuation, true, b""));
    let want = [
        text(&run),
        Owned::Binary(b"no runs".to_vec()),
        Owned::Ping(b"?".to_vec()),
        Owned::Binary(vec![0x5A, 0x5A, 0x5A, 9, 9]),
    ];
    for split in 0..=out.len() {
        let (a, b) = out.split_at(split);
        assert_eq!(feed_extended(&[a, b]), want, "split at {split}");
    }
}

#[test]
fn an_extension_cannot_pass_the_message_limit() {
    let bomb: Vec<u8> = [255 ^ 0x5A, 0x5A].repeat(393);
    assert_eq!(
        feed_extended(&[&marked(Binary, true, &bomb)]),
        refused(Violation::MessageTooBig),
        "393 times 255 is over 100,000"
    );
    assert_eq!(feed_extended(&[&marked(Binary, true, &bomb[2..])]).len(), 1);
}

#[test]
fn what_an_extension_makes_of_text_is_validated() {
    let not_utf8 = marked(TextOp, true, &[1 ^ 0x5A, 0xFF ^ 0x5A]);
    assert_eq!(feed_extended(&[&not_utf8]), refused(Violation::TextNotUtf8));
}

#[test]
fn what_an_extension_cannot_read_is_refused() {
    let half = marked(Binary, true, &[1]);
    assert_eq!(feed_extended(&[&half]), refused(Violation::ExtensionData));
}

#[test]
fn rsv1_belongs_to_the_first_frame_of_a_message_only() {
    for opcode in [Ping, Close] {
        let control = raw_frame(FrameHeader { fin: true, rsv1: true, opcode, mask: Some(KEY), payload_bytes: 0 }, b"");
        assert_eq!(feed_extended(&[&control]), refused(Violation::UnexpectedRsv1));
    }
    let header = FrameHeader { fin: true, rsv1: true, opcode: Continuation, mask: Some(KEY), payload_bytes: 0 };
    let bytes = [marked(Binary, false, b""), raw_frame(header, b"")].concat();
    assert_eq!(feed_extended(&[&bytes]), refused(Violation::UnexpectedRsv1));
}

fn sample_streams() -> Vec<Vec<u8>> {
    let close = encode_close(Some(CloseCode::NORMAL), "fin");
    let mut wrong_length = frame(TextOp, true, b"ok");
    wrong_length.extend([0x82, 0xFE, 0, 5, 1, 2, 3, 4]);
    vec![
        [
            frame(TextOp, true, "naïve привет 😀".as_bytes()),
            frame(Ping, true, b"p"),
            frame(Binary, false, &[1; 130]),
            frame(Pong, true, b""),
            frame(Continuation, true, &[2; 5]),
            frame(TextOp, true, b""),
            frame(Close, true, &close),
            frame(TextOp, true, b"late"),
        ]
        .concat(),
        [frame(TextOp, false, b"abc"), frame(Continuation, true, b"\xC3(")].concat(),
        [frame(Binary, true, &[5; 300]), frame(Close, true, &[3, 237])].concat(),
        [frame(Binary, false, &[0; 40]), frame(Binary, true, b"")].concat(),
        wrong_length,
    ]
}

#[test]
fn every_split_in_two_gives_the_same_events() {
    for stream in sample_streams() {
        let want = feed(&mut server(), &[&stream]);
        assert!(!want.is_empty());
        for split in 0..=stream.len() {
            let (a, b) = stream.split_at(split);
            assert_eq!(feed(&mut server(), &[a, b]), want, "split at {split}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(feed(&mut server(), &bytes), want, "one byte at a time");
    }
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop::sample::select(vec![TextOp, TextOp, Binary, Continuation, Continuation, Ping, Pong, Close]);
    let payload = prop_oneof![
        "\\PC{0,60}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..60),
        prop::collection::vec(Just(b'a'), 120..140),
    ];
    (opcode, any::<bool>(), prop::bool::weighted(0.03), prop::bool::weighted(0.97), any::<[u8; 4]>(), payload).prop_map(
        |(opcode, fin, rsv1, masked, key, mut payload)| {
            if opcode.is_control() {
                payload.truncate(125);
            }
            let mask = masked.then_some(MaskKey::new(key));
            raw_frame(FrameHeader { fin: fin || opcode.is_control(), rsv1, opcode, mask, payload_bytes: 0 }, &payload)
        },
    )
}

proptest! {
    #[test]
    fn every_split_of_a_stream_gives_the_same_events(
        frames in prop::collection::vec(any_frame(), 1..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        with_extension in any::<bool>(),
    ) {
        let feed_new = |pieces: &[&[u8]]| {
            if with_extension { feed_extended(pieces) } else { feed(&mut server(), pieces) }
        };
        let stream = frames.concat();
        let want = feed_new(&[&stream]);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();
        prop_assert_eq!(feed_new(&pieces), want.clone());
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(feed_new(&bytes), want.clone());
        if !with_extension {
            for bytes_min in [1, 50] {
                prop_assert_eq!(in_place::feed(&mut server(), &pieces, bytes_min), want.clone());
            }
        }
    }
}
