//! Listeners, shards, deadlines and limits: what the engine is run with.
//!
//! A deadline stands in `[timeouts]` for all listeners, and under the same name in a `[[listen]]` for that one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use ringwire_engine::{EngineOptions, Limits, ListenerOptions, Timeouts};
use ringwire_hub::SHARDS_MAX;

use super::tls::{self, Encryption};
use crate::config::Section;
use crate::lanes::PAYLOAD_BYTES_MAX;

/// No buffer, message or backlog is allowed to be longer than this: 1 GiB.
const BYTES_MAX: usize = 1 << 30;
/// No deadline is allowed to be shorter than this.
const SHORTEST: Duration = Duration::from_millis(1);

/// Reads what the engine is run with; `cores` is the default for the number of shards. And for each listener, what it says of its encryption.
pub(super) fn engine(root: &mut Section<'_>, cores: NonZeroUsize) -> (EngineOptions, Vec<Option<Encryption>>) {
    let defaults = EngineOptions::default();
    let timeouts = root.section("timeouts", |section| timeouts(section, &Timeouts::default()));
    let listeners = root.sections("listen", |section| listener(section, &timeouts));
    let (listen, encryption) = listeners.into_iter().unzip();
    let mut options = root.section("shards", |section| shards(section, cores, defaults));
    options.limits = root.section("limits", |section| limits(section, &mut options.backlog));
    options.listen = listen;
    (options, encryption)
}

fn listener(section: &mut Section<'_>, base: &Timeouts) -> (ListenerOptions, Option<Encryption>) {
    let mut options = ListenerOptions::from(section.text("address", "127.0.0.1:8080", listen_address));
    options.timeouts = timeouts(section, base);
    (options, section.optional("tls", tls::encryption))
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse().map_err(|_| match text.trim_start_matches(':').parse::<u16>() {
        Ok(port) => format!("did you mean 127.0.0.1:{port} (this machine only) or 0.0.0.0:{port} (everyone)?"),
        Err(_) => "an IP address and a port are needed, as in 127.0.0.1:8080 or [::1]:8080".into(),
    })
}

fn timeouts(section: &mut Section<'_>, base: &Timeouts) -> Timeouts {
    Timeouts {
        handshake: section.millis("handshake_timeout_ms", base.handshake, SHORTEST),
        keep_alive: section.millis("keep_alive_timeout_ms", base.keep_alive, SHORTEST),
        close: section.millis("close_timeout_ms", base.close, SHORTEST),
        ..base.clone()
    }
}

fn shards(section: &mut Section<'_>, cores: NonZeroUsize, mut options: EngineOptions) -> EngineOptions {
    let by_default = cores.get().min(SHARDS_MAX);
    options.shards = Some(section.number("count", by_default, 1..=SHARDS_MAX));
    options.pin = section.switch("pin", options.pin);
    let spin_us = u64::try_from(options.spin.as_micros()).expect("the default is short");
    options.spin = Duration::from_micros(section.number("spin_us", spin_us, 0..=1_000_000));
    options.mailbox_entries = section.number("mailbox_entries", options.mailbox_entries, 64..=1 << 24);
    options.receive_buffers = section.any("receive_buffers", i64::from(options.receive_buffers).into(), |value| {
        let buffers = value.as_integer().and_then(|number| u16::try_from(number).ok());
        buffers
            .filter(|buffers| (16..=32_768).contains(buffers) && buffers.is_power_of_two())
            .ok_or_else(|| "a power of two from 16 to 32768 is needed".to_owned())
    });
    options.receive_buffer_bytes =
        section.number("receive_buffer_bytes", options.receive_buffer_bytes, 1024..=16 << 20);
    options
}

fn limits(section: &mut Section<'_>, backlog: &mut u32) -> Limits {
    let by_default = Limits { body_bytes_max: PAYLOAD_BYTES_MAX, ..Limits::default() };
    let mut bytes = |key: &str, default: usize, least: usize| section.number(key, default, least..=BYTES_MAX);
    let mut limits = Limits {
        head_bytes_max: bytes("head_bytes_max", by_default.head_bytes_max, 256),
        body_bytes_max: bytes("body_bytes_max", by_default.body_bytes_max, 0),
        backlog_high_bytes: bytes("backlog_high_bytes", by_default.backlog_high_bytes, 1024),
        backlog_bytes_max: bytes("backlog_bytes_max", by_default.backlog_bytes_max, 1024),
        pull_bytes_max: bytes("pull_bytes_max", by_default.pull_bytes_max, 1024),
        ..by_default.clone()
    };
    limits.message.message_bytes_max = bytes("message_bytes_max", by_default.message.message_bytes_max, 1);
    let frame_bytes_max = usize::try_from(by_default.message.frame_bytes_max).expect("the default is 17 MiB");
    limits.message.frame_bytes_max = bytes("frame_bytes_max", frame_bytes_max, 1) as u64;
    limits.connections_max = section.number("connections_max", by_default.connections_max, 1..=1 << 24);
    limits.memory_bytes_max = section.number("memory_bytes_max", by_default.memory_bytes_max, 1 << 20..=1 << 40);
    *backlog = section.number("accept_backlog", *backlog, 1..=65_535);
    limits
}
