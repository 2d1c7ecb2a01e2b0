//! What permessage-deflate costs per message, and what it saves to compress once for many.
//!
//! - `encode`, `decode`: a message through a connection's extension, without and with context takeover.
//! - `fanout`: a published message for 1, 10 and 1000 subscribers, compressed once or for each of them. What the kernel
//!   takes to send is not in it.
//!
//! Run with `taskset -c 0 cargo bench -p ringwire-benches --bench deflate`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringwire_benches::market::samples;
use ringwire_codec::deflate::{Compressor, Deflate, DeflateOptions, Level, MemoryLevel, WindowBits};
use ringwire_codec::extension::{Extension, ExtensionParams, Negotiator, Output};

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(800));
    targets = encode, decode, fanout
}
criterion_main!(benches);

/// A server's side of a connection.
fn connection(deflate: &Deflate) -> Box<dyn Extension> {
    let offer = ExtensionParams { name: "permessage-deflate", params: Vec::new() };
    deflate.accept(&offer).expect("an offer without parameters is taken").extension
}

fn deflate(no_context_takeover: bool) -> Deflate {
    Deflate::new(DeflateOptions {
        server_no_context_takeover: no_context_takeover,
        client_no_context_takeover: no_context_takeover,
        threshold_bytes: 0,
        ..DeflateOptions::default()
    })
}

fn encode(c: &mut Criterion) {
    for (name, no_context_takeover) in [("alone", true), ("takeover", false)] {
        let deflate = deflate(no_context_takeover);
        for sample in samples() {
            let mut connection = connection(&deflate);
            let mut group = c.benchmark_group("encode");
            group.throughput(Throughput::Bytes(sample.messages[0].len() as u64));
            let mut messages = sample.messages.iter().cycle();
            let mut out = Vec::new();
            group.bench_function(format!("{name}/{}", sample.name), |b| {
                b.iter(|| {
                    out.clear();
                    connection.encode(black_box(messages.next().expect("a cycle has no end")), &mut out)
                });
            });
        }
    }
}

fn decode(c: &mut Criterion) {
    for (name, no_context_takeover) in [("alone", true), ("takeover", false)] {
        let deflate = deflate(no_context_takeover);
        for sample in samples() {
            // Without takeover of the peer, so that messages may go around; the window is kept all the same.
            let mut peer = Compressor::new(Level::FASTEST, MemoryLevel::DEFAULT, WindowBits::MAX);
            let pack = |message: &Vec<u8>| {
                let mut packed = Vec::new();
                peer.compress_alone(message, &mut packed).then_some(packed)
            };
            let packed: Vec<Vec<u8>> = sample.messages.iter().filter_map(pack).collect();
            let mut connection = connection(&deflate);
            let mut group = c.benchmark_group("decode");
            group.throughput(Throughput::Bytes(sample.messages[0].len() as u64));
            let mut messages = packed.iter().cycle();
            group.bench_function(format!("{name}/{}", sample.name), |b| {
                b.iter(|| {
                    let mut message = Vec::new();
                    let mut out = Output::new(&mut message, 1 << 20);
                    let packed = black_box(messages.next().expect("a cycle has no end"));
                    connection.decode(packed, true, &mut out).expect("it is right");
                    message.len()
                });
            });
        }
    }
}

fn fanout(c: &mut Criterion) {
    let deflate = deflate(true);
    for sample in samples().into_iter().filter(|sample| ["trades/1K", "book_changes/1.2K"].contains(&sample.name)) {
        let mut group = c.benchmark_group(format!("fanout/{}", sample.name));
        for subscribers in [1, 10, 1000] {
            let mut messages = sample.messages.iter().cycle();
            let mut connections: Vec<_> = (0..subscribers).map(|_| connection(&deflate)).collect();
            let mut out = Vec::new();
            group.bench_function(format!("for_each/{subscribers}"), |b| {
                b.iter(|| {
                    let message = messages.next().expect("a cycle has no end");
                    for connection in &mut connections {
                        out.clear();
                        connection.encode(black_box(message), &mut out);
                    }
                });
            });
        }
        let mut messages = sample.messages.iter().cycle();
        let mut compressor = Compressor::new(Level::SHARED, MemoryLevel::DEFAULT, WindowBits::MAX);
        let mut out = Vec::new();
        group.bench_function("once", |b| {
            b.iter(|| {
                out.clear();
                compressor.compress_alone(black_box(messages.next().expect("a cycle has no end")), &mut out)
            });
        });
    }
}
