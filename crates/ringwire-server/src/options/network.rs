//! Listeners, shards, deadlines and limits: what the engine is run with.
//!
//! A deadline stands in `[timeouts]` for all listeners, and under the same name in a `[[listen]]` for that one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use ringwire_codec::http::HEADERS_MAX;
use ringwire_engine::{EngineOptions, Limits, ListenerOptions, Network, ProxyHeader, Timeouts};
use ringwire_hub::SHARDS_MAX;
use toml::Value;

use super::tls::{self, Encryption};
use crate::config::Section;
use crate::lanes::PAYLOAD_BYTES_MAX;

/// No buffer, message or backlog is allowed to be longer than this: 1 GiB.
const BYTES_MAX: usize = 1 << 30;
/// No deadline is allowed to be shorter than this.
const SHORTEST: Duration = Duration::from_millis(1);

/// Reads what the engine is run with; `cores` is the default for the number of shards. And for each listener, what it says of its encryption.
pub(super) fn engine(root: &mut Section<'_>, cores: NonZeroUsize) -> (EngineOptions, Vec<Option<Encryption>>) {
    let timeouts = root.section("timeouts", |section| timeouts(section, &Timeouts::default()));
    let proxies = root.section("proxies", proxies);
    let (mut options, control) = root.section("shards", |section| {
        let options = shards(section, cores, EngineOptions::default());
        (options, section.text("congestion_control", "system", congestion_control))
    });
    let listeners = root.sections("listen", |section| {
        let (mut options, encryption) = listener(section, &timeouts, &proxies);
        let own = section.optional_text("congestion_control", congestion_control);
        options.congestion_control = own.unwrap_or_else(|| control.clone());
        (options, encryption)
    });
    let (listen, encryption) = listeners.into_iter().unzip();
    options.limits = root.section("limits", |section| limits(section, &mut options.backlog));
    options.listen = listen;
    (options, encryption)
}

fn listener(section: &mut Section<'_>, base: &Timeouts, proxies: &Proxies) -> (ListenerOptions, Option<Encryption>) {
    let mut options = ListenerOptions::from(section.text("address", "127.0.0.1:8080", listen_address));
    options.timeouts = timeouts(section, base);
    options.proxies.clone_from(&proxies.trusted);
    options.proxy_header = proxies.header;
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
        answer: section.millis("answer_timeout_ms", base.answer, SHORTEST),
        close: section.millis("close_timeout_ms", base.close, SHORTEST),
        ping: section.millis_or_none("ping_interval_ms", base.ping),
        pong: section.millis("pong_timeout_ms", base.pong, SHORTEST),
        idle: section.millis_or_none("idle_timeout_ms", base.idle),
        lifetime: section.millis_or_none("lifetime_ms", base.lifetime),
        unacknowledged: section.millis_or_none("unacknowledged_timeout_ms", base.unacknowledged),
    }
}

/// Whose word counts when it names another address than its own.
#[derive(Clone, Debug, Default)]
struct Proxies {
    trusted: Vec<Network>,
    header: ProxyHeader,
}

fn proxies(section: &mut Section<'_>) -> Proxies {
    let trusted = section.any("trusted", Value::Array(Vec::new()), |value| {
        let words = || "a list of addresses and networks is needed, as in [\"10.0.0.0/8\", \"::1\"]".to_owned();
        let network = |value: &Value| {
            let text = value.as_str().ok_or_else(words)?;
            text.parse::<Network>().map_err(|error| error.to_string())
        };
        value.as_array().ok_or_else(words)?.iter().map(network).collect()
    });
    let trusted: Vec<Network> = trusted;
    let header = section.text("header", "off", |text| match text {
        "off" => Ok(ProxyHeader::Off),
        "required" => Ok(ProxyHeader::Required),
        _ => Err("`off` or `required` is needed: whether there is a PROXY header is not guessed at".to_owned()),
    });
    if header == ProxyHeader::Required && trusted.is_empty() {
        section.fault("header", "only trusted proxies are asked for the header; name them in proxies.trusted");
    }
    Proxies { trusted, header }
}

fn shards(section: &mut Section<'_>, cores: NonZeroUsize, mut options: EngineOptions) -> EngineOptions {
    let by_default = cores.get().min(SHARDS_MAX);
    options.shards = Some(section.number("count", by_default, 1..=SHARDS_MAX));
    options.pin = section.switch("pin", options.pin);
    options.spin = section.any("spin_us", Value::from(0), spin);
    options.mailbox_entries = section.number("mailbox_entries", options.mailbox_entries, 64..=1 << 24);
    options.receive_buffers = section.any("receive_buffers", i64::from(options.receive_buffers).into(), |value| {
        let buffers = value.as_integer().and_then(|number| u16::try_from(number).ok());
        buffers
            .filter(|buffers| (16..=32_768).contains(buffers) && buffers.is_power_of_two())
            .ok_or_else(|| "a power of two from 16 to 32768 is needed".to_owned())
    });
    options.receive_buffer_bytes =
        section.number("receive_buffer_bytes", options.receive_buffer_bytes, 1024..=16 << 20);
    options.submission_entries = section.number("submission_entries", options.submission_entries, 8..=32_768);
    let notsent_lowat_bytes = options.notsent_lowat_bytes.unwrap_or(0);
    options.notsent_lowat_bytes = some(section.number("notsent_lowat_bytes", notsent_lowat_bytes, 0..=i32::MAX as u32));
    options
}

/// How long a shard spins.
fn spin(value: &Value) -> Result<Duration, String> {
    const MOST_US: u64 = 1_000_000;
    let micros = value.as_integer().and_then(|number| u64::try_from(number).ok()).filter(|&micros| micros <= MOST_US);
    match (micros, value.as_str()) {
        (Some(micros), _) => Ok(Duration::from_micros(micros)),
        (None, Some("always")) => Ok(Duration::MAX),
        _ => Err(format!("a whole number of microseconds from 0 to {MOST_US} is needed, or `always`")),
    }
}

/// The name of a congestion control; `None` for the system's.
fn congestion_control(text: &str) -> Result<Option<String>, String> {
    /// `TCP_CA_NAME_MAX` of the kernel, less the zero at the end; it cuts off what is longer.
    const LONGEST: usize = 15;
    let is_name = (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    match text {
        "system" => Ok(None),
        name if is_name => Ok(Some(name.to_owned())),
        _ => Err("`system` is needed, or a name of net.ipv4.tcp_available_congestion_control, such as `cubic`".into()),
    }
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
    limits.target_bytes_max = bytes("target_bytes_max", by_default.target_bytes_max, 1);
    limits.headers_max = section.number("headers_max", by_default.headers_max, 1..=HEADERS_MAX);
    let most = by_default.message.fragments_max;
    limits.message.fragments_max = section.number("fragments_max", most, 1..=1 << 24);
    limits.control_frames_per_second_max =
        section.number("control_frames_per_second_max", by_default.control_frames_per_second_max, 1..=u16::MAX);
    limits.handshakes_max = section.number("handshakes_max", by_default.handshakes_max, 1..=1 << 24);
    limits.process_connections_max = some(section.number("process_connections_max", 0, 0..=u32::MAX));
    limits.address_connections_max = some(section.number("address_connections_max", 0, 0..=u32::MAX));
    limits.process_memory_bytes_max =
        section.number("process_memory_bytes_max", by_default.process_memory_bytes_max, 1 << 20..=1 << 44);
    limits.connections_max = section.number("connections_max", by_default.connections_max, 1..=1 << 24);
    limits.memory_bytes_max = section.number("memory_bytes_max", by_default.memory_bytes_max, 1 << 20..=1 << 40);
    *backlog = section.number("accept_backlog", *backlog, 1..=65_535);
    limits
}

/// A limit, where 0 says that there is none.
fn some(limit: u32) -> Option<u32> {
    (limit > 0).then_some(limit)
}
