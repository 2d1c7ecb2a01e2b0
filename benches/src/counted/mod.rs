//! Hot paths in memory, for counting the instructions that they execute.
//!
//! Each [`Path`] sets itself up, warms up, and then does its work inside [`work_to_count`], the one function that callgrind is
//! told to collect in (`--toggle-collect`). There is no kernel, no thread and no clock in it, so that the same program
//! executes the same instructions each time. `cargo xtask instructions` runs them and compares with the record.
//!
//! What a path must never do: leave unchecked whether the work was done.

pub mod memory;

mod hub;
mod server;
mod wire;

/// A hot path.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// Its name in the record.
    pub name: &'static str,
    /// What its instructions are counted by.
    pub unit: &'static str,
    /// Does the work; returns how many units were counted.
    pub run: fn() -> u64,
}

/// All of them.
pub const PATHS: &[Path] = &[
    Path { name: "decode-64", unit: "frame", run: wire::decode_64 },
    Path { name: "decode-16384", unit: "frame", run: wire::decode_16384 },
    Path { name: "decode-text-1024", unit: "frame", run: wire::decode_text_1024 },
    Path { name: "publish-128", unit: "publish", run: hub::publish_128 },
    Path { name: "deliver-1000", unit: "delivery", run: hub::deliver_1000 },
    Path { name: "echo-64", unit: "message", run: server::echo_64 },
    Path { name: "echo-64-depth-16", unit: "message", run: server::echo_64_depth_16 },
    Path { name: "echo-16384", unit: "message", run: server::echo_16384 },
    Path { name: "fanout-1000", unit: "delivery", run: server::fanout_1000 },
    Path { name: "fanout-1000-window-64", unit: "delivery", run: server::fanout_1000_window_64 },
    Path { name: "publish-json", unit: "publish", run: server::publish_json },
    Path { name: "connect", unit: "connection", run: server::connect },
];

/// Calls `work`. Callgrind collects in this function, by its name.
#[inline(never)]
pub fn work_to_count(work: &mut dyn FnMut()) {
    work();
    // So that the call above is a call and not a jump, and is over before this function is.
    std::hint::black_box(());
}
