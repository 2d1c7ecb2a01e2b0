//! `[deflate]`: whether messages are compressed (permessage-deflate, RFC 7692), how, and how much may be inflated.

use ringwire_codec::deflate::{DeflateOptions, InflationLimit, Level, MemoryLevel, WindowBits};

use crate::config::Section;
use crate::lanes::SharedDeflate;

/// How messages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompressionOptions {
    /// What connections may agree on; none: no compression at all.
    pub connections: Option<DeflateOptions>,
    /// How what is published is compressed, once for all who agreed on it.
    pub shared: SharedDeflate,
}

/// Reads the section.
pub(super) fn deflate(section: &mut Section<'_>) -> CompressionOptions {
    let (own, shared) = (DeflateOptions::default(), SharedDeflate::default());
    let enabled = section.switch("enabled", true);
    let mut flag = |key: &str, default: bool| section.switch(key, default);
    let server_no_context_takeover = flag("server_no_context_takeover", own.server_no_context_takeover);
    let client_no_context_takeover = flag("client_no_context_takeover", own.client_no_context_takeover);
    let mut bits = |key: &str, default: WindowBits| {
        WindowBits::new(section.number(key, default.value(), 8..=15)).expect("the range is theirs")
    };
    let server_max_window_bits = bits("server_max_window_bits", own.server_max_window_bits);
    let client_max_window_bits = bits("client_max_window_bits", own.client_max_window_bits);
    let mut level = |key: &str, default: Level| {
        Level::new(section.number(key, default.value(), 1..=9)).expect("the range is theirs")
    };
    let (level, shared_level) = (level("level", own.level), level("shared_level", shared.level));
    let memory_level = MemoryLevel::new(section.number("memory_level", own.memory_level.value(), 1..=9));
    let memory_level = memory_level.expect("the range is theirs");
    let mut bytes = |key: &str, default: usize| section.number(key, default, 0..=1 << 30);
    let threshold_bytes = bytes("threshold_bytes", own.threshold_bytes);
    let takeover_threshold_bytes = bytes("takeover_threshold_bytes", own.takeover_threshold_bytes);
    let floor_bytes = bytes("inflation_floor_bytes", own.inflation.floor_bytes);
    let ratio_max = section.number("inflation_ratio_max", own.inflation.ratio_max, 1..=1032);
    let connections = DeflateOptions {
        server_no_context_takeover,
        client_no_context_takeover,
        server_max_window_bits,
        client_max_window_bits,
        level,
        memory_level,
        threshold_bytes,
        takeover_threshold_bytes,
        inflation: InflationLimit { ratio_max, floor_bytes },
    };
    let shared = SharedDeflate { level: shared_level, memory_level, threshold_bytes };
    CompressionOptions { connections: enabled.then_some(connections), shared }
}
