//! What compressors really take. Alone in its process, which it measures.

use ringwire_codec::deflate::{Compressor, Level, MemoryLevel, WindowBits};

/// The library does not say what it takes, so this machine does: 40 of each.
#[test]
fn a_compressors_memory_is_what_it_says() {
    // Numbers, so that blocks have many symbols and all of the memory is used.
    let text: Vec<u8> = (0..20_000u64).flat_map(|n| (n * 7919 % 99_991).to_string().into_bytes()).collect();
    let resident_bytes = || {
        let status = std::fs::read_to_string("/proc/self/smaps_rollup").expect("Linux tells");
        let line = status.lines().find(|line| line.starts_with("Private_Dirty:")).expect("a line on private memory");
        line.split_whitespace().nth(1).and_then(|number| number.parse::<usize>().ok()).expect("a number") * 1024
    };
    // All are kept, so that none is made of what another one left.
    let mut compressors = Vec::new();
    for (memory_level, window) in [(1, 9), (5, 15), (9, 15)] {
        let mut out = Vec::with_capacity(600_000);
        let before = resident_bytes();
        let first = compressors.len();
        for _ in 0..40 {
            let mut compressor = Compressor::new(
                Level::new(6).unwrap(),
                MemoryLevel::new(memory_level).unwrap(),
                WindowBits::new(window).unwrap(),
            );
            out.clear();
            compressor.compress_alone(&text, &mut out);
            compressors.push(compressor);
        }
        let said = 40 * compressors[first].memory_bytes();
        let took = resident_bytes() - before;
        println!("level {memory_level}, window 2^{window}: {took} for {said}");
        assert!((said * 3 / 4..said * 11 / 10).contains(&took), "level {memory_level}: {took} for {said}");
    }
}
