//! The codec: frames of a client, decoded and unmasked in place.

use ringwire_codec::{Decoder, DecoderLimits, Event, MaskKey, Opcode, Role, encode_frame};

use super::work_to_count;

/// Binary frames of 64 bytes.
pub(super) fn decode_64() -> u64 {
    decode(Opcode::Binary, 64)
}

/// Binary frames of 16 KiB: the unmask.
pub(super) fn decode_16384() -> u64 {
    decode(Opcode::Binary, 16 * 1024)
}

/// Text frames of 1 KiB: the unmask, and whether it is UTF-8.
pub(super) fn decode_text_1024() -> u64 {
    decode(Opcode::Text, 1024)
}

const FRAMES: u64 = 1_000;

fn decode(opcode: Opcode, bytes: usize) -> u64 {
    let mut frame = Vec::new();
    encode_frame(&mut frame, opcode, &vec![b'x'; bytes], Some(MaskKey::new([0x12, 0x34, 0x56, 0x78])));
    let mut input = frame.clone();
    let mut decoder = Decoder::new(Role::Server, DecoderLimits::default());
    for nth in 0..=FRAMES {
        input.copy_from_slice(&frame);
        let mut decode = || {
            let step = decoder.decode(&mut input).expect("a frame as it should be");
            assert!(matches!(step.event, Some(Event::Message(message)) if message.bytes().len() == bytes));
        };
        // What the first one finds out, which instructions the processor has, is known to the others.
        if nth == 0 { decode() } else { work_to_count(&mut decode) }
    }
    assert!(input.ends_with(&vec![b'x'; bytes]), "unmasked");
    FRAMES
}
