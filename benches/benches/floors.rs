//! What memory and the JSON parser allow, beside what ringwire does with the same bytes.
//!
//! - `memory/copy`: a payload copied. Nothing that moves a payload through memory is faster.
//! - `memory/xor`: a payload XORed with a key by a plain loop, as the compiler vectorises it for any CPU of the target;
//!   `memory/unmask` is the codec's, which asks what the CPU has.
//! - `json/simd_json`: a publish parsed by simd-json alone, in place, into memory that is there. Beside it what the server does
//!   with it: `json/check` asks whether it is JSON, on a copy, and `json/request` makes a request of it.
//!
//! Run with `taskset -c 0 cargo bench -p ringwire-benches --bench floors`, several times: the fastest run is the one that was
//! disturbed least.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringwire_codec::{MaskKey, unmask};
use ringwire_server::json::JsonCheck;
use ringwire_server::native::request::{Incoming, Parser, Request};
use simd_json::{Buffers, Tape};

criterion_group!(benches, memory, json);
criterion_main!(benches);

const KEY: [u8; 4] = [0x37, 0x7a, 0x21, 0x3d];

/// A trade as exchanges publish it, and the same as a request of the native protocol.
const TRADE: &str =
    r#"{"e":"trade","s":"BTC-USD","t":8123344,"p":"67012.55","q":"0.01230000","T":1767225600123,"m":true}"#;
const PUBLISH: &str = r#"{"id":7,"method":"publish","params":{"topic":"trades.BTC-USD","data":{"e":"trade","s":"BTC-USD","t":8123344,"p":"67012.55","q":"0.01230000","T":1767225600123,"m":true}}}"#;

fn memory(c: &mut Criterion) {
    let mut group = c.benchmark_group("memory");
    quick(&mut group);
    for len in [128, 1024, 16 * 1024, 256 * 1024] {
        // As in a frame: the payload begins 8 bytes behind an aligned address, after its header.
        let mut buffer = vec![0x42; len + 64];
        let start = buffer.as_ptr().align_offset(64) + 8;
        let mut to = vec![0; len];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::new("copy", len), |b| {
            b.iter(|| black_box(&mut to).copy_from_slice(black_box(&buffer[start..start + len])));
        });
        group.bench_function(BenchmarkId::new("xor", len), |b| {
            b.iter(|| xor(black_box(&mut buffer[start..start + len]), black_box(KEY)));
        });
        group.bench_function(BenchmarkId::new("unmask", len), |b| {
            b.iter(|| unmask(black_box(&mut buffer[start..start + len]), black_box(MaskKey::new(KEY))));
        });
    }
    group.finish();
}

/// The plain loop.
fn xor(payload: &mut [u8], key: [u8; 4]) {
    let (words, rest) = payload.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(key)).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

fn json(c: &mut Criterion) {
    let mut group = c.benchmark_group("json");
    quick(&mut group);
    for (name, text) in [("trade", TRADE), ("publish", PUBLISH)] {
        group.throughput(Throughput::Bytes(text.len() as u64));
        // Nothing in it is escaped, so parsing leaves the bytes as they are.
        let (mut bytes, mut buffers) = (text.as_bytes().to_vec(), Buffers::default());
        let mut kept = Some(Tape::null());
        group.bench_function(BenchmarkId::new("simd_json", name), |b| {
            b.iter(|| {
                let mut tape = kept.take().expect("it is put back").reset();
                simd_json::fill_tape(black_box(&mut bytes), &mut buffers, &mut tape).expect("JSON");
                black_box(&tape.0);
                kept = Some(tape.reset());
            });
        });
        assert_eq!(bytes, text.as_bytes());
        let mut check = JsonCheck::default();
        group.bench_function(BenchmarkId::new("check", name), |b| {
            b.iter(|| assert!(check.is_json(black_box(text.as_bytes()))));
        });
    }
    let mut parser = Parser::default();
    group.bench_function(BenchmarkId::new("request", "publish"), |b| {
        b.iter(|| {
            parser.requests(black_box(PUBLISH), |incoming| {
                let Incoming { request: Ok(Request::Publish(publish)), .. } = &incoming else { panic!("a publish") };
                black_box(publish);
                true
            });
        });
    });
    group.finish();
}

fn quick(group: &mut BenchmarkGroup<'_, WallTime>) {
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(600)).sample_size(20);
}
