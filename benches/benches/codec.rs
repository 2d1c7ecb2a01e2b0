//! What the codec costs. Goals on the recorded machine (AMD Zen 4, one pinned core):
//!
//! - `frame/N`: header parse and unmask of a frame of N bytes: at most 8, 9 and 12 ns at 16, 64 and 125.
//! - `unmask/16384`: at least 60 GB/s, in the first-level cache.
//! - `utf8/cyrillic`: at least 5 GB/s.
//!
//! Run with `taskset -c 0 cargo bench -p ringwire-benches --bench codec`, several times: the fastest run is the one
//! that was disturbed least. Groups named `backend` compare the kernels of this CPU.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringwire_codec::{
    Decoder, DecoderLimits, Event, FrameHeader, MaskKey, Opcode, Role, backends, encode_frame, unmask, utf8,
};

/// A key without high bits, so that text that is masked once more by the next turn stays ASCII.
const KEY: MaskKey = MaskKey::new([0x37, 0x7a, 0x21, 0x3d]);
/// Benches go around this many frames, as a stream does. A single one would be read back before its stores have
/// reached the cache, which no receiver does.
const FRAMES: usize = 16;

criterion_group!(benches, frame, decode, encode, unmask_long, validate);
criterion_main!(benches);

/// The floor of receiving: a header read, its payload unmasked in place. What was unmasked is masked the next time.
fn frame(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame");
    for len in [16, 64, 125, 126, 1024] {
        let mut frames = frames_of(Opcode::Binary, len);
        let mut turn = 0;
        group.bench_function(len.to_string(), |b| {
            b.iter(|| {
                turn = (turn + 1) % FRAMES;
                let input = black_box(&mut frames[turn][..]);
                let Ok(Some((header, at))) = FrameHeader::parse(input) else { panic!("a whole header") };
                let end = at + header.payload_bytes as usize;
                if let Some(key) = header.mask {
                    unmask(&mut input[at..end], key);
                }
                end
            });
        });
    }
    group.finish();
}

/// The whole way: frame to event, text validated.
fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    for (name, opcode) in [("text", Opcode::Text), ("binary", Opcode::Binary)] {
        for len in [16, 64, 125, 1024] {
            let mut frames = frames_of(opcode, len);
            let mut turn = 0;
            let mut decoder = Decoder::new(Role::Server, DecoderLimits::default());
            group.bench_function(format!("{name}/{len}"), |b| {
                b.iter(|| {
                    turn = (turn + 1) % FRAMES;
                    let step = decoder.decode(black_box(&mut frames[turn])).expect("a right frame");
                    let Some(Event::Message(message)) = step.event else { panic!("a whole message") };
                    message.bytes().len()
                });
            });
        }
    }
    group.finish();
}

fn frames_of(opcode: Opcode, payload_bytes: usize) -> Vec<Vec<u8>> {
    let mut frame = Vec::new();
    encode_frame(&mut frame, opcode, &vec![b'a'; payload_bytes], Some(KEY));
    vec![frame; FRAMES]
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    for len in [16, 125, 1024] {
        let payload = vec![0x42; len];
        for (name, mask) in [("server", None), ("client", Some(KEY))] {
            let mut out = Vec::with_capacity(2048);
            group.bench_function(format!("{name}/{len}"), |b| {
                b.iter(|| {
                    out.clear();
                    encode_frame(&mut out, Opcode::Binary, black_box(&payload), black_box(mask));
                    out.len()
                });
            });
        }
    }
    group.finish();
}

fn unmask_long(c: &mut Criterion) {
    let mut group = c.benchmark_group("unmask");
    // As in a frame: the payload starts 8 bytes behind an aligned address, after a header of 8.
    for len in [1024, 16384, 262_144] {
        let mut buffer = vec![0x42; len + 64];
        let start = buffer.as_ptr().align_offset(64) + 8;
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(len.to_string(), |b| {
            b.iter(|| unmask(black_box(&mut buffer[start..start + len]), black_box(KEY)));
        });
        for backend in backends::unmask_backends() {
            group.bench_function(format!("backend/{}/{len}", backend.name), |b| {
                b.iter(|| (backend.unmask)(black_box(&mut buffer[start..start + len]), black_box(KEY)));
            });
        }
    }
    group.finish();
}

fn validate(c: &mut Criterion) {
    let mut group = c.benchmark_group("utf8");
    let samples = [
        ("ascii", "The quick brown fox jumps over the lazy dog. "),
        ("cyrillic", "Съешь же ещё этих мягких французских булок, да выпей чаю. "),
        ("cjk", "いろはにほへとちりぬるをわかよたれそつねならむ"),
        ("emoji", "😀😁😂🤣😃😄😅"),
    ];
    for (name, sample) in samples {
        for len in [48, 16384] {
            let mut text = sample.repeat(len / sample.len() + 1);
            while text.len() > len {
                text.pop();
            }
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_function(format!("{name}/{len}"), |b| b.iter(|| utf8::validate(black_box(text.as_bytes()))));
            for backend in backends::utf8_backends() {
                group.bench_function(format!("backend/{}/{name}/{len}", backend.name), |b| {
                    b.iter(|| (backend.is_valid)(black_box(text.as_bytes())));
                });
            }
        }
    }
    group.finish();
}
