//! Which library compresses and inflates messages best: docs/decisions/0006 is made of this.
//!
//! Every message is compressed by itself, as most connections agree on, except in `takeover`. Names are
//! `library-level/message`; a line on standard error says what part of the messages is left, in percent. Run with
//! `taskset -c 0 cargo bench -p ringwire-benches --bench deflate_libraries`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use libdeflater::{CompressionLvl, Compressor, Decompressor};
use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::{DataFormat, MZFlush};
use ringwire_benches::market::{Sample, samples};
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush};

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(800));
    targets = compress, takeover, inflate
}
criterion_main!(benches);

const ROOM_BYTES: usize = 256 * 1024;

fn zlib(level: i32, mem_level: i32) -> Deflate {
    Deflate::new_with_config(DeflateConfig { level, mem_level, window_bits: -15, ..DeflateConfig::default() })
}

/// Measures `compress`, which says how long its output is, over the messages of `sample` in turn.
fn measure(
    c: &mut Criterion,
    group: &str,
    name: &str,
    sample: &Sample,
    mut compress: impl FnMut(&[u8], &mut [u8]) -> usize,
) {
    let mut room = vec![0; ROOM_BYTES];
    let before: usize = sample.messages.iter().map(Vec::len).sum();
    let after: usize = sample.messages.iter().map(|message| compress(message, &mut room)).sum();
    eprintln!("{group}/{name}/{}: {:.1} % is left", sample.name, 100.0 * after as f64 / before as f64);
    let mut group = c.benchmark_group(group);
    group.throughput(Throughput::Bytes((before / sample.messages.len()) as u64));
    let mut messages = sample.messages.iter().cycle();
    group.bench_function(format!("{name}/{}", sample.name), |b| {
        b.iter(|| compress(black_box(messages.next().expect("a cycle has no end")), &mut room));
    });
    group.finish();
}

fn compress(c: &mut Criterion) {
    for sample in &samples() {
        for (level, mem_level) in [(1, 8), (1, 5), (2, 5), (3, 5), (6, 8), (6, 5)] {
            let mut deflate = zlib(level, mem_level);
            measure(c, "alone", &format!("zlib_rs-{level}-m{mem_level}"), sample, |message, room| {
                deflate.reset();
                deflate.compress(message, room, DeflateFlush::SyncFlush).expect("it has room");
                deflate.total_out() as usize - 4
            });
        }
        for level in [1, 6] {
            let mut compressor = Compressor::new(CompressionLvl::new(level).expect("there is such a level"));
            measure(c, "alone", &format!("libdeflate-{level}"), sample, |message, room| {
                compressor.deflate_compress(message, room).expect("it has room") + 1
            });
            let flags = create_comp_flags_from_zip_params(level, -15, 0);
            let mut compressor = CompressorOxide::new(flags);
            measure(c, "alone", &format!("miniz_oxide-{level}"), sample, |message, room| {
                compressor.reset();
                let result = miniz_oxide::deflate::stream::deflate(&mut compressor, message, room, MZFlush::Sync);
                result.bytes_written - 4
            });
        }
    }
}

/// Each message refers to those before; libdeflate cannot.
fn takeover(c: &mut Criterion) {
    for sample in &samples() {
        for level in [1, 3, 6] {
            let mut deflate = zlib(level, 5);
            measure(c, "takeover", &format!("zlib_rs-{level}-m5"), sample, |message, room| {
                let before = deflate.total_out();
                deflate.compress(message, room, DeflateFlush::SyncFlush).expect("it has room");
                (deflate.total_out() - before) as usize - 4
            });
        }
    }
}

fn inflate(c: &mut Criterion) {
    for sample in &samples() {
        let packed = |flush| {
            let mut deflate = zlib(6, 8);
            let mut room = vec![0; ROOM_BYTES];
            let pack = |message: &Vec<u8>| {
                deflate.reset();
                deflate.compress(message, &mut room, flush).expect("it has room");
                room[..deflate.total_out() as usize].to_vec()
            };
            Sample { name: sample.name, messages: sample.messages.iter().map(pack).collect() }
        };
        let (open, closed) = (packed(DeflateFlush::SyncFlush), packed(DeflateFlush::Finish));
        let mut inflate = Inflate::new(false, 15);
        measure(c, "inflate", "zlib_rs", &open, |message, room| {
            inflate.reset(false);
            inflate.decompress(message, room, InflateFlush::SyncFlush).expect("it is right");
            inflate.total_out() as usize
        });
        let mut decompressor = Decompressor::new();
        measure(c, "inflate", "libdeflate", &closed, |message, room| {
            decompressor.deflate_decompress(message, room).expect("it is right")
        });
        let mut state = miniz_oxide::inflate::stream::InflateState::new_boxed(DataFormat::Raw);
        measure(c, "inflate", "miniz_oxide", &open, |message, room| {
            state.reset(DataFormat::Raw);
            let result = miniz_oxide::inflate::stream::inflate(&mut state, message, room, MZFlush::Sync);
            result.bytes_written
        });
    }
}
